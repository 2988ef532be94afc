/*
 * Inside the door: what the files of the single calls share. A call is a row of a table; door.c
 * checks credential, rate and body by it and runs its `serve` with an exchange, which answers at
 * once (api_reply...) or asks an owner (ask.h) and returns. Server threads; an exchange lives as
 * long as its handler runs.
 */
#ifndef API_GATEWAY_API_H
#define API_GATEWAY_API_H

#include <cjson/cJSON.h>

#include "common/codec.h"
#include "common/http_server.h"
#include "common/reply_waiter.h"
#include "common/seal.h"
#include "config.h"
#include "proto/registry.h"
#include "views.h"

enum api_access {
    API_PUBLIC,   /* no credential */
    API_OPERATOR, /* the operator's token only */
    API_ANY,      /* any credential; the call has no domain of its own */
    API_DOMAIN,   /* an access key acts on its own domain, the operator on the one it names
                     (DomainUID) */
};

struct exchange;

struct api_call {
    const char *path;
    enum api_access access;
    bool write;
    bool each; /* items are answered one by one: the `result` of show is an array of all replies,
                  whatever their status, in no order */
    const struct codec_table *body; /* its struct begins with API_BODY_HEAD */
    size_t max_body;                /* bytes of JSON */
    size_t max_csv;    /* bytes of a text/csv body, which serve reads itself; 0: JSON only */
    size_t max_values; /* JSON values in it */
    void (*serve)(struct exchange *x);
    /* How an owner's result is shown, for answers now and for /v1/request/get later. `result` may
     * be NULL; `asked` is what the ask kept of the request, NULL without `recall`. Any thread.
     * Writes only. */
    cJSON *(*show)(const cJSON *result, const cJSON *asked);
    /* For show later: `asked` again, from the views. NULL: nothing is needed. Writes only. */
    err_t (*recall)(struct exchange *x, const char *request_id, cJSON **ret_asked);
};

/* First member of every body: set by clients with the operator's token. */
#define API_BODY_HEAD char domain_uid[UUID_TEXT_SIZE]
#define API_DOMAIN_ROW(T)                                                                          \
    {                                                                                              \
        CODEC_STR(T, domain_uid, "DomainUID", CODEC_OMIT_ZERO, UUID_TEXT_SIZE - 1),                \
            CODEC_RULE(registry_uuid_valid, "a lower-case UUID")                                   \
    }
struct api_body {
    API_BODY_HEAD;
};
extern const struct codec_table api_empty_table; /* only DomainUID */

/* Bodies that name one thing by its UUID. */
struct api_named_body {
    API_BODY_HEAD;
    char uid[UUID_TEXT_SIZE];
};
#define API_NAMED_FIELDS(json)                                                                     \
    {                                                                                              \
        API_DOMAIN_ROW(struct api_named_body),                                                     \
        {                                                                                          \
            CODEC_STR(struct api_named_body, uid, json, CODEC_REQUIRED, UUID_TEXT_SIZE - 1),       \
                CODEC_RULE(registry_uuid_valid, "a lower-case UUID")                               \
        }                                                                                          \
    }
/* The limits of most bodies, for the tables of calls. */
#define API_SMALL .max_body = 4096, .max_values = 16

/* Who calls; lives as long as the request. */
enum caller_kind { CALLER_NOBODY, CALLER_OPERATOR, CALLER_ACCESS_KEY };
struct caller {
    enum caller_kind kind;
    char id[UUID_TEXT_SIZE];     /* the access key; "operator" */
    char domain[UUID_TEXT_SIZE]; /* of the access key; the one that is acted on once known */
    const struct api_call *call;
    char request_id[UUID_TEXT_SIZE]; /* of the request to an owner; for the audit line */
};

struct door {
    const struct config *config;
    const struct clock *clock;
    struct views *views;
    struct reply_waiter *waiter;
    const struct seal_kek *kek; /* NULL: no webhooks */
};

struct exchange {
    const struct door *door;
    struct http_request *req;
    const struct api_call *call;
    struct caller *caller;
    char domain[UUID_TEXT_SIZE]; /* acted on; "" for calls that have none */
    struct redis *redis;         /* for this exchange */
    void *body;                  /* the call's struct */
    int64_t now_ms;
};

/* The body is text/csv: `body` is not filled in. */
bool api_is_csv(const struct exchange *x);
int32_t api_partition(const struct door *door, const char *key);

/* ---- answers; each takes what it is given ---- */

void api_reply(struct exchange *x, unsigned status, cJSON *json);
/* `e` by the table of http_error.h. */
void api_fault(struct exchange *x, err_t e, const struct fault *fault);
/* One field at fault. */
void api_refuse(struct exchange *x, err_t e, const char *code, const char *field,
                const char *format, ...) __attribute__((format(printf, 5, 6)));
/* What a failed read of a view means: ERR_ABSENT -> 404 naming the field, the rest -> 503 or 500.
 */
void api_view_failed(struct exchange *x, err_t e, const char *field, const char *what,
                     const char *id);
struct http_response *api_response(unsigned status, const cJSON *json);

/* ---- rules of fields ---- */

/* For names and the like, which end up in tables, logs and certificates. */
#define API_LINE                                                                                   \
    CODEC_RULE(api_line_rule, "text in one line: no control characters, not only spaces")
bool api_line_rule(const void *text);

/* ---- lists ---- */

/* Members of every list's body, after API_BODY_HEAD. */
#define API_PAGE_MEMBERS                                                                           \
    int64_t limit;                                                                                 \
    bool has_limit;                                                                                \
    char after[64];                                                                                \
    int order
enum api_order { API_ASC, API_DESC };
extern const struct codec_name api_order_names[];
#define API_PAGE_ROWS(T)                                                                           \
    {CODEC_I64(T, limit, "Limit", 0, INT32_MIN, INT32_MAX), CODEC_HAS(T, has_limit)},              \
        {CODEC_STR(T, after, "After", CODEC_OMIT_ZERO, 0)},                                        \
    {                                                                                              \
        CODEC_ENUM(T, order, "Order", 0, api_order_names)                                          \
    }
struct api_page_body {
    API_BODY_HEAD;
    API_PAGE_MEMBERS;
};
extern const struct codec_table api_page_table;

#define API_LIMIT_MIN     2
#define API_LIMIT_MAX     1000
#define API_LIMIT_DEFAULT 50
/* Clamped to the nearest bound; the default when not given. */
size_t api_limit(bool given, int64_t limit);
/* The list envelope around `data` (taken). */
cJSON *api_list(cJSON *data, bool has_more, size_t limit, const char *after, int order);

/* ---- pieces of answers ---- */

void api_add_time(cJSON *to, const char *name, int64_t ms);       /* nothing for 0 */
void api_add_text(cJSON *to, const char *name, const char *text); /* nothing for "" */
void api_add_duration(cJSON *to, const char *name, int64_t seconds);
void api_add_uuid(cJSON *to, const char *name, const struct uuid *u); /* nothing for zero */
void api_add_base64(cJSON *to, const char *name, struct span bytes);  /* nothing when empty */
void api_add_hex(cJSON *to, const char *name, struct span bytes);
/* "-----BEGIN CERTIFICATE-----" and so on. */
void api_add_pem(cJSON *to, const char *name, struct span der);

#endif
