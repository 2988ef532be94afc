/*
 * Requests that were answered with 202: what became of them. The owner's reply is kept for 10
 * minutes.
 */
#include <stdio.h>

#include "ask.h"
#include "calls.h"

struct get_body {
    API_BODY_HEAD;
    char uid[UUID_TEXT_SIZE];
};
static const struct codec_field get_fields[] = {
    API_DOMAIN_ROW(struct get_body),
    {CODEC_STR(struct get_body, uid, "RequestUID", CODEC_REQUIRED, UUID_TEXT_SIZE - 1),
     CODEC_RULE(registry_uuid_valid, "a lower-case UUID")},
};
static const struct codec_table get_table = CODEC_TABLE(struct get_body, get_fields);

#define REPLY_BYTES ((size_t)8 * 1024 * 1024)

/* The call a remembered request was made by, if this caller may know: value is "<domain> <path>".
 */
static const struct api_call *remembered_call(const struct exchange *x, struct span value)
{
    char text[160] = "";
    if (value.ptr == NULL || value.len >= sizeof text) {
        return NULL;
    }
    memcpy(text, value.ptr, value.len);
    char *space = strchr(text, ' ');
    if (space == NULL) {
        return NULL;
    }
    *space = '\0';
    if (x->caller->kind != CALLER_OPERATOR && strcmp(text, x->caller->domain) != 0) {
        return NULL;
    }
    return api_call_find(space + 1);
}

static void get(struct exchange *x)
{
    const struct get_body *body = x->body;
    char note[64];
    char reply[REPLY_KEY_MAX];
    (void)snprintf(note, sizeof note, "g:t:rq:%s", body->uid);
    reply_waiter_key(body->uid, reply);
    const struct span keys[] = {span_str(note), span_str(reply)};
    struct span values[2] = {{0}};
    CLEANUP_BUF struct buf arena = BUF_INIT(REPLY_BYTES);
    err_t err = views_read(x->redis, keys, 2, &arena, values);
    const struct api_call *call = err == ERR_OK ? remembered_call(x, values[0]) : NULL;
    if (call == NULL) {
        api_view_failed(x, err == ERR_OK ? ERR_ABSENT : err, "RequestUID", "recent request",
                        body->uid);
        return;
    }
    if (values[1].ptr == NULL) {
        cJSON *json = cJSON_CreateObject();
        (void)cJSON_AddStringToObject(json, "RequestUID", body->uid);
        (void)cJSON_AddStringToObject(json, "Status", "pending");
        api_reply(x, 202, json);
        return;
    }
    http_reply(x->req, ask_show(call, values[1], NULL));
}

const struct api_call calls_request[] = {
    {.path = "/v1/request/get",
     .access = API_ANY,
     .body = &get_table,
     .max_body = 4096,
     .max_values = 16,
     .serve = get},
    {0},
};
