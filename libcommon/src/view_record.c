/* The form of a record in the view: index entries and payload in one string. Pure. */
#include "common/view.h"

#include <stdio.h>

#define VALUE_VERSION   1
#define INDEX_PART_MAX  255
#define VIEW_KEY_BYTES  4096
#define PAYLOAD_BYTES   (64u * 1024u)
#define INDEX_BYTES_MAX ((size_t)VIEW_INDEXES_MAX * 2 * INDEX_PART_MAX)

void view_record_init(struct view_record *r)
{
    *r = (struct view_record){.key = BUF_INIT(VIEW_KEY_BYTES),
                              .payload = BUF_INIT(PAYLOAD_BYTES),
                              .index_bytes = BUF_INIT(INDEX_BYTES_MAX)};
}

void view_record_clear(struct view_record *r)
{
    buf_clear(&r->key);
    buf_clear(&r->payload);
    buf_clear(&r->index_bytes);
    r->index_count = 0;
    r->deleted = r->skipped = false;
}

void view_record_deinit(struct view_record *r)
{
    buf_deinit(&r->key);
    buf_deinit(&r->payload);
    buf_deinit(&r->index_bytes);
    r->index_count = 0;
}

err_t view_record_index(struct view_record *r, struct span name, struct span member, double score)
{
    if (r->index_count == VIEW_INDEXES_MAX || name.len > INDEX_PART_MAX ||
        member.len > INDEX_PART_MAX) {
        return ERR_TOO_LARGE;
    }
    /* All the room at once: the spans of earlier entries must not move. */
    if (r->index_bytes.ptr == NULL && buf_reserve(&r->index_bytes, INDEX_BYTES_MAX) == NULL) {
        return ERR_TOO_LARGE;
    }
    struct view_index *index = &r->indexes[r->index_count];
    index->name = span_of(r->index_bytes.ptr + r->index_bytes.len, name.len);
    (void)buf_append_span(&r->index_bytes, name);
    index->member = span_of(r->index_bytes.ptr + r->index_bytes.len, member.len);
    (void)buf_append_span(&r->index_bytes, member);
    index->score = score;
    r->index_count++;
    return ERR_OK;
}

static void append_short(struct buf *to, struct span s)
{
    (void)buf_append_byte(to, (uint8_t)s.len);
    (void)buf_append_span(to, s);
}

/* Little endian whatever the machine is: the Lua side reads "<d". */
static void append_double(struct buf *to, double d)
{
    uint64_t bits = 0;
    memcpy(&bits, &d, sizeof bits);
    for (unsigned i = 0; i < sizeof bits; i++) {
        (void)buf_append_byte(to, (uint8_t)(bits >> (8 * i)));
    }
}

err_t view_value_encode(const struct view_record *r, struct buf *to)
{
    (void)buf_append_byte(to, VALUE_VERSION);
    (void)buf_append_byte(to, (uint8_t)r->index_count);
    for (unsigned i = 0; i < r->index_count; i++) {
        append_short(to, r->indexes[i].name);
        append_short(to, r->indexes[i].member);
        append_double(to, r->indexes[i].score);
    }
    (void)buf_append_span(to, buf_span(&r->payload));
    return buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}

/* Steps over one length-prefixed string; false when it does not fit. */
static bool skip_short(struct span s, size_t *at)
{
    if (*at >= s.len || s.len - *at - 1 < s.ptr[*at]) {
        return false;
    }
    *at += 1u + s.ptr[*at];
    return true;
}

err_t view_value_payload(struct span stored, struct span *ret_payload)
{
    if (stored.len < 2 || stored.ptr[0] != VALUE_VERSION) {
        return ERR_CORRUPT;
    }
    size_t at = 2;
    for (unsigned i = 0; i < stored.ptr[1]; i++) {
        if (!skip_short(stored, &at) || !skip_short(stored, &at) ||
            stored.len - at < sizeof(double)) {
            return ERR_CORRUPT;
        }
        at += sizeof(double);
    }
    *ret_payload = span_of(stored.ptr + at, stored.len - at);
    return ERR_OK;
}

static err_t tagged(char letter, int partition, const char *between, struct span rest,
                    struct buf *to)
{
    if (rest.len > VIEW_KEY_MAX) {
        return ERR_TOO_LARGE;
    }
    (void)buf_printf(to, "{%c%d}%s", letter, partition, between);
    (void)buf_append_span(to, rest);
    return buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}

err_t view_key(char letter, int partition, struct span key, struct buf *to)
{
    return tagged(letter, partition, ":", key, to);
}

err_t view_index_key(char letter, int partition, struct span name, struct buf *to)
{
    return tagged(letter, partition, "i:", name, to);
}

err_t view_mark_key(char letter, int partition, struct buf *to)
{
    return tagged(letter, partition, "#", span_str(""), to);
}
