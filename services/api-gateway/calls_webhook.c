/*
 * Webhooks. The secret is made here, shown once and sealed under the notifier's key; nobody else
 * ever sees it.
 */
#include <openssl/crypto.h>
#include <stdio.h>

#include "calls.h"
#include "write.h"

#define SECRET_BYTES  24
#define SECRET_PREFIX "whsec_"

/* ":443" behind a host; nothing is fine too. */
static bool port_valid(const char *text, size_t len)
{
    unsigned port = 0;
    if (len == 0) {
        return true;
    }
    if (text[0] != ':' || len < 2 || len > 6 || strspn(text + 1, "0123456789") < len - 1) {
        return false;
    }
    for (size_t i = 1; i < len; i++) {
        port = 10 * port + (unsigned)(text[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

/* A name or address, perhaps with a port; no user. */
static bool authority_valid(const char *text, size_t len)
{
    static const char name[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";
    size_t host = 0;
    if (text[0] == '[') {
        size_t address = strspn(text + 1, "0123456789abcdefABCDEF:.");
        host = address > 0 && text[1 + address] == ']' ? address + 2 : 0;
    } else {
        host = strspn(text, name);
    }
    return host > 0 && host <= len && port_valid(text + host, len - host);
}

/* Where a webhook may lead is the notifier's to decide; here it only has to be a URL. */
static bool url_rule(const void *text)
{
    const char *url = text;
    size_t scheme = strncmp(url, "https://", 8) == 0 ? 8 : strncmp(url, "http://", 7) == 0 ? 7 : 0;
    for (const char *c = url; *c != '\0'; c++) {
        if (*c <= 0x20 || *c >= 0x7f || *c == '#') {
            return false;
        }
    }
    return scheme > 0 && authority_valid(url + scheme, strcspn(url + scheme, "/?"));
}

static bool event_rule(const void *text)
{
    const char *event = text;
    static const char prefix[] = "io.fleetseal.";
    const char *star = strchr(event, '*');
    if (strcmp(event, "*") == 0) {
        return true;
    }
    return strncmp(event, prefix, sizeof prefix - 1) == 0 && event[sizeof prefix - 1] != '\0' &&
           (star == NULL || star[1] == '\0');
}

static const struct codec_field event_element = {
    CODEC_ELEMENT_STR(REGISTRY_EVENT_SIZE, 1),
    CODEC_RULE(event_rule, "an event type such as io.fleetseal.certificate.renewed.v1, a beginning "
                           "such as io.fleetseal.certificate.*, or *")};

struct create_body {
    API_BODY_HEAD;
    struct registry_webhook_create create;
};
static const struct codec_field create_fields[] = {
#define T struct create_body
    API_DOMAIN_ROW(T),
    {CODEC_STR(T, create.url, "URL", CODEC_REQUIRED, 1),
     CODEC_RULE(url_rule, "an http or https URL in ASCII: a host, perhaps a port and a path, no "
                          "user and no fragment")},
    {CODEC_ARRAY(T, create.events, create.events_count, "Events", CODEC_REQUIRED, 1,
                 &event_element)},
    {CODEC_STR(T, create.description, "Description", CODEC_OMIT_ZERO, 0), API_LINE},
#undef T
};
static const struct codec_table create_table = CODEC_TABLE(struct create_body, create_fields);

static const struct codec_field get_fields[] = API_NAMED_FIELDS("WebhookUID");
static const struct codec_table get_table = CODEC_TABLE(struct api_named_body, get_fields);

static cJSON *show_webhook(const struct registry_webhook *w)
{
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "WebhookUID", w->id);
    (void)cJSON_AddStringToObject(json, "URL", w->url);
    cJSON *events = cJSON_AddArrayToObject(json, "Events");
    for (size_t i = 0; i < w->events_count; i++) {
        (void)cJSON_AddItemToArray(events, cJSON_CreateString(w->events[i]));
    }
    api_add_text(json, "Description", w->description);
    (void)cJSON_AddStringToObject(json, "Status",
                                  codec_name_of(registry_webhook_status_names, (int)w->status));
    api_add_text(json, "Reason", w->reason);
    api_add_time(json, "CreatedAt", w->created_at);
    return json;
}

static cJSON *show_result(const cJSON *result, const cJSON *asked)
{
    (void)asked;
    CLEANUP(registry_record_free)
    struct registry_record *r = registry_from_result(REGISTRY_WEBHOOK, result);
    return r != NULL ? show_webhook(&r->of.webhook) : NULL;
}

static cJSON *show_deleted(const cJSON *result, const cJSON *asked)
{
    (void)asked;
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(result, "id");
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "WebhookUID", cJSON_IsString(id) ? id->valuestring : "");
    (void)cJSON_AddStringToObject(json, "Status", "deleted");
    return json;
}

static err_t make_secret(const struct exchange *x, const char *webhook_id,
                         struct registry_webhook_create *create, struct ask_extra *extra)
{
    uint8_t random[SECRET_BYTES];
    char aad[2 * UUID_TEXT_SIZE];
    random_bytes(random, sizeof random);
    CLEANUP_BUF struct buf text = BUF_INIT_SECRET(sizeof extra->value);
    CLEANUP_BUF struct buf sealed = BUF_INIT(REGISTRY_SEALED_MAX);
    CLEANUP_BUF struct buf proof = BUF_INIT(sizeof extra->proof);
    (void)buf_append_str(&text, SECRET_PREFIX);
    (void)base64_append(&text, span_of(random, sizeof random), BASE64_STANDARD);
    OPENSSL_cleanse(random, sizeof random);
    (void)snprintf(aad, sizeof aad, "%s/%s", x->domain, webhook_id);
    err_t err = seal(x->door->kek, span_str(aad), buf_span(&text), &sealed);
    if (err == ERR_OK) {
        err = base64_append(&proof, buf_span(&sealed), BASE64_STANDARD);
    }
    if (err != ERR_OK) {
        return err;
    }
    memcpy(create->secret_sealed, sealed.ptr, sealed.len);
    create->secret_sealed_len = sealed.len;
    extra->name = "Secret";
    extra->proof_name = "secret_sealed";
    (void)snprintf(extra->value, sizeof extra->value, "%s", buf_cstr(&text));
    (void)snprintf(extra->proof, sizeof extra->proof, "%s", buf_cstr(&proof));
    return ERR_OK;
}

static void create(struct exchange *x)
{
    struct create_body *body = x->body;
    struct ask ask;
    struct uuid id;
    if (x->door->kek == NULL) {
        api_refuse(x, ERR_UNSUPPORTED, "not_configured", "",
                   "webhooks are switched off here: the operator has set no webhook.kek_file");
        return;
    }
    if (!write_begin(x, REGISTRY_REQUEST_WEBHOOK_CREATE, &ask, &id)) {
        return;
    }
    char text[UUID_TEXT_SIZE];
    uuid_format(&id, text);
    err_t err = make_secret(x, text, &body->create, &ask.extra);
    if (err != ERR_OK) {
        api_fault(x, err, NULL);
        return;
    }
    ask_one(x, &ask, &id, write_body(&registry_webhook_create_table, &body->create));
    ask.deadline_ms = ASK_SECRET_DEADLINE_MS;
    ask_send(x, &ask);
}

static void delete_webhook(struct exchange *x)
{
    const struct api_named_body *body = x->body;
    struct ask ask;
    struct uuid id;
    if (!write_begin(x, REGISTRY_REQUEST_WEBHOOK_DELETE, &ask, &id)) {
        return;
    }
    struct registry_target request = {0};
    memcpy(request.id, body->uid, sizeof request.id);
    ask_one(x, &ask, &id, write_body(&registry_target_table, &request));
    ask_send(x, &ask);
}

static void get(struct exchange *x)
{
    const struct api_named_body *body = x->body;
    CLEANUP(registry_record_free)
    struct registry_record *r = registry_read(x, REGISTRY_WEBHOOK, body->uid, "WebhookUID");
    if (r != NULL) {
        api_reply(x, 200, show_webhook(&r->of.webhook));
    }
}

static cJSON *show_row(struct exchange *x, const struct registry_record *r)
{
    (void)x;
    return show_webhook(&r->of.webhook);
}

static void list(struct exchange *x)
{
    registry_list(x, REGISTRY_WEBHOOK, show_row);
}

const struct api_call calls_webhook[] = {
    {.path = "/v1/notification/webhook/create",
     .access = API_DOMAIN,
     .write = true,
     .body = &create_table,
     .max_body = 16384,
     .max_values = 128,
     .serve = create,
     .show = show_result},
    {.path = "/v1/notification/webhook/delete",
     .access = API_DOMAIN,
     .write = true,
     .body = &get_table,
     API_SMALL,
     .serve = delete_webhook,
     .show = show_deleted},
    {.path = "/v1/notification/webhook/get",
     .access = API_DOMAIN,
     .body = &get_table,
     API_SMALL,
     .serve = get},
    {.path = "/v1/notification/webhook/list",
     .access = API_DOMAIN,
     .body = &api_page_table,
     API_SMALL,
     .serve = list},
    {0},
};
