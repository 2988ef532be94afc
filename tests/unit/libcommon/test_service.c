/* The frame of every service, lived through by child processes that tell what happens, one letter
 * each, through a pipe. */
#include "common/service.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test_support.h"

struct settings {
    struct common_config common;
};

static const struct config_row rows[] = {CONFIG_COMMON_ROWS(struct settings, common)};
static const struct config_spec config = {.program = "frame",
                                          .summary = "a test",
                                          .rows = rows,
                                          .count = sizeof rows / sizeof rows[0],
                                          .size = sizeof(struct settings)};

static int tell_fd;

static void tell(char letter)
{
    ssize_t n = write(tell_fd, &letter, 1);
    (void)n;
}

/* ---- the service ---- */

static err_t fails_to_start;
static err_t stops_itself;
static err_t refuses_settings;
static char app_object;

static err_t stop_part(void *arg, int64_t limit_ms)
{
    (void)limit_ms;
    tell(*(const char *)arg);
    return ERR_OK;
}

static err_t start(const struct service *service, void **ret_app, struct fault *fault)
{
    static char first[] = "1";
    static char second[] = "2";
    const struct settings *s = service->settings;
    tell(&s->common == service->common && service->metrics != NULL ? 's' : '?');
    *ret_app = &app_object;
    if (fails_to_start != ERR_OK) {
        return fault_set(fault, fails_to_start, "", "part", "does not start");
    }
    lifecycle_on_stop(service->lifecycle, "first", 1000, stop_part, first);
    lifecycle_on_stop(service->lifecycle, "second", 1000, stop_part, second);
    if (stops_itself != ERR_OK) {
        lifecycle_stop(service->lifecycle, stops_itself);
    }
    return ERR_OK;
}

static void free_app(void *app)
{
    tell(app == &app_object ? 'f' : '?');
}

static err_t check(const void *settings, struct fault *fault)
{
    (void)settings;
    tell('c');
    return refuses_settings == ERR_OK
               ? ERR_OK
               : fault_set(fault, refuses_settings, "", "some.key", "does not open");
}

/* ---- the parent ---- */

struct child {
    pid_t pid;
    int tells;
};

static struct child live(const char *metrics, const char *more)
{
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    struct child c = {.pid = fork(), .tells = pipe_fds[0]};
    assert_true(c.pid >= 0);
    if (c.pid > 0) {
        (void)close(pipe_fds[1]);
        return c;
    }
    static struct settings settings;
    tell_fd = pipe_fds[1];
    char address[64];
    char program[] = "frame";
    char set[] = "--set";
    char instance[] = "instance=frame-0";
    char *argv[] = {program, set, instance, set, address, NULL, NULL};
    (void)snprintf(address, sizeof address, "metrics.address=%s", metrics);
    argv[5] = more != NULL ? strdup(more) : NULL;
    if (freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL) {
        _exit(99);
    }
    const struct service_spec spec = {.config = &config,
                                      .settings = &settings,
                                      .common = &settings.common,
                                      .check = check,
                                      .start = start,
                                      .free = free_app};
    int status = service_main(&spec, more != NULL ? 6 : 5, argv);
    if (settings.common.instance[0] != '\0') {
        tell('!'); /* not wiped */
    }
    _exit(status);
}

static char next(const struct child *c)
{
    char letter = '-';
    ssize_t n = read(c->tells, &letter, 1);
    return (char)(n == 1 ? letter : '-');
}

/* What it tells until its end, and its exit status. */
static void assert_ends(struct child *c, const char *tells, int status)
{
    char told[16] = "";
    size_t n = 0;
    for (char letter; n + 1 < sizeof told && (letter = next(c)) != '-';) {
        told[n++] = letter;
    }
    int got = 0;
    assert_int_equal(waitpid(c->pid, &got, 0), c->pid);
    (void)close(c->tells);
    assert_string_equal(told, tells);
    assert_true(WIFEXITED(got));
    assert_int_equal(WEXITSTATUS(got), status);
}

static void reset(void)
{
    fails_to_start = stops_itself = refuses_settings = ERR_OK;
}

static void a_signal_ends_it_in_order(void **state)
{
    (void)state;
    reset();
    struct child c = live("127.0.0.1:0", NULL);
    assert_int_equal(next(&c), 's');
    assert_int_equal(kill(c.pid, SIGTERM), 0); /* it counts also before it is waited for */
    assert_ends(&c, "12f", 0);
}

static void a_reason_from_inside_becomes_the_status(void **state)
{
    (void)state;
    reset();
    stops_itself = ERR_CORRUPT;
    struct child c = live("127.0.0.1:0", NULL);
    assert_ends(&c, "s12f", err_exit_status(ERR_CORRUPT));
}

static void a_failed_start_frees_what_was_made(void **state)
{
    (void)state;
    reset();
    fails_to_start = ERR_INVALID;
    struct child c = live("127.0.0.1:0", NULL);
    assert_ends(&c, "sf", err_exit_status(ERR_INVALID));
}

static void nothing_starts_without_the_port_of_operations(void **state)
{
    (void)state;
    reset();
    char address[32];
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", ntohs(in.sin_port));
    struct child c = live(address, NULL);
    assert_ends(&c, "", err_exit_status(ERR_UNAVAILABLE));
    (void)close(fd);
}

static void settings_are_checked_without_a_start(void **state)
{
    (void)state;
    reset();
    struct child good = live("127.0.0.1:0", "--check-config");
    assert_ends(&good, "c", 0);
    refuses_settings = ERR_INVALID;
    struct child bad = live("127.0.0.1:0", "--check-config");
    assert_ends(&bad, "c", err_exit_status(ERR_INVALID));
    struct child unknown = live("127.0.0.1:0", "--no-such-option");
    assert_ends(&unknown, "", 64);
    struct child help = live("127.0.0.1:0", "--help");
    assert_ends(&help, "", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_ends_it_in_order),
        cmocka_unit_test(a_reason_from_inside_becomes_the_status),
        cmocka_unit_test(a_failed_start_frees_what_was_made),
        cmocka_unit_test(nothing_starts_without_the_port_of_operations),
        cmocka_unit_test(settings_are_checked_without_a_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
