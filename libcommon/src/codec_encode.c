#include <assert.h>

#include "codec_access.h"
#include "common/clock.h"
#include "common/text.h"

static err_t encode_object(const struct codec_table *table, const void *in, struct buf *to);
static err_t encode_member(const struct codec_field *field, const void *object, struct buf *to);

static bool all_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

static bool is_none_object(const struct codec_table *table, const void *object);

static bool is_none(const struct codec_field *field, const void *object)
{
    const void *member = codec_member(field, object);
    switch (field->kind) {
    case CODEC_KIND_STR:
        return *(const char *)member == 0;
    case CODEC_KIND_TEXT:
    case CODEC_KIND_JSON:
        return *(void *const *)member == NULL;
    case CODEC_KIND_ARRAY:
        return *codec_count(field, object) == 0;
    case CODEC_KIND_BYTES:
    case CODEC_KIND_HEX:
        if (field->count_at != 0) {
            return *codec_count(field, object) == 0;
        }
        return all_zero(member, field->size);
    case CODEC_KIND_OBJECT:
        return is_none_object(field->of.table, member);
    default:
        return all_zero(member, field->size);
    }
}

static bool is_none_object(const struct codec_table *table, const void *object)
{
    for (size_t i = 0; i < table->count; i++) {
        const bool *has = codec_has(&table->fields[i], object);
        if (has != NULL ? *has : !is_none(&table->fields[i], object)) {
            return false;
        }
    }
    cJSON *const *extra = codec_extra(table, object);
    return extra == NULL || *extra == NULL;
}

static err_t encode_bytes(const struct codec_field *field, const void *object, struct buf *to)
{
    const size_t *count = codec_count(field, object);
    size_t len = count != NULL ? *count : field->size;
    if (len > field->size) {
        return ERR_INTERNAL;
    }
    struct span bytes = span_of(codec_member(field, object), len);
    (void)buf_append_byte(to, '"');
    (void)(field->kind == CODEC_KIND_HEX ? hex_append(to, bytes)
                                         : base64_append(to, bytes, BASE64_STANDARD));
    (void)buf_append_byte(to, '"');
    return ERR_OK;
}

static err_t encode_string(const char *text, struct buf *to)
{
    (void)text_append_json(to, span_str(text));
    return ERR_OK;
}

static err_t encode_array(const struct codec_field *field, const void *object, struct buf *to)
{
    size_t count = *codec_count(field, object);
    if ((int64_t)count > field->max) {
        return ERR_INTERNAL;
    }
    (void)buf_append_byte(to, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            (void)buf_append_byte(to, ',');
        }
        const uint8_t *element = codec_elements(field, object) + i * field->size;
        err_t e = encode_member(field->of.element, element, to);
        if (e != ERR_OK) {
            return e;
        }
    }
    (void)buf_append_byte(to, ']');
    return ERR_OK;
}

static err_t encode_enum(const struct codec_field *field, const void *member, struct buf *to)
{
    const char *name = codec_name_of(field->of.names, *(const int *)member);
    return name != NULL ? encode_string(name, to) : ERR_INTERNAL;
}

static err_t encode_number(int64_t number, struct buf *to)
{
    if (number > JSON_INTEGER_MAX || number < -JSON_INTEGER_MAX) {
        return ERR_INTERNAL; /* nobody could read it back: such a field is an I64_TEXT */
    }
    (void)buf_printf(to, "%lld", (long long)number);
    return ERR_OK;
}

static err_t encode_time(const void *member, struct buf *to)
{
    char text[TIME_TEXT_SIZE];
    time_format(*(const int64_t *)member, text);
    return encode_string(text, to);
}

static err_t encode_uuid(const void *member, struct buf *to)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(member, text);
    return encode_string(text, to);
}

static err_t encode_member(const struct codec_field *field, const void *object, struct buf *to)
{
    const void *member = codec_member(field, object);
    switch (field->kind) {
    case CODEC_KIND_STR:
        return encode_string(member, to);
    case CODEC_KIND_TEXT: {
        const char *text = *(char *const *)member;
        return encode_string(text != NULL ? text : "", to);
    }
    case CODEC_KIND_BOOL:
        (void)buf_append_str(to, *(const bool *)member ? "true" : "false");
        return ERR_OK;
    case CODEC_KIND_I32:
        (void)buf_printf(to, "%d", *(const int32_t *)member);
        return ERR_OK;
    case CODEC_KIND_I64:
        return encode_number(*(const int64_t *)member, to);
    case CODEC_KIND_I64_TEXT:
        (void)buf_printf(to, "\"%lld\"", (long long)*(const int64_t *)member);
        return ERR_OK;
    case CODEC_KIND_TIME:
        return encode_time(member, to);
    case CODEC_KIND_UUID:
        return encode_uuid(member, to);
    case CODEC_KIND_BYTES:
    case CODEC_KIND_HEX:
        return encode_bytes(field, object, to);
    case CODEC_KIND_ENUM:
        return encode_enum(field, member, to);
    case CODEC_KIND_OBJECT:
        return encode_object(field->of.table, member, to);
    case CODEC_KIND_ARRAY:
        return encode_array(field, object, to);
    case CODEC_KIND_JSON: {
        const cJSON *tree = *(cJSON *const *)member;
        (void)(tree != NULL ? json_encode(tree, to) : buf_append_str(to, "null"));
        return ERR_OK;
    }
    }
    assert(!"unknown kind in a codec table");
    return ERR_INTERNAL;
}

static void encode_name(const char *name, bool first, struct buf *to)
{
    if (!first) {
        (void)buf_append_byte(to, ',');
    }
    (void)text_append_json(to, span_str(name));
    (void)buf_append_byte(to, ':');
}

/* Writes one field of an object, or nothing. *first is cleared when something was written. */
static err_t encode_field(const struct codec_field *field, const void *object, bool *first,
                          struct buf *to)
{
    const bool *has = codec_has(field, object);
    bool omit = (field->flags & CODEC_OMIT_ZERO) != 0;
    if (has != NULL ? !*has : omit && is_none(field, object)) {
        return ERR_OK;
    }
    encode_name(field->name, *first, to);
    *first = false;
    return encode_member(field, object, to);
}

static err_t encode_object(const struct codec_table *table, const void *in, struct buf *to)
{
    bool first = true;
    (void)buf_append_byte(to, '{');
    for (size_t i = 0; i < table->count; i++) {
        err_t e = encode_field(&table->fields[i], in, &first, to);
        if (e != ERR_OK) {
            return e;
        }
    }
    cJSON *const *extra = codec_extra(table, in);
    const cJSON *kept = extra != NULL && *extra != NULL ? (*extra)->child : NULL;
    for (; kept != NULL; kept = kept->next) {
        encode_name(kept->string, first, to);
        (void)json_encode(kept, to);
        first = false;
    }
    (void)buf_append_byte(to, '}');
    return ERR_OK;
}

err_t codec_encode(const struct codec_table *table, const void *in, struct buf *to)
{
    err_t e = encode_object(table, in, to);
    if (e != ERR_OK) {
        return e;
    }
    return buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}
