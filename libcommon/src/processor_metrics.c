/* What a processor counts. */
#include "processor_internal.h"

struct processor_metrics *processor_metrics_new(struct metrics *registry, const char *app)
{
    struct processor_metrics *m = xcalloc(1, sizeof *m);
    if (registry == NULL) {
        registry = m->own = metrics_new();
    }
    const struct metric_label *labels = METRIC_LABELS({"app", app});
    m->requests = metrics_counter(registry, "fleetseal_processor_requests_total",
                                  "Requests committed.", labels);
    m->rounds = metrics_counter(registry, "fleetseal_processor_transactions_total",
                                "Transactions committed.", labels);
    m->dead_letters = metrics_counter(registry, "fleetseal_processor_dead_letters_total",
                                      "Requests put aside.", labels);
    m->recoveries = metrics_counter(registry, "fleetseal_processor_recoveries_total",
                                    "Times partitions became live.", labels);
    m->records_read =
        metrics_counter(registry, "fleetseal_processor_state_records_total",
                        "State records read to bring the view to the log's end.", labels);
    m->rebuilds = metrics_counter(
        registry, "fleetseal_processor_rebuilds_total",
        "Times the Kafka clients were made anew because an outcome was not known.", labels);
    m->replies_lost = metrics_counter(registry, "fleetseal_processor_replies_lost_total",
                                      "Rounds whose replies Redis did not take.", labels);
    m->partitions_live = metrics_gauge(registry, "fleetseal_processor_partitions_live",
                                       "Partitions that decide.", labels);
    m->partitions_assigned =
        metrics_gauge(registry, "fleetseal_processor_partitions_assigned",
                      "Partitions of this member; -1 without a group.", labels);
    m->backlog = metrics_gauge(registry, "fleetseal_processor_backlog",
                               "Requests fetched and not yet decided.", labels);
    m->held_back = metrics_gauge(
        registry, "fleetseal_processor_held_back_seconds",
        "How long an open transaction has held back a partition that is to become live.", labels);
    m->decide_seconds =
        metrics_histogram(registry, "fleetseal_processor_decide_seconds",
                          "Load, verify, decide and sign of one round.", labels, METRIC_SECONDS);
    m->commit_seconds = metrics_histogram(registry, "fleetseal_processor_commit_seconds",
                                          "The transaction of one round.", labels, METRIC_SECONDS);
    m->view_seconds = metrics_histogram(registry, "fleetseal_processor_view_seconds",
                                        "View and replies of one round.", labels, METRIC_SECONDS);
    return m;
}

void processor_metrics_free(struct processor_metrics *m)
{
    if (m != NULL) {
        metrics_free(m->own);
        free(m);
    }
}
