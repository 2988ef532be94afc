#include "write.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "common/json.h"
#include "page.h"
#include "proto/topics.h"

#define BODY_MAX   ((size_t)16 * 1024 * 1024)
#define RECORD_MAX 65536u

void write_hash(const struct exchange *x, char out[33])
{
    CLEANUP_BUF struct buf text = BUF_INIT(BODY_MAX);
    uint8_t digest[32] = {0};
    struct span body = http_request_body(x->req);
    if (codec_encode(x->call->body, x->body, &text) == ERR_OK) {
        /* CSV is not decoded into the struct: its bytes count themselves */
        body = api_is_csv(x) ? body : buf_span(&text);
    }
    if (EVP_Digest(body.ptr, body.len, digest, NULL, EVP_sha256(), NULL) != 1) {
        random_bytes(digest, sizeof digest);
    }
    hex_format(span_of(digest, 16), out);
}

bool write_begin(struct exchange *x, const char *type, struct ask *ask, struct uuid *ret_id)
{
    struct fault fault;
    err_t err = ask_request_id(x, ret_id, &fault);
    if (err != ERR_OK) {
        api_fault(x, err, &fault);
        return false;
    }
    *ask = (struct ask){.topic = TOPIC_REGISTRY_REQUESTS, .type = type};
    memcpy(ask->key, x->domain, sizeof ask->key);
    write_hash(x, ask->hash);
    return true;
}

cJSON *write_body(const struct codec_table *table, const void *body)
{
    CLEANUP_BUF struct buf text = BUF_INIT(BODY_MAX);
    struct json_limits limits = JSON_LIMITS_DEFAULT;
    limits.max_bytes = BODY_MAX;
    limits.max_values = 100000;
    cJSON *json = NULL;
    if (codec_encode(table, body, &text) != ERR_OK ||
        json_decode(buf_span(&text), &limits, &json, NULL) != ERR_OK) {
        return cJSON_CreateObject(); /* refused by the owner, which names what is missing */
    }
    return json;
}

struct registry_record *registry_read(struct exchange *x, enum registry_kind kind, const char *id,
                                      const char *field)
{
    char key[REGISTRY_KEY_SIZE];
    registry_key(x->domain, kind, id, key);
    CLEANUP_BUF struct buf payload = BUF_INIT(RECORD_MAX);
    struct registry_record *record = NULL;
    err_t err = views_get(x->redis, VIEW_REGISTRY, api_partition(x->door, x->domain), span_str(key),
                          &payload);
    if (err == ERR_OK) {
        err = registry_record_decode(kind, buf_span(&payload), &record);
    }
    if (err != ERR_OK) {
        api_view_failed(x, err, field, registry_kind_word(kind), id);
        return NULL;
    }
    return record;
}

bool registry_domain_exists(struct exchange *x)
{
    if (x->caller->kind != CALLER_OPERATOR) {
        return true;
    }
    CLEANUP(registry_record_free)
    struct registry_record *domain = registry_read(x, REGISTRY_DOMAIN, x->domain, "DomainUID");
    return domain != NULL;
}

struct registry_record *registry_from_result(enum registry_kind kind, const cJSON *result)
{
    CLEANUP_BUF struct buf text = BUF_INIT(RECORD_MAX);
    struct registry_record *record = NULL;
    if (result == NULL || json_encode(result, &text) != ERR_OK ||
        registry_record_decode(kind, buf_span(&text), &record) != ERR_OK) {
        return NULL;
    }
    return record;
}

/* ---- lists ---- */

struct listed {
    enum registry_kind kind;
    cJSON *(*show)(struct exchange *x, const struct registry_record *r);
};

static cJSON *show_row(struct exchange *x, const void *ctx, struct span payload)
{
    const struct listed *l = ctx;
    CLEANUP(registry_record_free) struct registry_record *r = NULL;
    return registry_record_decode(l->kind, payload, &r) == ERR_OK ? l->show(x, r) : NULL;
}

static void member_itself(const char *member, const char *id, char out[PAGE_KEY_SIZE])
{
    (void)id;
    memcpy(out, member, PAGE_KEY_SIZE);
}

static struct page page_of(struct exchange *x, const char *prefix, const char *after)
{
    return (struct page){.letter = VIEW_REGISTRY,
                         .index = "keys",
                         .partition = api_partition(x->door, x->domain),
                         .prefix = prefix,
                         .after = after,
                         .key = member_itself,
                         .show = show_row};
}

void registry_list(struct exchange *x, enum registry_kind kind,
                   cJSON *(*show)(struct exchange *x, const struct registry_record *r))
{
    const struct api_page_body *body = x->body;
    const struct listed listed = {.kind = kind, .show = show};
    char prefix[REGISTRY_KEY_SIZE];
    char after[REGISTRY_KEY_SIZE] = "";
    registry_key(x->domain, kind, "", prefix);
    if (body->after[0] != '\0') {
        registry_key(x->domain, kind, body->after, after);
    }
    struct page page = page_of(x, prefix, after);
    page.ctx = &listed;
    page_reply(x, &page);
}

struct registry_profile_slowest registry_slowest_profile(struct exchange *x, const char *ca)
{
    struct registry_profile_slowest slowest = {0};
    char prefix[REGISTRY_KEY_SIZE];
    registry_key(x->domain, REGISTRY_PROFILE, "", prefix);
    const struct page page = page_of(x, prefix, "");
    CLEANUP(page_rows_deinit) struct page_rows rows = {0};
    slowest.err = page_read(x, &page, false, REGISTRY_PROFILES_MAX, &rows);
    for (size_t i = 0; i < rows.count && slowest.err == ERR_OK; i++) {
        CLEANUP(registry_record_free) struct registry_record *r = NULL;
        if (rows.payloads[i].ptr != NULL &&
            registry_record_decode(REGISTRY_PROFILE, rows.payloads[i], &r) == ERR_OK &&
            strcmp(r->of.profile.ca, ca) == 0 &&
            r->of.profile.heartbeat_interval_s > slowest.heartbeat_interval_s) {
            slowest.heartbeat_interval_s = r->of.profile.heartbeat_interval_s;
        }
    }
    return slowest;
}
