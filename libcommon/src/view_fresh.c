#include "common/view_fresh.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/kafka_reader.h"

struct view_fresh {
    struct kafka_reader *reader;
};

err_t view_fresh_new(const char *brokers, const char *client_id, struct view_fresh **ret)
{
    CLEANUP(view_fresh_free) struct view_fresh *f = xcalloc(1, sizeof *f);
    const struct kafka_config config = {.brokers = brokers, .client_id = client_id};
    const struct kafka_reader_config reader = {.queued_max_kbytes = 1024};
    err_t e = kafka_reader_new(&config, &reader, NULL, &f->reader);
    if (e != ERR_OK) {
        return e;
    }
    *ret = TAKE(f);
    return ERR_OK;
}

void view_fresh_free(struct view_fresh *f)
{
    if (f != NULL) {
        kafka_reader_free(f->reader);
        free(f);
    }
}

/* Whether the log has no record from `from` on, up to `end`: only the markers of transactions lie
 * there. */
static err_t read_to_end(struct view_fresh *f, int64_t end, int64_t deadline_ms)
{
    CLEANUP(kafka_batch_deinit) struct kafka_batch batch;
    kafka_batch_init(&batch, 16);
    for (;;) {
        int64_t left_ms = deadline_ms - clock_mono_ms(&clock_system);
        if (left_ms <= 0) {
            return ERR_TIMEOUT;
        }
        err_t e = kafka_reader_poll(f->reader, &batch, (int)left_ms);
        if (e != ERR_OK) {
            return e;
        }
        for (size_t i = 0; i < batch.count; i++) {
            const struct kafka_message *m = &batch.messages[i];
            if (!m->eof) {
                return m->offset < end ? ERR_STALE : ERR_OK;
            }
            if (m->offset >= end) {
                return ERR_OK;
            }
        }
        kafka_batch_clear(&batch);
    }
}

err_t view_fresh_check(struct view_fresh *f, struct redis *redis, char letter, const char *topic,
                       int32_t partition, int timeout_ms, struct view_mark *ret_mark)
{
    int64_t deadline_ms = clock_mono_ms(&clock_system) + timeout_ms;
    int64_t end = 0;
    err_t e = kafka_reader_high_watermark(f->reader, topic, partition, timeout_ms, &end);
    if (e != ERR_OK) {
        return e;
    }
    e = view_mark_read(redis, letter, partition, ret_mark);
    if (e != ERR_OK) {
        return e;
    }
    if (ret_mark->offset < 0 || !view_mark_whole(ret_mark)) {
        return ERR_STALE; /* it is being rebuilt */
    }
    if (ret_mark->offset + 1 >= end) {
        return ERR_OK;
    }
    e = kafka_reader_start(f->reader, topic, partition, ret_mark->offset + 1);
    if (e == ERR_OK) {
        e = read_to_end(f, end, deadline_ms);
    }
    kafka_reader_stop(f->reader, topic, partition);
    return e;
}

err_t view_fresh_stands(struct redis *redis, char letter, int32_t partition,
                        const struct view_mark *checked)
{
    struct view_mark now = VIEW_MARK_NONE;
    err_t e = view_mark_read(redis, letter, partition, &now);
    if (e != ERR_OK) {
        return e;
    }
    bool same = strcmp(now.gen, checked->gen) == 0 && strcmp(now.log, checked->log) == 0;
    return same && view_mark_whole(&now) && now.offset >= checked->offset ? ERR_OK : ERR_STALE;
}
