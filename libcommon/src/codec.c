#include "common/codec.h"

#include "codec_access.h"

const char *codec_name_of(const struct codec_name *names, int value)
{
    for (; names->name != NULL; names++) {
        if (names->value == value) {
            return names->name;
        }
    }
    return NULL;
}

bool codec_value_of(const struct codec_name *names, struct span name, int *ret)
{
    for (; names->name != NULL; names++) {
        if (span_eq(span_str(names->name), name)) {
            *ret = names->value;
            return true;
        }
    }
    return false;
}

static void free_field(const struct codec_field *field, void *object);

static void free_array(const struct codec_field *field, void *object)
{
    uint8_t *elements = codec_elements(field, object);
    size_t count = elements != NULL ? *codec_count(field, object) : 0;
    for (size_t i = 0; i < count; i++) {
        free_field(field->of.element, elements + i * field->size);
    }
    if (field->heap) {
        free(elements);
    }
}

static void free_field(const struct codec_field *field, void *object)
{
    void *member = codec_member(field, object);
    switch (field->kind) {
    case CODEC_KIND_TEXT:
        free(*(char **)member);
        break;
    case CODEC_KIND_JSON:
        cJSON_Delete(*(cJSON **)member);
        break;
    case CODEC_KIND_OBJECT:
        codec_free(field->of.table, member);
        break;
    case CODEC_KIND_ARRAY:
        free_array(field, object);
        break;
    default:
        break;
    }
}

void codec_free(const struct codec_table *table, void *object)
{
    for (size_t i = 0; i < table->count; i++) {
        free_field(&table->fields[i], object);
    }
    cJSON **extra = codec_extra(table, object);
    if (extra != NULL) {
        cJSON_Delete(*extra);
    }
    memset(object, 0, table->size);
}

static void copy_owned(const struct codec_table *table, void *object);

static cJSON *duplicate(const cJSON *tree)
{
    return tree != NULL ? cJSON_Duplicate(tree, true) : NULL;
}

/* The member holds the bytes of the original; what it points to becomes a copy of its own. */
static void copy_field(const struct codec_field *field, void *object)
{
    void *member = codec_member(field, object);
    switch (field->kind) {
    case CODEC_KIND_TEXT: {
        char **text = member;
        *text = *text != NULL ? xstrdup(*text) : NULL;
        break;
    }
    case CODEC_KIND_JSON: {
        cJSON **tree = member;
        *tree = duplicate(*tree);
        break;
    }
    case CODEC_KIND_OBJECT:
        copy_owned(field->of.table, member);
        break;
    case CODEC_KIND_ARRAY: {
        size_t count = *codec_count(field, object);
        if (field->heap && count > 0) {
            void *fresh = xcalloc(count, field->size);
            memcpy(fresh, codec_elements(field, object), count * field->size);
            *(void **)member = fresh;
        } else if (field->heap) {
            *(void **)member = NULL;
        }
        for (size_t i = 0; i < count; i++) {
            copy_field(field->of.element, codec_elements(field, object) + i * field->size);
        }
        break;
    }
    default:
        break;
    }
}

static void copy_owned(const struct codec_table *table, void *object)
{
    for (size_t i = 0; i < table->count; i++) {
        copy_field(&table->fields[i], object);
    }
    cJSON **extra = codec_extra(table, object);
    if (extra != NULL) {
        *extra = duplicate(*extra);
    }
}

void codec_copy(const struct codec_table *table, const void *from, void *to)
{
    memcpy(to, from, table->size);
    copy_owned(table, to);
}
