#include "breaker.h"

enum breaker_gate breaker_gate(const struct breaker *b, int64_t now_ms)
{
    if (b->open_until_ms == 0) {
        return BREAKER_PASS;
    }
    if (b->probing) {
        return BREAKER_WAIT;
    }
    return now_ms < b->open_until_ms ? BREAKER_REFUSE : BREAKER_PROBE;
}

void breaker_probe(struct breaker *b)
{
    b->probing = true;
}

void breaker_success(struct breaker *b)
{
    *b = (struct breaker){0};
}

void breaker_failure(struct breaker *b, const struct breaker_limits *limits, int64_t now_ms)
{
    b->probing = false;
    if (b->failures < limits->failures) {
        b->failures++;
    }
    if (b->failures >= limits->failures) {
        int64_t until_ms = now_ms + limits->open_ms;
        b->open_until_ms = until_ms > b->open_until_ms ? until_ms : b->open_until_ms;
    }
}

void breaker_unknown(struct breaker *b)
{
    b->probing = false;
}

void breaker_hold(struct breaker *b, int64_t wait_ms, int64_t now_ms)
{
    int64_t until_ms = now_ms + wait_ms;
    b->asked_until_ms = until_ms > b->asked_until_ms ? until_ms : b->asked_until_ms;
    b->open_until_ms = until_ms > b->open_until_ms ? until_ms : b->open_until_ms;
}

int64_t breaker_asked_ms(const struct breaker *b, int64_t now_ms)
{
    return b->asked_until_ms > now_ms ? b->asked_until_ms - now_ms : 0;
}
