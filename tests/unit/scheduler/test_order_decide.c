/* Orders: who is refused and why, what a list becomes, how it goes on. */
#include "order_decide.h"
#include <stdio.h>

#include "test_support.h"

#define NOW INT64_C(1800000000000)
#define DAY INT64_C(86400000)

static struct uuid domain = {.bytes = {1}};
static const struct renewal_terms year = {true, 365 * 86400, NOW + 3650 * DAY};

static void renewable(struct device *d)
{
    memset(d, 0, sizeof *d);
    d->domain = domain;
    d->state = DEVICE_ACTIVE;
    d->certificate.installed_at_ms = NOW - 300 * DAY;
    d->certificate.not_after_ms = NOW + 65 * DAY;
}

static void another_domain(struct device *d)
{
    d->domain.bytes[0] = 2;
}
static void suspended(struct device *d)
{
    d->state = DEVICE_SUSPENDED;
}
static void unproved(struct device *d)
{
    d->certificate.installed_at_ms = 0;
}
static void revoked(struct device *d)
{
    d->certificate.revoked_at_ms = NOW;
}
static void handed_out(struct device *d)
{
    d->operation.id.bytes[0] = 9;
    d->operation.state = OPERATION_ISSUED;
}
static void waiting_for_key(struct device *d)
{
    d->operation.id.bytes[0] = 9;
    d->operation.state = OPERATION_AWAITING_KEY;
}
static void still_queued(struct device *d)
{
    d->operation.id.bytes[0] = 9;
    d->operation.state = OPERATION_QUEUED;
}
static void long_lived(struct device *d)
{
    d->certificate.not_after_ms = NOW + 365 * DAY;
}
static void unchanged(struct device *d)
{
    (void)d;
}

static void says_why_not(void **state)
{
    (void)state;
    static const struct {
        void (*change)(struct device *d);
        const char *code;
    } rows[] = {
        {another_domain, "not_found"},
        {suspended, "not_active"},
        {unproved, "no_certificate"},
        {revoked, "revoked"},
        {handed_out, "operation_in_progress"},
        {waiting_for_key, "operation_in_progress"},
        {long_lived, "not_longer"},
        {still_queued, ""},
        {unchanged, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct device d;
        renewable(&d);
        rows[i].change(&d);
        assert_string_equal(renewal_refusal(&d, &domain, &year, 0, NOW), rows[i].code);
        assert_true(rows[i].code[0] == 0 || strcmp(refusal_text(rows[i].code), "refused") != 0);
    }
    assert_string_equal(renewal_refusal(NULL, &domain, &year, 0, NOW), "not_found");
}

static void asks_the_ca(void **state)
{
    (void)state;
    struct device d;
    renewable(&d);
    struct renewal_terms gone = {0};
    assert_string_equal(renewal_refusal(&d, &domain, &gone, 0, NOW), "not_managed");
    /* The order's own validity counts before the CA's. */
    assert_string_equal(renewal_refusal(&d, &domain, &year, 64 * 86400, NOW), "not_longer");
    assert_string_equal(renewal_refusal(&d, &domain, &year, 66 * 86400, NOW), "");
    /* Nothing outlives its CA. */
    struct renewal_terms ending = {true, 365 * 86400, NOW + 60 * DAY};
    assert_string_equal(renewal_refusal(&d, &domain, &ending, 0, NOW), "not_longer");
}

static void place(size_t n, size_t refused, struct order_draft *draft)
{
    struct order_create request = {.kind = OPERATION_RENEW, .device_count = n};
    const char **refusals = xcalloc(n, sizeof *refusals);
    request.devices = xcalloc(n, sizeof *request.devices);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(request.devices[i].uid, sizeof request.devices[i].uid, "%016zx", i);
        refusals[i] = i < refused ? "operation_in_progress" : "";
    }
    order_place(&(struct order_placing){.id = {{7}},
                                        .domain = domain,
                                        .actor = "operator:x",
                                        .request_hash = "h",
                                        .request = &request,
                                        .refusals = refusals,
                                        .now_ms = NOW},
                draft);
    free(refusals);
    free(request.devices);
}

static void cuts_lists_into_chunks(void **state)
{
    (void)state;
    static const struct {
        size_t n, chunks, last;
    } rows[] = {{1, 1, 1}, {999, 1, 999}, {1000, 1, 1000}, {1001, 2, 1}, {10000, 10, 1000}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct order_draft draft;
        place(rows[i].n, 0, &draft);
        assert_int_equal(draft.chunk_count, rows[i].chunks);
        assert_int_equal(draft.chunks[rows[i].chunks - 1].device_count, rows[i].last);
        assert_int_equal(draft.header.queued, rows[i].n);
        assert_int_equal(draft.header.state, ORDER_FEEDING);
        order_draft_free(&draft);
    }
}

/* The fullest chunk there can be still fits into one record. */
static void chunks_fit_records(void **state)
{
    (void)state;
    struct order_draft draft;
    place(1000, 1000, &draft);
    CLEANUP_BUF struct buf record = BUF_INIT(ORDER_RECORD_MAX);
    assert_ok(codec_encode(&order_chunk_table, &draft.chunks[0], &record));
    assert_int_equal(draft.header.refused, 1000);
    assert_int_equal(draft.header.state, ORDER_DONE);
    order_draft_free(&draft);
}

static void goes_forward_only(void **state)
{
    (void)state;
    struct order before = {.state = ORDER_FEEDING, .total = 10, .cursor = 4};
    struct order after;
    assert_false(order_advance(&before, 4, NOW, &after));
    assert_false(order_advance(&before, 3, NOW, &after));
    assert_false(order_advance(&before, 11, NOW, &after));
    assert_true(order_advance(&before, 9, NOW, &after));
    assert_int_equal(after.state, ORDER_FEEDING);
    assert_true(order_advance(&before, 10, NOW, &after));
    assert_int_equal(after.state, ORDER_DONE);
    assert_false(order_advance(&after, 10, NOW, &before));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_why_not),           cmocka_unit_test(asks_the_ca),
        cmocka_unit_test(cuts_lists_into_chunks), cmocka_unit_test(chunks_fit_records),
        cmocka_unit_test(goes_forward_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
