/* What processor_recovery.c and processor_catch_up.c share: a recovery that is under way. */
#ifndef PROCESSOR_RECOVERY_H
#define PROCESSOR_RECOVERY_H

#include "processor_internal.h"

#define APPLY_DEPTH 8 /* apply calls under way, so that Redis and this thread work at once */
#define LOG_ID_KEY  "#log"

enum step {
    STEP_COMMITTED, /* 1 */
    STEP_WATERMARK, /* 2 */
    STEP_LOG_ID,    /* 3: the first record of the state partition names the log */
    STEP_DROPPED,   /* its view is being dropped */
    STEP_QUEUED,    /* its turn to be read has not come */
    STEP_READ,      /* 4 */
    STEP_DONE,
};

struct recovering {
    struct part *part;
    enum step step;
    int64_t committed; /* or KAFKA_OFFSET_NONE */
    int64_t high_watermark;
    char log[VIEW_LOG_ID_MAX];
    int64_t last_input;    /* newest request that a state record came from, when it is needed; -1 */
    struct view_mark mark; /* of the view, once the apply calls under way are answered */
    int64_t short_since_ms; /* mono: the log ends before high_watermark, since then; or -1 */
    int64_t since_ms;       /* mono: of its first step */
    int64_t ask_at_ms;      /* mono: its committed offset was held back, not asked for before */
    bool stuck;   /* nothing new to be expected soon: an offset held back, a log without its id */
    bool anew;    /* the view is built from nothing: readers wait for view_whole */
    bool reading; /* the reader runs for it */
};

struct recovery {
    struct recovering *items; /* room for each part */
    unsigned count;
    struct kafka_batch batch;
    struct recovering *owed[APPLY_DEPTH]; /* whose apply calls are under way, oldest first */
    unsigned owed_count;
    unsigned ask_next;     /* whose committed offset is asked for first */
    struct view_drop drop; /* under way while it has resets */
    int64_t started_ms;
    uint64_t records;
};

/* Takes the answers of all apply calls under way. */
err_t catch_up_settle(struct processor *p, struct recovery *r) MUST_USE;
/* A run of state records of one partition, up to VIEW_WRITES_MAX, goes into its view. */
err_t catch_up_apply(struct processor *p, struct recovery *r, struct recovering *item,
                     const struct kafka_message *messages, unsigned n) MUST_USE;
/* The readable part of its log ends at `end`: the partition is live, or it is waited for more. */
err_t catch_up_end(struct processor *p, struct recovery *r, struct recovering *item,
                   int64_t end) MUST_USE;
/* How many messages from `at` on belong to one apply call. */
unsigned catch_up_run(const struct kafka_batch *batch, size_t at);

#endif
