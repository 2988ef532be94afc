/*
 * Which partition an aggregate lives in. One function for the whole system: everybody who produces
 * passes the partition explicitly, so requests, state and views of one aggregate share its number.
 *
 * The value is FNV-1a (32 bit) of the key's bytes, its bits then spread by the finaliser of
 * MurmurHash3, modulo the number of partitions. It is part of the stored data: changing it, or the
 * number of partitions of a topic, separates every aggregate from its history. The golden values of
 * the test are the contract.
 */
#ifndef COMMON_PARTITION_H
#define COMMON_PARTITION_H

#include <stdint.h>

#include "common/buf.h"

/* The 32-bit value behind it, for other stable spreading (shards, jitter). Any thread. */
uint32_t stable_hash(struct span key);
/* 0 <= result < count; count > 0. Any thread. */
int32_t partition_of(struct span key, int32_t count);

#endif
