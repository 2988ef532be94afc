#include "common/json.h"

#include <assert.h>
#include <math.h>

#include "common/text.h"
#include "json_scan.h"

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

#define FEW_KEYS 32

/* Comparing each with each: for few it is the quickest, since most differ in their first letter. */
static const char *duplicate_of_few(const cJSON *object)
{
    for (const cJSON *member = object->child; member != NULL; member = member->next) {
        for (const cJSON *other = object->child; other != member; other = other->next) {
            if (*other->string == *member->string && strcmp(other->string, member->string) == 0) {
                return member->string;
            }
        }
    }
    return NULL;
}

/* Sorting keeps an object of many thousand members from costing the square of them. */
static const char *duplicate_key(const cJSON *object)
{
    size_t count = (size_t)cJSON_GetArraySize(object);
    if (count <= FEW_KEYS) {
        return duplicate_of_few(object);
    }
    CLEANUP_FREE const char **keys = xcalloc(count, sizeof *keys);
    size_t n = 0;
    for (const cJSON *member = object->child; member != NULL; member = member->next) {
        keys[n++] = member->string;
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(keys[i - 1], keys[i]) == 0) {
            /* the array dies here, the key belongs to the tree */
            return keys[i];
        }
    }
    return NULL;
}

/* Recursion is bounded by the depth that the scan has let through. */
static err_t refuse_duplicates(const cJSON *value, struct fault *fault)
{
    if (cJSON_IsObject(value)) {
        const char *key = duplicate_key(value);
        if (key != NULL) {
            return fault_set(fault, ERR_INVALID, "json_invalid", key,
                             "the name appears twice in one object");
        }
    }
    for (const cJSON *child = value->child; child != NULL; child = child->next) {
        err_t e = refuse_duplicates(child, fault);
        if (e != ERR_OK) {
            return e;
        }
    }
    return ERR_OK;
}

err_t json_decode(struct span text, const struct json_limits *limits, cJSON **ret,
                  struct fault *fault)
{
    assert(limits->max_depth <= JSON_DEPTH_MAX);
    err_t e = json_scan(text, limits, NULL, NULL, fault);
    if (e != ERR_OK) {
        return e;
    }
    CLEANUP_JSON cJSON *tree = cJSON_ParseWithLength((const char *)text.ptr, text.len);
    if (tree == NULL) { /* the scan is the stricter of the two */
        return fault_set(fault, ERR_INVALID, "json_invalid", "", "not a JSON document");
    }
    e = refuse_duplicates(tree, fault);
    if (e != ERR_OK) {
        return e;
    }
    *ret = TAKE(tree);
    return ERR_OK;
}

err_t json_read(struct span text, const struct json_limits *limits, struct arena *arena,
                const cJSON **ret, struct fault *fault)
{
    assert(limits->max_depth <= JSON_DEPTH_MAX);
    cJSON *tree = NULL;
    err_t e = json_scan(text, limits, arena, &tree, fault);
    if (e == ERR_OK) {
        e = refuse_duplicates(tree, fault);
    }
    if (e == ERR_OK) {
        *ret = tree;
    }
    return e;
}

bool json_integer(const cJSON *value, int64_t *ret)
{
    if (!cJSON_IsNumber(value) || floor(value->valuedouble) != value->valuedouble ||
        fabs(value->valuedouble) > (double)JSON_INTEGER_MAX) {
        return false;
    }
    *ret = (int64_t)value->valuedouble;
    return true;
}

static void encode_number(const cJSON *value, struct buf *to)
{
    int64_t whole = 0;
    if (json_integer(value, &whole)) {
        (void)buf_printf(to, "%lld", (long long)whole);
    } else if (isfinite(value->valuedouble)) {
        (void)buf_printf(to, "%.17g", value->valuedouble);
    } else {
        (void)buf_append_str(to, "null");
    }
}

static void encode_value(const cJSON *value, struct buf *to);

static void encode_children(const cJSON *parent, struct buf *to, bool named)
{
    (void)buf_append_byte(to, named ? '{' : '[');
    for (const cJSON *child = parent->child; child != NULL; child = child->next) {
        if (child != parent->child) {
            (void)buf_append_byte(to, ',');
        }
        if (named) {
            (void)text_append_json(to, span_str(child->string));
            (void)buf_append_byte(to, ':');
        }
        encode_value(child, to);
    }
    (void)buf_append_byte(to, named ? '}' : ']');
}

static void encode_value(const cJSON *value, struct buf *to)
{
    if (cJSON_IsObject(value) || cJSON_IsArray(value)) {
        encode_children(value, to, cJSON_IsObject(value));
    } else if (cJSON_IsString(value)) {
        (void)text_append_json(to, span_str(value->valuestring));
    } else if (cJSON_IsNumber(value)) {
        encode_number(value, to);
    } else if (cJSON_IsBool(value)) {
        (void)buf_append_str(to, cJSON_IsTrue(value) ? "true" : "false");
    } else {
        (void)buf_append_str(to, "null");
    }
}

err_t json_encode(const cJSON *tree, struct buf *to)
{
    encode_value(tree, to);
    return buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}

const char *json_type_name(const cJSON *value)
{
    if (value == NULL) {
        return "missing";
    }
    switch (value->type & 0xff) {
    case cJSON_False:
    case cJSON_True:
        return "a boolean";
    case cJSON_Number:
        return "a number";
    case cJSON_String:
        return "a string";
    case cJSON_Array:
        return "an array";
    case cJSON_Object:
        return "an object";
    default:
        return "null";
    }
}

static const cJSON *find_member(const cJSON *object, struct span name)
{
    if (!cJSON_IsObject(object)) {
        return NULL;
    }
    for (const cJSON *member = object->child; member != NULL; member = member->next) {
        if (span_eq(span_str(member->string), name)) {
            return member;
        }
    }
    return NULL;
}

const cJSON *json_find(const cJSON *object, const char *path)
{
    while (object != NULL) {
        size_t len = strcspn(path, ".");
        object = find_member(object, span_of(path, len));
        if (path[len] == 0) {
            break;
        }
        path += len + 1;
    }
    return object;
}

static err_t mistyped(const cJSON *value, const char *path, const char *expected,
                      struct fault *fault)
{
    return fault_set(fault, ERR_INVALID, "validation_error", path, "must be %s, is %s", expected,
                     json_type_name(value));
}

err_t json_get_string(const cJSON *object, const char *path, const char **ret, struct fault *fault)
{
    const cJSON *value = json_find(object, path);
    if (!cJSON_IsString(value)) {
        return mistyped(value, path, "a string", fault);
    }
    *ret = value->valuestring;
    return ERR_OK;
}

err_t json_get_int(const cJSON *object, const char *path, int64_t min, int64_t max, int64_t *ret,
                   struct fault *fault)
{
    const cJSON *value = json_find(object, path);
    if (!cJSON_IsNumber(value)) {
        return mistyped(value, path, "a whole number", fault);
    }
    int64_t number = 0;
    if (!json_integer(value, &number) || number < min || number > max) {
        return fault_set(fault, ERR_INVALID, "validation_error", path,
                         "must be a whole number from %lld to %lld", (long long)min,
                         (long long)max);
    }
    *ret = number;
    return ERR_OK;
}

err_t json_get_bool(const cJSON *object, const char *path, bool *ret, struct fault *fault)
{
    const cJSON *value = json_find(object, path);
    if (!cJSON_IsBool(value)) {
        return mistyped(value, path, "true or false", fault);
    }
    *ret = cJSON_IsTrue(value);
    return ERR_OK;
}
