/*
 * Who calls: the root-of-trust key of the TLS client certificate. The key is the identity, the
 * handshake proves that the caller holds it; the certificate around it must be self-signed, or come
 * from a configured manufacturer. Any thread.
 */
#ifndef HEARTBEAT_INGEST_IDENTITY_H
#define HEARTBEAT_INGEST_IDENTITY_H

#include "common/err.h"
#include "proto/device_protocol.h"

struct identity {
    uint8_t uid[DEVICE_UID_BYTES];
    char uid_text[DEVICE_UID_SIZE];
    uint8_t spki[DEVICE_SPKI_MAX]; /* SubjectPublicKeyInfo, DER */
    size_t spki_len;
};

struct identity_rules;

/* `manufacturers_file`: PEM with CAs whose certificates are accepted besides self-signed ones; ""
 * for none. ERR_INVALID with `fault`. */
err_t identity_rules_new(const char *manufacturers_file, struct identity_rules **ret,
                         struct fault *fault) MUST_USE;
void identity_rules_free(struct identity_rules *rules);
CLEANUP_DEFINE(struct identity_rules *, identity_rules_free);

/* Judges a client's chain (DER, leaf first). ERR_UNAUTHORIZED with `fault` naming the rule. The
 * identity is owned: free(). */
err_t identity_of_chain(const struct identity_rules *rules, const struct span *chain, size_t count,
                        struct identity **ret, struct fault *fault) MUST_USE;

#endif
