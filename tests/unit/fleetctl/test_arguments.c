/*
 * The command line. What would break a user: a mistyped flag that is silently ignored, a value that
 * lands in another member, a required one that the server has to complain about.
 */
#include "test_support.h"

#include <stdio.h>
#include <unistd.h>

#include "arguments.h"
#include "common/json.h"

static char *no_environment(const char *name)
{
    (void)name;
    return NULL;
}

static char api_value[] = "https://from.environment:1";
static char empty_value[] = "";
static char *some_environment(const char *name)
{
    if (strcmp(name, "FLEETSEAL_API") == 0) {
        return api_value;
    }
    return strcmp(name, "FLEETSEAL_SERVER_CA") == 0 ? empty_value : NULL;
}

#define ARGC_MAX 16
static err_t parse(const char *line, struct arguments *a, struct fault *fault)
{
    static char words[1024];
    char *argv[ARGC_MAX] = {0};
    int argc = 0;
    (void)snprintf(words, sizeof words, "fleetctl %s", line);
    for (char *at = words; *at != '\0' && argc < ARGC_MAX;) {
        argv[argc++] = at;
        at += strcspn(at, " ");
        if (*at != '\0') {
            *at++ = '\0';
        }
    }
    return arguments_parse(argc, argv, no_environment, a, fault);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *field;
    } cases[] = {
        {"dance", "dance"},
        {"device dance", "dance"},
        {"device get", "UID"},
        {"device get 1 2", "UID"}, /* given twice */
        {"device list 1", "1"},
        {"device get 1 --colour red", "colour"},
        {"device get 1 --domain", "domain"},
        {"device list --limit many", "limit"},
        {"whitelist add 0011223344556677 --file /dev/null", "file"},
        {"device list --limit -1", "limit"},
        {"device list --timeout soon", "timeout"},
        {"domain create --name x", "account-type"},
        {"domain create --name x --name y --account-type developer", "name"},
        {"ca update 1 --automatic-renewal maybe", "automatic-renewal"},
        {"certificate renew", "UID"},
        {"certificate renew --file /nonexistent/list", "/nonexistent/list"},
        {"whitelist add --file /nonexistent/list", "/nonexistent/list"},
        {"login --key k", "secret-file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arguments a;
        struct fault fault = {0};
        assert_int_not_equal(parse(cases[i].line, &a, &fault), ERR_OK);
        assert_string_equal(fault.field, cases[i].field);
        assert_true(fault.text[0] != '\0');
        arguments_deinit(&a);
    }
}

static void assert_body(const char *line, const char *body)
{
    struct arguments a;
    struct fault fault = {0};
    assert_ok(parse(line, &a, &fault));
    CLEANUP_BUF struct buf text = BUF_INIT(4096);
    assert_ok(json_encode(a.body, &text));
    assert_span(buf_span(&text), body);
    arguments_deinit(&a);
}

static void test_bodies(void **state)
{
    (void)state;
    assert_body("device list", "{}");
    assert_body("device get 0011", "{\"RoTPublicUID\":\"0011\"}");
    assert_body("device list --state active --limit 10", "{\"State\":\"active\",\"Limit\":10}");
    assert_body("device list --state=active", "{\"State\":\"active\"}");
    assert_body("certificate renew a b,c --validity 90d",
                "{\"RoTPublicUIDs\":[\"a\",\"b\",\"c\"],\"Validity\":\"90d\"}");
    assert_body("whitelist add a,b",
                "{\"Devices\":[{\"RoTPublicUID\":\"a\"},{\"RoTPublicUID\":\"b\"}]}");
    assert_body(
        "domain create --name n --account-type developer --contact a@b --contact c@d:billing",
        "{\"Name\":\"n\",\"AccountType\":\"developer\",\"Contacts\":[{\"Email\":\"a@b\"},"
        "{\"Role\":\"billing\",\"Email\":\"c@d\"}]}");
    assert_body("ca create --name n --common-name cn --country CH --validity 10y "
                "--device-validity 365d --automatic-renewal on",
                "{\"Name\":\"n\",\"Subject\":{\"CommonName\":\"cn\",\"Country\":\"CH\"},"
                "\"Validity\":\"10y\",\"DeviceCertificateValidity\":\"365d\","
                "\"AutomaticRenewal\":true}");
    assert_body("webhook create --url u --event a --event b",
                "{\"URL\":\"u\",\"Events\":[\"a\",\"b\"]}");
}

static void test_settings(void **state)
{
    (void)state;
    struct arguments a;
    struct fault fault = {0};
    assert_ok(
        parse("--json --api https://x:1 device list --domain d --wait --timeout 7", &a, &fault));
    assert_string_equal(a.command->verb, "list");
    assert_string_equal(a.api, "https://x:1");
    assert_string_equal(a.domain, "d");
    assert_true(a.json && a.wait);
    assert_int_equal(a.timeout_s, 7);
    arguments_deinit(&a);

    char program[] = "fleetctl";
    char group[] = "device";
    char verb[] = "list";
    char flag[] = "--api=https://flag:1";
    char *argv[] = {program, group, verb, flag, NULL};
    assert_ok(arguments_parse(3, argv, some_environment, &a, &fault));
    assert_string_equal(a.api, api_value);
    assert_null(a.server_ca); /* empty is not set */
    arguments_deinit(&a);
    assert_ok(arguments_parse(4, argv, some_environment, &a, &fault));
    assert_string_equal(a.api, "https://flag:1");
    arguments_deinit(&a);
}

static void test_files(void **state)
{
    (void)state;
    char path[] = "/tmp/fleetctl-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    static const char lines[] = "0011\r\n\n0022\n";
    assert_int_equal(write(fd, lines, sizeof lines - 1), sizeof lines - 1);
    char line[128];
    (void)snprintf(line, sizeof line, "certificate renew --file %s", path);
    assert_body(line, "{\"RoTPublicUIDs\":[\"0011\",\"0022\"]}");
    (void)snprintf(line, sizeof line, "whitelist add --file %s", path);
    struct arguments a;
    struct fault fault = {0};
    assert_ok(parse(line, &a, &fault));
    assert_true(a.csv_given);
    assert_span(buf_span(&a.csv), lines);
    arguments_deinit(&a);
    CLEANUP_BUF struct buf first = BUF_INIT(131072);
    assert_ok(arguments_read_line(path, &first, &fault));
    assert_span(buf_span(&first), "0011");
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
}

static void test_help(void **state)
{
    (void)state;
    for (size_t i = 0; i < commands_count; i++) {
        CLEANUP_BUF struct buf text = BUF_INIT(65536);
        arguments_help(&commands[i], NULL, &text);
        assert_true(buf_ok(&text));
        assert_non_null(strstr(buf_cstr(&text), commands[i].summary));
        for (size_t o = 0; o < COMMAND_OPTIONS_MAX && commands[i].options[o].metavar; o++) {
            assert_non_null(strstr(buf_cstr(&text), commands[i].options[o].help));
        }
    }
    struct arguments a;
    struct fault fault = {0};
    static const char *const lines[] = {"", "--help", "device --help", "device get --help",
                                        "device"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_ok(parse(lines[i], &a, &fault));
        assert_true(a.help);
        arguments_deinit(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_settings), cmocka_unit_test(test_files),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
