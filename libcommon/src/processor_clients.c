/* The Kafka clients of a processor and the assignment that they bring. */
#include "processor_internal.h"

#include <stdio.h>

#include "common/log.h"

#define INIT_TIMEOUT_MS    30000
#define ABORT_TIMEOUT_MS   10000
#define OFFSETS_TIMEOUT_MS 2000
#define READ_AHEAD_KBYTES  98304 /* of state: more than a rebuild applies in a second */

/* ---- the assignment: called inside kafka_consumer_poll, so never while a transaction is open ----
 */

void proc_drop_parts(struct processor *p)
{
    recovery_drop(p);
    for (unsigned i = 0; i < p->part_count; i++) {
        backlog_deinit(&p->parts[i].backlog);
    }
    free(p->parts);
    p->parts = NULL;
    p->part_count = 0;
}

static void on_assigned(void *ctx, const struct kafka_partition *partitions, size_t count)
{
    struct processor *p = ctx;
    proc_drop_parts(p);
    p->parts = xcalloc(count, sizeof *p->parts);
    p->part_count = (unsigned)count;
    for (size_t i = 0; i < count; i++) {
        p->parts[i] = (struct part){.number = partitions[i].partition,
                                    .state = PART_STABLE,
                                    .mark = VIEW_MARK_NONE,
                                    .next_offset = -1};
    }
    log_info(NULL, "partitions_assigned", LOG_STR("app", p->app->name),
             LOG_UINT("partitions", count));
}

static void on_revoked(void *ctx, const struct kafka_partition *partitions, size_t count, bool lost)
{
    struct processor *p = ctx;
    (void)partitions;
    proc_drop_parts(p);
    log_info(NULL, "partitions_revoked", LOG_STR("app", p->app->name),
             LOG_UINT("partitions", count), LOG_BOOL("lost", lost));
}

/* ---- the clients ---- */

static void kafka_log(void *ctx, int level, const char *facility, const char *text)
{
    const struct processor *p = ctx;
    log_debug("kafka", NULL, "client_log", LOG_STR("app", p->app->name), LOG_INT("severity", level),
              LOG_STR("facility", facility), LOG_STR("text", text));
}

static struct kafka_config kafka_config_of(struct processor *p)
{
    return (struct kafka_config){
        .brokers = p->brokers, .client_id = p->transactional_id, .log = kafka_log, .log_ctx = p};
}

void proc_clients_drop(struct processor *p)
{
    proc_drop_parts(p);
    p->pending_ended = false;
    kafka_batch_clear(&p->batch);
    kafka_consumer_free(TAKE(p->consumer));
    kafka_txn_free(TAKE(p->txn));
    kafka_reader_free(TAKE(p->reader));
}

err_t proc_txn_patiently(struct processor *p, proc_txn_call *call, int timeout_ms)
{
    int64_t deadline = proc_mono(p) + timeout_ms;
    for (;;) {
        err_t e = call(p->txn, proc_patience(p, deadline));
        if (e != ERR_TIMEOUT || proc_patience(p, deadline) == 0) {
            return e;
        }
    }
}

err_t proc_clients_make(struct processor *p)
{
    struct kafka_config config = kafka_config_of(p);
    /* A recovery starts one partition after the other, and each waits for the request that is under
     * way: with 50 ms, a takeover of twelve empty ones took 0.9 s. */
    const struct kafka_reader_config reader = {.fetch_wait_max_ms = 5,
                                               .queued_max_kbytes = READ_AHEAD_KBYTES};
    struct kafka_txn_config txn = {.transactional_id = p->transactional_id,
                                   .transaction_timeout_ms =
                                       (int)p->options.transaction_timeout_ms};
    const char *topics[] = {p->app->request_topic};
    struct kafka_consumer_config consumer = {.group = p->app->name,
                                             .instance_id = p->instance,
                                             .topics = topics,
                                             .topics_count = 1,
                                             .reset = KAFKA_RESET_EARLIEST,
                                             .session_timeout_ms =
                                                 (int)p->options.session_timeout_ms,
                                             .handler = {p, on_assigned, on_revoked}};
    err_t e = kafka_txn_new(&config, &txn, NULL, &p->txn);
    if (e == ERR_OK) {
        e = proc_txn_patiently(p, kafka_txn_init, INIT_TIMEOUT_MS);
    }
    if (e == ERR_OK) {
        e = kafka_reader_new(&config, &reader, NULL, &p->reader);
    }
    if (e == ERR_OK) {
        e = kafka_consumer_new(&config, &consumer, NULL, &p->consumer);
    }
    if (e != ERR_OK) {
        proc_clients_drop(p);
    }
    return e;
}

err_t proc_end_pending(struct processor *p)
{
    /* Of a topic that the group never reads by its offsets: whatever becomes of it, it says
     * nothing. */
    const struct kafka_offset nothing = {p->app->state_topic, p->parts[0].number, 0};
    err_t e = kafka_txn_begin(p->txn);
    if (e != ERR_OK) {
        return e;
    }
    err_t sent = kafka_txn_send_offsets(p->txn, &nothing, 1, p->consumer, OFFSETS_TIMEOUT_MS);
    char why[128]; /* the abort may have an error of its own */
    (void)snprintf(why, sizeof why, "%s", sent != ERR_OK ? kafka_txn_error_text(p->txn) : "");
    e = proc_txn_patiently(p, kafka_txn_abort, ABORT_TIMEOUT_MS);
    if (e == ERR_OK && sent != ERR_OK) {
        log_warn(NULL, "offsets_not_taken", LOG_STR("app", p->app->name), LOG_ERR("error", sent),
                 LOG_STR("kafka", why));
        return ERR_BUSY;
    }
    p->pending_ended = e == ERR_OK;
    return e;
}
