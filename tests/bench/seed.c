/*
 * bench-seed: a fleet as if it had been here for a year, written straight to the log while no owner
 * runs. `devices` writes their state records; `pickups` writes, for the same devices, the signed
 * requests with which they fetch the renewal that waits for them; `ca` writes the request that
 * makes their CA.
 *
 *   bench-seed devices|pickups|ca --brokers B --partitions P --count N --ca UUID --domain UUID
 *              [--queued] [--flood SECONDS]
 *
 * --queued: each device has a renewal waiting. Prints the number of records.
 */
#include <getopt.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/id.h"
#include "common/kafka_producer.h"
#include "common/partition.h"
#include "keys.h"
#include "proto/ca.h"
#include "proto/device.h"
#include "proto/device_request.h"
#include "proto/topics.h"

CLEANUP_DEFINE(EVP_PKEY *, EVP_PKEY_free);
CLEANUP_DEFINE(EVP_MD_CTX *, EVP_MD_CTX_free);

#define DAY_MS       (INT64_C(86400) * 1000)
#define QUEUE_KBYTES (256 * 1024)
#define FLUSH_MS     60000
#define RECORD_MAX   ((size_t)DEVICE_RECORD_MAX)

struct seed {
    const char *what;
    const char *brokers;
    int32_t partitions;
    uint32_t count;
    struct uuid ca, domain;
    bool queued;
    int64_t flood_s;
    int64_t now_ms;
    struct kafka_producer *producer;
};

/* What the two records of one device agree on. */
static struct uuid operation_of(const char *uid)
{
    return UUID_V5(span_str("bench"), span_str(uid));
}

static void produce(struct seed *s, const char *topic, const char *uid, struct span value)
{
    const struct kafka_record record = {.topic = topic,
                                        .partition = partition_of(span_str(uid), s->partitions),
                                        .key = span_str(uid),
                                        .value = value};
    err_t e = ERR_BUSY;
    while (e == ERR_BUSY) {
        e = kafka_producer_produce(s->producer, &record);
        if (e == ERR_BUSY) {
            (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
    }
    bench_demand(e == ERR_OK, "produce");
}

static void fill_certificate(const struct seed *s, struct device *d)
{
    static const uint8_t subject[] = {0x30, 0x1b, 0x31, 0x19, 0x30, 0x17, 0x06,
                                      0x03, 0x55, 0x04, 0x03, 0x0c, 0x10};
    struct device_certificate *c = &d->certificate;
    struct uuid serial = UUID_V5(span_str("serial"), span_str(d->uid));
    memcpy(c->serial, serial.bytes, sizeof c->serial);
    c->serial[0] = (uint8_t)(0x40 | (c->serial[0] & 0x3f));
    c->ca = s->ca;
    c->issued_at_ms = s->now_ms - 300 * DAY_MS;
    c->installed_at_ms = c->issued_at_ms + 2000;
    c->not_before_ms = c->issued_at_ms - 300000;
    c->not_after_ms = c->issued_at_ms + 365 * DAY_MS;
    /* Operational keys are as good as any other: the root's again. */
    c->spki = d->rot_key;
    bench_demand(EVP_Q_digest(NULL, "SHA256", NULL, c->spki.der, c->spki.len, c->key_hash, NULL) ==
                     1,
                 "digest");
    memcpy(c->fingerprint, c->key_hash, sizeof c->fingerprint);
    c->fingerprint[0] ^= 0xff;
    memcpy(c->subject.der, subject, sizeof subject);
    memcpy(c->subject.der + sizeof subject, d->uid, DEVICE_UID_LEN);
    c->subject.len = sizeof subject + DEVICE_UID_LEN;
    c->operation = device_issue_id(d->uid, d->install_nonce);
}

static void fill(const struct seed *s, uint32_t number, struct device *d)
{
    memset(d, 0, sizeof *d);
    (void)snprintf(d->type, sizeof d->type, "%s", DEVICE_TYPE);
    d->state = DEVICE_ACTIVE;
    d->domain = s->domain;
    (void)snprintf(d->profile, sizeof d->profile, "0benchBenchBenchBench0");
    (void)snprintf(d->sealed_profile, sizeof d->sealed_profile, "%s", d->profile);
    (void)snprintf(d->serial, sizeof d->serial, "SIM%09" PRIu32, number);
    (void)snprintf(d->model, sizeof d->model, "simulated");
    (void)snprintf(d->firmware, sizeof d->firmware, "1.0");
    (void)snprintf(d->agent, sizeof d->agent, "bench");
    memcpy(d->install_nonce, &number, sizeof number);
    d->registered_at_ms = s->now_ms - 300 * DAY_MS - 5000;
    d->activated_at_ms = d->registered_at_ms;
    d->settings.heartbeat_interval_s = DEVICE_HEARTBEAT_INTERVAL_DEFAULT_S;
    d->settings.flood_interval_s = s->flood_s;
    d->sequence = 1;
    d->key_generation = 1;
    d->updated_at_ms = d->registered_at_ms + 2000;
}

static void fill_operation(const struct seed *s, struct device *d)
{
    d->operation = (struct device_operation){.id = operation_of(d->uid),
                                             .kind = OPERATION_RENEW,
                                             .state = OPERATION_QUEUED,
                                             .requested_at_ms = s->now_ms,
                                             .updated_at_ms = s->now_ms,
                                             .actor = "operator/bench",
                                             .ca = s->ca};
}

static void write_device(struct seed *s, uint32_t number, struct bench_keys *keys)
{
    static struct device d;
    CLEANUP_BUF struct buf record = BUF_INIT(RECORD_MAX);
    fill(s, number, &d);
    bench_keys_public(keys, d.rot_key.der, d.uid);
    d.rot_key.len = BENCH_SPKI_SIZE;
    fill_certificate(s, &d);
    if (s->queued) {
        fill_operation(s, &d);
    }
    bench_demand(device_encode(&d, &record) == ERR_OK, "device record");
    produce(s, TOPIC_DEVICE_STATE, d.uid, buf_span(&record));
}

static void sign(struct bench_keys *keys, const struct device_message *message, struct buf *to)
{
    char text[DEVICE_SIGNED_SIZE];
    size_t len = 0;
    uint8_t signature[DEVICE_SIGNATURE_MAX];
    size_t signature_len = sizeof signature;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *pair = bench_keys_pair(keys);
    CLEANUP(EVP_MD_CTX_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bench_demand(
        device_signed_bytes(message, text, &len) == ERR_OK &&
            EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pair) == 1 &&
            EVP_DigestSign(ctx, signature, &signature_len, (const uint8_t *)text, len) == 1 &&
            base64_append(to, span_of(signature, signature_len), BASE64_STANDARD) == ERR_OK,
        "signature");
}

static void write_pickup(struct seed *s, uint32_t number, struct bench_keys *keys)
{
    uint8_t spki[BENCH_SPKI_SIZE];
    char uid[DEVICE_UID_SIZE];
    char operation[UUID_TEXT_SIZE];
    char request[UUID_TEXT_SIZE];
    char domain[UUID_TEXT_SIZE];
    char payload[96];
    CLEANUP_BUF struct buf record = BUF_INIT(RECORD_MAX);
    (void)number;
    bench_keys_public(keys, spki, uid);
    struct uuid id = operation_of(uid);
    uuid_format(&id, operation);
    id = UUID_V5(span_str("pickup"), span_str(uid));
    uuid_format(&id, request);
    uuid_format(&s->domain, domain);
    int len = snprintf(payload, sizeof payload, "{\"operation\":\"%s\"}", operation);
    const struct device_message message = {.exchange = DEVICE_PICKUP,
                                           .uid = uid,
                                           .operation = operation,
                                           .sequence = 2,
                                           .payload = span_of(payload, (size_t)len)};
    struct buf *b = &record;
    (void)buf_printf(b,
                     "{\"id\":\"%s\",\"type\":\"" DEVICE_REQUEST_PICKUP
                     "\",\"time\":\"2026-01-01T00:00:00.000Z\",\"reply_to\":\"g:c:bench\","
                     "\"actor\":{\"kind\":\"device\",\"id\":\"%s\"},\"body\":{\"signed\":{"
                     "\"kind\":\"pickup\",\"operation\":\"%s\",\"sequence\":\"2\",\"payload\":\"",
                     request, uid, operation);
    (void)base64_append(b, message.payload, BASE64_STANDARD);
    (void)buf_append_str(b, "\",\"signature\":\"");
    sign(keys, &message, b);
    (void)buf_append_str(b, "\"},\"rot_key\":\"");
    (void)base64_append(b, span_of(spki, sizeof spki), BASE64_STANDARD);
    (void)buf_append_str(b, "\"}}");
    bench_demand(buf_ok(b), "request");
    produce(s, TOPIC_DEVICE_REQUESTS, uid, buf_span(b));
}

static void write_ca(struct seed *s)
{
    char ca[UUID_TEXT_SIZE];
    char domain[UUID_TEXT_SIZE];
    CLEANUP_BUF struct buf record = BUF_INIT(RECORD_MAX);
    uuid_format(&s->ca, ca);
    uuid_format(&s->domain, domain);
    (void)buf_printf(&record,
                     "{\"id\":\"%s\",\"type\":\"" CA_REQUEST_CREATE
                     "\",\"time\":\"2026-01-01T00:00:00.000Z\",\"domain\":\"%s\","
                     "\"actor\":{\"kind\":\"operator\",\"id\":\"bench\"},\"body\":{"
                     "\"name\":\"bench\",\"subject\":{\"common_name\":\"Bench CA\"},"
                     "\"validity_s\":315360000,\"device_validity_s\":31536000,"
                     "\"automatic_renewal\":false}}",
                     ca, domain);
    const struct kafka_record out = {.topic = TOPIC_CA_REQUESTS,
                                     .partition = partition_of(span_str(ca), s->partitions),
                                     .key = span_str(ca),
                                     .value = buf_span(&record)};
    bench_demand(kafka_producer_produce(s->producer, &out) == ERR_OK, "produce");
}

static bool read_options(int argc, char **argv, struct seed *s)
{
    static const struct option options[] = {
        {"brokers", required_argument, NULL, 'b'}, {"partitions", required_argument, NULL, 'p'},
        {"count", required_argument, NULL, 'n'},   {"ca", required_argument, NULL, 'c'},
        {"domain", required_argument, NULL, 'd'},  {"queued", no_argument, NULL, 'q'},
        {"flood", required_argument, NULL, 'f'},   {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'b':
            s->brokers = optarg;
            break;
        case 'p':
            s->partitions = (int32_t)strtol(optarg, NULL, 10);
            break;
        case 'n':
            s->count = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'c':
            bench_demand(uuid_parse(span_str(optarg), &s->ca) == ERR_OK, "--ca");
            break;
        case 'd':
            bench_demand(uuid_parse(span_str(optarg), &s->domain) == ERR_OK, "--domain");
            break;
        case 'q':
            s->queued = true;
            break;
        case 'f':
            s->flood_s = strtoll(optarg, NULL, 10);
            break;
        default:
            return false;
        }
    }
    s->what = optind == argc - 1 ? argv[optind] : "";
    bool ca = strcmp(s->what, "ca") == 0;
    return s->brokers != NULL && s->partitions > 0 &&
           (ca ||
            (s->count > 0 && (strcmp(s->what, "devices") == 0 || strcmp(s->what, "pickups") == 0)));
}

int main(int argc, char **argv)
{
    struct seed s = {.flood_s = DEVICE_FLOOD_INTERVAL_DEFAULT_S};
    if (!read_options(argc, argv, &s)) {
        (void)fputs("usage: bench-seed devices|pickups|ca --brokers B --partitions P --count N "
                    "--ca UUID --domain UUID [--queued] [--flood SECONDS]\n",
                    stderr);
        return 64;
    }
    s.now_ms = clock_now_ms(&clock_system);
    const struct kafka_config kafka = {.brokers = s.brokers, .client_id = "bench-seed"};
    const struct kafka_producer_config producer = {
        .linger_ms = 20, .queue_max_kbytes = QUEUE_KBYTES, .delivery_timeout_ms = FLUSH_MS};
    bench_demand(kafka_producer_new(&kafka, &producer, NULL, &s.producer) == ERR_OK, "producer");
    CLEANUP(bench_keys_free) struct bench_keys *keys = bench_keys_new(0);
    if (strcmp(s.what, "ca") == 0) {
        write_ca(&s);
        s.count = 0;
    }
    bool devices = strcmp(s.what, "devices") == 0;
    for (uint32_t i = 0; i < s.count; i++) {
        (devices ? write_device : write_pickup)(&s, i, keys);
        bench_keys_next(keys);
    }
    bench_demand(kafka_producer_flush(s.producer, FLUSH_MS) == ERR_OK, "flush");
    kafka_producer_free(s.producer);
    (void)printf("%" PRIu32 "\n", s.count);
    return 0;
}
