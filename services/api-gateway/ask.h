/*
 * Asking an owner on behalf of an HTTP request: build the envelope, send it, suspend the client,
 * answer when the reply is there, or 202 with the id under which the outcome can be read later.
 * Handler's thread; the answer is made on a thread of the reply waiter.
 */
#ifndef API_GATEWAY_ASK_H
#define API_GATEWAY_ASK_H

#include "api.h"
#include "proto/envelope.h"

/*
 * The id of the request this exchange makes: uuid5 of the domain (or "operator"), the
 * Idempotency-Key (else a random one) and the call's path. ERR_INVALID with `fault`: the header is
 * not 1..255 printable characters.
 */
err_t ask_request_id(struct exchange *x, struct uuid *ret, struct fault *fault) MUST_USE;

/* What is added to a successful answer beside what the owner says: secrets shown once. */
struct ask_extra {
    const char *name; /* static; NULL: none */
    char value[128];
    /* The owner's result has this member with this base64 or text only if it took this secret, not
     * an earlier one under the same Idempotency-Key; NULL: unconditional. */
    const char *proof_name;
    char proof[1024];
};

struct ask_item {
    struct uuid id;           /* by ask_item_id */
    char key[UUID_TEXT_SIZE]; /* partition and record key where items differ in it; "": the ask's */
    cJSON *body;              /* owned by the ask, deleted once sent */
};

struct ask {
    const char *topic;               /* static */
    const char *type;                /* static */
    char key[UUID_TEXT_SIZE];        /* partition key */
    char record_key[UUID_TEXT_SIZE]; /* "": the partition key */
    struct ask_item *items;          /* owned; more than one: a bulk whose numbers are added up */
    size_t item_count;
    char hash[33]; /* of the client's body */
    struct ask_extra extra;
    cJSON *asked; /* owned; what the call's show wants to know of the request; NULL: nothing */
    int64_t deadline_ms;
};
/* Seconds that a used Idempotency-Key is known: as long as requests live. */
#define ASK_KEY_TTL_S "604800"
/* A secret is shown once, with the answer: such a request waits longer before it settles for 202.
 */
#define ASK_KEY_TTL_S          "604800" /* a used Idempotency-Key is known for as long as requests live */
#define ASK_SECRET_DEADLINE_MS 10000
/* Takes `body`; one item, the exchange's body hash and deadline. */
void ask_one(struct exchange *x, struct ask *ask, const struct uuid *id, cJSON *body);
/* The id of one item of a bulk by that of the first, which is the request's own. */
struct uuid ask_item_id(const struct uuid *first, size_t i);
/* Sends and suspends, or answers with the reason why not. Takes what `ask` owns. */
void ask_send(struct exchange *x, struct ask *ask);

/* Shows the stored replies of all items as the call would have: for /v1/request/get. `asked` as in
 * struct ask, borrowed. Any thread. */
struct http_response *ask_show(const struct api_call *call, const struct span *replies, size_t n,
                               const cJSON *asked);

#endif
