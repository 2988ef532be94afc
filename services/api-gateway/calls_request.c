/*
 * Requests that were answered with 202: what became of them. The owner's reply is kept for 10
 * minutes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ask.h"
#include "calls.h"

static const struct codec_field get_fields[] = API_NAMED_FIELDS("RequestUID");
static const struct codec_table get_table = CODEC_TABLE(struct api_named_body, get_fields);

#define NOTE_BYTES  160
#define ITEMS_MAX   4096
#define REPLY_BYTES ((size_t)32 * 1024 * 1024)

/* What was noted of a request when it was sent. */
struct note {
    const struct api_call *call;
    char domain[UUID_TEXT_SIZE];
    size_t items;
};

/* From "<domain> <path> <items>". False: it is none, or not this caller's to know. */
static bool read_note(const struct exchange *x, struct span value, struct note *ret)
{
    char text[NOTE_BYTES] = "";
    if (value.ptr == NULL || value.len >= sizeof text) {
        return false;
    }
    memcpy(text, value.ptr, value.len);
    char *path = strchr(text, ' ');
    char *items = path != NULL ? strchr(path + 1, ' ') : NULL;
    if (items == NULL || path - text >= UUID_TEXT_SIZE) {
        return false;
    }
    *path++ = '\0';
    *items++ = '\0';
    memcpy(ret->domain, text, strlen(text) + 1);
    ret->call = api_call_find(path);
    ret->items = strtoul(items, NULL, 10);
    return ret->call != NULL && ret->items > 0 && ret->items <= ITEMS_MAX &&
           (x->caller->kind == CALLER_OPERATOR || strcmp(ret->domain, x->caller->domain) == 0);
}

/* The replies of all items, in `arena`; fewer than asked for: the rest is not decided yet. */
static err_t read_replies(struct exchange *x, const char *uid, size_t n, struct buf *arena,
                          struct span *replies, size_t *ret_found)
{
    struct uuid first;
    char(*keys)[REPLY_KEY_MAX] = xcalloc(n, sizeof *keys);
    struct span *wanted = xcalloc(n, sizeof *wanted);
    err_t err = uuid_parse(span_str(uid), &first);
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        char id[UUID_TEXT_SIZE];
        struct uuid item = ask_item_id(&first, i);
        uuid_format(&item, id);
        reply_waiter_key(id, keys[i]);
        wanted[i] = span_str(keys[i]);
    }
    if (err == ERR_OK) {
        err = views_read(x->redis, wanted, n, arena, replies);
    }
    *ret_found = 0;
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        *ret_found += replies[i].ptr != NULL;
    }
    free(keys);
    free(wanted);
    return err;
}

static void pending(struct exchange *x, const char *uid)
{
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "RequestUID", uid);
    (void)cJSON_AddStringToObject(json, "Status", "pending");
    api_reply(x, 202, json);
}

static void get(struct exchange *x)
{
    const struct api_named_body *body = x->body;
    char key[64];
    (void)snprintf(key, sizeof key, "g:t:rq:%s", body->uid);
    const struct span keys[] = {span_str(key)};
    struct span value[1] = {{0}};
    struct note note = {0};
    CLEANUP_BUF struct buf arena = BUF_INIT(REPLY_BYTES);
    err_t err = views_read(x->redis, keys, 1, &arena, value);
    if (err == ERR_OK && !read_note(x, value[0], &note)) {
        err = ERR_ABSENT;
    }
    memcpy(x->domain, note.domain, sizeof x->domain); /* whoever may know it acts on this one */
    CLEANUP_FREE struct span *replies = xcalloc(note.items + 1, sizeof *replies);
    CLEANUP_JSON cJSON *asked = NULL;
    size_t found = 0;
    if (err == ERR_OK) {
        err = read_replies(x, body->uid, note.items, &arena, replies, &found);
    }
    if (err == ERR_OK && found == note.items && note.call->recall != NULL) {
        err = note.call->recall(x, body->uid, &asked);
    }
    if (err != ERR_OK) {
        api_view_failed(x, err, "RequestUID", "recent request", body->uid);
    } else if (found < note.items) {
        pending(x, body->uid);
    } else {
        http_reply(x->req, ask_show(note.call, replies, note.items, asked));
    }
}

const struct api_call calls_request[] = {
    {.path = "/v1/request/get", .access = API_ANY, .body = &get_table, API_SMALL, .serve = get},
    {0},
};
