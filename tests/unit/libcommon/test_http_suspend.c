/*
 * Answers that come later: exactly one of resume, deadline and stop answers each request, in every
 * order in which they and the client's going away can meet.
 */
#include <poll.h>
#include <stdlib.h>

#include "http_rig.h"

#define HOST  "Host: test\r\n"
#define LATER "POST /v1/later HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi"
static struct http_response *accepted(struct http_request *req, void *ctx, enum http_wake why)
{
    struct rig *rig = ctx;
    /* The request is whole: a door reads here what it keeps with it. */
    assert_ptr_equal(http_request_user(req), rig);
    assert_span(http_request_body(req), "hi");
    (void)atomic_fetch_add(&rig->wakes[why], 1);
    struct http_response *response = http_response_new(202);
    http_response_set_retry_after(response, 3);
    return response;
}

static struct wire ask_later(struct rig *rig)
{
    struct wire wire = wire_open(rig->port);
    assert_true(wire_send(&wire, LATER));
    return wire;
}

static void resumes_from_another_thread(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    rig_start(rig);
    struct wire wire = ask_later(rig);
    struct http_ticket *ticket = rig_ticket(rig);
    assert_int_equal((int)rig_metric(rig, "http_requests_suspended{server=\"test\"}"), 1);
    struct buf body = BUF_INIT(64);
    assert_ok(buf_append_str(&body, "{\"done\":true}"));
    assert_ok(http_resume(ticket, http_response_json(200, &body)));
    wire_read(&wire, &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "{\"done\":true}");
    assert_int_equal((int)rig_metric(rig, "http_requests_suspended{server=\"test\"}"), 0);
    /* The connection goes on, also with an answer given inside the handler. */
    assert_true(wire_send(&wire, "GET /v1/at-once HTTP/1.1\r\n" HOST "\r\n"));
    wire_read(&wire, &r);
    assert_int_equal(r.status, 204);
    assert_true(wire_send(&wire, LATER));
    assert_ok(http_resume(rig_ticket(rig), http_response_fault(ERR_CONFLICT, NULL)));
    wire_read(&wire, &r);
    assert_int_equal(r.status, 409);
    assert_null(strstr(r.body, "00000000-0000"));
    wire_close(&wire);
}

static void the_deadline_answers(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    char value[16];
    rig->later_deadline_ms = 50;
    rig->on_wake = accepted;
    rig_start(rig);
    struct wire wire = ask_later(rig);
    wire_read(&wire, &r);
    assert_int_equal(r.status, 202);
    assert_string_equal(wire_header(&r, "Retry-After", value, sizeof value), "3");
    assert_int_equal(atomic_load(&rig->wakes[HTTP_WAKE_DEADLINE]), 1);
    /* Too late: nothing happens, nothing leaks. */
    assert_err(http_resume(rig_ticket(rig), http_response_new(200)), ERR_STALE);
    wire_close(&wire);
}

static void the_deadline_has_a_default_answer(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    rig->later_deadline_ms = 20;
    rig_start(rig);
    struct wire wire = ask_later(rig);
    http_ticket_free(rig_ticket(rig));
    wire_read(&wire, &r);
    assert_int_equal(r.status, 504);
    assert_non_null(strstr(r.body, "\"type\":\"timeout\""));
    wire_close(&wire);
}

/* Deadlines come in their own order, not in that of suspension. */
static void deadlines_are_kept_in_order(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    struct wire waiting[64];
    rig->on_wake = accepted;
    rig->options.threads = 1;
    rig_start(rig);
    for (int i = 0; i < 64; i++) {
        rig->later_deadline_ms = i % 7 == 0 ? 60000 : 40 + (uint32_t)(i * 37 % 64);
        waiting[i] = ask_later(rig);
        RIG_WAIT(rig, rig->ticket_count == (size_t)i + 1);
    }
    for (int i = 0; i < 64; i++) {
        if (i % 7 != 0) {
            wire_read(&waiting[i], &r);
            assert_int_equal(r.status, 202);
        }
    }
    assert_int_equal(atomic_load(&rig->wakes[HTTP_WAKE_DEADLINE]), 54);
    for (int i = 0; i < 64; i++) {
        const err_t e = http_resume(rig->tickets[i], http_response_new(204));
        assert_err(e, i % 7 == 0 ? ERR_OK : ERR_STALE);
        if (i % 7 == 0) {
            wire_read(&waiting[i], &r);
            assert_int_equal(r.status, 204);
        }
        wire_close(&waiting[i]);
    }
}

static void a_client_that_left_is_no_error(void **state)
{
    struct rig *rig = *state;
    rig_start(rig);
    for (int i = 0; i < 20; i++) {
        struct wire wire = ask_later(rig);
        struct http_ticket *ticket = rig_ticket(rig);
        const struct linger reset = {.l_onoff = 1, .l_linger = 0};
        if (i % 2 == 0) {
            (void)setsockopt(wire.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        wire_close(&wire);
        assert_ok(http_resume(ticket, http_response_new(200)));
        RIG_WAIT(rig, rig->ended == (unsigned)i + 1);
    }
}

/* ---- stopping ---- */

static void *stop_main(void *arg)
{
    struct rig *rig = arg;
    http_server_stop(rig->server, 60000);
    return NULL;
}

static void a_stop_waits_for_work_in_hand(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    char value[16];
    pthread_t stopper;
    rig->on_wake = accepted;
    rig_start(rig);
    struct wire idle = wire_open(rig->port);
    assert_true(wire_send(&idle, "GET /v1/at-once HTTP/1.1\r\n" HOST "\r\n"));
    wire_read(&idle, &r);
    struct wire wire = ask_later(rig);
    struct http_ticket *ticket = rig_ticket(rig);
    assert_int_equal(pthread_create(&stopper, NULL, stop_main, rig), 0);
    /* New connections are refused, and what still comes on open ones is turned away. */
    const struct sockaddr_in at = {.sin_family = AF_INET,
                                   .sin_port = htons(rig->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool refused = false;
    while (!refused) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        refused = connect(fd, (const struct sockaddr *)&at, sizeof at) != 0;
        (void)close(fd);
    }
    while (idle.fd >= 0) {
        assert_true(wire_send(&idle, "GET /v1/at-once HTTP/1.1\r\n" HOST "\r\n"));
        wire_read(&idle, &r);
        assert_string_equal(wire_header(&r, "Connection", value, sizeof value), "close");
        wire_close(&idle);
    }
    assert_ok(http_resume(ticket, http_response_new(200)));
    wire_read(&wire, &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(wire_header(&r, "Connection", value, sizeof value), "close");
    assert_true(wire_ended(&wire));
    assert_int_equal(pthread_join(stopper, NULL), 0);
    assert_int_equal(atomic_load(&rig->wakes[HTTP_WAKE_STOPPING]), 0);
    wire_close(&wire);
}

static void a_stop_wakes_what_waits_too_long(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    rig_start(rig);
    struct wire plain = ask_later(rig);
    RIG_WAIT(rig, rig->ticket_count == 1);
    rig->on_wake = accepted;
    struct wire wire = ask_later(rig);
    RIG_WAIT(rig, rig->ticket_count == 2);
    http_server_stop(rig->server, 10);
    wire_read(&plain, &r);
    assert_int_equal(r.status, 503);
    assert_non_null(strstr(r.body, "\"type\":\"stopping\""));
    wire_read(&wire, &r);
    assert_int_equal(r.status, 202);
    assert_int_equal(atomic_load(&rig->wakes[HTTP_WAKE_STOPPING]), 1);
    assert_err(http_resume(rig_ticket(rig), http_response_new(200)), ERR_STALE);
    /* A ticket may outlive the server. */
    struct http_ticket *last = rig_ticket(rig);
    http_server_free(rig->server);
    rig->server = NULL;
    assert_err(http_resume(last, http_response_new(200)), ERR_STALE);
    wire_close(&plain);
    wire_close(&wire);
}

static void a_quiet_server_stops_at_once(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    struct timespec before;
    struct timespec after;
    rig_start(rig);
    struct wire idle = wire_open(rig->port);
    assert_true(wire_send(&idle, "GET /v1/at-once HTTP/1.1\r\n" HOST "\r\n"));
    wire_read(&idle, &r);
    RIG_WAIT(rig, rig->ended == 1);
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    http_server_stop(rig->server, 60000);
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    assert_in_range(after.tv_sec - before.tv_sec, 0, 5);
    assert_true(wire_ended(&idle));
    wire_close(&idle);
}

/* ---- everything at once ---- */

#define CLIENTS  6
#define RESUMERS 2
#define ROUNDS   120

struct storm {
    struct rig *rig;
    _Atomic unsigned seeds;
    _Atomic unsigned resumed; /* http_resume said ERR_OK */
    _Atomic unsigned late;    /* ERR_STALE */
    _Atomic unsigned answers[600];
    _Atomic bool over;
};

/* Resumes, drops, or holds a ticket until it is too late. */
static void *resumer_main(void *arg)
{
    struct storm *storm = arg;
    struct rig *rig = storm->rig;
    unsigned seed = atomic_fetch_add(&storm->seeds, 1);
    while (!atomic_load(&storm->over)) {
        struct timespec until;
        struct http_ticket *ticket = NULL;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 5000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)pthread_mutex_lock(&rig->lock);
        if (rig->ticket_count == 0) {
            (void)pthread_cond_timedwait(&rig->changed, &rig->lock, &until);
        } else if (rand_r(&seed) % 4 != 0) {
            ticket = rig->tickets[--rig->ticket_count];
        }
        (void)pthread_mutex_unlock(&rig->lock);
        if (ticket != NULL && rand_r(&seed) % 5 == 0) {
            http_ticket_free(ticket);
        } else if (ticket != NULL) {
            const err_t e = http_resume(ticket, http_response_new(200));
            (void)atomic_fetch_add(e == ERR_OK ? &storm->resumed : &storm->late, 1);
        }
    }
    return NULL;
}

static void *client_main(void *arg)
{
    struct storm *storm = arg;
    unsigned seed = atomic_fetch_add(&storm->seeds, 1);
    struct wire_response *r = xcalloc(1, sizeof *r);
    for (int i = 0; i < ROUNDS; i++) {
        struct wire wire = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const struct sockaddr_in at = {.sin_family = AF_INET,
                                       .sin_port = htons(storm->rig->port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        if (connect(wire.fd, (const struct sockaddr *)&at, sizeof at) != 0) {
            (void)close(wire.fd);
            break; /* the server stops */
        }
        for (int n = 0; n < 4 && wire_send(&wire, LATER); n++) {
            if (rand_r(&seed) % 4 == 0) {
                break; /* leaves without reading */
            }
            wire_read(&wire, r);
            (void)atomic_fetch_add(&storm->answers[r->status], 1);
            if (r->status == 0) {
                break;
            }
        }
        wire_close(&wire);
    }
    free(r);
    return NULL;
}

static void storm_with_stop_after(struct rig *rig, unsigned requests)
{
    struct storm storm = {.rig = rig};
    pthread_t clients[CLIENTS];
    pthread_t resumers[RESUMERS];
    rig->on_wake = accepted;
    rig->later_deadline_ms = 2;
    rig->options.threads = 3;
    rig_start(rig);
    for (int i = 0; i < RESUMERS; i++) {
        assert_int_equal(pthread_create(&resumers[i], NULL, resumer_main, &storm), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_create(&clients[i], NULL, client_main, &storm), 0);
    }
    RIG_WAIT(rig, rig->ended >= requests);
    http_server_stop(rig->server, 1);
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_join(clients[i], NULL), 0);
    }
    atomic_store(&storm.over, true);
    for (int i = 0; i < RESUMERS; i++) {
        assert_int_equal(pthread_join(resumers[i], NULL), 0);
    }
    while (rig->ticket_count > 0) {
        assert_err(http_resume(rig->tickets[--rig->ticket_count], http_response_new(200)),
                   ERR_STALE);
    }
    /* Nobody was told twice: what clients read is at most what was given. */
    const unsigned woken =
        atomic_load(&rig->wakes[HTTP_WAKE_DEADLINE]) + atomic_load(&rig->wakes[HTTP_WAKE_STOPPING]);
    assert_in_range(atomic_load(&storm.answers[200]), 1, atomic_load(&storm.resumed));
    assert_in_range(atomic_load(&storm.answers[202]), 1, woken);
    unsigned known = atomic_load(&storm.answers[0]) + atomic_load(&storm.answers[200]) +
                     atomic_load(&storm.answers[202]) + atomic_load(&storm.answers[503]);
    for (int i = 0; i < 600; i++) {
        known -= atomic_load(&storm.answers[i]);
    }
    assert_int_equal(known, 0);
    assert_int_equal(atomic_load(&rig->users_alive), 0);
}

static void a_storm_leaves_nothing_behind(void **state)
{
    storm_with_stop_after(*state, 300);
}

static void a_stop_in_the_storm_leaves_nothing_behind(void **state)
{
    storm_with_stop_after(*state, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(resumes_from_another_thread),
        RIG_TEST(the_deadline_answers),
        RIG_TEST(the_deadline_has_a_default_answer),
        RIG_TEST(deadlines_are_kept_in_order),
        RIG_TEST(a_client_that_left_is_no_error),
        RIG_TEST(a_stop_waits_for_work_in_hand),
        RIG_TEST(a_stop_wakes_what_waits_too_long),
        RIG_TEST(a_quiet_server_stops_at_once),
        RIG_TEST(a_storm_leaves_nothing_behind),
        RIG_TEST(a_stop_in_the_storm_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
