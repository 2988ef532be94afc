/*
 * A record that cannot be processed, as it goes to the dead letters: with the reason and its origin
 * in headers, and only the beginning of a very large value, since a letter that does not fit into
 * its topic would stop the partition it came from. Pure.
 */
#ifndef WEBHOOK_NOTIFIER_DEAD_LETTER_H
#define WEBHOOK_NOTIFIER_DEAD_LETTER_H

#include "common/err.h"
#include "common/kafka_common.h"

#define DEAD_LETTER_VALUE_MAX  ((size_t)512 * 1024) /* a larger value is cut to ... */
#define DEAD_LETTER_VALUE_KEPT ((size_t)64 * 1024)
#define DEAD_LETTER_HEADERS    8

struct dead_letter {
    struct kafka_record record; /* points into this struct, the message and the fault */
    struct kafka_header headers[DEAD_LETTER_HEADERS];
    char partition[16];
    char offset[24];
    char size[24];
};

/* Must not be moved afterwards. `topic` is where it goes. */
void dead_letter_init(struct dead_letter *d, const char *topic, const struct kafka_message *m,
                      err_t why, const struct fault *fault);

#endif
