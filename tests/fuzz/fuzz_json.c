/*
 * Targets: json_decode, json_read, json_encode, codec_decode, codec_encode, codec_copy, codec_free.
 * Promises: no input crashes or leaks; json_read takes what json_decode takes, and as the same;
 * what is accepted is written as something that is accepted again and then stays the same to the
 * byte; a copy encodes like its original.
 */
#include "common/codec.h"
#include "fuzz.h"

enum color { COLOR_RED, COLOR_GREEN };
static const struct codec_name colors[] = {{COLOR_RED, "red"}, {COLOR_GREEN, "green"}, {0, NULL}};

struct part {
    char name[5];
    int64_t weight;
    cJSON *extra;
};
static const struct codec_field part_fields[] = {
    {CODEC_STR(struct part, name, "n", CODEC_REQUIRED, 1)},
    {CODEC_I64(struct part, weight, "w", CODEC_OMIT_ZERO, -100, 100)},
};
static const struct codec_table part_table = CODEC_TABLE_KEEP(struct part, part_fields, extra);

struct thing {
    char id[9];
    char *note;
    bool on;
    int32_t small;
    int64_t big;
    int64_t at_ms;
    struct uuid uuid;
    uint8_t key[4];
    size_t key_len;
    uint8_t hash[2];
    enum color color;
    struct part part;
    struct part pair[2];
    size_t pair_count;
    struct part *parts;
    size_t part_count;
    char **texts;
    size_t text_count;
    cJSON *raw;
    cJSON *extra;
};
static const struct codec_field part_element = {CODEC_ELEMENT_OBJECT(struct part, &part_table)};
static const struct codec_field text_element = {CODEC_ELEMENT_TEXT(0, 9)};
static const struct codec_field thing_fields[] = {
    {CODEC_STR(struct thing, id, "i", CODEC_OPTIONAL, 0)},
    {CODEC_TEXT(struct thing, note, "t", CODEC_OMIT_ZERO | CODEC_NULL, 0, 9)},
    {CODEC_BOOL(struct thing, on, "o", CODEC_OMIT_ZERO)},
    {CODEC_I32(struct thing, small, "s", CODEC_OMIT_ZERO, INT32_MIN, INT32_MAX)},
    {CODEC_I64_TEXT(struct thing, big, "b", CODEC_OMIT_ZERO, INT64_MIN, INT64_MAX)},
    {CODEC_TIME(struct thing, at_ms, "m", CODEC_OMIT_ZERO)},
    {CODEC_UUID(struct thing, uuid, "u", CODEC_OMIT_ZERO)},
    {CODEC_BYTES(struct thing, key, key_len, "k", CODEC_OMIT_ZERO, 0)},
    {CODEC_HEX_FIXED(struct thing, hash, "h", CODEC_OMIT_ZERO)},
    {CODEC_ENUM(struct thing, color, "c", CODEC_OPTIONAL, colors)},
    {CODEC_OBJECT(struct thing, part, "p", CODEC_OMIT_ZERO, &part_table)},
    {CODEC_ARRAY(struct thing, pair, pair_count, "q", CODEC_OMIT_ZERO, 0, &part_element)},
    {CODEC_ARRAY_HEAP(struct thing, parts, part_count, "a", CODEC_OMIT_ZERO, 0, 5, &part_element)},
    {CODEC_ARRAY_HEAP(struct thing, texts, text_count, "x", CODEC_OMIT_ZERO, 0, 5, &text_element)},
    {CODEC_JSON(struct thing, raw, "r", CODEC_OMIT_ZERO)},
};
static const struct codec_table thing_table = CODEC_TABLE_KEEP(struct thing, thing_fields, extra);

static const struct json_limits outside = {.max_bytes = 4096, .max_depth = 8, .max_values = 200};
/* What we write may be longer: an escape takes more room than the character. */
static const struct json_limits own = {.max_bytes = 1 << 20, .max_depth = 8, .max_values = 200};

static void check_read(struct span input, const cJSON *decoded, err_t wanted)
{
    CLEANUP(arena_deinit) struct arena arena = {0};
    const cJSON *tree = NULL;
    struct fault fault;
    FUZZ_MUST(json_read(input, &outside, &arena, &tree, &fault) == wanted);
    FUZZ_MUST(wanted != ERR_OK || cJSON_Compare(tree, decoded, true));
}

static void check_tree(struct span input)
{
    CLEANUP_JSON cJSON *tree = NULL;
    CLEANUP_JSON cJSON *again = NULL;
    CLEANUP_BUF struct buf first = BUF_INIT(1 << 20);
    CLEANUP_BUF struct buf second = BUF_INIT(1 << 20);
    struct fault fault;
    err_t e = json_decode(input, &outside, &tree, &fault);
    check_read(input, tree, e);
    if (e != ERR_OK) {
        return;
    }
    FUZZ_MUST(json_encode(tree, &first) == ERR_OK);
    FUZZ_MUST(json_decode(buf_span(&first), &own, &again, &fault) == ERR_OK);
    FUZZ_MUST(json_encode(again, &second) == ERR_OK);
    FUZZ_MUST(span_eq(buf_span(&first), buf_span(&second)));
}

static void check_record(struct span input, enum codec_mode mode)
{
    struct thing original;
    struct thing copy;
    struct fault fault;
    CLEANUP_BUF struct buf first = BUF_INIT(1 << 20);
    CLEANUP_BUF struct buf second = BUF_INIT(1 << 20);
    if (codec_decode_text(&thing_table, mode, input, &outside, &original, &fault) != ERR_OK) {
        return;
    }
    FUZZ_MUST(codec_encode(&thing_table, &original, &first) == ERR_OK);
    codec_copy(&thing_table, &original, &copy);
    codec_free(&thing_table, &original);
    FUZZ_MUST(codec_encode(&thing_table, &copy, &second) == ERR_OK);
    codec_free(&thing_table, &copy);
    FUZZ_MUST(span_eq(buf_span(&first), buf_span(&second)));
    FUZZ_MUST(codec_decode_text(&thing_table, mode, buf_span(&first), &own, &copy, &fault) ==
              ERR_OK);
    codec_free(&thing_table, &copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_tree(span_of(data, size));
    check_record(span_of(data, size), CODEC_STRICT);
    check_record(span_of(data, size), CODEC_KEEP);
    return 0;
}
