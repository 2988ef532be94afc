#include "common/config.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config_common.h"
#include "common/version.h"
#include "test_support.h"

enum mode { MODE_SLOW, MODE_FAST };
static const struct codec_name mode_names[] = {{MODE_SLOW, "slow"}, {MODE_FAST, "fast"}, {0, NULL}};

struct config {
    struct common_config common;
    char title[8];
    char path[256];
    bool on;
    int64_t count;
    int64_t wait_ms;
    int64_t room;
    enum mode mode;
    struct config_secret token;
};

static const struct config_row rows[] = {
    CONFIG_COMMON_ROWS(struct config, common),
    CONFIG_STRING(struct config, title, "title", "none", "A title."),
    CONFIG_PATH(struct config, path, "file.path", "", "A file."),
    CONFIG_BOOL(struct config, on, "on", "false", "A switch."),
    CONFIG_INT(struct config, count, "count", "3", -1, 10, "things", "A count."),
    CONFIG_DURATION(struct config, wait_ms, "wait", "10s", 1000, 86400000, "A wait."),
    CONFIG_SIZE(struct config, room, "room", "64KiB", 0, 1 << 20, "Some room."),
    CONFIG_ENUM(struct config, mode, "mode", "fast", mode_names, "A mode."),
    CONFIG_SECRET(struct config, token, "token_file", "", "A token."),
};

static void check(const void *config, struct config_problems *problems)
{
    const struct config *c = config;
    if (c->on && c->count == 0) {
        config_problem(problems, "count", "must not be 0 while on = true");
    }
}

static const struct config_spec spec = {
    .program = "tester",
    .summary = "tests the configuration",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .size = sizeof(struct config),
    .check = check,
    .versions = version_libraries,
};

/* One run of config_load: settings file (or NULL), environment and arguments. */
struct run {
    char folder[64];
    char file[96];
    char secret[96];
    struct config config;
    struct buf text;
};

static void write_file(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    assert_int_equal(close(fd), 0);
}

static int setup(void **state)
{
    struct run *r = xcalloc(1, sizeof *r);
    (void)snprintf(r->folder, sizeof r->folder, "/tmp/test_config.XXXXXX");
    if (mkdtemp(r->folder) == NULL) {
        return -1;
    }
    (void)snprintf(r->file, sizeof r->file, "%s/conf", r->folder);
    (void)snprintf(r->secret, sizeof r->secret, "%s/secret", r->folder);
    r->text = BUF_INIT(1 << 20);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct run *r = *state;
    (void)unlink(r->file);
    (void)unlink(r->secret);
    (void)rmdir(r->folder);
    buf_deinit(&r->text);
    free(r);
    return 0;
}

#define NO_ENV    ((const char *[]){NULL})
#define ARGS(...) ((const char *[]){"tester", __VA_ARGS__, NULL})

static enum config_outcome load(struct run *r, const char *const *env, const char *const *argv)
{
    int argc = 0;
    while (argv[argc] != NULL) {
        argc++;
    }
    buf_clear(&r->text);
    return config_load(&spec, argc, (char *const *)argv, (char *const *)env, &r->config, &r->text);
}

static enum config_outcome load_file(struct run *r, const char *content)
{
    write_file(r->file, content, strlen(content));
    return load(r, NO_ENV, ARGS("--set", "instance=a-0", "--config", r->file));
}

static void assert_told(struct run *r, const char *text)
{
    if (strstr(buf_cstr(&r->text), text) == NULL) {
        print_error("not told: %s\nbut: %s\n", text, buf_cstr(&r->text));
        fail();
    }
}

static void test_defaults(void **state)
{
    struct run *r = *state;
    assert_int_equal(load(r, NO_ENV, ARGS("--set", "instance=a-0")), CONFIG_RUN);
    assert_int_equal(r->text.len, 0);
    assert_string_equal(r->config.common.instance, "a-0");
    assert_string_equal(r->config.common.kafka_brokers, "127.0.0.1:9092");
    assert_int_equal(r->config.common.log_level, LOG_LEVEL_INFO);
    assert_string_equal(r->config.title, "none");
    assert_string_equal(r->config.path, "");
    assert_int_equal(r->config.count, 3);
    assert_int_equal(r->config.wait_ms, 10000);
    assert_int_equal(r->config.room, 65536);
    assert_int_equal(r->config.mode, MODE_FAST);
    assert_int_equal(r->config.token.len, 0);
}

static void test_the_later_source_wins(void **state)
{
    struct run *r = *state;
    const char *content = "# comment\n\n instance = file \r\ntitle=file\ncount = 5\nwait = 2m\n";
    write_file(r->file, content, strlen(content));
    const char *env[] = {"FLEETSEAL_TITLE=env", "FLEETSEAL_COUNT=7", "FLEETSEAL_KAFKA=ours:1",
                         "X=1", NULL};
    assert_int_equal(load(r, env, ARGS("--set=title=set", "--config", r->file)), CONFIG_RUN);
    assert_string_equal(r->config.title, "set");
    assert_int_equal(r->config.count, 7);
    assert_int_equal(r->config.wait_ms, 120000);
    assert_string_equal(r->config.common.instance, "file");
}

static void test_all_problems_are_told_at_once(void **state)
{
    struct run *r = *state;
    const char *content = "kafka.broker = a:1\ncount = eleven\nnonsense\ntitle = a\ntitle = b\n";
    write_file(r->file, content, strlen(content));
    const char *env[] = {"FLEETSEAL_WAIT=10", NULL};
    assert_int_equal(load(r, env, ARGS("--config", r->file, "--set", "mode=warp", "--fast")),
                     CONFIG_FAIL);
    assert_told(r, "conf:1: unknown key kafka.broker; did you mean kafka.brokers?\n");
    assert_told(r, "conf:2: count = \"eleven\": expected a whole number of things from -1 to 10\n");
    assert_told(r, "conf:3: expected a line `key = value`\n");
    assert_told(r, "conf:5: title is set a second time, first at ");
    assert_told(r, "FLEETSEAL_WAIT: wait = \"10\": expected a duration (ms, s, m, h, d) from 1s to "
                   "1d\n");
    assert_told(r, "--set: mode = \"warp\": expected one of slow, fast\n");
    assert_told(r, "--fast: unknown option");
    assert_told(r,
                "instance: is required: set it in the file, as FLEETSEAL_INSTANCE, or by --set\n");
    assert_told(r, "tester: 8 problems in the configuration\n");
    assert_string_equal(r->config.title, "");
}

static void test_values_that_are_refused(void **state)
{
    struct run *r = *state;
    static const char *const bad[] = {
        "instance=",
        "instance=a b",
        "title=12345678",
        "title=\xff",
        "file.path=/nowhere/at/all",
        "on=yes",
        "on=",
        "count=11",
        "count=-2",
        "count=1x",
        "count=",
        "count=99999999999999999999",
        "wait=999ms",
        "wait=2d",
        "wait=1 s",
        "wait=s",
        "wait=9223372036854775807d",
        "room=1024",
        "room=2MiB",
        "room=1kib",
        "mode=FAST",
        "kafka.brokers=a:1,",
        "kafka.brokers=a:0",
        "kafka.brokers=a:65536",
        "kafka.brokers=a",
        "kafka.brokers=:1",
        "kafka.brokers=a:-1",
        "redis.address=::1:6379",
        "redis.address=a:1,b:2",
        "redis.address=[::1]6379",
        "redis.address=u@h:1",
        "metrics.address=1",
        "token_file=/nowhere/at/all",
        "unheard.of=1",
        "=1",
        "count",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        enum config_outcome outcome =
            load(r, NO_ENV, ARGS("--set", "instance=a-0", "--set", bad[i]));
        if (outcome != CONFIG_FAIL) {
            print_error("accepted: %s\n", bad[i]);
        }
        assert_int_equal(outcome, CONFIG_FAIL);
        assert_told(r, "1 problem in");
    }
}

static void test_values_that_are_accepted(void **state)
{
    struct run *r = *state;
    assert_int_equal(load_file(r, "title = a # b\non = true\ncount = -1\nwait = 1d\nroom = 1MiB\n"
                                  "mode = slow\nkafka.brokers = a:1,[::1]:2,c.example:65535\n"
                                  "metrics.address = [::]:0\nredis.user =\nlog.level = debug"),
                     CONFIG_RUN);
    assert_string_equal(r->config.title, "a # b");
    assert_true(r->config.on);
    assert_int_equal(r->config.count, -1);
    assert_int_equal(r->config.wait_ms, 86400000);
    assert_int_equal(r->config.room, 1 << 20);
    assert_int_equal(r->config.mode, MODE_SLOW);
    assert_int_equal(r->config.common.log_level, LOG_LEVEL_DEBUG);
}

static void test_rules_across_settings(void **state)
{
    struct run *r = *state;
    assert_int_equal(load_file(r, "on = true\ncount = 0\n"), CONFIG_FAIL);
    assert_told(r, "conf:2: count = \"0\": must not be 0 while on = true\n");
}

static void test_secrets_are_read_and_never_shown(void **state)
{
    struct run *r = *state;
    char setting[128];
    (void)snprintf(setting, sizeof setting, "token_file=%s", r->secret);
    const char **args = ARGS("--set", "instance=a-0", "--set", setting);
    write_file(r->secret, "hunter2\r\n\n", 10);
    assert_int_equal(load(r, NO_ENV, args), CONFIG_RUN);
    assert_int_equal(r->config.token.len, 7);
    assert_string_equal((const char *)r->config.token.value, "hunter2");
    assert_int_equal(
        load(r, NO_ENV, ARGS("--set", "instance=a-0", "--set", setting, "--print-config")),
        CONFIG_EXIT);
    assert_null(strstr(buf_cstr(&r->text), "hunter2"));
    assert_told(r, r->secret);
    char big[CONFIG_SECRET_MAX + 1];
    memset(big, 'x', sizeof big);
    write_file(r->secret, big, CONFIG_SECRET_MAX);
    assert_int_equal(load(r, NO_ENV, args), CONFIG_RUN);
    assert_int_equal(r->config.token.len, CONFIG_SECRET_MAX);
    write_file(r->secret, big, sizeof big);
    assert_int_equal(load(r, NO_ENV, args), CONFIG_FAIL);
    write_file(r->secret, "\n", 1);
    assert_int_equal(load(r, NO_ENV, args), CONFIG_FAIL);
}

static void test_print_config_can_be_read_back(void **state)
{
    struct run *r = *state;
    assert_int_equal(
        load(r, NO_ENV, ARGS("--set", "instance=a-0", "--set", "wait=3h", "--print-config")),
        CONFIG_EXIT);
    assert_told(r, "# --set\nwait = 3h\n");
    assert_told(r, "# default\ncount = 3\n");
    write_file(r->file, r->text.ptr, r->text.len);
    assert_int_equal(load(r, NO_ENV, ARGS("--config", r->file)), CONFIG_RUN);
    assert_int_equal(r->config.wait_ms, 10800000);
}

static void test_help_names_everything(void **state)
{
    struct run *r = *state;
    static const char *const flags[] = {"--help", "--help-markdown"};
    for (size_t f = 0; f < 2; f++) {
        assert_int_equal(load(r, NO_ENV, ARGS(flags[f])), CONFIG_EXIT);
        for (size_t i = 0; i < spec.count; i++) {
            assert_told(r, rows[i].key);
            assert_told(r, rows[i].help);
        }
    }
    assert_int_equal(load(r, NO_ENV, ARGS("--help")), CONFIG_EXIT);
    assert_told(r, "kafka.brokers  (FLEETSEAL_KAFKA_BROKERS)");
    assert_int_equal(load(r, NO_ENV, ARGS("--version")), CONFIG_EXIT);
    assert_told(r, "tester " FLEETSEAL_VERSION "\n  OpenSSL 3");
    assert_told(r, "librdkafka");
}

static void test_check_config_asks_the_program_to_go_on(void **state)
{
    struct run *r = *state;
    assert_int_equal(load(r, NO_ENV, ARGS("--check-config", "--set", "instance=a-0")),
                     CONFIG_CHECK);
    assert_int_equal(load(r, NO_ENV, ARGS("--check-config")), CONFIG_FAIL);
}

static void test_broken_command_lines(void **state)
{
    struct run *r = *state;
    assert_int_equal(load(r, NO_ENV, ARGS("--set", "instance=a", "--config", "/nowhere/at/all")),
                     CONFIG_FAIL);
    assert_told(r, "/nowhere/at/all: cannot be read: No such file or directory\n");
    assert_int_equal(load(r, NO_ENV, ARGS("--set", "instance=a", "--set")), CONFIG_FAIL);
    assert_told(r, "--set: needs a value\n");
    assert_int_equal(load(r, NO_ENV, ARGS("--set", "instance=a", "extra")), CONFIG_FAIL);
    assert_told(r, "extra: unknown option");
    assert_int_equal(load(r, NO_ENV, ARGS("--config", r->folder, "--set", "instance=a")),
                     CONFIG_FAIL);
    write_file(r->file, "title = a\0b\n", 12);
    assert_int_equal(load(r, NO_ENV, ARGS("--config", r->file, "--set", "instance=a")),
                     CONFIG_FAIL);
}

static void test_split_host_port(void **state)
{
    (void)state;
    char host[8];
    uint16_t port = 0;
    assert_ok(config_split_host_port("h:0", host, sizeof host, &port));
    assert_string_equal(host, "h");
    assert_ok(config_split_host_port("[::1]:80", host, sizeof host, &port));
    assert_string_equal(host, "::1");
    assert_int_equal(port, 80);
    assert_err(config_split_host_port("12345678:80", host, sizeof host, &port), ERR_TOO_LARGE);
    assert_err(config_split_host_port("[::1", host, sizeof host, &port), ERR_INVALID);
    assert_err(config_split_host_port("h:80x", host, sizeof host, &port), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_later_source_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_problems_are_told_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_that_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_that_are_accepted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rules_across_settings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_secrets_are_read_and_never_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_print_config_can_be_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_help_names_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check_config_asks_the_program_to_go_on, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_broken_command_lines, setup, teardown),
        cmocka_unit_test(test_split_host_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
