#include "sender_metrics.h"

#define ATTEMPTS_HELP "Deliveries by how their attempt ended."
#define DEFERRED_HELP "Deliveries put back without an attempt, by why."

void sender_metrics_init(struct sender_metrics *m, struct metrics *registry)
{
    for (int i = 0; i < WEBHOOK_OUTCOME_COUNT; i++) {
        m->attempts[i] =
            metrics_counter(registry, "webhook_attempts_total", ATTEMPTS_HELP,
                            METRIC_LABELS({"outcome", codec_name_of(webhook_outcome_names, i)}));
    }
    m->deferred_breaker = metrics_counter(registry, "webhook_deferred_total", DEFERRED_HELP,
                                          METRIC_LABELS({"why", "breaker"}));
    m->deferred_full = metrics_counter(registry, "webhook_deferred_total", DEFERRED_HELP,
                                       METRIC_LABELS({"why", "full"}));
    m->in_flight =
        metrics_gauge(registry, "webhook_in_flight", "Deliveries under way.", METRIC_NO_LABELS);
    m->in_hand =
        metrics_gauge(registry, "webhook_in_hand", "Deliveries in memory.", METRIC_NO_LABELS);
    m->endpoints =
        metrics_gauge(registry, "webhook_endpoints", "Endpoints remembered.", METRIC_NO_LABELS);
    m->open_breakers = metrics_gauge(registry, "webhook_breakers_open",
                                     "Endpoints that are left alone.", METRIC_NO_LABELS);
    m->oldest_s = metrics_gauge(registry, "webhook_oldest_undelivered_seconds",
                                "Age of the oldest delivery known and not done.", METRIC_NO_LABELS);
    m->duration = metrics_histogram(registry, "webhook_attempt_seconds", "Time an attempt took.",
                                    METRIC_NO_LABELS, METRIC_SECONDS);
}

void sender_metrics_count(struct sender_metrics *m, const struct settlement *s)
{
    if (s->told) {
        metric_inc(m->attempts[s->outcome]);
    } else if (s->full) {
        metric_inc(m->deferred_full);
    } else if (s->deferred) {
        metric_inc(m->deferred_breaker);
    }
}

void sender_metrics_observe(struct sender_metrics *m, double seconds)
{
    metric_observe(m->duration, seconds);
}
