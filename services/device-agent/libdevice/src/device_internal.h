/* What device.c and slots.c share. */
#ifndef DEVICE_DEVICE_INTERNAL_H
#define DEVICE_DEVICE_INTERNAL_H

#include "device/device.h"

/* Saves `next` and makes it the device's state; on failure the old state stays in force. */
MUST_USE err_t device_commit(struct device *d, const struct device_state *next);

/* Loads what the state names, goes back where it cannot be used, clears leftovers. */
MUST_USE err_t device_slots_recover(struct device *d);

#endif
