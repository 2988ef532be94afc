#include "common/der.h"

MUST_USE static bool read_length(struct span *in, size_t *ret)
{
    if (in->len == 0) {
        return false;
    }
    size_t value = in->ptr[0];
    size_t count = 0;
    if (value >= 0x80) {
        count = value & 0x7f;
        if (count == 0 || count > 3 || in->len < 1 + count || in->ptr[1] == 0) {
            return false;
        }
        value = 0;
        for (size_t i = 0; i < count; i++) {
            value = value << 8 | in->ptr[1 + i];
        }
        if (value < 0x80) {
            return false;
        }
    }
    *in = span_of(in->ptr + 1 + count, in->len - 1 - count);
    *ret = value;
    return true;
}

bool der_read(struct span *in, struct der_item *ret)
{
    if (in->len < 2 || (in->ptr[0] & 0x1f) == 0x1f) {
        return false;
    }
    struct span rest = span_of(in->ptr + 1, in->len - 1);
    size_t len = 0;
    if (!read_length(&rest, &len) || len > rest.len) {
        return false;
    }
    ret->tag = in->ptr[0];
    ret->value = span_of(rest.ptr, len);
    ret->whole = span_of(in->ptr, (size_t)(rest.ptr - in->ptr) + len);
    *in = span_of(rest.ptr + len, rest.len - len);
    return true;
}

bool der_read_tag(struct span *in, uint8_t tag, struct der_item *ret)
{
    if (in->len == 0 || in->ptr[0] != tag) {
        return false;
    }
    return der_read(in, ret);
}

bool der_read_only(struct span in, uint8_t tag, struct der_item *ret)
{
    return der_read_tag(&in, tag, ret) && in.len == 0;
}

static bool canonical_integer(struct span v)
{
    if (v.len == 0) {
        return false;
    }
    bool sign_repeated =
        v.len > 1 && ((v.ptr[0] == 0 && v.ptr[1] < 0x80) || (v.ptr[0] == 0xff && v.ptr[1] >= 0x80));
    return !sign_repeated;
}

static bool canonical_bit_string(struct span v)
{
    if (v.len == 0 || v.ptr[0] > 7 || (v.len == 1 && v.ptr[0] != 0)) {
        return false;
    }
    return v.len == 1 || (v.ptr[v.len - 1] & ((1u << v.ptr[0]) - 1)) == 0;
}

static bool canonical_oid(struct span v)
{
    bool first = true; /* of an arc: 0x80 there would be a leading zero */
    for (size_t i = 0; i < v.len; i++) {
        if (first && v.ptr[i] == 0x80) {
            return false;
        }
        first = v.ptr[i] < 0x80;
    }
    return v.len > 0 && first;
}

static bool canonical_primitive(const struct der_item *item)
{
    switch (item->tag) {
    case DER_BOOLEAN:
        return item->value.len == 1 && (item->value.ptr[0] == 0xff || item->value.ptr[0] == 0);
    case DER_INTEGER:
        return canonical_integer(item->value);
    case DER_BIT_STRING:
        return canonical_bit_string(item->value);
    case DER_NULL:
        return item->value.len == 0;
    case DER_OID:
        return canonical_oid(item->value);
    default:
        return item->tag != 0;
    }
}

/* Members of a SET OF ascend, compared as if the shorter were padded with zeros (X.690 11.6). */
static bool set_ascends(struct span previous, struct span next)
{
    size_t common = previous.len < next.len ? previous.len : next.len;
    int order = common > 0 ? memcmp(previous.ptr, next.ptr, common) : 0;
    return order < 0 || (order == 0 && previous.len <= next.len);
}

struct level {
    struct span rest;
    struct span previous; /* member of a SET read before */
    bool is_set;
};

static bool constructed_allowed(uint8_t tag)
{
    return tag == DER_SEQUENCE || tag == DER_SET || (tag & 0xc0) == DER_CONTEXT;
}

bool der_canonical(struct span in)
{
    struct level levels[DER_DEPTH_MAX] = {{.rest = in}};
    size_t depth = 0;
    for (;;) {
        struct level *level = &levels[depth];
        if (level->rest.len == 0) {
            if (depth == 0) {
                return true;
            }
            depth--;
            continue;
        }
        struct der_item item;
        if (!der_read(&level->rest, &item)) {
            return false;
        }
        if (level->is_set && !set_ascends(level->previous, item.whole)) {
            return false;
        }
        level->previous = item.whole;
        if ((item.tag & 0x20) == 0) {
            if (!canonical_primitive(&item) || item.tag == (DER_SEQUENCE & 0x1f) ||
                item.tag == (DER_SET & 0x1f)) {
                return false;
            }
            continue;
        }
        if (!constructed_allowed(item.tag) || ++depth == DER_DEPTH_MAX) {
            return false;
        }
        levels[depth] = (struct level){.rest = item.value, .is_set = item.tag == DER_SET};
    }
}

static bool room(struct der_out *out, size_t len)
{
    if (out->overflow || len > out->pos) {
        out->overflow = true;
        return false;
    }
    out->pos -= len;
    return true;
}

void der_put(struct der_out *out, struct span bytes)
{
    if (bytes.len > 0 && room(out, bytes.len)) {
        memcpy(out->base + out->pos, bytes.ptr, bytes.len);
    }
}

void der_put_byte(struct der_out *out, uint8_t byte)
{
    if (room(out, 1)) {
        out->base[out->pos] = byte;
    }
}

void der_wrap(struct der_out *out, uint8_t tag, size_t mark)
{
    size_t len = mark - out->pos;
    if (len < 0x80) {
        der_put_byte(out, (uint8_t)len);
    } else {
        uint8_t count = 0;
        for (size_t left = len; left > 0; left >>= 8) {
            der_put_byte(out, (uint8_t)left);
            count++;
        }
        der_put_byte(out, (uint8_t)(0x80 | count));
    }
    der_put_byte(out, tag);
}

void der_put_item(struct der_out *out, uint8_t tag, struct span value)
{
    size_t mark = der_mark(out);
    der_put(out, value);
    der_wrap(out, tag, mark);
}

void der_put_unsigned(struct der_out *out, struct span big_endian)
{
    while (big_endian.len > 1 && big_endian.ptr[0] == 0) {
        big_endian = span_of(big_endian.ptr + 1, big_endian.len - 1);
    }
    size_t mark = der_mark(out);
    der_put(out, big_endian);
    if (big_endian.len == 0 || big_endian.ptr[0] >= 0x80) {
        der_put_byte(out, 0);
    }
    der_wrap(out, DER_INTEGER, mark);
}

void der_put_bit_string(struct der_out *out, struct span bytes)
{
    size_t mark = der_mark(out);
    der_put(out, bytes);
    der_put_byte(out, 0);
    der_wrap(out, DER_BIT_STRING, mark);
}
