/* How the parts of the codec reach the members of a struct. Internal to libcommon. */
#ifndef COMMON_CODEC_ACCESS_H
#define COMMON_CODEC_ACCESS_H

#include "common/codec.h"

static inline void *codec_member(const struct codec_field *field, const void *object)
{
    return (uint8_t *)(uintptr_t)object + field->offset;
}

static inline size_t *codec_count(const struct codec_field *field, const void *object)
{
    return field->count_at == 0
               ? NULL
               : (size_t *)(void *)((uint8_t *)(uintptr_t)object + (field->count_at - 1));
}

static inline bool *codec_has(const struct codec_field *field, const void *object)
{
    return field->has_at == 0 ? NULL : (bool *)((uint8_t *)(uintptr_t)object + (field->has_at - 1));
}

static inline cJSON **codec_extra(const struct codec_table *table, const void *object)
{
    return table->extra_at == 0
               ? NULL
               : (cJSON **)(void *)((uint8_t *)(uintptr_t)object + (table->extra_at - 1));
}

/* The first element of an array field. */
static inline uint8_t *codec_elements(const struct codec_field *field, const void *object)
{
    void *member = codec_member(field, object);
    return field->heap ? *(uint8_t **)member : member;
}

#endif
