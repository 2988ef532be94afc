/*
 * The Redis view of one state topic: how records of a compacted state topic are laid out in Redis,
 * the two Lua calls of its owner (load, apply), and what readers need. A view is derived from its
 * topic and nothing else: it can be dropped at any instant and is rebuilt from the log, byte for
 * byte.
 *
 * Layout for topic letter L and partition p, with one hash tag per partition, so that every call
 * touches one slot:
 * - {Lp}:<view key>: the stored value: version, index entries, payload (view_value_*)
 * - {Lp}#: the view mark, a hash: `log`, id of the log; `off`, offset of the last state record
 *   applied; `part` while the view is built anew, from its drop to view_whole; `gen`, a random
 *   word, another one after each drop and each time its owner begins to catch up: a reader that
 *   sees the same before and after knows that nothing was lost and brought back in between
 * - {Lp}i:<name>: ordered indexes, kept by the apply call from the entries inside stored values
 *
 * The mark travels with the data in every call, atomically: a reader of {Lp} learns which log
 * position it reads, a writer says which position it believes in. A view that lost something
 * (flushed, failed over, restored) shows another mark and is refused. Encoding functions are pure;
 * calls that take a `struct redis *` belong to the thread that owns that connection.
 */
#ifndef COMMON_VIEW_H
#define COMMON_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/redis.h"

#define VIEW_KEY_MAX     256
#define VIEW_INDEXES_MAX 8
#define VIEW_LOG_ID_MAX  33 /* 32 hex digits and NUL */
#define VIEW_GEN_MAX     17 /* 16 hex digits and NUL */

/* Position of a view in its state partition. `log` is "" and offset -1 where there is none. */
struct view_mark {
    char log[VIEW_LOG_ID_MAX];
    int64_t offset;
    bool part; /* being built anew: what is there is true, what is absent may still come */
    char gen[VIEW_GEN_MAX]; /* set by view_mark_read only; "" where there is none */
};
#define VIEW_MARK_NONE ((struct view_mark){.log = "", .offset = -1})

static inline bool view_mark_eq(const struct view_mark *a, const struct view_mark *b)
{
    return a->offset == b->offset && strcmp(a->log, b->log) == 0;
}

/* Whether a reader may take absence for what the log says up to the mark. */
static inline bool view_mark_whole(const struct view_mark *mark)
{
    return mark->log[0] != 0 && !mark->part;
}

/* One entry of an ordered index. Spans are borrowed. An empty member stands for the view key
 * itself. */
struct view_index {
    struct span name;
    struct span member;
    double score;
};

/* What a state record looks like in the view: made by the app's projection, a pure function of
 * (record key, record value). */
struct view_record {
    struct buf key;         /* view key, without the {Lp}: prefix */
    struct buf payload;     /* what the owner and the doors read */
    struct buf index_bytes; /* what the spans of `indexes` point at, kept by view_record_index */
    struct view_index indexes[VIEW_INDEXES_MAX];
    unsigned index_count;
    bool deleted; /* a tombstone: remove key and index entries */
    bool skipped; /* the record does not belong into the view; only the mark moves */
};
void view_record_init(struct view_record *r);
void view_record_clear(struct view_record *r);
void view_record_deinit(struct view_record *r);
CLEANUP_DEFINE_EMBEDDED(struct view_record, view_record_deinit);
/* Adds an index entry, copying name and member (<= 255 bytes each). ERR_TOO_LARGE over a limit. */
err_t view_record_index(struct view_record *r, struct span name, struct span member,
                        double score) MUST_USE;

/* Encodes the stored value (index entries + payload). */
err_t view_value_encode(const struct view_record *r, struct buf *to) MUST_USE;
/* The payload inside a stored value, borrowed from it. ERR_CORRUPT when it is not one of ours. */
err_t view_value_payload(struct span stored, struct span *ret_payload) MUST_USE;

/* Key builders. ERR_TOO_LARGE when the key is over VIEW_KEY_MAX. */
err_t view_key(char letter, int partition, struct span key, struct buf *to) MUST_USE;
err_t view_index_key(char letter, int partition, struct span name, struct buf *to) MUST_USE;
err_t view_mark_key(char letter, int partition, struct buf *to) MUST_USE;

/*
 * Load: appends ONE pipelined Lua call that reads `n` view keys and the mark atomically;
 * view_load_collect then takes its reply. `ret_values[i]` is the payload (copied into `arena`; ptr
 * NULL where absent). ERR_UNAVAILABLE: Redis is away, nothing was read.
 */
err_t view_load_append(struct redis *r, char letter, int partition, const struct span *keys,
                       unsigned n) MUST_USE;
err_t view_load_collect(struct redis *r, unsigned n, struct arena *arena, struct span *ret_values,
                        struct view_mark *ret_mark) MUST_USE;

/* A projected record on its way into the view. */
struct view_write {
    const struct view_record *record;
    int64_t offset; /* of the state record */
};
/*
 * Apply: ONE pipelined Lua call for up to VIEW_WRITES_MAX records in offset order. `prev` is the
 * mark this writer believes in, `log` the id of the log it reads. The script refuses when the view
 * stands before `prev` or names another log (something was lost), skips records at or below the
 * view's mark (another owner was quicker), applies the rest and moves the mark to `end` (an offset
 * the writer knows to be applied; usually that of the last record). view_apply_collect: ERR_OK with
 * the new mark; ERR_STALE: refused, the partition must catch up, `ret_mark` says where the view
 * stands; ERR_UNAVAILABLE: unknown whether applied, catch up as well.
 */
#define VIEW_WRITES_MAX 200
err_t view_apply_append(struct redis *r, char letter, int partition, const struct view_mark *prev,
                        int64_t end, const struct view_write *writes, unsigned n) MUST_USE;
err_t view_apply_collect(struct redis *r, struct view_mark *ret_mark) MUST_USE;

/* Reads the mark alone. VIEW_MARK_NONE where there is none. */
err_t view_mark_read(struct redis *r, char letter, int partition,
                     struct view_mark *ret_mark) MUST_USE;

/*
 * Drops the views of some partitions in one pass over the key space, in steps of about a thousand
 * keys, and leaves each mark at (log, -1, part), from where the log is applied again. Used when a
 * view belongs to another log, stands beyond its log's end, or has no mark. Each call is refused
 * (ERR_STALE) when the mark is not the one that was seen, or the drop's own any more: an owner that
 * hung in the midst of it must not take the view of its successor away.
 */
struct view_reset {
    int partition;
    char log[VIEW_LOG_ID_MAX]; /* "": no mark is left */
    char seen[VIEW_GEN_MAX];   /* of the mark as it was judged */
};
struct view_drop {
    char letter;
    struct view_reset *resets; /* borrowed */
    unsigned count;
    char gen[VIEW_GEN_MAX];
    char cursor[32];
    bool done;
};
err_t view_drop_begin(struct redis *r, char letter, struct view_reset *resets, unsigned n,
                      struct view_drop *ret_drop) MUST_USE;
/* Until `done`. After an error the drop is begun again, or not at all. */
err_t view_drop_step(struct redis *r, struct view_drop *drop) MUST_USE;
/* A view that its owner goes on with, which may have lost what was written last: another
 * generation. ERR_STALE: it does not belong to that log. */
err_t view_renew(struct redis *r, char letter, int partition, const char *log) MUST_USE;
/*
 * A view that was built anew has applied the whole log up to `mark`: readers may believe absence
 * again. ERR_STALE: the view does not stand there (it was lost meanwhile), catch up again.
 */
err_t view_whole(struct redis *r, char letter, int partition,
                 const struct view_mark *mark) MUST_USE;

#endif
