/* Nobody who is due is overlooked: not behind those that cannot be renewed, not beyond the first
 * page of CAs, not beside a view that is being rebuilt. The views and the log are played by this
 * file. */
#include "auto_renew.h"

#include <stdio.h>

#include "common/json.h"
#include "test_support.h"

#define BATCH   10
#define DAY_MS  INT64_C(86400000)
#define NOW_MS  INT64_C(1800000000000)
#define CA_LAST 150 /* several pages of CAs */

static struct clock_test test_clock;
static const struct clock *test_time = &test_clock.clock;

/* One CA has devices: `held` ones that would not become longer, then `good` ones. */
static struct {
    int32_t ca_with_devices;
    size_t held, good;
    int32_t rebuilding;  /* partition of which no device can be read; -1: none */
    unsigned ordered[2]; /* by partition */
    unsigned held_orders;
    bool taken;           /* all have an operation */
    bool lost;            /* nothing is stored */
    uint8_t certificates; /* that came after the first one */
    unsigned settled;
} world;

static struct uuid ca_id(int32_t n)
{
    return (struct uuid){.bytes = {0xca, (uint8_t)(n >> 8), (uint8_t)n}};
}

static void uid_of(int32_t partition, size_t n, char uid[DEVICE_UID_LEN + 1])
{
    (void)snprintf(uid, DEVICE_UID_LEN + 1, "%08x%08zx", (unsigned)partition, n);
}

static bool is_held(const char *uid)
{
    return strtoul(uid + 8, NULL, 16) < world.held;
}

/* ---- fleet_view.h ---- */

int32_t fleet_view_partitions(const struct fleet_view *v)
{
    (void)v;
    return 1;
}

err_t fleet_view_automatic(struct fleet_view *v, int32_t partition, size_t from,
                           struct automatic_ca *ret, size_t max, size_t *ret_count)
{
    (void)v;
    assert_int_equal(partition, 0);
    size_t n = 0;
    for (size_t i = from; i <= CA_LAST && n < max; i++) {
        ret[n++] = (struct automatic_ca){ca_id((int32_t)i), 30 * DAY_MS / 1000};
    }
    *ret_count = n;
    return ERR_OK;
}

err_t fleet_view_due(struct fleet_view *v, const struct due_query *query, struct due_device *ret,
                     size_t max, size_t *ret_count)
{
    (void)v;
    struct uuid with = ca_id(world.ca_with_devices);
    size_t there = uuid_eq(query->ca, &with) ? world.held + world.good : 0;
    size_t n = 0;
    assert_true(query->until_s == (NOW_MS + 30 * DAY_MS) / 1000);
    for (size_t i = query->from; i < there && n < max; i++) {
        uid_of(query->partition, i, ret[n].uid);
        ret[n++].due_s = NOW_MS / 1000 + world.certificates;
    }
    *ret_count = n;
    return ERR_OK;
}

static struct device *golden(void)
{
    struct device *d = NULL;
    CLEANUP_BUF struct buf text = BUF_INIT(65536);
    FILE *file = fopen("proto/golden/device.v1/idle.json", "re");
    assert_non_null(file);
    text.len = fread(buf_reserve(&text, 65536), 1, 65536, file);
    (void)fclose(file);
    assert_ok(device_decode(buf_span(&text), &d, NULL));
    d->state = DEVICE_ACTIVE;
    d->operation = (struct device_operation){0};
    d->certificate.revoked_at_ms = 0;
    assert_true(device_has_certificate(d));
    return d;
}

err_t fleet_view_devices(struct fleet_view *v, const char *const *uids, size_t n,
                         struct arena *arena, struct span *ret)
{
    (void)v;
    CLEANUP(device_free) struct device *d = golden();
    for (size_t i = 0; i < n; i++) {
        if ((int32_t)(uids[i][7] - '0') == world.rebuilding) {
            return ERR_TIMEOUT;
        }
        CLEANUP_BUF struct buf packed = BUF_INIT(4096);
        d->certificate.not_after_ms = NOW_MS + (is_held(uids[i]) ? 400 : 20) * DAY_MS;
        d->operation.id = world.taken ? (struct uuid){{1}} : (struct uuid){{0}};
        d->operation.kind = world.taken ? OPERATION_RENEW : d->operation.kind;
        d->operation.state = world.taken ? OPERATION_QUEUED : d->operation.state;
        assert_ok(device_pack(d, &packed));
        uint8_t *copy = arena_alloc(arena, packed.len);
        memcpy(copy, packed.ptr, packed.len);
        ret[i] = span_of(copy, packed.len);
    }
    return ERR_OK;
}

err_t fleet_view_terms(struct fleet_view *v, const struct uuid *ca, int64_t now_ms,
                       struct renewal_terms *ret)
{
    (void)v;
    (void)ca;
    (void)now_ms;
    *ret = (struct renewal_terms){true, 90 * DAY_MS / 1000, NOW_MS + 1000 * DAY_MS};
    return ERR_OK;
}

/* ---- device_orders.h ---- */

const struct clock *device_orders_clock(const struct device_orders *o)
{
    (void)o;
    return test_time;
}

err_t device_orders_renew(struct device_orders *o, const struct uuid *id, const struct uuid *domain,
                          const struct device_renew_body *body)
{
    (void)o;
    (void)id;
    (void)domain;
    assert_true(body->automatic);
    world.ordered[body->uid[7] - '0']++;
    world.held_orders += is_held(body->uid);
    return ERR_OK;
}

err_t device_orders_settle(struct device_orders *o)
{
    (void)o;
    world.settled++;
    return world.lost ? ERR_UNAVAILABLE : ERR_OK;
}

/* ---- */

static struct metrics *metrics; /* of the searcher that begin made last */

static struct auto_renew *begin(int32_t ca, size_t held, size_t good)
{
    memset(&world, 0, sizeof world);
    world.ca_with_devices = ca;
    world.held = held;
    world.good = good;
    world.rebuilding = -1;
    clock_test_init(&test_clock, NOW_MS);
    metrics_free(metrics);
    metrics = metrics_new();
    return auto_renew_new(
        &(struct auto_renew_options){.metrics = metrics, .batch = BATCH, .resend_ms = 60000});
}

static const int32_t both[] = {0, 1};

static void every_authority_is_searched(void **state)
{
    (void)state;
    for (int32_t ca = 0; ca <= CA_LAST; ca += CA_LAST / 3) {
        CLEANUP(auto_renew_free) struct auto_renew *a = begin(ca, 0, 3);
        assert_ok(auto_renew_scan(a, both, 2));
        assert_int_equal(world.ordered[0], 3);
        assert_int_equal(world.ordered[1], 3);
        assert_int_equal(world.settled, 1);
        /* not again before they had time, but then */
        assert_ok(auto_renew_scan(a, both, 2));
        assert_int_equal(world.ordered[0], 3);
        clock_test_advance(&test_clock, 60001);
        clock_test_step(&test_clock, NOW_MS);
        assert_ok(auto_renew_scan(a, both, 2));
        assert_int_equal(world.ordered[0], 6);
    }
}

static void those_that_cannot_be_renewed_hide_nobody(void **state)
{
    (void)state;
    CLEANUP(auto_renew_free) struct auto_renew *a = begin(7, 5 * BATCH + 3, 4);
    assert_ok(auto_renew_scan(a, both, 2));
    assert_int_equal(world.ordered[0], 4);
    assert_int_equal(world.ordered[1], 4);
    assert_int_equal(world.held_orders, 0);
}

static void one_search_orders_a_batch_at_most(void **state)
{
    (void)state;
    CLEANUP(auto_renew_free) struct auto_renew *a = begin(7, 0, 3 * BATCH - 1);
    for (unsigned scans = 1; scans <= 4; scans++) {
        assert_ok(auto_renew_scan(a, both, 2));
        unsigned expected = scans * BATCH < 3 * BATCH - 1 ? scans * BATCH : 3 * BATCH - 1;
        assert_int_equal(world.ordered[0], expected);
    }
}

static void scan_for(struct auto_renew *a, int minutes)
{
    for (int scan = 0; scan < minutes * 6; scan++) {
        assert_err(auto_renew_scan(a, both, 1), world.lost ? ERR_UNAVAILABLE : ERR_OK);
        clock_test_advance(&test_clock, 10000);
        clock_test_step(&test_clock, NOW_MS);
    }
}

/* While their owner stands still its log must not fill with the same wishes. */
static void who_shows_nothing_is_ordered_less_and_less(void **state)
{
    (void)state;
    CLEANUP(auto_renew_free) struct auto_renew *a = begin(7, 0, 3);
    scan_for(a, 60);
    assert_in_range(world.ordered[0], 3 * 5, 3 * 7);
    unsigned before = world.ordered[0];
    scan_for(a, 24 * 60);
    assert_in_range(world.ordered[0] - before, 3 * 23, 3 * 25); /* once an hour, but not never */

    world.taken = true;
    before = world.ordered[0];
    scan_for(a, 10);
    assert_int_equal(world.ordered[0], before);
    world.taken = false;
    world.certificates++;
    scan_for(a, 2);
    assert_int_equal(world.ordered[0], before + 3 * 2); /* at once, and after scan.resend */
}

/* A log that was away for hours does not hold up what it never got. */
static void what_was_not_stored_is_ordered_as_before(void **state)
{
    (void)state;
    CLEANUP(auto_renew_free) struct auto_renew *a = begin(7, 0, 3);
    world.lost = true;
    scan_for(a, 60);
    assert_int_equal(world.ordered[0], 3 * 60);
    world.lost = false;
    scan_for(a, 1);
    assert_int_equal(world.ordered[0], 3 * 61);
}

/* What holds it back may end at any time. */
static void who_is_held_is_looked_at_as_before(void **state)
{
    (void)state;
    CLEANUP(auto_renew_free) struct auto_renew *a = begin(7, 3, 0);
    scan_for(a, 60);
    world.good = world.held;
    world.held = 0;
    scan_for(a, 2);
    assert_in_range(world.ordered[0], 3, 3 * 2);
}

static void a_view_that_is_rebuilt_holds_up_its_own_devices_only(void **state)
{
    (void)state;
    CLEANUP(auto_renew_free) struct auto_renew *a = begin(7, 0, 3);
    world.rebuilding = 0;
    assert_err(auto_renew_scan(a, both, 2), ERR_TIMEOUT);
    assert_int_equal(world.ordered[0], 0);
    assert_int_equal(world.ordered[1], 3);
}

static int end_group(void **state)
{
    (void)state;
    metrics_free(metrics);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_authority_is_searched),
        cmocka_unit_test(those_that_cannot_be_renewed_hide_nobody),
        cmocka_unit_test(one_search_orders_a_batch_at_most),
        cmocka_unit_test(who_shows_nothing_is_ordered_less_and_less),
        cmocka_unit_test(what_was_not_stored_is_ordered_as_before),
        cmocka_unit_test(who_is_held_is_looked_at_as_before),
        cmocka_unit_test(a_view_that_is_rebuilt_holds_up_its_own_devices_only),
    };
    return cmocka_run_group_tests(tests, NULL, end_group);
}
