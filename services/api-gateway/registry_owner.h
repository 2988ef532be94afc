/*
 * The registry's owner: the processor that carries requests from registry.requests to
 * registry_decide and its outcome into the transaction. Runs with --role owner or both.
 */
#ifndef API_GATEWAY_REGISTRY_OWNER_H
#define API_GATEWAY_REGISTRY_OWNER_H

#include "common/processor.h"

#define REGISTRY_OWNER_NAME "api-gateway.registry"

/* The app for processor_new; its ctx is NULL. */
extern const struct processor_app registry_owner_app;

/*
 * A state record as the view holds it: the payload is the record, the indexes are those of
 * proto/registry.h. Pure. ERR_UNSUPPORTED: a newer major version; ERR_CORRUPT: not a registry
 * record.
 */
err_t registry_project(void *ctx, struct span record_key, struct span value,
                       struct view_record *to) MUST_USE;

#endif
