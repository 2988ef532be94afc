/*
 * Where the requests of a partition go on: at the committed offset, if there is one and the log
 * still has it. Three things can be otherwise, each is said: requests too old for the topic's
 * retention are gone; the brokers forgot the committed offset of a group that nobody was in for
 * long; a broker lost the end of the log.
 */
#include "processor_internal.h"

#include "common/log.h"

#define WATERMARK_TIMEOUT_MS 2000

void resume_note(const struct kafka_message *messages, unsigned n, int64_t *last_input)
{
    for (unsigned i = 0; i < n; i++) {
        struct span text = {0};
        char digits[24] = "";
        if (kafka_message_header(&messages[i], "input-offset", &text) && text.len < sizeof digits) {
            memcpy(digits, text.ptr, text.len);
            int64_t offset = strtoll(digits, NULL, 10);
            *last_input = offset > *last_input ? offset : *last_input;
        }
    }
}

/* The bounds are asked for here: librdkafka's own look-up of a beginning may answer twice when the
 * partition is moved while it runs, and then delivers everything twice. */
err_t resume_offset(struct processor *p, int32_t partition, int64_t last_input, int64_t *committed)
{
    int64_t low = 0;
    int64_t high = 0;
    err_t e = kafka_reader_bounds(p->reader, p->app->request_topic, partition, WATERMARK_TIMEOUT_MS,
                                  &low, &high);
    if (e != ERR_OK) {
        return e;
    }
    bool known = *committed != KAFKA_OFFSET_NONE;
    int64_t from = known ? *committed : last_input + 1;
    if (!known && last_input >= 0) {
        log_warn(NULL, "committed_offset_lost", LOG_STR("app", p->app->name),
                 LOG_INT("partition", partition), LOG_INT("goes_on_at", from));
    }
    if (known && from < low) {
        log_warn(NULL, "requests_expired", LOG_STR("app", p->app->name),
                 LOG_INT("partition", partition), LOG_INT("from", from), LOG_INT("to", low));
    } else if (from > high) {
        log_error(NULL, "request_log_cut", LOG_STR("app", p->app->name),
                  LOG_INT("partition", partition), LOG_INT("done_up_to", from),
                  LOG_INT("ends_at", high));
    }
    *committed = from < low ? low : from > high ? high : from;
    return ERR_OK;
}
