/*
 * Writes an outcome into the round's transaction: state record, certificate and status records,
 * events, the install for billing-meter, and the answer to whoever waits. Processor thread.
 */
#ifndef CA_SIGNER_DEVICE_PUBLISH_H
#define CA_SIGNER_DEVICE_PUBLISH_H

#include "common/processor.h"
#include "device_request.h"

/* `index` is the device's entity of the work. The outcome's state is handed over. */
void device_publish(struct work *w, unsigned index, struct device_request *r, int64_t now_ms);

#endif
