/*
 * The device's record and its packed view. What would break a user: a view that gives back another
 * device than the log holds (a wrong key, a lost certificate), a damaged view payload taken for a
 * device, a record of a later version read as one of ours, and a view that outgrows its memory
 * budget.
 */
#include "test_support.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/partition.h"
#include "proto/device.h"
#include "proto/registry.h"

#define UID    "0123456789abcdef"
#define NOW_MS INT64_C(1795240800123)

/* Deterministic numbers, so that a failure can be repeated. */
static uint64_t seed;
static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}
static uint64_t below(uint64_t limit)
{
    return next_random() % limit;
}
static void fill(void *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)out)[i] = (uint8_t)next_random();
    }
}

static void make_p256(struct device_key *key)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    assert_non_null(pkey);
    uint8_t *at = key->der;
    int len = i2d_PUBKEY(pkey, &at);
    assert_int_equal(len, 91);
    key->len = (size_t)len;
    EVP_PKEY_free(pkey);
}

#define KEYS 6
static struct device_key keys[KEYS]; /* P-256, the last two only look like it */

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < KEYS; i++) {
        make_p256(&keys[i]);
    }
    keys[KEYS - 1].der[90] ^= 1;   /* off the curve, nearly always */
    keys[KEYS - 2].der[26] = 0x06; /* the hybrid form of a point */
    return 0;
}

static void random_key(struct device_key *key)
{
    memset(key, 0, sizeof *key);
    uint64_t which = below(KEYS + 1);
    if (which < KEYS) {
        *key = keys[which];
    } else {
        key->len = 1 + below(DEVICE_SPKI_MAX);
        fill(key->der, key->len);
    }
}

static void random_text(char *out, size_t size)
{
    size_t len = below(3) == 0 ? 0 : below(size);
    for (size_t i = 0; i < len; i++) {
        out[i] = (char)('!' + below(90));
    }
    out[len] = 0;
}

static void random_uuid(struct uuid *out)
{
    fill(out->bytes, sizeof out->bytes);
}

static int64_t random_time(void)
{
    int64_t t = NOW_MS - (int64_t)below(INT64_C(100000000000)) + 1;
    return below(2) ? t : t / 1000 * 1000;
}

static void random_subject(struct device_subject *out)
{
    out->len = 1 + below(DEVICE_SUBJECT_MAX);
    fill(out->der, out->len);
}

static void random_profile(char *out, const struct uuid *domain)
{
    char text[UUID_TEXT_SIZE];
    uint8_t bytes[REGISTRY_PROFILE_RANDOM];
    fill(bytes, sizeof bytes);
    uuid_format(domain, text);
    switch (below(4)) {
    case 0:
        out[0] = 0;
        return;
    case 1:
        registry_profile_uid("another", bytes, out);
        return;
    case 2:
        random_text(out, DEVICE_PROFILE_LEN + 1);
        return;
    default:
        registry_profile_uid(text, bytes, out);
    }
}

static void random_certificate(struct device_certificate *c)
{
    fill(c->serial, sizeof c->serial);
    random_uuid(&c->ca);
    c->not_before_ms = random_time();
    c->not_after_ms = random_time();
    c->issued_at_ms = random_time();
    c->installed_at_ms = random_time();
    c->revoked_at_ms = below(3) == 0 ? random_time() : 0;
    fill(c->key_hash, sizeof c->key_hash);
    fill(c->fingerprint, sizeof c->fingerprint);
    random_key(&c->spki);
    random_subject(&c->subject);
    random_uuid(&c->operation);
}

static void random_unconfirmed(struct device_unconfirmed *c)
{
    fill(c->serial, sizeof c->serial);
    random_uuid(&c->ca);
    c->not_before_ms = random_time();
    c->not_after_ms = random_time();
    c->issued_at_ms = random_time();
    fill(c->fingerprint, sizeof c->fingerprint);
    fill(c->key_hash, sizeof c->key_hash);
    random_key(&c->spki);
    random_subject(&c->subject);
    random_uuid(&c->operation);
    c->kind = (enum operation_kind)(1 + below(OPERATION_DELETE));
    if (below(2)) {
        random_uuid(&c->order);
    }
    c->automatic = below(2);
    c->der_len = below(DEVICE_DER_MAX + 1);
    fill(c->der, c->der_len);
    c->deliveries = (int32_t)below(INT32_MAX);
}

static void random_operation(struct device_operation *o)
{
    random_uuid(&o->id);
    o->kind = (enum operation_kind)(1 + below(OPERATION_DELETE));
    o->state = (enum operation_state)(1 + below(OPERATION_CANCELLED));
    o->requested_at_ms = random_time();
    o->updated_at_ms = random_time();
    if (below(2)) {
        random_uuid(&o->order);
    }
    random_text(o->actor, sizeof o->actor);
    if (below(2)) {
        random_uuid(&o->ca);
    }
    o->validity_s = (int64_t)below(INT64_C(4000000000));
    random_text(o->reason, sizeof o->reason);
    o->attempts = (int32_t)below(1000);
    o->automatic = below(2);
}

static struct device *random_device(void)
{
    struct device *d = xcalloc(1, sizeof *d);
    memcpy(d->type, DEVICE_TYPE, sizeof DEVICE_TYPE);
    memcpy(d->uid, UID, sizeof UID);
    random_key(&d->rot_key);
    if (below(2)) {
        random_uuid(&d->domain);
    }
    d->state = (enum device_state)(1 + below(DEVICE_DECOMMISSIONED));
    random_text(d->reason, sizeof d->reason);
    random_profile(d->profile, &d->domain);
    if (below(2)) {
        memcpy(d->sealed_profile, d->profile, sizeof d->profile);
    } else {
        random_profile(d->sealed_profile, &d->domain);
    }
    random_text(d->serial, sizeof d->serial);
    fill(d->install_nonce, sizeof d->install_nonce);
    d->registered_at_ms = random_time();
    d->activated_at_ms = below(2) ? random_time() : 0;
    random_text(d->model, sizeof d->model);
    random_text(d->firmware, sizeof d->firmware);
    random_text(d->agent, sizeof d->agent);
    d->settings.heartbeat_interval_s = below(2) ? 604800 : (int64_t)(1 + below(10000000));
    d->settings.flood_interval_s = below(2) ? 300 : (int64_t)below(10000000);
    d->sequence = (int64_t)(next_random() >> (1 + below(63)));
    d->key_generation = (int32_t)below(100);
    if (below(2)) {
        random_certificate(&d->certificate);
    }
    d->unconfirmed_count = below(DEVICE_UNCONFIRMED_MAX + 1);
    for (size_t i = 0; i < d->unconfirmed_count; i++) {
        random_unconfirmed(&d->unconfirmed[i]);
    }
    if (below(2)) {
        random_operation(&d->operation);
    }
    d->recent_count = below(DEVICE_RECENT_MAX + 1);
    for (size_t i = 0; i < d->recent_count; i++) {
        struct device_recent *r = &d->recent[i];
        random_uuid(&r->id);
        if (i == 0) {
            r->id = device_issue_id(d->uid, d->install_nonce);
        } else if (i == 1) {
            r->id = d->certificate.operation;
        }
        r->kind = (enum operation_kind)(1 + below(OPERATION_DELETE));
        r->state = (enum operation_state)(1 + below(OPERATION_CANCELLED));
        r->at_ms = random_time();
        random_text(r->reason, sizeof r->reason);
    }
    if (below(3) == 0) {
        d->fork =
            (struct device_fork){.at_ms = random_time(), .sequence = 1 + (int64_t)below(100000)};
    }
    d->changes_count = below(2) ? 0 : below(DEVICE_CHANGES_MAX + 1);
    for (size_t i = 0; i < d->changes_count; i++) {
        random_uuid(&d->changes[i].id);
        d->changes[i].at_ms = random_time();
    }
    d->updated_at_ms = random_time();
    if (below(3) == 0) {
        d->extra = cJSON_CreateObject();
        (void)cJSON_AddStringToObject(d->extra, "later", "value");
        (void)cJSON_AddNumberToObject(d->extra, "number", 5);
    }
    return d;
}

/* JSON -> struct -> packed -> struct -> JSON; returns the packed size. */
static size_t assert_round_trip(struct span json)
{
    CLEANUP(device_free) struct device *read = NULL;
    CLEANUP(device_free) struct device *unpacked = NULL;
    CLEANUP_BUF struct buf packed = BUF_INIT(DEVICE_PACKED_MAX);
    CLEANUP_BUF struct buf again = BUF_INIT(DEVICE_RECORD_MAX);
    struct fault fault = {0};
    err_t e = device_decode(json, &read, &fault);
    if (e != ERR_OK) {
        print_error("%s: %s\n", fault.field, fault.text);
    }
    assert_ok(e);
    assert_ok(device_pack(read, &packed));
    assert_ok(device_unpack(span_str(read->uid), buf_span(&packed), &unpacked));
    assert_ok(device_encode(unpacked, &again));
    assert_string_equal(buf_cstr(&again), (const char *)json.ptr);
    return packed.len;
}

static void test_any_device_survives_packing(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 1500; i++) {
        seed = UINT64_C(0x9e3779b97f4a7c15) * i;
        CLEANUP(device_free) struct device *d = random_device();
        CLEANUP_BUF struct buf json = BUF_INIT(DEVICE_RECORD_MAX);
        assert_ok(device_encode(d, &json));
        (void)buf_cstr(&json);
        (void)assert_round_trip(buf_span(&json));
    }
}

static void test_fullest_record_fits(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 200; i++) {
        seed = i;
        CLEANUP(device_free) struct device *d = random_device();
        d->unconfirmed_count = DEVICE_UNCONFIRMED_MAX;
        for (size_t k = 0; k < d->unconfirmed_count; k++) {
            random_unconfirmed(&d->unconfirmed[k]);
            d->unconfirmed[k].der_len = DEVICE_DER_MAX;
            d->unconfirmed[k].spki.len = DEVICE_SPKI_MAX;
        }
        CLEANUP_BUF struct buf json = BUF_INIT(DEVICE_RECORD_MAX);
        CLEANUP_BUF struct buf packed = BUF_INIT(DEVICE_PACKED_MAX);
        assert_ok(device_encode(d, &json));
        assert_ok(device_pack(d, &packed));
    }
}

static bool read_file(const char *path, struct buf *to)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    char chunk[4096];
    size_t got = 0;
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0) {
        (void)buf_append(to, chunk, got);
    }
    (void)fclose(file);
    while (to->len > 0 && to->ptr[to->len - 1] == '\n') {
        to->len--;
    }
    return buf_ok(to);
}

/* Golden records are the contract between versions: what was written once is read for ever, to the
 * same bytes. */
static void test_golden_records(void **state)
{
    (void)state;
    static const char folder[] = "proto/golden/device.v1";
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    unsigned seen = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strstr(entry->d_name, ".json") == NULL) {
            continue;
        }
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        CLEANUP_BUF struct buf json = BUF_INIT(DEVICE_RECORD_MAX);
        assert_true(read_file(path, &json));
        (void)buf_cstr(&json);
        size_t packed = assert_round_trip(buf_span(&json));
        if (strstr(entry->d_name, "idle") != NULL && packed > DEVICE_PACKED_IDLE_MAX) {
            print_error("%s packs into %zu bytes\n", entry->d_name, packed);
            fail();
        }
        seen++;
    }
    (void)closedir(dir);
    assert_true(seen >= 3);
}

/* A device as it is nearly all of its life: its third certificate, renewed once by order and once
 * automatically. */
static struct device *idle_device(void)
{
    struct device *d = xcalloc(1, sizeof *d);
    memcpy(d->type, DEVICE_TYPE, sizeof DEVICE_TYPE);
    memcpy(d->uid, UID, sizeof UID);
    d->rot_key = keys[0];
    random_uuid(&d->domain);
    d->state = DEVICE_ACTIVE;
    char domain[UUID_TEXT_SIZE];
    uuid_format(&d->domain, domain);
    uint8_t random[REGISTRY_PROFILE_RANDOM];
    fill(random, sizeof random);
    registry_profile_uid(domain, random, d->profile);
    memcpy(d->sealed_profile, d->profile, sizeof d->profile);
    memcpy(d->serial, "SN-0001234", 11);
    fill(d->install_nonce, sizeof d->install_nonce);
    d->registered_at_ms = NOW_MS;
    d->activated_at_ms = NOW_MS;
    memcpy(d->model, "sim-1", 6);
    memcpy(d->firmware, "1.0.0", 6);
    memcpy(d->agent, "0.1.0", 6);
    d->settings = (struct device_settings){604800, 300};
    d->sequence = 1234;
    d->key_generation = 1;
    struct device_certificate *c = &d->certificate;
    fill(c->serial, sizeof c->serial);
    random_uuid(&c->ca);
    c->issued_at_ms = NOW_MS + INT64_C(23456789012);
    c->not_before_ms = (c->issued_at_ms - 300000) / 1000 * 1000;
    c->not_after_ms = c->not_before_ms + INT64_C(365) * 86400000;
    c->installed_at_ms = c->issued_at_ms + 1234;
    fill(c->fingerprint, sizeof c->fingerprint);
    c->spki = keys[1];
    unsigned len = 0;
    assert_int_equal(EVP_Digest(c->spki.der, c->spki.len, c->key_hash, &len, EVP_sha256(), NULL),
                     1);
    static const uint8_t prefix[] = {0x30, 0x1b, 0x31, 0x19, 0x30, 0x17, 0x06,
                                     0x03, 0x55, 0x04, 0x03, 0x0c, 0x10};
    memcpy(c->subject.der, prefix, sizeof prefix);
    (void)snprintf((char *)c->subject.der + sizeof prefix, 17, "%s", UID);
    c->subject.len = sizeof prefix + 16;
    random_uuid(&c->operation);
    d->recent_count = 1;
    d->recent[0] = (struct device_recent){.id = c->operation,
                                          .kind = OPERATION_RENEW,
                                          .state = OPERATION_INSTALLED,
                                          .at_ms = c->installed_at_ms};
    d->updated_at_ms = c->installed_at_ms;
    return d;
}

static void test_idle_device_is_small(void **state)
{
    (void)state;
    seed = 99;
    CLEANUP(device_free) struct device *d = idle_device();
    CLEANUP_BUF struct buf packed = BUF_INIT(DEVICE_PACKED_MAX);
    assert_ok(device_pack(d, &packed));
    print_message("an idle device packs into %zu bytes\n", packed.len);
    assert_true(packed.len <= DEVICE_PACKED_IDLE_MAX);
}

/* Without keys, everything else is the same. */
static void test_bare_reading(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 200; i++) {
        seed = UINT64_C(0x2545f4914f6cdd1d) * i;
        CLEANUP(device_free) struct device *d = random_device();
        CLEANUP(device_free) struct device *bare = NULL;
        CLEANUP_BUF struct buf packed = BUF_INIT(DEVICE_PACKED_MAX);
        assert_ok(device_pack(d, &packed));
        assert_ok(device_unpack_bare(span_str(UID), buf_span(&packed), &bare));
        assert_int_equal(bare->state, d->state);
        assert_int_equal(bare->sequence, d->sequence);
        assert_int_equal(bare->updated_at_ms, d->updated_at_ms);
        assert_int_equal(bare->unconfirmed_count, d->unconfirmed_count);
        assert_memory_equal(&bare->operation, &d->operation, sizeof d->operation);
        assert_memory_equal(bare->certificate.serial, d->certificate.serial, CERTIFICATE_SERIAL);
        assert_true(bare->rot_key.len == 0 || bare->rot_key.len == d->rot_key.len);
        for (size_t len = 0; len < packed.len; len += 7) {
            struct device *cut = NULL;
            assert_err(device_unpack_bare(span_str(UID), span_of(packed.ptr, len), &cut),
                       ERR_CORRUPT);
        }
    }
}

static void test_damaged_payload_is_refused(void **state)
{
    (void)state;
    seed = 7;
    CLEANUP(device_free) struct device *d = random_device();
    d->unconfirmed_count = 1;
    random_unconfirmed(&d->unconfirmed[0]);
    CLEANUP_BUF struct buf packed = BUF_INIT(DEVICE_PACKED_MAX);
    assert_ok(device_pack(d, &packed));
    struct device *out = NULL;
    for (size_t len = 0; len < packed.len; len++) {
        assert_err(device_unpack(span_str(UID), span_of(packed.ptr, len), &out), ERR_CORRUPT);
    }
    assert_ok(buf_append_byte(&packed, 0));
    assert_err(device_unpack(span_str(UID), buf_span(&packed), &out), ERR_CORRUPT);
    packed.ptr[0] = 2; /* a later form */
    packed.len--;
    assert_err(device_unpack(span_str(UID), buf_span(&packed), &out), ERR_CORRUPT);
    assert_err(device_unpack(span_str("0123456789ABCDEF"), buf_span(&packed), &out), ERR_CORRUPT);
    assert_null(out);
}

/* Any change of any byte gives a device or a refusal, never a crash. */
static void test_random_damage_is_harmless(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 300; i++) {
        seed = UINT64_C(77777) * i;
        CLEANUP(device_free) struct device *d = random_device();
        CLEANUP_BUF struct buf packed = BUF_INIT(DEVICE_PACKED_MAX);
        assert_ok(device_pack(d, &packed));
        for (unsigned k = 0; k < 20; k++) {
            packed.ptr[below(packed.len < 200 ? packed.len : 200)] = (uint8_t)next_random();
            CLEANUP(device_free) struct device *out = NULL;
            err_t e = device_unpack(span_str(UID), buf_span(&packed), &out);
            assert_true(e == ERR_OK || e == ERR_CORRUPT);
        }
    }
}

static void test_records_of_others_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        err_t expected;
    } table[] = {
        {"", ERR_INVALID},
        {"[]", ERR_INVALID},
        {"{}", ERR_INVALID},
        {"{\"type\":\"device.v2\"}", ERR_UNSUPPORTED},
        {"{\"type\":\"ca.v1\"}", ERR_UNSUPPORTED},
        {"{\"type\":\"device.v1\"}", ERR_INVALID},
        {"{\"type\":\"device.v1\",\"uid\":\"0123456789ABCDEF\"}", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct device *d = NULL;
        struct fault fault;
        assert_err(device_decode(span_str(table[i].json), &d, &fault), table[i].expected);
        assert_null(d);
    }
}

static void test_view_key(void **state)
{
    (void)state;
    uint8_t key[8];
    assert_ok(device_view_key(span_str(UID), key));
    assert_memory_equal(key, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
    assert_err(device_view_key(span_str("0123456789abcde"), key), ERR_INVALID);
    assert_err(device_view_key(span_str("0123456789abcdeg"), key), ERR_INVALID);
    assert_err(device_view_key(span_str("0123456789abcdef0"), key), ERR_INVALID);
}

static void test_due_is_spread_over_a_twentieth(void **state)
{
    (void)state;
    const int64_t life_ms = INT64_C(365) * 86400 * 1000;
    int64_t least = INT64_MAX;
    int64_t most = 0;
    for (unsigned i = 0; i < 2000; i++) {
        char uid[17];
        (void)snprintf(uid, sizeof uid, "%016x", i * 2654435761U);
        int64_t due = device_due_ms(uid, NOW_MS, NOW_MS + life_ms);
        assert_int_equal(due, device_due_ms(uid, NOW_MS, NOW_MS + life_ms));
        assert_true(due <= NOW_MS + life_ms && due >= NOW_MS + life_ms - life_ms / 20);
        least = due < least ? due : least;
        most = due > most ? due : most;
    }
    assert_true(most - least > life_ms / 20 * 9 / 10);
    assert_int_equal(device_due_ms(UID, NOW_MS, NOW_MS + 1000), NOW_MS + 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_of_others_are_refused),
        cmocka_unit_test(test_damaged_payload_is_refused),
        cmocka_unit_test(test_random_damage_is_harmless),
        cmocka_unit_test(test_any_device_survives_packing),
        cmocka_unit_test(test_bare_reading),
        cmocka_unit_test(test_fullest_record_fits),
        cmocka_unit_test(test_golden_records),
        cmocka_unit_test(test_idle_device_is_small),
        cmocka_unit_test(test_view_key),
        cmocka_unit_test(test_due_is_spread_over_a_twentieth),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
