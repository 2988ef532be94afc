#include "common/codec.h"

#include "test_support.h"

enum color { COLOR_NONE, COLOR_RED, COLOR_GREEN };
static const struct codec_name color_names[] = {
    {COLOR_RED, "red"},
    {COLOR_GREEN, "green"},
    {0, NULL},
};

struct part {
    char name[5];
    int64_t weight;
    cJSON *extra;
};
static const struct codec_field part_fields[] = {
    {CODEC_STR(struct part, name, "name", CODEC_REQUIRED, 1)},
    {CODEC_I64(struct part, weight, "weight", CODEC_OMIT_ZERO, 0, JSON_INTEGER_MAX)},
};
static const struct codec_table part_table = CODEC_TABLE_KEEP(struct part, part_fields, extra);

struct tag {
    char text[4];
};

struct thing {
    char id[9];
    char *note;
    bool on;
    int32_t small;
    int64_t big;
    int64_t made_ms;
    struct uuid uuid;
    uint8_t key[4];
    size_t key_len;
    uint8_t hash[2];
    enum color color;
    struct part part;
    struct part parts[2];
    size_t part_count;
    struct tag *tags;
    size_t tag_count;
    struct part *spares;
    size_t spare_count;
    cJSON *raw;
    bool has_days;
    int32_t days;
    cJSON *extra;
};

static bool starts_with_t(const void *member)
{
    return *(const char *)member == 't';
}

static const struct codec_field part_element = {CODEC_ELEMENT_OBJECT(struct part, &part_table)};
static const struct codec_field tag_element = {CODEC_ELEMENT_STR(4, 1)};
static const struct codec_field thing_fields[] = {
    {CODEC_STR(struct thing, id, "ID", CODEC_REQUIRED, 2),
     CODEC_RULE(starts_with_t, "a word that starts with t")},
    {CODEC_TEXT(struct thing, note, "Note", CODEC_OMIT_ZERO | CODEC_NULL, 0, 10)},
    {CODEC_BOOL(struct thing, on, "On", CODEC_OPTIONAL)},
    {CODEC_I32(struct thing, small, "Small", CODEC_OMIT_ZERO, -5, 5)},
    {CODEC_I64_TEXT(struct thing, big, "Big", CODEC_OMIT_ZERO, INT64_MIN, INT64_MAX)},
    {CODEC_TIME(struct thing, made_ms, "Made", CODEC_OMIT_ZERO)},
    {CODEC_UUID(struct thing, uuid, "UUID", CODEC_OMIT_ZERO)},
    {CODEC_BYTES(struct thing, key, key_len, "Key", CODEC_OMIT_ZERO, 1)},
    {CODEC_HEX_FIXED(struct thing, hash, "Hash", CODEC_OMIT_ZERO)},
    {CODEC_ENUM(struct thing, color, "Color", CODEC_OMIT_ZERO, color_names)},
    {CODEC_OBJECT(struct thing, part, "Part", CODEC_OMIT_ZERO, &part_table)},
    {CODEC_ARRAY(struct thing, parts, part_count, "Parts", CODEC_OMIT_ZERO, 0, &part_element)},
    {CODEC_ARRAY_HEAP(struct thing, tags, tag_count, "Tags", CODEC_OMIT_ZERO, 1, 1000,
                      &tag_element)},
    {CODEC_ARRAY_HEAP(struct thing, spares, spare_count, "Spares", CODEC_OMIT_ZERO, 0, 3,
                      &part_element)},
    {CODEC_JSON(struct thing, raw, "Raw", CODEC_OMIT_ZERO)},
    {CODEC_I32(struct thing, days, "Days", CODEC_OPTIONAL, 0, 3650),
     CODEC_HAS(struct thing, has_days)},
};
static const struct codec_table thing_table = CODEC_TABLE_KEEP(struct thing, thing_fields, extra);

static void thing_free(struct thing *t)
{
    codec_free(&thing_table, t);
}
CLEANUP_DEFINE_EMBEDDED(struct thing, thing_free);

static err_t decode(const char *text, enum codec_mode mode, struct thing *t, struct fault *fault)
{
    return codec_decode_text(&thing_table, mode, span_str(text), &JSON_LIMITS_DEFAULT, t, fault);
}

static const char full[] =
    "{\"ID\":\"thing\",\"Note\":\"a \\\"note\\\"\",\"On\":true,\"Small\":-5,"
    "\"Big\":\"-9223372036854775808\",\"Made\":\"2026-11-21T05:30:00.123Z\","
    "\"UUID\":\"8a441ed6-1b42-5641-a042-3f30d19fa15d\",\"Key\":\"AQID\",\"Hash\":\"00ff\","
    "\"Color\":\"green\",\"Part\":{\"name\":\"p\"},"
    "\"Parts\":[{\"name\":\"a\",\"weight\":1},{\"name\":\"b\"}],\"Tags\":[\"x\",\"yyy\"],"
    "\"Spares\":[{\"name\":\"s\",\"weight\":9007199254740991}],\"Raw\":[1,{\"deep\":null}],"
    "\"Days\":0}";

static void test_a_full_document_survives_to_the_byte(void **state)
{
    (void)state;
    CLEANUP(thing_free) struct thing t = {0};
    struct fault fault = {0};
    assert_ok(decode(full, CODEC_STRICT, &t, &fault));
    assert_string_equal(t.id, "thing");
    assert_string_equal(t.note, "a \"note\"");
    assert_int_equal(t.big, INT64_MIN);
    assert_int_equal(t.made_ms, 1795239000123);
    assert_int_equal(t.key_len, 3);
    assert_int_equal(t.key[2], 3);
    assert_int_equal(t.hash[1], 0xff);
    assert_int_equal(t.color, COLOR_GREEN);
    assert_int_equal(t.part_count, 2);
    assert_string_equal(t.tags[1].text, "yyy");
    assert_int_equal(t.spares[0].weight, JSON_INTEGER_MAX);
    assert_true(t.has_days);
    CLEANUP_BUF struct buf out = BUF_INIT(4096);
    assert_ok(codec_encode(&thing_table, &t, &out));
    assert_span(buf_span(&out), full);
}

static void test_field_order_is_the_tables(void **state)
{
    (void)state;
    CLEANUP(thing_free) struct thing t = {0};
    assert_ok(decode("{\"Small\":1,\"On\":false,\"ID\":\"tt\"}", CODEC_STRICT, &t, NULL));
    CLEANUP_BUF struct buf out = BUF_INIT(4096);
    assert_ok(codec_encode(&thing_table, &t, &out));
    assert_span(buf_span(&out), "{\"ID\":\"tt\",\"On\":false,\"Small\":1}");
    assert_false(t.has_days);
}

static void test_refusals_name_field_and_rule(void **state)
{
    (void)state;
    static const struct {
        const char *text, *code, *field, *says;
    } rows[] = {
        {"[]", "validation_error", "", "must be an object, is an array"},
        {"{}", "missing_field", "ID", "is required"},
        {"{\"ID\":null}", "validation_error", "ID", "must be a string, is null"},
        {"{\"ID\":7}", "validation_error", "ID", "must be a string, is a number"},
        {"{\"ID\":\"t\"}", "validation_error", "ID", "must have 2 to 8 bytes, has 1"},
        {"{\"ID\":\"ttttttttt\"}", "validation_error", "ID", "must have 2 to 8 bytes, has 9"},
        {"{\"ID\":\"xx\"}", "validation_error", "ID", "must be a word that starts with t"},
        {"{\"ID\":\"tt\",\"Note\":\"12345678901\"}", "validation_error", "Note",
         "must have 0 to 10 bytes, has 11"},
        {"{\"ID\":\"tt\",\"On\":1}", "validation_error", "On",
         "must be true or false, is a number"},
        {"{\"ID\":\"tt\",\"Small\":6}", "validation_error", "Small", "must be -5 to 5, is 6"},
        {"{\"ID\":\"tt\",\"Small\":1.5}", "validation_error", "Small", "must be a whole number"},
        {"{\"ID\":\"tt\",\"Small\":\"1\"}", "validation_error", "Small",
         "must be a whole number, is a string"},
        {"{\"ID\":\"tt\",\"Big\":12}", "validation_error", "Big",
         "must be a whole number in a string, is a number"},
        {"{\"ID\":\"tt\",\"Color\":\"blue\"}", "validation_error", "Color",
         "must be one of red, green"},
        {"{\"ID\":\"tt\",\"Key\":\"AQIDBAU=\"}", "validation_error", "Key",
         "must have at most 4 bytes"},
        {"{\"ID\":\"tt\",\"Key\":\"\"}", "validation_error", "Key",
         "must have 1 to 4 bytes, has 0"},
        {"{\"ID\":\"tt\",\"Key\":\"A\"}", "validation_error", "Key", "must be bytes in base64"},
        {"{\"ID\":\"tt\",\"Hash\":\"00\"}", "validation_error", "Hash",
         "must have exactly 2 bytes, has 1"},
        {"{\"ID\":\"tt\",\"Part\":{}}", "missing_field", "Part.name", "is required"},
        {"{\"ID\":\"tt\",\"Parts\":[{\"name\":\"a\"},{\"name\":\"\"}]}", "validation_error",
         "Parts[1].name", "must have 1 to 4 bytes, has 0"},
        {"{\"ID\":\"tt\",\"Parts\":[{},{},{}]}", "validation_error", "Parts",
         "must have 0 to 2 elements, has 3"},
        {"{\"ID\":\"tt\",\"Tags\":[]}", "validation_error", "Tags",
         "must have 1 to 1000 elements, has 0"},
        {"{\"ID\":\"tt\",\"Tags\":[\"ok\",null]}", "validation_error", "Tags[1]",
         "must be a string, is null"},
        {"{\"ID\":\"tt\",\"Tags\":{}}", "validation_error", "Tags",
         "must be an array, is an object"},
        {"{\"ID\":\"tt\",\"Spares\":[{\"name\":\"s\",\"x\":1}]}", "unknown_field", "Spares[0].x",
         "is not known here; accepted are name, weight"},
        {"{\"ID\":\"tt\",\"id\":\"tt\"}", "unknown_field", "id", NULL},
        {"{\"ID\":\"tt\",\"Days\":-1}", "validation_error", "Days", "must be 0 to 3650, is -1"},
        {"{\"ID\":\"tt\"", "json_invalid", "", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct thing t;
        struct fault fault = {0};
        assert_err(decode(rows[i].text, CODEC_STRICT, &t, &fault), ERR_INVALID);
        assert_string_equal(fault.code, rows[i].code);
        assert_string_equal(fault.field, rows[i].field);
        if (rows[i].says != NULL) {
            assert_string_equal(fault.text, rows[i].says);
        }
        static const struct thing zero;
        assert_memory_equal(&t, &zero, sizeof t);
    }
}

static void test_a_long_unknown_name_is_told_by_its_beginning(void **state)
{
    (void)state;
    struct thing t;
    struct fault fault = {0};
    CLEANUP_BUF struct buf text = BUF_INIT(8192);
    assert_ok(
        buf_printf(&text, "{\"ID\":\"tt\",\"Part\":{\"name\":\"a\",\"begins%03000d\":1}}", 0));
    assert_err(decode(buf_cstr(&text), CODEC_STRICT, &t, &fault), ERR_INVALID);
    assert_string_equal(fault.code, "unknown_field");
    assert_int_equal(strncmp(fault.field, "Part.begins000", 14), 0);
    /* The 64th byte is the first of a character. */
    buf_clear(&text);
    assert_ok(
        buf_printf(&text, "{\"ID\":\"tt\",\"Part\":{\"name\":\"a\",\"%063d\xc3\xa4z\":1}}", 0));
    assert_err(decode(buf_cstr(&text), CODEC_STRICT, &t, &fault), ERR_INVALID);
    assert_int_equal(strlen(fault.field), strlen("Part.") + 63);
}

static void test_decimal_texts(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      "01",
                                      "-0",
                                      "-01",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "0x1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CLEANUP_BUF struct buf text = BUF_INIT(256);
        assert_ok(buf_printf(&text, "{\"ID\":\"tt\",\"Big\":\"%s\"}", bad[i]));
        struct thing t;
        assert_err(decode(buf_cstr(&text), CODEC_STRICT, &t, NULL), ERR_INVALID);
    }
    CLEANUP(thing_free) struct thing t = {0};
    assert_ok(decode("{\"ID\":\"tt\",\"Big\":\"9223372036854775807\"}", CODEC_STRICT, &t, NULL));
    assert_int_equal(t.big, INT64_MAX);
}

static void test_unknown_fields_are_kept_and_written_back(void **state)
{
    (void)state;
    CLEANUP(thing_free) struct thing t = {0};
    assert_ok(decode("{\"later\":{\"x\":[1]},\"ID\":\"tt\",\"On\":true,"
                     "\"Part\":{\"name\":\"p\",\"new\":1},\"also\":null}",
                     CODEC_KEEP, &t, NULL));
    t.small = 3;
    CLEANUP_BUF struct buf out = BUF_INIT(4096);
    assert_ok(codec_encode(&thing_table, &t, &out));
    assert_span(buf_span(&out), "{\"ID\":\"tt\",\"On\":true,\"Small\":3,"
                                "\"Part\":{\"name\":\"p\",\"new\":1},"
                                "\"later\":{\"x\":[1]},\"also\":null}");
}

static void test_null_is_absent_only_where_the_table_says(void **state)
{
    (void)state;
    CLEANUP(thing_free) struct thing t = {0};
    assert_ok(decode("{\"ID\":\"tt\",\"Note\":null}", CODEC_STRICT, &t, NULL));
    assert_null(t.note);
    struct thing other;
    assert_err(decode("{\"ID\":\"tt\",\"On\":null}", CODEC_STRICT, &other, NULL), ERR_INVALID);
}

static void test_a_copy_owns_everything_it_points_to(void **state)
{
    (void)state;
    CLEANUP(thing_free) struct thing copy = {0};
    struct thing t;
    assert_ok(decode(full, CODEC_KEEP, &t, NULL));
    codec_copy(&thing_table, &t, &copy);
    thing_free(&t);
    CLEANUP_BUF struct buf out = BUF_INIT(4096);
    assert_ok(codec_encode(&thing_table, &copy, &out));
    assert_span(buf_span(&out), full);
}

static void test_encoding_refuses_broken_structs(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf out = BUF_INIT(4096);
    struct thing t = {.id = "tt", .color = (enum color)99};
    assert_err(codec_encode(&thing_table, &t, &out), ERR_INTERNAL);
    t = (struct thing){.id = "tt", .key_len = sizeof t.key + 1};
    assert_err(codec_encode(&thing_table, &t, &out), ERR_INTERNAL);
    t = (struct thing){.id = "tt", .part_count = 3};
    assert_err(codec_encode(&thing_table, &t, &out), ERR_INTERNAL);
    t = (struct thing){.id = "tt", .part = {.name = "p", .weight = JSON_INTEGER_MAX + 1}};
    assert_err(codec_encode(&thing_table, &t, &out), ERR_INTERNAL);
    CLEANUP_BUF struct buf small = BUF_INIT(10);
    t = (struct thing){.id = "tt"};
    assert_err(codec_encode(&thing_table, &t, &small), ERR_TOO_LARGE);
}

static void test_names(void **state)
{
    (void)state;
    int value = 77;
    assert_false(codec_value_of(color_names, span_str("Red"), &value));
    assert_false(codec_value_of(color_names, span_str(""), &value));
    assert_int_equal(value, 77);
    assert_true(codec_value_of(color_names, span_str("red"), &value));
    assert_int_equal(value, COLOR_RED);
    assert_string_equal(codec_name_of(color_names, COLOR_GREEN), "green");
    assert_null(codec_name_of(color_names, COLOR_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_document_survives_to_the_byte),
        cmocka_unit_test(test_field_order_is_the_tables),
        cmocka_unit_test(test_refusals_name_field_and_rule),
        cmocka_unit_test(test_a_long_unknown_name_is_told_by_its_beginning),
        cmocka_unit_test(test_decimal_texts),
        cmocka_unit_test(test_unknown_fields_are_kept_and_written_back),
        cmocka_unit_test(test_null_is_absent_only_where_the_table_says),
        cmocka_unit_test(test_a_copy_owns_everything_it_points_to),
        cmocka_unit_test(test_encoding_refuses_broken_structs),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
