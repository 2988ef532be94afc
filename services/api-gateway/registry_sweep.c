#include "registry_sweep.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "common/config.h"
#include "common/kafka_admin.h"
#include "common/kafka_producer.h"
#include "common/log.h"
#include "common/redis.h"
#include "common/view.h"
#include "proto/envelope.h"
#include "proto/registry.h"
#include "proto/topics.h"
#include "sweep_pace.h"

#define CALL_MS 1000

struct registry_sweep {
    const struct common_config *config;
    struct redis *redis;
    struct kafka_producer *producer;
    int32_t partitions;
    struct sweep_asked *asked; /* by partition */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
};

static err_t append_find(struct registry_sweep *s, int32_t partition, int64_t now_ms)
{
    CLEANUP_BUF struct buf key = BUF_INIT(128);
    char now[24];
    char limit[16];
    /* whole seconds: in the present one some are not over yet */
    (void)snprintf(now, sizeof now, "%lld", (long long)(now_ms / 1000 - 1));
    (void)snprintf(limit, sizeof limit, "%d", SWEEP_BATCH);
    err_t err = view_index_key(VIEW_REGISTRY, partition, span_str("expire"), &key);
    const struct span argv[] = {
        span_str("ZRANGEBYSCORE"), buf_span(&key), span_str("-inf"), span_str(now),
        span_str("LIMIT"),         span_str("0"),  span_str(limit)};
    return err != ERR_OK ? err : redis_append(s->redis, argv, sizeof argv / sizeof argv[0]);
}

static void send(struct registry_sweep *s, int32_t partition, const char *domain,
                 const struct registry_expire *expire, int64_t now_ms)
{
    CLEANUP_BUF struct buf body = BUF_INIT(8192);
    CLEANUP_BUF struct buf value = BUF_INIT(16384);
    CLEANUP_JSON cJSON *json = NULL;
    struct envelope e = {.time_ms = now_ms,
                         .type = REGISTRY_REQUEST_EXPIRE,
                         .actor_kind = "service",
                         .actor_id = "api-gateway"};
    struct uuid id = uuid_v4();
    uuid_format(&id, e.id);
    (void)snprintf(e.domain, sizeof e.domain, "%s", domain);
    if (codec_encode(&registry_expire_table, expire, &body) != ERR_OK ||
        json_decode(buf_span(&body), &JSON_LIMITS_DEFAULT, &json, NULL) != ERR_OK ||
        envelope_encode(&e, json, &value) != ERR_OK) {
        return;
    }
    const struct kafka_record record = {.topic = TOPIC_REGISTRY_REQUESTS,
                                        .partition = partition,
                                        .key = span_str(domain),
                                        .value = buf_span(&value)};
    err_t err = kafka_producer_produce(s->producer, &record);
    /* what is not sent now is found again next time */
    log_debug("sweep", NULL, "results_expired", LOG_STR("domain", domain),
              LOG_UINT("count", expire->ids_count), LOG_ERR("error", err));
}

/* Members come in the order of their time: one request per run of the same domain. */
static void sweep_found(struct registry_sweep *s, int32_t partition,
                        const struct redis_reply *found, int64_t now_ms)
{
    struct registry_expire expire = {0};
    char domain[UUID_TEXT_SIZE] = "";
    for (size_t i = 0; i < redis_reply_count(found); i++) {
        struct span of = {0};
        struct span id = {0};
        enum registry_kind kind = REGISTRY_DOMAIN;
        if (registry_key_parse(redis_reply_span(redis_reply_at(found, i)), &of, &kind, &id) !=
                ERR_OK ||
            id.len != UUID_TEXT_SIZE - 1) {
            continue;
        }
        bool other = !span_eq(of, span_str(domain));
        if (expire.ids_count > 0 && (other || expire.ids_count == REGISTRY_EXPIRE_CHUNK)) {
            send(s, partition, domain, &expire, now_ms);
            expire.ids_count = 0;
        }
        memcpy(domain, of.ptr, of.len);
        memcpy(expire.ids[expire.ids_count], id.ptr, id.len);
        expire.ids[expire.ids_count++][id.len] = '\0';
    }
    if (expire.ids_count > 0) {
        send(s, partition, domain, &expire, now_ms);
    }
}

/* An owner that has not taken the last batch yet gets no other, nor the same again. */
static bool must_wait(const struct sweep_asked *asked, const struct redis_reply *found,
                      int64_t mono_ms)
{
    bool waits = false;
    for (size_t i = 0; i < redis_reply_count(found) && !waits; i++) {
        waits = sweep_is_waiting(asked, redis_reply_span(redis_reply_at(found, i)), mono_ms);
    }
    return waits;
}

/* One batch of each partition. *ret_full: one of them had so many that more may be there. */
static void sweep(struct registry_sweep *s, bool *ret_full)
{
    int64_t now_ms = clock_now_ms(&clock_system);
    int64_t mono_ms = clock_mono_ms(&clock_system);
    for (int32_t p = 0; p < s->partitions; p++) {
        CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
        err_t err = append_find(s, p, now_ms);
        if (err == ERR_OK) {
            err = redis_collect(s->redis, &reply);
        }
        if (err != ERR_OK) {
            return;
        }
        size_t n = redis_reply_count(reply);
        *ret_full = *ret_full || n == SWEEP_BATCH;
        if (n > 0 && !must_wait(&s->asked[p], reply, mono_ms)) {
            sweep_found(s, p, reply, now_ms);
            sweep_note(&s->asked[p], redis_reply_span(redis_reply_at(reply, n - 1)), mono_ms);
        }
    }
}

/* Kafka may be away at start: the number of partitions is asked for until it is known. */
static bool know_partitions(struct registry_sweep *s)
{
    if (s->partitions > 0) {
        return true;
    }
    const struct kafka_config kafka = {.brokers = s->config->kafka_brokers,
                                       .client_id = "api-gateway-sweep"};
    CLEANUP(kafka_admin_free) struct kafka_admin *admin = NULL;
    err_t err = kafka_admin_new(&kafka, NULL, &admin);
    if (err == ERR_OK) {
        err = kafka_admin_partition_count(admin, TOPIC_REGISTRY_REQUESTS, CALL_MS, &s->partitions);
    }
    if (err == ERR_OK) {
        s->asked = xcalloc((size_t)s->partitions, sizeof *s->asked);
    }
    return err == ERR_OK;
}

static void *run(void *arg)
{
    struct registry_sweep *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        bool full = false;
        (void)pthread_mutex_unlock(&s->lock);
        if (know_partitions(s)) {
            sweep(s, &full);
        }
        (void)pthread_mutex_lock(&s->lock);
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += sweep_pause_ms(full) / 1000;
        while (!s->stopping && pthread_cond_timedwait(&s->wake, &s->lock, &until) == 0) {
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

static err_t open_clients(struct registry_sweep *s)
{
    char host[256];
    uint16_t port = 0;
    const struct common_config *c = s->config;
    err_t err = config_split_host_port(c->redis_address, host, sizeof host, &port);
    if (err != ERR_OK) {
        return err;
    }
    const struct redis_config redis = {
        .host = host,
        .port = port,
        .user = c->redis_user[0] != '\0' ? c->redis_user : NULL,
        .password = c->redis_password.len > 0 ? (const char *)c->redis_password.value : NULL,
        .client_name = "api-gateway-sweep",
        .connect_timeout_ms = CALL_MS,
        .command_timeout_ms = CALL_MS,
    };
    s->redis = redis_new(&redis);
    const struct kafka_config kafka = {.brokers = c->kafka_brokers,
                                       .client_id = "api-gateway-sweep"};
    const struct kafka_producer_config producer = {.linger_ms = 50};
    return kafka_producer_new(&kafka, &producer, NULL, &s->producer);
}

err_t registry_sweep_start(const struct common_config *config, struct registry_sweep **ret)
{
    struct registry_sweep *s = xcalloc(1, sizeof *s);
    s->config = config;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->wake, NULL);
    err_t err = open_clients(s);
    if (err == ERR_OK && pthread_create(&s->thread, NULL, run, s) != 0) {
        err = ERR_INTERNAL;
    }
    if (err != ERR_OK) {
        registry_sweep_free(s);
        return err;
    }
    s->started = true;
    *ret = s;
    return ERR_OK;
}

void registry_sweep_free(struct registry_sweep *s)
{
    if (s == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&s->lock);
    s->stopping = true;
    (void)pthread_cond_signal(&s->wake);
    (void)pthread_mutex_unlock(&s->lock);
    if (s->started) {
        (void)pthread_join(s->thread, NULL);
    }
    if (s->producer != NULL) {
        kafka_producer_free(s->producer);
    }
    if (s->redis != NULL) {
        redis_free(s->redis);
    }
    (void)pthread_cond_destroy(&s->wake);
    (void)pthread_mutex_destroy(&s->lock);
    free(s->asked);
    free(s);
}
