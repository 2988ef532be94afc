#include "common/log.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "common/text.h"

/* Room kept behind the fields for `,"dropped":N,"truncated":true}` and the newline. */
#define TAIL_MAX   64
#define NAME_MAX_  64
#define TOPICS_MAX 256

/* The one log of the process: set before threads start, read by all of them. */
static struct {
    char service[NAME_MAX_];
    char instance[NAME_MAX_];
    char topics[TOPICS_MAX]; /* ",a,b,": a name is on when ",name," is in it */
    const struct clock *clock;
    int fd;
} config = {.clock = &clock_system, .fd = STDOUT_FILENO};

_Atomic int log_level_now_ = LOG_LEVEL_INFO;

void log_init(const struct log_options *options)
{
    (void)snprintf(config.service, sizeof config.service, "%s", options->service);
    (void)snprintf(config.instance, sizeof config.instance, "%s", options->instance);
    const char *topics = options->debug_topics != NULL ? options->debug_topics : "";
    (void)snprintf(config.topics, sizeof config.topics, ",%s,", topics);
    config.clock = options->clock != NULL ? options->clock : &clock_system;
    config.fd = options->fd;
    atomic_store(&log_level_now_, (int)options->level);
}

const char *log_level_name(enum log_level level)
{
    static const char *const names[LOG_LEVEL_COUNT_] = {
        [LOG_LEVEL_DEBUG] = "debug", [LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_WARN] = "warn",
        [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_FATAL] = "fatal",
    };
    return (unsigned)level < LOG_LEVEL_COUNT_ ? names[level] : "unknown";
}

bool log_topic_enabled(const char *topic)
{
    if (log_enabled(LOG_LEVEL_DEBUG)) {
        return true;
    }
    size_t len = strlen(topic);
    for (const char *at = config.topics; (at = strstr(at, topic)) != NULL; at++) {
        if (at[-1] == ',' && at[len] == ',') {
            return true;
        }
    }
    return false;
}

bool log_limit_pass(struct log_limit *limit, uint64_t *ret_dropped)
{
    int64_t now = clock_mono_ms(config.clock);
    int64_t start = atomic_load(&limit->window_start_ms);
    /* Of several threads that find the window over, one opens the next; losing a line of the count
     * in that instant is of no harm. */
    if ((start == 0 || now - start >= LOG_LIMIT_MS) &&
        atomic_compare_exchange_strong(&limit->window_start_ms, &start, now)) {
        atomic_store(&limit->lines, 0);
    }
    if (atomic_fetch_add(&limit->lines, 1) >= LOG_LIMIT_LINES) {
        (void)atomic_fetch_add(&limit->dropped, 1);
        return false;
    }
    *ret_dropped = atomic_exchange(&limit->dropped, 0);
    return true;
}

/* One line in the making. A field that does not fit is taken back as a whole. */
struct line {
    struct buf text;
    bool truncated;
};

static void append_key(struct buf *to, const char *key)
{
    if (to->len > 1) {
        (void)buf_append_byte(to, ',');
    }
    (void)text_append_json(to, span_str(key));
    (void)buf_append_byte(to, ':');
}

/* At most LOG_VALUE_MAX bytes, not splitting a character. */
static struct span cut(struct span s, bool *truncated)
{
    if (s.len <= LOG_VALUE_MAX) {
        return s;
    }
    *truncated = true;
    s.len = LOG_VALUE_MAX;
    while (s.len > LOG_VALUE_MAX - 3 && (s.ptr[s.len] & 0xc0) == 0x80) {
        s.len--;
    }
    return s;
}

static void append_value(struct line *line, const struct log_field *f)
{
    struct buf *to = &line->text;
    switch (f->kind) {
    case LOG_KIND_STR:
        (void)text_append_json(to, cut(f->value.str, &line->truncated));
        break;
    case LOG_KIND_INT:
        (void)buf_printf(to, "%lld", (long long)f->value.i);
        break;
    case LOG_KIND_UINT:
        (void)buf_printf(to, "%llu", (unsigned long long)f->value.u);
        break;
    case LOG_KIND_DOUBLE: /* JSON has no infinities */
        (void)(isfinite(f->value.d) ? buf_printf(to, "%.9g", f->value.d)
                                    : buf_append_str(to, "null"));
        break;
    case LOG_KIND_BOOL:
        (void)buf_append_str(to, f->value.b ? "true" : "false");
        break;
    }
}

static void append_field(struct line *line, const struct log_field *f)
{
    size_t before = line->text.len;
    append_key(&line->text, f->key);
    append_value(line, f);
    if (!buf_ok(&line->text)) {
        line->text.len = before;
        line->text.overflow = false;
        line->truncated = true;
    }
}

static void append_text(struct line *line, const char *key, const char *value)
{
    if (value != NULL && value[0] != 0) {
        append_field(line, &LOG_STR(key, value));
    }
}

static void append_head(struct line *line, enum log_level level, const char *event)
{
    char time[TIME_TEXT_SIZE];
    time_format(clock_now_ms(config.clock), time);
    (void)buf_append_byte(&line->text, '{');
    append_text(line, "time", time);
    append_text(line, "level", log_level_name(level));
    append_text(line, "service", config.service);
    append_text(line, "instance", config.instance);
    append_text(line, "event", event);
}

/* One write; only what a full pipe or a signal left over is tried again. A log that cannot be
 * written is nobody's reason to stop. */
static void write_line(struct span text)
{
    while (text.len > 0) {
        ssize_t n = write(config.fd, text.ptr, text.len);
        if (n < 0 && errno != EINTR) {
            return;
        }
        if (n > 0) {
            text = (struct span){text.ptr + n, text.len - (size_t)n};
        }
    }
}

void log_write_(enum log_level level, const struct log_context *context, const char *event,
                const struct log_field *fields, uint64_t dropped)
{
    int saved_errno = errno;
    struct line line = {.text = BUF_INIT(LOG_LINE_MAX - TAIL_MAX)};
    append_head(&line, level, event);
    if (context != NULL) {
        append_text(&line, "domain", context->domain);
        append_text(&line, "device", context->device);
        append_text(&line, "request", context->request);
    }
    for (; fields->key != NULL; fields++) {
        append_field(&line, fields);
    }
    line.text.max = LOG_LINE_MAX; /* the tail may use the room kept for it */
    if (dropped > 0) {
        (void)buf_printf(&line.text, ",\"dropped\":%llu", (unsigned long long)dropped);
    }
    (void)buf_append_str(&line.text, line.truncated ? ",\"truncated\":true}\n" : "}\n");
    write_line(buf_span(&line.text));
    buf_deinit(&line.text);
    errno = saved_errno;
}
