/*
 * What a decision about a device comes to: the new state, the facts to publish, the evidence to
 * bill, the answer, and possibly a certificate to be signed first. Filled by the device_* deciders,
 * which are pure, and carried out by device_app.c. One thread.
 */
#ifndef CA_SIGNER_DEVICE_OUTCOME_H
#define CA_SIGNER_DEVICE_OUTCOME_H

#include <cjson/cJSON.h>

#include "common/err.h"
#include "proto/certificate.h"
#include "proto/device.h"

#define OUTCOME_EVENTS_MAX   16
#define OUTCOME_STATUSES_MAX (DEVICE_UNCONFIRMED_MAX + 2)

/* Why a request changed nothing, or less than was asked for. Each has one code on the wire and one
 * status. */
enum refusal {
    REFUSAL_NONE,
    REFUSAL_BAD_SIGNATURE,
    REFUSAL_WRONG_KEY,
    REFUSAL_STALE_SEQUENCE,
    REFUSAL_ALREADY_BOOTSTRAPPED,
    REFUSAL_DECOMMISSIONED,
    REFUSAL_UNKNOWN_DEVICE,
    REFUSAL_NOT_ACTIVE,
    REFUSAL_UNKNOWN_OPERATION,
    REFUSAL_OPERATION_FINISHED,
    REFUSAL_OPERATION_IN_PROGRESS,
    REFUSAL_CSR_REQUIRED,
    REFUSAL_INVALID_CSR,
    REFUSAL_UNEXPECTED_KEY,
    REFUSAL_UNKNOWN_CERTIFICATE,
    REFUSAL_STUCK,
    REFUSAL_NO_CERTIFICATE,
    REFUSAL_NOT_MANAGED,
    REFUSAL_REVOKED,
    REFUSAL_NOT_LONGER,
    REFUSAL_NOT_DUE,
    REFUSAL_CERTIFICATE_CHANGED,
    REFUSAL_NOT_WHITELISTED,
    REFUSAL_FLOOD_ABOVE_HEARTBEAT,
    REFUSAL_HEARTBEAT_TOO_RARE,
    REFUSAL_ISSUE_FAILED,
    REFUSAL_TRY_AGAIN,
    REFUSAL_COUNT,
};
/* "stale_sequence", ...: code of the answer and label of the metric. */
const char *refusal_code(enum refusal refusal);
int refusal_status(enum refusal refusal);

struct outcome_event {
    const char *type;                          /* constant */
    char distinct[2 * CERTIFICATE_SERIAL + 1]; /* part of the event's id where one request causes
                                                  several of a kind; else "" */
    cJSON *data;
};

struct outcome_status {
    struct uuid ca;
    uint8_t serial[CERTIFICATE_SERIAL];
    enum certificate_status status;
    struct uuid operation;
};

/* A certificate that the decision wants signed. */
struct issue_ask {
    struct uuid ca;
    struct device_subject subject; /* len 0: the first one, CN=<uid> */
    struct device_key spki;
    int64_t validity_s;
};

/* A billable installation with its evidence. */
struct outcome_install {
    bool billable;
    struct device_unconfirmed certificate; /* what was proved */
    uint8_t previous_serial[CERTIFICATE_SERIAL];
    bool has_previous;
};

struct device_outcome {
    struct device *state; /* owned; NULL: nothing changes */
    struct outcome_event events[OUTCOME_EVENTS_MAX];
    unsigned event_count;
    struct outcome_status statuses[OUTCOME_STATUSES_MAX];
    unsigned status_count;
    bool sign; /* `ask` is to be signed, then device_signed() completes the outcome */
    struct issue_ask ask;
    bool issued; /* the newest unconfirmed certificate of `state` was signed in this round */
    struct outcome_install install;
    enum refusal refusal;
    int status; /* of the answer, HTTP-like */
    struct fault fault;
    cJSON *result; /* owned; NULL: none */
};
void device_outcome_deinit(struct device_outcome *o);

/* Ends the decision with a refusal. The text says which rule and what would be accepted. */
void outcome_refuse(struct device_outcome *o, enum refusal refusal, const char *field,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));
/* A fact for other systems. `data` is handed over. `serial` tells several facts of one type apart,
 * else NULL. */
void outcome_event(struct device_outcome *o, const char *type, const uint8_t *serial, cJSON *data);
void outcome_status(struct device_outcome *o, const struct uuid *ca,
                    const uint8_t serial[CERTIFICATE_SERIAL], enum certificate_status status,
                    const struct uuid *operation);
/* The answer: 200 and an object to be filled. Borrowed from the outcome. */
cJSON *outcome_answer(struct device_outcome *o);

/* Members of answers and events. */
void json_add_uuid(cJSON *to, const char *name, const struct uuid *id); /* left out when zero */
void json_add_hex(cJSON *to, const char *name, struct span bytes);
void json_add_base64(cJSON *to, const char *name, struct span bytes);
void json_add_time(cJSON *to, const char *name, int64_t ms);
void json_add_text(cJSON *to, const char *name, const char *text); /* left out when "" */

#endif
