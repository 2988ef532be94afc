/*
 * The ledger's owner as an app of the processor: installs in, charges and billing events out.
 * Threads as common/processor.h says.
 */
#ifndef BILLING_METER_LEDGER_APP_H
#define BILLING_METER_LEDGER_APP_H

#include "common/metrics.h"
#include "common/processor.h"

struct ledger_metrics {
    struct metric *installs; /* billable installs that were accepted as such */
    struct metric *charges[3];
    struct metric *repeated;
    struct metric *refused; /* evidence or form: an alarm, since ca-signer should never send one */
};
struct ledger_app {
    struct ledger_metrics metrics;
};

/* Registers the metrics. `app` must not move afterwards. */
void ledger_app_init(struct ledger_app *app, struct metrics *registry);
/* The table of functions; its ctx is a struct ledger_app. */
extern const struct processor_app ledger_processor;

#endif
