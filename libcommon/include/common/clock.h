/*
 * Time as an argument. Whoever needs the time is handed a `struct clock`; leases, back-off,
 * deadlines and billing windows are pure functions of what it says, and a test moves it by hand.
 * Wall time is UTC in milliseconds since 1970 and may step; monotonic time only measures distances.
 * Any thread.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

struct clock {
    int64_t (*now_ms)(const struct clock *clock);  /* UTC, milliseconds since 1970-01-01 */
    int64_t (*mono_ms)(const struct clock *clock); /* never steps back; origin unspecified */
};

/* The machine's clocks. */
extern const struct clock clock_system;

static inline int64_t clock_now_ms(const struct clock *clock)
{
    return clock->now_ms(clock);
}
static inline int64_t clock_mono_ms(const struct clock *clock)
{
    return clock->mono_ms(clock);
}

/* A clock that stands still until it is told otherwise; pass &t.clock. Must not move in memory. */
struct clock_test {
    struct clock clock;
    _Atomic int64_t wall_ms;
    _Atomic int64_t steady_ms;
};
void clock_test_init(struct clock_test *t, int64_t now_ms);
/* Both clocks go forward by `ms` >= 0. */
void clock_test_advance(struct clock_test *t, int64_t ms);
/* Steps the wall clock only, as an administrator or a bad time server would. */
void clock_test_step(struct clock_test *t, int64_t now_ms);

/* "2026-11-21T05:30:00.000Z" and its NUL. */
#define TIME_TEXT_SIZE 25
/* The years 0000 to 9999: what RFC 3339 can write. */
#define TIME_MIN_MS INT64_C(-62167219200000)
#define TIME_MAX_MS INT64_C(253402300799999)

/* Writes RFC 3339 UTC with milliseconds; times outside TIME_MIN_MS..TIME_MAX_MS are clamped. */
void time_format(int64_t ms, char out[TIME_TEXT_SIZE]);

/*
 * Reads the form time_format writes, or the same without the fraction; "T" and "Z" are capital, the
 * offset is always "Z", the date must exist and leap seconds do not. Anything else is ERR_INVALID
 * and leaves *ret_ms alone.
 */
MUST_USE err_t time_parse(struct span text, int64_t *ret_ms);

/* Days since 1970-01-01 of a date of the Gregorian calendar, and back; month and day count from 1.
 */
int64_t time_days_from_date(int64_t year, int month, int day);
void time_date_from_days(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day);

#endif
