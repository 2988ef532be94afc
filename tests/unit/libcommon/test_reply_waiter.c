/* The promises of reply_waiter_send when a reply and a failure meet; the servers are played by the
 * linker (CMakeLists.txt). Everything else is tested on real servers. */
#include "common/reply_waiter.h"

#include <stdio.h>

#include "common/redis_subscriber.h"
#include "test_support.h"

#define ID "0190f3a1-0000-7000-8000-000000000001"

static struct redis_subscriber_config subscription;
static bool reply_comes; /* while the record is being sent */
static err_t sending;
static const struct kafka_producer *sender; /* of the last record */

err_t __wrap_redis_subscriber_start(const struct redis_subscriber_config *config,
                                    struct redis_subscriber **ret);
void __wrap_redis_subscriber_stop(struct redis_subscriber *s);
bool __wrap_redis_subscriber_is_up(const struct redis_subscriber *s);
err_t __wrap_kafka_producer_produce(struct kafka_producer *p, const struct kafka_record *record);

err_t __wrap_redis_subscriber_start(const struct redis_subscriber_config *config,
                                    struct redis_subscriber **ret)
{
    subscription = *config;
    *ret = NULL;
    return ERR_OK;
}

void __wrap_redis_subscriber_stop(struct redis_subscriber *s)
{
    (void)s;
}

bool __wrap_redis_subscriber_is_up(const struct redis_subscriber *s)
{
    (void)s;
    return true;
}

err_t __wrap_kafka_producer_produce(struct kafka_producer *p, const struct kafka_record *record)
{
    (void)record;
    sender = p;
    if (reply_comes) {
        subscription.on_message(subscription.ctx, span_str("channel"), span_str(ID " {}"));
    }
    return sending;
}

struct told {
    unsigned times;
    enum reply_outcome outcome;
};

static void done(void *ctx, enum reply_outcome outcome, struct span reply)
{
    struct told *told = ctx;
    (void)reply;
    told->times++;
    told->outcome = outcome;
}

static struct reply_waiter *start_waiter(void)
{
    const struct kafka_config kafka = {.brokers = "127.0.0.1:1", .client_id = "test"};
    const struct redis_config redis = {.host = "127.0.0.1", .port = 1};
    const struct reply_waiter_config config = {
        .kafka = &kafka, .redis = &redis, .instance = "test-0"};
    struct reply_waiter *w = NULL;
    assert_ok(reply_waiter_start(&config, NULL, &w));
    return w;
}

static const struct kafka_record record = {.topic = "t", .value = {(const uint8_t *)"{}", 2}};

static err_t send_one(struct told *told, struct reply_waiter_stats *ret_stats)
{
    struct reply_waiter *w = start_waiter();
    err_t e = reply_waiter_send(w, &record, ID, 60000, done, told);
    reply_waiter_stats(w, ret_stats);
    reply_waiter_stop(w, 0);
    return e;
}

static void what_could_not_be_sent_is_not_told(void **state)
{
    (void)state;
    struct told told = {0};
    struct reply_waiter_stats stats = {0};
    reply_comes = false;
    sending = ERR_BUSY;
    assert_err(send_one(&told, &stats), ERR_BUSY);
    assert_int_equal(told.times, 0);
    assert_int_equal(stats.pending, 0);
    assert_int_equal(stats.sent, 0);
}

/* The same request was sent before, and its reply comes just now. */
static void a_reply_that_comes_before_the_failure_is_the_outcome(void **state)
{
    (void)state;
    struct told told = {0};
    struct reply_waiter_stats stats = {0};
    reply_comes = true;
    sending = ERR_BUSY;
    assert_ok(send_one(&told, &stats));
    assert_int_equal(told.times, 1);
    assert_int_equal(told.outcome, REPLY_ANSWERED);
    assert_int_equal(stats.pending, 0);
    assert_int_equal(stats.answered, 1);
}

/* A few are sent at once; where many wait, records go by the producer that lets them wait for each
 * other, until the many are gone. */
static void a_crowd_is_sent_together(void **state)
{
    (void)state;
    struct told told = {0};
    reply_comes = false;
    sending = ERR_OK;
    struct reply_waiter *w = start_waiter();
    const struct kafka_producer *prompt = reply_waiter_producer(w);
    unsigned at_once = 0;
    for (unsigned i = 0; i < 300; i++) {
        assert_ok(reply_waiter_send(w, &record, ID, 60000, done, &told));
        at_once += sender == prompt ? 1 : 0;
    }
    assert_in_range(at_once, 16, 128);
    assert_ptr_not_equal(sender, prompt);
    subscription.on_message(subscription.ctx, span_str("channel"), span_str(ID " {}"));
    assert_int_equal(told.times, 300);
    assert_ok(reply_waiter_send(w, &record, ID, 60000, done, &told));
    assert_ptr_equal(sender, prompt);
    reply_waiter_stop(w, 0);
    assert_int_equal(told.times, 301);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_could_not_be_sent_is_not_told),
        cmocka_unit_test(a_reply_that_comes_before_the_failure_is_the_outcome),
        cmocka_unit_test(a_crowd_is_sent_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
