/* Who holds a serial number, in a real Redis: while the guard grows, after the server forgot the
 * script, and how many bytes it takes. */
#include "serial_guard.h"

#include <stdio.h>
#include <stdlib.h>

#include "servers.h"
#include "test_support.h"

#define SERIALS   10000
#define BATCH     100
#define BYTES_MAX 30 /* per serial, keys of the buckets included */

static char host[64], password[128];

static struct redis *connect_as(const char *user)
{
    const char *address = servers_env("REDIS_ADDRESS");
    const char *colon = strrchr(address, ':');
    assert_non_null(colon);
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    CLEANUP_FREE char *path = xasprintf("%s/%s.password", servers_env("REDIS_DIR"), user);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(password, sizeof password, file));
    (void)fclose(file);
    password[strcspn(password, "\n")] = '\0';
    const struct redis_config config = {.host = host,
                                        .port = (uint16_t)strtoul(colon + 1, NULL, 10),
                                        .user = user,
                                        .password = password,
                                        .client_name = "integration-test",
                                        .backoff_min_ms = 10,
                                        .backoff_max_ms = 50};
    struct redis *r = redis_new(&config);
    serial_guard_register(r);
    assert_ok(redis_connect(r));
    return r;
}

static char serials[BATCH][24];

/* Claims SN-<first>.. for devices <base>+i. */
static void claim_batch(struct redis *r, const struct uuid *domain, unsigned first, unsigned base,
                        struct serial_claim *claims)
{
    for (unsigned i = 0; i < BATCH; i++) {
        (void)snprintf(serials[i], sizeof serials[i], "SN-%u", first + i);
        claims[i] = (struct serial_claim){.domain = *domain, .serial = serials[i]};
        (void)snprintf(claims[i].uid, sizeof claims[i].uid, "%016x", base + first + i);
    }
    assert_ok(serial_guard_claim(r, claims, BATCH));
}

static void assert_all_held_by(struct redis *r, const struct uuid *domain, unsigned claimer,
                               unsigned holder)
{
    struct serial_claim claims[BATCH];
    for (unsigned first = 0; first < SERIALS; first += BATCH) {
        claim_batch(r, domain, first, claimer, claims);
        for (unsigned i = 0; i < BATCH; i++) {
            char expected[DEVICE_UID_LEN + 1];
            (void)snprintf(expected, sizeof expected, "%016x", holder + first + i);
            assert_string_equal(claims[i].holder, expected);
        }
    }
}

static int64_t memory_used(struct redis *admin)
{
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    assert_ok(redis_command_str(admin, &reply, "INFO", "memory", (char *)NULL));
    const char *at = strstr((const char *)redis_reply_span(reply).ptr, "used_memory_dataset:");
    assert_non_null(at);
    return strtoll(at + strlen("used_memory_dataset:"), NULL, 10);
}

static void the_first_one_holds_it_while_the_guard_grows(void **state)
{
    (void)state;
    CLEANUP(redis_free) struct redis *r = connect_as("ca-signer");
    CLEANUP(redis_free) struct redis *admin = connect_as("admin");
    const struct uuid domain = uuid_v4();
    const struct uuid other = uuid_v4();
    assert_all_held_by(r, &other, 2000000, 2000000); /* what a fresh Redis allocates once */
    int64_t before = memory_used(admin);
    assert_all_held_by(r, &domain, 1000000, 1000000);
    int64_t bytes = memory_used(admin) - before;
    print_message("%d bytes per serial\n", (int)(bytes / SERIALS));
    assert_true(bytes / SERIALS <= BYTES_MAX);
    assert_all_held_by(r, &domain, 1000000, 1000000); /* again */
    assert_all_held_by(r, &domain, 2000000, 1000000); /* copies */
    assert_all_held_by(r, &other, 3000000, 2000000);  /* nobody else's business */
}

static void a_forgotten_script_is_loaded_again(void **state)
{
    (void)state;
    CLEANUP(redis_free) struct redis *r = connect_as("ca-signer");
    CLEANUP(redis_free) struct redis *admin = connect_as("admin");
    const struct uuid domain = uuid_v4();
    struct serial_claim claims[BATCH];
    claim_batch(r, &domain, 0, 1, claims);
    assert_ok(redis_command_str(admin, NULL, "SCRIPT", "FLUSH", (char *)NULL));
    claim_batch(r, &domain, 0, 500000, claims);
    for (unsigned i = 0; i < BATCH; i++) {
        char expected[DEVICE_UID_LEN + 1];
        (void)snprintf(expected, sizeof expected, "%016x", 1 + i);
        assert_string_equal(claims[i].holder, expected);
    }
}

static void two_in_one_round(void **state)
{
    (void)state;
    CLEANUP(redis_free) struct redis *r = connect_as("ca-signer");
    struct serial_claim claims[2] = {
        {.domain = uuid_v4(), .serial = "X", .uid = "00000000000000aa"}};
    claims[1] = claims[0];
    memcpy(claims[1].uid, "00000000000000bb", sizeof claims[1].uid);
    assert_ok(serial_guard_claim(r, claims, 2));
    assert_string_equal(claims[0].holder, "00000000000000aa");
    assert_string_equal(claims[1].holder, "00000000000000aa");
    assert_ok(serial_guard_claim(r, claims, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_one_holds_it_while_the_guard_grows),
        cmocka_unit_test(a_forgotten_script_is_loaded_again),
        cmocka_unit_test(two_in_one_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
