#include "ca_cache.h"

#include <stdlib.h>

#include "ca_usage.h"
#include "common/log.h"

#define BUCKETS 256

struct ca_cache {
    struct ca_keys *keys;
    struct ca_cache_entry *buckets[BUCKETS];
};

struct ca_cache *ca_cache_new(struct ca_keys *keys)
{
    struct ca_cache *cache = xcalloc(1, sizeof *cache);
    cache->keys = keys;
    return cache;
}

static void clear(struct ca_cache_entry *entry)
{
    ca_free(entry->ca);
    if (entry->template != NULL) {
        issuer_template_free(entry->template);
    }
    entry->ca = NULL;
    entry->template = NULL;
    buf_clear(&entry->payload);
}

void ca_cache_free(struct ca_cache *cache)
{
    for (size_t i = 0; cache != NULL && i < BUCKETS; i++) {
        for (struct ca_cache_entry *entry = cache->buckets[i]; entry != NULL;) {
            struct ca_cache_entry *next = entry->next;
            clear(entry);
            buf_deinit(&entry->payload);
            free(entry);
            entry = next;
        }
    }
    free(cache);
}

static struct ca_cache_entry *entry_of(struct ca_cache *cache, const struct uuid *id)
{
    struct ca_cache_entry **at = &cache->buckets[id->bytes[15]];
    while (*at != NULL && !uuid_eq(&(*at)->id, id)) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        *at = xcalloc(1, sizeof **at);
        (*at)->id = *id;
        (*at)->payload = BUF_INIT(CA_RECORD_MAX);
    }
    return *at;
}

static err_t read_record(struct ca_cache_entry *entry, struct span payload)
{
    struct fault fault = {0};
    err_t e = ca_decode(payload, &entry->ca, &fault);
    if (e == ERR_OK) {
        e = buf_append_span(&entry->payload, payload);
    }
    if (e != ERR_OK) {
        log_error(NULL, "ca_unreadable", LOG_ERR("error", e), LOG_STR("text", fault.text));
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

/* A key that is lost, sealed under another key-encryption key, or in a store that is away leaves
 * the template away: this CA's requests are told to try again, the alarm is in the log, and nobody
 * else waits. */
static err_t open_template(struct ca_cache *cache, struct ca_cache_entry *entry)
{
    CLEANUP(ca_key_unref) struct ca_key *key = NULL;
    char id[UUID_TEXT_SIZE];
    uuid_format(&entry->id, id);
    err_t e = ca_keys_get(cache->keys, &entry->id, &key);
    if (e == ERR_UNAVAILABLE) {
        return e;
    }
    struct fault fault = {.text = "its key cannot be had"};
    if (e == ERR_OK) {
        const struct issuer_options options = {
            .certificate = span_of(entry->ca->certificate, entry->ca->certificate_len),
            .key = key,
            .key_usage = ca_usage_bits(entry->ca->key_usage, entry->ca->key_usage_count),
            .extended_key_usage = ca_extended_usage_bits(entry->ca->extended_key_usage,
                                                         entry->ca->extended_key_usage_count),
        };
        e = issuer_template_new(&options, &entry->template, &fault);
    }
    if (e != ERR_OK) {
        log_limited(LOG_LEVEL_ERROR, NULL, "ca_unusable", LOG_STR("ca", id), LOG_ERR("error", e),
                    LOG_STR("text", fault.text));
    }
    return ERR_OK;
}

err_t ca_cache_update(struct ca_cache *cache, const struct uuid *id, struct span payload,
                      const struct ca_cache_entry **ret)
{
    struct ca_cache_entry *entry = entry_of(cache, id);
    err_t e = ERR_OK;
    if (payload.ptr == NULL) {
        clear(entry);
    } else if (entry->ca == NULL || !span_eq(buf_span(&entry->payload), payload)) {
        clear(entry);
        e = read_record(entry, payload);
    }
    if (e == ERR_OK && entry->ca != NULL && entry->template == NULL) {
        e = open_template(cache, entry);
    }
    *ret = entry;
    return e;
}
