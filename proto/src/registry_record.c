#include "proto/registry.h"

/* Largest record: a webhook with a long URL and every event, or a stored result. */
static const struct json_limits record_limits = {
    .max_bytes = 65536, .max_depth = 16, .max_values = 4096};

static const struct kind_row {
    const struct codec_table *table;
    const char *type; /* without the major version */
} kinds[REGISTRY_KIND_COUNT] = {
    [REGISTRY_DOMAIN] = {&registry_domain_table, "domain."},
    [REGISTRY_ACCESS_KEY] = {&registry_access_key_table, "access-key."},
    [REGISTRY_PROFILE] = {&registry_profile_table, "profile."},
    [REGISTRY_WHITELIST] = {&registry_whitelist_table, "whitelist."},
    [REGISTRY_WEBHOOK] = {&registry_webhook_table, "webhook."},
    [REGISTRY_CA] = {&registry_seat_table, "ca-seat."},
    [REGISTRY_RESULT] = {&registry_result_table, "request."},
};

const struct codec_table *registry_table(enum registry_kind kind)
{
    return kinds[kind].table;
}

static err_t check_type(enum registry_kind kind, const cJSON *object)
{
    const char *type = NULL;
    err_t err = json_get_string(object, "type", &type, NULL);
    if (err != ERR_OK) {
        return ERR_CORRUPT;
    }
    size_t len = strlen(kinds[kind].type);
    if (strncmp(type, kinds[kind].type, len) != 0) {
        return ERR_CORRUPT;
    }
    return strcmp(type + len, "v1") == 0 ? ERR_OK : ERR_UNSUPPORTED;
}

err_t registry_record_decode(enum registry_kind kind, struct span json,
                             struct registry_record **ret)
{
    CLEANUP_JSON cJSON *root = NULL;
    if (json_decode(json, &record_limits, &root, NULL) != ERR_OK) {
        return ERR_CORRUPT;
    }
    err_t err = check_type(kind, root);
    if (err != ERR_OK) {
        return err;
    }
    CLEANUP(registry_record_free) struct registry_record *r = registry_record_new(kind);
    if (codec_decode(kinds[kind].table, CODEC_KEEP, root, &r->of, NULL) != ERR_OK) {
        return ERR_CORRUPT;
    }
    *ret = TAKE(r);
    return ERR_OK;
}

err_t registry_record_encode(const struct registry_record *r, struct buf *to)
{
    return codec_encode(kinds[r->kind].table, &r->of, to);
}

struct registry_record *registry_record_new(enum registry_kind kind)
{
    /* Kinds differ much in size and the owner holds many whitelist entries: no more than needed. */
    struct registry_record *r =
        xcalloc(1, offsetof(struct registry_record, of) + kinds[kind].table->size);
    r->kind = kind;
    return r;
}

struct registry_record *registry_record_copy(const struct registry_record *r)
{
    struct registry_record *copy = registry_record_new(r->kind);
    codec_copy(kinds[r->kind].table, &r->of, &copy->of);
    return copy;
}

void registry_record_free(struct registry_record *r)
{
    if (r != NULL) {
        codec_free(kinds[r->kind].table, &r->of);
        free(r);
    }
}
