/* What is called "in the log" is: a record that Kafka refused or lost must not count as handed
 * over, and a producer that is beyond repair is replaced. Kafka is played by this file. */
#include "common/kafka_producer.h"

#include "device_orders.h"
#include "test_support.h"

struct kafka_producer {
    struct kafka_producer_config config;
    bool broken;
    unsigned held; /* produced, not reported */
};

static struct {
    struct kafka_producer *current;
    unsigned made, freed, produced, flushes;
    err_t fate;    /* of what is produced */
    bool swallows; /* nothing is ever reported */
} fake;

err_t kafka_producer_new(const struct kafka_config *config,
                         const struct kafka_producer_config *producer, struct fault *ret_fault,
                         struct kafka_producer **ret)
{
    (void)config;
    (void)ret_fault;
    fake.current = xcalloc(1, sizeof *fake.current);
    fake.current->config = *producer;
    fake.made++;
    *ret = fake.current;
    return ERR_OK;
}

static void report_all(struct kafka_producer *p, err_t result)
{
    for (; p->held > 0; p->held--) {
        const struct kafka_delivery_report report = {.result = result};
        if (p->config.on_delivery != NULL) {
            p->config.on_delivery(p->config.ctx, &report);
        }
    }
}

void kafka_producer_free(struct kafka_producer *p)
{
    if (p != NULL) {
        report_all(p, ERR_STOPPING);
        fake.freed++;
        free(p);
    }
}

err_t kafka_producer_produce(struct kafka_producer *p, const struct kafka_record *record)
{
    assert_true(record->value.len > 0);
    fake.produced++;
    p->held++;
    return ERR_OK;
}

err_t kafka_producer_flush(struct kafka_producer *p, int timeout_ms)
{
    (void)timeout_ms;
    fake.flushes++;
    if (fake.swallows) {
        return ERR_TIMEOUT;
    }
    report_all(p, fake.fate);
    return ERR_OK;
}

bool kafka_producer_is_broken(const struct kafka_producer *p)
{
    return p->broken;
}

size_t kafka_producer_undelivered(const struct kafka_producer *p)
{
    return p->held;
}

/* ---- */

static atomic_bool stopping;

static struct device_orders *begin(void)
{
    memset(&fake, 0, sizeof fake);
    atomic_store(&stopping, false);
    return device_orders_new(&(struct device_orders_options){
        .partitions = 12, .clock = &clock_system, .stopping = &stopping});
}

static err_t order(struct device_orders *o)
{
    struct uuid id = UUID_V5(span_str("operation"));
    struct device_renew_body body = {.uid = "0011223344556677", .operation = id};
    return device_orders_renew(o, &id, &id, &body);
}

static void stored_means_stored(void **state)
{
    (void)state;
    CLEANUP(device_orders_free) struct device_orders *o = begin();
    assert_ok(order(o));
    assert_ok(order(o));
    assert_ok(device_orders_settle(o));
    assert_int_equal(fake.produced, 2);
}

static void a_record_that_was_lost_is_told(void **state)
{
    (void)state;
    CLEANUP(device_orders_free) struct device_orders *o = begin();
    fake.fate = ERR_UNAVAILABLE;
    assert_ok(order(o));
    assert_err(device_orders_settle(o), ERR_UNAVAILABLE);
    /* once: what is sent again stands on its own */
    fake.fate = ERR_OK;
    assert_ok(order(o));
    assert_ok(device_orders_settle(o));
}

static void a_broken_producer_is_replaced(void **state)
{
    (void)state;
    CLEANUP(device_orders_free) struct device_orders *o = begin();
    assert_ok(order(o));
    fake.current->broken = true;
    assert_ok(order(o));
    assert_int_equal(fake.made, 2);
    assert_int_equal(fake.freed, 1);
    /* the first one went down with the producer */
    assert_err(device_orders_settle(o), ERR_UNAVAILABLE);
    assert_ok(order(o));
    assert_ok(device_orders_settle(o));
}

static void stopping_does_not_wait_for_kafka(void **state)
{
    (void)state;
    CLEANUP(device_orders_free) struct device_orders *o = begin();
    fake.swallows = true;
    assert_ok(order(o));
    atomic_store(&stopping, true);
    assert_err(device_orders_settle(o), ERR_STOPPING);
    assert_int_equal(fake.flushes, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_means_stored),
        cmocka_unit_test(a_record_that_was_lost_is_told),
        cmocka_unit_test(a_broken_producer_is_replaced),
        cmocka_unit_test(stopping_does_not_wait_for_kafka),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
