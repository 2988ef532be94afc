#include "common/lifecycle.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "test_support.h"

#define LONG_MS 30000

/* A child process lives through its lifecycle; it tells what happens, one letter each, through a
 * pipe, and may be held up by another. */
struct child {
    pid_t pid;
    int tells;
    int holds;
};

static int tell_fd;
static int hold_fd;

static void tell(char letter)
{
    ssize_t n = write(tell_fd, &letter, 1);
    (void)n;
}

static char names[] = {'1', '2', '3'};

static err_t step_tell(void *arg, int64_t limit_ms)
{
    if (limit_ms == 1000) {
        tell(*(const char *)arg);
    }
    return ERR_OK;
}

static err_t step_fail(void *arg, int64_t limit_ms)
{
    (void)limit_ms;
    tell(*(const char *)arg);
    return ERR_TIMEOUT;
}

/* Comes back only when the parent says so. */
static err_t step_hang(void *arg, int64_t limit_ms)
{
    (void)limit_ms;
    tell(*(const char *)arg);
    char byte = 0;
    ssize_t n = read(hold_fd, &byte, 1);
    (void)n;
    return ERR_OK;
}

static int live(int64_t stop_ms, err_t (*middle)(void *arg, int64_t limit_ms), err_t reason)
{
    log_init(&(struct log_options){
        .service = "t", .instance = "t", .level = LOG_LEVEL_FATAL, .fd = STDERR_FILENO});
    CLEANUP(lifecycle_free) struct lifecycle *l = NULL;
    if (lifecycle_new(stop_ms, &l) != ERR_OK) {
        return 99;
    }
    lifecycle_on_stop(l, "first", 1000, step_tell, &names[0]);
    lifecycle_on_stop(l, "second", 1000, middle, &names[1]);
    lifecycle_on_stop(l, "third", 1000, step_tell, &names[2]);
    tell(lifecycle_stopping(l) ? '?' : 'r');
    if (reason != ERR_OK) {
        lifecycle_stop(l, reason);
        lifecycle_stop(l, ERR_INVALID);
        tell(lifecycle_stopping(l) ? 's' : '?');
    }
    int status = lifecycle_run(l);
    tell(lifecycle_unfinished(l) ? 'u' : 'e');
    return status;
}

static struct child start(int64_t stop_ms, err_t (*middle)(void *arg, int64_t limit_ms),
                          err_t reason)
{
    int tells[2];
    int holds[2];
    assert_int_equal(pipe2(tells, O_CLOEXEC), 0);
    assert_int_equal(pipe2(holds, O_CLOEXEC), 0);
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        tell_fd = tells[1];
        hold_fd = holds[0];
        (void)close(holds[1]);
        _exit(live(stop_ms, middle, reason));
    }
    (void)close(tells[1]);
    (void)close(holds[0]);
    return (struct child){.pid = pid, .tells = tells[0], .holds = holds[1]};
}

static void expect(const struct child *c, const char *letters)
{
    for (; *letters != 0; letters++) {
        struct pollfd fd = {.fd = c->tells, .events = POLLIN};
        assert_int_equal(poll(&fd, 1, LONG_MS), 1);
        char letter = 0;
        assert_int_equal(read(c->tells, &letter, 1), 1);
        assert_int_equal(letter, *letters);
    }
}

static void expect_exit(const struct child *c, int status)
{
    char rest = 0;
    assert_int_equal(read(c->tells, &rest, 1), 0); /* told nothing more */
    int wait_status = 0;
    assert_int_equal(waitpid(c->pid, &wait_status, 0), c->pid);
    assert_true(WIFEXITED(wait_status));
    assert_int_equal(WEXITSTATUS(wait_status), status);
    (void)close(c->tells);
    (void)close(c->holds);
}

static void test_a_signal_runs_the_steps_in_order(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        struct child c = start(LONG_MS, step_tell, ERR_OK);
        expect(&c, "r");
        assert_int_equal(kill(c.pid, SIGPIPE), 0); /* ignored */
        assert_int_equal(kill(c.pid, signals[i]), 0);
        expect(&c, "123e");
        expect_exit(&c, 0);
    }
}

static void test_a_failed_step_does_not_stop_the_stop(void **state)
{
    (void)state;
    struct child c = start(LONG_MS, step_fail, ERR_OK);
    expect(&c, "r");
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    expect(&c, "123u");
    expect_exit(&c, 0);
}

static void test_a_second_signal_ends_at_once(void **state)
{
    (void)state;
    struct child c = start(LONG_MS, step_hang, ERR_OK);
    expect(&c, "r");
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    expect(&c, "12");
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    expect_exit(&c, 128 + SIGTERM);
}

static void test_the_watchdog_ends_what_hangs(void **state)
{
    (void)state;
    struct child c = start(50, step_hang, ERR_OK);
    expect(&c, "r");
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    expect(&c, "12");
    expect_exit(&c, 70);
}

static void test_a_stop_from_inside_keeps_its_reason(void **state)
{
    (void)state;
    struct child c = start(LONG_MS, step_tell, ERR_UNAVAILABLE);
    expect(&c, "rs123e");
    expect_exit(&c, 75);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_signal_runs_the_steps_in_order),
        cmocka_unit_test(test_a_failed_step_does_not_stop_the_stop),
        cmocka_unit_test(test_a_second_signal_ends_at_once),
        cmocka_unit_test(test_the_watchdog_ends_what_hangs),
        cmocka_unit_test(test_a_stop_from_inside_keeps_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
