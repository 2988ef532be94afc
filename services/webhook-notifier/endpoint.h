/*
 * Endpoints: what is known of each webhook that has something to be sent. URL and secrets come from
 * the registry and are believed for a second; health is what we saw ourselves. One thread.
 */
#ifndef WEBHOOK_NOTIFIER_ENDPOINT_H
#define WEBHOOK_NOTIFIER_ENDPOINT_H

#include "breaker.h"
#include "common/id.h"
#include "common/seal.h"
#include "delivery.h"
#include "registry_view.h"
#include "room.h"
#include "signature.h"

struct endpoint {
    struct endpoint *chain;     /* same bucket */
    struct endpoint *busy_next; /* those with a queue */
    bool busy;
    char id[UUID_TEXT_SIZE];
    char domain[UUID_TEXT_SIZE];
    char *url; /* NULL: not loaded */
    struct signing_secrets secrets;
    bool active;         /* in the registry, and not disabled */
    const char *why_not; /* where not active */
    int64_t loaded_ms;   /* monotonic; 0: never */
    int64_t stopped_ms;  /* monotonic: we asked the registry to disable it; 0: no */
    struct breaker breaker;
    int64_t failing_since;   /* UTC; 0: it works, as far as we know */
    int64_t last_success_ms; /* UTC; 0: none seen */
    unsigned in_flight;
    struct room in_hand;    /* waiting or under way */
    int64_t took_ms;        /* an attempt, on average of late; 0: not known */
    struct delivery *first; /* waiting */
    struct delivery **last;
    size_t waiting;
    int64_t used_ms; /* monotonic */
};

void endpoint_push(struct endpoint *e, struct delivery *d);
/* The first one waiting; NULL: none. */
struct delivery *endpoint_pop(struct endpoint *e);
/* A delivery that failed before remembers since when the endpoint fails: believed unless we know
 * better. */
void endpoint_recall(struct endpoint *e, int64_t failing_since);

struct endpoints;
struct endpoints *endpoints_new(struct registry_view *registry, const struct seal_kek *kek)
    __attribute__((returns_nonnull));
void endpoints_free(struct endpoints *t);
CLEANUP_DEFINE(struct endpoints *, endpoints_free);

/* Found or made. */
struct endpoint *endpoints_get(struct endpoints *t, const char *webhook, const char *domain,
                               int64_t now_ms) __attribute__((returns_nonnull));
/* Sees to it that what the registry says is not older than a second. ERR_UNAVAILABLE: cannot be
 * known now. */
err_t endpoints_load(struct endpoints *t, struct endpoint *e, int64_t now_ms) MUST_USE;
/* Calls `visit` for each endpoint with something waiting; those that end up with nothing leave the
 * list. */
void endpoints_each_busy(struct endpoints *t, void (*visit)(void *ctx, struct endpoint *e),
                         void *ctx);
/* Forgets those that were not used for a while; active ones that fail after `failing_ms` only. */
void endpoints_forget_idle(struct endpoints *t, int64_t now_ms, int64_t failing_ms);
size_t endpoints_count(const struct endpoints *t);
size_t endpoints_open_breakers(const struct endpoints *t);
void endpoints_mark_busy(struct endpoints *t, struct endpoint *e);

#endif
