/* A visit as the agent makes it: the server's anchors come from two places. */
#include "app.h"

#include <stdlib.h>
#include <unistd.h>

#include "test_certificate.h"
#include "test_support.h"

/* Nobody listens there. */
#define SERVER "https://127.0.0.1:1"

static char factory[] = "/tmp/fleetseal-anchors-XXXXXX";

static void write_factory(const char *text)
{
    FILE *f = fopen(factory, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static const struct storage_ops *real_ops;

static err_t read_no_anchors(struct storage *s, const char *name, struct buf *to)
{
    return strcmp(name, DEVICE_SERVER_CA_FILE) == 0 ? ERR_INTERNAL : real_ops->read(s, name, to);
}

/* A visit of a new device to a server that is not there. */
static err_t visit(struct storage *storage, struct fault *fault)
{
    const struct config config = {.server = SERVER, .server_ca = factory, .timeout_s = 1};
    const struct device_options options = {.clock = &clock_system, .flood_override_s = -1};
    struct app a = {.config = &config, .stop_fd = -1, .nudge_fd = -1, .lock_fd = -1};
    struct device_outcome outcome = {.err = ERR_OK};
    assert_ok(device_open(storage, &options, &a.device, NULL));
    err_t err = app_visit(&a, &outcome, fault);
    device_free(a.device);
    SSL_SESSION_free(a.session);
    return err;
}

/* What a bootstrap brought and the device cannot read must not keep it from its server while the
 * anchors of the factory are there. */
static void test_unreadable_delivered_anchors(void **state)
{
    (void)state;
    static char large[DEVICE_SERVER_CA_MAX + 1];
    static const struct {
        const char *factory;
        bool fails;
        err_t expected;
    } rows[] = {
        {TEST_CERTIFICATE, false, ERR_UNAVAILABLE},
        {TEST_CERTIFICATE, true, ERR_UNAVAILABLE},
        {"", false, ERR_TOO_LARGE},
        {"", true, ERR_INTERNAL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fault fault = {.code = ""};
        struct storage *storage = storage_new_memory();
        struct storage_ops ops = *storage->ops;
        assert_ok(storage_replace(storage, DEVICE_SERVER_CA_FILE, span_of(large, sizeof large)));
        write_factory(rows[i].factory);
        real_ops = storage->ops;
        ops.read = read_no_anchors;
        storage->ops = rows[i].fails ? &ops : real_ops;
        assert_err(visit(storage, &fault), rows[i].expected);
        assert_string_equal(fault.code, rows[i].factory[0] != 0 ? "connection" : "storage");
    }
}

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(factory);
    return fd >= 0 ? close(fd) : -1;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(factory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unreadable_delivered_anchors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
