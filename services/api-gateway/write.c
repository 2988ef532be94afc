#include "write.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "common/json.h"
#include "proto/topics.h"

#define BODY_MAX   ((size_t)16 * 1024 * 1024)
#define RECORD_MAX 65536u
#define PAGE_BYTES ((size_t)32 * 1024 * 1024)

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

static err_t page_members(struct exchange *x, enum registry_kind kind, const char *after_id,
                          bool descending, size_t limit, struct views_members *ret)
{
    char prefix[REGISTRY_KEY_SIZE];
    char after[REGISTRY_KEY_SIZE] = "";
    registry_key(x->domain, kind, "", prefix);
    if (after_id[0] != '\0') {
        registry_key(x->domain, kind, after_id, after);
    }
    const struct views_range range = {
        .letter = VIEW_REGISTRY,
        .index = span_str("keys"),
        .partition = api_partition(x->door, x->domain),
        .prefix = span_str(prefix),
        .after = span_str(after),
        .descending = descending,
        .limit = limit + 1,
    };
    return views_list(x->door->views, x->redis, &range, ret);
}

static err_t load_members(struct exchange *x, const struct views_members *members, size_t n,
                          struct buf *arena, struct span *payloads)
{
    struct views_want *wants = xcalloc(n + 1, sizeof *wants);
    for (size_t i = 0; i < n; i++) {
        const struct views_member *m = &members->items[i];
        wants[i] = (struct views_want){
            .letter = VIEW_REGISTRY, .partition = m->partition, .key = span_of(m->bytes, m->len)};
    }
    err_t err = views_get_many(x->redis, wants, n, arena, payloads);
    free(wants);
    return err;
}

static cJSON *show_members(struct exchange *x, enum registry_kind kind, const struct span *payloads,
                           size_t n,
                           cJSON *(*show)(struct exchange *x, const struct registry_record *r))
{
    cJSON *data = cJSON_CreateArray();
    for (size_t i = 0; i < n; i++) {
        CLEANUP(registry_record_free) struct registry_record *record = NULL;
        /* gone between the two reads, or of a newer version that this door cannot show */
        if (payloads[i].ptr != NULL &&
            registry_record_decode(kind, payloads[i], &record) == ERR_OK) {
            (void)cJSON_AddItemToArray(data, show(x, record));
        }
    }
    return data;
}

void registry_list(struct exchange *x, enum registry_kind kind,
                   cJSON *(*show)(struct exchange *x, const struct registry_record *r))
{
    const struct api_page_body *page = x->body;
    size_t limit = api_limit(page->has_limit, page->limit);
    CLEANUP(views_members_deinit) struct views_members members = {0};
    err_t err = page_members(x, kind, page->after, page->order == API_DESC, limit, &members);
    size_t n = members.count < limit ? members.count : limit;
    CLEANUP_BUF struct buf arena = BUF_INIT(PAGE_BYTES);
    CLEANUP_FREE struct span *payloads = xcalloc(n + 1, sizeof *payloads);
    if (err == ERR_OK) {
        err = load_members(x, &members, n, &arena, payloads);
    }
    if (err != ERR_OK) {
        api_view_failed(x, err, "", "list", "");
        return;
    }
    char last[REGISTRY_KEY_SIZE] = "";
    if (n > 0) {
        struct span domain;
        struct span id = {0};
        enum registry_kind parsed = kind;
        const struct views_member *m = &members.items[n - 1];
        if (registry_key_parse(span_of(m->bytes, m->len), &domain, &parsed, &id) == ERR_OK) {
            (void)snprintf(last, sizeof last, "%.*s", (int)id.len, (const char *)id.ptr);
        }
    }
    cJSON *data = show_members(x, kind, payloads, n, show);
    api_reply(x, 200, api_list(data, members.count > limit, limit, last, page->order));
}

struct registry_profile_slowest registry_slowest_profile(struct exchange *x, const char *ca)
{
    struct registry_profile_slowest slowest = {0};
    CLEANUP(views_members_deinit) struct views_members members = {0};
    slowest.err = page_members(x, REGISTRY_PROFILE, "", false, REGISTRY_PROFILES_MAX, &members);
    CLEANUP_BUF struct buf arena = BUF_INIT(PAGE_BYTES);
    CLEANUP_FREE struct span *payloads = xcalloc(members.count + 1, sizeof *payloads);
    if (slowest.err == ERR_OK) {
        slowest.err = load_members(x, &members, members.count, &arena, payloads);
    }
    for (size_t i = 0; i < members.count && slowest.err == ERR_OK; i++) {
        CLEANUP(registry_record_free) struct registry_record *r = NULL;
        if (payloads[i].ptr != NULL &&
            registry_record_decode(REGISTRY_PROFILE, payloads[i], &r) == ERR_OK &&
            strcmp(r->of.profile.ca, ca) == 0 &&
            r->of.profile.heartbeat_interval_s > slowest.heartbeat_interval_s) {
            slowest.heartbeat_interval_s = r->of.profile.heartbeat_interval_s;
        }
    }
    return slowest;
}
