/* What would break a user: two allocations that overlap, bytes of an earlier round in a new one. */
#include "common/arena.h"

#include <stdalign.h>

#include "test_support.h"

static void test_allocations_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    CLEANUP(arena_deinit) struct arena a = {0};
    /* sizes around and over whatever a chunk may be; twice, the second time in used memory */
    const size_t sizes[] = {0, 1, 7, 16, 17, 1000, 4096, 65535, 65536, 65537, 300000};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    for (int round = 0; round < 2; round++) {
        uint8_t *made[COUNT];
        for (size_t i = 0; i < COUNT; i++) {
            made[i] = arena_alloc(&a, sizes[i]);
            assert_int_equal((uintptr_t)made[i] % alignof(max_align_t), 0);
            for (size_t k = 0; k < sizes[i]; k++) {
                assert_int_equal(made[i][k], 0);
            }
            memset(made[i], (int)i + 1, sizes[i]);
        }
        for (size_t i = 0; i < COUNT; i++) {
            for (size_t k = 0; k < sizes[i]; k++) {
                assert_int_equal(made[i][k], i + 1);
            }
        }
        arena_clear(&a);
    }
}

static void test_spans_are_copies(void **state)
{
    (void)state;
    CLEANUP(arena_deinit) struct arena a = {0};
    char text[] = "a\0b";
    struct span copy = arena_span(&a, span_of((const uint8_t *)text, 3));
    text[0] = 'x';
    assert_int_equal(copy.len, 3);
    assert_memory_equal(copy.ptr, "a\0b", 4); /* with a NUL behind it */
    assert_null(arena_span(&a, (struct span){0}).ptr);
    struct span empty = arena_span(&a, span_str(""));
    assert_non_null(empty.ptr);
    assert_int_equal(empty.len, 0);
    assert_string_equal(arena_str(&a, "text"), "text");
}

/* A round like the one before needs no new memory. */
static void test_memory_is_kept_over_clear(void **state)
{
    (void)state;
    CLEANUP(arena_deinit) struct arena a = {0};
    void *first = arena_alloc(&a, 100);
    arena_clear(&a);
    assert_ptr_equal(arena_alloc(&a, 100), first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations_are_zeroed_aligned_and_apart),
        cmocka_unit_test(test_spans_are_copies),
        cmocka_unit_test(test_memory_is_kept_over_clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
