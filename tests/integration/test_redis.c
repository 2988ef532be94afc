/* The Redis wrapper and the subscriber against a real server that is restarted, forgets its scripts
 * and refuses what an ACL forbids. */
#include "common/redis.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/redis_subscriber.h"
#include "servers.h"
#include "test_support.h"

#define WAIT_MS 20000

static char password[128];
static char host[64];

static struct redis_config config_of(const char *user)
{
    const char *address = servers_env("REDIS_ADDRESS");
    const char *colon = strrchr(address, ':');
    assert_non_null(colon);
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    CLEANUP_FREE char *path = xasprintf("%s/%s.password", servers_env("REDIS_DIR"), user);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(password, sizeof password, file));
    (void)fclose(file);
    password[strcspn(password, "\n")] = '\0';
    return (struct redis_config){
        .host = host,
        .port = (uint16_t)strtoul(colon + 1, NULL, 10),
        .user = user,
        .password = password,
        .client_name = "integration-test",
        .backoff_min_ms = 10,
        .backoff_max_ms = 50,
    };
}

static struct redis *connect_as(const char *user)
{
    struct redis_config config = config_of(user);
    struct redis *r = redis_new(&config);
    assert_ok(redis_connect(r));
    return r;
}

static void restart_server(void)
{
    servers_run("redis/stop", servers_env("REDIS_DIR"), NULL);
    servers_run("redis/start", servers_env("REDIS_DIR"), NULL);
}

/* Until a command works again; each refusal meanwhile must be one that says "later". */
static void await_service(struct redis *r)
{
    int64_t deadline = clock_mono_ms(&clock_system) + WAIT_MS;
    err_t e = ERR_UNAVAILABLE;
    while (e != ERR_OK) {
        e = redis_command_str(r, NULL, "PING", NULL);
        assert_true(e == ERR_OK || e == ERR_UNAVAILABLE);
        assert_true(clock_mono_ms(&clock_system) < deadline);
    }
}

static struct redis_script append_script =
    REDIS_SCRIPT("local n = 0 for i = 1, #ARGV do n = redis.call('RPUSH', KEYS[1], ARGV[i]) end "
                 "return {n, KEYS[1], {ARGV[1]}}");

static void scripts_survive_flush_and_restart(void **state)
{
    (void)state;
    CLEANUP(redis_free) struct redis *r = connect_as("admin");
    redis_register_script(r, &append_script);
    struct span key = span_str("{it}list");
    const struct span args[] = {span_of("a\0b", 3), span_str(""), span_str("c")};
    for (int round = 1; round <= 3; round++) {
        CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
        assert_ok(redis_command_str(r, NULL, "DEL", "{it}list", NULL));
        assert_ok(redis_eval(r, &append_script, &key, 1, args, 3, &reply));
        int64_t n = 0;
        assert_true(redis_reply_integer(redis_reply_at(reply, 0), &n));
        assert_int_equal(n, 3);
        struct span back = redis_reply_span(redis_reply_at(redis_reply_at(reply, 2), 0));
        assert_true(span_eq(back, span_of("a\0b", 3)));
        if (round == 1) {
            assert_ok(redis_command_str(r, NULL, "SCRIPT", "FLUSH", NULL));
        } else if (round == 2) {
            restart_server();
            await_service(r);
            assert_int_equal(redis_generation(r), 2);
        }
    }
}

static void a_deep_pipeline_comes_back_in_order(void **state)
{
    (void)state;
    enum { DEPTH = 5000 };
    CLEANUP(redis_free) struct redis *r = connect_as("admin");
    CLEANUP_FREE char *big = xcalloc(2001, 1);
    memset(big, 'x', 2000);
    for (int i = 0; i < DEPTH; i++) {
        (void)snprintf(big, 2000, "%d-", i);
        big[strlen(big)] = 'x';
        const struct span argv[] = {span_str("ECHO"), span_str(big)};
        assert_ok(redis_append(r, argv, 2));
        if (i == DEPTH / 2) {
            assert_ok(redis_flush(r));
        }
    }
    for (int i = 0; i < DEPTH; i++) {
        CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
        assert_ok(redis_collect(r, &reply));
        assert_int_equal(strtol((const char *)redis_reply_span(reply).ptr, NULL, 10), i);
    }
    assert_int_equal(redis_owed(r), 0);
}

static void a_service_user_is_held_to_its_rights(void **state)
{
    (void)state;
    CLEANUP(redis_free) struct redis *r = connect_as("heartbeat-ingest");
    assert_ok(redis_check_noeviction(r));
    assert_err(redis_command_str(r, NULL, "FLUSHALL", NULL), ERR_FORBIDDEN);
    assert_err(redis_command_str(r, NULL, "SET", "{d1}:x", "1", NULL), ERR_FORBIDDEN);
    assert_ok(redis_command_str(r, NULL, "SET", "g:it", "1", NULL));
    assert_err(redis_command_str(r, NULL, "LPUSH", "g:it", "1", NULL), ERR_INTERNAL);
    redis_register_script(r, &append_script);
    struct span key = span_str("g:it:list");
    struct span arg = span_str("1");
    assert_ok(redis_command_str(r, NULL, "DEL", "g:it:list", NULL));
    assert_ok(redis_eval(r, &append_script, &key, 1, &arg, 1, NULL));
}

static void a_wrong_password_is_forbidden(void **state)
{
    (void)state;
    struct redis_config config = config_of("admin");
    config.password = "wrong";
    CLEANUP(redis_free) struct redis *r = redis_new(&config);
    assert_err(redis_connect(r), ERR_FORBIDDEN);
    config.password = NULL;
    config.client_name = NULL;
    CLEANUP(redis_free) struct redis *nobody = redis_new(&config);
    assert_err(redis_command_str(nobody, NULL, "GET", "x", NULL), ERR_FORBIDDEN);
}

/* What a subscriber told, under a lock. */
struct ear {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int gaps, errors, messages;
    char last[64];
};

static void hear(struct ear *ear, int *count, struct span text)
{
    (void)pthread_mutex_lock(&ear->lock);
    ++*count;
    if (text.len > 0) {
        (void)snprintf(ear->last, sizeof ear->last, "%.*s", (int)text.len, (const char *)text.ptr);
    }
    (void)pthread_cond_signal(&ear->changed);
    (void)pthread_mutex_unlock(&ear->lock);
}

static void on_message(void *ctx, struct span channel, struct span payload)
{
    struct ear *ear = ctx;
    assert_memory_equal(channel.ptr, "g:c:it", 6);
    hear(ear, &ear->messages, payload);
}

static void on_gap(void *ctx)
{
    struct ear *ear = ctx;
    hear(ear, &ear->gaps, span_of(NULL, 0));
}

static void on_error(void *ctx, err_t e, const char *text)
{
    struct ear *ear = ctx;
    assert_true(e == ERR_UNAVAILABLE || e == ERR_FORBIDDEN);
    assert_true(strlen(text) > 0);
    hear(ear, &ear->errors, span_of(NULL, 0));
}

/* Waits until *count reaches `least`, and returns it. */
static int await_count(struct ear *ear, const int *count, int least)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MS / 1000;
    (void)pthread_mutex_lock(&ear->lock);
    int status = 0;
    while (*count < least && status == 0) {
        status = pthread_cond_timedwait(&ear->changed, &ear->lock, &until);
    }
    int reached = *count;
    (void)pthread_mutex_unlock(&ear->lock);
    assert_true(reached >= least);
    return reached;
}

static void assert_heard(struct ear *ear, const char *text)
{
    (void)pthread_mutex_lock(&ear->lock);
    assert_string_equal(ear->last, text);
    (void)pthread_mutex_unlock(&ear->lock);
}

static void a_subscriber_hears_everything_between_gaps(void **state)
{
    (void)state;
    struct ear ear = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct redis_config config = config_of("api-gateway");
    config.command_timeout_ms = 200; /* so that it has to ask the silent server several times */
    struct redis_subscriber_config sub = {.redis = &config,
                                          .channel = "g:c:it",
                                          .ctx = &ear,
                                          .on_message = on_message,
                                          .on_gap = on_gap,
                                          .on_error = on_error};
    CLEANUP(redis_subscriber_stop) struct redis_subscriber *plain = NULL;
    assert_ok(redis_subscriber_start(&sub, &plain));
    (void)await_count(&ear, &ear.gaps, 1);
    assert_true(redis_subscriber_is_up(plain));

    CLEANUP(redis_free) struct redis *r = connect_as("admin");
    for (int i = 0; i < 100; i++) {
        assert_ok(redis_command_str(r, NULL, "PUBLISH", "g:c:it", "hello", NULL));
    }
    (void)await_count(&ear, &ear.messages, 100);
    assert_heard(&ear, "hello");
    assert_int_equal(await_count(&ear, &ear.gaps, 1), 1);

    restart_server();
    (void)await_count(&ear, &ear.gaps,
                      2); /* and by then it is subscribed: the next one must come */
    (void)await_count(&ear, &ear.errors, 1);
    await_service(r);
    assert_ok(redis_command_str(r, NULL, "PUBLISH", "g:c:it", "again", NULL));
    (void)await_count(&ear, &ear.messages, 101);
    assert_heard(&ear, "again");
}

static void a_pattern_may_be_subscribed_and_a_refusal_is_told(void **state)
{
    (void)state;
    struct ear ear = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct ear refused = ear;
    struct redis_config config = config_of("api-gateway");
    struct redis_subscriber_config sub = {.redis = &config,
                                          .channel = "g:*",
                                          .pattern = true,
                                          .ctx = &ear,
                                          .on_message = on_message,
                                          .on_gap = on_gap,
                                          .on_error = on_error};
    CLEANUP(redis_subscriber_stop) struct redis_subscriber *pattern = NULL;
    assert_ok(redis_subscriber_start(&sub, &pattern));
    (void)await_count(&ear, &ear.gaps, 1);
    CLEANUP(redis_free) struct redis *r = connect_as("admin");
    assert_ok(redis_command_str(r, NULL, "PUBLISH", "g:c:it-2", "by pattern", NULL));
    (void)await_count(&ear, &ear.messages, 1);
    assert_heard(&ear, "by pattern");

    config = config_of("api-gateway");
    sub.channel = "elsewhere";
    sub.pattern = false;
    sub.ctx = &refused;
    CLEANUP(redis_subscriber_stop) struct redis_subscriber *denied = NULL;
    assert_ok(redis_subscriber_start(&sub, &denied));
    (void)await_count(&refused, &refused.errors, 2); /* and it goes on trying */
    assert_int_equal(await_count(&refused, &refused.gaps, 0), 0);
    assert_false(redis_subscriber_is_up(denied));
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scripts_survive_flush_and_restart),
        cmocka_unit_test(a_deep_pipeline_comes_back_in_order),
        cmocka_unit_test(a_service_user_is_held_to_its_rights),
        cmocka_unit_test(a_wrong_password_is_forbidden),
        cmocka_unit_test(a_subscriber_hears_everything_between_gaps),
        cmocka_unit_test(a_pattern_may_be_subscribed_and_a_refusal_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
