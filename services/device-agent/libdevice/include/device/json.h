/*
 * A small strict JSON reader: RFC 8259, no extensions, UTF-8 checked, names in an object unique,
 * depth and number of values bounded before anything is kept. It refers into the text it was given
 * and allocates nothing. What it reads comes from the server, over TLS, but a device must survive a
 * server that is broken or not the one it seems. Any thread.
 */
#ifndef DEVICE_JSON_H
#define DEVICE_JSON_H

#include "common/buf.h"
#include "common/err.h"

#define DEVICE_JSON_DEPTH  8
#define DEVICE_JSON_VALUES 192

enum device_json_type {
    DEVICE_JSON_NULL,
    DEVICE_JSON_FALSE,
    DEVICE_JSON_TRUE,
    DEVICE_JSON_NUMBER,
    DEVICE_JSON_STRING,
    DEVICE_JSON_ARRAY,
    DEVICE_JSON_OBJECT,
};

struct device_json_value {
    enum device_json_type type;
    struct span text;  /* of the value as it stands; a string without its quotes, still escaped */
    struct span name;  /* of a member, still escaped; empty otherwise */
    unsigned children; /* members or elements */
    unsigned next;     /* index of the value behind this one and all it contains */
};

/* values[0] is the document. */
struct device_json {
    struct device_json_value values[DEVICE_JSON_VALUES];
    unsigned count;
};

/* ERR_INVALID: not JSON; ERR_TOO_LARGE: too deep or too many values. The text must outlive the
 * document. */
MUST_USE err_t device_json_parse(struct device_json *doc, struct span text);

/* The member of that name in `object`, or NULL; NULL also when `object` is NULL or not an object.
 * A null member counts as absent. Names are compared as they stand: no name of ours needs escapes.
 */
const struct device_json_value *device_json_member(const struct device_json *doc,
                                                   const struct device_json_value *object,
                                                   const char *name);
/* The i-th element of an array, or NULL. */
const struct device_json_value *device_json_element(const struct device_json *doc,
                                                    const struct device_json_value *array,
                                                    unsigned i);

/* A string's content, unescaped, appended. ERR_INVALID when it is not a string; ERR_TOO_LARGE. */
MUST_USE err_t device_json_string(const struct device_json_value *value, struct buf *to);
/* The same into a C string of `size` bytes with its NUL; a NUL inside is ERR_INVALID. `out` is
 * untouched on failure. */
MUST_USE err_t device_json_text(const struct device_json_value *value, char *out, size_t size);
/* A whole number within [min, max]; anything else is ERR_INVALID and leaves *ret alone. */
MUST_USE err_t device_json_integer(const struct device_json_value *value, int64_t min, int64_t max,
                                   int64_t *ret);

#endif
