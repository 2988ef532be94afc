/*
 * Inside the registry's decision: what registry_decide.c and the files of the single operations
 * share.
 */
#ifndef API_GATEWAY_REGISTRY_RULES_H
#define API_GATEWAY_REGISTRY_RULES_H

#include "registry_decide.h"

/* What an operation sees. */
struct registry_case {
    const struct registry_request *rq;
    const struct registry_record *const *states;
    int64_t now_ms;
    const struct registry_domain *domain; /* NULL only where the operation does not need one */
    const void *body;
};

struct registry_operation {
    const char *type;
    const struct codec_table *table;
    bool makes_domain; /* the domain need not exist */
    bool keeps_result; /* repeats are answered from a stored result */
    /* Names the things beyond domain and result (registry_name); NULL: none. */
    err_t (*name)(struct registry_request *rq);
    void (*decide)(const struct registry_case *c, struct registry_outcome *out);
};
extern const struct registry_operation registry_operation_domain_create;
extern const struct registry_operation registry_operation_key_create;
extern const struct registry_operation registry_operation_key_revoke;
extern const struct registry_operation registry_operation_profile_create;
extern const struct registry_operation registry_operation_profile_update;
extern const struct registry_operation registry_operation_whitelist_add;
extern const struct registry_operation registry_operation_whitelist_remove;
extern const struct registry_operation registry_operation_webhook_create;
extern const struct registry_operation registry_operation_webhook_delete;
extern const struct registry_operation registry_operation_webhook_disable;
extern const struct registry_operation registry_operation_ca_create;
extern const struct registry_operation registry_operation_ca_release;
extern const struct registry_operation registry_operation_expire;

/* Names one more entity of the request. ERR_TOO_LARGE over the maximum. */
err_t registry_name(struct registry_request *rq, enum registry_kind kind, const char *id) MUST_USE;

static inline const struct registry_record *registry_thing(const struct registry_case *c,
                                                           unsigned i)
{
    return c->states[REGISTRY_ENTITY_THING + i];
}

/* The reply of a refusal: status from the error's table. */
void registry_refuse(struct registry_outcome *out, err_t e, const char *code, const char *field,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));
/* 422: the Idempotency-Key came before, with another body. */
void registry_refuse_reuse(struct registry_outcome *out);
/* A new record with its type, domain and times filled in by kind; hand it to registry_put. */
struct registry_record *registry_make(const struct registry_case *c, enum registry_kind kind);
/* Takes the record. The reply's result is the record itself when `reply`. */
void registry_put(struct registry_outcome *out, unsigned entity, struct registry_record *record,
                  bool reply);
void registry_delete(struct registry_outcome *out, unsigned entity);
/* A copy of the domain's record, put as its new state, to change the usage of. */
struct registry_domain *registry_put_domain(const struct registry_case *c,
                                            struct registry_outcome *out);
/* Takes `data`. */
void registry_event(struct registry_outcome *out, const char *type, const char *subject,
                    cJSON *data);

#endif
