#include "device/client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>

void device_client_deinit(struct device_client *c)
{
    SSL_SESSION_free(c->session);
    c->session = NULL;
}

/* 1: `fd` is ready; 0: the time is over; -1: woken. `fd` may be -1. */
static int wait_for(const struct device_client *c, int fd, short events, int64_t ms)
{
    struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = c->wake_fd, .events = POLLIN}};
    int n = poll(fds, 2, ms > INT_MAX ? INT_MAX : (int)ms);
    if (n < 0 && errno != EINTR) {
        return -1; /* only a lack of memory is left */
    }
    if (n > 0 && fds[1].revents != 0) {
        return -1;
    }
    return n > 0 && fds[0].revents != 0 ? 1 : 0;
}

bool device_client_sleep(const struct device_client *c, int64_t ms)
{
    const struct clock *clock = &clock_system;
    int64_t end = clock_mono_ms(clock) + ms;
    for (int64_t left = ms; left > 0; left = end - clock_mono_ms(clock)) {
        if (wait_for(c, -1, 0, left) < 0) {
            return true;
        }
    }
    return false;
}

/* Drives the connection to its answer. ERR_UNAVAILABLE: `fault`; ERR_STOPPING. */
static err_t exchange(const struct device_client *c, struct device_conn *conn, int64_t deadline_ms,
                      struct fault *fault)
{
    for (;;) {
        enum device_io io = device_conn_drive(conn);
        if (io == DEVICE_IO_ANSWER) {
            return ERR_OK;
        }
        if (io == DEVICE_IO_FAILED) {
            *fault = *device_conn_fault(conn);
            return ERR_UNAVAILABLE;
        }
        int64_t left = deadline_ms - clock_mono_ms(&clock_system);
        int64_t wait = device_conn_wait_ms(conn);
        if (left <= 0) {
            return fault_set(fault, ERR_UNAVAILABLE, "connection", "", "no answer in time");
        }
        short events = io == DEVICE_IO_READ ? POLLIN : POLLOUT;
        if (wait_for(c, device_conn_fd(conn), events, wait < left ? wait : left) < 0) {
            return ERR_STOPPING;
        }
    }
}

static void keep_session(struct device_client *c, const struct device_conn *conn)
{
    SSL_SESSION *session = device_conn_session(conn);
    if (session != NULL) {
        SSL_SESSION_free(c->session);
        c->session = session;
    }
}

/* One request and what came of it, told to the session. ERR_STOPPING only. */
static err_t send_request(struct device_client *c, struct device_session *s,
                          const struct device_http_request *request, struct device_conn **conn)
{
    struct fault why = {.code = ""};
    err_t err = ERR_OK;
    if (*conn == NULL) {
        err = device_conn_open(c->server, s->device, c->session, conn, &why);
    }
    if (err == ERR_OK) {
        err = device_conn_send(*conn, request);
    }
    if (err == ERR_OK) {
        err = exchange(c, *conn, s->deadline_mono_ms, &why);
    }
    if (err == ERR_STOPPING) {
        return err;
    }
    if (*conn != NULL) {
        keep_session(c, *conn);
    }
    bool reusable = false;
    if (err == ERR_OK) {
        device_session_answer(s, device_conn_answer(*conn));
        reusable = device_conn_reusable(*conn);
    } else {
        device_session_failed(s, &why, *conn != NULL && device_conn_was_stale(*conn));
    }
    if (!reusable) {
        device_conn_free(*conn);
        *conn = NULL;
    }
    return ERR_OK;
}

static err_t run(struct device_client *c, struct device_session *s)
{
    CLEANUP(device_conn_free) struct device_conn *conn = NULL;
    struct device_http_request request;
    int64_t wait_ms = 0;
    for (;;) {
        err_t err = ERR_OK;
        switch (device_session_step(s, &request, &wait_ms)) {
        case DEVICE_STEP_SEND:
            err = send_request(c, s, &request, &conn);
            break;
        case DEVICE_STEP_WAIT:
            err = device_client_sleep(c, wait_ms) ? ERR_STOPPING : ERR_OK;
            break;
        case DEVICE_STEP_DONE:
            return ERR_OK;
        }
        if (err != ERR_OK) {
            return err;
        }
    }
}

err_t device_client_visit(struct device_client *c, struct device *d,
                          struct device_outcome *ret_outcome, struct fault *fault)
{
    struct device_session s;
    err_t err = device_session_begin(&s, d, c->bound_ms, fault);
    if (err != ERR_OK) {
        return err;
    }
    err = run(c, &s);
    *ret_outcome = s.outcome;
    device_session_end(&s);
    return err == ERR_STOPPING ? fault_set(fault, err, "stopping", "", "told to stop") : err;
}
