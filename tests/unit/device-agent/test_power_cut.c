/*
 * Power cuts, enumerated: each step of a device's life is run on a disk that loses power at its
 * k-th operation, for every k and every kind of damage, then cut again at every step of the
 * recovery. What is checked is what a user would lose: the device still has its identity, and a key
 * and a certificate that belong together, the old ones or the new ones, never none once it had
 * some.
 */
#include "device_fixture.h"
#include "storage_cut.h"

#define PROFILE "000000abcdefghijklmnOP"
#define OP1     "6ba7b810-9dad-11d1-80b4-00c04fd430c1"
#define OP2     "6ba7b810-9dad-11d1-80b4-00c04fd430c2"
#define OP3     "6ba7b810-9dad-11d1-80b4-00c04fd430c3"
#define OLD     "0000000000000011"
#define NEW     "0000000000000022"

static struct clock_test clock_of_test;
static struct fixture_ca ca;
/* With a root-of-trust key from elsewhere, since reading one costs a millisecond; its own making is
 * in test_first_start. */
static struct device_options options = {.clock = &clock_of_test.clock, .flood_override_s = -1};

/* One step of life; returns what its last call did. */
typedef err_t (*act_fn)(struct device *d);

struct scenario {
    const char *name;
    act_fn before; /* undisturbed */
    act_fn act;    /* the power is cut in here */
    /* what must hold after recovery; `done`: act had returned ERR_OK */
    void (*check)(struct device *d, bool done);
};

static err_t nothing(struct device *d)
{
    (void)d;
    return ERR_OK;
}

static err_t first_install(struct device *d)
{
    EVP_PKEY *key = NULL;
    err_t err = device_new_key(d, "", &key);
    if (err == ERR_OK) {
        err = device_new_key(d, OP1, &key);
    }
    return err != ERR_OK ? err : fixture_install(&ca, d, key, OP1, 0x11);
}

static err_t first_whole(struct device *d)
{
    err_t err = first_install(d);
    return err != ERR_OK ? err : device_confirmed(d);
}

static err_t renew(struct device *d)
{
    return fixture_install(&ca, d, device_current_key(d), OP2, 0x22);
}

static err_t renew_whole(struct device *d)
{
    err_t err = renew(d);
    return err != ERR_OK ? err : device_confirmed(d);
}

static err_t update(struct device *d)
{
    EVP_PKEY *key = NULL;
    err_t err = device_new_key(d, OP2, &key);
    return err != ERR_OK ? err : fixture_install(&ca, d, key, OP2, 0x22);
}

static err_t update_whole(struct device *d)
{
    err_t err = update(d);
    return err != ERR_OK ? err : device_confirmed(d);
}

static err_t old_then_update(struct device *d)
{
    err_t err = first_whole(d);
    return err != ERR_OK ? err : update(d);
}

static err_t go_back(struct device *d)
{
    return device_return(d, "refused");
}

static err_t old_then_key(struct device *d)
{
    err_t err = first_whole(d);
    EVP_PKEY *key = NULL;
    return err != ERR_OK ? err : device_new_key(d, OP3, &key);
}

static err_t other_key(struct device *d)
{
    EVP_PKEY *key = NULL;
    return device_new_key(d, OP2, &key);
}

static err_t seal(struct device *d)
{
    return device_seal(d, PROFILE, "SN-1", NULL);
}

static err_t heartbeat(struct device *d)
{
    return device_heartbeat_sent(d);
}

/* Whatever the state names is there, readable and belongs together. */
static void check_whole(struct device *d)
{
    const struct device_state *s = &d->state;
    bool has = s->current != DEVICE_SLOT_NONE;
    assert_int_equal(has, device_current_serial(d)[0] != 0);
    assert_int_equal(has, device_current_key(d) != NULL);
    if (has) {
        CLEANUP_BUF struct buf pem = BUF_INIT(STORAGE_FILE_MAX);
        CLEANUP(X509_free) X509 *c = NULL;
        struct device_certificate_facts facts;
        assert_ok(storage_read(d->storage, device_certificate_file(s->current), &pem));
        assert_ok(device_certificate_read(buf_span(&pem), &c));
        assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(c), device_current_key(d)), 1);
        assert_ok(device_certificate_facts(c, &facts));
        size_t zeros = strspn(device_current_serial(d), "0");
        assert_string_equal(facts.serial, device_current_serial(d) + zeros);
    }
}

static void check_first(struct device *d, bool done)
{
    const char *serial = device_current_serial(d);
    assert_true(strcmp(serial, OLD) == 0 || (!done && serial[0] == 0));
}

static void check_replaced(struct device *d, bool done)
{
    const char *serial = device_current_serial(d);
    assert_true(strcmp(serial, NEW) == 0 || (!done && strcmp(serial, OLD) == 0));
    if (strcmp(serial, NEW) == 0 && !done) { /* installed: then the confirmation is still owed, or
                                                the verdict is known */
        assert_true(d->state.stage == DEVICE_STAGE_CONFIRM || d->state.stage == DEVICE_STAGE_NONE);
        assert_true(d->state.stage == DEVICE_STAGE_NONE || strcmp(d->state.operation, OP2) == 0);
    }
}

static void check_returned(struct device *d, bool done)
{
    const char *serial = device_current_serial(d);
    bool owed = d->state.stage == DEVICE_STAGE_CONFIRM;
    assert_true(strcmp(serial, OLD) == 0 || (!done && owed && strcmp(serial, NEW) == 0));
    if (strcmp(serial, OLD) == 0) {
        assert_string_equal(d->state.failed_operation, OP2);
    }
}

static void check_key(struct device *d, bool done)
{
    assert_string_equal(device_current_serial(d), OLD);
    if (done) {
        assert_int_equal(d->state.stage, DEVICE_STAGE_KEY);
    }
    if (d->state.stage == DEVICE_STAGE_KEY) {
        assert_non_null(d->key[device_state_spare(&d->state)]);
    }
}

static void check_seal(struct device *d, bool done)
{
    bool sealed = strcmp(d->profile, PROFILE) == 0 && strcmp(d->serial, "SN-1") == 0;
    assert_true(sealed || (!done && d->profile[0] == 0 && d->serial[0] == 0));
}

static void check_heartbeat(struct device *d, bool done)
{
    assert_true(!done || d->state.heartbeat_sent_ms == clock_now_ms(&clock_of_test.clock));
}

static const struct scenario scenarios[] = {
    {"first certificate", nothing, first_install, check_first},
    {"first certificate confirmed", nothing, first_whole, check_first},
    {"renew", first_whole, renew, check_replaced},
    {"renew confirmed", first_whole, renew_whole, check_replaced},
    {"update", first_whole, update, check_replaced},
    {"update confirmed", first_whole, update_whole, check_replaced},
    {"return", old_then_update, go_back, check_returned},
    {"a newer wish's key", old_then_key, other_key, check_key},
    {"seal", nothing, seal, check_seal},
    {"heartbeat", first_whole, heartbeat, check_heartbeat},
};

/* Opens the device; with a cut in the recovery, opens it again after that. */
static struct device *reopen(struct cut_disk *disk, int cut, unsigned damage)
{
    struct device *d = NULL;
    if (cut >= 0) {
        disk->cut_at = cut;
        if (device_open(cut_open(disk), &options, &d, NULL) == ERR_OK) {
            device_free(d);
            d = NULL;
        }
        cut_reboot(disk, damage);
    }
    assert_ok(device_open(cut_open(disk), &options, &d, NULL));
    return d;
}

/* Everything that must hold after one cut; the device can go on living. */
static void check_after(const struct scenario *s, struct cut_disk *disk, int recovery_cut,
                        unsigned damage, bool done, const char *uid, uint64_t used)
{
    struct device *d = reopen(disk, recovery_cut, damage);
    assert_string_equal(d->uid, uid);
    uint64_t n = 0;
    assert_ok(device_next_sequence(d, &n));
    assert_true(n > used);
    check_whole(d);
    s->check(d, done);
    device_free(d);
}

/* Every damage of one cut, and for some of them every third step of the recovery cut as well. */
static void check_damages(const struct scenario *s, const struct cut_disk *cut_disk, bool done,
                          const char *uid, uint64_t used)
{
    for (unsigned damage = 0; damage < CUT_DAMAGE_COUNT; damage++) {
        int recovery_cuts = damage % 5 == 0 ? 14 : 0;
        for (int cut = -1; cut < recovery_cuts; cut += 3) {
            struct cut_disk *disk = cut_disk_copy(cut_disk);
            cut_reboot(disk, damage);
            check_after(s, disk, cut, damage, done, uid, used);
            cut_disk_free(disk);
        }
    }
}

/* Runs the scenario with the power cut at step `cut`; false when it ended before that. */
static bool run_cut(const struct scenario *s, const struct cut_disk *start, int cut)
{
    struct cut_disk *disk = cut_disk_copy(start);
    struct device *d = NULL;
    assert_ok(device_open(cut_open(disk), &options, &d, NULL));
    char uid[DEVICE_UID_SIZE];
    memcpy(uid, d->uid, sizeof uid);
    uint64_t used = 0;
    assert_ok(device_next_sequence(d, &used));
    disk->cut_at = disk->steps + cut;
    bool done = s->act(d) == ERR_OK;
    bool met = disk->steps >= disk->cut_at;
    device_free(d);
    check_damages(s, disk, done, uid, used);
    cut_disk_free(disk);
    return met;
}

static void test_every_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        const struct scenario *s = &scenarios[i];
        struct cut_disk *start = cut_disk_new();
        struct device *d = NULL;
        assert_ok(device_open(cut_open(start), &options, &d, NULL));
        assert_ok(s->before(d));
        device_free(d);
        cut_reboot(start, 3);
        int cuts = 0;
        while (run_cut(s, start, cuts)) {
            cuts++;
        }
        print_message("%s: %d steps\n", s->name, cuts);
        assert_true(cuts >= 3); /* a replacement alone has four */
        cut_disk_free(start);
    }
}

/* The very first start: identity and state are made, or made again, never half. */
static void test_first_start(void **state)
{
    (void)state;
    const struct device_options own_key = {.clock = &clock_of_test.clock, .flood_override_s = -1};
    bool met = true;
    for (int cut = 0; met; cut++) {
        for (unsigned damage = 0; damage < CUT_DAMAGE_COUNT; damage++) {
            struct cut_disk *disk = cut_disk_new();
            struct device *d = NULL;
            char uid[DEVICE_UID_SIZE] = "";
            disk->cut_at = cut;
            if (device_open(cut_open(disk), &own_key, &d, NULL) == ERR_OK) {
                memcpy(uid, d->uid, sizeof uid); /* it was shown to somebody: it must stay */
                device_free(d);
                d = NULL;
            }
            met = disk->steps >= disk->cut_at;
            cut_reboot(disk, damage);
            assert_ok(device_open(cut_open(disk), &own_key, &d, NULL));
            assert_true(uid[0] == 0 || strcmp(uid, d->uid) == 0);
            check_whole(d);
            device_free(d);
            cut_disk_free(disk);
        }
    }
}

static int setup(void **state)
{
    (void)state;
    clock_test_init(&clock_of_test, INT64_C(1795239000000));
    ca = fixture_ca_new("ca");
    assert_ok(device_key_generate(&options.rot_key));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_ca_free(&ca);
    EVP_PKEY_free(options.rot_key);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_step),
        cmocka_unit_test(test_first_start),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
