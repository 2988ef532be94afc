/*
 * Configuration: one table per service, from which reading, checking, --help, --print-config and
 * the README's table all come. A setting is a dotted key; it is looked for on the command line
 * (--set key=value), in the environment (FLEETSEAL_KAFKA_BROKERS for kafka.brokers), in the file
 * given by
 * --config (lines `key = value`, comment lines start with '#'), and in the table's default, in this
 * order. Every problem of a run is reported, each with where the value came from and what is
 * expected. There are no global settings: the result is one struct that main hands on.
 *
 *     struct config {
 *         struct common_config common;
 *         int64_t batch;
 *         int64_t linger_ms;
 *     };
 *     static const struct config_row rows[] = {
 *         CONFIG_COMMON_ROWS(struct config, common),
 *         CONFIG_INT(struct config, batch, "batch.max", "500", 1, 10000, "requests",
 *                    "Requests in one transaction."),
 *         CONFIG_DURATION(struct config, linger_ms, "batch.linger", "20ms", 0, 1000,
 *                         "Shortest time between two transactions."),
 *     };
 *
 * Main thread, before any other exists.
 */
#ifndef COMMON_CONFIG_H
#define COMMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/codec.h"
#include "common/err.h"

enum config_type {
    CONFIG_TYPE_STRING,     /* char[]: UTF-8 without control characters */
    CONFIG_TYPE_NAME,       /* char[]: letters, digits, '.', '_', '-' */
    CONFIG_TYPE_PATH,       /* char[]: a file that can be read */
    CONFIG_TYPE_HOST_PORT,  /* char[]: host:port or [v6]:port */
    CONFIG_TYPE_HOST_PORTS, /* char[]: a comma-separated list of them */
    CONFIG_TYPE_LISTEN,     /* char[]: address:port to listen on, port 0 for any free one */
    CONFIG_TYPE_BOOL,       /* bool */
    CONFIG_TYPE_INT,        /* int64_t */
    CONFIG_TYPE_DURATION,   /* int64_t milliseconds, written with a unit: 500ms 10s 5m 2h 7d */
    CONFIG_TYPE_SIZE,       /* int64_t bytes, written with a unit: 512B 64KiB 16MiB 1GiB */
    CONFIG_TYPE_ENUM,       /* an enum, by name */
    CONFIG_TYPE_SECRET,     /* struct config_secret: the value is the path of a file */
};

/* A secret and where it came from; len 0 when not configured. The bytes are the file's without line
 * ends at its end; they are never printed. */
#define CONFIG_SECRET_MAX 1024
struct config_secret {
    char path[512];
    uint8_t
        value[CONFIG_SECRET_MAX + 1]; /* NUL behind the value, for libraries that want C strings */
    size_t len;
};

struct config_row {
    const char *key;
    enum config_type type;
    const char *fallback; /* as it would stand in the file; NULL: must be given. An empty value is
                           * accepted only where the default is empty */
    size_t offset;
    size_t size;
    int64_t min; /* numbers, in ms or bytes for those with units */
    int64_t max;
    const struct codec_name *names;
    const char *unit; /* of an int, for people; NULL for none */
    const char *help; /* one sentence */
};

#define CONFIG_REQUIRED ((const char *)NULL)

#define CONFIG_ROW_(T, m, k, t, def, text)                                                         \
    .key = (k), .type = (t), .fallback = (def), .offset = offsetof(T, m),                          \
    .size = sizeof(((T *)0)->m), .help = (text)
#define CONFIG_STRING(T, m, k, def, text)                                                          \
    {                                                                                              \
        CONFIG_ROW_(T, m, k, CONFIG_TYPE_STRING, def, text)                                        \
    }
#define CONFIG_NAME(T, m, k, def, text)                                                            \
    {                                                                                              \
        CONFIG_ROW_(T, m, k, CONFIG_TYPE_NAME, def, text)                                          \
    }
#define CONFIG_PATH(T, m, k, def, text)                                                            \
    {                                                                                              \
        CONFIG_ROW_(T, m, k, CONFIG_TYPE_PATH, def, text)                                          \
    }
#define CONFIG_HOST_PORT(T, m, k, def, text)                                                       \
    {                                                                                              \
        CONFIG_ROW_(T, m, k, CONFIG_TYPE_HOST_PORT, def, text)                                     \
    }
#define CONFIG_HOST_PORTS(T, m, k, def, text)                                                      \
    {                                                                                              \
        CONFIG_ROW_(T, m, k, CONFIG_TYPE_HOST_PORTS, def, text)                                    \
    }
#define CONFIG_LISTEN(T, m, k, def, text)                                                          \
    {                                                                                              \
        CONFIG_ROW_(T, m, k, CONFIG_TYPE_LISTEN, def, text)                                        \
    }
#define CONFIG_BOOL(T, m, k, def, text)                                                            \
    {                                                                                              \
        CONFIG_ROW_(T, m, k, CONFIG_TYPE_BOOL, def, text)                                          \
    }
#define CONFIG_INT(T, m, k, def, lo, hi, unit_name, text)                                          \
    {                                                                                              \
        CONFIG_ROW_(T, m, k, CONFIG_TYPE_INT, def, text), .min = (lo), .max = (hi),                \
                                                          .unit = (unit_name)                      \
    }
#define CONFIG_DURATION(T, m, k, def, lo_ms, hi_ms, text)                                          \
    {                                                                                              \
        CONFIG_ROW_(T, m, k, CONFIG_TYPE_DURATION, def, text), .min = (lo_ms), .max = (hi_ms)      \
    }
#define CONFIG_SIZE(T, m, k, def, lo, hi, text)                                                    \
    {                                                                                              \
        CONFIG_ROW_(T, m, k, CONFIG_TYPE_SIZE, def, text), .min = (lo), .max = (hi)                \
    }
#define CONFIG_ENUM(T, m, k, def, list, text)                                                      \
    {                                                                                              \
        CONFIG_ROW_(T, m, k, CONFIG_TYPE_ENUM, def, text), .names = (list)                         \
    }
#define CONFIG_SECRET(T, m, k, def, text)                                                          \
    {                                                                                              \
        CONFIG_ROW_(T, m, k, CONFIG_TYPE_SECRET, def, text)                                        \
    }

struct config_problems;

struct config_spec {
    const char *program;
    const char *summary; /* what it does, one line */
    const struct config_row *rows;
    size_t count;
    size_t size; /* of the struct */
    /* Rules across settings, called when each of them is fine by itself; NULL for none. */
    void (*check)(const void *config, struct config_problems *problems);
    /* Appends the lines of --version behind the first; NULL for none. See version.h. */
    void (*versions)(struct buf *to);
};

/* Adds a problem from a `check`: `format` completes `kafka.brokers = "...": `. */
void config_problem(struct config_problems *problems, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

enum config_outcome {
    CONFIG_RUN,   /* go on */
    CONFIG_CHECK, /* --check-config: check what only the program can (keys, certificates), then exit
                   * with 0 */
    CONFIG_EXIT,  /* the text was asked for (--help, ...): exit with 0 */
    CONFIG_FAIL,  /* the text tells the problems: exit with 64 */
};

/*
 * Reads the whole configuration. `env` is the process's environment. *config (spec->size bytes) is
 * filled on CONFIG_RUN and CONFIG_CHECK and zeroed else; it may hold secrets: wipe it with
 * config_wipe. `text` is what to print, to standard output unless the outcome is CONFIG_FAIL.
 */
enum config_outcome config_load(const struct config_spec *spec, int argc, char *const *argv,
                                char *const *env, void *config, struct buf *text);

/* config_load with the process's environment, which prints the text where it belongs. */
enum config_outcome config_main(const struct config_spec *spec, int argc, char *const *argv,
                                void *config);

void config_wipe(const struct config_spec *spec, void *config);

/* Splits what a HOST_PORT or LISTEN setting holds; brackets of IPv6 are removed. ERR_INVALID for
 * any other text, ERR_TOO_LARGE when `host` is too small. */
MUST_USE err_t config_split_host_port(const char *text, char *host, size_t host_size,
                                      uint16_t *ret_port);

#endif
