#include "test_support.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keystore_backend.h"

static const struct key_owner owner = {{(const uint8_t *)"domain-1", 8},
                                       {(const uint8_t *)"ca-1", 4}};
static char folder[] = "/tmp/fleetseal-keystore-XXXXXX";

static char *write_kek(const char *name, uint8_t fill)
{
    char *path = xasprintf("%s/%s", folder, name);
    uint8_t bytes[32];
    memset(bytes, fill, sizeof bytes);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, sizeof bytes), sizeof bytes);
    assert_int_equal(close(fd), 0);
    return path;
}

static struct keystore *file_store(const char *name, uint8_t fill)
{
    CLEANUP_FREE char *path = write_kek(name, fill);
    struct keystore *store = NULL;
    assert_ok(keystore_file_new(path, &store, NULL));
    assert_int_equal(unlink(path), 0);
    return store;
}

static void test_no_key_encryption_key(void **state)
{
    (void)state;
    struct keystore *store = NULL;
    struct fault fault = {.text = ""};
    assert_err(keystore_file_new("/nonexistent/kek", &store, &fault), ERR_INVALID);
    assert_non_null(strstr(fault.text, "/nonexistent/kek"));
    CLEANUP_FREE char *path = write_kek("open", 1);
    assert_int_equal(chmod(path, 0644), 0);
    assert_err(keystore_file_new(path, &store, &fault), ERR_INVALID);
    assert_int_equal(unlink(path), 0);
    assert_null(store);
}

static void expect_no_key(struct keystore *store, const struct key_owner *who, struct span hash,
                          struct span sealed, err_t expected)
{
    struct ca_key *key = NULL;
    assert_err(keystore_load(store, who, hash, sealed, &key), expected);
    assert_null(key);
}

static void test_opens_for_its_owner_only(void **state)
{
    (void)state;
    CLEANUP(keystore_free) struct keystore *store = file_store("a", 1);
    CLEANUP(keystore_free) struct keystore *other_store = file_store("b", 2);
    CLEANUP_BUF struct buf sealed = BUF_INIT(KEY_SEALED_MAX);
    CLEANUP_BUF struct buf sealed_2 = BUF_INIT(KEY_SEALED_MAX);
    CLEANUP(ca_key_unref) struct ca_key *key = NULL;
    CLEANUP(ca_key_unref) struct ca_key *key_2 = NULL;
    assert_ok(keystore_generate(store, &owner, KEY_ALGORITHM_EC_P256, &key, &sealed));
    assert_ok(keystore_generate(store, &owner, KEY_ALGORITHM_EC_P256, &key_2, &sealed_2));
    struct span hash = ca_key_hash(key);
    struct span whole = buf_span(&sealed);
    struct key_owner who = owner;
    who.domain = span_str("domain-2");
    expect_no_key(store, &who, hash, whole, ERR_CORRUPT);
    who = owner;
    who.ca = span_str("ca-2");
    expect_no_key(store, &who, hash, whole, ERR_CORRUPT);
    /* the same text, cut at another place */
    who = (struct key_owner){span_str("domain-1c"), span_str("a-1")};
    expect_no_key(store, &who, hash, whole, ERR_CORRUPT);
    uint8_t large[200] = {0};
    who = (struct key_owner){span_of(large, sizeof large), span_str("ca-1")};
    expect_no_key(store, &who, hash, whole, ERR_CORRUPT);
    expect_no_key(store, &owner, ca_key_hash(key_2), whole, ERR_CORRUPT);
    expect_no_key(store, &owner, hash, buf_span(&sealed_2), ERR_CORRUPT);
    expect_no_key(store, &owner, span_of(hash.ptr, 31), whole, ERR_CORRUPT);
    expect_no_key(store, &owner, hash, span_of(whole.ptr, whole.len - 1), ERR_CORRUPT);
    expect_no_key(store, &owner, hash, span_of(NULL, 0), ERR_CORRUPT);
    expect_no_key(other_store, &owner, hash, whole, ERR_UNAVAILABLE);
    sealed.ptr[sealed.len / 2] ^= 1;
    expect_no_key(store, &owner, hash, whole, ERR_CORRUPT);
    sealed.ptr[0]++;
    expect_no_key(store, &owner, hash, whole, ERR_UNSUPPORTED);
}

static void sign_and_verify(struct ca_key *key)
{
    static const char message[] = "what is to be signed";
    uint8_t signature[KEY_SIGNATURE_MAX];
    size_t len = 0;
    CLEANUP(key_session_free) struct key_session *session = NULL;
    assert_ok(key_session_new(key, &session));
    struct span spki = ca_key_public(key);
    const uint8_t *at = spki.ptr;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *public_key = d2i_PUBKEY(NULL, &at, (long)spki.len);
    const char *digest = ca_key_algorithm(key) == KEY_ALGORITHM_ED25519   ? NULL
                         : ca_key_algorithm(key) == KEY_ALGORITHM_EC_P384 ? "SHA384"
                                                                          : "SHA256";
    for (int i = 0; i < 3; i++) { /* a session signs many times */
        CLEANUP(EVP_MD_CTX_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        assert_ok(key_session_sign(session, span_of(message, sizeof message), signature, &len));
        assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, digest, NULL, NULL, public_key, NULL),
                         1);
        assert_int_equal(
            EVP_DigestVerify(ctx, signature, len, (const uint8_t *)message, sizeof message), 1);
    }
}

static void test_every_algorithm_survives_a_restart(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KEY_ALGORITHM_COUNT; i++) {
        CLEANUP_BUF struct buf sealed = BUF_INIT(KEY_SEALED_MAX);
        uint8_t hash[KEY_HASH_SIZE];
        {
            CLEANUP(keystore_free) struct keystore *store = file_store("k", 7);
            CLEANUP(ca_key_unref) struct ca_key *key = NULL;
            assert_ok(keystore_generate(store, &owner, i, &key, &sealed));
            memcpy(hash, ca_key_hash(key).ptr, sizeof hash);
            assert_int_equal(ca_key_algorithm(key), i);
            sign_and_verify(key);
        }
        CLEANUP(keystore_free) struct keystore *store = file_store("k", 7);
        CLEANUP(ca_key_unref) struct ca_key *key = NULL;
        assert_ok(
            keystore_load(store, &owner, span_of(hash, sizeof hash), buf_span(&sealed), &key));
        assert_int_equal(ca_key_algorithm(key), i);
        sign_and_verify(key);
    }
}

/* Sealed means that no part of the private key can be seen: the scalar of an EC key. */
static void test_nothing_private_in_sealed_form(void **state)
{
    (void)state;
    struct keystore_fake_script script = {.generate = ERR_OK};
    CLEANUP(keystore_free) struct keystore *fake = keystore_fake_new(&script);
    CLEANUP(keystore_free) struct keystore *store = file_store("n", 3);
    CLEANUP_BUF struct buf clear = BUF_INIT(KEY_SEALED_MAX);
    CLEANUP_BUF struct buf sealed = BUF_INIT(KEY_SEALED_MAX);
    CLEANUP(ca_key_unref) struct ca_key *in_clear = NULL;
    CLEANUP(ca_key_unref) struct ca_key *key = NULL;
    static const uint8_t ec_key[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01};
    assert_ok(keystore_generate(fake, &owner, KEY_ALGORITHM_EC_P256, &in_clear, &clear));
    assert_ok(keystore_generate(store, &owner, KEY_ALGORITHM_EC_P256, &key, &sealed));
    assert_non_null(memmem(clear.ptr, clear.len, ec_key, sizeof ec_key));
    assert_null(memmem(sealed.ptr, sealed.len, ec_key, sizeof ec_key));
}

static void test_fake_follows_its_script(void **state)
{
    (void)state;
    struct keystore_fake_script script = {.generate = ERR_UNAVAILABLE};
    CLEANUP(keystore_free) struct keystore *store = keystore_fake_new(&script);
    CLEANUP_BUF struct buf sealed = BUF_INIT(KEY_SEALED_MAX);
    CLEANUP(ca_key_unref) struct ca_key *key = NULL;
    assert_err(keystore_generate(store, &owner, KEY_ALGORITHM_EC_P256, &key, &sealed),
               ERR_UNAVAILABLE);
    script.generate = ERR_OK;
    assert_ok(keystore_generate(store, &owner, KEY_ALGORITHM_EC_P256, &key, &sealed));
    script.load = ERR_UNAVAILABLE;
    expect_no_key(store, &owner, ca_key_hash(key), buf_span(&sealed), ERR_UNAVAILABLE);
    script.load = ERR_OK;
    CLEANUP(ca_key_unref) struct ca_key *again = NULL;
    assert_ok(keystore_load(store, &owner, ca_key_hash(key), buf_span(&sealed), &again));
    assert_true(span_eq(ca_key_public(key), ca_key_public(again)));
    sign_and_verify(again);
    assert_int_equal(script.signatures, 3);
}

static void test_algorithm_names(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "EC", "ec-p256", "RSA", "RSA-1024", "EC-P256 ", "DSA"};
    enum key_algorithm algorithm = KEY_ALGORITHM_COUNT;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fault fault = {.field = ""};
        assert_err(key_algorithm_parse(span_str(bad[i]), &algorithm, &fault), ERR_UNSUPPORTED);
        assert_string_equal(fault.field, "KeyAlgorithm");
        assert_int_equal(algorithm, KEY_ALGORITHM_COUNT);
    }
    for (unsigned i = 0; i < KEY_ALGORITHM_COUNT; i++) {
        assert_ok(key_algorithm_parse(span_str(key_algorithm_name(i)), &algorithm, NULL));
        assert_int_equal(algorithm, i);
    }
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_key_encryption_key),
        cmocka_unit_test(test_opens_for_its_owner_only),
        cmocka_unit_test(test_every_algorithm_survives_a_restart),
        cmocka_unit_test(test_nothing_private_in_sealed_form),
        cmocka_unit_test(test_fake_follows_its_script),
        cmocka_unit_test(test_algorithm_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
