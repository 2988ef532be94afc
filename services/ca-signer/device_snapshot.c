#include "device_snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "absence.h"
#include "ca_cache.h"
#include "common/arena.h"
#include "common/partition.h"
#include "common/view.h"
#include "device_decide.h"
#include "proto/topics.h"
#include "serial_guard.h"

#define PASSES_MAX 4 /* a profile found late may name a CA that is absent in turn */

/* A profile some requests of the round speak of. */
struct wanted_profile {
    const char *uid;
    char record_key[REGISTRY_KEY_SIZE]; /* "" while unknown */
    struct registry_record *record;     /* owned until the next round; NULL: absent */
};

/* One value to be read from a view. */
struct lookup {
    char letter;
    int32_t partition;
    struct span key;   /* record key */
    struct span value; /* payload; ptr NULL: absent */
};

/* What one request needs, as it becomes known. */
struct wanted {
    struct wanted_profile *profile; /* NULL: none */
    struct lookup *whitelist;       /* NULL: need not be on it */
    struct registry_record *listed; /* owned until the next round */
    struct uuid ca;                 /* zero: none */
    struct lookup *ca_record;       /* NULL: none, or read for an earlier request */
};

struct device_snapshot {
    char *brokers;
    char *client_id;
    struct redis *redis;
    struct ca_cache *cas;
    struct view_fresh *fresh;

    /* Of the round. */
    int32_t partitions; /* the registry's, by which the views are cut */
    int64_t now_ms;
    struct arena arena;
    struct wanted_profile *profiles;
    unsigned profile_count;
    struct wanted *wanted;
    unsigned wanted_count;
};

err_t device_snapshot_new(const struct device_snapshot_options *options,
                          struct device_snapshot **ret)
{
    CLEANUP(device_snapshot_free) struct device_snapshot *s = xcalloc(1, sizeof *s);
    s->brokers = xstrdup(options->brokers);
    s->client_id = xasprintf("ca-signer.views.%s", options->instance);
    s->redis = options->redis;
    serial_guard_register(s->redis);
    s->cas = ca_cache_new(options->keys);
    err_t e = view_fresh_new(s->brokers, s->client_id, &s->fresh);
    if (e != ERR_OK) {
        return e;
    }
    *ret = TAKE(s);
    return ERR_OK;
}

static void forget_round(struct device_snapshot *s)
{
    for (unsigned i = 0; i < s->profile_count; i++) {
        registry_record_free(s->profiles[i].record);
    }
    for (unsigned i = 0; i < s->wanted_count; i++) {
        registry_record_free(s->wanted[i].listed);
    }
    s->profile_count = s->wanted_count = 0;
    arena_clear(&s->arena);
}

void device_snapshot_free(struct device_snapshot *s)
{
    if (s != NULL) {
        forget_round(s);
        arena_deinit(&s->arena);
        view_fresh_free(s->fresh);
        ca_cache_free(s->cas);
        redis_free(s->redis);
        free(s->brokers);
        free(s->client_id);
        free(s);
    }
}

/* ---- reading views ---- */

static err_t append_get(struct device_snapshot *s, const struct lookup *l)
{
    CLEANUP_BUF struct buf key = BUF_INIT(VIEW_KEY_MAX + 32);
    err_t e = view_key(l->letter, l->partition, l->key, &key);
    const struct span argv[] = {span_str("GET"), buf_span(&key)};
    return e != ERR_OK ? e : redis_append(s->redis, argv, 2);
}

static err_t collect_get(struct device_snapshot *s, struct lookup *l)
{
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = redis_collect(s->redis, &reply);
    l->value = (struct span){0};
    if (e != ERR_OK || redis_reply_kind(reply) == REDIS_KIND_NIL) {
        return e;
    }
    struct span payload;
    e = view_value_payload(redis_reply_span(reply), &payload);
    if (e == ERR_OK) {
        l->value = arena_span(&s->arena, payload);
    }
    return e;
}

/* All lookups in one pipelined call. */
static err_t run_lookups(struct device_snapshot *s, struct lookup *lookups, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        err_t e = append_get(s, &lookups[i]);
        if (e != ERR_OK) {
            redis_abandon(s->redis);
            return e;
        }
    }
    err_t result = ERR_OK;
    for (unsigned i = 0; i < n; i++) {
        err_t e = collect_get(s, &lookups[i]);
        result = result == ERR_OK ? e : result;
    }
    return result;
}

/* ---- what is wanted ---- */

static const char *profile_of(const struct snapshot_want *want)
{
    const struct device *d = want->device;
    const struct device_request *r = want->request;
    if (r->kind == DEVICE_ASKS_BOOTSTRAP) {
        if (d == NULL || (d->profile[0] == 0 && d->sealed_profile[0] == 0)) {
            return r->of.bootstrap.profile;
        }
        return d->profile[0] != 0 ? d->profile : d->sealed_profile;
    }
    return r->kind == DEVICE_ORDER_UNBLOCK && d != NULL ? d->profile : "";
}

static struct wanted_profile *want_profile(struct device_snapshot *s, const char *uid)
{
    uint32_t hint = 0;
    if (registry_profile_hint(uid, &hint) != ERR_OK) {
        return NULL; /* none, or nothing that could exist */
    }
    for (unsigned i = 0; i < s->profile_count; i++) {
        if (strcmp(s->profiles[i].uid, uid) == 0) {
            return &s->profiles[i];
        }
    }
    struct wanted_profile *profile = &s->profiles[s->profile_count++];
    profile->uid = uid;
    return profile;
}

static void want_all(struct device_snapshot *s, const struct snapshot_want *wants, unsigned n)
{
    forget_round(s);
    s->profiles = arena_alloc(&s->arena, (n + 1) * sizeof *s->profiles);
    s->wanted = arena_alloc(&s->arena, (n + 1) * sizeof *s->wanted);
    s->wanted_count = n;
    for (unsigned i = 0; i < n; i++) {
        wants[i].request->snapshots = (struct device_snapshots){0};
        s->wanted[i].profile = want_profile(s, profile_of(&wants[i]));
    }
}

static int32_t profile_partition(const struct device_snapshot *s, const struct wanted_profile *p)
{
    uint32_t hint = 0;
    return registry_profile_hint(p->uid, &hint) == ERR_OK
               ? (int32_t)(hint % (uint32_t)s->partitions)
               : 0;
}

/* ---- one pass: aliases, profiles, then whitelist and CAs ---- */

static err_t append_alias(struct device_snapshot *s, const struct wanted_profile *profile)
{
    CLEANUP_BUF struct buf key = BUF_INIT(VIEW_KEY_MAX);
    char alias[REGISTRY_ALIAS_SIZE];
    char low[REGISTRY_ALIAS_SIZE + 1] = "[";
    char high[REGISTRY_ALIAS_SIZE + 2] = "[";
    registry_alias_profile(profile->uid, alias);
    size_t len = strlen(alias);
    memcpy(low + 1, alias, len + 1);
    memcpy(high + 1, alias, len);
    high[len + 1] = '\xff';
    high[len + 2] = 0;
    err_t e = view_index_key(VIEW_REGISTRY, profile_partition(s, profile), span_str("alias"), &key);
    const struct span argv[] = {
        span_str("ZRANGEBYLEX"), buf_span(&key), span_str(low), span_str(high),
        span_str("LIMIT"),       span_str("0"),  span_str("1")};
    return e != ERR_OK ? e : redis_append(s->redis, argv, sizeof argv / sizeof argv[0]);
}

static err_t collect_alias(struct device_snapshot *s, struct wanted_profile *profile)
{
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = redis_collect(s->redis, &reply);
    profile->record_key[0] = 0;
    if (e != ERR_OK || redis_reply_count(reply) == 0) {
        return e;
    }
    struct span member = redis_reply_span(redis_reply_at(reply, 0));
    const uint8_t *end = member.len > 0 ? memchr(member.ptr, '\n', member.len) : NULL;
    size_t skip = end != NULL ? (size_t)(end - member.ptr) + 1 : 0;
    if (end == NULL || member.len - skip >= sizeof profile->record_key) {
        return ERR_CORRUPT;
    }
    memcpy(profile->record_key, member.ptr + skip, member.len - skip);
    profile->record_key[member.len - skip] = 0;
    return ERR_OK;
}

static err_t read_aliases(struct device_snapshot *s)
{
    for (unsigned i = 0; i < s->profile_count; i++) {
        err_t e = append_alias(s, &s->profiles[i]);
        if (e != ERR_OK) {
            redis_abandon(s->redis);
            return e;
        }
    }
    err_t result = ERR_OK;
    for (unsigned i = 0; i < s->profile_count; i++) {
        err_t e = collect_alias(s, &s->profiles[i]);
        result = result == ERR_OK ? e : result;
    }
    return result;
}

static err_t read_profiles(struct device_snapshot *s)
{
    struct lookup *lookups = arena_alloc(&s->arena, (s->profile_count + 1) * sizeof *lookups);
    unsigned n = 0;
    for (unsigned i = 0; i < s->profile_count; i++) {
        const struct wanted_profile *p = &s->profiles[i];
        if (p->record_key[0] != 0) {
            lookups[n++] = (struct lookup){.letter = VIEW_REGISTRY,
                                           .partition = profile_partition(s, p),
                                           .key = span_str(p->record_key)};
        }
    }
    err_t e = run_lookups(s, lookups, n);
    for (unsigned i = 0, k = 0; i < s->profile_count && e == ERR_OK; i++) {
        struct wanted_profile *p = &s->profiles[i];
        const struct lookup *l = p->record_key[0] != 0 ? &lookups[k++] : NULL;
        if (l != NULL && l->value.ptr != NULL) {
            e = registry_record_decode(REGISTRY_PROFILE, l->value, &p->record);
        }
    }
    return e;
}

/* A device that is in already is not looked up again. */
static bool wants_whitelist(const struct snapshot_want *want, const struct wanted *w)
{
    bool waits = want->device == NULL || want->device->state == DEVICE_REGISTERED ||
                 want->device->state == DEVICE_ALLOCATED;
    return waits && w->profile != NULL && w->profile->record != NULL &&
           w->profile->record->of.profile.whitelist == REGISTRY_WHITELIST_ON;
}

static struct lookup whitelist_lookup(struct device_snapshot *s, const struct snapshot_want *want,
                                      const struct wanted *w)
{
    char key[REGISTRY_KEY_SIZE];
    registry_key(w->profile->record->of.profile.domain, REGISTRY_WHITELIST, want->request->uid,
                 key);
    return (struct lookup){.letter = VIEW_REGISTRY,
                           .partition = profile_partition(s, w->profile),
                           .key = span_str(arena_str(&s->arena, key))};
}

static struct lookup ca_lookup(struct device_snapshot *s, const struct uuid *ca)
{
    char id[UUID_TEXT_SIZE];
    uuid_format(ca, id);
    return (struct lookup){.letter = VIEW_CA,
                           .partition = partition_of(span_str(id), s->partitions),
                           .key = span_str(arena_str(&s->arena, id))};
}

static err_t take_ca(struct device_snapshot *s, struct device_snapshots *to, const struct wanted *w)
{
    const struct ca_cache_entry *entry = NULL;
    err_t e = ca_cache_update(s->cas, &w->ca, w->ca_record->value, &entry);
    if (e == ERR_OK) {
        to->ca = entry->ca;
        to->template = entry->template;
    }
    return e;
}

/* Which earlier request of the round asks for the same CA; `i` itself when none does. */
static unsigned first_with_ca(const struct device_snapshot *s, unsigned i)
{
    unsigned at = 0;
    while (!uuid_eq(&s->wanted[at].ca, &s->wanted[i].ca)) {
        at++;
    }
    return at;
}

/* NULL: none is wanted, or it is absent. */
static const struct registry_profile *profile_read(const struct wanted *w)
{
    return w->profile != NULL && w->profile->record != NULL ? &w->profile->record->of.profile
                                                            : NULL;
}

/* Queues what the profiles have shown to be needed; returns the number of lookups. */
static unsigned want_rest(struct device_snapshot *s, const struct snapshot_want *wants, unsigned n,
                          struct lookup *lookups)
{
    unsigned count = 0;
    for (unsigned i = 0; i < n; i++) {
        struct wanted *w = &s->wanted[i];
        w->ca = device_ca_of(wants[i].device, wants[i].request, profile_read(w), s->now_ms);
        if (wants_whitelist(&wants[i], w)) {
            w->whitelist = &lookups[count++];
            *w->whitelist = whitelist_lookup(s, &wants[i], w);
        }
        if (!uuid_is_zero(&w->ca) && first_with_ca(s, i) == i) {
            w->ca_record = &lookups[count++];
            *w->ca_record = ca_lookup(s, &w->ca);
        }
    }
    return count;
}

static err_t read_rest(struct device_snapshot *s, const struct snapshot_want *wants, unsigned n)
{
    struct lookup *lookups = arena_alloc(&s->arena, (2 * (size_t)n + 1) * sizeof *lookups);
    err_t e = run_lookups(s, lookups, want_rest(s, wants, n, lookups));
    for (unsigned i = 0; i < n && e == ERR_OK; i++) {
        struct wanted *w = &s->wanted[i];
        struct device_snapshots *to = &wants[i].request->snapshots;
        if (w->whitelist != NULL && w->whitelist->value.ptr != NULL) {
            e = registry_record_decode(REGISTRY_WHITELIST, w->whitelist->value, &w->listed);
        }
        if (e == ERR_OK && w->ca_record != NULL) {
            e = take_ca(s, to, w);
        } else {
            const struct device_snapshots *first = &wants[first_with_ca(s, i)].request->snapshots;
            to->ca = first->ca;
            to->template = first->template;
        }
    }
    return e;
}

static err_t read_pass(struct device_snapshot *s, const struct snapshot_want *wants, unsigned n)
{
    want_all(s, wants, n);
    err_t e = read_aliases(s);
    if (e == ERR_OK) {
        e = read_profiles(s);
    }
    if (e == ERR_OK) {
        e = read_rest(s, wants, n);
    }
    for (unsigned i = 0; i < n && e == ERR_OK; i++) {
        const struct wanted *w = &s->wanted[i];
        struct device_snapshots *to = &wants[i].request->snapshots;
        to->profile = profile_read(w);
        to->whitelist = w->listed != NULL ? &w->listed->of.whitelist : NULL;
    }
    return e;
}

/* ---- absence ---- */

/* True: something is. */
static bool find_absences(struct device_snapshot *s, const struct snapshot_want *wants, unsigned n,
                          struct absences *to)
{
    bool any = false;
    absences_next_pass(to);
    for (unsigned i = 0; i < n; i++) {
        const struct wanted *w = &s->wanted[i];
        if (w->profile != NULL &&
            (w->profile->record == NULL || (w->whitelist != NULL && w->listed == NULL))) {
            absences_note(to, ABSENT_IN_REGISTRY, profile_partition(s, w->profile));
            any = true;
        }
        if (!uuid_is_zero(&w->ca) && wants[i].request->snapshots.ca == NULL) {
            absences_note(to, ABSENT_IN_CAS, ca_lookup(s, &w->ca).partition);
            any = true;
        }
    }
    return any;
}

/* What is absent is looked up again after its view was checked, and believed when the view has
 * stood meanwhile. */
static err_t read_views(struct device_snapshot *s, const struct snapshot_want *wants, unsigned n)
{
    CLEANUP(absences_free) struct absences *absences = absences_new(s->partitions);
    for (unsigned pass = 0; pass < PASSES_MAX; pass++) {
        err_t e = read_pass(s, wants, n);
        if (e != ERR_OK || !find_absences(s, wants, n, absences)) {
            return e;
        }
        e = absences_believe(absences, s->redis);
        if (e != ERR_STALE) {
            return e;
        }
        e = absences_check(absences, s->fresh, s->redis);
        if (e != ERR_OK) {
            return e == ERR_STALE ? ERR_UNAVAILABLE : e;
        }
    }
    return ERR_UNAVAILABLE;
}

err_t device_snapshot_read(struct device_snapshot *s, int32_t partitions, int64_t now_ms,
                           const struct snapshot_want *wants, unsigned n)
{
    s->now_ms = now_ms;
    s->partitions = partitions;
    err_t e = read_views(s, wants, n);
    return e == ERR_OK ? serial_guard_ask(s->redis, wants, n) : e;
}
