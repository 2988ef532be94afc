#include "common/pool.h"

#include <pthread.h>
#include <stdatomic.h>

#include "test_support.h"

#define JOBS 1000

static void mark(void *arg, size_t i)
{
    ((int *)arg)[i]++;
}

static void check_all_once(size_t threads)
{
    CLEANUP(pool_free) struct pool *pool = NULL;
    assert_ok(pool_new(threads, "test", &pool));
    static int marks[JOBS];
    memset(marks, 0, sizeof marks);
    for (int round = 1; round <= 20; round++) {
        pool_run(pool, JOBS, mark, marks);
        for (size_t i = 0; i < JOBS; i++) {
            assert_int_equal(marks[i], round);
        }
    }
    pool_run(pool, 0, mark, NULL);
    pool_run(pool, 1, mark, marks);
    assert_int_equal(marks[0], 21);
    assert_int_equal(marks[1], 20);
}

static void test_every_job_runs_once(void **state)
{
    (void)state;
    check_all_once(0);
    check_all_once(1);
    check_all_once(4);
}

/* Two jobs that wait for each other finish only when they really run at the same time. */
static void meet(void *arg, size_t i)
{
    (void)i;
    (void)pthread_barrier_wait(arg);
}

static void test_jobs_run_at_the_same_time(void **state)
{
    (void)state;
    CLEANUP(pool_free) struct pool *pool = NULL;
    assert_ok(pool_new(2, "test", &pool));
    pthread_barrier_t barrier;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 3), 0);
    pool_run(pool, 3, meet, &barrier);
    assert_int_equal(pthread_barrier_destroy(&barrier), 0);
}

struct caller {
    struct pool *pool;
    int marks[JOBS];
};

static void *call(void *arg)
{
    struct caller *c = arg;
    for (int round = 0; round < 20; round++) {
        pool_run(c->pool, JOBS, mark, c->marks);
    }
    return NULL;
}

static void test_callers_take_turns(void **state)
{
    (void)state;
    CLEANUP(pool_free) struct pool *pool = NULL;
    assert_ok(pool_new(2, "test", &pool));
    static struct caller callers[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        callers[i] = (struct caller){.pool = pool};
        assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        for (size_t k = 0; k < JOBS; k++) {
            assert_int_equal(callers[i].marks[k], 20);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_job_runs_once),
        cmocka_unit_test(test_jobs_run_at_the_same_time),
        cmocka_unit_test(test_callers_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
