/* A device's own settings: how often it calls in, and how often it may. It hears of them in the
 * answer to its next heartbeat, which the door makes of this state. */
#include <string.h>

#include "device_life.h"

/* The wish and what it said: with other words it is another wish. */
static struct uuid wish_id(const struct device_request *r)
{
    return UUID_V5(span_str(r->envelope.id), span_str(r->envelope.hash));
}

static bool is_repeat(const struct device *d, const struct uuid *wish)
{
    for (size_t i = 0; i < d->changes_count; i++) {
        if (uuid_eq(&d->changes[i].id, wish)) {
            return true;
        }
    }
    return false;
}

/* As long as a request that repeats it can still arrive; then the oldest goes. */
static void remember(struct device *d, const struct uuid *wish, int64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->changes_count; i++) {
        if (d->changes[i].at_ms >= now_ms - DEVICE_RECENT_KEEP_MS) {
            d->changes[kept++] = d->changes[i];
        }
    }
    if (kept == DEVICE_CHANGES_MAX) {
        kept--;
        memmove(&d->changes[0], &d->changes[1], kept * sizeof d->changes[0]);
    }
    memset(&d->changes[kept], 0, (DEVICE_CHANGES_MAX - kept) * sizeof d->changes[0]);
    d->changes[kept] = (struct device_change){.id = *wish, .at_ms = now_ms};
    d->changes_count = kept + 1;
}

static bool refuse_device(const struct device *old, struct device_request *r)
{
    struct device_outcome *o = &r->outcome;
    if (old == NULL || !life_belongs_to(old, &r->envelope)) {
        outcome_refuse(o, REFUSAL_UNKNOWN_DEVICE, "uid", "the domain has no such device");
    } else if (old->state == DEVICE_DECOMMISSIONED) {
        outcome_refuse(o, REFUSAL_DECOMMISSIONED, "", "the device was decommissioned");
    } else if (old->state != DEVICE_ACTIVE && old->state != DEVICE_SUSPENDED) {
        outcome_refuse(o, REFUSAL_NOT_ACTIVE, "",
                       "the device is %s; what its profile says counts until it is let in",
                       codec_name_of(device_state_names, old->state));
    }
    return o->refusal != REFUSAL_NONE;
}

/* What can never work is refused where it is made. */
static bool refuse_settings(const struct device_settings *s, struct device_request *r)
{
    struct device_outcome *o = &r->outcome;
    const struct ca *ca = r->snapshots.ca;
    if (s->flood_interval_s > s->heartbeat_interval_s) {
        outcome_refuse(o, REFUSAL_FLOOD_ABOVE_HEARTBEAT, "FloodInterval",
                       "FloodInterval (%lld s) must not exceed HeartbeatInterval (%lld s), else "
                       "every heartbeat of the device is refused",
                       (long long)s->flood_interval_s, (long long)s->heartbeat_interval_s);
    } else if (r->of.settings.has_heartbeat_interval && ca != NULL && ca->automatic_renewal &&
               s->heartbeat_interval_s >= ca->renew_ahead_s) {
        outcome_refuse(o, REFUSAL_HEARTBEAT_TOO_RARE, "HeartbeatInterval",
                       "HeartbeatInterval must be below the RenewAhead of its CA (%lld s), else "
                       "its certificate expires between two heartbeats",
                       (long long)ca->renew_ahead_s);
    }
    return o->refusal != REFUSAL_NONE;
}

static cJSON *change_data(const struct device *d, const struct device_settings *before)
{
    cJSON *data = life_event_data(d);
    const struct {
        const char *name;
        int64_t seconds;
    } rows[] = {
        {"heartbeat_interval_s", d->settings.heartbeat_interval_s},
        {"flood_interval_s", d->settings.flood_interval_s},
        {"previous_heartbeat_interval_s", before->heartbeat_interval_s},
        {"previous_flood_interval_s", before->flood_interval_s},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)cJSON_AddNumberToObject(data, rows[i].name, (double)rows[i].seconds);
    }
    return data;
}

static void change(const struct device *old, struct device_request *r, const struct uuid *wish,
                   int64_t now_ms)
{
    const struct device_settings_body *b = &r->of.settings;
    struct device_settings s = old->settings;
    s.heartbeat_interval_s =
        b->has_heartbeat_interval ? b->heartbeat_interval_s : s.heartbeat_interval_s;
    s.flood_interval_s = b->has_flood_interval ? b->flood_interval_s : s.flood_interval_s;
    if (refuse_settings(&s, r)) {
        return;
    }
    struct device *d = life_change(old, r, now_ms);
    remember(d, wish, now_ms);
    d->settings = s;
    if (s.heartbeat_interval_s != old->settings.heartbeat_interval_s ||
        s.flood_interval_s != old->settings.flood_interval_s) {
        outcome_event(&r->outcome, EVENT_SETTINGS_CHANGED, NULL, change_data(d, &old->settings));
    }
}

void device_change_settings(const struct device *old, struct device_request *r, int64_t now_ms)
{
    struct device_outcome *o = &r->outcome;
    if (!refuse_device(old, r)) {
        struct uuid wish = wish_id(r);
        if (!is_repeat(old, &wish)) {
            change(old, r, &wish, now_ms);
        }
    }
    /* A refused device is named as well: the answers of a list come one by one. */
    if (o->refusal == REFUSAL_NONE) {
        json_add_text(outcome_answer(o), "status", "updated");
    } else {
        o->result = cJSON_CreateObject();
    }
    json_add_text(o->result, "uid", r->uid);
}
