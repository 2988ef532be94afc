/*
 * The catalogue of topics, proto/topics.json: parsed, validated, and completed with the dead-letter
 * topics that it asks for. Pure; any thread.
 */
#ifndef TOPIC_TOOL_CATALOG_H
#define TOPIC_TOOL_CATALOG_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"

#define CATALOG_MAX_BYTES      262144
#define CATALOG_MAX_PARTITIONS 1024
#define CATALOG_MAX_NAME       249 /* Kafka's own limit */

struct catalog_setting {
    char *name;
    char *value;
};

/* A named set of topic settings, shared by topics. */
struct catalog_settings {
    char *name;
    struct catalog_setting *list;
    size_t count;
};

struct catalog_topic {
    char *name;
    const struct catalog_settings *settings; /* inside the same catalogue */
    bool state;                              /* its partitions begin with a log id */
};

struct catalog {
    int partitions; /* of every topic: partition p of one belongs to partition p of the other */
    struct catalog_settings *settings;
    size_t settings_count;
    struct catalog_topic *topics; /* a dead-letter topic follows the one it serves */
    size_t topics_count;
};

/* Accepts a zeroed struct. */
void catalog_deinit(struct catalog *c);
CLEANUP_DEFINE_EMBEDDED(struct catalog, catalog_deinit);

/*
 * Parses `text`. ERR_INVALID or ERR_TOO_LARGE, `f` names the rule and the field; `*ret` is set on
 * success only and is freed by the caller.
 */
err_t catalog_parse(struct span text, struct catalog *ret, struct fault *f) MUST_USE;

/* NULL: no such topic. */
const struct catalog_topic *catalog_topic(const struct catalog *c, const char *name);
/* The value of a setting, NULL where the topic leaves it to the broker. Borrowed. */
const char *catalog_setting(const struct catalog_settings *s, const char *name);

#endif
