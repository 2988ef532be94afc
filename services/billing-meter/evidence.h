/*
 * The check that no charge exists without proof: the confirmation inside an install must be signed
 * by the key of the certificate inside it, for this device, this serial. ca-signer has checked the
 * same before; the ledger does not take its word. Any thread.
 */
#ifndef BILLING_METER_EVIDENCE_H
#define BILLING_METER_EVIDENCE_H

#include "common/err.h"
#include "proto/ledger.h"

/* ERR_INVALID with `fault` (code "evidence_invalid") saying what does not fit; ERR_INTERNAL when
 * libcrypto fails. */
err_t evidence_check(const struct ledger_install *install, struct fault *fault) MUST_USE;
/* SHA-256 over the signature's bytes: the short form that events and invoices carry. */
void evidence_hash(const struct ledger_install *install, uint8_t out[32]);

#endif
