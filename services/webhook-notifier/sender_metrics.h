/* What is counted about sending. */
#ifndef WEBHOOK_NOTIFIER_SENDER_METRICS_H
#define WEBHOOK_NOTIFIER_SENDER_METRICS_H

#include "common/metrics.h"
#include "delivery.h"

struct sender_metrics {
    struct metric *attempts[WEBHOOK_OUTCOME_COUNT];
    struct metric *deferred_breaker; /* put back without an attempt */
    struct metric *deferred_full;
    struct metric *in_flight;
    struct metric *in_hand;
    struct metric *endpoints;
    struct metric *open_breakers;
    struct metric *oldest_s;
    struct metric_histogram *duration;
};
void sender_metrics_init(struct sender_metrics *m, struct metrics *registry);
/* One delivery is put down. */
void sender_metrics_count(struct sender_metrics *m, const struct settlement *s);
void sender_metrics_observe(struct sender_metrics *m, double seconds);

#endif
