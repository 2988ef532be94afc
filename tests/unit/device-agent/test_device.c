#include "device/device.h"

#include "device_fixture.h"

#define PROFILE "000000abcdefghijklmnOP"
#define OP1     "6ba7b810-9dad-11d1-80b4-00c04fd430c1"
#define OP2     "6ba7b810-9dad-11d1-80b4-00c04fd430c2"
#define T0      INT64_C(1795239000000)

struct world {
    struct clock_test clock;
    struct device_options options;
    struct device *device;
    struct fixture_ca ca;
};

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    clock_test_init(&w->clock, T0);
    w->options = (struct device_options){.clock = &w->clock.clock, .flood_override_s = -1};
    w->ca = fixture_ca_new("ca");
    assert_ok(device_open(storage_new_memory(), &w->options, &w->device, NULL));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    device_free(w->device);
    fixture_ca_free(&w->ca);
    free(w);
    return 0;
}

/* Switched off and on: what is in the storage is all there is. */
static void power_cycle(struct world *w)
{
    struct storage *fresh = storage_new_memory();
    CLEANUP_BUF struct buf image = BUF_INIT((size_t)256 * 1024);
    assert_ok(storage_export_memory(w->device->storage, &image));
    assert_ok(storage_import_memory(fresh, buf_span(&image)));
    device_free(w->device);
    w->device = NULL;
    assert_ok(device_open(fresh, &w->options, &w->device, NULL));
}

static bool has_file(struct world *w, const char *name)
{
    CLEANUP_BUF struct buf b = BUF_INIT(STORAGE_FILE_MAX);
    return storage_read(w->device->storage, name, &b) == ERR_OK;
}

static void spoil(struct world *w, const char *name)
{
    assert_ok(storage_replace(w->device->storage, name, span_str("spoiled")));
}

static void test_seal_once(void **state)
{
    struct world *w = *state;
    struct fault fault;
    assert_err(device_seal(w->device, "short", "1", &fault), ERR_INVALID);
    assert_string_equal(fault.field, "profile");
    assert_err(device_seal(w->device, PROFILE, "12345678901234567", &fault), ERR_INVALID);
    assert_string_equal(fault.field, "serial");
    assert_string_equal(w->device->profile, "");
    assert_ok(device_seal(w->device, PROFILE, "SN-1", &fault));
    assert_err(device_seal(w->device, "000000abcdefghijklmnOQ", "SN-2", &fault), ERR_EXISTS);
    assert_err(device_seal(w->device, PROFILE, "SN-1", &fault), ERR_EXISTS);
    power_cycle(w);
    assert_string_equal(w->device->profile, PROFILE);
    assert_string_equal(w->device->serial, "SN-1");
    assert_err(device_seal(w->device, PROFILE, NULL, &fault), ERR_EXISTS);
}

static void test_identity_stays(void **state)
{
    struct world *w = *state;
    char uid[DEVICE_UID_SIZE];
    char nonce[2 * DEVICE_NONCE_BYTES + 1];
    memcpy(uid, w->device->uid, sizeof uid);
    memcpy(nonce, w->device->state.install_nonce, sizeof nonce);
    power_cycle(w);
    assert_string_equal(w->device->uid, uid);
    assert_string_equal(w->device->state.install_nonce, nonce);
    assert_int_equal(strlen(nonce), 2 * DEVICE_NONCE_BYTES);
}

/* A lost key must not silently become a new device. */
static void test_damage_is_refused(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *file;
        bool gone;
    } rows[] = {{DEVICE_ROT_FILE, true},
                {DEVICE_ROT_FILE, false},
                {DEVICE_STATE_FILE, false},
                {DEVICE_SEALED_FILE, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct storage *copy = storage_new_memory();
        CLEANUP_BUF struct buf image = BUF_INIT((size_t)256 * 1024);
        assert_ok(storage_export_memory(w->device->storage, &image));
        assert_ok(storage_import_memory(copy, buf_span(&image)));
        assert_ok(rows[i].gone ? storage_remove(copy, rows[i].file)
                               : storage_replace(copy, rows[i].file, span_str("damaged")));
        struct device *d = NULL;
        struct fault fault;
        assert_err(device_open(copy, &w->options, &d, &fault), ERR_CORRUPT);
        assert_null(d);
        assert_string_equal(fault.code, "device_state");
    }
}

static void test_read_only(void **state)
{
    struct world *w = *state;
    struct device_options look = w->options;
    look.read_only = true;
    struct device *d = NULL;
    assert_err(device_open(storage_new_memory(), &look, &d, NULL), ERR_ABSENT);
    struct storage *copy = storage_new_memory();
    CLEANUP_BUF struct buf image = BUF_INIT((size_t)256 * 1024);
    assert_ok(storage_export_memory(w->device->storage, &image));
    assert_ok(storage_import_memory(copy, buf_span(&image)));
    assert_ok(device_open(copy, &look, &d, NULL));
    assert_string_equal(d->uid, w->device->uid);
    uint64_t n = 0;
    assert_err(device_next_sequence(d, &n), ERR_FORBIDDEN);
    device_free(d);
}

static void test_sequence_rises_over_power_cycles(void **state)
{
    struct world *w = *state;
    uint64_t last = 0;
    for (int i = 0; i < 300; i++) {
        uint64_t n = 0;
        assert_ok(device_next_sequence(w->device, &n));
        assert_true(n > last);
        last = n;
        if (i % 37 == 0) {
            power_cycle(w);
        }
    }
    assert_ok(device_skip_sequence(w->device, 100000));
    power_cycle(w);
    uint64_t n = 0;
    assert_ok(device_next_sequence(w->device, &n));
    assert_true(n >= last + 100000);
}

static int64_t hold(struct world *w)
{
    int64_t ms = -1;
    assert_ok(device_heartbeat_hold_ms(w->device, &ms));
    return ms;
}

static void test_flood_guard(void **state)
{
    struct world *w = *state;
    assert_int_equal(hold(w), 0);
    assert_ok(device_heartbeat_sent(w->device));
    assert_int_equal(hold(w), 300000);
    power_cycle(w);
    clock_test_advance(&w->clock, 299999);
    assert_int_equal(hold(w), 1);
    clock_test_advance(&w->clock, 1);
    assert_int_equal(hold(w), 0);
    assert_true(w->device->state.heartbeat_sent_ms == T0);
}

static void test_flood_guard_and_a_clock_that_steps(void **state)
{
    struct world *w = *state;
    assert_ok(device_heartbeat_sent(w->device));
    /* back by years, power cycled: one interval from now, not years */
    clock_test_step(&w->clock, 0);
    power_cycle(w);
    assert_int_equal(hold(w), 300000);
    clock_test_advance(&w->clock, 100000);
    power_cycle(w);
    assert_int_equal(hold(w), 200000);
    clock_test_advance(&w->clock, 200000);
    assert_int_equal(hold(w), 0);
    /* forward while the process lives: not believed */
    assert_ok(device_heartbeat_sent(w->device));
    clock_test_step(&w->clock, T0 * 2);
    assert_int_equal(hold(w), 300000);
    clock_test_advance(&w->clock, 300000);
    assert_int_equal(hold(w), 0);
}

static void test_defer_replaces_the_hold(void **state)
{
    struct world *w = *state;
    assert_ok(device_heartbeat_sent(w->device));
    assert_ok(device_heartbeat_defer(w->device, 2000));
    assert_int_equal(hold(w), 2000);
    clock_test_advance(&w->clock, 2000);
    assert_int_equal(hold(w), 0);
    assert_ok(device_heartbeat_defer(w->device, 900000));
    power_cycle(w);
    assert_int_equal(hold(w), 900000);
}

static void test_new_key_is_the_same_until_answered(void **state)
{
    struct world *w = *state;
    EVP_PKEY *first = NULL;
    EVP_PKEY *again = NULL;
    assert_ok(device_new_key(w->device, "", &first));
    (void)EVP_PKEY_up_ref(first);
    power_cycle(w);
    assert_ok(device_new_key(w->device, "", &again));
    assert_int_equal(EVP_PKEY_eq(first, again), 1);
    assert_ok(device_new_key(w->device, OP1, &again)); /* the answer gave it an operation */
    assert_int_equal(EVP_PKEY_eq(first, again), 1);
    power_cycle(w);
    assert_ok(device_new_key(w->device, OP1, &again));
    assert_int_equal(EVP_PKEY_eq(first, again), 1);
    assert_ok(device_new_key(w->device, OP2, &again)); /* another wish, another key */
    assert_int_equal(EVP_PKEY_eq(first, again), 0);
    EVP_PKEY_free(first);
}

static void install_first(struct world *w)
{
    EVP_PKEY *key = NULL;
    assert_ok(device_new_key(w->device, "", &key));
    assert_ok(device_new_key(w->device, OP1, &key));
    assert_ok(fixture_install(&w->ca, w->device, key, OP1, 0x11));
    assert_ok(device_confirmed(w->device));
}

static void test_install_confirm_renew(void **state)
{
    struct world *w = *state;
    install_first(w);
    power_cycle(w);
    assert_string_equal(device_current_serial(w->device), "0000000000000011");
    EVP_PKEY *key = device_current_key(w->device);
    assert_non_null(key);
    assert_ok(fixture_install(&w->ca, w->device, key, OP2, 0x22));
    assert_string_equal(device_current_serial(w->device), "0000000000000022");
    assert_err(fixture_install(&w->ca, w->device, key, OP2, 0x33), ERR_CONFLICT);
    EVP_PKEY *other = NULL;
    assert_err(device_new_key(w->device, OP2, &other), ERR_CONFLICT);
    power_cycle(w); /* the confirmation is still owed, the previous pair still there */
    assert_int_equal(w->device->state.stage, DEVICE_STAGE_CONFIRM);
    assert_string_equal(w->device->state.operation, OP2);
    assert_true(has_file(w, "key-a.pem") && has_file(w, "key-b.pem"));
    assert_ok(device_confirmed(w->device));
    enum device_slot spare = device_state_spare(&w->device->state);
    assert_false(has_file(w, device_key_file(spare)));
    assert_false(has_file(w, device_certificate_file(spare)));
    power_cycle(w);
    assert_string_equal(device_current_serial(w->device), "0000000000000022");
}

static void test_refused_confirmation_returns(void **state)
{
    struct world *w = *state;
    install_first(w);
    EVP_PKEY *key = NULL;
    assert_ok(device_new_key(w->device, OP2, &key));
    assert_ok(fixture_install(&w->ca, w->device, key, OP2, 0x22));
    assert_ok(device_return(w->device, "revoked: too late"));
    power_cycle(w);
    assert_string_equal(device_current_serial(w->device), "0000000000000011");
    assert_non_null(device_current_key(w->device));
    assert_string_equal(w->device->state.failed_operation, OP2);
    assert_string_equal(w->device->state.failed_reason, "revoked: too late");
    assert_ok(device_failure_reported(w->device));
    assert_string_equal(w->device->state.failed_operation, "");
}

static void test_unusable_certificate_is_not_installed(void **state)
{
    struct world *w = *state;
    install_first(w);
    CLEANUP(EVP_PKEY_free) EVP_PKEY *stranger = NULL;
    EVP_PKEY *key = NULL;
    assert_ok(device_key_generate(&stranger));
    assert_err(fixture_install(&w->ca, w->device, stranger, OP2, 0x22), ERR_INVALID);
    assert_string_equal(w->device->state.failed_operation, OP2);
    assert_non_null(strstr(w->device->state.failed_reason, "wrong_key"));
    assert_ok(device_new_key(w->device, OP2, &key));
    assert_err(fixture_install(&w->ca, w->device, stranger, OP2, 0x22), ERR_INVALID);
    assert_int_equal(w->device->state.stage, DEVICE_STAGE_NONE);
    power_cycle(w);
    assert_string_equal(device_current_serial(w->device), "0000000000000011");
}

/* A renewal while another operation's new key waits: the renewal is for the key in use. */
static void test_renewal_takes_no_waiting_key(void **state)
{
    struct world *w = *state;
    install_first(w);
    EVP_PKEY *waiting = NULL;
    assert_ok(device_new_key(w->device, OP1, &waiting));
    assert_ok(fixture_install(&w->ca, w->device, device_current_key(w->device), OP2, 0x22));
    power_cycle(w);
    assert_string_equal(device_current_serial(w->device), "0000000000000022");
    assert_string_equal(w->device->state.operation, OP2);
    assert_ok(device_confirmed(w->device));
}

static void test_nothing_to_install_for(void **state)
{
    struct world *w = *state;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    assert_ok(device_key_generate(&key));
    assert_err(fixture_install(&w->ca, w->device, key, OP1, 0x11), ERR_INVALID);
    assert_non_null(strstr(w->device->state.failed_reason, "no_key"));
}

/* Damage to the new files while the old ones are kept: back to the old ones by itself. */
static void test_unreadable_new_pair_returns(void **state)
{
    static const bool rows[] = {false, true};
    for (size_t i = 0; i < 2; i++) {
        struct world *w = *state;
        install_first(w);
        EVP_PKEY *key = NULL;
        assert_ok(device_new_key(w->device, OP2, &key));
        assert_ok(fixture_install(&w->ca, w->device, key, OP2, 0x22));
        enum device_slot slot = w->device->state.current;
        spoil(w, rows[i] ? device_key_file(slot) : device_certificate_file(slot));
        power_cycle(w);
        assert_string_equal(device_current_serial(w->device), "0000000000000011");
        assert_string_equal(w->device->state.failed_operation, OP2);
        assert_int_equal(w->device->state.stage, DEVICE_STAGE_NONE);
        assert_false(has_file(w, device_key_file(slot)));
        assert_int_equal(teardown(state), 0);
        assert_int_equal(setup(state), 0);
    }
}

/* Damage to the only pair: the device knows that it has none and can be healed by an update. */
static void test_unreadable_only_pair_is_dropped(void **state)
{
    struct world *w = *state;
    install_first(w);
    spoil(w, device_certificate_file(w->device->state.current));
    power_cycle(w);
    assert_null(device_current_key(w->device));
    assert_string_equal(device_current_serial(w->device), "");
    assert_true(w->device->state.last_error[0] != 0);
    EVP_PKEY *key = NULL;
    assert_ok(device_new_key(w->device, OP2, &key));
    assert_ok(fixture_install(&w->ca, w->device, key, OP2, 0x22));
    assert_ok(device_confirmed(w->device));
    assert_string_equal(device_current_serial(w->device), "0000000000000022");
}

static void test_bootstrap_is_needed(void **state)
{
    struct world *w = *state;
    struct device *d = w->device;
    assert_true(device_needs_bootstrap(d));
    d->state.standing = DEVICE_STANDING_REGISTERED;
    assert_false(device_needs_bootstrap(d)); /* nothing sealed, nothing new to say */
    assert_ok(device_seal(d, PROFILE, "", NULL));
    assert_true(device_needs_bootstrap(d));
    memcpy(d->state.profile_reported, PROFILE, sizeof PROFILE);
    assert_false(device_needs_bootstrap(d));
    d->state.standing = DEVICE_STANDING_ACTIVE;
    d->state.profile_reported[0] = 0;
    assert_false(device_needs_bootstrap(d));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_seal_once),
        T(test_identity_stays),
        T(test_damage_is_refused),
        T(test_read_only),
        T(test_sequence_rises_over_power_cycles),
        T(test_flood_guard),
        T(test_flood_guard_and_a_clock_that_steps),
        T(test_defer_replaces_the_hold),
        T(test_new_key_is_the_same_until_answered),
        T(test_install_confirm_renew),
        T(test_refused_confirmation_returns),
        T(test_unusable_certificate_is_not_installed),
        T(test_renewal_takes_no_waiting_key),
        T(test_nothing_to_install_for),
        T(test_unreadable_new_pair_returns),
        T(test_unreadable_only_pair_is_dropped),
        T(test_bootstrap_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
