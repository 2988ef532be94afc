/*
 * Spans of time as people write them in the API: a whole number and a unit, "90s", "15m", "12h",
 * "365d", "10y" (a year is 365 days). Pure, any thread.
 */
#ifndef API_GATEWAY_DURATION_H
#define API_GATEWAY_DURATION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

#define DURATION_TEXT_SIZE 24
#define DURATION_WORDS     "a whole number and a unit (s, m, h, d or y), such as \"365d\""

/* ERR_INVALID: another form, zero, or more than 1000 years. */
err_t duration_parse(const char *text, int64_t *ret_s) MUST_USE;
/* For codec rules. */
bool duration_valid(const void *text);
/* In the largest unit up to days that divides it. */
void duration_format(int64_t seconds, char out[DURATION_TEXT_SIZE]);

#endif
