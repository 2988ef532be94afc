/*
 * What becomes of key and certificate when their files cannot be read at start-up: damage is what
 * the files say, not what a disk or a kernel says that has a bad moment.
 */
#include <openssl/sha.h>

#include "common/id.h"
#include "device_fixture.h"
#include "storage_cut.h"

#define OP1 "6ba7b810-9dad-11d1-80b4-00c04fd430c1"
#define OP2 "6ba7b810-9dad-11d1-80b4-00c04fd430c2"

static struct clock_test time_now;
static struct fixture_ca ca;
static struct device_options options = {.clock = &time_now.clock, .flood_override_s = -1};

/* The read of one file that fails, once. */
static struct {
    const char *name;
    err_t err;
} bad_read;

static err_t read_with_a_bad_moment(struct storage *s, const char *name, struct buf *to)
{
    if (bad_read.name != NULL && strcmp(bad_read.name, name) == 0) {
        bad_read.name = NULL;
        return bad_read.err;
    }
    return cut_read(s, name, to);
}

static err_t open_on(struct cut_disk *disk, bool read_only, struct device **ret)
{
    static struct storage_ops ops;
    struct storage *storage = cut_open(disk);
    ops = *storage->ops;
    ops.read = read_with_a_bad_moment;
    storage->ops = &ops;
    struct device_options o = options;
    o.read_only = read_only;
    disk->steps = 0;
    return device_open(storage, &o, ret, NULL);
}

static struct device *must_open(struct cut_disk *disk)
{
    struct device *d = NULL;
    assert_ok(open_on(disk, false, &d));
    return d;
}

/* A certificate in use, in slot A. */
static struct device *with_certificate(struct cut_disk *disk)
{
    struct device *d = must_open(disk);
    EVP_PKEY *key = NULL;
    assert_ok(device_new_key(d, OP1, &key));
    assert_ok(fixture_install(&ca, d, key, OP1, 0x11));
    assert_ok(device_confirmed(d));
    return d;
}

/* Another key in slot B, whose certificate was asked for. */
static struct device *with_waiting_key(struct cut_disk *disk)
{
    struct device *d = with_certificate(disk);
    EVP_PKEY *key = NULL;
    assert_ok(device_new_key(d, OP2, &key));
    return d;
}

/* Another pair in slot B, whose confirmation is owed. */
static struct device *with_owed_confirmation(struct cut_disk *disk)
{
    struct device *d = with_waiting_key(disk);
    assert_ok(fixture_install(&ca, d, d->key[DEVICE_SLOT_B], OP2, 0x22));
    return d;
}

static const struct {
    struct device *(*make)(struct cut_disk *disk);
    const char *file;
} places[] = {
    {with_certificate, "key-a.pem"},
    {with_certificate, "certificate-a.pem"},
    {with_waiting_key, "key-a.pem"},
    {with_waiting_key, "certificate-a.pem"},
    {with_waiting_key, "key-b.pem"},
    {with_owed_confirmation, "key-a.pem"},
    {with_owed_confirmation, "key-b.pem"},
    {with_owed_confirmation, "certificate-a.pem"},
    {with_owed_confirmation, "certificate-b.pem"},
};

static void check_bad_read(size_t place, err_t err, bool read_only)
{
    struct cut_disk *disk = cut_disk_new();
    struct device *d = places[place].make(disk);
    CLEANUP_BUF struct buf before = BUF_INIT(STORAGE_FILE_MAX);
    CLEANUP_BUF struct buf after = BUF_INIT(STORAGE_FILE_MAX);
    assert_ok(device_state_encode(&d->state, &before));
    device_free(d);
    d = NULL;
    bad_read.name = places[place].file;
    bad_read.err = err;
    assert_err(open_on(disk, read_only, &d), err);
    assert_null(bad_read.name);
    assert_int_equal(disk->steps, 0);
    d = must_open(disk);
    assert_ok(device_state_encode(&d->state, &after));
    assert_true(span_eq(buf_span(&before), buf_span(&after)));
    device_free(d);
    cut_disk_free(disk);
}

static void test_a_failed_read_is_no_damage(void **state)
{
    (void)state;
    static const err_t errors[] = {ERR_INTERNAL, ERR_FORBIDDEN, ERR_LIMIT};
    for (size_t place = 0; place < sizeof places / sizeof places[0]; place++) {
        for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
            check_bad_read(place, errors[i], false);
            check_bad_read(place, errors[i], true);
        }
    }
}

static void replace(struct cut_disk *disk, const char *name, struct span bytes)
{
    struct storage *s = cut_open(disk);
    assert_ok(bytes.len > 0 ? storage_replace(s, name, bytes) : storage_remove(s, name));
    storage_free(s);
}

static void test_damage_is_dropped(void **state)
{
    (void)state;
    static const char large[DEVICE_KEY_PEM_MAX + 1] = {'x'};
    const struct span damages[] = {span_str(""), span_str("spoiled"), span_of(large, sizeof large)};
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        struct cut_disk *disk = cut_disk_new();
        device_free(with_certificate(disk));
        replace(disk, "key-a.pem", damages[i]);
        struct device *d = NULL;
        assert_err(open_on(disk, true, &d), ERR_CORRUPT);
        d = must_open(disk);
        assert_int_equal(d->state.current, DEVICE_SLOT_NONE);
        assert_null(cut_find(disk->names, "certificate-a.pem"));
        device_free(d);
        cut_disk_free(disk);
    }
}

/* Bytes that the state vouches for are those that were written: when they cannot be made sense of
 * now, it is not they that are broken. */
static void test_what_was_written_is_no_damage(void **state)
{
    (void)state;
    static const char *const files[] = {"key-a.pem", "certificate-a.pem"};
    for (size_t i = 0; i < 2; i++) {
        struct cut_disk *disk = cut_disk_new();
        struct device *d = with_certificate(disk);
        struct device_state s = d->state;
        device_free(d);
        d = NULL;
        uint8_t digest[SHA256_DIGEST_LENGTH];
        (void)SHA256((const uint8_t *)"not yet", strlen("not yet"), digest);
        hex_format(span_of(digest, sizeof digest), i == 0 ? s.pair[DEVICE_SLOT_A].key_hash
                                                          : s.pair[DEVICE_SLOT_A].certificate_hash);
        replace(disk, files[i], span_str("not yet"));
        struct storage *storage = cut_open(disk);
        assert_ok(device_state_save(storage, &s));
        storage_free(storage);
        assert_err(open_on(disk, false, &d), ERR_INTERNAL);
        assert_int_equal(disk->steps, 0);
        assert_non_null(cut_find(disk->names, "key-a.pem"));
        cut_disk_free(disk);
    }
}

static int setup(void **state)
{
    (void)state;
    clock_test_init(&time_now, INT64_C(1795239000000));
    assert_ok(device_key_generate(&options.rot_key));
    ca = fixture_ca_new("ca");
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
        cmocka_unit_test(test_a_failed_read_is_no_damage),
        cmocka_unit_test(test_damage_is_dropped),
        cmocka_unit_test(test_what_was_written_is_no_damage),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
