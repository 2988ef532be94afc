#include "endpoint.h"

#include <stdio.h>

#include "common/log.h"
#include "common/partition.h"

#define BUCKETS    1024
#define FRESH_MS   1000
#define STOPPED_MS 30000 /* how long the registry has to take note of a disabled webhook */
#define IDLE_MS    600000
#define AAD_MAX    (2 * UUID_TEXT_SIZE)

struct endpoints {
    struct registry_view *registry;
    const struct seal_kek *kek;
    struct endpoint *buckets[BUCKETS];
    struct endpoint *busy;
    size_t count;
};

/* ---- one ---- */

void endpoint_push(struct endpoint *e, struct delivery *d)
{
    d->endpoint = e;
    d->next = NULL;
    *e->last = d;
    e->last = &d->next;
    e->waiting++;
}

struct delivery *endpoint_pop(struct endpoint *e)
{
    struct delivery *d = e->first;
    if (d != NULL) {
        e->first = d->next;
        if (e->first == NULL) {
            e->last = &e->first;
        }
        d->next = NULL;
        e->waiting--;
    }
    return d;
}

void endpoint_recall(struct endpoint *e, int64_t failing_since)
{
    bool older = e->failing_since == 0 || failing_since < e->failing_since;
    if (failing_since > e->last_success_ms && older) {
        e->failing_since = failing_since;
    }
}

static void unload(struct endpoint *e)
{
    free(e->url);
    e->url = NULL;
    signing_secrets_wipe(&e->secrets);
    e->active = false;
}

static void endpoint_free(struct endpoint *e)
{
    unload(e);
    free(e);
}

/* ---- the table ---- */

struct endpoints *endpoints_new(struct registry_view *registry, const struct seal_kek *kek)
{
    struct endpoints *t = xcalloc(1, sizeof *t);
    t->registry = registry;
    t->kek = kek;
    return t;
}

void endpoints_free(struct endpoints *t)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        while (t->buckets[i] != NULL) {
            struct endpoint *e = t->buckets[i];
            t->buckets[i] = e->chain;
            endpoint_free(e);
        }
    }
    free(t);
}

struct endpoint *endpoints_get(struct endpoints *t, const char *webhook, const char *domain,
                               int64_t now_ms)
{
    struct endpoint **bucket = &t->buckets[stable_hash(span_str(webhook)) % BUCKETS];
    struct endpoint *e = *bucket;
    while (e != NULL && strcmp(e->id, webhook) != 0) {
        e = e->chain;
    }
    if (e == NULL) {
        e = xcalloc(1, sizeof *e);
        (void)snprintf(e->id, sizeof e->id, "%s", webhook);
        (void)snprintf(e->domain, sizeof e->domain, "%s", domain);
        e->last = &e->first;
        e->chain = *bucket;
        *bucket = e;
        t->count++;
    }
    e->used_ms = now_ms;
    return e;
}

void endpoints_mark_busy(struct endpoints *t, struct endpoint *e)
{
    if (!e->busy) {
        e->busy = true;
        e->busy_next = t->busy;
        t->busy = e;
    }
}

void endpoints_each_busy(struct endpoints *t, void (*visit)(void *ctx, struct endpoint *e),
                         void *ctx)
{
    for (struct endpoint **at = &t->busy; *at != NULL;) {
        struct endpoint *e = *at;
        visit(ctx, e);
        if (e->waiting > 0) {
            at = &e->busy_next;
        } else {
            *at = e->busy_next;
            e->busy = false;
        }
    }
}

static bool may_forget(const struct endpoint *e, int64_t now_ms, int64_t failing_ms)
{
    bool fails = e->active && e->failing_since != 0;
    int64_t keep_ms = fails && failing_ms > IDLE_MS ? failing_ms : IDLE_MS;
    return !e->busy && e->in_flight == 0 && now_ms - e->used_ms > keep_ms;
}

void endpoints_forget_idle(struct endpoints *t, int64_t now_ms, int64_t failing_ms)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct endpoint **at = &t->buckets[i]; *at != NULL;) {
            struct endpoint *e = *at;
            if (!may_forget(e, now_ms, failing_ms)) {
                at = &e->chain;
                continue;
            }
            *at = e->chain;
            endpoint_free(e);
            t->count--;
        }
    }
}

size_t endpoints_count(const struct endpoints *t)
{
    return t->count;
}

size_t endpoints_open_breakers(const struct endpoints *t)
{
    size_t count = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (const struct endpoint *e = t->buckets[i]; e != NULL; e = e->chain) {
            count += e->breaker.open_until_ms != 0;
        }
    }
    return count;
}

/* ---- the registry ---- */

static err_t open_secrets(const struct endpoints *t, struct endpoint *e,
                          const struct registry_webhook *w)
{
    char aad[AAD_MAX];
    CLEANUP_BUF struct buf text = BUF_INIT_SECRET(SIGNATURE_SECRET_TEXT_MAX);
    (void)snprintf(aad, sizeof aad, "%s/%s", w->domain, w->id);
    err_t err =
        unseal(t->kek, span_str(aad), span_of(w->secret_sealed, w->secret_sealed_len), &text);
    return err == ERR_OK ? signing_secrets_parse(buf_span(&text), &e->secrets) : err;
}

static void take_record(const struct endpoints *t, struct endpoint *e,
                        const struct registry_record *r)
{
    unload(e);
    if (r == NULL) {
        e->why_not = "the webhook was deleted";
        return;
    }
    const struct registry_webhook *w = &r->of.webhook;
    if (w->status != REGISTRY_WEBHOOK_ACTIVE) {
        e->why_not = "the webhook is disabled";
        return;
    }
    err_t err = open_secrets(t, e, w);
    if (err != ERR_OK) {
        /* the operator's to mend: the deliveries go through the tiers meanwhile */
        const struct log_context context = {.domain = e->domain};
        log_limited(LOG_LEVEL_ERROR, &context, "secret_not_opened", LOG_STR("webhook", e->id),
                    LOG_ERR("error", err));
    }
    e->url = xstrdup(w->url);
    e->active = true;
}

err_t endpoints_load(struct endpoints *t, struct endpoint *e, int64_t now_ms)
{
    if (e->stopped_ms != 0 && now_ms - e->stopped_ms < STOPPED_MS) {
        e->active = false;
        e->why_not = "the webhook is being disabled";
        return ERR_OK;
    }
    if (e->loaded_ms != 0 && now_ms - e->loaded_ms < FRESH_MS) {
        return ERR_OK;
    }
    CLEANUP(registry_record_free) struct registry_record *r = NULL;
    err_t err = registry_view_webhook(t->registry, e->domain, e->id, &r);
    if (err == ERR_OK) {
        take_record(t, e, r);
        e->loaded_ms = now_ms;
        e->stopped_ms = 0;
    }
    return err;
}
