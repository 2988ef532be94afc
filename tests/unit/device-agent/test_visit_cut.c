/*
 * A whole life under power cuts: bootstrap and an ordered renewal against a server that checks
 * every signature and sequence number, on a disk that loses power at its k-th operation, for every
 * k. The server keeps what it knows. In the end both sides agree, each certificate was confirmed
 * once, and nothing that the device ever sent was refused.
 */
#include "device/session.h"
#include "life.h"
#include "storage_cut.h"
#include "test_support.h"

#define PROFILE    "000000abcdefghijklmnOP"
#define VISITS_MAX 8

static struct clock_test time_now;
static struct device_options options = {.clock = &time_now.clock, .flood_override_s = 0};

static void answer(struct life *life, struct device_session *s,
                   const struct device_http_request *request)
{
    struct device_http_answer a = {.retry_after_s = -1, .body = BUF_INIT(DEVICE_ANSWER_MAX)};
    long retry = -1;
    a.status = life_answer(life, s->device->rot, request->path, request->signature, request->body,
                           &a.body, &retry);
    device_session_answer(s, &a);
    device_http_answer_deinit(&a);
}

/* One visit to its end, whatever that is. */
static void visit(struct life *life, struct device *d)
{
    struct device_session s;
    struct device_http_request request;
    int64_t wait = 0;
    if (device_session_begin(&s, d, DEVICE_VISIT_BOUND_MS, NULL) != ERR_OK) {
        return;
    }
    for (;;) {
        enum device_step step = device_session_step(&s, &request, &wait);
        if (step == DEVICE_STEP_DONE) {
            break;
        }
        if (step == DEVICE_STEP_SEND) {
            answer(life, &s, &request);
        } else {
            clock_test_advance(&time_now, wait);
        }
    }
    device_session_end(&s);
}

static bool settled(struct life *life, const struct device *d)
{
    return life_numbers(life).confirms == 2 && d->state.stage == DEVICE_STAGE_NONE &&
           strcmp(life_installed(life, d->uid), device_current_serial(d)) == 0;
}

/* True when the power was cut before two visits had done everything. */
static bool live(struct life *life, struct cut_disk *disk, int cut)
{
    struct device *d = NULL;
    disk->cut_at = cut;
    if (device_open(cut_open(disk), &options, &d, NULL) == ERR_OK) {
        if (device_seal(d, PROFILE, "SN-1", NULL) == ERR_OK) {
            visit(life, d);
            visit(life, d);
        }
        device_free(d);
    }
    return disk->steps >= cut;
}

static void recover(struct life *life, struct cut_disk *disk)
{
    struct device *d = NULL;
    assert_ok(device_open(cut_open(disk), &options, &d, NULL));
    err_t sealed = device_seal(d, PROFILE, "SN-1", NULL);
    assert_true(sealed == ERR_OK || sealed == ERR_EXISTS);
    for (int i = 0; i < VISITS_MAX && !settled(life, d); i++) {
        clock_test_advance(&time_now, 60000);
        visit(life, d);
    }
    if (!settled(life, d)) {
        print_error("confirms %ld, stage %d, last error: %s\n", life_numbers(life).confirms,
                    (int)d->state.stage, d->state.last_error);
    }
    assert_true(settled(life, d));
    assert_int_equal(d->state.standing, DEVICE_STANDING_ACTIVE);
    assert_string_equal(d->state.failed_operation, "");
    assert_int_equal(life_numbers(life).refused, 0);
    device_free(d);
}

static void check_order(const char *kind, bool new_key)
{
    bool met = true;
    int cut = 0;
    for (; met; cut++) {
        for (unsigned damage = 0; damage < CUT_DAMAGE_COUNT; damage += 3) {
            struct life_options wish = {.renewals = 1, .kind = kind, .new_key = new_key};
            struct life *life = life_new(&wish);
            struct cut_disk *disk = cut_disk_new();
            met = live(life, disk, cut);
            cut_reboot(disk, damage);
            recover(life, disk);
            cut_disk_free(disk);
            life_free(life);
        }
    }
    print_message("%s: %d steps\n", kind, cut);
    assert_true(cut > 40);
}

static void test_renewal(void **state)
{
    (void)state;
    check_order("renew", false);
}

static void test_update(void **state)
{
    (void)state;
    check_order("update", true);
}

static int setup(void **state)
{
    (void)state;
    clock_test_init(&time_now, INT64_C(1795239000000));
    assert_ok(device_key_generate(&options.rot_key));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(options.rot_key);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_update),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
