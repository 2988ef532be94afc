/*
 * The stored form of a view record. What would break a user: a payload read with a byte too many, a
 * damaged value taken for a good one, an index entry that moves to another record's index.
 */
#include "common/view.h"
#include "test_support.h"

#define LIT(s) span_of((const uint8_t *)(s), sizeof(s) - 1)

static void encode_one(struct view_record *r, struct buf *to)
{
    assert_ok(view_record_index(r, span_str("due"), LIT("\x00\x01"), 1.5));
    assert_ok(view_record_index(r, span_str("n"), (struct span){0}, -0.0));
    assert_ok(buf_append_span(&r->payload, LIT("pay\x00load")));
    assert_ok(view_value_encode(r, to));
}

static void test_stored_form_is_fixed(void **state)
{
    (void)state;
    CLEANUP(view_record_deinit) struct view_record r;
    view_record_init(&r);
    CLEANUP_BUF struct buf stored = BUF_INIT(256);
    encode_one(&r, &stored);
    const struct span wanted = LIT("\x01\x02"
                                   "\x03"
                                   "due"
                                   "\x02\x00\x01"
                                   "\x00\x00\x00\x00\x00\x00\xf8\x3f"
                                   "\x01n"
                                   "\x00"
                                   "\x00\x00\x00\x00\x00\x00\x00\x80"
                                   "pay\x00load");
    assert_int_equal(stored.len, wanted.len);
    assert_memory_equal(stored.ptr, wanted.ptr, wanted.len);
    struct span payload = {0};
    assert_ok(view_value_payload(buf_span(&stored), &payload));
    assert_int_equal(payload.len, 8);
    assert_memory_equal(payload.ptr, "pay\0load", 8);
}

/* Every cut that falls into the index entries is noticed; what is left behind them is payload. */
static void test_cut_values_are_corrupt(void **state)
{
    (void)state;
    CLEANUP(view_record_deinit) struct view_record r;
    view_record_init(&r);
    CLEANUP_BUF struct buf stored = BUF_INIT(256);
    encode_one(&r, &stored);
    size_t entries = stored.len - 8;
    for (size_t len = 0; len <= stored.len; len++) {
        /* a copy of its own, so that a sanitizer sees a byte too many */
        CLEANUP_FREE uint8_t *copy = xcalloc(1, len > 0 ? len : 1);
        memcpy(copy, stored.ptr, len);
        struct span payload = {0};
        err_t e = view_value_payload(span_of(copy, len), &payload);
        assert_err(e, len < entries ? ERR_CORRUPT : ERR_OK);
        if (e == ERR_OK) {
            assert_int_equal(payload.len, len - entries);
        }
    }
}

static void test_foreign_values_are_corrupt(void **state)
{
    (void)state;
    const struct span foreign[] = {LIT(""),         LIT("\x01"),         LIT("\x02\x00pay"),
                                   LIT("\x00\x00"), LIT("{\"json\":1}"), LIT("\x01\xff\xff\xff")};
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        struct span payload = {0};
        assert_err(view_value_payload(foreign[i], &payload), ERR_CORRUPT);
    }
}

static void test_a_value_without_payload_is_there(void **state)
{
    (void)state;
    struct span payload = {0};
    assert_ok(view_value_payload(LIT("\x01\x00"), &payload));
    assert_non_null(payload.ptr);
    assert_int_equal(payload.len, 0);
}

static void test_limits_of_index_entries(void **state)
{
    (void)state;
    char longest[257];
    memset(longest, 'x', sizeof longest);
    struct span fits = span_of((const uint8_t *)longest, 255);
    struct span over = span_of((const uint8_t *)longest, 256);
    CLEANUP(view_record_deinit) struct view_record r;
    view_record_init(&r);
    assert_err(view_record_index(&r, over, fits, 0), ERR_TOO_LARGE);
    assert_err(view_record_index(&r, fits, over, 0), ERR_TOO_LARGE);
    assert_int_equal(r.index_count, 0);
    for (int i = 0; i < VIEW_INDEXES_MAX; i++) {
        longest[0] = (char)('a' + i);
        assert_ok(view_record_index(&r, fits, fits, i));
    }
    assert_err(view_record_index(&r, span_str("n"), span_str("m"), 0), ERR_TOO_LARGE);
    /* the first is untouched by those that came later */
    assert_int_equal(r.indexes[0].name.ptr[0], 'a');
    assert_int_equal(r.indexes[0].member.ptr[0], 'a');
    assert_int_equal(r.indexes[VIEW_INDEXES_MAX - 1].name.ptr[0], 'a' + VIEW_INDEXES_MAX - 1);
    CLEANUP_BUF struct buf stored = BUF_INIT((size_t)8 * 1024);
    assert_ok(view_value_encode(&r, &stored));
    struct span payload = {0};
    assert_ok(view_value_payload(buf_span(&stored), &payload));
    assert_int_equal(payload.len, 0);
}

static void test_cleared_record_keeps_nothing(void **state)
{
    (void)state;
    CLEANUP(view_record_deinit) struct view_record r;
    view_record_init(&r);
    CLEANUP_BUF struct buf first = BUF_INIT(256);
    CLEANUP_BUF struct buf again = BUF_INIT(256);
    encode_one(&r, &first);
    r.deleted = r.skipped = true;
    view_record_clear(&r);
    assert_false(r.deleted || r.skipped);
    encode_one(&r, &again);
    assert_int_equal(first.len, again.len);
    assert_memory_equal(first.ptr, again.ptr, first.len);
}

static void test_keys(void **state)
{
    (void)state;
    char longest[VIEW_KEY_MAX + 1];
    memset(longest, 'k', sizeof longest);
    CLEANUP_BUF struct buf key = BUF_INIT(1024);
    assert_ok(view_key('d', 7, LIT("a\x00}b"), &key));
    assert_int_equal(key.len, 9);
    assert_memory_equal(key.ptr, "{d7}:a\0}b", 9);
    buf_clear(&key);
    assert_ok(view_index_key('r', 95, span_str("keys"), &key));
    assert_span(buf_span(&key), "{r95}i:keys");
    buf_clear(&key);
    assert_ok(view_mark_key('o', 0, &key));
    assert_span(buf_span(&key), "{o0}#");
    buf_clear(&key);
    assert_ok(view_key('d', 7, span_of((const uint8_t *)longest, VIEW_KEY_MAX), &key));
    assert_err(view_key('d', 7, span_of((const uint8_t *)longest, VIEW_KEY_MAX + 1), &key),
               ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stored_form_is_fixed),
        cmocka_unit_test(test_cut_values_are_corrupt),
        cmocka_unit_test(test_foreign_values_are_corrupt),
        cmocka_unit_test(test_a_value_without_payload_is_there),
        cmocka_unit_test(test_limits_of_index_entries),
        cmocka_unit_test(test_cleared_record_keeps_nothing),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
