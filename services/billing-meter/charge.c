#include "charge.h"

#include <stdio.h>

#include "evidence.h"

static err_t check(const struct charge_input *in, struct fault *fault)
{
    const struct ledger_install *install = in->install;
    if (!ledger_billable(install->kind)) {
        return fault_set(fault, ERR_INVALID, "not_billable", "kind",
                         "must be renew, update or transfer");
    }
    if (uuid_is_zero(&in->domain)) {
        return fault_set(fault, ERR_INVALID, "no_payer", "domain",
                         "must name the domain that owned the device");
    }
    struct uuid expected =
        ledger_charge_id(&in->domain, install->uid, install->serial, install->kind);
    if (!uuid_eq(&expected, &in->id)) {
        return fault_set(fault, ERR_INVALID, "foreign_charge_id", "id",
                         "must be the UUIDv5 of domain, device, serial and kind, so that an "
                         "install is counted once");
    }
    return ERR_OK;
}

static void fill_charge(const struct charge_input *in, struct charge_record *charge)
{
    const struct ledger_install *install = in->install;
    *charge = (struct charge_record){.type = CHARGE_TYPE,
                                     .id = in->id,
                                     .domain = in->domain,
                                     .kind = install->kind,
                                     .automatic = install->automatic,
                                     .operation = install->operation,
                                     .order = install->order,
                                     .installed_at_ms = install->installed_at_ms,
                                     .partition = in->partition,
                                     .offset = in->offset};
    memcpy(charge->uid, install->uid, sizeof charge->uid);
    memcpy(charge->serial, install->serial, sizeof charge->serial);
    evidence_hash(install, charge->confirmation_hash);
}

static void fill_usage(const struct charge_input *in, const struct usage_record *before,
                       struct usage_record *usage)
{
    if (before != NULL) {
        codec_copy(&usage_record_table, before, usage);
    } else {
        *usage = (struct usage_record){.type = USAGE_TYPE, .domain = in->domain};
        ledger_month(in->install->installed_at_ms, usage->month);
    }
    usage->total++;
    usage->renew += in->install->kind == OPERATION_RENEW;
    usage->update += in->install->kind == OPERATION_UPDATE;
    usage->transfer += in->install->kind == OPERATION_TRANSFER;
}

err_t charge_decide(const struct charge_input *in, const struct charge_record *before,
                    const struct usage_record *usage, struct charge_outcome *ret,
                    struct fault *fault)
{
    err_t e = check(in, fault);
    if (e != ERR_OK) {
        return e;
    }
    *ret = (struct charge_outcome){.charged = before == NULL};
    if (ret->charged) {
        fill_charge(in, &ret->charge);
        fill_usage(in, usage, &ret->usage);
    }
    return ERR_OK;
}
