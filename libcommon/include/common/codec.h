/*
 * The codec: one table of fields per struct turns JSON into the struct and back. Limits, ranges and
 * names live in the table, which is the only thing to write for a new message; the error texts, the
 * stable field order and the keeping of unknown fields come with it. Encoding is deterministic:
 * equal structs give equal bytes. Any thread; tables are constants.
 *
 *     struct device {
 *         char uid[17];
 *         int64_t sequence;
 *         enum device_state state;
 *         struct installed installed;
 *         cJSON *extra;
 *     };
 *     static const struct codec_field device_fields[] = {
 *         {CODEC_STR(struct device, uid, "RoTPublicUID", CODEC_REQUIRED, 16),
 *          CODEC_RULE(is_hex, "16 hex digits")},
 *         {CODEC_I64_TEXT(struct device, sequence, "Sequence", CODEC_OMIT_ZERO, 0, INT64_MAX)},
 *         {CODEC_ENUM(struct device, state, "State", CODEC_REQUIRED, device_state_names)},
 *         {CODEC_OBJECT(struct device, installed, "Installed", CODEC_OMIT_ZERO, &installed_table)},
 *     };
 *     static const struct codec_table device_table =
 *         CODEC_TABLE_KEEP(struct device, device_fields, extra);
 */
#ifndef COMMON_CODEC_H
#define COMMON_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/id.h"
#include "common/json.h"

enum codec_kind {
    CODEC_KIND_STR,      /* string; char member[N], at most N - 1 bytes */
    CODEC_KIND_TEXT,     /* string; char *member, owned, NULL when absent */
    CODEC_KIND_BOOL,     /* true or false; bool */
    CODEC_KIND_I32,      /* number; int32_t */
    CODEC_KIND_I64,      /* number within +-JSON_INTEGER_MAX; int64_t */
    CODEC_KIND_I64_TEXT, /* decimal string; int64_t */
    CODEC_KIND_TIME,     /* RFC 3339 string; int64_t UTC milliseconds, 0 reads as "none" */
    CODEC_KIND_UUID,     /* string; struct uuid */
    CODEC_KIND_BYTES,    /* base64 string; uint8_t member[N] and a size_t length, or exactly N */
    CODEC_KIND_HEX,      /* the same as a hex string */
    CODEC_KIND_ENUM,     /* string out of a list; an enum */
    CODEC_KIND_OBJECT,   /* object; embedded struct with its own table */
    CODEC_KIND_ARRAY,    /* array; T member[N], or T *member (owned), and a size_t count */
    CODEC_KIND_JSON,     /* anything; cJSON *member, owned, NULL when absent */
};

enum codec_flag {
    CODEC_OPTIONAL = 0,       /* may be absent: the member stays zero; always written */
    CODEC_REQUIRED = 1 << 0,  /* decoding fails without it; always written */
    CODEC_OMIT_ZERO = 1 << 1, /* may be absent; written only when not zero, empty or NULL */
    CODEC_NULL = 1 << 2,      /* null reads as absent */
};

/* Names of an enum; the list ends with a NULL name. */
struct codec_name {
    int value;
    const char *name;
};

struct codec_field {
    const char *name;
    enum codec_kind kind;
    unsigned flags; /* enum codec_flag */
    size_t offset;
    size_t size;     /* of the member; of one element for arrays */
    size_t count_at; /* bytes, arrays: 1 + offset of the size_t beside the member, 0 for none */
    size_t has_at;   /* 1 + offset of the presence flag, 0 for none; see CODEC_HAS */
    int64_t min;     /* numbers: range; strings and bytes: length in bytes; arrays: elements */
    int64_t max;
    bool heap; /* arrays: the member is a pointer */
    union {
        const struct codec_name *names;
        const struct codec_table *table;
        const struct codec_field *element;
    } of;
    bool (*valid)(const void *member); /* see CODEC_RULE; NULL for none */
    const char *expects;
};

/* At most this many fields in one table. */
#define CODEC_FIELDS_MAX 64

struct codec_table {
    const struct codec_field *fields;
    size_t count;
    size_t size;     /* of the struct */
    size_t extra_at; /* 1 + offset of a cJSON * that holds unknown fields, 0 for none */
};

enum codec_mode {
    CODEC_STRICT, /* requests of clients: an unknown field is refused, naming those accepted */
    CODEC_KEEP,   /* our own records: unknown fields are kept in `extra` and written back; a table
                   * without one drops them (readers that never write back) */
};

/*
 * Fills the struct at `out` (table->size bytes, overwritten, not freed before). On failure it is
 * zeroed and owns nothing; on success release it with codec_free. ERR_INVALID or ERR_TOO_LARGE with
 * code "validation_error", "missing_field" or "unknown_field", the path of the field
 * ("Devices[3].UID") and what would be accepted.
 */
MUST_USE err_t codec_decode(const struct codec_table *table, enum codec_mode mode,
                            const cJSON *object, void *out, struct fault *fault);

/* json_decode and codec_decode in one. */
MUST_USE err_t codec_decode_text(const struct codec_table *table, enum codec_mode mode,
                                 struct span text, const struct json_limits *limits, void *out,
                                 struct fault *fault);

/*
 * Appends the struct as one JSON object: fields in table order, then the kept unknown ones in the
 * order they came. ERR_TOO_LARGE as buf_append. ERR_INTERNAL: an enum without a name, an I64 beyond
 * JSON_INTEGER_MAX, a count or length beyond its array; a bug of the caller, the content of `to` is
 * then unusable.
 */
MUST_USE err_t codec_encode(const struct codec_table *table, const void *in, struct buf *to);

/* Frees what the struct owns and zeroes it. A zeroed struct is fine. */
void codec_free(const struct codec_table *table, void *object);

/* Deep copy into `to`, which is overwritten; release with codec_free. */
void codec_copy(const struct codec_table *table, const void *from, void *to);

/* NULL and false when not in the list. */
const char *codec_name_of(const struct codec_name *names, int value);
bool codec_value_of(const struct codec_name *names, struct span name, int *ret);

/*
 * Rows, each to be put in braces. T is the struct, m its member, json the name on the wire. A row
 * may go on with one or both of
 *   CODEC_RULE(rule, words): a further check `bool rule(const void *member)` of what was decoded;
 *   `words` complete the sentence "must be ...";
 *   CODEC_HAS(T, flag): a bool member that is set when the field was present, and decides whether
 *   it is written: for updates, where absent and zero differ.
 */
#define CODEC_RULE(rule, words) .valid = (rule), .expects = (words)
#define CODEC_HAS(T, flag)      .has_at = offsetof(T, flag) + 1

#define CODEC_SIZE_(T, m) sizeof(((T *)0)->m)
#define CODEC_ROW_(T, m, json, k, f, lo, hi)                                                       \
    .name = (json), .kind = (k), .flags = (f), .offset = offsetof(T, m),                           \
    .size = CODEC_SIZE_(T, m), .min = (int64_t)(lo), .max = (int64_t)(hi)

#define CODEC_STR(T, m, json, flags, min_len)                                                      \
    CODEC_ROW_(T, m, json, CODEC_KIND_STR, flags, min_len, CODEC_SIZE_(T, m) - 1)
#define CODEC_TEXT(T, m, json, flags, min_len, max_len)                                            \
    CODEC_ROW_(T, m, json, CODEC_KIND_TEXT, flags, min_len, max_len)
#define CODEC_BOOL(T, m, json, flags)        CODEC_ROW_(T, m, json, CODEC_KIND_BOOL, flags, 0, 0)
#define CODEC_I32(T, m, json, flags, lo, hi) CODEC_ROW_(T, m, json, CODEC_KIND_I32, flags, lo, hi)
#define CODEC_I64(T, m, json, flags, lo, hi) CODEC_ROW_(T, m, json, CODEC_KIND_I64, flags, lo, hi)
#define CODEC_I64_TEXT(T, m, json, flags, lo, hi)                                                  \
    CODEC_ROW_(T, m, json, CODEC_KIND_I64_TEXT, flags, lo, hi)
#define CODEC_TIME(T, m, json, flags) CODEC_ROW_(T, m, json, CODEC_KIND_TIME, flags, 0, 0)
#define CODEC_UUID(T, m, json, flags) CODEC_ROW_(T, m, json, CODEC_KIND_UUID, flags, 0, 0)
/* `len` is the size_t member that holds the number of bytes; at most the size of the array. */
#define CODEC_BYTES(T, m, len, json, flags, min_len)                                               \
    CODEC_ROW_(T, m, json, CODEC_KIND_BYTES, flags, min_len, CODEC_SIZE_(T, m)),                   \
        .count_at = offsetof(T, len) + 1
#define CODEC_HEX(T, m, len, json, flags, min_len)                                                 \
    CODEC_ROW_(T, m, json, CODEC_KIND_HEX, flags, min_len, CODEC_SIZE_(T, m)),                     \
        .count_at = offsetof(T, len) + 1
/* The whole array, always; all zero bytes count as "none" for CODEC_OMIT_ZERO. */
#define CODEC_BYTES_FIXED(T, m, json, flags)                                                       \
    CODEC_ROW_(T, m, json, CODEC_KIND_BYTES, flags, CODEC_SIZE_(T, m), CODEC_SIZE_(T, m))
#define CODEC_HEX_FIXED(T, m, json, flags)                                                         \
    CODEC_ROW_(T, m, json, CODEC_KIND_HEX, flags, CODEC_SIZE_(T, m), CODEC_SIZE_(T, m))
#define CODEC_ENUM(T, m, json, flags, list)                                                        \
    CODEC_ROW_(T, m, json, CODEC_KIND_ENUM, flags, 0, 0), .of.names = (list)
/* With CODEC_OMIT_ZERO it is left out when all its fields are zero, empty or NULL. */
#define CODEC_OBJECT(T, m, json, flags, its_table)                                                 \
    CODEC_ROW_(T, m, json, CODEC_KIND_OBJECT, flags, 0, 0), .of.table = (its_table)
#define CODEC_JSON(T, m, json, f)                                                                  \
    .name = (json), .kind = CODEC_KIND_JSON, .flags = (f), .offset = offsetof(T, m),               \
    .size = sizeof(void *)

/* `T m[N]` and the size_t member `n`; at most N elements, each as the row `elem` says. */
#define CODEC_ARRAY(T, m, n, json, flags, min_count, elem)                                         \
    CODEC_ARRAY_ROW_(T, m, n, json, flags, min_count, CODEC_SIZE_(T, m) / CODEC_SIZE_(T, m[0]),    \
                     elem)
/* `T *m`, allocated for what came, and the size_t member `n`. */
#define CODEC_ARRAY_HEAP(T, m, n, json, flags, min_count, max_count, elem)                         \
    CODEC_ARRAY_ROW_(T, m, n, json, flags, min_count, max_count, elem), .heap = true
#define CODEC_ARRAY_ROW_(T, m, n, json, f, lo, hi, elem)                                           \
    .name = (json), .kind = CODEC_KIND_ARRAY, .flags = (f), .offset = offsetof(T, m),              \
    .size = CODEC_SIZE_(T, m[0]), .count_at = offsetof(T, n) + 1, .min = (int64_t)(lo),            \
    .max = (int64_t)(hi), .of.element = (elem)

/* Elements of arrays, in braces as well:
 *     static const struct codec_field uid_element = {CODEC_ELEMENT_STR(17, 16)}; */
#define CODEC_ELEMENT_(k, bytes, lo, hi)                                                           \
    .kind = (k), .flags = CODEC_REQUIRED, .size = (bytes), .min = (int64_t)(lo),                   \
    .max = (int64_t)(hi)
#define CODEC_ELEMENT_STR(array_size, min_len)                                                     \
    CODEC_ELEMENT_(CODEC_KIND_STR, array_size, min_len, (array_size)-1)
#define CODEC_ELEMENT_TEXT(min_len, max_len)                                                       \
    CODEC_ELEMENT_(CODEC_KIND_TEXT, sizeof(char *), min_len, max_len)
#define CODEC_ELEMENT_I32(lo, hi) CODEC_ELEMENT_(CODEC_KIND_I32, sizeof(int32_t), lo, hi)
#define CODEC_ELEMENT_I64(lo, hi) CODEC_ELEMENT_(CODEC_KIND_I64, sizeof(int64_t), lo, hi)
#define CODEC_ELEMENT_UUID        CODEC_ELEMENT_(CODEC_KIND_UUID, sizeof(struct uuid), 0, 0)
#define CODEC_ELEMENT_ENUM(list)                                                                   \
    CODEC_ELEMENT_(CODEC_KIND_ENUM, sizeof(int), 0, 0), .of.names = (list)
#define CODEC_ELEMENT_OBJECT(T, its_table)                                                         \
    CODEC_ELEMENT_(CODEC_KIND_OBJECT, sizeof(T), 0, 0), .of.table = (its_table)

#define CODEC_TABLE(T, rows)                                                                       \
    {                                                                                              \
        .fields = (rows), .count = sizeof(rows) / sizeof((rows)[0]), .size = sizeof(T)             \
    }
#define CODEC_TABLE_KEEP(T, rows, extra_member)                                                    \
    {                                                                                              \
        .fields = (rows), .count = sizeof(rows) / sizeof((rows)[0]), .size = sizeof(T),            \
        .extra_at = offsetof(T, extra_member) + 1                                                  \
    }

#endif
