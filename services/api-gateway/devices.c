#include "devices.h"

#include <ctype.h>
#include <stdio.h>

#include "proto/heartbeat.h"
#include "proto/topics.h"

#define RECORD_MAX  ((size_t)DEVICE_PACKED_MAX)
#define SCAN_CHUNK  512
#define CHUNK_BYTES ((size_t)SCAN_CHUNK * DEVICE_PACKED_MAX)
#define RAW_UID     (DEVICE_UID_LEN / 2)

bool devices_uid_rule(const void *text)
{
    const char *uid = text;
    size_t len = strspn(uid, "0123456789abcdefABCDEF");
    return len == DEVICE_UID_LEN && uid[len] == '\0';
}

void devices_lower(char *uid)
{
    for (; *uid != '\0'; uid++) {
        *uid = (char)tolower((unsigned char)*uid);
    }
}

/* ---- one device ---- */

static bool owned(const struct exchange *x, const struct device *d)
{
    struct uuid domain;
    return uuid_parse(span_str(x->domain), &domain) == ERR_OK && uuid_eq(&domain, &d->domain);
}

struct device *devices_read(struct exchange *x, const char *uid)
{
    uint8_t raw[RAW_UID];
    CLEANUP_BUF struct buf payload = BUF_INIT(RECORD_MAX);
    CLEANUP(device_free) struct device *d = NULL;
    err_t err = device_view_key(span_str(uid), raw);
    if (err == ERR_OK) {
        err = views_get(x->redis, VIEW_DEVICE, api_partition(x->door, uid),
                        span_of(raw, sizeof raw), &payload);
    }
    if (err == ERR_OK) {
        err = device_unpack(span_str(uid), buf_span(&payload), &d);
    }
    if (err == ERR_OK && !owned(x, d)) {
        err = ERR_ABSENT;
    }
    if (err != ERR_OK) {
        api_view_failed(x, err, "RoTPublicUID", "device", uid);
        return NULL;
    }
    return TAKE(d);
}

int64_t devices_last_heartbeat(struct exchange *x, const char *uid)
{
    uint8_t raw[RAW_UID];
    uint8_t key[HEARTBEAT_GUARD_KEY];
    struct heartbeat_guard guard;
    struct span value[1] = {{0}};
    CLEANUP_BUF struct buf arena = BUF_INIT(4096);
    if (device_view_key(span_str(uid), raw) != ERR_OK) {
        return 0;
    }
    heartbeat_guard_key(raw, key);
    const struct span keys[] = {span_of(key, sizeof key)};
    if (views_read(x->redis, keys, 1, &arena, value) != ERR_OK ||
        heartbeat_guard_decode(value[0], &guard) != ERR_OK) {
        return 0;
    }
    return guard.time_ms;
}

/* ---- lists of devices in bodies ---- */

const struct codec_field devices_uid_element = {
    CODEC_ELEMENT_STR(sizeof(struct devices_uid), DEVICE_UID_LEN),
    CODEC_RULE(devices_uid_rule, "16 hexadecimal digits")};

static int by_text(const void *a, const void *b)
{
    return strcasecmp(((const struct devices_uid *)a)->text, ((const struct devices_uid *)b)->text);
}

bool devices_named_twice(struct exchange *x, const struct devices_uid *uids, size_t n)
{
    struct devices_uid *sorted = xcalloc(n, sizeof *sorted);
    memcpy(sorted, uids, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_text);
    bool twice = false;
    for (size_t i = 1; i < n && !twice; i++) {
        twice = by_text(&sorted[i - 1], &sorted[i]) == 0;
        if (twice) {
            api_refuse(x, ERR_INVALID, "validation_error", "RoTPublicUIDs",
                       "device %s is listed more than once", sorted[i].text);
        }
    }
    free(sorted);
    return twice;
}

/* ---- filters ---- */

static bool contains(const char *text, const char *part)
{
    return strcasestr(text, part) != NULL;
}

bool devices_match(const struct device *d, const struct devices_filter *f)
{
    bool certificate = device_has_certificate(d);
    bool wants_certificate = f->with_certificate || !uuid_is_zero(&f->ca) ||
                             f->expires_after_ms != 0 || f->expires_before_ms != 0;
    if ((f->has_state && d->state != f->state) || (wants_certificate && !certificate)) {
        return false;
    }
    if (!uuid_is_zero(&f->ca) && !uuid_eq(&f->ca, &d->certificate.ca)) {
        return false;
    }
    if (f->profile[0] != '\0' && strcmp(f->profile, d->profile) != 0) {
        return false;
    }
    if (f->expires_after_ms != 0 && d->certificate.not_after_ms < f->expires_after_ms) {
        return false;
    }
    if (f->expires_before_ms != 0 && d->certificate.not_after_ms >= f->expires_before_ms) {
        return false;
    }
    return f->search[0] == '\0' || contains(d->uid, f->search) || contains(d->serial, f->search) ||
           contains(d->model, f->search);
}

/* ---- lists ---- */

struct scan {
    struct exchange *x;
    const struct devices_filter *filter;
    cJSON *(*show)(struct exchange *x, const struct device *d);
    cJSON *data;
    size_t wanted; /* rows still wanted */
    size_t looked; /* devices looked at */
    uint8_t last[RAW_UID];
    size_t last_len; /* 0: none looked at */
};

/* Looks at the members in order until enough rows are found. */
static err_t look_at(struct scan *s, const struct views_members *members, size_t n)
{
    struct views_want *wants = xcalloc(n + 1, sizeof *wants);
    struct span *payloads = xcalloc(n + 1, sizeof *payloads);
    CLEANUP_BUF struct buf arena = BUF_INIT(CHUNK_BYTES);
    for (size_t i = 0; i < n; i++) {
        const struct views_member *m = &members->items[i];
        wants[i] = (struct views_want){
            .letter = VIEW_DEVICE, .partition = m->partition, .key = span_of(m->bytes, m->len)};
    }
    err_t err = views_get_many(s->x->redis, wants, n, &arena, payloads);
    for (size_t i = 0; i < n && err == ERR_OK && s->wanted > 0; i++) {
        char uid[DEVICE_UID_LEN + 1];
        CLEANUP(device_free) struct device *d = NULL;
        if (members->items[i].len != RAW_UID) {
            continue;
        }
        memcpy(s->last, members->items[i].bytes, RAW_UID);
        s->last_len = RAW_UID;
        s->looked++;
        hex_format(span_of(s->last, RAW_UID), uid);
        /* gone or moved to another domain between the two reads: not shown */
        if (payloads[i].ptr != NULL && device_unpack(span_str(uid), payloads[i], &d) == ERR_OK &&
            owned(s->x, d) && devices_match(d, s->filter)) {
            (void)cJSON_AddItemToArray(s->data, s->show(s->x, d));
            s->wanted--;
        }
    }
    free(wants);
    free(payloads);
    return err;
}

static err_t scan(struct scan *s, const struct devices_page *page, bool *ret_more)
{
    const struct exchange *x = s->x;
    uint8_t index[2 + 16] = {'n', ':'};
    struct uuid domain;
    err_t err = uuid_parse(span_str(x->domain), &domain);
    memcpy(index + 2, domain.bytes, sizeof domain.bytes);
    size_t budget = (size_t)x->door->config->list_scan_max;
    bool more = true;
    while (err == ERR_OK && more && s->wanted > 0 && s->looked < budget) {
        const struct views_range range = {
            .letter = VIEW_DEVICE,
            .index = span_of(index, sizeof index),
            .partition = -1,
            .after = span_of(s->last, s->last_len),
            .descending = page->order == API_DESC,
            .limit = (s->wanted < SCAN_CHUNK ? s->wanted : SCAN_CHUNK) + 1,
        };
        CLEANUP(views_members_deinit) struct views_members members = {0};
        err = views_list(x->door->views, x->redis, &range, &members);
        if (err == ERR_OK) {
            more = members.count == range.limit;
            err = look_at(s, &members, more ? members.count - 1 : members.count);
        }
    }
    *ret_more = more;
    return err;
}

void devices_list(struct exchange *x, const struct devices_filter *filter,
                  const struct devices_page *page,
                  cJSON *(*show)(struct exchange *x, const struct device *d))
{
    struct scan s = {
        .x = x, .filter = filter, .show = show, .data = cJSON_CreateArray(), .wanted = page->limit};
    if (page->after[0] != '\0' && device_view_key(span_str(page->after), s.last) == ERR_OK) {
        s.last_len = RAW_UID;
    }
    bool more = false;
    err_t err = scan(&s, page, &more);
    if (err != ERR_OK) {
        cJSON_Delete(s.data);
        api_view_failed(x, err, "", "list", "");
        return;
    }
    char after[DEVICE_UID_LEN + 1] = "";
    if (s.looked > 0) {
        hex_format(span_of(s.last, RAW_UID), after);
    }
    api_reply(x, 200, api_list(s.data, more, page->limit, after, page->order));
}
