/* An endpoint that does not play by the rules costs nobody else's time and no memory: a name whose
 * look-up hangs, an answer that never ends. The resolver is played by this file, the endpoints by a
 * thread of it. */
#include "transfer.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "test_support.h"

#define PATIENCE_MS 20000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool released;
static unsigned resolving;

/* Every name hangs until it is released. The declaration's names are reserved ones. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    (void)node;
    (void)service;
    (void)hints;
    (void)ret;
    (void)pthread_mutex_lock(&lock);
    resolving++;
    while (!released) {
        (void)pthread_cond_wait(&changed, &lock);
    }
    resolving--;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
    return EAI_FAIL;
}

static void release_resolver(void)
{
    (void)pthread_mutex_lock(&lock);
    released = true;
    (void)pthread_cond_broadcast(&changed);
    while (resolving > 0) {
        (void)pthread_cond_wait(&changed, &lock);
    }
    (void)pthread_mutex_unlock(&lock);
}

static struct {
    unsigned count;
    struct transfer_result last;
} ended;

static void done(void *ctx, void *token, const struct transfer_result *result)
{
    (void)ctx;
    (void)token;
    ended.count++;
    ended.last = *result;
}

static struct transfers *begin(long timeout_ms)
{
    struct transfers *t = NULL;
    memset(&ended, 0, sizeof ended);
    assert_ok(transfers_new(&(struct transfers_options){.allow_private = true,
                                                        .allow_http = true,
                                                        .connect_timeout_ms = timeout_ms,
                                                        .timeout_ms = timeout_ms,
                                                        .connections_kept = 4,
                                                        .done = done},
                            &t));
    return t;
}

static void post(struct transfers *t, const char *url)
{
    struct buf body = BUF_INIT(64);
    (void)buf_append_str(&body, "{}");
    assert_ok(transfers_start(
        t, &(struct transfer_request){
               .url = url, .id = "id", .timestamp_s = 1, .signature = "v1,x", .body = &body}));
}

static void until_ended(struct transfers *t)
{
    int64_t until_ms = clock_mono_ms(&clock_system) + PATIENCE_MS;
    while (ended.count == 0) {
        assert_true(clock_mono_ms(&clock_system) < until_ms);
        transfers_run(t, 20);
    }
}

static void a_hanging_look_up_ends_in_time(void **state)
{
    (void)state;
    CLEANUP(transfers_free) struct transfers *t = begin(200);
    post(t, "http://hangs.example/");
    until_ended(t); /* hangs for ever where the end waits for the resolver */
    assert_int_equal(ended.last.status, 0);
    /* so does stopping with one under way */
    post(t, "http://hangs.example/");
    transfers_run(t, 0);
    transfers_free(TAKE(t));
    (void)pthread_mutex_lock(&lock);
    assert_true(resolving > 0);
    (void)pthread_mutex_unlock(&lock);
    release_resolver();
}

/* ---- an endpoint ---- */

struct endless {
    int listener;
    const char *head, *more; /* sent once, then again and again */
    atomic_size_t sent;
};

static void *serve(void *arg)
{
    struct endless *e = arg;
    int fd = accept(e->listener, NULL, NULL);
    char request[4096];
    ssize_t n = recv(fd, request, sizeof request, 0);
    const char *text = e->head;
    while (n > 0) {
        n = send(fd, text, strlen(text), MSG_NOSIGNAL);
        text = e->more;
        atomic_fetch_add(&e->sent, n > 0 ? (size_t)n : 0);
    }
    (void)close(fd);
    return NULL;
}

static void answer_endlessly(struct endless *e)
{
    pthread_t thread;
    char url[64];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    e->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(e->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(e->listener, 1), 0);
    assert_int_equal(getsockname(e->listener, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(pthread_create(&thread, NULL, serve, e), 0);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/", ntohs(address.sin_port));
    CLEANUP(transfers_free) struct transfers *t = begin(PATIENCE_MS);
    post(t, url);
    until_ended(t);
    transfers_free(TAKE(t));
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)close(e->listener);
}

static void headers_without_end_are_cut(void **state)
{
    (void)state;
    struct endless e = {.head = "HTTP/1.1 200 OK\r\n",
                        .more = "X-More: 0123456789012345678901234567890123456789\r\n"};
    answer_endlessly(&e);
    assert_int_equal(ended.last.status, 0);
    assert_non_null(strstr(ended.last.error, "headers"));
    assert_true(ended.last.duration_ms < PATIENCE_MS / 2);
}

static void interim_answers_without_end_are_cut(void **state)
{
    (void)state;
    struct endless e = {.head = "HTTP/1.1 102 Processing\r\nX-More: 012345678901234567890\r\n\r\n"};
    e.more = e.head;
    answer_endlessly(&e);
    assert_int_equal(ended.last.status, 0);
    assert_true(ended.last.duration_ms < PATIENCE_MS / 2);
}

static void a_body_without_end_is_an_answer(void **state)
{
    (void)state;
    struct endless e = {.head = "HTTP/1.1 200 OK\r\n\r\n", .more = "0123456789abcdef"};
    answer_endlessly(&e);
    assert_int_equal(ended.last.status, 200);
    assert_true(ended.last.duration_ms < PATIENCE_MS / 2);
}

static int begin_group(void **state)
{
    (void)state;
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -1;
}

static int end_group(void **state)
{
    (void)state;
    curl_global_cleanup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_without_end_are_cut),
        cmocka_unit_test(interim_answers_without_end_are_cut),
        cmocka_unit_test(a_body_without_end_is_an_answer),
        cmocka_unit_test(a_hanging_look_up_ends_in_time),
    };
    return cmocka_run_group_tests(tests, begin_group, end_group);
}
