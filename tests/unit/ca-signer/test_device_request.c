/*
 * Requests of devices as they come from the topic. What would break a user: a message that says one
 * thing where it is signed and another where it is acted upon, a signature that is believed
 * although another key made it, a request nobody can decode that stops the rest.
 */
#include "test_support.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "common/digest.h"
#include "device_request.h"
#include "proto/device_protocol.h"

#define OPERATION "0f8fad5b-d9cb-469f-a165-70867728950e"
#define NONCE     "AAAAAAAAAAAAAAAAAAAAAA=="
#define SERIAL    "00112233445566778899aabbccddeeff"

struct key {
    EVP_PKEY *pkey;
    uint8_t spki[128];
    size_t spki_len;
    char uid[DEVICE_UID_SIZE];
};
static struct key root;
static struct key thief;

static void key_init(struct key *k)
{
    uint8_t *at = k->spki;
    uint8_t uid[DEVICE_UID_BYTES];
    k->pkey = EVP_EC_gen("P-256");
    assert_non_null(k->pkey);
    k->spki_len = (size_t)i2d_PUBKEY(k->pkey, &at);
    device_uid_of_key(span_of(k->spki, k->spki_len), uid);
    device_uid_text(uid, k->uid);
}

static int setup(void **state)
{
    (void)state;
    key_init(&root);
    key_init(&thief);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(root.pkey);
    EVP_PKEY_free(thief.pkey);
    return 0;
}

/* A message as a door writes it; what is NULL or 0 is as it should be. */
struct message {
    const char *type, *kind, *uid, *operation, *payload;
    int64_t sequence;
    const struct key *signer, *shown;
};

static void append_base64(struct buf *to, struct span bytes)
{
    assert_ok(base64_append(to, bytes, BASE64_STANDARD));
}

static void sign(const struct message *m, const char *uid, const char *operation, struct buf *to)
{
    char text[256];
    char hash[2 * DIGEST_LEN + 1];
    struct digest digest = digest_sha256(span_str(m->payload));
    hex_format(digest_span(&digest), hash);
    int len = snprintf(text, sizeof text, "fleetseal-device-v1|%s|%s|%s|%lld|%s", m->kind, uid,
                       operation, (long long)m->sequence, hash);
    uint8_t signature[80];
    size_t signature_len = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, m->signer->pkey), 1);
    assert_int_equal(
        EVP_DigestSign(ctx, signature, &signature_len, (const uint8_t *)text, (size_t)len), 1);
    EVP_MD_CTX_free(ctx);
    append_base64(to, span_of(signature, signature_len));
}

static void envelope(const struct message *m, struct buf *to)
{
    const char *operation = m->operation != NULL ? m->operation : "-";
    (void)buf_printf(to,
                     "{\"id\":\"" OPERATION "\",\"type\":\"%s\",\"time\":"
                     "\"2026-11-21T06:00:00.000Z\",\"body\":{\"signed\":{\"kind\":\"%s\","
                     "\"operation\":\"%s\",\"sequence\":\"%lld\",\"payload\":\"",
                     m->type, m->kind, operation, (long long)m->sequence);
    append_base64(to, span_str(m->payload));
    (void)buf_append_str(to, "\",\"signature\":\"");
    sign(m, m->uid, operation, to);
    (void)buf_append_str(to, "\"},\"rot_key\":\"");
    append_base64(to, span_of(m->shown->spki, m->shown->spki_len));
    assert_ok(buf_append_str(to, "\"}}"));
}

static char *bootstrap_payload(const char *uid)
{
    return xasprintf("{\"uid\":\"%s\",\"install_nonce\":\"" NONCE "\",\"more\":1}", uid);
}

static err_t decode(const struct message *m, struct device_request **ret, struct fault *fault)
{
    CLEANUP_BUF struct buf value = BUF_INIT(65536);
    envelope(m, &value);
    return device_request_decode(span_str(m->uid), buf_span(&value), ret, fault);
}

static void test_unblock_names_the_device_of_its_key_or_none(void **state)
{
    (void)state;
    const struct {
        const char *uid; /* NULL: left out */
        err_t expected;
    } table[] = {{NULL, ERR_OK}, {root.uid, ERR_OK}, {thief.uid, ERR_INVALID}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        CLEANUP_FREE char *member =
            table[i].uid != NULL ? xasprintf("\"uid\":\"%s\"", table[i].uid) : xstrdup("");
        CLEANUP_FREE char *value =
            xasprintf("{\"id\":\"" OPERATION "\",\"type\":\"device.unblock.v1\",\"time\":"
                      "\"2026-11-21T06:00:00.000Z\",\"domain\":\"" OPERATION "\",\"body\":{%s}}",
                      member);
        CLEANUP(device_request_free) struct device_request *r = NULL;
        struct fault fault = {0};
        assert_int_equal(device_request_decode(span_str(root.uid), span_str(value), &r, &fault),
                         table[i].expected);
        assert_string_equal(fault.field, table[i].expected == ERR_OK ? "" : "uid");
    }
}

static void test_settings_say_something_about_their_device(void **state)
{
    (void)state;
    const struct {
        const char *uid, *members;
        err_t expected;
        const char *field;
    } table[] = {
        {root.uid, ",\"heartbeat_interval_s\":60", ERR_OK, ""},
        {root.uid, ",\"flood_interval_s\":60", ERR_OK, ""},
        {root.uid, "", ERR_INVALID, "heartbeat_interval_s"},
        {root.uid, ",\"flood_interval_s\":0", ERR_INVALID, "flood_interval_s"},
        {thief.uid, ",\"heartbeat_interval_s\":60", ERR_INVALID, "uid"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        CLEANUP_FREE char *value =
            xasprintf("{\"id\":\"" OPERATION "\",\"type\":\"device.settings.v1\",\"time\":"
                      "\"2026-11-21T06:00:00.000Z\",\"domain\":\"" OPERATION
                      "\",\"body\":{\"uid\":\"%s\"%s}}",
                      table[i].uid, table[i].members);
        CLEANUP(device_request_free) struct device_request *r = NULL;
        struct fault fault = {0};
        assert_int_equal(device_request_decode(span_str(root.uid), span_str(value), &r, &fault),
                         table[i].expected);
        assert_string_equal(fault.field, table[i].field);
    }
}

static void test_contradictions_are_refused(void **state)
{
    (void)state;
    CLEANUP_FREE char *mine = bootstrap_payload(root.uid);
    CLEANUP_FREE char *others = bootstrap_payload(thief.uid);
    static const char pickup[] = "{\"operation\":\"" OPERATION "\"}";
    const struct {
        struct message m;
        err_t expected;
        const char *field;
    } table[] = {
        {{"device.bootstrap.v1", "pickup", root.uid, NULL, mine, 1, &root, &root},
         ERR_INVALID,
         "signed.kind"},
        {{"device.pickup.v1", "bootstrap", root.uid, OPERATION, pickup, 1, &root, &root},
         ERR_INVALID,
         "signed.kind"},
        {{"device.bootstrap.v1", "bootstrap", root.uid, NULL, others, 1, &root, &root},
         ERR_INVALID,
         "uid"},
        {{"device.pickup.v1", "pickup", root.uid, "-", pickup, 1, &root, &root},
         ERR_INVALID,
         "signed.operation"},
        {{"device.bootstrap.v1", "bootstrap", root.uid, OPERATION, mine, 1, &root, &root},
         ERR_INVALID,
         "signed.operation"},
        {{"device.bootstrap.v1", "bootstrap", root.uid, NULL, mine, 0, &root, &root},
         ERR_INVALID,
         "signed.sequence"},
        {{"device.bootstrap.v1", "bootstrap", root.uid, NULL, "[1]", 1, &root, &root},
         ERR_INVALID,
         NULL},
        {{"device.bootstrap.v1", "bootstrap", root.uid, NULL, "{}", 1, &root, &root},
         ERR_INVALID,
         "uid"},
        {{"device.bootstrap.v2", "bootstrap", root.uid, NULL, mine, 1, &root, &root},
         ERR_UNSUPPORTED,
         "type"},
        {{"device.bootstrap.v1", "bootstrap", "0123456789ABCDEF", NULL, mine, 1, &root, &root},
         ERR_INVALID,
         "key"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        CLEANUP(device_request_free) struct device_request *r = NULL;
        struct fault fault = {0};
        assert_err(decode(&table[i].m, &r, &fault), table[i].expected);
        assert_null(r);
        assert_string_not_equal(fault.text, "");
        if (table[i].field != NULL) {
            assert_string_equal(fault.field, table[i].field);
        }
    }
}

static enum refusal verdict(const struct message *m)
{
    CLEANUP(device_request_free) struct device_request *r = NULL;
    struct fault fault = {0};
    assert_ok(decode(m, &r, &fault));
    device_request_verify(r);
    return r->proof.refusal;
}

static void test_only_the_root_of_trust_speaks(void **state)
{
    (void)state;
    CLEANUP_FREE char *payload = bootstrap_payload(root.uid);
    const struct message good = {
        "device.bootstrap.v1", "bootstrap", root.uid, NULL, payload, 7, &root, &root};
    assert_int_equal(verdict(&good), REFUSAL_NONE);
    struct message m = good;
    m.signer = &thief;
    assert_int_equal(verdict(&m), REFUSAL_BAD_SIGNATURE);
    m.shown = &thief; /* its own key does not have this UID */
    assert_int_equal(verdict(&m), REFUSAL_WRONG_KEY);
}

/* Every byte that is signed counts: what a door changes on the way is noticed. */
static void test_what_a_door_changes_is_noticed(void **state)
{
    (void)state;
    CLEANUP_FREE char *payload = bootstrap_payload(root.uid);
    const struct message good = {
        "device.bootstrap.v1", "bootstrap", root.uid, NULL, payload, 7, &root, &root};
    CLEANUP(device_request_free) struct device_request *r = NULL;
    struct fault fault;
    assert_ok(decode(&good, &r, &fault));
    r->body.signed_part.sequence++;
    device_request_verify(r);
    assert_int_equal(r->proof.refusal, REFUSAL_BAD_SIGNATURE);
    r->body.signed_part.sequence--;
    for (size_t i = 0; i < r->body.signed_part.payload_len; i++) {
        r->body.signed_part.payload[i] ^= 1;
        r->proof.refusal = REFUSAL_NONE;
        device_request_verify(r);
        assert_int_equal(r->proof.refusal, REFUSAL_BAD_SIGNATURE);
        r->body.signed_part.payload[i] ^= 1;
    }
    r->proof.refusal = REFUSAL_NONE;
    device_request_verify(r);
    assert_int_equal(r->proof.refusal, REFUSAL_NONE);
}

static void test_confirm_is_signed_by_the_new_key(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf payload = BUF_INIT(1024);
    (void)buf_append_str(&payload,
                         "{\"operation\":\"" OPERATION "\",\"serial\":\"" SERIAL "\",\"key\":\"");
    append_base64(&payload, span_of(thief.spki, thief.spki_len));
    (void)buf_append_str(&payload, "\"}");
    struct message m = {"device.confirm.v1", "confirm", root.uid, OPERATION,
                        buf_cstr(&payload),  3,         &thief,   &root};
    CLEANUP(device_request_free) struct device_request *r = NULL;
    struct fault fault;
    assert_ok(decode(&m, &r, &fault));
    device_request_verify(r);
    assert_int_equal(r->proof.refusal, REFUSAL_NONE);
    struct digest hash = digest_sha256(span_of(thief.spki, thief.spki_len));
    assert_memory_equal(r->proof.key_hash, hash.bytes, DIGEST_LEN);
    m.signer = &root; /* the root of trust cannot confirm in its place */
    assert_int_equal(verdict(&m), REFUSAL_BAD_SIGNATURE);
}

static void test_orders(void **state)
{
    (void)state;
#define RENEW(id, body)                                                                            \
    "{\"id\":\"" id "\",\"type\":\"device.renew.v1\",\"time\":\"2026-11-21T06:00:00.000Z\","       \
    "\"domain\":\"" OPERATION "\",\"body\":" body "}"
    static const char key[] = "0123456789abcdef";
    static const struct {
        const char *value;
        err_t expected;
    } table[] = {
        {RENEW(OPERATION, "{\"uid\":\"0123456789abcdef\"}"), ERR_OK},
        {RENEW(OPERATION, "{\"uid\":\"0123456789abcdef\",\"operation\":\"" OPERATION "\"}"),
         ERR_OK},
        {RENEW(OPERATION, "{\"uid\":\"0123456789abcdee\"}"), ERR_INVALID},
        {RENEW(OPERATION, "{\"uid\":\"0123456789abcdef\",\"operation\":\"1f8fad5b-d9cb-469f-a165-"
                          "70867728950e\"}"),
         ERR_INVALID},
        {RENEW(OPERATION, "{\"uid\":\"0123456789abcdef\",\"validity_s\":-1}"), ERR_INVALID},
        {RENEW(OPERATION, "{}"), ERR_INVALID},
        {"", ERR_INVALID},
        {"[]", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        CLEANUP(device_request_free) struct device_request *r = NULL;
        struct fault fault;
        assert_err(device_request_decode(span_str(key), span_str(table[i].value), &r, &fault),
                   table[i].expected);
        if (r != NULL) {
            struct uuid id;
            assert_ok(uuid_parse(span_str(OPERATION), &id));
            assert_true(uuid_eq(&r->of.renew.operation, &id));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contradictions_are_refused),
        cmocka_unit_test(test_unblock_names_the_device_of_its_key_or_none),
        cmocka_unit_test(test_settings_say_something_about_their_device),
        cmocka_unit_test(test_only_the_root_of_trust_speaks),
        cmocka_unit_test(test_what_a_door_changes_is_noticed),
        cmocka_unit_test(test_confirm_is_signed_by_the_new_key),
        cmocka_unit_test(test_orders),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
