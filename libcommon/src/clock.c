#include "common/clock.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

#define DAY_MS INT64_C(86400000)

static int64_t read_ms(clockid_t id)
{
    struct timespec now;
    int rc = clock_gettime(id, &now);
    assert(rc == 0);
    (void)rc;
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t system_now_ms(const struct clock *clock)
{
    (void)clock;
    return read_ms(CLOCK_REALTIME);
}

static int64_t system_mono_ms(const struct clock *clock)
{
    (void)clock;
    return read_ms(CLOCK_MONOTONIC);
}

const struct clock clock_system = {system_now_ms, system_mono_ms};

static int64_t test_now_ms(const struct clock *clock)
{
    return atomic_load(&((const struct clock_test *)clock)->wall_ms);
}

static int64_t test_mono_ms(const struct clock *clock)
{
    return atomic_load(&((const struct clock_test *)clock)->steady_ms);
}

void clock_test_init(struct clock_test *t, int64_t now_ms)
{
    t->clock = (struct clock){test_now_ms, test_mono_ms};
    atomic_store(&t->wall_ms, now_ms);
    atomic_store(&t->steady_ms, 1000);
}

void clock_test_advance(struct clock_test *t, int64_t ms)
{
    assert(ms >= 0);
    (void)atomic_fetch_add(&t->wall_ms, ms);
    (void)atomic_fetch_add(&t->steady_ms, ms);
}

void clock_test_step(struct clock_test *t, int64_t now_ms)
{
    atomic_store(&t->wall_ms, now_ms);
}

/* Both directions count years from March, so that the leap day is the last of its year; 400 years
 * are 146097 days; 719468 days lie between 0000-03-01 and 1970-01-01. */
int64_t time_days_from_date(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

void time_date_from_days(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    *ret_day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    *ret_month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    *ret_year = year_of_era + era * 400 + (*ret_month <= 2);
}

static void put_digits(char *out, int64_t value, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
}

void time_format(int64_t ms, char out[TIME_TEXT_SIZE])
{
    ms = ms < TIME_MIN_MS ? TIME_MIN_MS : ms > TIME_MAX_MS ? TIME_MAX_MS : ms;
    int64_t days = (ms >= 0 ? ms : ms - (DAY_MS - 1)) / DAY_MS;
    int64_t rest = ms - days * DAY_MS;
    int64_t year = 0;
    int month = 0;
    int day = 0;
    time_date_from_days(days, &year, &month, &day);
    memcpy(out, "0000-00-00T00:00:00.000Z", TIME_TEXT_SIZE);
    put_digits(out, year, 4);
    put_digits(out + 5, month, 2);
    put_digits(out + 8, day, 2);
    put_digits(out + 11, rest / 3600000, 2);
    put_digits(out + 14, rest / 60000 % 60, 2);
    put_digits(out + 17, rest / 1000 % 60, 2);
    put_digits(out + 20, rest % 1000, 3);
}

/* Matches `text` against `form`, where '0' stands for any digit. */
static bool matches(const uint8_t *text, const char *form)
{
    for (; *form != 0; form++, text++) {
        bool fits = *form == '0' ? *text >= '0' && *text <= '9' : *text == (uint8_t)*form;
        if (!fits) {
            return false;
        }
    }
    return true;
}

static int digits(const uint8_t *text, int width)
{
    int value = 0;
    for (int i = 0; i < width; i++) {
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

err_t time_parse(struct span text, int64_t *ret_ms)
{
    bool fraction = text.len == TIME_TEXT_SIZE - 1;
    if (!fraction && text.len != TIME_TEXT_SIZE - 5) {
        return ERR_INVALID;
    }
    if (!matches(text.ptr, fraction ? "0000-00-00T00:00:00.000Z" : "0000-00-00T00:00:00Z")) {
        return ERR_INVALID;
    }
    int year = digits(text.ptr, 4);
    int month = digits(text.ptr + 5, 2);
    int day = digits(text.ptr + 8, 2);
    int hour = digits(text.ptr + 11, 2);
    int minute = digits(text.ptr + 14, 2);
    int second = digits(text.ptr + 17, 2);
    if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) {
        return ERR_INVALID;
    }
    int64_t days = time_days_from_date(year, month, day);
    int64_t next_month = time_days_from_date(year + (month == 12), month % 12 + 1, 1);
    if (days >= next_month) {
        return ERR_INVALID;
    }
    int64_t seconds = ((int64_t)hour * 60 + minute) * 60 + second;
    *ret_ms = days * DAY_MS + seconds * 1000 + (fraction ? digits(text.ptr + 20, 3) : 0);
    return ERR_OK;
}
