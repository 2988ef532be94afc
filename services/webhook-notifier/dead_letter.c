#include "dead_letter.h"

#include <inttypes.h>
#include <stdio.h>

void dead_letter_init(struct dead_letter *d, const char *topic, const struct kafka_message *m,
                      err_t why, const struct fault *fault)
{
    (void)snprintf(d->partition, sizeof d->partition, "%" PRId32, m->partition);
    (void)snprintf(d->offset, sizeof d->offset, "%" PRId64, m->offset);
    (void)snprintf(d->size, sizeof d->size, "%zu", m->value.len);
    const struct kafka_header headers[DEAD_LETTER_HEADERS] = {
        {"reason", span_str(err_name(why))},    {"code", span_str(fault->code)},
        {"field", span_str(fault->field)},      {"text", span_str(fault->text)},
        {"source-topic", span_str(m->topic)},   {"source-partition", span_str(d->partition)},
        {"source-offset", span_str(d->offset)}, {"source-size", span_str(d->size)}};
    for (size_t i = 0; i < DEAD_LETTER_HEADERS; i++) {
        d->headers[i] = headers[i];
    }
    bool cut = m->value.len > DEAD_LETTER_VALUE_MAX;
    d->record = (struct kafka_record){.topic = topic,
                                      .partition = m->partition,
                                      .key = m->key,
                                      .value = cut ? span_of(m->value.ptr, DEAD_LETTER_VALUE_KEPT)
                                                   : m->value,
                                      .headers = d->headers,
                                      .headers_count = DEAD_LETTER_HEADERS};
}
