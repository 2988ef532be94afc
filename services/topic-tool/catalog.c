#include "catalog.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

CLEANUP_DEFINE(cJSON *, cJSON_Delete);

#define FORMAT       1
#define TOPIC_PREFIX "fleetseal."
#define DLQ_SUFFIX   ".dlq"
#define DLQ_SETTINGS "dlq"

/* Where in the document we are, for messages. */
struct place {
    char text[FAULT_FIELD_MAX];
};

__attribute__((format(printf, 1, 2))) static struct place place_of(const char *format, ...)
{
    struct place p;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(p.text, sizeof(p.text), format, args); /* a cut place still points */
    va_end(args);
    return p;
}

static err_t invalid(struct fault *f, const struct place *p, const char *what)
{
    return fault_set(f, ERR_INVALID, "validation_error", p->text, "%s", what);
}

void catalog_deinit(struct catalog *c)
{
    for (size_t i = 0; i < c->settings_count; i++) {
        struct catalog_settings *s = &c->settings[i];
        for (size_t k = 0; k < s->count; k++) {
            free(s->list[k].name);
            free(s->list[k].value);
        }
        free(s->list);
        free(s->name);
    }
    for (size_t i = 0; i < c->topics_count; i++) {
        free(c->topics[i].name);
    }
    free(c->settings);
    free(c->topics);
    *c = (struct catalog){0};
}

const char *catalog_setting(const struct catalog_settings *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->list[i].name, name) == 0) {
            return s->list[i].value;
        }
    }
    return NULL;
}

const struct catalog_topic *catalog_topic(const struct catalog *c, const char *name)
{
    for (size_t i = 0; i < c->topics_count; i++) {
        if (strcmp(c->topics[i].name, name) == 0) {
            return &c->topics[i];
        }
    }
    return NULL;
}

/* Refuses members that are not in `known` (NULL-terminated), so that a misspelt one is not silently
 * ignored. */
static err_t check_members(const cJSON *object, const char *const *known, const char *prefix,
                           struct fault *f)
{
    const cJSON *member;
    cJSON_ArrayForEach(member, object)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], member->string) != 0) {
            i++;
        }
        if (!known[i]) {
            struct place p = place_of("%s%s", prefix, member->string);
            return invalid(f, &p, "is not a known field");
        }
    }
    return ERR_OK;
}

static err_t get_text(const cJSON *object, const char *name, const char *prefix, const char **ret,
                      struct fault *f)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsString(member) || member->valuestring[0] == '\0') {
        struct place p = place_of("%s%s", prefix, name);
        return invalid(f, &p, "must be a text that is not empty");
    }
    *ret = member->valuestring;
    return ERR_OK;
}

/* An absent flag is false. */
static err_t get_flag(const cJSON *object, const char *name, const char *prefix, bool *ret,
                      struct fault *f)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);
    if (member && !cJSON_IsBool(member)) {
        struct place p = place_of("%s%s", prefix, name);
        return invalid(f, &p, "must be true or false");
    }
    *ret = cJSON_IsTrue(member);
    return ERR_OK;
}

static err_t get_integer(const cJSON *object, const char *name, int min, int max, int *ret,
                         struct fault *f)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsNumber(member) || member->valuedouble < min || member->valuedouble > max ||
        trunc(member->valuedouble) != member->valuedouble) {
        return fault_set(f, ERR_INVALID, "validation_error", name, "must be a whole number, %d..%d",
                         min, max);
    }
    *ret = (int)member->valuedouble;
    return ERR_OK;
}

static err_t parse_settings(const cJSON *object, struct catalog_settings *s, struct fault *f)
{
    const cJSON *member;
    cJSON_ArrayForEach(member, object)
    {
        struct place p = place_of("settings.%s.%s", s->name, member->string);
        if (!cJSON_IsString(member) || member->valuestring[0] == '\0') {
            return invalid(f, &p, "must be a text that is not empty");
        }
        if (catalog_setting(s, member->string)) {
            return invalid(f, &p, "is there twice");
        }
        s->list = xrealloc(s->list, s->count + 1, sizeof(*s->list));
        s->list[s->count++] =
            (struct catalog_setting){xstrdup(member->string), xstrdup(member->valuestring)};
    }
    if (!catalog_setting(s, "cleanup.policy")) {
        struct place p = place_of("settings.%s.cleanup.policy", s->name);
        return invalid(f, &p, "is missing: every topic says how it forgets");
    }
    return ERR_OK;
}

static const struct catalog_settings *find_settings(const struct catalog *c, const char *name)
{
    for (size_t i = 0; i < c->settings_count; i++) {
        if (strcmp(c->settings[i].name, name) == 0) {
            return &c->settings[i];
        }
    }
    return NULL;
}

static err_t parse_all_settings(const cJSON *root, struct catalog *c, struct fault *f)
{
    const cJSON *all = cJSON_GetObjectItemCaseSensitive(root, "settings");
    if (!cJSON_IsObject(all) || !all->child) {
        return fault_set(f, ERR_INVALID, "validation_error", "settings",
                         "must be an object of named settings");
    }
    /* Topics point into this array: it gets its final size before the first of them. */
    c->settings = xcalloc((size_t)cJSON_GetArraySize(all), sizeof(*c->settings));
    const cJSON *one;
    cJSON_ArrayForEach(one, all)
    {
        struct place p = place_of("settings.%s", one->string);
        if (!cJSON_IsObject(one)) {
            return invalid(f, &p, "must be an object of texts");
        }
        if (find_settings(c, one->string)) {
            return invalid(f, &p, "is there twice");
        }
        struct catalog_settings *s = &c->settings[c->settings_count++];
        s->name = xstrdup(one->string);
        err_t e = parse_settings(one, s, f);
        if (e) {
            return e;
        }
    }
    return ERR_OK;
}

static bool name_valid(const char *name)
{
    const size_t prefix = strlen(TOPIC_PREFIX);
    if (strncmp(name, TOPIC_PREFIX, prefix) != 0 || strlen(name) > CATALOG_MAX_NAME) {
        return false;
    }
    /* No upper case and no underscore: Kafka's metrics cannot tell a dot from an underscore. */
    const size_t rest = strspn(name + prefix, "abcdefghijklmnopqrstuvwxyz0123456789.-");
    return rest > 0 && name[prefix + rest] == '\0';
}

static err_t add_topic(struct catalog *c, const char *name, const struct catalog_settings *settings,
                       bool state, const struct place *p, struct fault *f)
{
    if (!name_valid(name)) {
        return invalid(f, p,
                       "must be '" TOPIC_PREFIX
                       "' and lower-case letters, digits, '.' and '-', at most 249 in all");
    }
    if (catalog_topic(c, name)) {
        return invalid(f, p, "is there twice");
    }
    c->topics[c->topics_count++] = (struct catalog_topic){xstrdup(name), settings, state};
    return ERR_OK;
}

static err_t add_dead_letters(struct catalog *c, const char *name, const struct place *p,
                              struct fault *f)
{
    const struct catalog_settings *settings = find_settings(c, DLQ_SETTINGS);
    if (!settings) {
        return invalid(f, p, "needs settings named '" DLQ_SETTINGS "'");
    }
    CLEANUP_FREE char *dlq = xasprintf("%s" DLQ_SUFFIX, name);
    return add_topic(c, dlq, settings, false, p, f);
}

static err_t check_texts(const cJSON *object, const char *prefix, struct fault *f)
{
    static const char *const required[] = {"name", "settings", "partition_key", "record_key",
                                           "holds"};
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        const char *unused;
        err_t e = get_text(object, required[i], prefix, &unused, f);
        if (e) {
            return e;
        }
    }
    return ERR_OK;
}

static err_t parse_topic(const cJSON *object, int index, struct catalog *c, struct fault *f)
{
    static const char *const known[] = {"name",  "settings", "partition_key", "record_key",
                                        "holds", "dlq",      "state",         NULL};
    const struct place at = place_of("topics[%d].", index);
    bool dlq = false;
    bool state = false;
    err_t e = cJSON_IsObject(object) ? check_members(object, known, at.text, f)
                                     : invalid(f, &at, "must be an object");
    if (!e) {
        e = check_texts(object, at.text, f);
    }
    if (!e) {
        e = get_flag(object, "dlq", at.text, &dlq, f);
    }
    if (!e) {
        e = get_flag(object, "state", at.text, &state, f);
    }
    if (e) {
        return e;
    }
    const char *name = cJSON_GetObjectItemCaseSensitive(object, "name")->valuestring;
    struct place p = place_of("%ssettings", at.text);
    const struct catalog_settings *settings =
        find_settings(c, cJSON_GetObjectItemCaseSensitive(object, "settings")->valuestring);
    if (!settings) {
        return invalid(f, &p, "names settings that do not exist");
    }
    if (state && strcmp(catalog_setting(settings, "cleanup.policy"), "compact") != 0) {
        return invalid(f, &p,
                       "must have cleanup.policy 'compact': a view is rebuilt from a state topic");
    }
    p = place_of("%sname", at.text);
    e = add_topic(c, name, settings, state, &p, f);
    return !e && dlq ? add_dead_letters(c, name, &p, f) : e;
}

static err_t parse_topics(const cJSON *root, struct catalog *c, struct fault *f)
{
    const cJSON *all = cJSON_GetObjectItemCaseSensitive(root, "topics");
    if (!cJSON_IsArray(all) || !all->child) {
        return fault_set(f, ERR_INVALID, "validation_error", "topics",
                         "must be a list of at least one topic");
    }
    /* Room for a dead-letter topic each. */
    c->topics = xcalloc(2 * (size_t)cJSON_GetArraySize(all), sizeof(*c->topics));
    int index = 0;
    const cJSON *one;
    cJSON_ArrayForEach(one, all)
    {
        err_t e = parse_topic(one, index++, c, f);
        if (e) {
            return e;
        }
    }
    return ERR_OK;
}

static err_t parse_document(struct span text, cJSON **ret, struct fault *f)
{
    if (text.len > CATALOG_MAX_BYTES) {
        return fault_set(f, ERR_TOO_LARGE, "validation_error", "", "the catalogue is over %d bytes",
                         CATALOG_MAX_BYTES);
    }
    const char *end = NULL;
    CLEANUP(cJSON_Delete)
    cJSON *root = cJSON_ParseWithLengthOpts((const char *)text.ptr, text.len, &end, false);
    const char *limit = (const char *)text.ptr + text.len;
    while (root && end < limit && strchr(" \t\r\n", *end) && *end != '\0') {
        end++;
    }
    if (!root || end != limit || !cJSON_IsObject(root)) {
        return fault_set(f, ERR_INVALID, "validation_error", "",
                         "the catalogue is not one JSON object");
    }
    *ret = TAKE(root);
    return ERR_OK;
}

err_t catalog_parse(struct span text, struct catalog *ret, struct fault *f)
{
    static const char *const known[] = {"format", "partitions", "settings", "topics", NULL};
    CLEANUP(cJSON_Delete) cJSON *root = NULL;
    CLEANUP(catalog_deinit) struct catalog c = {0};
    int format;
    err_t e = parse_document(text, &root, f);
    if (!e) {
        e = check_members(root, known, "", f);
    }
    if (!e) {
        e = get_integer(root, "format", FORMAT, FORMAT, &format, f);
    }
    if (!e) {
        e = get_integer(root, "partitions", 1, CATALOG_MAX_PARTITIONS, &c.partitions, f);
    }
    if (!e) {
        e = parse_all_settings(root, &c, f);
    }
    if (!e) {
        e = parse_topics(root, &c, f);
    }
    if (e) {
        return e;
    }
    *ret = c;
    c = (struct catalog){0};
    return ERR_OK;
}
