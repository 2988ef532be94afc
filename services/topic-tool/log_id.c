#include "log_id.h"

#include "cluster.h"
#include "common/clock.h"
#include "common/id.h"

#define LOG_ID_MAX_BYTES 128
#define PAUSE_MS         50

void log_id_format(const uint8_t id[16], struct buf *to)
{
    (void)buf_printf(to, "{\"type\":\"" LOG_ID_TYPE
                         "\",\"id\":\""); /* the caller's buffer has room: the size is fixed */
    for (size_t i = 0; i < 16; i++) {
        (void)buf_printf(to, "%02x", id[i]);
    }
    (void)buf_append_str(to, "\"}");
}

/* A partition that was made a moment ago may not have found its leader yet. */
static err_t is_empty(rd_kafka_t *client, const char *topic, int partition, int timeout_ms,
                      bool *ret, struct fault *f)
{
    const int64_t deadline = clock_mono_ms(&clock_system) + timeout_ms;
    for (;;) {
        int64_t low = 0;
        int64_t high = 0;
        rd_kafka_resp_err_t e =
            rd_kafka_query_watermark_offsets(client, topic, partition, &low, &high, timeout_ms);
        if (!e) {
            *ret = low == high;
            return ERR_OK;
        }
        if (cluster_err(e) != ERR_UNAVAILABLE || clock_mono_ms(&clock_system) >= deadline) {
            return fault_set(f, cluster_err(e), "kafka_error", "",
                             "cannot read the end of %s/%d: %s", topic, partition,
                             rd_kafka_err2str(e));
        }
        (void)rd_kafka_poll(client, PAUSE_MS); /* the number of events is of no interest */
    }
}

static err_t produce(rd_kafka_t *client, const char *topic, int partition, int *undelivered,
                     struct fault *f)
{
    uint8_t id[16];
    CLEANUP_BUF struct buf value = BUF_INIT(LOG_ID_MAX_BYTES);
    random_bytes(id, sizeof(id));
    log_id_format(id, &value);
    rd_kafka_resp_err_t e = rd_kafka_producev(
        client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(LOG_ID_KEY, strlen(LOG_ID_KEY)),
        RD_KAFKA_V_VALUE(value.ptr, value.len),
        RD_KAFKA_V_HEADER("type", LOG_ID_TYPE, strlen(LOG_ID_TYPE)), RD_KAFKA_V_OPAQUE(undelivered),
        RD_KAFKA_V_END);
    if (e) {
        return fault_set(f, cluster_err(e), "kafka_error", "",
                         "cannot write the log id of %s/%d: %s", topic, partition,
                         rd_kafka_err2str(e));
    }
    ++*undelivered;
    return ERR_OK;
}

err_t log_id_write_missing(rd_kafka_t *client, const char *topic, int partitions, int timeout_ms,
                           int *ret_written, struct fault *f)
{
    int undelivered = 0; /* the client's delivery report counts it down */
    int written = 0;
    err_t e = ERR_OK;
    for (int p = 0; !e && p < partitions; p++) {
        bool empty = false;
        e = is_empty(client, topic, p, timeout_ms, &empty, f);
        if (!e && empty) {
            e = produce(client, topic, p, &undelivered, f);
            written += e == ERR_OK;
        }
    }
    /* Also after an error: the reports of what was sent point to this function's counter. */
    rd_kafka_resp_err_t flushed = rd_kafka_flush(client, timeout_ms);
    if (flushed) {
        (void)rd_kafka_purge(client,
                             RD_KAFKA_PURGE_F_QUEUE |
                                 RD_KAFKA_PURGE_F_INFLIGHT); /* cannot fail for a producer */
        (void)rd_kafka_flush(client, timeout_ms); /* only the reports of what was purged are left */
    }
    if (!e && (flushed || undelivered > 0)) {
        e = fault_set(f, ERR_UNAVAILABLE, "kafka_error", "",
                      "the log ids of %s were not all accepted: run again", topic);
    }
    if (!e) {
        *ret_written = written;
    }
    return e;
}
