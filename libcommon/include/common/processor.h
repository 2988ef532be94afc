/*
 * The processor: how an owner of aggregates works. It is a small Kafka Streams with Redis as its
 * state store: requests come from one topic, decisions become state records, events and requests to
 * other owners in ONE Kafka transaction together with the input offsets, and only then the view and
 * the replies follow. Every owner (registry, CA, device, order, ledger, delivery) is one `struct
 * processor` with an app: a table of functions that decode, verify, decide and sign.
 *
 * Order of one round, strictly serial on the processor's own thread:
 *   poll -> decode -> verify (workers) -> load from the view, with its mark -> decide -> sign
 * (workers) -> finish
 *   -> transaction {state, events, requests, offsets} -> commit -> view -> replies
 * A view whose mark is not the one held in memory decides nothing: the partition catches up from
 * the log first. A commit that is not a definite yes, a rebalance, a flush of Redis and a start all
 * take the same recovery path (processor_recovery.c). Exactly-once holds for everything the app
 * puts into the transaction; verify, decide, sign and finish may run again for a request whose
 * transaction did not commit, so they must have no effect outside their `struct work`.
 *
 * Threads: processor_new/start/stop on the main thread; decode, decide, finish, free_state on the
 * processor thread; verify and sign on worker threads, several at once, each with its own
 * `struct work`; project and view_key on any of them, several at once.
 */
#ifndef COMMON_PROCESSOR_H
#define COMMON_PROCESSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/metrics.h"
#include "common/view.h"

struct processor;
struct work;

/* ---- what a work (one request on its way through a round) shows to the app ---- */

/* The request as it came from Kafka. Spans are valid until the work ends. */
struct work_source {
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /* log append or producer time */
    struct span key;
    struct span value;
};

#define WORK_ENTITIES_MAX                                                                          \
    64 /* a chunk of whitelist entries with its domain and stored result fits */

const struct work_source *work_source(const struct work *w);
/* The app's own parsed request, set by decode, freed by app->free_request. */
void work_set_request(struct work *w, void *request);
void *work_request(const struct work *w);
/* Which partition this round's aggregate lives in (same number for request and state topic). */
int32_t work_partition(const struct work *w);
/*
 * decide: whether the request lies in the partition of the aggregate that `key` names. An owner
 * knows the aggregates of its own partitions only: in any other they would be unknown to it, and
 * what was decided long ago could be decided anew. ERR_INVALID with a fault for work_dead_letter.
 */
err_t work_check_place(const struct work *w, struct span key, struct fault *fault) MUST_USE;
/* prepare: the number of a topic's partitions; asked once, then known. Retry class errors. */
err_t work_partitions(const struct work *w, const char *topic, int32_t *ret) MUST_USE;

/*
 * decode only: names an entity (by its state record key) that deciding will read or write. Returns
 * its number (0, 1, ...) through `ret_index`. ERR_TOO_LARGE over WORK_ENTITIES_MAX. The same key
 * named twice gives the same number.
 */
err_t work_need(struct work *w, struct span record_key, unsigned *ret_index) MUST_USE;
/*
 * decode only: the outcome of this request depends on a signature made after its decision; a later
 * request in the batch that needs one of the same entities waits for the next round. Decisions that
 * do not sign leave it unset.
 */
void work_will_sign(struct work *w);

/*
 * decide/finish: the entity's present state: what an earlier request of this round made of it, else
 * what the view held. NULL when absent. It is the app's parsed object (app->load), owned by the
 * processor; the app may read it, and replaces it with work_put.
 */
const void *work_state(const struct work *w, unsigned index);

/*
 * decide/finish: the entity's new state. `state` is handed over (app->free_state); `record` is the
 * JSON value of its state record (copied). The processor projects the record for the view itself,
 * by the same function that a rebuild uses.
 */
void work_put(struct work *w, unsigned index, void *state, struct span record);
/* decide/finish: a tombstone for the entity. */
void work_delete(struct work *w, unsigned index);

struct work_header {
    const char *name;
    struct span value;
};
/*
 * decide/finish: a record for another topic in the same transaction: an event, a certificate, a
 * request to another owner. Everything is copied. `partition_key` chooses the partition by
 * partition_of over the topic's partition count; `record_key` may differ.
 */
void work_emit(struct work *w, const char *topic, struct span partition_key, struct span record_key,
               struct span value, const struct work_header *headers, unsigned header_count);
/*
 * decide/finish: the answer to whoever waits: stored as g:r:<request id> for 10 minutes and
 * published on `channel` ("" : only stored) after the commit. Copied. A later call replaces an
 * earlier one.
 */
void work_reply(struct work *w, const char *request_id, const char *channel, struct span json);
/* decide, before any work_put: the request goes to <request topic>.dlq with this reason; what it
 * emitted is dropped, its reply is sent. */
void work_dead_letter(struct work *w, err_t why, const struct fault *fault);
/* decide: ask for app->sign and app->finish (work_will_sign must have been said in decode). */
void work_sign(struct work *w);
/* verify/decide/sign may keep results in the app's request object; its error travels there too. */

/* ---- the app ---- */

struct processor_app {
    const char
        *name; /* "ca-signer.device": group id, log context, prefix of the transactional id */
    const char *request_topic; /* full names */
    const char *state_topic;
    char view_letter;

    /*
     * Parses a request and names its entities. ERR_OK, or any error: the record goes to the dead
     * letters with `fault` as the reason. Must bound everything it parses.
     */
    err_t (*decode)(void *ctx, struct work *w, struct fault *fault);
    /* Workers; optional. Checks proofs that need no state. The verdict belongs into the request
     * object. */
    void (*verify)(void *ctx, struct work *w);
    /*
     * Called once per round before the first decide, on the processor thread; optional. May read
     * snapshots of other views for the works of the round (one pipelined call instead of one per
     * decision), leaving them in the request objects. ERR_OK or a retry class error: the round is
     * given up and tried again after a pause.
     */
    err_t (*prepare)(void *ctx, struct work **works, unsigned n);
    /* The decision. Pure but for the work_* calls. `now_ms`: wall clock of the round. */
    void (*decide)(void *ctx, struct work *w, int64_t now_ms);
    /* Workers; only for works that called work_sign. */
    void (*sign)(void *ctx, struct work *w);
    /* After sign, in order: the second half of the decision (work_put, work_emit, work_reply). */
    void (*finish)(void *ctx, struct work *w, int64_t now_ms);
    void (*free_request)(void *request);

    /* Entity from a view payload: a new object. ERR_CORRUPT stops the partition with an alarm. */
    err_t (*load)(void *ctx, struct span record_key, struct span payload, void **ret_state);
    void (*free_state)(void *state);
    /* View key of a state record key (identity when NULL). */
    err_t (*view_key)(struct span record_key, struct buf *to);
    /*
     * State record -> view record; a pure function, used in the live round and in a rebuild alike.
     * An unknown major version is ERR_UNSUPPORTED: the partition stops with an alarm, it is never
     * skipped. `value` is never a tombstone.
     */
    err_t (*project)(void *ctx, struct span record_key, struct span value, struct view_record *to);
};

/* A stop for tests: called at named steps ("decoded", "loaded", "decided", "signed", "produced",
 * "offsets-sent", "committed", "view-written", "replied", and "catching-up" after each part of the
 * log on its way into the view); a test kills or stops the process there. */
typedef void (*processor_step_hook)(void *ctx, const char *step);

struct processor_options {
    const char *brokers;
    const char *instance; /* group.instance.id; transactional.id is "<app name>.<instance>" */
    const char *redis_address;
    const char *redis_user;
    const char *redis_password;
    const struct clock *clock; /* NULL: the system clock */
    unsigned batch_max;        /* requests per transaction; 0: 1000 */
    unsigned
        transaction_spacing_ms;      /* least time from a commit to the next begin unless a batch is
                                        full; longer (up to 200) when the round took longer; 0: 20 */
    unsigned transaction_timeout_ms; /* 0: KAFKA_TRANSACTION_MS */
    unsigned session_timeout_ms;     /* 0: 30000 */
    unsigned workers;                /* verify/sign threads; 0: number of cores */
    struct metrics *metrics;         /* NULL: none are kept; borrowed until processor_free */
    processor_step_hook hook;
    void *hook_ctx;
};

/* Makes the object and its threads' resources; touches neither Kafka nor Redis yet. `app` and `ctx`
 * are borrowed until free. */
err_t processor_new(const struct processor_app *app, void *ctx,
                    const struct processor_options *options, struct processor **ret) MUST_USE;
/* Starts the thread: it connects, joins the group and works until stopped; Kafka or Redis being
 * away is not an error. */
err_t processor_start(struct processor *p) MUST_USE;
/* True when every assigned partition is live (readiness). `reason` gets a word for people when not.
 */
bool processor_ready(struct processor *p, char *reason, size_t reason_size);
/*
 * The partitions that are live now, ascending, at most `max`; returns how many. For side jobs that
 * follow ownership (a scheduler scans the partitions it owns). A partition may move the moment
 * after: what is done for it must be safe to do twice. Any thread.
 */
size_t processor_live_partitions(struct processor *p, int32_t *ret, size_t max);
/* Asks the thread to finish the round in hand, close its clients and end; waits up to
 * `deadline_ms`. ERR_TIMEOUT when it did not. */
err_t processor_stop(struct processor *p, unsigned deadline_ms) MUST_USE;
/* The partition stopped with an alarm (unknown version, corrupt view payload): the process should
 * report itself unhealthy. */
bool processor_broken(struct processor *p);
void processor_free(struct processor *p);
CLEANUP_DEFINE(struct processor *, processor_free);

#endif
