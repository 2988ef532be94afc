/*
 * The words of a CA's record for what its certificates are for, as the kernel's bits. Pure, any
 * thread.
 */
#ifndef CA_SIGNER_CA_USAGE_H
#define CA_SIGNER_CA_USAGE_H

#include <stddef.h>

/* `words` are values of enum ca_key_usage; the result is of enum key_usage bits. */
unsigned ca_usage_bits(const int *words, size_t count);
/* `words` are values of enum ca_extended_usage; the result is of enum extended_usage bits. */
unsigned ca_extended_usage_bits(const int *words, size_t count);

#endif
