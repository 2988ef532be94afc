#include "test_support.h"

#include <openssl/x509.h>

#include "name.h"

#define SIXTY_FOUR "0123456789012345678901234567890123456789012345678901234567890123"

static void test_refused_names(void **state)
{
    (void)state;
    static const struct {
        struct name_fields fields;
        const char *field;
    } rows[] = {
#define TEXT(text) {(const uint8_t *)(text), sizeof(text) - 1}
        {{.common_name = {NULL, 0}}, "CommonName"},
        {{.common_name = TEXT(SIXTY_FOUR "x")}, "CommonName"},
        {{.common_name = TEXT("line\nbreak")}, "CommonName"},
        {{.common_name = TEXT("nul\0inside")}, "CommonName"},
        {{.common_name = TEXT("delete\x7f")}, "CommonName"},
        {{.common_name = TEXT("not utf-8 \xff")}, "CommonName"},
        {{.country = TEXT("de")}, "Country"},
        {{.country = TEXT("D")}, "Country"},
        {{.country = TEXT("DEU")}, "Country"},
        {{.country = TEXT("D1")}, "Country"},
        {{.serial_number = TEXT("under_score")}, "SerialNumber"},
        {{.serial_number = TEXT("stra\xc3\x9f"
                                "e")},
         "SerialNumber"},
        {{.serial_number = TEXT(SIXTY_FOUR "x")}, "SerialNumber"},
        {{.organization = TEXT(SIXTY_FOUR "x")}, "Organization"},
        {{.organizational_unit = TEXT(SIXTY_FOUR "x")}, "OrganizationalUnit"},
        {{.locality = TEXT(SIXTY_FOUR SIXTY_FOUR "x")}, "Locality"},
        {{.state = TEXT(SIXTY_FOUR SIXTY_FOUR "x")}, "State"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t buffer[NAME_MAX_BYTES];
        struct der_out out = der_out_of(buffer, sizeof buffer);
        struct fault fault = {.field = ""};
        assert_err(name_build(&rows[i].fields, &out, &fault), ERR_INVALID);
        assert_string_equal(fault.field, rows[i].field);
    }
}

static void test_no_room(void **state)
{
    (void)state;
    uint8_t buffer[8];
    struct der_out out = der_out_of(buffer, sizeof buffer);
    struct name_fields fields = {.common_name = span_str("device")};
    assert_err(name_build(&fields, &out, NULL), ERR_TOO_LARGE);
}

static void test_names_as_openssl_reads_them(void **state)
{
    (void)state;
    uint8_t buffer[NAME_MAX_BYTES];
    struct der_out out = der_out_of(buffer, sizeof buffer);
    struct name_fields fields = {
        .country = TEXT("DE"),
        .state = TEXT("Bayern"),
        .locality = TEXT("M\xc3\xbcnchen"),
        .organization = TEXT("Pumpen & S\xc3\xb6hne"),
        .organizational_unit = TEXT("Feld"),
        .common_name = TEXT("00a1b2c3d4e5f607"),
        .serial_number = TEXT("SN-1 (a)'+,./:=?"),
    };
    assert_ok(name_build(&fields, &out, NULL));
    struct span der = der_written(&out);
    assert_null(name_problem(der));
    const uint8_t *at = der.ptr;
    X509_NAME *name = d2i_X509_NAME(NULL, &at, (long)der.len);
    assert_non_null(name);
    BIO *bio = BIO_new(BIO_s_mem());
    assert_true(X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB) > 0);
    char *text = NULL;
    long len = BIO_get_mem_data(bio, &text);
    assert_span(span_of(text, (size_t)len),
                "C = DE, ST = Bayern, L = M\xc3\xbcnchen, O = Pumpen & S\xc3\xb6hne, OU = Feld, "
                "CN = 00a1b2c3d4e5f607, serialNumber = \"SN-1 (a)'+,./:=?\"");
    BIO_free(bio);
    X509_NAME_free(name);
}

/* 64 characters are 64 characters, however many bytes they take. */
static void test_bounds_count_characters(void **state)
{
    (void)state;
    uint8_t text[65 * 2];
    for (size_t i = 0; i < sizeof text; i += 2) {
        text[i] = 0xc3;
        text[i + 1] = 0xbc;
    }
    for (size_t chars = 64; chars <= 65; chars++) {
        uint8_t buffer[NAME_MAX_BYTES];
        struct der_out out = der_out_of(buffer, sizeof buffer);
        struct name_fields fields = {.common_name = span_of(text, chars * 2)};
        assert_err(name_build(&fields, &out, NULL), chars == 64 ? ERR_OK : ERR_INVALID);
    }
}

static void test_problem_of_foreign_names(void **state)
{
    (void)state;
    static const struct {
        bool good;
        struct span der;
    } rows[] = {
        {false, TEXT("")},
        {false, TEXT("\x30\x00")},
        {false, TEXT("\x31\x00")},
        {false, TEXT("\x30\x02\x31\x00")},
        {false, TEXT("\x30\x04\x31\x02\x30\x00")},
        /* CN as UTF8String, PrintableString, TeletexString, BMPString, IA5String; empty */
        {true, TEXT("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01x")},
        {true, TEXT("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x13\x01x")},
        {false, TEXT("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x14\x01x")},
        {false, TEXT("\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x03\x1e\x02\0x")},
        {false, TEXT("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x16\x01x")},
        {false, TEXT("\x30\x0b\x31\x09\x30\x07\x06\x03\x55\x04\x03\x0c\x00")},
        {false, TEXT("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x13\x01*")},
        /* serialNumber and country must be printable */
        {true, TEXT("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x05\x13\x01x")},
        {false, TEXT("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x05\x0c\x01x")},
        {false, TEXT("\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x0c\x02"
                     "DE")},
        {true, TEXT("\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02"
                    "DE")},
        /* an attribute we have no bounds for: dnQualifier */
        {true, TEXT("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x2e\x13\x01x")},
        /* something behind the value */
        {false, TEXT("\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x01x\x05\x00")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if ((name_problem(rows[i].der) == NULL) != rows[i].good) {
            fail_msg("row %zu", i);
        }
    }
}

static void test_alternative_names(void **state)
{
    (void)state;
    static const struct {
        bool good;
        struct alt_name name;
    } rows[] = {
        {true, {ALT_NAME_DNS, TEXT("a")}},
        {true, {ALT_NAME_DNS, TEXT("a-1.b.example")}},
        {false, {ALT_NAME_DNS, TEXT("")}},
        {false, {ALT_NAME_DNS, TEXT(".a")}},
        {false, {ALT_NAME_DNS, TEXT("a.")}},
        {false, {ALT_NAME_DNS, TEXT("a..b")}},
        {false, {ALT_NAME_DNS, TEXT("-a")}},
        {false, {ALT_NAME_DNS, TEXT("a-")}},
        {false, {ALT_NAME_DNS, TEXT("a-.b")}},
        {false, {ALT_NAME_DNS, TEXT("a_b")}},
        {false, {ALT_NAME_DNS, TEXT("*.b")}},
        {false, {ALT_NAME_DNS, TEXT("a b")}},
        {false, {ALT_NAME_DNS, TEXT(SIXTY_FOUR)}},
        {false,
         {ALT_NAME_DNS, TEXT("b\xc3\xbc"
                             "cher.example")}},
        {true, {ALT_NAME_URI, TEXT("urn:dev:mac:0024befffe804ff1")}},
        {true, {ALT_NAME_URI, TEXT("https://plant.example/7")}},
        {false, {ALT_NAME_URI, TEXT("/relative")}},
        {false, {ALT_NAME_URI, TEXT("urn:")}},
        {false, {ALT_NAME_URI, TEXT("1urn:x")}},
        {false, {ALT_NAME_URI, TEXT("u rn:x")}},
        {false, {ALT_NAME_URI, TEXT("")}},
        {true, {ALT_NAME_IP, TEXT("\x7f\0\0\x01")}},
        {true, {ALT_NAME_IP, TEXT("0123456789abcdef")}},
        {false, {ALT_NAME_IP, TEXT("12345")}},
        {true, {ALT_NAME_EMAIL, TEXT("ops@plant.example")}},
        {false, {ALT_NAME_EMAIL, TEXT("@plant.example")}},
        {false, {ALT_NAME_EMAIL, TEXT("ops")}},
        {false, {ALT_NAME_EMAIL, TEXT("ops@")}},
        {false, {4, TEXT("\x30\x00")}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t buffer[256];
        struct der_out out = der_out_of(buffer, sizeof buffer);
        err_t e = name_build_alt(&rows[i].name, 1, &out, NULL);
        if ((e == ERR_OK) != rows[i].good) {
            fail_msg("row %zu", i);
        }
        /* the linter's eye agrees with the builder's */
        out = der_out_of(buffer, sizeof buffer);
        der_put_item(&out, (uint8_t)(DER_CONTEXT | rows[i].name.kind), rows[i].name.value);
        der_wrap(&out, DER_SEQUENCE, out.end);
        assert_int_equal(name_alt_problem(der_written(&out)) == NULL, rows[i].good);
    }
    uint8_t buffer[64];
    struct der_out out = der_out_of(buffer, sizeof buffer);
    assert_err(name_build_alt(NULL, 0, &out, NULL), ERR_INVALID);
    assert_non_null(name_alt_problem(span_of("\x30\x00", 2)));
    assert_non_null(name_alt_problem(span_of("\x30\x02\xa4\x00", 4)));
}
#undef TEXT

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_names),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_names_as_openssl_reads_them),
        cmocka_unit_test(test_bounds_count_characters),
        cmocka_unit_test(test_problem_of_foreign_names),
        cmocka_unit_test(test_alternative_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
