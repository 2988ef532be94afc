/* The Redis wrapper against a server that answers whatever the test says: broken connections,
 * refusals, and pipelines in which some of it goes wrong. */
#include "common/redis.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <hiredis/read.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test_support.h"

#define SEEN_MAX 64

/* Compared by address: what the canned server does instead of an answer. */
static const char CLOSE[] = "close"; /* hangs up */
static const char SILENCE[] = "silence";

/* Answers the n-th command it ever gets with answers[n] (a raw reply, or one of the above). Each
 * connection is served to its end before the next is taken. */
struct server {
    const char *const *answers;
    size_t answers_count;
    int listener;
    uint16_t port;
    pthread_t thread;
    atomic_int connections;
    size_t commands;
    char seen[SEEN_MAX][160]; /* the commands, their words joined by spaces */
};

static void note(struct server *s, const redisReply *command)
{
    size_t at = 0;
    char *line = s->seen[s->commands];
    for (size_t i = 0; i < command->elements && at < sizeof s->seen[0] - 1; i++) {
        at += (size_t)snprintf(line + at, sizeof s->seen[0] - at, "%s%s", i > 0 ? " " : "",
                               command->element[i]->str);
    }
}

/* False: hang up. */
static bool answer(struct server *s, int fd, redisReader *reader)
{
    for (;;) {
        void *command = NULL;
        if (redisReaderGetReply(reader, &command) != REDIS_OK || command == NULL) {
            return command == NULL && reader->err == 0;
        }
        assert_true(s->commands < s->answers_count && s->commands < SEEN_MAX);
        note(s, command);
        freeReplyObject(command);
        const char *text = s->answers[s->commands++];
        if (text == CLOSE) {
            return false;
        }
        size_t len = text == SILENCE ? 0 : strlen(text);
        if (write(fd, text, len) != (ssize_t)len) {
            return false;
        }
    }
}

static void serve_connection(struct server *s, int fd)
{
    redisReader *reader = redisReaderCreate();
    char bytes[4096];
    ssize_t n = 1;
    while (n > 0) {
        n = read(fd, bytes, sizeof bytes);
        if (n > 0 &&
            (redisReaderFeed(reader, bytes, (size_t)n) != REDIS_OK || !answer(s, fd, reader))) {
            break;
        }
    }
    redisReaderFree(reader);
    (void)close(fd);
}

static void *run_server(void *arg)
{
    struct server *s = arg;
    for (;;) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) { /* shut down: the test is over */
            return NULL;
        }
        atomic_fetch_add(&s->connections, 1);
        serve_connection(s, fd);
    }
}

static void server_start(struct server *s, const char *const *answers, size_t count)
{
    *s = (struct server){.answers = answers, .answers_count = count};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(s->listener, 16), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &len), 0);
    s->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, run_server, s), 0);
}

static void server_stop(struct server *s)
{
    (void)shutdown(s->listener, SHUT_RDWR);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    (void)close(s->listener);
}

struct world {
    struct server server;
    struct clock_test clock;
    struct redis *redis;
};

#define WORLD(w, config, ...)                                                                      \
    static const char *const answers_[] = {__VA_ARGS__};                                           \
    struct world w;                                                                                \
    world_start(&w, &(config), answers_, sizeof answers_ / sizeof answers_[0])

static void world_start(struct world *w, const struct redis_config *config,
                        const char *const *answers, size_t count)
{
    server_start(&w->server, answers, count);
    clock_test_init(&w->clock, 0);
    struct redis_config c = *config;
    c.host = "127.0.0.1";
    c.port = w->server.port;
    c.clock = &w->clock.clock;
    c.command_timeout_ms = c.command_timeout_ms > 0 ? c.command_timeout_ms : 2000;
    w->redis = redis_new(&c);
}

static void world_end(struct world *w)
{
    redis_free(w->redis);
    server_stop(&w->server);
    assert_int_equal(w->server.commands, w->server.answers_count);
}

static const struct redis_config PLAIN = {.backoff_min_ms = 100, .backoff_max_ms = 1000};

static void append(struct redis *r, const char *name)
{
    struct span argv = span_str(name);
    assert_ok(redis_append(r, &argv, 1));
}

static void error_replies_have_their_class(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        err_t e;
    } CASES[] = {
        {"-LOADING Redis is loading the dataset in memory\r\n", ERR_UNAVAILABLE},
        {"-MASTERDOWN Link with MASTER is down\r\n", ERR_UNAVAILABLE},
        {"-OOM command not allowed when used memory > 'maxmemory'.\r\n", ERR_UNAVAILABLE},
        {"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", ERR_UNAVAILABLE},
        {"-CLUSTERDOWN Hash slot not served\r\n", ERR_UNAVAILABLE},
        {"-BUSY Redis is busy running a script.\r\n", ERR_UNAVAILABLE},
        {"-MISCONF Errors writing to the AOF file\r\n", ERR_UNAVAILABLE},
        {"-ERR max number of clients reached\r\n", ERR_UNAVAILABLE},
        {"-NOAUTH Authentication required.\r\n", ERR_FORBIDDEN},
        {"-NOPERM this user has no permissions\r\n", ERR_FORBIDDEN},
        {"-WRONGTYPE Operation against a key\r\n", ERR_INTERNAL},
        {"-ERR unknown command\r\n", ERR_INTERNAL},
        {"-LOADINGS is not LOADING\r\n", ERR_INTERNAL},
        {"-\r\n", ERR_INTERNAL},
    };
    const char *answers[sizeof CASES / sizeof CASES[0]];
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        answers[i] = CASES[i].reply;
    }
    struct world w;
    world_start(&w, &PLAIN, answers, sizeof answers / sizeof answers[0]);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        assert_err(redis_command_str(w.redis, NULL, "X", NULL), CASES[i].e);
        assert_memory_equal(redis_error_text(w.redis), CASES[i].reply + 1,
                            strlen(redis_error_text(w.redis)));
    }
    assert_int_equal(redis_generation(w.redis), 1); /* none of them costs the connection */
    world_end(&w);
}

static void replies_come_in_order_and_as_views(void **state)
{
    (void)state;
    WORLD(w, PLAIN, "+OK\r\n", ":-42\r\n", "$-1\r\n", "$4\r\na\0b!\r\n" /* cut at the NUL below */,
          "*4\r\n$1\r\nx\r\n:7\r\n-ERR inside\r\n*1\r\n$2\r\n12\r\n");
    append(w.redis, "A");
    append(w.redis, "B");
    append(w.redis, "C");
    assert_int_equal(redis_owed(w.redis), 3);
    struct redis_reply *reply[3] = {NULL};
    for (int i = 0; i < 3; i++) {
        assert_ok(redis_collect(w.redis, &reply[i]));
    }
    int64_t number = 0;
    assert_int_equal(redis_reply_kind(reply[0]), REDIS_KIND_STRING);
    assert_span(redis_reply_span(reply[0]), "OK");
    assert_false(redis_reply_integer(reply[0], &number));
    assert_int_equal(redis_reply_kind(reply[1]), REDIS_KIND_INTEGER);
    assert_true(redis_reply_integer(reply[1], &number));
    assert_int_equal(number, -42);
    assert_null(redis_reply_span(reply[1]).ptr);
    assert_int_equal(redis_reply_kind(reply[2]), REDIS_KIND_NIL);
    assert_int_equal(redis_reply_count(reply[2]), 0);
    for (int i = 0; i < 3; i++) {
        redis_reply_free(reply[i]);
    }
    /* the server's text ends at its NUL, so this reply never completes: the connection is given up
     */
    assert_err(redis_command_str(w.redis, NULL, "CUT", NULL), ERR_UNAVAILABLE);
    clock_test_advance(&w.clock, 1000);
    CLEANUP(redis_reply_free) struct redis_reply *array = NULL;
    assert_ok(redis_command_str(w.redis, &array, "D", NULL));
    assert_int_equal(redis_reply_count(array), 4);
    assert_int_equal(redis_reply_kind(redis_reply_at(array, 2)), REDIS_KIND_ERROR);
    assert_span(redis_reply_span(redis_reply_at(array, 2)), "ERR inside");
    const struct redis_reply *inner = redis_reply_at(redis_reply_at(array, 3), 0);
    assert_true(redis_reply_integer(inner, &number));
    assert_int_equal(number, 12);
    world_end(&w);
}

static void a_lost_connection_loses_what_is_owed_and_no_more(void **state)
{
    (void)state;
    WORLD(w, PLAIN, "+1\r\n", CLOSE, "+4\r\n", "+5\r\n");
    append(w.redis, "A");
    append(w.redis, "B");
    append(w.redis, "C"); /* never read by the server */
    struct redis_reply *reply = NULL;
    assert_ok(redis_collect(w.redis, &reply));
    redis_reply_free(reply);
    reply = NULL;
    assert_err(redis_collect(w.redis, &reply), ERR_UNAVAILABLE);
    assert_int_equal(redis_owed(w.redis), 1);

    /* in the back-off nothing connects, and nothing is owed for what was not queued */
    struct span argv = span_str("D");
    assert_err(redis_append(w.redis, &argv, 1), ERR_UNAVAILABLE);
    assert_int_equal(redis_owed(w.redis), 1);
    clock_test_advance(&w.clock, 1000);
    append(w.redis, "D"); /* behind the lost one */
    assert_int_equal(redis_generation(w.redis), 2);
    assert_err(redis_collect(w.redis, &reply), ERR_UNAVAILABLE);
    assert_null(reply);
    assert_ok(redis_collect(w.redis, &reply));
    assert_span(redis_reply_span(reply), "4");
    redis_reply_free(reply);
    assert_ok(redis_command_str(w.redis, NULL, "E", NULL));
    world_end(&w);
}

static void silence_and_nonsense_drop_the_connection(void **state)
{
    (void)state;
    static const struct redis_config IMPATIENT = {
        .backoff_min_ms = 100, .backoff_max_ms = 1000, .command_timeout_ms = 100};
    WORLD(w, IMPATIENT, SILENCE, "?what\r\n", "+OK\r\n");
    assert_err(redis_command_str(w.redis, NULL, "A", NULL), ERR_UNAVAILABLE);
    assert_non_null(strstr(redis_error_text(w.redis), "no answer in time"));
    clock_test_advance(&w.clock, 1000);
    assert_err(redis_command_str(w.redis, NULL, "B", NULL), ERR_UNAVAILABLE);
    clock_test_advance(&w.clock, 1000);
    assert_ok(redis_command_str(w.redis, NULL, "C", NULL));
    assert_int_equal(redis_generation(w.redis), 3);
    world_end(&w);
}

/* A command that was given up must not be carried out later, behind the back of what was sent on
 * the next connection. */
static void what_was_given_up_is_not_sent_any_more(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int room = 4096; /* most of the command stays on the client's side */
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &room, sizeof room), 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    CLEANUP(redis_free)
    struct redis *r = redis_new(&(struct redis_config){
        .host = "127.0.0.1", .port = ntohs(address.sin_port), .command_timeout_ms = 100});
    size_t size = 8 << 20;
    CLEANUP_FREE uint8_t *bytes = xcalloc(size, 1);
    assert_err(redis_command(r, (struct span[]){span_str("UNLINK"), span_of(bytes, size)}, 2, NULL),
               ERR_UNAVAILABLE);

    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    size_t came = 0;
    ssize_t n = 0;
    while ((n = read(fd, bytes, size)) > 0) {
        came += (size_t)n;
    }
    assert_int_equal(n, -1);
    assert_int_equal(errno, ECONNRESET);
    assert_true(came < size);
    (void)close(fd);
    (void)close(listener);
}

static void nobody_listening_is_unavailable(void **state)
{
    (void)state;
    WORLD(w, PLAIN, "+OK\r\n");
    struct redis_config nobody = PLAIN;
    nobody.host = "127.0.0.1";
    nobody.port = 1;
    nobody.clock = &w.clock.clock;
    CLEANUP(redis_free) struct redis *r = redis_new(&nobody);
    for (int failures = 0; failures < 8; failures++) {
        assert_err(redis_connect(r), ERR_UNAVAILABLE);
        assert_non_null(strstr(redis_error_text(r), "127.0.0.1:1"));
        clock_test_advance(&w.clock, 1000); /* the longest wait there is */
    }
    assert_int_equal(redis_generation(r), 0);
    assert_ok(redis_command_str(w.redis, NULL, "A", NULL));
    world_end(&w);
}

static void the_greeting_authenticates_and_names(void **state)
{
    (void)state;
    static const struct redis_config USER = {
        .user = "door", .password = "geheim", .client_name = "door-0", .backoff_max_ms = 1000};
    WORLD(w, USER, "-WRONGPASS invalid username-password pair\r\n", "+OK\r\n",
          "-NOPERM no CLIENT for you\r\n", "+PONG\r\n");
    assert_err(redis_connect(w.redis), ERR_FORBIDDEN);
    assert_non_null(strstr(redis_error_text(w.redis), "WRONGPASS"));
    assert_null(strstr(redis_error_text(w.redis), "geheim"));
    assert_int_equal(redis_generation(w.redis), 0);
    clock_test_advance(&w.clock, 1000);
    assert_ok(redis_connect(w.redis)); /* without its name, which is a convenience */
    assert_ok(redis_command_str(w.redis, NULL, "PING", NULL));
    assert_string_equal(w.server.seen[1], "AUTH door geheim");
    assert_string_equal(w.server.seen[2], "CLIENT SETNAME door-0");
    world_end(&w);
}

static void a_demoted_master_is_left_when_nothing_is_owed(void **state)
{
    (void)state;
    WORLD(w, PLAIN, "-READONLY You can't write against a read only replica.\r\n", "+2\r\n",
          "+OK\r\n");
    append(w.redis, "A");
    append(w.redis, "B");
    struct redis_reply *reply = NULL;
    assert_err(redis_collect(w.redis, &reply), ERR_UNAVAILABLE);
    assert_ok(redis_collect(w.redis, &reply)); /* what was under way still comes */
    redis_reply_free(reply);
    assert_err(redis_command_str(w.redis, NULL, "C", NULL), ERR_UNAVAILABLE);
    clock_test_advance(&w.clock, 1000);
    assert_ok(redis_command_str(w.redis, NULL, "C", NULL));
    assert_int_equal(redis_generation(w.redis), 2);
    world_end(&w);
}

static void the_pipeline_is_bounded_and_can_be_abandoned(void **state)
{
    (void)state;
    static const struct redis_config SHORT = {
        .pipeline_max = 2, .backoff_min_ms = 100, .backoff_max_ms = 1000};
    WORLD(w, SHORT, "+1\r\n", "+2\r\n", "+4\r\n");
    append(w.redis, "A");
    append(w.redis, "B");
    struct span argv = span_str("C");
    assert_err(redis_append(w.redis, &argv, 1), ERR_BUSY);
    struct redis_reply *reply = NULL;
    assert_ok(redis_collect(w.redis, &reply));
    redis_reply_free(reply);
    redis_abandon(w.redis);
    assert_int_equal(redis_owed(w.redis), 0);
    clock_test_advance(&w.clock, 1000);
    assert_ok(redis_command_str(w.redis, NULL, "D", NULL));
    redis_abandon(w.redis); /* nothing owed: the connection stays */
    assert_int_equal(redis_generation(w.redis), 2);
    world_end(&w);
}

static struct redis_script first = REDIS_SCRIPT("return 1");
static struct redis_script second = REDIS_SCRIPT("return 2");

static void a_missing_script_is_reloaded_behind_what_is_owed(void **state)
{
    (void)state;
    WORLD(w, PLAIN, "$1\r\n1\r\n", "$1\r\n2\r\n",        /* SCRIPT LOAD at connect */
          "+A\r\n", "-NOSCRIPT No matching script.\r\n", /* A, first: gone meanwhile */
          "+B\r\n",                                      /* owed while the reload is queued */
          "$1\r\n1\r\n", "$1\r\n2\r\n",                  /* the reload */
          ":1\r\n", ":2\r\n");                           /* again, and one more */
    redis_register_script(w.redis, &first);
    redis_register_script(w.redis, &second);
    redis_register_script(w.redis, &first);
    struct span key = span_str("{k}");
    struct span arg = span_str("a");
    append(w.redis, "A");
    assert_ok(redis_append_script(w.redis, &first, &key, 1, &arg, 1));
    append(w.redis, "B");
    struct redis_reply *reply = NULL;
    assert_ok(redis_collect(w.redis, &reply));
    redis_reply_free(reply);
    reply = NULL;
    assert_err(redis_collect(w.redis, &reply), ERR_UNAVAILABLE);
    assert_true(redis_script_missing(w.redis));
    assert_ok(redis_append_script(w.redis, &first, &key, 1, &arg, 1)); /* B is still owed */
    assert_false(redis_script_missing(w.redis));
    assert_ok(redis_append_script(w.redis, &second, NULL, 0, NULL, 0));
    assert_int_equal(redis_owed(w.redis), 3);
    const char *expected[] = {"B", "1", "2"};
    for (int i = 0; i < 3; i++) {
        assert_ok(redis_collect(w.redis, &reply));
        int64_t number = 0;
        if (redis_reply_integer(reply, &number)) {
            assert_int_equal(number, expected[i][0] - '0');
        } else {
            assert_span(redis_reply_span(reply), expected[i]);
        }
        redis_reply_free(reply);
        reply = NULL;
    }
    assert_string_equal(w.server.seen[0], "SCRIPT LOAD return 1");
    assert_string_equal(w.server.seen[3],
                        "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 {k} a");
    assert_int_equal(redis_generation(w.redis), 1);
    world_end(&w);
}

static void eval_reloads_once_and_not_for_ever(void **state)
{
    (void)state;
    WORLD(w, PLAIN, "$1\r\n1\r\n", "-NOSCRIPT gone\r\n", "$1\r\n1\r\n", ":1\r\n", /* mends */
          "-NOSCRIPT gone\r\n", "-NOPERM no SCRIPT\r\n", "-NOSCRIPT gone\r\n");   /* does not */
    redis_register_script(w.redis, &first);
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    assert_ok(redis_eval(w.redis, &first, NULL, 0, NULL, 0, &reply));
    assert_int_equal(redis_reply_kind(reply), REDIS_KIND_INTEGER);
    assert_err(redis_eval(w.redis, &first, NULL, 0, NULL, 0, NULL), ERR_UNAVAILABLE);
    assert_true(redis_script_missing(w.redis));
    world_end(&w);
}

static void a_server_that_loads_its_data_is_not_connected(void **state)
{
    (void)state;
    WORLD(w, PLAIN, "-LOADING data\r\n", "$1\r\n1\r\n", "+OK\r\n");
    redis_register_script(w.redis, &first);
    assert_err(redis_connect(w.redis), ERR_UNAVAILABLE);
    assert_int_equal(redis_generation(w.redis), 0);
    clock_test_advance(&w.clock, 1000);
    assert_ok(redis_command_str(w.redis, NULL, "A", NULL));
    world_end(&w);
}

static void only_noeviction_is_accepted(void **state)
{
    (void)state;
    WORLD(w, PLAIN, "$39\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n\r\n",
          "$40\r\n# Memory\r\nmaxmemory_policy:allkeys-lru\r\n\r\n",
          "$43\r\n# Memory\r\nmaxmemory_policy:noeviction-not\r\n\r\n", "$3\r\nany\r\n",
          "-NOPERM no INFO\r\n");
    assert_ok(redis_check_noeviction(w.redis));
    assert_err(redis_check_noeviction(w.redis), ERR_CONFLICT);
    assert_non_null(strstr(redis_error_text(w.redis), "allkeys-lru"));
    assert_err(redis_check_noeviction(w.redis), ERR_CONFLICT);
    assert_err(redis_check_noeviction(w.redis), ERR_INTERNAL);
    assert_err(redis_check_noeviction(w.redis), ERR_FORBIDDEN);
    world_end(&w);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_replies_have_their_class),
        cmocka_unit_test(replies_come_in_order_and_as_views),
        cmocka_unit_test(a_lost_connection_loses_what_is_owed_and_no_more),
        cmocka_unit_test(silence_and_nonsense_drop_the_connection),
        cmocka_unit_test(what_was_given_up_is_not_sent_any_more),
        cmocka_unit_test(nobody_listening_is_unavailable),
        cmocka_unit_test(the_greeting_authenticates_and_names),
        cmocka_unit_test(a_demoted_master_is_left_when_nothing_is_owed),
        cmocka_unit_test(the_pipeline_is_bounded_and_can_be_abandoned),
        cmocka_unit_test(a_missing_script_is_reloaded_behind_what_is_owed),
        cmocka_unit_test(eval_reloads_once_and_not_for_ever),
        cmocka_unit_test(a_server_that_loads_its_data_is_not_connected),
        cmocka_unit_test(only_noeviction_is_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
