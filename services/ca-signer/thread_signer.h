/*
 * The kernel signer of the calling thread: made at its first use, freed when the thread ends.
 * Workers of the processors sign with it. Its sessions hold references to CA keys, so threads end
 * before the key store goes.
 */
#ifndef CA_SIGNER_THREAD_SIGNER_H
#define CA_SIGNER_THREAD_SIGNER_H

#include "kernel.h"

struct kernel_signer *thread_signer(void) __attribute__((returns_nonnull));

#endif
