/*
 * Inside the processor: what its files share. One thread owns everything here (the processor's
 * own), except where a comment says otherwise.
 *
 * - processor.c: life (new, start, stop) and the loop
 * - processor_clients.c: the Kafka clients, the assignment
 * - processor_recovery.c: the one way a partition becomes live (stable offsets, end of the log,
 *   catch up, seek)
 * - processor_watch.c: a view that was lost, a recovery that is held back
 * - processor_resume.c: where the requests of a partition go on
 * - processor_round.c: decode, verify, load, decide, sign, finish
 * - processor_commit.c: the transaction, then view and replies
 * - processor_work.c: what an app sees of a request
 * - processor_guard.c: a request that kills its owner is put aside
 * - processor_metrics.c: what is counted
 */
#ifndef PROCESSOR_INTERNAL_H
#define PROCESSOR_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/arena.h"
#include "common/backoff.h"
#include "common/kafka_consumer.h"
#include "common/kafka_reader.h"
#include "common/kafka_txn.h"
#include "common/pool.h"
#include "common/processor.h"
#include "common/redis.h"

#define PROC_BATCH_DEFAULT   1000
#define PROC_BACKLOG_BATCHES 3 /* a partition is paused above this many batches waiting */
/* A partition is paused above its share of this, too, of what all of them hold in memory. */
#define PROC_BACKLOG_BYTES ((size_t)192 << 20)
#define PROC_POLL_MAX      1000 /* messages taken from the client at once */
#define PROC_TOPICS_MAX    32
#define PROC_APPLY_BYTES   ((size_t)4 << 20) /* of records in one view call */

/*
 * States of a partition. Only PART_LIVE decides; every other state leads back to it by
 * processor_recovery.c.
 */
enum part_state {
    PART_STABLE, /* assigned; waits until the group's committed offset has no transaction pending on
                    it */
    PART_CATCHING_UP, /* the view is brought to the end of the state partition */
    PART_LIVE,        /* view and log agree at `mark`; requests are decided */
    PART_BEHIND,      /* was live; the view showed another mark, or a view write was refused */
    PART_BROKEN, /* a record that this version must not skip; an alarm stands, an operator is needed
                  */
};

struct backlog {
    struct work **items; /* ring */
    unsigned head, len, capacity;
    size_t bytes; /* of the works in it, messages included */
};

struct part {
    int32_t number;
    enum part_state state;
    struct view_mark mark;  /* held mark: what the view must show; valid in PART_LIVE */
    struct backlog backlog; /* requests fetched, not yet taken into a round; owned */
    int64_t last_fetched;   /* offset of the newest request that came into the backlog */
    bool paused;            /* fetching is stopped because the backlog is long */
    unsigned suspicion;     /* crash guard: how often a round with the next requests never ended */
    int64_t suspect_end;    /* up to this offset */
    bool view_spoilt;       /* a record of the view is none of ours: it is dropped and rebuilt */
    bool noted;             /* Redis holds a note about the round in hand */
    int64_t next_offset; /* of the request after the last one of the round in hand; -1: none in this
                            round */
};

/* An entity of the round in hand. */
struct entity {
    int32_t partition;
    struct span record_key; /* in the round's arena */
    struct span view_key;   /* likewise */
    void *state;            /* app object, owned; NULL: absent */
    bool loaded;
    bool locked;  /* a work of this round changes it by a signature: nobody else in this round may
                     read it */
    bool dirty;   /* put or deleted in this round */
    bool deleted; /* dirty, and gone */
    struct span record; /* arena: the JSON of the newest put */
    int64_t input_offset;
    int64_t offset;      /* of its state record, from the delivery report */
    struct entity *next; /* chain of the hash bucket */
};

struct emit {
    const char *topic; /* arena */
    struct span partition_key;
    struct span record_key;
    struct span value;
    bool null_value;
    int32_t partition; /* -1: by partition_key */
    struct work_header *headers;
    unsigned header_count;
    struct emit *next;
};

struct reply {
    const char *request_id;
    const char *channel;
    struct span json;
};

struct work {
    struct processor *processor;
    struct kafka_message message; /* owned */
    struct work_source source;
    void *request; /* app object, owned */
    bool decoded;
    bool verified;
    bool will_sign;
    bool signing;
    bool poisoned; /* decode failed or the guard says it kills: straight to the dead letters */
    struct span need_keys[WORK_ENTITIES_MAX]; /* owned; they live across rounds */
    unsigned need_count;
    /* this round only; reset when a work returns to the backlog */
    struct entity *entities[WORK_ENTITIES_MAX];
    struct emit *emits, **emits_tail;
    struct reply reply;
    bool has_reply;
    bool dead;
    err_t dead_why;
    struct fault dead_fault;
};

/* processor_metrics.c; counting is allowed on any thread. */
struct processor_metrics {
    struct metric *requests, *rounds, *dead_letters, *recoveries, *records_read, *rebuilds,
        *replies_lost;
    struct metric *partitions_live, *partitions_assigned, *backlog, *held_back;
    struct metric_histogram *decide_seconds, *commit_seconds, *view_seconds;
    struct metrics *own; /* registry that stands in when the caller keeps none */
};
struct processor_metrics *processor_metrics_new(struct metrics *registry, const char *app);
void processor_metrics_free(struct processor_metrics *m);

#define ROUND_BUCKETS 4096
struct round {
    struct arena arena;
    struct work **works;
    unsigned count, capacity;
    struct entity **entities;
    unsigned entity_count, entity_capacity;
    struct entity *buckets[ROUND_BUCKETS];
    void **graves; /* app states replaced in this round, freed at its end */
    unsigned grave_count, grave_capacity;
};

struct recovery; /* processor_recovery.c */

struct processor {
    const struct processor_app *app;
    void *ctx;
    struct processor_options options;
    const struct clock *clock;
    char *instance, *brokers, *transactional_id, *dlq_topic;
    char run_id[17]; /* of this process, in the notes of the crash guard */

    pthread_t thread;
    bool started;
    _Atomic bool stopping;
    _Atomic int64_t stop_by_ms; /* mono; set before `stopping`: no call on Kafka may wait past it */
    _Atomic bool stopped;
    _Atomic bool broken;
    _Atomic int ready_parts, assigned_parts; /* for processor_ready, any thread */
    pthread_mutex_t live_lock;
    int32_t *live; /* guarded by live_lock: numbers of the live partitions, ascending */
    size_t live_count;
    struct processor_metrics *metrics; /* never NULL */

    struct redis *redis;
    struct redis *recovery_redis; /* its calls stay under way between steps */
    struct pool *pool;
    struct kafka_consumer *consumer;
    struct kafka_txn *txn;
    struct kafka_reader *reader;

    bool pending_ended; /* proc_end_pending has succeeded with this producer */
    struct part *parts; /* the assignment */
    unsigned part_count;
    unsigned first_part; /* whose turn it is to be served first */
    struct recovery *recovery;
    struct kafka_batch batch;
    struct round round;
    struct view_record *records; /* VIEW_WRITES_MAX, reused by every view write */
    struct {
        char *name;
        int32_t partitions;
    } topics[PROC_TOPICS_MAX]; /* that were asked for */
    unsigned topic_count;
    int32_t request_partitions; /* of the request topic; 0: not known yet */

    int64_t next_begin_ms;   /* mono: no transaction begins before, unless a batch is full */
    int64_t retry_at_ms;     /* mono: something was away; nothing is tried before */
    int64_t patrol_at_ms;    /* mono: the marks of live partitions are looked at then */
    int64_t tell_held_at_ms; /* mono: not told before that a recovery is held back */
    struct backoff back_off;
};

void proc_step(struct processor *p, const char *step);
int64_t proc_mono(const struct processor *p);
/* How long the next call may wait within a wait that ends at `deadline_ms` (mono): in slices, and
 * less when the processor is told to stop meanwhile. 0: give up. */
int proc_patience(const struct processor *p, int64_t deadline_ms);
struct part *proc_part(struct processor *p, int32_t number);
/* Reads the nonce of a state partition's first record. */
bool proc_log_id(struct span value, char out[VIEW_LOG_ID_MAX]);
/* Waits before the next try, longer each time; `what` and `e` are logged. */
void proc_back_off(struct processor *p, const char *what, err_t e);

/* processor_project.c */
struct projection {
    struct span key;
    struct span value; /* ptr NULL: a tombstone */
    int64_t offset;
    bool skip;    /* not the app's: the log id */
    err_t result; /* set */
};
/*
 * Projects up to VIEW_WRITES_MAX state records into p->records, on all workers, and lists those
 * that the view wants in `writes`. Returns n, or the number of the first record that could not be
 * read (its `result` says why).
 */
unsigned proc_project(struct processor *p, struct projection *items, unsigned n,
                      struct view_write *writes, unsigned *ret_written);

/* processor_clients.c */
/*
 * Fresh clients: the producer first claims the transactional id, which ends what a predecessor left
 * open, then the consumer joins. Any error: none is left; again after a pause.
 */
err_t proc_clients_make(struct processor *p) MUST_USE;
/* Without farewell; the assignment goes with them. */
void proc_clients_drop(struct processor *p);
/* Calls again while it takes longer, until the time is over or the processor is told to stop. */
typedef err_t proc_txn_call(struct kafka_txn *t, int timeout_ms);
err_t proc_txn_patiently(struct processor *p, proc_txn_call *call, int timeout_ms) MUST_USE;
/*
 * Once per producer, when there is an assignment and before anything is recovered or committed: a
 * transaction on the group's offsets that is aborted. The claim has ended the predecessor's
 * transaction, but a broker may have lost its end on the way to the offsets (KAFKA-20734). They
 * would stay pending, and the next commit of this producer would make them count, for requests
 * whose outcome is gone. ERR_BUSY: the group is being rebalanced, again after a poll; any other:
 * the clients must be rebuilt.
 */
err_t proc_end_pending(struct processor *p) MUST_USE;
void proc_drop_parts(struct processor *p); /* forget the assignment, with all that waits for it */

/* processor_work.c */
struct work *work_new(struct processor *p, struct kafka_message *m);
void work_free(struct work *w);
void work_reset(struct work *w); /* forget the round */
void backlog_push(struct backlog *b, struct work *w);
void backlog_push_front(struct backlog *b, struct work *w);
struct work *backlog_peek(const struct backlog *b);
struct work *backlog_at(const struct backlog *b, unsigned i); /* i < len; 0: the next one */
struct work *backlog_pop(struct backlog *b);
/* Above PROC_BACKLOG_BATCHES batches, or so many bytes. Once paused it stays long until it is well
 * below, so that it does not stop and start at each request. */
bool backlog_is_long(const struct backlog *b, bool paused, unsigned batch, size_t bytes);
void backlog_clear(struct backlog *b);
void backlog_deinit(struct backlog *b);
struct emit *work_new_emit(struct work *w);

/* processor_round.c */
/* Fills the round from the backlogs and brings it to the point where it can be committed. ERR_OK
 * with an empty round: nothing to do. Any error: the works are back in their backlogs. */
err_t round_decide(struct processor *p) MUST_USE;
void round_end(struct processor *p); /* frees everything the round still holds, works included */
void round_return_works(struct processor *p); /* works go back to the front of their backlogs */
struct entity *round_entity(struct processor *p, int32_t partition, struct span record_key,
                            bool create);

/* processor_commit.c */
/* ERR_OK: committed; view and replies followed as far as they could. Anything else: unknown, the
 * clients must be rebuilt. */
err_t round_commit(struct processor *p) MUST_USE;
/* Asked once per topic and process: the number never changes (common/partition.h). */
err_t proc_partitions(struct processor *p, const char *topic, int32_t *ret) MUST_USE;

/* processor_recovery.c */
/* Some bounded work for partitions that are not live. `may_wait_ms`: how long it may wait for the
 * log. */
void recovery_step(struct processor *p, int may_wait_ms);
bool recovery_needed(const struct processor *p);
void recovery_drop(struct processor *p); /* the assignment changed or the clients go: start over */

/* processor_watch.c */
/* Every second: a live partition whose view shows another mark than the one held (Redis was flushed
 * or failed over) falls behind, also when no request comes that would notice. */
void recovery_patrol(struct processor *p);
/* A partition that recovers has waited since `since_ms` (mono) for what an open transaction holds
 * back. Longer than any transaction lives by itself: told, again and again, for the operator. */
void held_back(struct processor *p, const char *topic, int32_t partition, int64_t since_ms);
void held_back_no_more(struct processor *p);

/* processor_resume.c */
/* Remembers the newest request that one of these state records came from. */
void resume_note(const struct kafka_message *messages, unsigned n, int64_t *last_input);
/* `committed`: in, what the group knows, or KAFKA_OFFSET_NONE; out, the offset to go on at.
 * `last_input`: of the state records when nothing is committed, -1 where there are none. */
err_t resume_offset(struct processor *p, int32_t partition, int64_t last_input,
                    int64_t *committed) MUST_USE;

/* processor_guard.c */
/* The request ended its owner too often: to the dead letters, untouched. */
bool guard_condemns(const struct part *part, const struct work *w);
/* Before anything is done with a request of the round: chooses the partitions it may take from
 * (`noted`) and its size. An error: Redis is away, no round. */
err_t guard_enter(struct processor *p, unsigned *ret_max) MUST_USE;
void guard_leave(struct processor *p); /* the round is committed */
void guard_undo(struct processor *p);  /* the round was given back, which is no attempt */
/* A partition was taken over, its requests go on at `committed`. */
err_t guard_suspect(struct processor *p, struct part *part, int64_t committed) MUST_USE;

#endif
