/*
 * What the calls that write to the registry have in common: the request's id, the hash of the
 * client's body, the envelope to registry.requests. Handler's thread.
 */
#ifndef API_GATEWAY_WRITE_H
#define API_GATEWAY_WRITE_H

#include "ask.h"

/* Hash over the decoded body, so that spelling (order of members, white space) does not matter: 32
 * hex digits. */
void write_hash(const struct exchange *x, char out[33]);
/*
 * An ask for the exchange's domain: topic registry.requests, `type`, partition key = domain, with
 * id and hash filled in. False: the Idempotency-Key was refused and the client is answered.
 */
bool write_begin(struct exchange *x, const char *type, struct ask *ask, struct uuid *ret_id);
/* Encodes a request struct as the JSON body. Never NULL. */
cJSON *write_body(const struct codec_table *table, const void *body);

/* Reads a record of the registry of the exchange's domain; on failure the client is answered. NULL
 * then. */
struct registry_record *registry_read(struct exchange *x, enum registry_kind kind, const char *id,
                                      const char *field);
/* Whether the domain acted on exists: a read of an unknown one is not an empty list. An access
 * key's own one always does. False: the client is answered. */
bool registry_domain_exists(struct exchange *x);
/* The result of a reply as a record; NULL when it is none. */
struct registry_record *registry_from_result(enum registry_kind kind, const cJSON *result);
/* The longest heartbeat interval among the domain's profiles of a CA; 0 when it has none. */
struct registry_profile_slowest {
    err_t err;
    int64_t heartbeat_interval_s;
};
struct registry_profile_slowest registry_slowest_profile(struct exchange *x, const char *ca);

/* Answers with a page of the domain's things of one kind. */
void registry_list(struct exchange *x, enum registry_kind kind,
                   cJSON *(*show)(struct exchange *x, const struct registry_record *r));

#endif
