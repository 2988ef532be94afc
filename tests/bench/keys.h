/*
 * P-256 keys of simulated devices, made from their number alone: the seeding tool and the load
 * client make the same ones without a file between them. Private key `number` is a constant plus
 * the number, so that a row of public keys costs one point addition each. Worth nothing as keys.
 * One thread per object.
 */
#ifndef BENCH_KEYS_H
#define BENCH_KEYS_H

#include <openssl/evp.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "proto/device_protocol.h"

#define BENCH_SPKI_SIZE 91 /* an uncompressed P-256 SubjectPublicKeyInfo */

struct bench_keys;

/* Starts at `number`. */
struct bench_keys *bench_keys_new(uint32_t number);
void bench_keys_free(struct bench_keys *keys);
CLEANUP_DEFINE(struct bench_keys *, bench_keys_free);

/* The public key at hand, and its UID. */
void bench_keys_public(struct bench_keys *keys, uint8_t spki[BENCH_SPKI_SIZE],
                       char uid[DEVICE_UID_SIZE]);
/* The key pair at hand; owned by the caller. */
EVP_PKEY *bench_keys_pair(struct bench_keys *keys);
/* On to the next number. */
void bench_keys_next(struct bench_keys *keys);

/* A bench that cannot do its work has nothing to say: the program aborts. */
void bench_demand(bool holds, const char *what);

#endif
