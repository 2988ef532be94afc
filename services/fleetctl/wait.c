#include "wait.h"

#include <stdio.h>
#include <time.h>

#include "common/clock.h"
#include "common/json.h"
#include "poll.h"

#define REQUEST_FIRST_MS 250
#define REQUEST_MOST_MS  2000
#define ORDER_FIRST_MS   1000
#define ORDER_MOST_MS    10000 /* each look reads all devices of the order */

/* What is waited for. */
struct awaited {
    const char *path;
    const cJSON *body;
    bool (*is_over)(const struct client_answer *answer);
};

static void pause_ms(int64_t ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

static err_t renew_token(struct run *r, struct client_answer *answer, struct fault *fault)
{
    client_answer_deinit(answer);
    err_t err = run_renew_token(r, answer, fault);
    if (err == ERR_OK) {
        /* said already; this run has its token all the same */
        err_t saved = run_save_session(r);
        (void)saved;
    }
    return err;
}

/* One question. Sets *ret_next, and `fault` where `answer` does not tell what is wrong. */
static err_t ask(struct run *r, const struct awaited *what, struct poll *p,
                 struct client_answer *answer, struct fault *fault, enum poll_next *ret_next)
{
    client_answer_deinit(answer);
    err_t err = run_ask(r, what->path, what->body, NULL, answer, fault);
    *ret_next = poll_judge(p, err, run_can_renew_token(r));
    if (*ret_next != POLL_RENEW) {
        return err;
    }
    err = renew_token(r, answer, fault);
    if (err == ERR_OK) {
        return ask(r, what, p, answer, fault, ret_next); /* once: renewed is noted */
    }
    p->renewed = false;
    *ret_next = poll_judge(p, err, false);
    return err;
}

/* Asks until it is over. ERR_TIMEOUT: it was not in time; the status of `answer` is that of the
 * last word, 0: there was none. What went wrong is printed. */
static err_t poll_until_over(struct run *r, const struct awaited *what, struct poll *p,
                             struct client_answer *answer)
{
    for (;;) {
        struct fault fault = {0};
        enum poll_next next = POLL_END;
        err_t err = ask(r, what, p, answer, &fault, &next);
        if (next == POLL_LOOK && what->is_over(answer)) {
            return ERR_OK;
        }
        int64_t left_ms = r->deadline_ms - clock_mono_ms(&clock_system);
        int64_t wait_ms =
            next == POLL_END ? -1 : poll_take_pause(p, left_ms, answer->retry_after_s);
        if (wait_ms < 0) {
            err = err == ERR_OK ? ERR_OK : run_explain(r, err, answer, &fault);
            return next == POLL_END ? err : ERR_TIMEOUT;
        }
        pause_ms(wait_ms);
    }
}

/* ---- a request ---- */

static bool is_known(const struct client_answer *answer)
{
    return answer->status != 202;
}

static void keep_secrets(const cJSON *first, cJSON *json)
{
    static const char *const secrets[] = {"APISecret", "Secret"};
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        if (run_text_of(first, secrets[i])[0] != '\0') {
            (void)cJSON_AddStringToObject(json, secrets[i], run_text_of(first, secrets[i]));
        }
    }
}

err_t wait_for_request(struct run *r, struct client_answer *answer)
{
    CLEANUP_JSON cJSON *first = TAKE(answer->json);
    CLEANUP_JSON cJSON *body = cJSON_CreateObject();
    const char *uid = run_text_of(first, "RequestUID");
    (void)cJSON_AddStringToObject(body, "RequestUID", uid);
    const struct awaited what = {"/v1/request/get", body, is_known};
    struct poll p = {.pause_ms = REQUEST_FIRST_MS, .most_ms = REQUEST_MOST_MS};
    pause_ms(REQUEST_FIRST_MS);
    err_t err = poll_until_over(r, &what, &p, answer);
    if (run_text_of(first, "Message")[0] != '\0') {
        (void)fprintf(stderr, "fleetctl: %s\n", run_text_of(first, "Message"));
    }
    if (err == ERR_OK) {
        keep_secrets(first, answer->json);
    } else if (err == ERR_TIMEOUT) {
        (void)fprintf(stderr, "fleetctl: not known yet; ask later: fleetctl request get %s\n", uid);
    } else {
        (void)fprintf(stderr, "fleetctl: the request was fleetctl request get %s\n", uid);
    }
    return err;
}

/* ---- an order ---- */

/* Devices of the order that are still under way. */
static int64_t under_way(const cJSON *order)
{
    const cJSON *progress = cJSON_GetObjectItemCaseSensitive(order, "Progress");
    return run_integer_of(progress, "Queued") + run_integer_of(progress, "Issued");
}

static bool nothing_under_way(const struct client_answer *answer)
{
    return under_way(answer->json) == 0;
}

static bool all_installed(const cJSON *order)
{
    const cJSON *progress = cJSON_GetObjectItemCaseSensitive(order, "Progress");
    return run_integer_of(progress, "Installed") == run_integer_of(order, "Total");
}

err_t wait_for_order(struct run *r, const char *order_uid)
{
    CLEANUP(client_answer_deinit) struct client_answer answer = {0};
    CLEANUP_JSON cJSON *body = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(body, "OrderUID", order_uid);
    if (r->a->domain != NULL) {
        (void)cJSON_AddStringToObject(body, "DomainUID", r->a->domain);
    }
    const struct awaited what = {"/v1/ztp/order/get", body, nothing_under_way};
    struct poll p = {.pause_ms = ORDER_FIRST_MS, .most_ms = ORDER_MOST_MS};
    (void)fprintf(stderr, "fleetctl: order %s is placed; waiting for its devices\n", order_uid);
    err_t err = poll_until_over(r, &what, &p, &answer);
    if (err == ERR_OK) {
        run_show_answer(r, answer.json);
        return all_installed(answer.json) ? ERR_OK : ERR_CONFLICT;
    }
    if (client_status_error(answer.status) == ERR_OK) {
        (void)fprintf(stderr, "fleetctl: %lld devices are still under way\n",
                      (long long)under_way(answer.json));
    }
    (void)fprintf(stderr,
                  "fleetctl: the order stands, do not order again; ask later: fleetctl order get "
                  "%s\n",
                  order_uid);
    return err;
}
