#include "common/cert_view.h"

#include "common/clock.h"

#define SECONDS_PER_DAY 86400
#define YEAR_2050_S     INT64_C(2524608000)

static bool read_validity(struct span *in, struct tbs_view *ret)
{
    struct der_item validity;
    return der_read_tag(in, DER_SEQUENCE, &validity) &&
           der_read(&validity.value, &ret->not_before) &&
           der_read(&validity.value, &ret->not_after) && validity.value.len == 0;
}

static bool read_sequence(struct span *in, struct span *ret_whole)
{
    struct der_item item;
    if (!der_read_tag(in, DER_SEQUENCE, &item)) {
        return false;
    }
    *ret_whole = item.whole;
    return true;
}

static bool read_version(struct span *in, struct span *ret)
{
    struct der_item wrapper;
    struct der_item number;
    if (in->len == 0 || in->ptr[0] != (DER_CONTEXT_CONSTRUCTED | 0)) {
        return true;
    }
    if (!der_read(in, &wrapper) || !der_read_only(wrapper.value, DER_INTEGER, &number)) {
        return false;
    }
    *ret = number.value;
    return true;
}

static bool read_optional_end(struct span *in, struct tbs_view *ret)
{
    for (uint8_t id = 1; id <= 2; id++) {
        struct der_item unique;
        if (der_read_tag(in, (uint8_t)(DER_CONTEXT | id), &unique)) {
            ret->unique_ids = true;
        }
    }
    if (in->len == 0) {
        return true;
    }
    struct der_item wrapper;
    struct der_item list;
    if (!der_read_tag(in, DER_CONTEXT_CONSTRUCTED | 3, &wrapper) || in->len != 0 ||
        !der_read_only(wrapper.value, DER_SEQUENCE, &list)) {
        return false;
    }
    ret->extensions = list.value;
    return true;
}

bool tbs_parse(struct span tbs, struct tbs_view *ret)
{
    struct der_item body;
    struct der_item serial;
    struct tbs_view view = {.unique_ids = false};
    if (!der_read_only(tbs, DER_SEQUENCE, &body)) {
        return false;
    }
    struct span in = body.value;
    if (!read_version(&in, &view.version) || !der_read_tag(&in, DER_INTEGER, &serial) ||
        !read_sequence(&in, &view.signature) || !read_sequence(&in, &view.issuer) ||
        !read_validity(&in, &view) || !read_sequence(&in, &view.subject) ||
        !read_sequence(&in, &view.spki) || !read_optional_end(&in, &view)) {
        return false;
    }
    view.serial = serial.value;
    *ret = view;
    return true;
}

bool cert_parse(struct span der, struct cert_view *ret)
{
    struct der_item outer;
    struct der_item bits;
    struct cert_view view;
    if (!der_read_only(der, DER_SEQUENCE, &outer) || !read_sequence(&outer.value, &view.tbs) ||
        !read_sequence(&outer.value, &view.algorithm) ||
        !der_read_tag(&outer.value, DER_BIT_STRING, &bits) || outer.value.len != 0 ||
        bits.value.len < 2 || bits.value.ptr[0] != 0 || !tbs_parse(view.tbs, &view.fields)) {
        return false;
    }
    view.signature = span_of(bits.value.ptr + 1, bits.value.len - 1);
    *ret = view;
    return true;
}

bool extension_read(struct span *list, struct extension_view *ret)
{
    struct der_item extension;
    struct der_item item;
    struct extension_view view = {.critical = false};
    if (!der_read_tag(list, DER_SEQUENCE, &extension)) {
        return false;
    }
    struct span in = extension.value;
    if (!der_read_tag(&in, DER_OID, &item)) {
        return false;
    }
    view.oid = item.value;
    if (der_read_tag(&in, DER_BOOLEAN, &item)) {
        view.critical = item.value.len == 1 && item.value.ptr[0] != 0;
        view.critical_encoded = !view.critical;
    }
    if (!der_read_only(in, DER_OCTET_STRING, &item)) {
        return false;
    }
    view.value = item.value;
    *ret = view;
    return true;
}

bool extension_find(struct span list, struct span oid, struct extension_view *ret)
{
    struct extension_view view;
    while (list.len > 0 && extension_read(&list, &view)) {
        if (span_eq(view.oid, oid)) {
            *ret = view;
            return true;
        }
    }
    return false;
}

/* Reads `count` pairs of digits; false when something else is there. */
static bool read_pairs(const uint8_t *text, int *pairs, size_t count)
{
    for (size_t i = 0; i < count * 2; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
    }
    for (size_t i = 0; i < count; i++) {
        pairs[i] = (text[2 * i] - '0') * 10 + (text[2 * i + 1] - '0');
    }
    return true;
}

/* `p`: month, day, hour, minute, second. */
static bool seconds_of(int64_t year, const int p[5], int64_t *ret_s)
{
    if (p[0] < 1 || p[0] > 12 || p[1] < 1 || p[1] > 31 || p[2] > 23 || p[3] > 59 || p[4] > 59) {
        return false;
    }
    int64_t days = time_days_from_date(year, p[0], p[1]);
    int64_t back_year = 0;
    int month = 0;
    int day = 0;
    time_date_from_days(days, &back_year, &month, &day);
    if (back_year != year || month != p[0] || day != p[1]) {
        return false;
    }
    *ret_s = days * SECONDS_PER_DAY + p[2] * INT64_C(3600) + p[3] * INT64_C(60) + p[4];
    return true;
}

bool cert_time_read(const struct der_item *time, int64_t *ret_s)
{
    int pairs[7];
    struct span text = time->value;
    if (time->tag == DER_UTC_TIME && text.len == 13 && text.ptr[12] == 'Z' &&
        read_pairs(text.ptr, pairs, 6)) {
        return seconds_of(pairs[0] + (pairs[0] < 50 ? 2000 : 1900), pairs + 1, ret_s);
    }
    if (time->tag == DER_GENERALIZED_TIME && text.len == 15 && text.ptr[14] == 'Z' &&
        read_pairs(text.ptr, pairs, 7)) {
        return seconds_of(pairs[0] * INT64_C(100) + pairs[1], pairs + 2, ret_s);
    }
    return false;
}

uint8_t cert_time_tag(int64_t seconds)
{
    return seconds < YEAR_2050_S ? DER_UTC_TIME : DER_GENERALIZED_TIME;
}

static uint8_t *put_pair(uint8_t *to, int64_t value)
{
    to[0] = (uint8_t)('0' + value / 10);
    to[1] = (uint8_t)('0' + value % 10);
    return to + 2;
}

void cert_time_put(struct der_out *out, int64_t seconds)
{
    int64_t days = seconds / SECONDS_PER_DAY;
    if (seconds % SECONDS_PER_DAY < 0) {
        days--;
    }
    int64_t rest = seconds - days * SECONDS_PER_DAY;
    int64_t year = 0;
    int month = 0;
    int day = 0;
    time_date_from_days(days, &year, &month, &day);
    uint8_t text[15];
    uint8_t *end = text;
    uint8_t tag = cert_time_tag(seconds);
    if (tag == DER_GENERALIZED_TIME) {
        end = put_pair(end, year / 100);
    }
    end = put_pair(end, year % 100);
    end = put_pair(end, month);
    end = put_pair(end, day);
    end = put_pair(end, rest / 3600);
    end = put_pair(end, rest / 60 % 60);
    end = put_pair(end, rest % 60);
    *end++ = 'Z';
    der_put_item(out, tag, span_of(text, (size_t)(end - text)));
}
