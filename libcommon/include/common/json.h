/*
 * JSON from outside, read within limits, into trees of cJSON. A strict scan of our own settles
 * size, nesting, number of values, grammar, UTF-8 and numbers, and afterwards duplicate keys are
 * refused, so that no two readers can understand one document differently. Most code does not walk
 * trees but decodes them into structs: see codec.h. Any thread; a tree belongs to one thread at a
 * time.
 */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/err.h"

CLEANUP_DEFINE(cJSON *, cJSON_Delete);
/* A local that owns a tree: CLEANUP_JSON cJSON *root = NULL; */
#define CLEANUP_JSON CLEANUP(cJSON_Delete)

struct json_limits {
    size_t max_bytes;
    size_t max_depth;  /* nested objects and arrays; 1 is a flat object; at most JSON_DEPTH_MAX */
    size_t max_values; /* everything in the tree; one costs about 100 bytes of memory */
};
#define JSON_DEPTH_MAX 64
/* For our own messages and ordinary request bodies. */
#define JSON_LIMITS_DEFAULT                                                                        \
    ((struct json_limits){.max_bytes = 65536, .max_depth = 16, .max_values = 16384})

/* Integers beyond this magnitude do not survive a double and are refused: they travel as strings.
 */
#define JSON_INTEGER_MAX INT64_C(9007199254740991)

/*
 * Reads exactly one document; *ret is owned by the caller (CLEANUP_JSON). Fails with ERR_TOO_LARGE
 * (a limit; code "json_too_large") or ERR_INVALID (code "json_invalid"): malformed, trailing bytes,
 * invalid UTF-8, NUL or lone surrogates in strings, numbers a double cannot hold, duplicate keys.
 * The fault says what and at which byte.
 */
MUST_USE err_t json_decode(struct span text, const struct json_limits *limits, cJSON **ret,
                           struct fault *fault);

/*
 * The same for a tree that is only looked at: it lives in `arena` and ends with it, and must
 * neither be changed nor given to cJSON_Delete. A third of the cost of json_decode; what failed may
 * have left bytes in the arena.
 */
MUST_USE err_t json_read(struct span text, const struct json_limits *limits, struct arena *arena,
                         const cJSON **ret, struct fault *fault);

/* Appends the tree without white space. The same tree gives the same bytes in every version;
 * integers are written as such. ERR_TOO_LARGE as buf_append. */
err_t json_encode(const cJSON *tree, struct buf *to);

/* "a string", "an object", "null", ...: for messages. */
const char *json_type_name(const cJSON *value);

/* Follows member names joined by dots ("data.device.uid") from an object; NULL when one is missing.
 * Borrowed from the tree. */
const cJSON *json_find(const cJSON *object, const char *path);

/*
 * Required members by path. ERR_INVALID when missing, of another type or out of range: the fault
 * has code "validation_error" and the path as its field. Strings are borrowed from the tree.
 */
MUST_USE err_t json_get_string(const cJSON *object, const char *path, const char **ret,
                               struct fault *fault);
MUST_USE err_t json_get_int(const cJSON *object, const char *path, int64_t min, int64_t max,
                            int64_t *ret, struct fault *fault);
MUST_USE err_t json_get_bool(const cJSON *object, const char *path, bool *ret, struct fault *fault);

/* True and the value when `value` is a whole number within +-JSON_INTEGER_MAX. */
bool json_integer(const cJSON *value, int64_t *ret);

#endif
