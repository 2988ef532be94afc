/*
 * What an install means in money: a charge, once, and its place in the month's usage. Pure
 * functions, any thread.
 */
#ifndef BILLING_METER_CHARGE_H
#define BILLING_METER_CHARGE_H

#include "common/err.h"
#include "proto/ledger.h"

/* An install as it arrived, with where it stands in the log. */
struct charge_input {
    struct uuid id;     /* of the request */
    struct uuid domain; /* that pays */
    const struct ledger_install *install;
    int32_t partition;
    int64_t offset;
};

struct charge_outcome {
    bool charged; /* false: this install was counted before; nothing changes */
    struct charge_record charge;
    struct usage_record usage;
};

/*
 * `before` is the charge record of that id, `usage` that of the month; NULL where absent.
 * ERR_INVALID: not an install that is paid for, or one under a foreign id: for the dead letters,
 * `fault` says why.
 */
err_t charge_decide(const struct charge_input *in, const struct charge_record *before,
                    const struct usage_record *usage, struct charge_outcome *ret,
                    struct fault *fault) MUST_USE;

#endif
