#include "test_support.h"

#include "common/der.h"

#define BYTES(text) span_of(text, sizeof(text) - 1)

static void test_reader_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        struct span bytes;
    } rows[] = {
        {"nothing", {(const uint8_t *)"", 0}},
        {"no length", {(const uint8_t *)"\x30", 1}},
        {"cut off", {(const uint8_t *)"\x04\x02\x01", 3}},
        {"indefinite", {(const uint8_t *)"\x30\x80\x00\x00", 4}},
        {"long form of a short length", {(const uint8_t *)"\x04\x81\x01\x00", 4}},
        {"leading zero in a length", {(const uint8_t *)"\x04\x82\x00\x81", 4}},
        {"length of four octets", {(const uint8_t *)"\x04\x84\x01\x00\x00\x00", 6}},
        {"length cut off", {(const uint8_t *)"\x04\x82\x01", 3}},
        {"high tag number", {(const uint8_t *)"\x1f\x81\x01\x00", 4}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span in = rows[i].bytes;
        struct der_item item;
        if (der_read(&in, &item)) {
            fail_msg("read: %s", rows[i].why);
        }
        assert_int_equal(in.len, rows[i].bytes.len);
    }
}

static void test_reader(void **state)
{
    (void)state;
    struct span in = BYTES("\x02\x01\x05\x04\x00");
    struct der_item item;
    assert_false(der_read_tag(&in, DER_OCTET_STRING, &item));
    assert_true(der_read_tag(&in, DER_INTEGER, &item));
    assert_span(item.value, "\x05");
    assert_span(item.whole, "\x02\x01\x05");
    assert_true(der_read_only(in, DER_OCTET_STRING, &item));
    assert_int_equal(item.value.len, 0);
    assert_false(der_read_only(BYTES("\x04\x00\x04\x00"), DER_OCTET_STRING, &item));
}

static void test_canonical(void **state)
{
    (void)state;
    static const struct {
        bool canonical;
        struct span bytes;
    } rows[] = {
#define ROW(canonical, text)                                                                       \
    {                                                                                              \
        canonical,                                                                                 \
        {                                                                                          \
            (const uint8_t *)(text), sizeof(text) - 1                                              \
        }                                                                                          \
    }
        ROW(true, ""),
        ROW(true, "\x01\x01\xff\x01\x01\x00"),
        ROW(false, "\x01\x01\x01"),
        ROW(false, "\x01\x02\xff\xff"),
        ROW(false, "\x01\x00"),
        ROW(true, "\x02\x01\x00"),
        ROW(true, "\x02\x02\x00\x80"),
        ROW(true, "\x02\x02\xff\x7f"),
        ROW(false, "\x02\x00"),
        ROW(false, "\x02\x02\x00\x7f"),
        ROW(false, "\x02\x02\xff\x80"),
        ROW(true, "\x03\x01\x00"),
        ROW(true, "\x03\x02\x05\xa0"),
        ROW(false, "\x03\x02\x05\xb0"),
        ROW(false, "\x03\x02\x08\x00"),
        ROW(false, "\x03\x01\x01"),
        ROW(false, "\x03\x00"),
        ROW(true, "\x05\x00"),
        ROW(false, "\x05\x01\x00"),
        ROW(true, "\x06\x03\x55\x04\x03"),
        ROW(true, "\x06\x03\x2a\x86\x48"),
        ROW(false, "\x06\x00"),
        ROW(false, "\x06\x02\x55\x84"),
        ROW(false, "\x06\x03\x55\x80\x01"),
        ROW(false, "\x00\x00"),
        ROW(false, "\x10\x00"),         /* a SEQUENCE that claims to be primitive */
        ROW(false, "\x24\x02\x04\x00"), /* a constructed OCTET STRING is BER */
        ROW(true, "\x31\x06\x02\x01\x01\x02\x01\x02"),
        ROW(false, "\x31\x06\x02\x01\x02\x02\x01\x01"),
        ROW(true, "\x30\x06\x02\x01\x02\x02\x01\x01"),
        ROW(false, "\x30\x03\x02\x02\x01"),
        ROW(true, "\xa3\x02\x30\x00\x80\x01\x55"),
#undef ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (der_canonical(rows[i].bytes) != rows[i].canonical) {
            fail_msg("row %zu", i);
        }
    }
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    uint8_t nested[2 * 64];
    struct der_out out = der_out_of(nested, sizeof nested);
    for (unsigned depth = 1; depth <= 60; depth++) {
        der_wrap(&out, DER_SEQUENCE, out.end);
        assert_int_equal(der_canonical(der_written(&out)), depth < DER_DEPTH_MAX);
    }
}

static void test_writer(void **state)
{
    (void)state;
    uint8_t buffer[512];
    struct der_out out = der_out_of(buffer, sizeof buffer);
    size_t mark = der_mark(&out);
    der_put_bit_string(&out, BYTES("\xab"));
    der_put_unsigned(&out, BYTES("\x00\x00\x80\x01"));
    der_put_unsigned(&out, BYTES("\x00"));
    der_put_unsigned(&out, span_of(NULL, 0));
    der_wrap(&out, DER_SEQUENCE, mark);
    assert_true(
        span_eq(der_written(&out),
                BYTES("\x30\x0f\x02\x01\x00\x02\x01\x00\x02\x03\x00\x80\x01\x03\x02\x00\xab")));
    assert_false(out.overflow);
}

static void test_writer_lengths(void **state)
{
    (void)state;
    static uint8_t buffer[70000];
    static const struct {
        size_t len;
        size_t head;
    } rows[] = {{0, 2}, {127, 2}, {128, 3}, {255, 3}, {256, 4}, {65535, 4}, {65536, 5}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static uint8_t text[65536];
        struct der_out out = der_out_of(buffer, sizeof buffer);
        struct der_item item;
        der_put_item(&out, DER_OCTET_STRING, span_of(text, rows[i].len));
        assert_int_equal(der_written(&out).len, rows[i].len + rows[i].head);
        assert_true(der_read_only(der_written(&out), DER_OCTET_STRING, &item));
        assert_int_equal(item.value.len, rows[i].len);
    }
}

static void test_writer_stops_when_full(void **state)
{
    (void)state;
    uint8_t buffer[8] = {0};
    struct der_out out = der_out_of(buffer + 2, 4);
    der_put(&out, BYTES("abc"));
    assert_false(out.overflow);
    der_put(&out, BYTES("de"));
    assert_true(out.overflow);
    der_put_byte(&out, 'f'); /* would fit, but what is missing before it cannot be mended */
    assert_span(der_written(&out), "abc");
    assert_int_equal(buffer[0] + buffer[1] + buffer[2] + buffer[6] + buffer[7], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader_refuses),
        cmocka_unit_test(test_reader),
        cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_writer),
        cmocka_unit_test(test_writer_lengths),
        cmocka_unit_test(test_writer_stops_when_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
