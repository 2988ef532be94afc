#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/text.h"
#include "config_internal.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* Largest first: the first that divides a value writes it shortest. */
static const struct unit durations[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                        {"s", 1000},     {"ms", 1},      {NULL, 0}};
static const struct unit sizes[] = {
    {"GiB", INT64_C(1) << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {NULL, 0}};

static const struct unit *units_of(const struct config_row *row)
{
    switch (row->type) {
    case CONFIG_TYPE_DURATION:
        return durations;
    case CONFIG_TYPE_SIZE:
        return sizes;
    default:
        return NULL;
    }
}

/* An optional minus and digits; *end is behind them. */
static bool parse_digits(const char *text, int64_t *ret, const char **end)
{
    bool negative = *text == '-';
    text += negative ? 1 : 0;
    const char *start = text;
    int64_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        int digit = *text - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value)) {
            return false;
        }
    }
    *end = text;
    *ret = value;
    return text > start;
}

static bool parse_number(const struct config_row *row, const char *text, int64_t *member)
{
    int64_t value = 0;
    const char *rest = NULL;
    if (!parse_digits(text, &value, &rest)) {
        return false;
    }
    const struct unit *unit = units_of(row);
    if (unit == NULL) {
        if (*rest != 0) {
            return false;
        }
    } else {
        while (unit->name != NULL && strcmp(unit->name, rest) != 0) {
            unit++;
        }
        if (unit->name == NULL || __builtin_mul_overflow(value, unit->factor, &value)) {
            return false;
        }
    }
    if (value < row->min || value > row->max) {
        return false;
    }
    *member = value;
    return true;
}

err_t config_split_host_port(const char *text, char *host, size_t host_size, uint16_t *ret_port)
{
    bool bracketed = text[0] == '[';
    const char *start = bracketed ? text + 1 : text;
    size_t len = strcspn(start, bracketed ? "]" : ":");
    const char *rest = start + len;
    if (bracketed && *rest++ != ']') {
        return ERR_INVALID;
    }
    if (len == 0 || *rest != ':' || strcspn(start, " ,/@") < len) {
        return ERR_INVALID;
    }
    int64_t port = 0;
    const char *end = NULL;
    if (!parse_digits(rest + 1, &port, &end) || *end != 0 || rest[1] == '-' || port > 65535) {
        return ERR_INVALID;
    }
    if (len >= host_size) {
        return ERR_TOO_LARGE;
    }
    memcpy(host, start, len);
    host[len] = 0;
    *ret_port = (uint16_t)port;
    return ERR_OK;
}

static bool is_host_port(const char *text, bool any_port)
{
    char host[256];
    uint16_t port = 0;
    return config_split_host_port(text, host, sizeof host, &port) == ERR_OK &&
           (any_port || port != 0);
}

static bool is_host_ports(const char *text)
{
    for (;;) {
        size_t len = strcspn(text, ",");
        char one[272];
        if (len >= sizeof one) {
            return false;
        }
        memcpy(one, text, len);
        one[len] = 0;
        if (!is_host_port(one, false)) {
            return false;
        }
        if (text[len] == 0) {
            return true;
        }
        text += len + 1;
    }
}

static bool is_name(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return text[len] == 0;
}

static bool is_text(const char *text)
{
    if (!utf8_valid(span_str(text))) {
        return false;
    }
    for (; *text != 0; text++) {
        if ((uint8_t)*text < 0x20 || *text == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool accepts_text(const struct config_row *row, const char *text)
{
    switch (row->type) {
    case CONFIG_TYPE_NAME:
        return is_name(text);
    case CONFIG_TYPE_PATH:
        return access(text, R_OK) == 0;
    case CONFIG_TYPE_HOST_PORT:
        return is_host_port(text, false);
    case CONFIG_TYPE_HOST_PORTS:
        return is_host_ports(text);
    case CONFIG_TYPE_LISTEN:
        return is_host_port(text, true);
    default:
        return is_text(text);
    }
}

static bool parse_text(const struct config_row *row, const char *text, char *member)
{
    size_t len = strlen(text);
    if (len >= row->size || !accepts_text(row, text)) {
        return false;
    }
    memcpy(member, text, len + 1);
    return true;
}

/* The file without line ends at its end; false when it is empty, too large or cannot be read. */
static bool read_secret(const char *path, struct config_secret *secret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t len = 0;
    ssize_t n = 0;
    do {
        n = read(fd, secret->value + len, sizeof secret->value - len);
        len += n > 0 ? (size_t)n : 0;
    } while (n > 0 || (n < 0 && errno == EINTR));
    (void)close(fd);
    bool fits = n == 0 && len <= CONFIG_SECRET_MAX;
    while (len > 0 && (secret->value[len - 1] == '\n' || secret->value[len - 1] == '\r')) {
        len--;
    }
    secret->value[fits ? len : 0] = 0;
    secret->len = fits ? len : 0;
    return fits && len > 0;
}

static bool parse_secret(const char *text, struct config_secret *secret)
{
    size_t len = strlen(text);
    if (len >= sizeof secret->path) {
        return false;
    }
    memcpy(secret->path, text, len + 1);
    return len == 0 || read_secret(text, secret);
}

static bool parse_bool(const char *text, bool *member)
{
    *member = strcmp(text, "true") == 0;
    return *member || strcmp(text, "false") == 0;
}

bool config_value_parse(const struct config_row *row, const char *text, void *config)
{
    void *member = (uint8_t *)config + row->offset;
    if (text[0] == 0) { /* the struct is zeroed: nothing to store */
        return row->fallback != NULL && row->fallback[0] == 0;
    }
    switch (row->type) {
    case CONFIG_TYPE_BOOL:
        return parse_bool(text, member);
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_DURATION:
    case CONFIG_TYPE_SIZE:
        return parse_number(row, text, member);
    case CONFIG_TYPE_ENUM:
        return codec_value_of(row->names, span_str(text), member);
    case CONFIG_TYPE_SECRET:
        return parse_secret(text, member);
    default:
        return parse_text(row, text, member);
    }
}

static void append_amount(struct buf *to, int64_t value, const struct unit *unit)
{
    while (value % unit->factor != 0 || (value == 0 && unit->factor != 1)) {
        unit++;
    }
    (void)buf_printf(to, "%lld%s", (long long)(value / unit->factor), unit->name);
}

static void append_range(struct buf *to, const struct config_row *row)
{
    const struct unit *units = units_of(row);
    if (units == NULL) {
        (void)buf_printf(to, "%lld to %lld", (long long)row->min, (long long)row->max);
        return;
    }
    append_amount(to, row->min, units);
    (void)buf_append_str(to, " to ");
    append_amount(to, row->max, units);
}

static void append_names(struct buf *to, const struct config_row *row)
{
    for (const struct codec_name *n = row->names; n->name != NULL; n++) {
        (void)buf_printf(to, "%s%s", n == row->names ? "one of " : ", ", n->name);
    }
}

static void describe_text(const struct config_row *row, struct buf *to)
{
    static const char *const words[] = {
        [CONFIG_TYPE_STRING] = "text",
        [CONFIG_TYPE_NAME] = "letters, digits, '.', '_' or '-'",
        [CONFIG_TYPE_PATH] = "the path of a readable file",
        [CONFIG_TYPE_HOST_PORT] = "host:port",
        [CONFIG_TYPE_HOST_PORTS] = "host:port[,host:port...]",
        [CONFIG_TYPE_LISTEN] = "address:port to listen on",
    };
    (void)buf_printf(to, "%s, at most %zu bytes", words[row->type], row->size - 1);
}

void config_value_describe(const struct config_row *row, struct buf *to)
{
    switch (row->type) {
    case CONFIG_TYPE_BOOL:
        (void)buf_append_str(to, "true or false");
        break;
    case CONFIG_TYPE_INT:
        (void)buf_printf(to, "a whole number%s%s from ", row->unit != NULL ? " of " : "",
                         row->unit != NULL ? row->unit : "");
        append_range(to, row);
        break;
    case CONFIG_TYPE_DURATION:
        (void)buf_append_str(to, "a duration (ms, s, m, h, d) from ");
        append_range(to, row);
        break;
    case CONFIG_TYPE_SIZE:
        (void)buf_append_str(to, "a size (B, KiB, MiB, GiB) from ");
        append_range(to, row);
        break;
    case CONFIG_TYPE_ENUM:
        append_names(to, row);
        break;
    case CONFIG_TYPE_SECRET:
        (void)buf_printf(to, "the path of a readable file of 1 to %d bytes", CONFIG_SECRET_MAX);
        break;
    default:
        describe_text(row, to);
        break;
    }
}
