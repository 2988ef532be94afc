/*
 * How a CA is made and changed. What would break a user: settings that renew without end or never,
 * a retried request that makes a second CA or applies twice, another domain's CA, a refused CA that
 * keeps its seat.
 */
#include "test_support.h"

#include <stdio.h>
#include <string.h>

#include "ca_decide.h"

#define NOW     INT64_C(1795240800000)
#define DAY_S   INT64_C(86400)
#define ID      "0f8fad5b-d9cb-469f-a165-70867728950e"
#define SHOUTED "0F8FAD5B-D9CB-469F-A165-70867728950E" /* ID in another spelling */
#define DOMAIN  "7c9e6679-7425-40de-944b-e07fc1f90ae7"
#define REQUEST "11111111-2222-4333-8444-555555555555"

static struct ca_command *command(enum ca_request_kind kind, const char *request, const char *hash)
{
    struct ca_command *c = xcalloc(1, sizeof *c);
    c->kind = kind;
    assert_ok(uuid_parse(span_str(ID), &c->id));
    assert_ok(uuid_parse(span_str(DOMAIN), &c->domain));
    (void)snprintf(c->envelope.id, sizeof c->envelope.id, "%s", request);
    (void)snprintf(c->envelope.hash, sizeof c->envelope.hash, "%s", hash);
    if (kind == CA_ASKS_UPDATE) {
        c->of.update.id = c->id;
        return c;
    }
    memcpy(c->of.create.name, "Plant", 6);
    memcpy(c->of.create.subject.common_name, "Plant Root", 11);
    c->of.create.validity_s = 3650 * DAY_S;
    c->of.create.device_validity_s = 365 * DAY_S;
    return c;
}

static void make(struct ca_command *c)
{
    static const uint8_t der[] = {0x30, 0x00};
    const struct ca_made made = {.certificate = span_of(der, sizeof der),
                                 .not_before_ms = NOW,
                                 .not_after_ms = NOW + c->of.create.validity_s * 1000};
    ca_made(c, &made, NOW);
}

static struct ca *made_ca(const char *hash)
{
    CLEANUP(ca_command_free) struct ca_command *c = command(CA_ASKS_CREATE, ID, hash);
    ca_decide(NULL, c, NOW);
    assert_true(c->outcome.sign);
    make(c);
    assert_int_equal(c->outcome.status, 200);
    assert_string_equal(c->outcome.event, EVENT_CA_CREATED);
    return ca_copy(c->outcome.state);
}

static void assert_refused(const struct ca_command *c, int status, const char *code,
                           const char *field)
{
    assert_int_equal(c->outcome.status, status);
    assert_string_equal(c->outcome.fault.code, code);
    assert_string_equal(c->outcome.fault.field, field);
    assert_null(c->outcome.state);
    assert_null(c->outcome.event);
    assert_false(c->outcome.sign);
}

static void test_settings_that_can_never_work(void **state)
{
    (void)state;
    static const struct {
        const char *algorithm;
        int64_t validity_s, device_validity_s, renew_ahead_s;
        const char *field; /* "": accepted */
    } table[] = {
        {"", 10, 11, 0, "DeviceCertificateValidity"},
        {"RSA-1024", 100, 10, 0, "KeyAlgorithm"},
        {"", 1000 * DAY_S, 100 * DAY_S, 100 * DAY_S, "RenewAhead"},
        {"", 1000 * DAY_S, 100 * DAY_S, 95 * DAY_S, "RenewAhead"},
        {"", 1000 * DAY_S, 100 * DAY_S, 95 * DAY_S - 1, ""},
        {"EC-P384", 10, 10, 0, ""},
        {"Ed25519", 1, 1, 0, ""},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        CLEANUP(ca_command_free) struct ca_command *c = command(CA_ASKS_CREATE, ID, "a");
        (void)snprintf(c->of.create.key_algorithm, sizeof c->of.create.key_algorithm, "%s",
                       table[i].algorithm);
        c->of.create.validity_s = table[i].validity_s;
        c->of.create.device_validity_s = table[i].device_validity_s;
        c->of.create.renew_ahead_s = table[i].renew_ahead_s;
        ca_decide(NULL, c, NOW);
        assert_string_equal(c->outcome.fault.field, table[i].field);
        bool refused = table[i].field[0] != 0;
        assert_int_equal(c->outcome.sign, !refused);
        assert_int_equal(c->outcome.release_seat, refused);
        assert_int_equal(c->outcome.status, refused ? 400 : 0);
    }
}

/* Devices under such a CA could never get a certificate. */
static void test_usages_that_no_certificate_can_have(void **state)
{
    (void)state;
    static const struct {
        int usage, purpose;
        bool accepted;
    } table[] = {
        {CA_USAGE_NON_REPUDIATION, CA_EXTENDED_CLIENT_AUTH, false},
        {CA_USAGE_DATA_ENCIPHERMENT, CA_EXTENDED_SERVER_AUTH, false},
        {CA_USAGE_KEY_ENCIPHERMENT, CA_EXTENDED_CLIENT_AUTH, false},
        {CA_USAGE_KEY_ENCIPHERMENT, CA_EXTENDED_SERVER_AUTH, true},
        {CA_USAGE_KEY_AGREEMENT, CA_EXTENDED_CLIENT_AUTH, true},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        CLEANUP(ca_command_free) struct ca_command *c = command(CA_ASKS_CREATE, ID, "a");
        c->of.create.key_usage[c->of.create.key_usage_count++] = table[i].usage;
        c->of.create.extended_key_usage[c->of.create.extended_key_usage_count++] = table[i].purpose;
        ca_decide(NULL, c, NOW);
        if (table[i].accepted) {
            assert_true(c->outcome.sign);
        } else {
            assert_refused(c, 400, "validation_error", "KeyUsage");
            assert_true(c->outcome.release_seat);
        }
    }
}

static void test_defaults(void **state)
{
    (void)state;
    CLEANUP(ca_free) struct ca *ca = made_ca("a");
    assert_string_equal(ca->key_algorithm, "EC-P256");
    assert_int_equal(ca->renew_ahead_s, CA_RENEW_AHEAD_USUAL_S);
    assert_int_equal(ca->key_usage[0], CA_USAGE_DIGITAL_SIGNATURE);
    assert_int_equal(ca->extended_key_usage[0], CA_EXTENDED_CLIENT_AUTH);
    CLEANUP(ca_command_free) struct ca_command *c = command(CA_ASKS_CREATE, ID, "a");
    c->of.create.device_validity_s = 9;
    ca_decide(NULL, c, NOW);
    make(c);
    assert_int_equal(c->outcome.state->renew_ahead_s, 3);
}

static void test_create_again(void **state)
{
    (void)state;
    CLEANUP(ca_free) struct ca *ca = made_ca("aa");
    CLEANUP(ca_command_free) struct ca_command *same = command(CA_ASKS_CREATE, ID, "aa");
    ca_decide(ca, same, NOW);
    assert_int_equal(same->outcome.status, 200);
    assert_null(same->outcome.state);
    assert_false(same->outcome.sign);
    assert_non_null(same->outcome.result);
    CLEANUP(ca_command_free) struct ca_command *other = command(CA_ASKS_CREATE, ID, "bb");
    ca_decide(ca, other, NOW);
    assert_refused(other, 422, "idempotency_key_reused", "Idempotency-Key");
    assert_false(other->outcome.release_seat);
    CLEANUP(ca_command_free) struct ca_command *stranger = command(CA_ASKS_CREATE, ID, "aa");
    stranger->domain.bytes[0] ^= 1;
    ca_decide(ca, stranger, NOW);
    assert_refused(stranger, 409, "conflict", "");
    assert_null(stranger->outcome.result);
}

static void test_key_store_failures(void **state)
{
    (void)state;
    static const struct {
        err_t why;
        int status;
    } table[] = {{ERR_UNAVAILABLE, 503}, {ERR_INTERNAL, 503}, {ERR_INVALID, 400}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        CLEANUP(ca_command_free) struct ca_command *c = command(CA_ASKS_CREATE, ID, "a");
        const struct fault fault = {.code = "validation_error", .field = "Subject", .text = "x"};
        ca_decide(NULL, c, NOW);
        ca_not_made(c, table[i].why, &fault);
        assert_int_equal(c->outcome.status, table[i].status);
        assert_true(c->outcome.release_seat);
        assert_null(c->outcome.state);
    }
}

static void test_update_refusals(void **state)
{
    (void)state;
    CLEANUP(ca_free) struct ca *ca = made_ca("a");
    CLEANUP(ca_command_free) struct ca_command *absent = command(CA_ASKS_UPDATE, REQUEST, "u");
    ca_decide(NULL, absent, NOW);
    assert_refused(absent, 404, "not_found", "");
    CLEANUP(ca_command_free) struct ca_command *stranger = command(CA_ASKS_UPDATE, REQUEST, "u");
    stranger->domain.bytes[0] ^= 1;
    ca_decide(ca, stranger, NOW);
    assert_refused(stranger, 404, "not_found", "");
    CLEANUP(ca_command_free) struct ca_command *shorter = command(CA_ASKS_UPDATE, REQUEST, "u");
    shorter->of.update.has_device_validity = true;
    shorter->of.update.device_validity_s = 20 * DAY_S; /* renew-ahead is 30 days */
    ca_decide(ca, shorter, NOW);
    assert_refused(shorter, 400, "validation_error", "RenewAhead");
    CLEANUP(ca_command_free) struct ca_command *longer = command(CA_ASKS_UPDATE, REQUEST, "u");
    longer->of.update.has_device_validity = true;
    longer->of.update.device_validity_s = 4000 * DAY_S;
    ca_decide(ca, longer, NOW);
    assert_refused(longer, 400, "validation_error", "DeviceCertificateValidity");
}

static void test_update_changes_what_is_named(void **state)
{
    (void)state;
    CLEANUP(ca_free) struct ca *ca = made_ca("a");
    CLEANUP(ca_command_free) struct ca_command *c = command(CA_ASKS_UPDATE, REQUEST, "u");
    c->of.update.has_automatic_renewal = c->of.update.automatic_renewal = true;
    ca_decide(ca, c, NOW + 5);
    assert_int_equal(c->outcome.status, 200);
    const struct ca *after = c->outcome.state;
    assert_true(after->automatic_renewal);
    assert_string_equal(after->name, ca->name);
    assert_int_equal(after->device_validity_s, ca->device_validity_s);
    assert_int_equal(after->renew_ahead_s, ca->renew_ahead_s);
    assert_int_equal(after->updated_at_ms, NOW + 5);
    /* The same request again, also after others came between. */
    CLEANUP(ca_command_free) struct ca_command *again = command(CA_ASKS_UPDATE, REQUEST, "u");
    ca_decide(after, again, NOW + 9);
    assert_int_equal(again->outcome.status, 200);
    assert_null(again->outcome.state);
    CLEANUP(ca_command_free) struct ca_command *other = command(CA_ASKS_UPDATE, REQUEST, "v");
    ca_decide(after, other, NOW + 9);
    assert_refused(other, 422, "idempotency_key_reused", "Idempotency-Key");
}

static void test_memory_of_requests_is_bounded_and_ages(void **state)
{
    (void)state;
    CLEANUP(ca_free) struct ca *ca = made_ca("a");
    for (int i = 0; i < 200; i++) {
        char request[UUID_TEXT_SIZE];
        (void)snprintf(request, sizeof request, "11111111-2222-4333-8444-%012d", i);
        CLEANUP(ca_command_free) struct ca_command *c = command(CA_ASKS_UPDATE, request, "u");
        c->of.update.has_name = true;
        memcpy(c->of.update.name, "N", 2);
        ca_decide(ca, c, NOW + i);
        ca_free(ca);
        ca = ca_copy(c->outcome.state);
        assert_true(ca->requests_count <= CA_REQUESTS_MAX);
        CLEANUP_BUF struct buf json = BUF_INIT(CA_RECORD_MAX);
        assert_ok(ca_encode(ca, &json));
    }
    assert_int_equal(ca->requests_count, CA_REQUESTS_MAX);
    CLEANUP(ca_command_free) struct ca_command *late = command(CA_ASKS_UPDATE, REQUEST, "u");
    ca_decide(ca, late, NOW + CA_REQUESTS_KEEP_MS + 1000);
    assert_int_equal(late->outcome.state->requests_count, 1);
}

static void test_messages_that_are_none(void **state)
{
    (void)state;
#define ENVELOPE(id, type, domain, body)                                                           \
    "{\"id\":\"" id "\",\"type\":\"" type                                                          \
    "\",\"time\":\"2026-11-21T06:00:00.000Z\",\"domain\":\"" domain "\",\"body\":" body "}"
    static const struct {
        const char *key;
        const char *value;
        err_t expected;
    } table[] = {
        {"x", "{}", ERR_INVALID},
        {ID, "{", ERR_INVALID},
        {ID, ENVELOPE(ID, "ca.create.v2", DOMAIN, "{}"), ERR_UNSUPPORTED},
        {ID, ENVELOPE(ID, "ca.create.v1", DOMAIN, "{}"), ERR_INVALID},
        {ID, ENVELOPE(ID, "ca.update.v1", "", "{\"id\":\"" ID "\"}"), ERR_INVALID},
        {ID, ENVELOPE(REQUEST, "ca.update.v1", DOMAIN, "{\"id\":\"" REQUEST "\"}"), ERR_INVALID},
        {ID,
         ENVELOPE(REQUEST, "ca.create.v1", DOMAIN,
                  "{\"name\":\"n\",\"subject\":{\"common_name\":\"c\"},\"validity_s\":9,"
                  "\"device_validity_s\":9}"),
         ERR_INVALID},
        {ID, ENVELOPE(REQUEST, "ca.update.v1", DOMAIN, "{\"id\":\"" ID "\"}"), ERR_OK},
        {SHOUTED, ENVELOPE(REQUEST, "ca.update.v1", DOMAIN, "{\"id\":\"" ID "\"}"), ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        CLEANUP(ca_command_free) struct ca_command *c = NULL;
        struct fault fault;
        assert_err(ca_command_decode(span_str(table[i].key), span_str(table[i].value), &c, &fault),
                   table[i].expected);
        assert_int_equal(c != NULL, table[i].expected == ERR_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_that_are_none),
        cmocka_unit_test(test_settings_that_can_never_work),
        cmocka_unit_test(test_key_store_failures),
        cmocka_unit_test(test_update_refusals),
        cmocka_unit_test(test_usages_that_no_certificate_can_have),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_create_again),
        cmocka_unit_test(test_update_changes_what_is_named),
        cmocka_unit_test(test_memory_of_requests_is_bounded_and_ages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
