/* What devices get to know their door by: a file that cannot serve is refused before the door
 * opens, since every device would keep it. */
#include "server_ca.h"

#include <stdio.h>
#include <unistd.h>

#include "common/buf.h"
#include "proto/device_protocol.h"
#include "test_certificate.h"
#include "test_support.h"

static char path[64];

static void write_file(const char *text, size_t times)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    for (size_t i = 0; i < times; i++) {
        assert_true(fputs(text, file) >= 0);
    }
    assert_int_equal(fclose(file), 0);
}

static void accept_file(const char *text, size_t times)
{
    char *read = NULL;
    write_file(text, times);
    assert_ok(server_ca_read(path, &read, NULL));
    assert_int_equal(strlen(read), strlen(text) * times);
    free(read);
}

static void refuse_file(const char *text, size_t times)
{
    char *read = NULL;
    struct fault fault = {0};
    write_file(text, times);
    assert_err(server_ca_read(path, &read, &fault), ERR_INVALID);
    assert_string_equal(fault.field, "device.server_ca");
    assert_null(read);
}

static void files(void **state)
{
    (void)state;
    accept_file(TEST_CERTIFICATE, 1);
    accept_file("# who this is\n" TEST_CERTIFICATE, 3);
    accept_file(TEST_CERTIFICATE, DEVICE_SERVER_CA_MAX / (sizeof TEST_CERTIFICATE - 1));
    refuse_file("", 1);
    refuse_file("no PEM at all\n", 1);
    refuse_file(TEST_CERTIFICATE_DAMAGED, 1);
    refuse_file(TEST_CERTIFICATE TEST_CERTIFICATE_DAMAGED, 1);
    refuse_file(TEST_CERTIFICATE, DEVICE_SERVER_CA_MAX / (sizeof TEST_CERTIFICATE - 1) + 1);
}

static void no_file(void **state)
{
    (void)state;
    char *read = NULL;
    struct fault fault = {0};
    assert_ok(server_ca_read("", &read, &fault));
    assert_string_equal(read, "");
    free(read);
    read = NULL;
    assert_int_equal(unlink(path), 0);
    assert_err(server_ca_read(path, &read, &fault), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(no_file),
    };
    (void)snprintf(path, sizeof path, "test-server-ca.%ld.pem", (long)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    return failed;
}
