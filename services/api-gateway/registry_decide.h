/*
 * What the registry's owner decides, as a pure function: present state + request + time -> new
 * state, events, requests to other owners and a reply. No I/O, no clock, no randomness: identifiers
 * and secrets were made at the door. registry_owner.c carries it between Kafka and here; the tests
 * call it directly. One thread at a time per object.
 */
#ifndef API_GATEWAY_REGISTRY_DECIDE_H
#define API_GATEWAY_REGISTRY_DECIDE_H

#include "proto/envelope.h"
#include "proto/registry.h"

/* The records a request reads or writes, by number: the domain, its own stored result, then the
 * things it is about. */
#define REGISTRY_ENTITY_DOMAIN 0
#define REGISTRY_ENTITY_RESULT 1
#define REGISTRY_ENTITY_THING  2
/* the devices of a chunk, and the result of the first chunk */
#define REGISTRY_ENTITIES_MAX (REGISTRY_ENTITY_THING + REGISTRY_WHITELIST_CHUNK + 1)

struct registry_operation;

/* A request on its way; zero it before registry_request_decode. */
struct registry_request {
    struct envelope envelope;
    const struct registry_operation *operation;
    void *body; /* struct of the operation's codec table, owned */
    char keys[REGISTRY_ENTITIES_MAX][REGISTRY_KEY_SIZE];
    unsigned key_count;
};
/*
 * Parses a record of registry.requests and names the entities it needs. Errors go to the dead
 * letters with `fault` as the reason: a door never sends such a thing.
 */
err_t registry_request_decode(struct span value, struct registry_request *ret,
                              struct fault *fault) MUST_USE;
void registry_request_deinit(struct registry_request *rq);
CLEANUP_DEFINE_EMBEDDED(struct registry_request, registry_request_deinit);

struct registry_put {
    unsigned entity;
    struct registry_record *record; /* owned; NULL: a tombstone */
};
struct registry_event {
    const char *type; /* static */
    char subject[REGISTRY_KEY_SIZE];
    cJSON *data; /* owned */
};
/* A request to another owner. */
struct registry_forward {
    const char *topic; /* static */
    const char *type;  /* static */
    char id[UUID_TEXT_SIZE];
    char key[UUID_TEXT_SIZE]; /* partition and record key */
    const cJSON *body;        /* borrowed from the request; NULL: {} */
    bool reply;               /* the other owner answers the door; hash and reply_to go along */
};

#define REGISTRY_PUTS_MAX     REGISTRY_ENTITIES_MAX
#define REGISTRY_EVENTS_EMIT  4
#define REGISTRY_FORWARDS_MAX REGISTRY_WHITELIST_CHUNK
struct registry_outcome {
    struct registry_put puts[REGISTRY_PUTS_MAX];
    unsigned put_count;
    struct registry_event events[REGISTRY_EVENTS_EMIT];
    unsigned event_count;
    struct registry_forward forwards[REGISTRY_FORWARDS_MAX];
    unsigned forward_count;
    int status; /* of the reply; 0: another owner replies */
    struct fault fault;
    cJSON *result; /* owned; NULL: none */
};
void registry_outcome_deinit(struct registry_outcome *out);
CLEANUP_DEFINE_EMBEDDED(struct registry_outcome, registry_outcome_deinit);

/*
 * Decides. states[i] is the record of rq->keys[i], NULL when absent. `out` is overwritten. A
 * request seen before (same id) changes nothing: its stored result is the reply, or 422 when it
 * came with another body.
 */
void registry_decide(const struct registry_request *rq, const struct registry_record *const *states,
                     int64_t now_ms, struct registry_outcome *out);

#endif
