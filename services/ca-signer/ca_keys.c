#include "ca_keys.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/kafka_admin.h"
#include "common/kafka_reader.h"
#include "common/log.h"
#include "proto/ca.h"
#include "proto/topics.h"

#define BUCKETS         256
#define POLL_MS         100
#define CALL_TIMEOUT_MS 2000
#define RETRY_MS        200
#define PARTITIONS_MAX  4096

/* One CA's key, or that the topic does not hold it. */
struct entry {
    struct uuid id;
    uint64_t question; /* with no sealed key: absent once the end was reached for this one */
    char domain[UUID_TEXT_SIZE];
    uint8_t key_hash[KEY_HASH_SIZE];
    struct span sealed; /* owned; NULL: none was found */
    struct ca_key *key; /* owned; NULL: not opened yet */
    struct entry *next;
};

struct ca_keys {
    struct keystore *store;
    char *brokers;
    char *client_id;
    pthread_t thread;
    bool started;
    _Atomic bool stopping;

    pthread_mutex_t lock; /* guards `buckets` */
    struct entry *buckets[BUCKETS];

    /* How often somebody asked for the end, and up to which question it was reached. */
    _Atomic uint64_t asked;
    _Atomic uint64_t reached;

    /* The thread's own. */
    struct kafka_reader *reader;
    int32_t partitions;
    int64_t *position; /* per partition: everything below has been taken */
    int64_t *target;
    uint64_t target_of; /* the question that `target` answers; 0: none */
};

err_t ca_keys_new(const char *brokers, const char *instance, struct keystore *store,
                  struct ca_keys **ret)
{
    struct ca_keys *keys = xcalloc(1, sizeof *keys);
    keys->store = store;
    keys->brokers = xstrdup(brokers);
    keys->client_id = xasprintf("ca-signer.keys.%s", instance);
    atomic_store(&keys->asked, 1);
    if (pthread_mutex_init(&keys->lock, NULL) != 0) {
        abort(); /* default attributes: cannot fail on this platform */
    }
    *ret = keys;
    return ERR_OK;
}

static void free_entry(struct entry *entry)
{
    free((void *)(uintptr_t)entry->sealed.ptr);
    if (entry->key != NULL) {
        ca_key_unref(entry->key);
    }
    free(entry);
}

static void disconnect(struct ca_keys *keys)
{
    kafka_reader_free(keys->reader);
    free(keys->position);
    free(keys->target);
    keys->reader = NULL;
    keys->position = keys->target = NULL;
}

void ca_keys_free(struct ca_keys *keys)
{
    if (keys == NULL) {
        return;
    }
    ca_keys_stop(keys);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct entry *entry = keys->buckets[i]; entry != NULL;) {
            struct entry *next = entry->next;
            free_entry(entry);
            entry = next;
        }
    }
    disconnect(keys);
    (void)pthread_mutex_destroy(&keys->lock);
    free(keys->brokers);
    free(keys->client_id);
    free(keys);
}

/* ---- the map ---- */

static struct entry **find(struct ca_keys *keys, const struct uuid *id)
{
    struct entry **at = &keys->buckets[id->bytes[15]];
    while (*at != NULL && !uuid_eq(&(*at)->id, id)) {
        at = &(*at)->next;
    }
    return at;
}

static void drop(struct ca_keys *keys, const struct uuid *id)
{
    struct entry **at = find(keys, id);
    struct entry *entry = *at;
    if (entry != NULL) {
        *at = entry->next;
        free_entry(entry);
    }
}

/* A CA has one key for life: another one cannot sign what its certificate stands for. */
static bool is_other_key(struct ca_keys *keys, const struct ca_key_record *record)
{
    const struct entry *entry = *find(keys, &record->id);
    return entry != NULL && entry->sealed.ptr != NULL &&
           memcmp(entry->key_hash, record->key_hash, sizeof entry->key_hash) != 0;
}

static void insert(struct ca_keys *keys, const struct ca_key_record *record)
{
    if (is_other_key(keys, record)) {
        char id[UUID_TEXT_SIZE];
        uuid_format(&record->id, id);
        log_error(NULL, "ca_key_changed", LOG_STR("ca", id),
                  LOG_STR("text", "the topic brings another key; the one that came first is kept"));
        return;
    }
    struct entry *entry = xcalloc(1, sizeof *entry);
    uint8_t *sealed = xcalloc(1, record->sealed_len);
    memcpy(sealed, record->sealed, record->sealed_len);
    entry->id = record->id;
    uuid_format(&record->domain, entry->domain);
    memcpy(entry->key_hash, record->key_hash, sizeof entry->key_hash);
    entry->sealed = span_of(sealed, record->sealed_len);
    drop(keys, &record->id);
    *find(keys, &record->id) = entry;
}

/* ---- following the topic ---- */

static void take(struct ca_keys *keys, const struct kafka_message *m)
{
    struct uuid id;
    struct fault fault = {0};
    if (uuid_parse(m->key, &id) != ERR_OK) {
        return; /* the log id */
    }
    struct ca_key_record record = {0};
    err_t e = m->value.ptr != NULL ? ca_key_decode(m->value, &record, &fault) : ERR_OK;
    if (e != ERR_OK) {
        log_error(NULL, "ca_key_unreadable", LOG_SPAN("ca", m->key), LOG_ERR("error", e),
                  LOG_STR("text", fault.text));
        return;
    }
    (void)pthread_mutex_lock(&keys->lock);
    if (m->value.ptr != NULL) {
        insert(keys, &record);
    } else {
        drop(keys, &id);
    }
    (void)pthread_mutex_unlock(&keys->lock);
    codec_free(&ca_key_table, &record);
}

static err_t connect(struct ca_keys *keys)
{
    const struct kafka_config config = {.brokers = keys->brokers, .client_id = keys->client_id};
    const struct kafka_reader_config reader = {.queued_max_kbytes = 1024};
    CLEANUP(kafka_admin_free) struct kafka_admin *admin = NULL;
    err_t e = kafka_admin_new(&config, NULL, &admin);
    if (e == ERR_OK) {
        e = kafka_admin_partition_count(admin, TOPIC_CA_KEYS, CALL_TIMEOUT_MS, &keys->partitions);
    }
    if (e == ERR_OK && (keys->partitions < 1 || keys->partitions > PARTITIONS_MAX)) {
        e = ERR_UNSUPPORTED;
    }
    if (e == ERR_OK) {
        e = kafka_reader_new(&config, &reader, NULL, &keys->reader);
    }
    for (int32_t i = 0; i < keys->partitions && e == ERR_OK; i++) {
        e = kafka_reader_start(keys->reader, TOPIC_CA_KEYS, i, KAFKA_OFFSET_BEGINNING);
    }
    if (e != ERR_OK) {
        disconnect(keys);
        return e;
    }
    keys->position = xcalloc((size_t)keys->partitions, sizeof *keys->position);
    keys->target = xcalloc((size_t)keys->partitions, sizeof *keys->target);
    keys->target_of = 0;
    return ERR_OK;
}

/* A question is open: how far does the topic reach now? */
static err_t take_target(struct ca_keys *keys)
{
    uint64_t asked = atomic_load(&keys->asked);
    if (keys->target_of != 0 || atomic_load(&keys->reached) >= asked) {
        return ERR_OK;
    }
    for (int32_t i = 0; i < keys->partitions; i++) {
        err_t e = kafka_reader_high_watermark(keys->reader, TOPIC_CA_KEYS, i, CALL_TIMEOUT_MS,
                                              &keys->target[i]);
        if (e != ERR_OK) {
            return e;
        }
    }
    keys->target_of = asked;
    return ERR_OK;
}

static void settle(struct ca_keys *keys)
{
    if (keys->target_of == 0) {
        return;
    }
    for (int32_t i = 0; i < keys->partitions; i++) {
        if (keys->position[i] < keys->target[i]) {
            return;
        }
    }
    atomic_store(&keys->reached, keys->target_of);
    keys->target_of = 0;
}

static err_t follow(struct ca_keys *keys, struct kafka_batch *batch)
{
    err_t e = take_target(keys);
    if (e == ERR_OK) {
        e = kafka_reader_poll(keys->reader, batch, POLL_MS);
    }
    for (size_t i = 0; i < batch->count; i++) {
        const struct kafka_message *m = &batch->messages[i];
        if (!m->eof) {
            take(keys, m);
        }
        keys->position[m->partition] = m->eof ? m->offset : m->offset + 1;
    }
    kafka_batch_clear(batch);
    settle(keys);
    return e;
}

static void pause_after(err_t e)
{
    log_limited(LOG_LEVEL_WARN, NULL, "ca_keys_wait", LOG_ERR("error", e));
    const struct timespec wait = {.tv_nsec = RETRY_MS * 1000000L};
    (void)nanosleep(&wait, NULL);
}

static void *run(void *arg)
{
    struct ca_keys *keys = arg;
    CLEANUP(kafka_batch_deinit) struct kafka_batch batch;
    kafka_batch_init(&batch, 256);
    while (!atomic_load(&keys->stopping)) {
        err_t e = keys->position == NULL ? connect(keys) : follow(keys, &batch);
        if (e == ERR_CORRUPT) {
            disconnect(keys); /* the log was compacted under us: from its beginning again */
        }
        if (e != ERR_OK) {
            pause_after(e);
        }
    }
    return NULL;
}

err_t ca_keys_start(struct ca_keys *keys)
{
    if (pthread_create(&keys->thread, NULL, run, keys) != 0) {
        return ERR_UNAVAILABLE;
    }
    keys->started = true;
    return ERR_OK;
}

void ca_keys_stop(struct ca_keys *keys)
{
    if (keys->started) {
        atomic_store(&keys->stopping, true);
        (void)pthread_join(keys->thread, NULL);
        keys->started = false;
    }
}

bool ca_keys_ready(const struct ca_keys *keys)
{
    return atomic_load(&keys->reached) > 0;
}

/* ---- asking ---- */

/* With the lock held. Whoever finds no key asks how far the topic reaches now; once all of that is
 * read the key is absent, until the thread comes by it after all. */
static err_t missing(struct ca_keys *keys, struct entry **at, const struct uuid *ca)
{
    if (*at == NULL) {
        *at = xcalloc(1, sizeof **at);
        (*at)->id = *ca;
        (*at)->question = atomic_fetch_add(&keys->asked, 1) + 1;
    }
    return atomic_load(&keys->reached) < (*at)->question ? ERR_UNAVAILABLE : ERR_ABSENT;
}

static err_t open_key(struct ca_keys *keys, struct entry *entry)
{
    char id[UUID_TEXT_SIZE];
    uuid_format(&entry->id, id);
    const struct key_owner owner = {.domain = span_str(entry->domain), .ca = span_str(id)};
    err_t e = keystore_load(keys->store, &owner, span_of(entry->key_hash, sizeof entry->key_hash),
                            entry->sealed, &entry->key);
    return e == ERR_UNAVAILABLE ? ERR_BUSY : e;
}

err_t ca_keys_get(struct ca_keys *keys, const struct uuid *ca, struct ca_key **ret)
{
    (void)pthread_mutex_lock(&keys->lock);
    struct entry **at = find(keys, ca);
    err_t e = ERR_OK;
    if (*at == NULL || (*at)->sealed.ptr == NULL) {
        e = missing(keys, at, ca);
    } else if ((*at)->key == NULL) {
        e = open_key(keys, *at);
    }
    if (e == ERR_OK) {
        *ret = ca_key_ref((*at)->key);
    }
    (void)pthread_mutex_unlock(&keys->lock);
    return e;
}
