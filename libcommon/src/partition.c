#include "common/partition.h"

#include <assert.h>

uint32_t stable_hash(struct span key)
{
    uint32_t h = UINT32_C(2166136261);
    for (size_t i = 0; i < key.len; i++) {
        h = (h ^ key.ptr[i]) * UINT32_C(16777619);
    }
    /* FNV's low bits are weak for keys that differ in their last byte only */
    h = (h ^ (h >> 16)) * UINT32_C(0x85ebca6b);
    h = (h ^ (h >> 13)) * UINT32_C(0xc2b2ae35);
    return h ^ (h >> 16);
}

int32_t partition_of(struct span key, int32_t count)
{
    assert(count > 0);
    return (int32_t)(stable_hash(key) % (uint32_t)count);
}
