#include "cloudevent.h"

#include <stdio.h>

#include "common/text.h"

#define ATTRIBUTE_MAX 1024
#define JSON_TYPE     "application/json"

/* In the order of the document. */
static const struct attribute {
    const char *name;
    bool required;
    size_t max; /* bytes */
} attributes[] = {
    {"specversion", true, 8},
    {"id", true, WEBHOOK_EVENT_ID_SIZE - 1},
    {"source", true, ATTRIBUTE_MAX},
    {"type", true, WEBHOOK_EVENT_SIZE - 1},
    {"subject", false, ATTRIBUTE_MAX},
    {"time", false, 40},
    {"dataschema", false, ATTRIBUTE_MAX},
    {"sequence", false, 64},
    {"partitionkey", false, ATTRIBUTE_MAX},
    {"domain", false, UUID_TEXT_SIZE - 1},
    {"traceparent", false, 128},
    {"tracestate", false, 512},
};

void cloudevent_deinit(struct cloudevent *e)
{
    cJSON_Delete(e->json);
    *e = (struct cloudevent){0};
}

static err_t add_attribute(const struct cloudevent_source *source, const struct attribute *a,
                           cJSON *json, struct fault *fault)
{
    char name[32];
    char text[ATTRIBUTE_MAX + 1];
    struct span value = {0};
    (void)snprintf(name, sizeof name, "ce_%s", a->name);
    if (!source->header(source->ctx, name, &value) || value.len == 0) {
        return a->required ? fault_set(fault, ERR_INVALID, "missing_field", name, "must be there")
                           : ERR_OK;
    }
    if (value.len > a->max) {
        return fault_set(fault, ERR_TOO_LARGE, "validation_error", name,
                         "must have at most %zu bytes, has %zu", a->max, value.len);
    }
    if (!utf8_valid(value) || memchr(value.ptr, '\0', value.len) != NULL) {
        return fault_set(fault, ERR_INVALID, "validation_error", name, "must be UTF-8 text");
    }
    memcpy(text, value.ptr, value.len);
    text[value.len] = '\0';
    (void)cJSON_AddStringToObject(json, a->name, text);
    return ERR_OK;
}

static err_t add_data(const struct cloudevent_source *source, cJSON *json, struct fault *fault)
{
    struct span type = {0};
    if (source->value.len == 0) {
        return ERR_OK;
    }
    if (!source->header(source->ctx, "content-type", &type)) {
        type = span_str(JSON_TYPE);
    }
    if (type.len < sizeof JSON_TYPE - 1 || memcmp(type.ptr, JSON_TYPE, sizeof JSON_TYPE - 1) != 0) {
        return fault_set(fault, ERR_UNSUPPORTED, "unsupported_media_type", "content-type",
                         "must be " JSON_TYPE ": the event in binary mode");
    }
    cJSON *data = NULL;
    err_t e = json_decode(source->value, &JSON_LIMITS_DEFAULT, &data, fault);
    if (e == ERR_OK) {
        (void)cJSON_AddStringToObject(json, "datacontenttype", JSON_TYPE);
        (void)cJSON_AddItemToObject(json, "data", data);
    }
    return e;
}

static void copy_attribute(const cJSON *json, const char *name, char *to, size_t size)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, name);
    (void)snprintf(to, size, "%s", cJSON_IsString(value) ? value->valuestring : "");
}

err_t cloudevent_decode(const struct cloudevent_source *source, struct cloudevent *ret,
                        struct fault *fault)
{
    CLEANUP_JSON cJSON *json = cJSON_CreateObject();
    err_t e = ERR_OK;
    for (size_t i = 0; i < sizeof attributes / sizeof attributes[0] && e == ERR_OK; i++) {
        e = add_attribute(source, &attributes[i], json, fault);
    }
    if (e == ERR_OK) {
        e = add_data(source, json, fault);
    }
    if (e != ERR_OK) {
        return e;
    }
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(json, "specversion");
    if (strcmp(version->valuestring, "1.0") != 0) {
        return fault_set(fault, ERR_UNSUPPORTED, "unsupported_version", "ce_specversion",
                         "must be 1.0, is %s", version->valuestring);
    }
    *ret = (struct cloudevent){0};
    copy_attribute(json, "id", ret->id, sizeof ret->id);
    copy_attribute(json, "type", ret->type, sizeof ret->type);
    copy_attribute(json, "domain", ret->domain, sizeof ret->domain);
    ret->json = TAKE(json);
    return ERR_OK;
}
