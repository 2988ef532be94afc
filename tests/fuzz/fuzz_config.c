/*
 * Target: config_load, with a hostile --set, option or variable. Promises: no
 * input crashes or leaks; a refusal tells at least one problem and leaves nothing behind; what is
 * accepted is within the limits of its table.
 */
#include <string.h>

#include "common/config.h"
#include "fuzz.h"

static const struct codec_name modes[] = {{0, "slow"}, {1, "fast"}, {0, NULL}};

struct config {
    char title[8];
    char name[8];
    char peers[64];
    char listen[32];
    bool on;
    int64_t count;
    int64_t wait_ms;
    int64_t room;
    int mode;
};
static const struct config_row rows[] = {
    CONFIG_STRING(struct config, title, "title", "", "A title."),
    CONFIG_NAME(struct config, name, "name", "x", "A name."),
    CONFIG_HOST_PORTS(struct config, peers, "peers", "a:1", "Peers."),
    CONFIG_LISTEN(struct config, listen, "listen", "[::]:0", "An address."),
    CONFIG_BOOL(struct config, on, "on", "false", "A switch."),
    CONFIG_INT(struct config, count, "count", "3", -1, 10, "things", "A count."),
    CONFIG_DURATION(struct config, wait_ms, "wait", "10s", 1, 86400000, "A wait."),
    CONFIG_SIZE(struct config, room, "room", "64KiB", 0, 1 << 20, "Some room."),
    CONFIG_ENUM(struct config, mode, "mode", "fast", modes, "A mode."),
};
static const struct config_spec spec = {
    .program = "fuzz",
    .summary = "reads hostile settings",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .size = sizeof(struct config),
};

static void check_limits(const struct config *c)
{
    FUZZ_MUST(strlen(c->title) < sizeof c->title);
    FUZZ_MUST(strlen(c->peers) < sizeof c->peers);
    FUZZ_MUST(c->count >= -1 && c->count <= 10);
    FUZZ_MUST(c->wait_ms >= 1 && c->wait_ms <= 86400000);
    FUZZ_MUST(c->room >= 0 && c->room <= 1 << 20);
    FUZZ_MUST(c->mode == 0 || c->mode == 1);
}

static void check_outcome(enum config_outcome outcome, const struct config *c,
                          const struct buf *text)
{
    if (outcome == CONFIG_FAIL) {
        FUZZ_MUST(text->len > 0);
        const uint8_t *bytes = (const uint8_t *)c;
        for (size_t i = 0; i < sizeof *c; i++) {
            FUZZ_MUST(bytes[i] == 0);
        }
    } else if (outcome == CONFIG_RUN || outcome == CONFIG_CHECK) {
        check_limits(c);
    }
}

static void load(char *const *argv, int argc, char *const *env)
{
    struct config config;
    CLEANUP_BUF struct buf text = BUF_INIT(1 << 20);
    enum config_outcome outcome = config_load(&spec, argc, argv, env, &config, &text);
    check_outcome(outcome, &config, &text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char program[] = "fuzz";
    char set[] = "--set";
    CLEANUP_FREE char *text = xstrndup(size > 0 ? (const char *)data : "", size);
    CLEANUP_FREE char *variable = xasprintf("FLEETSEAL_WAIT=%s", text);
    load((char *[]){program, set, text, NULL}, 3, (char *[]){NULL});
    load((char *[]){program, text, NULL}, 2, (char *[]){NULL});
    load((char *[]){program, NULL}, 1, (char *[]){variable, text, NULL});
    return 0;
}
