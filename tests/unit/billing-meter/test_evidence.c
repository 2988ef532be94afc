/* No proof, no charge: every way in which a confirmation can fail to prove its install. */
#include "evidence.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "proto/device_protocol.h"
#include "test_support.h"

static const char uid[] = "0123456789abcdef";
#define OPERATION "1a111111-2222-4333-8444-55555555555b"
#define SERIAL    "7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a"

static EVP_PKEY *new_key(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(key);
    return key;
}

static const EVP_MD *digest_of(const EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
}

static void put_certificate(struct ledger_install *install, EVP_PKEY *key)
{
    X509 *c = X509_new();
    BIGNUM *serial = BN_bin2bn(install->serial, sizeof install->serial, NULL);
    assert_non_null(BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(c)));
    (void)X509_gmtime_adj(X509_getm_notBefore(c), 0);
    (void)X509_gmtime_adj(X509_getm_notAfter(c), 3600);
    assert_int_equal(X509_set_pubkey(c, key), 1);
    assert_true(X509_sign(c, key, digest_of(key)) > 0);
    unsigned char *at = install->certificate;
    install->certificate_len = (size_t)i2d_X509(c, &at);
    BN_free(serial);
    X509_free(c);
}

static void sign(struct ledger_install *install, EVP_PKEY *key, const char *payload,
                 const char *signed_uid)
{
    char bytes[DEVICE_SIGNED_SIZE];
    size_t len = 0;
    install->confirmation.payload_len = strlen(payload);
    memcpy(install->confirmation.payload, payload, install->confirmation.payload_len);
    const struct device_message message = {.exchange = DEVICE_CONFIRM,
                                           .uid = signed_uid,
                                           .operation = OPERATION,
                                           .sequence = (uint64_t)install->confirmation.sequence,
                                           .payload = span_str(payload)};
    assert_ok(device_signed_bytes(&message, bytes, &len));
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t size = sizeof install->confirmation.signature;
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, digest_of(key), NULL, key), 1);
    assert_int_equal(
        EVP_DigestSign(ctx, install->confirmation.signature, &size, (unsigned char *)bytes, len),
        1);
    install->confirmation.signature_len = size;
    EVP_MD_CTX_free(ctx);
}

#define PAYLOAD(operation, serial)                                                                 \
    "{\"operation\":\"" operation "\",\"serial\":\"" serial "\",\"key\":\"AAAA\"}"
#define GOOD_PAYLOAD PAYLOAD(OPERATION, SERIAL)

static struct ledger_install *proven(EVP_PKEY *key)
{
    struct ledger_install *install = xcalloc(1, sizeof *install);
    memcpy(install->uid, uid, sizeof uid);
    memset(install->serial, 0x7a, sizeof install->serial);
    install->kind = OPERATION_RENEW;
    install->confirmation.sequence = 12;
    put_certificate(install, key);
    sign(install, key, GOOD_PAYLOAD, uid);
    return install;
}

static void expect_refusal(struct ledger_install *install, const char *field)
{
    struct fault fault = {0};
    assert_int_equal(evidence_check(install, &fault), ERR_INVALID);
    assert_string_equal(fault.field, field);
}

static void refuses_every_forgery(void **state)
{
    (void)state;
    EVP_PKEY *key = new_key();
    EVP_PKEY *other = new_key();
    struct ledger_install *install = proven(key);

    install->certificate_len--;
    expect_refusal(install, "certificate");
    install->certificate_len++;

    install->serial[3] ^= 1;
    expect_refusal(install, "serial");
    install->serial[3] ^= 1;

    install->confirmation.sequence++;
    expect_refusal(install, "confirmation.signature");
    install->confirmation.sequence--;

    sign(install, other, GOOD_PAYLOAD, uid);
    expect_refusal(install, "confirmation.signature");

    sign(install, key, GOOD_PAYLOAD, "0123456789abcdee");
    expect_refusal(install, "confirmation.signature");

    sign(install, key, PAYLOAD(OPERATION, "08"), uid);
    expect_refusal(install, "confirmation.payload");

    sign(install, key, PAYLOAD(OPERATION, "7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7b"), uid);
    expect_refusal(install, "confirmation.payload");

    sign(install, key, PAYLOAD("x|y", SERIAL), uid);
    expect_refusal(install, "confirmation.payload");

    free(install);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

static void accepts_each_kind_of_key(void **state)
{
    (void)state;
    EVP_PKEY *keys[] = {EVP_EC_gen("P-384"), EVP_RSA_gen(2048),
                        EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct fault fault = {0};
        struct ledger_install *install = proven(keys[i]);
        assert_int_equal(evidence_check(install, &fault), ERR_OK);
        install->confirmation.signature[install->confirmation.signature_len - 1] ^= 1;
        expect_refusal(install, "confirmation.signature");
        free(install);
        EVP_PKEY_free(keys[i]);
    }
}

/* The same bytes as a number below zero are another serial. */
static void the_serials_sign_counts(void **state)
{
    (void)state;
    EVP_PKEY *key = new_key();
    struct ledger_install *install = proven(key);
    static const uint8_t there[] = {0x02, 0x10, 0x7a, 0x7a};
    uint8_t *serial = memmem(install->certificate, install->certificate_len, there, sizeof there);
    assert_non_null(serial);
    serial[2] = 0xfa;
    install->serial[0] = 0xfa;
    expect_refusal(install, "serial");
    free(install);
    EVP_PKEY_free(key);
}

static void accepts_the_proof(void **state)
{
    (void)state;
    EVP_PKEY *key = new_key();
    struct ledger_install *install = proven(key);
    struct fault fault = {0};
    assert_int_equal(evidence_check(install, &fault), ERR_OK);
    uint8_t hash[32];
    uint8_t again[32];
    evidence_hash(install, hash);
    install->confirmation.signature[5] ^= 1;
    evidence_hash(install, again);
    assert_memory_not_equal(hash, again, sizeof hash);
    free(install);
    EVP_PKEY_free(key);
}

/* ca-signer takes these for proofs and the device keeps its certificate: whoever writes them must
 * not renew for nothing. */
static void accepts_every_spelling_that_proves_elsewhere(void **state)
{
    (void)state;
    static const char *const payloads[] = {
        PAYLOAD(OPERATION, "7A7A7A7A7A7A7A7A7A7A7A7A7A7A7A7A"),
        PAYLOAD("1A111111-2222-4333-8444-55555555555B", SERIAL),
        "{\"extra\":[1],\"serial\":\"" SERIAL "\",\"key\":\"AAAA\",\"operation\":\"" OPERATION
        "\"}",
    };
    EVP_PKEY *key = new_key();
    struct ledger_install *install = proven(key);
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        struct fault fault = {0};
        sign(install, key, payloads[i], uid);
        assert_int_equal(evidence_check(install, &fault), ERR_OK);
    }
    free(install);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_every_forgery),
        cmocka_unit_test(accepts_each_kind_of_key),
        cmocka_unit_test(the_serials_sign_counts),
        cmocka_unit_test(accepts_the_proof),
        cmocka_unit_test(accepts_every_spelling_that_proves_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
