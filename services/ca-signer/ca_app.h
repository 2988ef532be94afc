/*
 * The CAs' owner as an app of the processor, apart from the devices' so that a bulk of signatures
 * never delays an operation on a CA. It makes keys through the key store on worker threads and
 * writes them, sealed, in the transaction that makes the CA. Threads as common/processor.h says.
 */
#ifndef CA_SIGNER_CA_APP_H
#define CA_SIGNER_CA_APP_H

#include "common/metrics.h"
#include "common/processor.h"
#include "keystore.h"

struct ca_app {
    struct keystore *store; /* borrowed */
    int64_t backdate_s;
    struct metric *created, *updated, *refused;
};

/* Registers the metrics. `app` must not move afterwards. */
void ca_app_init(struct ca_app *app, struct keystore *store, int64_t backdate_s,
                 struct metrics *registry);
/* The table of functions; its ctx is a struct ca_app. */
extern const struct processor_app ca_processor;

#endif
