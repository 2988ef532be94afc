/* What the files of the configuration module share. Internal to libcommon. */
#ifndef COMMON_CONFIG_INTERNAL_H
#define COMMON_CONFIG_INTERNAL_H

#include "common/config.h"

#define CONFIG_ORIGIN_MAX 320

/* The winning text of one row. */
struct config_slot {
    char *text; /* owned; NULL while nothing was given */
    char origin[CONFIG_ORIGIN_MAX];
};

/* One run of config_load. */
struct config_problems {
    const struct config_spec *spec;
    struct config_slot *slots; /* one per row */
    struct buf text;           /* one line per problem */
    size_t count;
};

/* FLEETSEAL_KAFKA_BROKERS for kafka.brokers. */
#define CONFIG_ENV_MAX 128
void config_env_name(const char *key, char out[CONFIG_ENV_MAX]);

/* Stores `text` in the struct; false when it is not what the row accepts. */
bool config_value_parse(const struct config_row *row, const char *text, void *config);
/* What the row accepts: "a duration from 1s to 1h such as 500ms, 10s, 5m, 2h or 7d". */
void config_value_describe(const struct config_row *row, struct buf *to);

void config_print_help(const struct config_spec *spec, struct buf *to);
void config_print_markdown(const struct config_spec *spec, struct buf *to);
void config_print_values(const struct config_problems *run, struct buf *to);
void config_print_version(const struct config_spec *spec, struct buf *to);

#endif
