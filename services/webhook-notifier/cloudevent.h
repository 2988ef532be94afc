/*
 * A CloudEvent as it lies on Kafka (binary mode: attributes in ce_ headers, the value is the data)
 * turned into the JSON document of structured mode, which is what webhooks receive. Pure, any
 * thread.
 */
#ifndef WEBHOOK_NOTIFIER_CLOUDEVENT_H
#define WEBHOOK_NOTIFIER_CLOUDEVENT_H

#include "common/buf.h"
#include "common/id.h"
#include "common/json.h"
#include "proto/webhook.h"

/* Where the headers come from: false if there is none of that name. */
struct cloudevent_source {
    bool (*header)(const void *ctx, const char *name, struct span *ret);
    const void *ctx;
    struct span value;
};

struct cloudevent {
    char id[WEBHOOK_EVENT_ID_SIZE];
    char type[WEBHOOK_EVENT_SIZE];
    char domain[UUID_TEXT_SIZE]; /* "" where nobody owns the subject yet */
    cJSON *json;                 /* owned */
};
void cloudevent_deinit(struct cloudevent *e);
CLEANUP_DEFINE_EMBEDDED(struct cloudevent, cloudevent_deinit);

/* ERR_INVALID, ERR_TOO_LARGE, ERR_UNSUPPORTED (another specversion): the fault names the
 * attribute; *ret owns nothing then. */
err_t cloudevent_decode(const struct cloudevent_source *source, struct cloudevent *ret,
                        struct fault *fault) MUST_USE;

#endif
