/* Whom a device trusts: the anchors of its factory hold whatever a bootstrap brought. */
#include "device/conn.h"
#include "test_certificate.h"
#include "test_support.h"

static err_t make(const char *url, const char *trusted, const char *delivered)
{
    const struct device_server_options options = {
        .url = url, .trusted = span_str(trusted), .delivered = span_str(delivered)};
    struct device_server *server = NULL;
    struct fault fault = {0};
    err_t err = device_server_new(&options, &server, &fault);
    assert_true((err == ERR_OK) == (server != NULL));
    assert_true((err == ERR_OK) == (fault.text[0] == 0));
    device_server_free(server);
    return err;
}

static void test_anchors(void **state)
{
    (void)state;
    static const struct {
        const char *trusted, *delivered;
        err_t expected;
    } rows[] = {
        {TEST_CERTIFICATE, "", ERR_OK},
        {TEST_CERTIFICATE, TEST_CERTIFICATE, ERR_OK},
        {"", TEST_CERTIFICATE, ERR_OK},
        {TEST_CERTIFICATE, "no PEM", ERR_OK},
        {TEST_CERTIFICATE, TEST_CERTIFICATE_DAMAGED, ERR_OK},
        {TEST_CERTIFICATE, TEST_CERTIFICATE TEST_CERTIFICATE_DAMAGED, ERR_OK},
        {TEST_CERTIFICATE_DAMAGED, TEST_CERTIFICATE, ERR_INVALID},
        {"", TEST_CERTIFICATE_DAMAGED, ERR_INVALID},
        {"", "", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_err(make("https://door.example:8443", rows[i].trusted, rows[i].delivered),
                   rows[i].expected);
    }
}

static void test_urls(void **state)
{
    (void)state;
    static const char *const good[] = {"https://door", "https://door/", "https://door:8443",
                                       "https://192.0.2.1:1", "https://[2001:db8::1]:8443"};
    static const char *const bad[] = {"",
                                      "http://door",
                                      "https://",
                                      "https://:8443",
                                      "https://door:",
                                      "https://door:x",
                                      "https://door/path",
                                      "https://user@door",
                                      "https://[::1",
                                      "https://[::1]x"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_err(make(good[i], TEST_CERTIFICATE, ""), ERR_OK);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_err(make(bad[i], TEST_CERTIFICATE, ""), ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_anchors),
        cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
