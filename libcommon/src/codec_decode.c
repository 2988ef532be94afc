#include <assert.h>
#include <stdio.h>

#include "codec_access.h"
#include "common/clock.h"

/* Where decoding is, for messages; lives on the stack and is written out only on failure. */
struct path {
    const struct path *up;
    const char *name; /* NULL: an array element */
    size_t index;
};

struct decoder {
    enum codec_mode mode;
    struct fault *fault;
};

/* Bytes that are shown of a member's name; a longer one is in no table. */
#define NAME_SHOWN 64

static int shown(const char *name)
{
    size_t len = strnlen(name, NAME_SHOWN + 1);
    if (len > NAME_SHOWN) {
        for (len = NAME_SHOWN; len > 0 && ((uint8_t)name[len] & 0xc0) == 0x80; len--) {
        } /* not within a character */
    }
    return (int)len;
}

static void print_path(const struct path *path, struct buf *to)
{
    if (path == NULL) {
        return;
    }
    print_path(path->up, to);
    if (path->name == NULL) {
        (void)buf_printf(to, "[%zu]", path->index);
    } else {
        (void)buf_printf(to, "%s%.*s", to->len > 0 ? "." : "", shown(path->name), path->name);
    }
}

static err_t refuse(const struct decoder *d, const struct path *path, const char *code,
                    const char *text)
{
    CLEANUP_BUF struct buf where = BUF_INIT(1024);
    print_path(path, &where);
    return fault_set(d->fault, ERR_INVALID, code, buf_cstr(&where), "%s", text);
}

#define REFUSE(d, path, ...)                                                                       \
    __extension__({                                                                                \
        char text_[FAULT_TEXT_MAX];                                                                \
        (void)snprintf(text_, sizeof text_, __VA_ARGS__);                                          \
        refuse(d, path, "validation_error", text_);                                                \
    })

static err_t mistyped(const struct decoder *d, const struct path *path, const char *expected,
                      const cJSON *value)
{
    return REFUSE(d, path, "must be %s, is %s", expected, json_type_name(value));
}

static err_t check_length(const struct decoder *d, const struct path *path,
                          const struct codec_field *field, size_t len, const char *unit)
{
    if ((int64_t)len >= field->min && (int64_t)len <= field->max) {
        return ERR_OK;
    }
    if (field->min == field->max) {
        return REFUSE(d, path, "must have exactly %lld %s, has %zu", (long long)field->min, unit,
                      len);
    }
    return REFUSE(d, path, "must have %lld to %lld %s, has %zu", (long long)field->min,
                  (long long)field->max, unit, len);
}

static err_t need_string(const struct decoder *d, const struct path *path, const char *expected,
                         const cJSON *value, struct span *ret)
{
    if (!cJSON_IsString(value)) {
        return mistyped(d, path, expected, value);
    }
    *ret = span_str(value->valuestring);
    return ERR_OK;
}

static err_t decode_string(const struct decoder *d, const struct path *path,
                           const struct codec_field *field, const cJSON *value, void *member)
{
    struct span text = {0};
    err_t e = need_string(d, path, "a string", value, &text);
    if (e == ERR_OK) {
        e = check_length(d, path, field, text.len, "bytes");
    }
    if (e != ERR_OK) {
        return e;
    }
    if (field->kind == CODEC_KIND_TEXT) {
        *(char **)member = xstrndup((const char *)text.ptr, text.len);
    } else {
        memcpy(member, value->valuestring, text.len + 1);
    }
    return ERR_OK;
}

static err_t store_number(const struct decoder *d, const struct path *path,
                          const struct codec_field *field, int64_t number, void *member)
{
    if (number < field->min || number > field->max) {
        return REFUSE(d, path, "must be %lld to %lld, is %lld", (long long)field->min,
                      (long long)field->max, (long long)number);
    }
    if (field->kind == CODEC_KIND_I32) {
        *(int32_t *)member = (int32_t)number;
    } else {
        *(int64_t *)member = number;
    }
    return ERR_OK;
}

static err_t decode_number(const struct decoder *d, const struct path *path,
                           const struct codec_field *field, const cJSON *value, void *member)
{
    if (!cJSON_IsNumber(value)) {
        return mistyped(d, path, "a whole number", value);
    }
    int64_t number = 0;
    if (!json_integer(value, &number)) {
        return REFUSE(d, path, "must be a whole number");
    }
    return store_number(d, path, field, number, member);
}

/* Canonical decimal: an optional minus, no leading zero, within int64_t. */
static bool parse_decimal(struct span text, int64_t *ret)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    size_t at = negative ? 1 : 0;
    if (at == text.len || text.len > 20 || (text.ptr[at] == '0' && text.len > 1)) {
        return false;
    }
    int64_t number = 0;
    for (; at < text.len; at++) {
        if (text.ptr[at] < '0' || text.ptr[at] > '9') {
            return false;
        }
        int digit = text.ptr[at] - '0';
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, negative ? -digit : digit, &number)) {
            return false;
        }
    }
    *ret = number;
    return true;
}

static err_t decode_decimal(const struct decoder *d, const struct path *path,
                            const struct codec_field *field, const cJSON *value, void *member)
{
    struct span text = {0};
    err_t e = need_string(d, path, "a whole number in a string", value, &text);
    if (e != ERR_OK) {
        return e;
    }
    int64_t number = 0;
    if (!parse_decimal(text, &number)) {
        return REFUSE(d, path, "must be a whole number in a string, such as \"42\"");
    }
    return store_number(d, path, field, number, member);
}

static err_t decode_time(const struct decoder *d, const struct path *path, const cJSON *value,
                         void *member)
{
    static const char expected[] = "a UTC time such as \"2026-01-31T00:00:00.000Z\"";
    struct span text = {0};
    err_t e = need_string(d, path, expected, value, &text);
    if (e != ERR_OK) {
        return e;
    }
    if (time_parse(text, member) != ERR_OK) {
        return REFUSE(d, path, "must be %s", expected);
    }
    return ERR_OK;
}

static err_t decode_uuid(const struct decoder *d, const struct path *path, const cJSON *value,
                         void *member)
{
    struct span text = {0};
    err_t e = need_string(d, path, "a UUID", value, &text);
    if (e != ERR_OK) {
        return e;
    }
    if (uuid_parse(text, member) != ERR_OK) {
        return REFUSE(d, path, "must be a UUID such as \"8a441ed6-1b42-5641-a042-3f30d19fa15d\"");
    }
    return ERR_OK;
}

static err_t decode_bytes(const struct decoder *d, const struct path *path,
                          const struct codec_field *field, const cJSON *value, void *object)
{
    bool hex = field->kind == CODEC_KIND_HEX;
    const char *expected = hex ? "bytes in hex" : "bytes in base64";
    struct span text = {0};
    err_t e = need_string(d, path, expected, value, &text);
    if (e != ERR_OK) {
        return e;
    }
    uint8_t *to = codec_member(field, object);
    size_t max = (size_t)field->max;
    size_t len = 0;
    e = hex ? hex_decode(text, to, max, &len) : base64_decode(text, BASE64_STANDARD, to, max, &len);
    if (e == ERR_TOO_LARGE) {
        return REFUSE(d, path, "must have at most %zu bytes", max);
    }
    if (e != ERR_OK) {
        return REFUSE(d, path, "must be %s", expected);
    }
    size_t *count = codec_count(field, object);
    if (count != NULL) {
        *count = len;
    }
    return check_length(d, path, field, len, "bytes");
}

static err_t decode_enum(const struct decoder *d, const struct path *path,
                         const struct codec_field *field, const cJSON *value, void *member)
{
    struct span text = {0};
    err_t e = need_string(d, path, "a string", value, &text);
    if (e != ERR_OK) {
        return e;
    }
    if (codec_value_of(field->of.names, text, member)) {
        return ERR_OK;
    }
    CLEANUP_BUF struct buf list = BUF_INIT(FAULT_TEXT_MAX);
    for (const struct codec_name *n = field->of.names; n->name != NULL; n++) {
        (void)buf_printf(&list, "%s%s", list.len > 0 ? ", " : "", n->name);
    }
    return REFUSE(d, path, "must be one of %s", buf_cstr(&list));
}

static err_t decode_field(const struct decoder *d, const struct path *path,
                          const struct codec_field *field, const cJSON *value, void *object);

static err_t decode_array(const struct decoder *d, const struct path *path,
                          const struct codec_field *field, const cJSON *value, void *object)
{
    if (!cJSON_IsArray(value)) {
        return mistyped(d, path, "an array", value);
    }
    size_t count = (size_t)cJSON_GetArraySize(value);
    err_t e = check_length(d, path, field, count, "elements");
    if (e != ERR_OK) {
        return e;
    }
    if (field->heap && count > 0) {
        *(void **)codec_member(field, object) = xcalloc(count, field->size);
    }
    uint8_t *to = codec_elements(field, object);
    size_t *done = codec_count(field, object);
    for (const cJSON *child = value->child; child != NULL; child = child->next) {
        struct path here = {.up = path, .index = *done};
        uint8_t *element = to + *done * field->size;
        (*done)++; /* before decoding: a half-decoded element is freed with the others */
        e = decode_field(d, &here, field->of.element, child, element);
        if (e != ERR_OK) {
            return e;
        }
    }
    return ERR_OK;
}

static err_t decode_object(const struct decoder *d, const struct path *path,
                           const struct codec_table *table, const cJSON *object, void *out);

static err_t decode_member(const struct decoder *d, const struct path *path,
                           const struct codec_field *field, const cJSON *value, void *object)
{
    void *member = codec_member(field, object);
    switch (field->kind) {
    case CODEC_KIND_STR:
    case CODEC_KIND_TEXT:
        return decode_string(d, path, field, value, member);
    case CODEC_KIND_BOOL:
        if (!cJSON_IsBool(value)) {
            return mistyped(d, path, "true or false", value);
        }
        *(bool *)member = cJSON_IsTrue(value);
        return ERR_OK;
    case CODEC_KIND_I32:
    case CODEC_KIND_I64:
        return decode_number(d, path, field, value, member);
    case CODEC_KIND_I64_TEXT:
        return decode_decimal(d, path, field, value, member);
    case CODEC_KIND_TIME:
        return decode_time(d, path, value, member);
    case CODEC_KIND_UUID:
        return decode_uuid(d, path, value, member);
    case CODEC_KIND_BYTES:
    case CODEC_KIND_HEX:
        return decode_bytes(d, path, field, value, object);
    case CODEC_KIND_ENUM:
        return decode_enum(d, path, field, value, member);
    case CODEC_KIND_OBJECT:
        return decode_object(d, path, field->of.table, value, member);
    case CODEC_KIND_ARRAY:
        return decode_array(d, path, field, value, object);
    case CODEC_KIND_JSON:
        *(cJSON **)member = cJSON_Duplicate(value, true);
        return ERR_OK;
    }
    assert(!"unknown kind in a codec table");
    return ERR_INTERNAL;
}

static err_t decode_field(const struct decoder *d, const struct path *path,
                          const struct codec_field *field, const cJSON *value, void *object)
{
    err_t e = decode_member(d, path, field, value, object);
    if (e != ERR_OK) {
        return e;
    }
    if (field->valid != NULL && !field->valid(codec_member(field, object))) {
        return REFUSE(d, path, "must be %s", field->expects);
    }
    bool *has = codec_has(field, object);
    if (has != NULL) {
        *has = true;
    }
    return ERR_OK;
}

static err_t refuse_unknown(const struct decoder *d, const struct path *path,
                            const struct codec_table *table)
{
    CLEANUP_BUF struct buf list = BUF_INIT(FAULT_TEXT_MAX);
    for (size_t i = 0; i < table->count; i++) {
        (void)buf_printf(&list, "%s%s", i > 0 ? ", " : "", table->fields[i].name);
    }
    char text[FAULT_TEXT_MAX + 32];
    (void)snprintf(text, sizeof text, "is not known here; accepted are %s", buf_cstr(&list));
    return refuse(d, path, "unknown_field", text);
}

static err_t handle_unknown(const struct decoder *d, const struct path *path,
                            const struct codec_table *table, const cJSON *value, void *out)
{
    if (d->mode == CODEC_STRICT) {
        return refuse_unknown(d, path, table);
    }
    cJSON **extra = codec_extra(table, out);
    if (extra == NULL) {
        return ERR_OK;
    }
    if (*extra == NULL) {
        *extra = cJSON_CreateObject();
    }
    if (!cJSON_AddItemToObject(*extra, value->string, cJSON_Duplicate(value, true))) {
        return ERR_INTERNAL;
    }
    return ERR_OK;
}

/* Our own encoder writes in table order, so the row after the last one is usually the right one. */
static size_t find_row(const struct codec_table *table, const char *name, size_t hint)
{
    for (size_t i = 0; i < table->count; i++) {
        size_t row = (hint + i) % table->count;
        if (strcmp(table->fields[row].name, name) == 0) {
            return row;
        }
    }
    return table->count;
}

static err_t check_required(const struct decoder *d, const struct path *path,
                            const struct codec_table *table, uint64_t seen)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct codec_field *field = &table->fields[i];
        if ((field->flags & CODEC_REQUIRED) != 0 && (seen >> i & 1) == 0) {
            struct path here = {.up = path, .name = field->name};
            return refuse(d, &here, "missing_field", "is required");
        }
    }
    return ERR_OK;
}

/* Nesting is bounded by the tables, which do not contain themselves. */
static err_t decode_object(const struct decoder *d, const struct path *path,
                           const struct codec_table *table, const cJSON *object, void *out)
{
    assert(table->count <= CODEC_FIELDS_MAX);
    if (!cJSON_IsObject(object)) {
        return mistyped(d, path, "an object", object);
    }
    uint64_t seen = 0;
    size_t next = 0;
    for (const cJSON *member = object->child; member != NULL; member = member->next) {
        struct path here = {.up = path, .name = member->string};
        size_t row = find_row(table, member->string, next);
        err_t e = ERR_OK;
        if (row == table->count) {
            e = handle_unknown(d, &here, table, member, out);
        } else if (cJSON_IsNull(member) && (table->fields[row].flags & CODEC_NULL) != 0) {
            continue;
        } else if ((seen >> row & 1) != 0) {
            e = REFUSE(d, &here, "appears twice");
        } else {
            seen |= UINT64_C(1) << row;
            next = row + 1;
            e = decode_field(d, &here, &table->fields[row], member, out);
        }
        if (e != ERR_OK) {
            return e;
        }
    }
    return check_required(d, path, table, seen);
}

err_t codec_decode(const struct codec_table *table, enum codec_mode mode, const cJSON *object,
                   void *out, struct fault *fault)
{
    struct decoder d = {.mode = mode, .fault = fault};
    memset(out, 0, table->size);
    err_t e = decode_object(&d, NULL, table, object, out);
    if (e != ERR_OK) {
        codec_free(table, out);
    }
    return e;
}

err_t codec_decode_text(const struct codec_table *table, enum codec_mode mode, struct span text,
                        const struct json_limits *limits, void *out, struct fault *fault)
{
    CLEANUP(arena_deinit) struct arena arena = {0};
    const cJSON *tree = NULL;
    err_t e = json_read(text, limits, &arena, &tree, fault);
    if (e != ERR_OK) {
        memset(out, 0, table->size);
        return e;
    }
    return codec_decode(table, mode, tree, out, fault);
}
