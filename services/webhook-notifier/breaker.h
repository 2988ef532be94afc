/*
 * Circuit breaker of one endpoint: after some failures in a row, or when the endpoint asks for it,
 * nothing is sent for a while, then one probe decides. Pure; times are monotonic milliseconds.
 * Owner's thread.
 */
#ifndef WEBHOOK_NOTIFIER_BREAKER_H
#define WEBHOOK_NOTIFIER_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker {
    unsigned failures;      /* in a row */
    int64_t open_until_ms;  /* 0: closed */
    int64_t asked_until_ms; /* the endpoint wants to be left alone until then; 0: it does not */
    bool probing;           /* the one probe of a half-open breaker is under way */
};

struct breaker_limits {
    unsigned failures; /* in a row that open it, > 0 */
    int64_t open_ms;
};

enum breaker_gate {
    BREAKER_PASS,   /* closed: send */
    BREAKER_PROBE,  /* half open: send one (breaker_probe), and see */
    BREAKER_WAIT,   /* half open, the probe is under way: its end will tell */
    BREAKER_REFUSE, /* open: do not send */
};

enum breaker_gate breaker_gate(const struct breaker *b, int64_t now_ms);
/* The probe is sent. */
void breaker_probe(struct breaker *b);
void breaker_success(struct breaker *b);
void breaker_failure(struct breaker *b, const struct breaker_limits *limits, int64_t now_ms);
/* The endpoint asked to be left alone for so long (Retry-After): opens it until then. */
void breaker_hold(struct breaker *b, int64_t wait_ms, int64_t now_ms);
/* How long that still is; 0: it is over. */
int64_t breaker_asked_ms(const struct breaker *b, int64_t now_ms);
/* The probe ended without an answer to the question (it was taken back). */
void breaker_unknown(struct breaker *b);

#endif
