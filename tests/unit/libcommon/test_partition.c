/* The mapping of aggregates to partitions is stored data: these values never change. */
#include "common/partition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct {
    const char *key;
    size_t len;
    uint32_t hash;
    int32_t of_12, of_96;
} GOLDEN[] = {
    {"", 0, 0xab3e7c0b, 11, 11},
    {"a", 1, 0x1a80b1b3, 3, 51},
    {"b", 1, 0x82c46232, 6, 18},
    {"acme.example", 12, 0xf33ddaec, 8, 44},
    {"00112233445566778899aabbccddeeff", 32, 0x40b90f66, 6, 6},
    {"6ba7b810-9dad-11d1-80b4-00c04fd430c8", 36, 0xb48dedbc, 8, 92},
    {"\x00", 1, 0x0578ab1b, 11, 59},
    {"\xff\xfe\xfd", 3, 0x9bef4a4f, 7, 79},
};

static void golden_values_stay(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof GOLDEN / sizeof GOLDEN[0]; i++) {
        struct span key = span_of(GOLDEN[i].key, GOLDEN[i].len);
        assert_int_equal(stable_hash(key), GOLDEN[i].hash);
        assert_int_equal(partition_of(key, 12), GOLDEN[i].of_12);
        assert_int_equal(partition_of(key, 96), GOLDEN[i].of_96);
        assert_int_equal(partition_of(key, 1), 0);
    }
}

static void serial_numbers_spread_evenly(void **state)
{
    (void)state;
    enum { KEYS = 96000, COUNT = 96 };
    int hits[COUNT] = {0};
    for (int i = 0; i < KEYS; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "device-%08d", i);
        int32_t p = partition_of(span_str(key), COUNT);
        assert_in_range(p, 0, COUNT - 1);
        hits[p]++;
    }
    for (int p = 0; p < COUNT; p++) { /* mean 1000, sigma 32 */
        assert_in_range(hits[p], 840, 1160);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_values_stay),
        cmocka_unit_test(serial_numbers_spread_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
