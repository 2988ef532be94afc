/* What an install means in money: refusals first, then once and only once. */
#include "charge.h"
#include "test_support.h"

#define MS_2026_11_30 INT64_C(1796083199000) /* 2026-11-30T23:59:59Z */

struct given {
    struct ledger_install install;
    struct charge_input in;
};

static void given_renewal(struct given *g)
{
    *g = (struct given){.install = {.uid = "0123456789abcdef",
                                    .kind = OPERATION_RENEW,
                                    .installed_at_ms = MS_2026_11_30}};
    memset(g->install.serial, 7, sizeof g->install.serial);
    memset(g->install.confirmation.signature, 9, 70);
    g->install.confirmation.signature_len = 70;
    g->in = (struct charge_input){.install = &g->install, .partition = 3, .offset = 42};
    memset(g->in.domain.bytes, 1, sizeof g->in.domain.bytes);
    g->in.id = ledger_charge_id(&g->in.domain, g->install.uid, g->install.serial, g->install.kind);
}

static void refuses_what_is_not_paid_for(void **state)
{
    (void)state;
    static const enum operation_kind free_kinds[] = {OPERATION_ISSUE, OPERATION_DELETE};
    for (size_t i = 0; i < 2; i++) {
        struct given g;
        struct charge_outcome out;
        struct fault fault = {0};
        given_renewal(&g);
        g.install.kind = free_kinds[i];
        g.in.id = ledger_charge_id(&g.in.domain, g.install.uid, g.install.serial, g.install.kind);
        assert_int_equal(charge_decide(&g.in, NULL, NULL, &out, &fault), ERR_INVALID);
        assert_string_equal(fault.code, "not_billable");
    }
}

static void refuses_an_install_without_payer(void **state)
{
    (void)state;
    struct given g;
    struct charge_outcome out;
    struct fault fault = {0};
    given_renewal(&g);
    memset(&g.in.domain, 0, sizeof g.in.domain);
    assert_int_equal(charge_decide(&g.in, NULL, NULL, &out, &fault), ERR_INVALID);
    assert_string_equal(fault.code, "no_payer");
}

/* The same install under two ids would be counted twice. */
static void refuses_a_foreign_id(void **state)
{
    (void)state;
    struct given g;
    struct charge_outcome out;
    struct fault fault = {0};
    given_renewal(&g);
    g.in.id.bytes[0] ^= 1;
    assert_int_equal(charge_decide(&g.in, NULL, NULL, &out, &fault), ERR_INVALID);
    assert_string_equal(fault.code, "foreign_charge_id");
}

static void charges_once(void **state)
{
    (void)state;
    struct given g;
    struct charge_outcome first;
    struct charge_outcome second;
    given_renewal(&g);
    assert_ok(charge_decide(&g.in, NULL, NULL, &first, NULL));
    assert_true(first.charged);
    assert_int_equal(first.charge.partition, 3);
    assert_int_equal(first.charge.offset, 42);
    assert_string_equal(first.charge.uid, g.install.uid);
    assert_string_equal(first.usage.month, "2026-11");
    assert_int_equal(first.usage.renew, 1);
    assert_int_equal(first.usage.total, 1);
    g.in.offset = 43;
    assert_ok(charge_decide(&g.in, &first.charge, &first.usage, &second, NULL));
    assert_false(second.charged);
}

static void counts_by_kind(void **state)
{
    (void)state;
    struct usage_record usage = {
        .type = USAGE_TYPE, .month = "2026-11", .renew = 5, .update = 2, .total = 7};
    struct given g;
    struct charge_outcome out;
    given_renewal(&g);
    g.install.kind = OPERATION_TRANSFER;
    g.in.id = ledger_charge_id(&g.in.domain, g.install.uid, g.install.serial, g.install.kind);
    assert_ok(charge_decide(&g.in, NULL, &usage, &out, NULL));
    assert_int_equal(out.usage.renew, 5);
    assert_int_equal(out.usage.update, 2);
    assert_int_equal(out.usage.transfer, 1);
    assert_int_equal(out.usage.total, 8);
}

static void id_differs_by_every_part(void **state)
{
    (void)state;
    struct given g;
    given_renewal(&g);
    struct uuid base = g.in.id;
    struct uuid other_domain = g.in.domain;
    other_domain.bytes[15] ^= 1;
    struct uuid ids[4] = {
        ledger_charge_id(&other_domain, g.install.uid, g.install.serial, OPERATION_RENEW),
        ledger_charge_id(&g.in.domain, "0123456789abcdee", g.install.serial, OPERATION_RENEW),
        ledger_charge_id(&g.in.domain, g.install.uid, g.install.serial, OPERATION_UPDATE), base};
    g.install.serial[0] ^= 1;
    ids[3] = ledger_charge_id(&g.in.domain, g.install.uid, g.install.serial, OPERATION_RENEW);
    for (size_t i = 0; i < 4; i++) {
        assert_false(uuid_eq(&ids[i], &base));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_not_paid_for),
        cmocka_unit_test(refuses_an_install_without_payer),
        cmocka_unit_test(refuses_a_foreign_id),
        cmocka_unit_test(charges_once),
        cmocka_unit_test(counts_by_kind),
        cmocka_unit_test(id_differs_by_every_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
