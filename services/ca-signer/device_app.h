/*
 * The device's owner as an app of the processor: requests in; state, certificates, events, installs
 * to be billed and answers out. It carries out what device_decide.h decides. Threads as
 * common/processor.h says.
 */
#ifndef CA_SIGNER_DEVICE_APP_H
#define CA_SIGNER_DEVICE_APP_H

#include "common/metrics.h"
#include "common/processor.h"
#include "device_outcome.h"
#include "device_snapshot.h"

struct device_metrics {
    struct metric *issued[OPERATION_DELETE + 1];    /* certificates signed, by kind */
    struct metric *confirmed[OPERATION_DELETE + 1]; /* proved, by kind */
    struct metric *refused[REFUSAL_COUNT];
    struct metric_histogram *signing;
};

struct device_app {
    struct device_snapshot *snapshot; /* borrowed */
    int64_t backdate_s; /* notBefore lies this far back, for devices whose clock is behind */
    struct device_metrics metrics;
};

/* Registers the metrics. `app` must not move afterwards. */
void device_app_init(struct device_app *app, struct device_snapshot *snapshot, int64_t backdate_s,
                     struct metrics *registry);
/* The table of functions; its ctx is a struct device_app. */
extern const struct processor_app device_processor;

#endif
