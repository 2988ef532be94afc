#include "duration.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DAY_S      INT64_C(86400)
#define LONGEST_S  (INT64_C(1000) * 365 * DAY_S)
#define DIGITS_MAX 12

static int64_t unit_s(char unit)
{
    switch (unit) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return DAY_S;
    case 'y':
        return 365 * DAY_S;
    default:
        return 0;
    }
}

err_t duration_parse(const char *text, int64_t *ret_s)
{
    int64_t number = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > DIGITS_MAX || text[digits] == '\0' || text[digits + 1] != '\0') {
        return ERR_INVALID;
    }
    for (size_t i = 0; i < digits; i++) {
        number = number * 10 + (text[i] - '0');
    }
    int64_t unit = unit_s(text[digits]);
    if (unit == 0 || number == 0 || number > LONGEST_S / unit) {
        return ERR_INVALID;
    }
    *ret_s = number * unit;
    return ERR_OK;
}

bool duration_valid(const void *text)
{
    int64_t seconds = 0;
    return duration_parse(text, &seconds) == ERR_OK;
}

void duration_format(int64_t seconds, char out[DURATION_TEXT_SIZE])
{
    static const struct {
        int64_t seconds;
        char name;
    } units[] = {{DAY_S, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    size_t i = 0;
    while (i < 3 && seconds % units[i].seconds != 0) {
        i++;
    }
    (void)snprintf(out, DURATION_TEXT_SIZE, "%" PRId64 "%c", seconds / units[i].seconds,
                   units[i].name);
}
