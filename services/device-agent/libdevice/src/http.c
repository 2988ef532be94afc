#include "device/http.h"

#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "common/clock.h"

#define CHUNK_LINE_MAX 64

err_t device_http_write(const struct device_http_request *request, struct buf *to)
{
    (void)buf_printf(to,
                     "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: fleetseal-device/%s\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                     request->path, request->host, FLEETSEAL_VERSION, request->body.len);
    if (request->signature != NULL && request->signature[0] != 0) {
        (void)buf_printf(to, DEVICE_SIGNATURE_HEADER ": %s\r\n", request->signature);
    }
    (void)buf_append_str(to, "\r\n");
    (void)buf_append_span(to, request->body);
    return buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}

void device_http_answer_deinit(struct device_http_answer *a)
{
    buf_deinit(&a->body);
}

void device_http_reader_init(struct device_http_reader *r)
{
    *r = (struct device_http_reader){
        .stage = DEVICE_HTTP_HEAD,
        .line = BUF_INIT(DEVICE_HTTP_HEAD_MAX),
        .answer = {.retry_after_s = -1, .body = BUF_INIT(DEVICE_ANSWER_MAX)},
    };
}

void device_http_reader_deinit(struct device_http_reader *r)
{
    buf_deinit(&r->line);
    device_http_answer_deinit(&r->answer);
}

static struct span trim(struct span s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s = span_of(s.ptr + 1, s.len - 1);
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

static bool same_word(struct span a, const char *b)
{
    return a.len == strlen(b) && strncasecmp((const char *)a.ptr, b, a.len) == 0;
}

/* Digits only, at most 10^12. */
static bool read_decimal(struct span s, uint64_t *ret)
{
    uint64_t value = 0;
    if (s.len == 0 || s.len > 12) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)s.ptr[i] - '0';
        if (digit > 9) {
            return false;
        }
        value = value * 10 + digit;
    }
    *ret = value;
    return true;
}

static int month_of(const char *name)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const char *found = strstr(months, name);
    return found != NULL && (found - months) % 3 == 0 ? (int)((found - months) / 3) + 1 : 0;
}

/* IMF-fixdate: "Sat, 21 Nov 2026 05:30:00 GMT". */
static int64_t read_date(struct span value)
{
    char text[32] = "";
    char month[4] = "";
    char zone[4] = "";
    int day = 0;
    int year = 0;
    int hour = 0;
    int minute = 0;
    int second = 0;
    if (value.len != 29) {
        return -1;
    }
    memcpy(text, value.ptr, value.len);
    /* NOLINTNEXTLINE(cert-err34-c): widths bound the numbers, ranges are checked below */
    int n = sscanf(text + 5, "%2d %3[A-Za-z] %4d %2d:%2d:%2d %3[A-Z]", &day, month, &year, &hour,
                   &minute, &second, zone);
    int m = n == 7 && strlen(month) == 3 ? month_of(month) : 0;
    if (m == 0 || strcmp(zone, "GMT") != 0 || year < 1970 || day < 1 || day > 31 || hour < 0 ||
        hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) {
        return -1;
    }
    return time_days_from_date(year, m, day) * 86400 + (int64_t)hour * 3600 + (int64_t)minute * 60 +
           second;
}

int64_t device_http_retry_after(struct span value, int64_t now_s)
{
    uint64_t number = 0;
    int64_t wait = -1;
    if (read_decimal(value, &number)) {
        wait = (int64_t)number;
    } else {
        int64_t date = read_date(value);
        if (date < 0 || now_s < 0) {
            return -1;
        }
        wait = date > now_s ? date - now_s : 0;
    }
    return wait < DEVICE_RETRY_MAX_S ? wait : DEVICE_RETRY_MAX_S;
}

/* What the head said, each at most once. */
struct head {
    bool has_length, chunked, close, keep;
    uint64_t length;
    struct span retry_after, date;
};

static err_t read_field(struct span line, struct head *h)
{
    const uint8_t *colon = line.len > 0 ? memchr(line.ptr, ':', line.len) : NULL;
    if (colon == NULL || colon == line.ptr || line.ptr[0] == ' ' || line.ptr[0] == '\t' ||
        colon[-1] == ' ' || colon[-1] == '\t') {
        return ERR_INVALID;
    }
    struct span name = span_of(line.ptr, (size_t)(colon - line.ptr));
    struct span value = trim(span_of(colon + 1, line.len - name.len - 1));
    if (same_word(name, "Content-Length")) {
        if (h->has_length || !read_decimal(value, &h->length)) {
            return ERR_INVALID;
        }
        h->has_length = true;
    } else if (same_word(name, "Transfer-Encoding")) {
        if (h->chunked || !same_word(value, "chunked")) {
            return ERR_INVALID;
        }
        h->chunked = true;
    } else if (same_word(name, "Connection")) {
        h->close = h->close || same_word(value, "close");
        h->keep = h->keep || same_word(value, "keep-alive");
    } else if (same_word(name, "Retry-After")) {
        h->retry_after = value;
    } else if (same_word(name, "Date")) {
        h->date = value;
    }
    return ERR_OK;
}

/* "HTTP/1.1 200 OK" */
static err_t read_status(struct span line, int *ret_status, bool *ret_keep)
{
    static const char prefix[] = "HTTP/1.";
    uint64_t status = 0;
    if (line.len < 12 || memcmp(line.ptr, prefix, 7) != 0 ||
        (line.ptr[7] != '0' && line.ptr[7] != '1') || line.ptr[8] != ' ' ||
        !read_decimal(span_of(line.ptr + 9, 3), &status) || status < 100 ||
        (line.len > 12 && line.ptr[12] != ' ')) {
        return ERR_INVALID;
    }
    *ret_status = (int)status;
    *ret_keep = line.ptr[7] == '1';
    return ERR_OK;
}

static bool next_line(struct span *text, struct span *ret)
{
    const uint8_t *end = text->len > 0 ? memchr(text->ptr, '\n', text->len) : NULL;
    if (end == NULL) {
        return false;
    }
    size_t len = (size_t)(end - text->ptr);
    *ret = span_of(text->ptr, len > 0 && text->ptr[len - 1] == '\r' ? len - 1 : len);
    *text = span_of(end + 1, text->len - len - 1);
    return true;
}

static void choose_body(struct device_http_reader *r, const struct head *h)
{
    struct device_http_answer *a = &r->answer;
    a->keep_alive = !h->close && (a->keep_alive || h->keep);
    if (h->retry_after.len > 0) {
        a->retry_after_s = device_http_retry_after(h->retry_after, read_date(h->date));
    }
    if (a->status == 204 || a->status == 304 || (h->has_length && h->length == 0)) {
        r->stage = DEVICE_HTTP_DONE;
    } else if (h->chunked) {
        r->stage = DEVICE_HTTP_CHUNK_SIZE;
    } else if (h->has_length) {
        r->stage = DEVICE_HTTP_BODY;
        r->left = h->length;
    } else {
        r->stage = DEVICE_HTTP_UNTIL_END;
        a->keep_alive = false;
    }
}

static err_t read_head(struct device_http_reader *r)
{
    struct head h = {.has_length = false};
    struct span text = buf_span(&r->line);
    struct span line;
    if (!next_line(&text, &line)) {
        return ERR_INVALID;
    }
    err_t err = read_status(line, &r->answer.status, &r->answer.keep_alive);
    while (err == ERR_OK && next_line(&text, &line) && line.len > 0) {
        err = read_field(line, &h);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (h.has_length && h.chunked) {
        return ERR_INVALID;
    }
    if (h.has_length && h.length > DEVICE_ANSWER_MAX) {
        return ERR_TOO_LARGE;
    }
    if (r->answer.status < 200) { /* an interim answer: the real one follows */
        r->stage = r->answer.status == 101 ? DEVICE_HTTP_DONE : DEVICE_HTTP_HEAD;
        err = r->answer.status == 101 ? ERR_INVALID : ERR_OK;
    } else {
        choose_body(r, &h);
    }
    buf_clear(&r->line);
    return err;
}

/* "1a2b" with an extension behind ';', which is ignored. */
static err_t read_chunk_size(struct device_http_reader *r)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    struct span text = buf_span(&r->line);
    struct span line;
    size_t i = 0;
    uint64_t size = 0;
    if (!next_line(&text, &line)) {
        return ERR_INVALID;
    }
    for (; i < line.len && line.ptr[i] != ';'; i++) {
        const char *digit = line.ptr[i] != 0 ? strchr(digits, line.ptr[i]) : NULL;
        if (digit == NULL || i >= 8) {
            return ERR_INVALID;
        }
        uint64_t value = (uint64_t)(digit - digits);
        size = size << 4 | (value < 16 ? value : value - 6);
    }
    if (i == 0) {
        return ERR_INVALID;
    }
    if (size > DEVICE_ANSWER_MAX) {
        return ERR_TOO_LARGE;
    }
    r->left = size + 2;
    r->stage = size == 0 ? DEVICE_HTTP_TRAILER : DEVICE_HTTP_CHUNK;
    buf_clear(&r->line);
    return ERR_OK;
}

static bool ends_empty(const struct buf *b)
{
    size_t n = b->len;
    return (n >= 4 && memcmp(b->ptr + n - 4, "\r\n\r\n", 4) == 0) ||
           (n >= 2 && memcmp(b->ptr + n - 2, "\n\n", 2) == 0);
}

/* One byte of a line; at its end the line is read. */
static err_t feed_line(struct device_http_reader *r, uint8_t byte)
{
    size_t max = r->stage == DEVICE_HTTP_CHUNK_SIZE ? CHUNK_LINE_MAX : DEVICE_HTTP_HEAD_MAX;
    if (byte == 0) {
        return ERR_INVALID;
    }
    if (r->line.len >= max || buf_append_byte(&r->line, byte) != ERR_OK) {
        return ERR_TOO_LARGE;
    }
    if (byte != '\n') {
        return ERR_OK;
    }
    if (r->stage == DEVICE_HTTP_CHUNK_SIZE) {
        return read_chunk_size(r);
    }
    if (r->stage == DEVICE_HTTP_TRAILER) {
        bool empty = r->line.len <= 2 && (r->line.len == 1 || r->line.ptr[0] == '\r');
        r->stage = empty ? DEVICE_HTTP_DONE : DEVICE_HTTP_TRAILER;
        buf_clear(&r->line);
        return ERR_OK;
    }
    return ends_empty(&r->line) ? read_head(r) : ERR_OK;
}

static err_t feed_body(struct device_http_reader *r, struct span *bytes)
{
    size_t n = bytes->len;
    size_t content = n;
    if (r->stage != DEVICE_HTTP_UNTIL_END) {
        n = n < r->left ? n : (size_t)r->left;
        content = n;
    }
    if (r->stage == DEVICE_HTTP_CHUNK) { /* the last two bytes are the chunk's line end */
        content = r->left <= 2 ? 0 : n < r->left - 2 ? n : (size_t)r->left - 2;
        for (size_t i = content; i < n; i++) {
            if (bytes->ptr[i] != (r->left - i == 2 ? '\r' : '\n')) {
                return ERR_INVALID;
            }
        }
    }
    err_t err = buf_append(&r->answer.body, bytes->ptr, content);
    if (err != ERR_OK) {
        return err;
    }
    *bytes = span_of(bytes->ptr + n, bytes->len - n);
    if (r->stage == DEVICE_HTTP_UNTIL_END) {
        return ERR_OK;
    }
    r->left -= n;
    if (r->left == 0) {
        r->stage = r->stage == DEVICE_HTTP_CHUNK ? DEVICE_HTTP_CHUNK_SIZE : DEVICE_HTTP_DONE;
    }
    return ERR_OK;
}

err_t device_http_feed(struct device_http_reader *r, struct span bytes, size_t *ret_used)
{
    struct span rest = bytes;
    while (rest.len > 0 && r->stage != DEVICE_HTTP_DONE) {
        err_t err = ERR_OK;
        switch (r->stage) {
        case DEVICE_HTTP_HEAD:
        case DEVICE_HTTP_CHUNK_SIZE:
        case DEVICE_HTTP_TRAILER:
            err = feed_line(r, rest.ptr[0]);
            rest = span_of(rest.ptr + 1, rest.len - 1);
            break;
        case DEVICE_HTTP_BODY:
        case DEVICE_HTTP_CHUNK:
        case DEVICE_HTTP_UNTIL_END:
            err = feed_body(r, &rest);
            break;
        case DEVICE_HTTP_DONE:
            break;
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    *ret_used = bytes.len - rest.len;
    return ERR_OK;
}

err_t device_http_end(struct device_http_reader *r)
{
    if (r->stage == DEVICE_HTTP_UNTIL_END) {
        r->stage = DEVICE_HTTP_DONE;
    }
    return r->stage == DEVICE_HTTP_DONE ? ERR_OK : ERR_UNAVAILABLE;
}
