/*
 * The orders' owner as an app of the processor: order.requests in, order.state and replies out.
 * Threads as common/processor.h says; its snapshot reads use a connection of their own, on the
 * processor's thread.
 */
#ifndef SCHEDULER_ORDER_APP_H
#define SCHEDULER_ORDER_APP_H

#include "common/metrics.h"
#include "common/processor.h"
#include "fleet_view.h"

struct order_app {
    struct fleet_view *fleet; /* borrowed */
    const struct clock *clock;
    struct metric *placed, *repeated, *queued, *refused;
};

void order_app_init(struct order_app *app, struct fleet_view *fleet, const struct clock *clock,
                    struct metrics *registry);
/* Its ctx is a struct order_app. */
extern const struct processor_app order_processor;

#endif
