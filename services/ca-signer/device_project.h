/* State record of a device -> its view record, and back. Pure; see proto/device.h for the payload
 * and the contract's indexes. */
#ifndef CA_SIGNER_DEVICE_PROJECT_H
#define CA_SIGNER_DEVICE_PROJECT_H

#include "common/view.h"
#include "proto/device.h"

/* ERR_UNSUPPORTED: another type or major version; ERR_CORRUPT: not a record of this device. */
err_t device_project(struct span record_key, struct span value, struct view_record *to) MUST_USE;
/* Whether, and from when on (UTC ms), the scheduler may renew it without being asked. */
bool device_is_due(const struct device *d, int64_t *ret_ms);

#endif
