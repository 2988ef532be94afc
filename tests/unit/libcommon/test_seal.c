#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/seal.h"
#include "test_support.h"

static const uint8_t kek_bytes[SEAL_KEK_SIZE] = {1, 2, 3};
static const uint8_t other_bytes[SEAL_KEK_SIZE] = {1, 2, 4};

static void test_every_changed_byte_is_found(void **state)
{
    (void)state;
    CLEANUP(seal_kek_free) struct seal_kek *kek = seal_kek_new(kek_bytes);
    CLEANUP_BUF struct buf sealed = BUF_INIT(4096);
    struct span aad = span_str("domain/ca");
    assert_ok(seal(kek, aad, span_str("a private key"), &sealed));
    for (size_t i = 0; i < sealed.len; i++) {
        CLEANUP_BUF struct buf plain = BUF_INIT_SECRET(4096);
        sealed.ptr[i] ^= 0x10;
        err_t e = unseal(kek, aad, buf_span(&sealed), &plain);
        assert_err(e, i == 0 ? ERR_UNSUPPORTED : i <= 8 ? ERR_ABSENT : ERR_CORRUPT);
        assert_int_equal(plain.len, 0);
        sealed.ptr[i] ^= 0x10;
    }
    for (size_t len = 0; len < sealed.len; len++) {
        CLEANUP_BUF struct buf plain = BUF_INIT_SECRET(4096);
        assert_err(unseal(kek, aad, span_of(sealed.ptr, len), &plain), ERR_CORRUPT);
    }
}

static void test_wrong_owner_and_wrong_key(void **state)
{
    (void)state;
    CLEANUP(seal_kek_free) struct seal_kek *kek = seal_kek_new(kek_bytes);
    CLEANUP(seal_kek_free) struct seal_kek *other = seal_kek_new(other_bytes);
    CLEANUP_BUF struct buf sealed = BUF_INIT(4096);
    CLEANUP_BUF struct buf plain = BUF_INIT_SECRET(4096);
    assert_ok(seal(kek, span_str("domain/ca"), span_str("secret"), &sealed));
    assert_err(unseal(kek, span_str("domain/cb"), buf_span(&sealed), &plain), ERR_CORRUPT);
    assert_err(unseal(kek, span_str(""), buf_span(&sealed), &plain), ERR_CORRUPT);
    assert_err(unseal(other, span_str("domain/ca"), buf_span(&sealed), &plain), ERR_ABSENT);
    assert_int_equal(plain.len, 0);
}

static void test_limits(void **state)
{
    (void)state;
    static uint8_t large[SEAL_PLAIN_MAX + 1];
    CLEANUP(seal_kek_free) struct seal_kek *kek = seal_kek_new(kek_bytes);
    CLEANUP_BUF struct buf sealed = BUF_INIT((size_t)2 * SEAL_PLAIN_MAX);
    CLEANUP_BUF struct buf small = BUF_INIT(SEAL_OVERHEAD + 5);
    CLEANUP_BUF struct buf plain = BUF_INIT_SECRET(5);
    struct span none = {NULL, 0};
    assert_err(seal(kek, none, span_of(large, sizeof large), &sealed), ERR_TOO_LARGE);
    assert_err(seal(kek, span_of(large, SEAL_AAD_MAX + 1), none, &sealed), ERR_TOO_LARGE);
    assert_err(seal(kek, none, span_str("123456"), &small), ERR_TOO_LARGE);
    assert_int_equal(sealed.len + small.len, 0);
    assert_ok(seal(kek, none, span_str("123456"), &sealed));
    assert_err(unseal(kek, none, buf_span(&sealed), &plain), ERR_TOO_LARGE);
}

static void test_round_trip(void **state)
{
    (void)state;
    static uint8_t text[SEAL_PLAIN_MAX];
    CLEANUP(seal_kek_free) struct seal_kek *kek = seal_kek_new(kek_bytes);
    static const size_t lengths[] = {0, 1, 31, 32, 33, 1190, SEAL_PLAIN_MAX};
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        CLEANUP_BUF struct buf sealed = BUF_INIT(SEAL_PLAIN_MAX + SEAL_OVERHEAD);
        CLEANUP_BUF struct buf plain = BUF_INIT_SECRET(SEAL_PLAIN_MAX);
        struct span secret = span_of(text, lengths[i]);
        assert_ok(seal(kek, span_str("owner"), secret, &sealed));
        assert_int_equal(sealed.len, lengths[i] + SEAL_OVERHEAD);
        assert_null(lengths[i] < 4 ? NULL : memmem(sealed.ptr, sealed.len, "xxxx", 4));
        assert_ok(unseal(kek, span_str("owner"), buf_span(&sealed), &plain));
        assert_true(span_eq(buf_span(&plain), secret));
    }
}

static void test_same_secret_never_looks_the_same(void **state)
{
    (void)state;
    CLEANUP(seal_kek_free) struct seal_kek *kek = seal_kek_new(kek_bytes);
    CLEANUP_BUF struct buf one = BUF_INIT(4096);
    CLEANUP_BUF struct buf two = BUF_INIT(4096);
    assert_ok(seal(kek, span_str("a"), span_str("secret"), &one));
    assert_ok(seal(kek, span_str("a"), span_str("secret"), &two));
    for (size_t i = 9; i + 12 <= one.len; i += 12) {
        assert_memory_not_equal(one.ptr + i, two.ptr + i, 12);
    }
}

/* ---- the file ---- */

static void write_file(const char *path, size_t len, mode_t mode)
{
    uint8_t bytes[64] = {1, 2, 3};
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static void expect_refused(const char *path, const char *why)
{
    struct seal_kek *kek = NULL;
    struct fault fault = {.text = ""};
    assert_err(seal_kek_read(path, &kek, &fault), ERR_INVALID);
    assert_non_null(strstr(fault.text, path));
    assert_non_null(strstr(fault.text, why));
    assert_null(kek);
}

static void test_key_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/fleetseal-seal-XXXXXX";
    assert_non_null(mkdtemp(folder));
    CLEANUP_FREE char *path = xasprintf("%s/kek", folder);
    expect_refused(path, "No such file");
    expect_refused(folder, "regular file");
    static const mode_t open_modes[] = {0640, 0604, 0620, 0602, 0610, 0601, 0644};
    for (size_t i = 0; i < sizeof open_modes / sizeof open_modes[0]; i++) {
        write_file(path, SEAL_KEK_SIZE, open_modes[i]);
        expect_refused(path, "chmod 600");
    }
    static const size_t lengths[] = {0, 31, 33, 64};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        write_file(path, lengths[i], 0600);
        expect_refused(path, "exactly 32");
    }
    write_file(path, SEAL_KEK_SIZE, 0400);
    CLEANUP(seal_kek_free) struct seal_kek *kek = NULL;
    assert_ok(seal_kek_read(path, &kek, NULL));
    CLEANUP(seal_kek_free) struct seal_kek *same = seal_kek_new(kek_bytes);
    CLEANUP_BUF struct buf sealed = BUF_INIT(4096);
    CLEANUP_BUF struct buf plain = BUF_INIT_SECRET(4096);
    assert_ok(seal(kek, span_str("a"), span_str("secret"), &sealed));
    assert_ok(unseal(same, span_str("a"), buf_span(&sealed), &plain));
    assert_span(buf_span(&plain), "secret");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_changed_byte_is_found),
        cmocka_unit_test(test_wrong_owner_and_wrong_key),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_same_secret_never_looks_the_same),
        cmocka_unit_test(test_key_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
