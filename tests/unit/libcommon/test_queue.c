#include "common/queue.h"

#include <pthread.h>
#include <stdatomic.h>

#include "test_support.h"

#define LONG_MS 30000

static int numbers[10];

static void test_order_and_bound(void **state)
{
    (void)state;
    struct queue *q = queue_new(3);
    void *item = NULL;
    assert_err(queue_pop(q, 0, &item), ERR_TIMEOUT);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 3; i++) {
            assert_ok(queue_push(q, &numbers[i]));
        }
        assert_err(queue_push(q, &numbers[3]), ERR_BUSY);
        assert_err(queue_push_wait(q, &numbers[3], 1), ERR_TIMEOUT);
        assert_int_equal(queue_length(q), 3);
        for (int i = 0; i < 3; i++) {
            assert_ok(queue_pop(q, 0, &item));
            assert_ptr_equal(item, &numbers[i]);
        }
        assert_ok(queue_push(q, &numbers[9])); /* shifts the ring */
        assert_ok(queue_pop(q, 0, &item));
    }
    queue_free(q, NULL);
}

static void test_close_drains_then_stops(void **state)
{
    (void)state;
    struct queue *q = queue_new(3);
    assert_ok(queue_push(q, &numbers[0]));
    queue_close(q);
    assert_err(queue_push(q, &numbers[1]), ERR_STOPPING);
    assert_err(queue_push_wait(q, &numbers[1], LONG_MS), ERR_STOPPING);
    void *item = NULL;
    assert_ok(queue_pop(q, LONG_MS, &item));
    assert_ptr_equal(item, &numbers[0]);
    assert_err(queue_pop(q, LONG_MS, &item), ERR_STOPPING);
    queue_free(q, NULL);
}

static int dropped;
static void count_drop(void *item)
{
    (void)item;
    dropped++;
}

static void test_free_drops_what_is_left(void **state)
{
    (void)state;
    struct queue *q = queue_new(3);
    assert_ok(queue_push(q, &numbers[0]));
    assert_ok(queue_push(q, &numbers[1]));
    dropped = 0;
    queue_free(q, count_drop);
    assert_int_equal(dropped, 2);
    queue_free(NULL, NULL);
}

static void test_pop_many_takes_what_is_there(void **state)
{
    (void)state;
    struct queue *q = queue_new(5);
    void *items[3];
    size_t count = 99;
    assert_err(queue_pop_many(q, 0, items, 3, &count), ERR_TIMEOUT);
    assert_int_equal(count, 99);
    for (int i = 0; i < 5; i++) {
        assert_ok(queue_push(q, &numbers[i]));
    }
    assert_ok(queue_pop_many(q, LONG_MS, items, 3, &count));
    assert_int_equal(count, 3);
    assert_ptr_equal(items[2], &numbers[2]);
    assert_ok(queue_pop_many(q, LONG_MS, items, 3, &count));
    assert_int_equal(count, 2);
    queue_free(q, NULL);
}

static void *close_it(void *arg)
{
    queue_close(arg);
    return NULL;
}

static void test_close_wakes_a_waiter(void **state)
{
    (void)state;
    struct queue *q = queue_new(1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, close_it, q), 0);
    void *item = NULL;
    assert_err(queue_pop(q, LONG_MS, &item), ERR_STOPPING);
    assert_int_equal(pthread_join(thread, NULL), 0);
    queue_free(q, NULL);
}

#define EACH 5000
static _Atomic int popped;

static void *produce(void *arg)
{
    for (int i = 0; i < EACH; i++) {
        if (queue_push_wait(arg, &numbers[0], LONG_MS) != ERR_OK) {
            return arg;
        }
    }
    return NULL;
}

static void *consume(void *arg)
{
    void *item = NULL;
    while (queue_pop(arg, LONG_MS, &item) == ERR_OK) {
        (void)atomic_fetch_add(&popped, 1);
    }
    return NULL;
}

static void test_many_threads_lose_nothing(void **state)
{
    (void)state;
    struct queue *q = queue_new(4);
    pthread_t producers[3];
    pthread_t consumers[3];
    atomic_store(&popped, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&producers[i], NULL, produce, q), 0);
        assert_int_equal(pthread_create(&consumers[i], NULL, consume, q), 0);
    }
    for (int i = 0; i < 3; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(producers[i], &failed), 0);
        assert_null(failed);
    }
    queue_close(q);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(consumers[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&popped), 3 * EACH);
    queue_free(q, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_bound),
        cmocka_unit_test(test_close_drains_then_stops),
        cmocka_unit_test(test_free_drops_what_is_left),
        cmocka_unit_test(test_pop_many_takes_what_is_there),
        cmocka_unit_test(test_close_wakes_a_waiter),
        cmocka_unit_test(test_many_threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
