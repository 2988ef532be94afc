/*
 * The fleet between phases: root-of-trust keys in one file, made once, and what every device
 * remembers in another, so that a phase is a process of its own. Both files are written aside and
 * moved into place. Main thread.
 */
#ifndef SIMULATOR_FLEET_H
#define SIMULATOR_FLEET_H

#include <openssl/ssl.h>

#include "device/device.h"

/* What is kept of one device; the bytes are opaque here. */
struct fleet_image {
    struct buf storage; /* storage_export_memory */
    struct buf session; /* a TLS session to resume from, DER; empty: none */
};

struct fleet {
    size_t count;
    EVP_PKEY **keys;
    struct fleet_image *images;
};

/* Reads or makes `count` keys. ERR_CORRUPT: not a key file; ERR_INTERNAL: I/O; `fault` says which
 * file. */
MUST_USE err_t fleet_load_keys(const char *path, size_t count, struct fleet **ret,
                               struct fault *fault);
/* Reads what the devices remember; a missing file is a fleet of fresh devices. */
MUST_USE err_t fleet_load_state(struct fleet *f, const char *path, struct fault *fault);
MUST_USE err_t fleet_save_state(const struct fleet *f, const char *path, struct fault *fault);
void fleet_free(struct fleet *f);
CLEANUP_DEFINE(struct fleet *, fleet_free);

/* A whole file; ERR_ABSENT, ERR_TOO_LARGE, ERR_INTERNAL. */
MUST_USE err_t fleet_read_file(const char *path, struct buf *to, struct fault *fault);

#endif
