/*
 * The Lua calls of a view on a real Redis. What would break a user: a view that is written on top
 * of something lost, a record applied twice or out of order, an index entry left behind, a rebuilt
 * view that differs from the live one.
 */
#include "common/view.h"
#include "common/view_fresh.h"

#include <stdio.h>
#include <stdlib.h>

#include "servers.h"
#include "test_support.h"

#define LETTER      'r'
#define LETTER_TEXT "r"
#define LOG         "0123456789abcdef0123456789abcdef"
#define OTHER       "fedcba9876543210fedcba9876543210"
/* Partitions that no other test uses; one's number begins with the other's. */
#define ONE   70
#define TWO   700
#define THREE 7000

static err_t drop_on(struct redis *r, struct view_drop *drop)
{
    err_t e = ERR_OK;
    while (e == ERR_OK && !drop->done) {
        e = view_drop_step(r, drop);
    }
    return e;
}

/* As an owner that has just looked at its mark. */
static void see(struct redis *r, struct view_reset *reset)
{
    struct view_mark mark = VIEW_MARK_NONE;
    assert_ok(view_mark_read(r, LETTER, reset->partition, &mark));
    memcpy(reset->seen, mark.gen, sizeof mark.gen);
}

/* Drops these views as their owner does that has just looked at their marks. */
static void drop(struct redis *r, struct view_reset *resets, unsigned n)
{
    struct view_drop drop;
    for (unsigned i = 0; i < n; i++) {
        see(r, &resets[i]);
    }
    assert_ok(view_drop_begin(r, LETTER, resets, n, &drop));
    assert_ok(drop_on(r, &drop));
}

static int setup(void **state)
{
    static char password[128];
    static char host[64];
    const char *address = servers_env("REDIS_ADDRESS");
    const char *colon = strrchr(address, ':');
    assert_non_null(colon);
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    CLEANUP_FREE char *path = xasprintf("%s/api-gateway.password", servers_env("REDIS_DIR"));
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(password, sizeof password, file));
    (void)fclose(file);
    password[strcspn(password, "\n")] = '\0';
    struct redis *r = redis_new(&(struct redis_config){
        .host = host,
        .port = (uint16_t)strtoul(colon + 1, NULL, 10),
        .user = "api-gateway",
        .password = password,
    });
    assert_ok(redis_connect(r));
    drop(r, (struct view_reset[]){{.partition = ONE}, {.partition = TWO}, {.partition = THREE}}, 3);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    redis_free(*state);
    return 0;
}

static struct view_mark mark_at(const char *log, int64_t offset)
{
    struct view_mark mark = VIEW_MARK_NONE;
    (void)snprintf(mark.log, sizeof mark.log, "%s", log);
    mark.offset = offset;
    return mark;
}

static void start_log(struct redis *r, int partition)
{
    struct view_reset reset = {.partition = partition, .log = LOG};
    drop(r, &reset, 1);
}

static void fill(struct view_record *record, const char *key, const char *payload,
                 const char *index, double score)
{
    view_record_clear(record);
    assert_ok(buf_append_span(&record->key, span_str(key)));
    record->deleted = payload == NULL;
    if (payload != NULL) {
        assert_ok(buf_append_span(&record->payload, span_str(payload)));
    }
    if (index != NULL) {
        assert_ok(view_record_index(record, span_str(index), (struct span){0}, score));
    }
}

static err_t apply(struct redis *r, int partition, struct view_mark prev, int64_t end,
                   const struct view_write *writes, unsigned n, struct view_mark *ret_mark)
{
    assert_ok(view_apply_append(r, LETTER, partition, &prev, end, writes, n));
    return view_apply_collect(r, ret_mark);
}

/* One record (payload NULL: a tombstone) at `offset`, believed to follow `prev`. */
static err_t apply_one(struct redis *r, int partition, int64_t prev, int64_t offset,
                       const char *key, const char *payload, const char *index, double score)
{
    CLEANUP(view_record_deinit) struct view_record record;
    view_record_init(&record);
    fill(&record, key, payload, index, score);
    struct view_write write = {&record, offset};
    struct view_mark mark = VIEW_MARK_NONE;
    return apply(r, partition, mark_at(LOG, prev), offset, &write, 1, &mark);
}

static void assert_payload(struct redis *r, int partition, const char *key, const char *payload)
{
    CLEANUP(arena_deinit) struct arena arena = {0};
    struct span name = span_str(key);
    struct span value = {0};
    struct view_mark mark = VIEW_MARK_NONE;
    assert_ok(view_load_append(r, LETTER, partition, &name, 1));
    assert_ok(view_load_collect(r, 1, &arena, &value, &mark));
    if (payload == NULL) {
        assert_null(value.ptr);
    } else {
        assert_span(value, payload);
    }
}

static void assert_mark(struct redis *r, int partition, const char *log, int64_t offset)
{
    struct view_mark mark = VIEW_MARK_NONE;
    assert_ok(view_mark_read(r, LETTER, partition, &mark));
    assert_string_equal(mark.log, log);
    assert_int_equal(mark.offset, offset);
}

/* "member score member score ..." of an index */
static void index_text(struct redis *r, int partition, const char *name, struct buf *to)
{
    CLEANUP_BUF struct buf key = BUF_INIT(256);
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    assert_ok(view_index_key(LETTER, partition, span_str(name), &key));
    assert_ok(
        redis_command_str(r, &reply, "ZRANGE", buf_cstr(&key), "0", "-1", "WITHSCORES", NULL));
    buf_clear(to);
    for (size_t i = 0; i < redis_reply_count(reply); i++) {
        assert_ok(buf_append_span(to, span_str(i > 0 ? " " : "")));
        assert_ok(buf_append_span(to, redis_reply_span(redis_reply_at(reply, i))));
    }
}

static void assert_index(struct redis *r, int partition, const char *name, const char *wanted)
{
    CLEANUP_BUF struct buf text = BUF_INIT((size_t)64 * 1024);
    index_text(r, partition, name, &text);
    assert_span(buf_span(&text), wanted);
}

static void test_writes_on_something_lost_are_refused(void **state)
{
    struct redis *r = *state;
    CLEANUP(view_record_deinit) struct view_record record;
    view_record_init(&record);
    fill(&record, "k", "new", "i", 1);
    struct view_write write = {&record, 11};
    struct view_mark mark = VIEW_MARK_NONE;

    /* no mark at all, as after a flush */
    assert_err(apply(r, ONE, mark_at(LOG, 10), 11, &write, 1, &mark), ERR_STALE);
    assert_int_equal(mark.offset, -1);
    assert_string_equal(mark.log, "");

    start_log(r, ONE);
    assert_ok(apply_one(r, ONE, -1, 5, "k", "old", "i", 0));
    /* it stands before what the writer believes in: a copy that lost writes */
    assert_err(apply(r, ONE, mark_at(LOG, 10), 11, &write, 1, &mark), ERR_STALE);
    assert_int_equal(mark.offset, 5);
    /* it belongs to another log */
    assert_err(apply(r, ONE, mark_at(OTHER, 5), 11, &write, 1, &mark), ERR_STALE);
    assert_string_equal(mark.log, LOG);

    assert_payload(r, ONE, "k", "old");
    assert_index(r, ONE, "i", "k 0");
    assert_mark(r, ONE, LOG, 5);
}

static void test_records_at_or_below_the_mark_are_skipped(void **state)
{
    struct redis *r = *state;
    start_log(r, ONE);
    assert_ok(apply_one(r, ONE, -1, 7, "a", "by the other", NULL, 0));
    CLEANUP(view_record_deinit) struct view_record old;
    CLEANUP(view_record_deinit) struct view_record same;
    CLEANUP(view_record_deinit) struct view_record next;
    view_record_init(&old);
    view_record_init(&same);
    view_record_init(&next);
    fill(&old, "b", "too late", "i", 1);
    fill(&same, "a", "too late", "i", 1);
    fill(&next, "c", "new", "i", 1);
    const struct view_write writes[] = {{&old, 6}, {&same, 7}, {&next, 8}};
    struct view_mark mark = VIEW_MARK_NONE;
    assert_ok(apply(r, ONE, mark_at(LOG, 5), 8, writes, 3, &mark));
    assert_int_equal(mark.offset, 8);
    assert_payload(r, ONE, "a", "by the other");
    assert_payload(r, ONE, "b", NULL);
    assert_payload(r, ONE, "c", "new");
    assert_index(r, ONE, "i", "c 1");
    /* the mark never goes back */
    assert_ok(apply(r, ONE, mark_at(LOG, 5), 6, writes, 1, &mark));
    assert_int_equal(mark.offset, 8);
    /* and moves without records */
    assert_ok(apply(r, ONE, mark_at(LOG, 8), 20, NULL, 0, &mark));
    assert_mark(r, ONE, LOG, 20);
}

static void test_index_entries_move_with_their_record(void **state)
{
    struct redis *r = *state;
    start_log(r, ONE);
    assert_ok(apply_one(r, ONE, -1, 1, "k", "x", "open", 10));
    assert_ok(apply_one(r, ONE, 1, 2, "l", "x", "open", 5));
    assert_index(r, ONE, "open", "l 5 k 10");
    assert_ok(apply_one(r, ONE, 2, 3, "k", "x", "open", 1.25)); /* another score */
    assert_index(r, ONE, "open", "k 1.25 l 5");
    assert_ok(apply_one(r, ONE, 3, 4, "k", "x", "done", 1)); /* another index */
    assert_index(r, ONE, "open", "l 5");
    assert_index(r, ONE, "done", "k 1");
    assert_ok(apply_one(r, ONE, 4, 5, "k", "x", NULL, 0)); /* none */
    assert_index(r, ONE, "done", "");
    assert_ok(apply_one(r, ONE, 5, 6, "l", NULL, NULL, 0)); /* a tombstone */
    assert_index(r, ONE, "open", "");
    assert_payload(r, ONE, "l", NULL);
    assert_ok(apply_one(r, ONE, 6, 7, "never was", NULL, NULL, 0));
    assert_mark(r, ONE, LOG, 7);
}

static void test_one_reset_drops_one_partition(void **state)
{
    struct redis *r = *state;
    start_log(r, ONE);
    start_log(r, TWO);
    assert_ok(apply_one(r, ONE, -1, 1, "k", "one", "i", 1));
    assert_ok(apply_one(r, TWO, -1, 1, "k", "two", "i", 2));
    start_log(r, ONE);
    assert_mark(r, ONE, LOG, -1);
    assert_payload(r, ONE, "k", NULL);
    assert_index(r, ONE, "i", "");
    assert_mark(r, TWO, LOG, 1);
    assert_payload(r, TWO, "k", "two");
    assert_index(r, TWO, "i", "k 2");
}

static void test_absence_is_believed_of_a_whole_view_only(void **state)
{
    struct redis *r = *state;
    CLEANUP(arena_deinit) struct arena arena = {0};
    struct span name = span_str("k");
    struct span value = {0};
    struct view_mark mark = VIEW_MARK_NONE;
    start_log(r, ONE);
    assert_ok(apply_one(r, ONE, -1, 3, "other", "x", NULL, 0));
    assert_ok(view_mark_read(r, LETTER, ONE, &mark));
    assert_true(mark.part);
    assert_ok(view_load_append(r, LETTER, ONE, &name, 1));
    assert_ok(view_load_collect(r, 1, &arena, &value, &mark));
    assert_false(view_mark_whole(&mark));

    const struct view_mark beyond = mark_at(LOG, 4);
    const struct view_mark foreign = mark_at(OTHER, 3);
    const struct view_mark end = mark_at(LOG, 3);
    assert_err(view_whole(r, LETTER, ONE, &beyond), ERR_STALE);
    assert_err(view_whole(r, LETTER, ONE, &foreign), ERR_STALE);
    assert_err(view_whole(r, LETTER, TWO, &end), ERR_STALE); /* no view there at all */
    assert_ok(view_mark_read(r, LETTER, ONE, &mark));
    assert_false(view_mark_whole(&mark));
    assert_ok(view_whole(r, LETTER, ONE, &end));
    assert_ok(view_load_append(r, LETTER, ONE, &name, 1));
    assert_ok(view_load_collect(r, 1, &arena, &value, &mark));
    assert_true(view_mark_whole(&mark));
    assert_null(value.ptr);
    assert_mark(r, ONE, LOG, 3);
}

/* One that hung in a drop wakes when its successor has the partition. */
static void test_a_drop_is_refused_when_another_has_begun(void **state)
{
    struct redis *r = *state;
    struct view_reset mine = {.partition = ONE, .log = LOG};
    struct view_drop drop_of_mine;
    start_log(r, ONE);
    see(r, &mine);

    assert_ok(view_drop_begin(r, LETTER, &mine, 1, &drop_of_mine));
    start_log(r, ONE); /* the successor */
    assert_ok(apply_one(r, ONE, -1, 3, "k", "x", "i", 1));
    assert_err(drop_on(r, &drop_of_mine), ERR_STALE);
    assert_payload(r, ONE, "k", "x");
    assert_index(r, ONE, "i", "k 1");
    assert_mark(r, ONE, LOG, 3);

    assert_err(view_drop_begin(r, LETTER, &mine, 1, &drop_of_mine), ERR_STALE);
    assert_mark(r, ONE, LOG, 3);
    assert_payload(r, ONE, "k", "x");
}

static void test_a_lost_drop_is_noticed(void **state)
{
    struct redis *r = *state;
    struct view_reset reset = {.partition = ONE, .log = LOG};
    struct view_drop of_one;
    start_log(r, ONE);
    see(r, &reset);
    assert_ok(view_drop_begin(r, LETTER, &reset, 1, &of_one));
    assert_ok(redis_command_str(r, NULL, "DEL", "{" LETTER_TEXT "70}#", NULL)); /* a flush */
    assert_err(drop_on(r, &of_one), ERR_STALE);
    assert_mark(r, ONE, "", -1);
}

static void test_another_generation(void **state)
{
    struct redis *r = *state;
    struct view_mark first = VIEW_MARK_NONE;
    struct view_mark second = VIEW_MARK_NONE;
    struct view_mark third = VIEW_MARK_NONE;
    start_log(r, ONE);
    assert_ok(view_mark_read(r, LETTER, ONE, &first));
    assert_ok(apply_one(r, ONE, -1, 3, "k", "x", NULL, 0));
    assert_ok(view_mark_read(r, LETTER, ONE, &second));
    assert_string_equal(first.gen, second.gen);
    assert_ok(view_renew(r, LETTER, ONE, LOG));
    assert_ok(view_mark_read(r, LETTER, ONE, &second));
    assert_string_not_equal(first.gen, second.gen);
    assert_int_equal(second.offset, 3);
    start_log(r, ONE);
    assert_ok(view_mark_read(r, LETTER, ONE, &third));
    assert_string_not_equal(second.gen, third.gen);
    assert_err(view_renew(r, LETTER, ONE, OTHER), ERR_STALE);
    assert_err(view_renew(r, LETTER, TWO, LOG), ERR_STALE); /* no view there at all */
    assert_ok(view_mark_read(r, LETTER, TWO, &first));
    assert_string_equal(first.gen, "");
}

/* Whoever took absence for a fact of a view that was lost meanwhile would refuse for good. */
static void test_a_view_stands_while_it_only_grows(void **state)
{
    struct redis *r = *state;
    struct view_mark checked = VIEW_MARK_NONE;
    const struct view_mark three = mark_at(LOG, 3);
    const struct view_mark four = mark_at(LOG, 4);
    start_log(r, ONE);
    assert_ok(apply_one(r, ONE, -1, 3, "k", "x", NULL, 0));
    assert_ok(view_mark_read(r, LETTER, ONE, &checked));
    assert_err(view_fresh_stands(r, LETTER, ONE, &checked), ERR_STALE); /* in part */
    assert_ok(view_whole(r, LETTER, ONE, &three));
    assert_ok(view_fresh_stands(r, LETTER, ONE, &checked));
    assert_ok(apply_one(r, ONE, 3, 4, "k", "y", NULL, 0));
    assert_ok(view_fresh_stands(r, LETTER, ONE, &checked));
    struct view_mark later = checked;
    later.offset = 5; /* a copy that lags took over */
    assert_err(view_fresh_stands(r, LETTER, ONE, &later), ERR_STALE);
    assert_ok(view_renew(r, LETTER, ONE, LOG));
    assert_err(view_fresh_stands(r, LETTER, ONE, &checked), ERR_STALE);

    assert_ok(view_mark_read(r, LETTER, ONE, &checked));
    assert_ok(view_fresh_stands(r, LETTER, ONE, &checked));
    start_log(r, ONE); /* flushed, and built anew to the same place */
    assert_ok(apply_one(r, ONE, -1, 4, "k", "y", NULL, 0));
    assert_ok(view_whole(r, LETTER, ONE, &four));
    assert_err(view_fresh_stands(r, LETTER, ONE, &checked), ERR_STALE);
}

static void test_calls_are_bounded(void **state)
{
    struct redis *r = *state;
    const struct view_mark prev = mark_at(LOG, 0);
    static struct view_write writes[VIEW_WRITES_MAX + 1];
    assert_err(view_apply_append(r, LETTER, ONE, &prev, 1, writes, VIEW_WRITES_MAX + 1),
               ERR_TOO_LARGE);
    struct span keys[] = {span_str("k")};
    assert_err(view_load_append(r, LETTER, ONE, keys, 5000), ERR_TOO_LARGE);
    assert_int_equal(redis_owed(r), 0);
}

/* ---- a live view and one built from the compacted log ---- */

#define KEYS    40
#define CHANGES 1500

struct change {
    int key;
    bool deleted;
    int index; /* -1: none */
    double score;
};

static void fill_change(struct view_record *record, const struct change *c, int64_t offset)
{
    char key[16];
    char payload[32];
    char index[16];
    (void)snprintf(key, sizeof key, "key%d", c->key);
    (void)snprintf(payload, sizeof payload, "payload %d", (int)offset);
    (void)snprintf(index, sizeof index, "i%d", c->index);
    fill(record, key, c->deleted ? NULL : payload, c->index < 0 || c->deleted ? NULL : index,
         c->score);
}

/* All of a partition as text, in an order that does not depend on Redis. */
static void dump(struct redis *r, int partition, struct buf *to)
{
    for (int i = 0; i < KEYS; i++) {
        char name[16];
        CLEANUP_BUF struct buf key = BUF_INIT(256);
        CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
        (void)snprintf(name, sizeof name, "key%d", i);
        assert_ok(view_key(LETTER, partition, span_str(name), &key));
        assert_ok(redis_command_str(r, &reply, "GET", buf_cstr(&key), NULL));
        assert_ok(buf_printf(to, "\n%s=", name));
        assert_ok(buf_append_span(to, redis_reply_span(reply)));
    }
    for (int i = 0; i < 3; i++) {
        char name[16];
        CLEANUP_BUF struct buf text = BUF_INIT((size_t)64 * 1024);
        (void)snprintf(name, sizeof name, "i%d", i);
        index_text(r, partition, name, &text);
        assert_ok(buf_append_span(to, buf_span(&text)));
    }
}

/* Applies all changes in calls of `per_call` records, from the empty view on. */
static void apply_in_calls(struct redis *r, int partition, const struct change *changes,
                           int per_call)
{
    static struct view_record records[VIEW_WRITES_MAX];
    struct view_write writes[VIEW_WRITES_MAX];
    start_log(r, partition);
    for (int from = 0; from < CHANGES; from += per_call) {
        unsigned n = 0;
        for (int i = from; i < CHANGES && i < from + per_call; i++, n++) {
            view_record_init(&records[n]);
            fill_change(&records[n], &changes[i], i);
            writes[n] = (struct view_write){&records[n], i};
        }
        struct view_mark mark = VIEW_MARK_NONE;
        assert_ok(
            apply(r, partition, mark_at(LOG, from - 1), from + (int64_t)n - 1, writes, n, &mark));
        while (n > 0) {
            view_record_deinit(&records[--n]);
        }
    }
    assert_mark(r, partition, LOG, CHANGES - 1);
}

/* Only the newest record of each key, as compaction leaves them. */
static void apply_compacted(struct redis *r, int partition, const struct change *changes,
                            const int64_t *newest)
{
    CLEANUP(view_record_deinit) struct view_record record;
    view_record_init(&record);
    start_log(r, partition);
    for (int i = 0; i < CHANGES; i++) {
        if (newest[changes[i].key] == i) {
            fill_change(&record, &changes[i], i);
            struct view_write write = {&record, i};
            struct view_mark mark = VIEW_MARK_NONE;
            assert_ok(apply(r, partition, mark_at(LOG, -1), i, &write, 1, &mark));
        }
    }
    assert_mark(r, partition, LOG, CHANGES - 1);
}

static void assert_same_view(struct redis *r, int a, int b)
{
    CLEANUP_BUF struct buf one = BUF_INIT((size_t)1024 * 1024);
    CLEANUP_BUF struct buf other = BUF_INIT((size_t)1024 * 1024);
    dump(r, a, &one);
    dump(r, b, &other);
    assert_int_equal(one.len, other.len);
    assert_memory_equal(one.ptr, other.ptr, one.len);
}

static void test_a_rebuilt_view_equals_the_live_one(void **state)
{
    struct redis *r = *state;
    static struct change changes[CHANGES];
    int64_t newest[KEYS];
    uint32_t seed = 1;
    memset(newest, -1, sizeof newest);
    for (int i = 0; i < CHANGES; i++) {
        seed = seed * 1664525u + 1013904223u;
        changes[i] = (struct change){.key = (int)(seed >> 8) % KEYS,
                                     .deleted = (seed >> 28) == 0,
                                     .index = (int)(seed >> 16) % 4 - 1,
                                     .score = (double)(seed >> 4) / 1000.0};
        newest[changes[i].key] = i;
    }
    apply_in_calls(r, ONE, changes, 1);
    apply_compacted(r, TWO, changes, newest);
    assert_same_view(r, ONE, TWO);
    /* several records of one key meet in one call */
    apply_in_calls(r, THREE, changes, 7);
    assert_same_view(r, ONE, THREE);
    apply_in_calls(r, THREE, changes, VIEW_WRITES_MAX);
    assert_same_view(r, ONE, THREE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_writes_on_something_lost_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_records_at_or_below_the_mark_are_skipped, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_index_entries_move_with_their_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_reset_drops_one_partition, setup, teardown),
        cmocka_unit_test_setup_teardown(test_absence_is_believed_of_a_whole_view_only, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_drop_is_refused_when_another_has_begun, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_drop_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_generation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_view_stands_while_it_only_grows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_calls_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_rebuilt_view_equals_the_live_one, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
