/* The PEM that devices get at bootstrap, to know this door by later. Main thread. */
#ifndef HEARTBEAT_INGEST_SERVER_CA_H
#define HEARTBEAT_INGEST_SERVER_CA_H

#include "common/err.h"

/*
 * Reads the file; *ret is owned by the caller, "" where `path` is "". ERR_INVALID with `fault`: not
 * certificates from its first block to its last, or more than a device keeps
 * (DEVICE_SERVER_CA_MAX).
 */
err_t server_ca_read(const char *path, char **ret, struct fault *fault) MUST_USE;

#endif
