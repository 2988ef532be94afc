#include "config.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define BIT(command) (1u << (command))
#define ALL          (BIT(COMMAND_COUNT) - 1)
#define TALKS        (BIT(COMMAND_BOOTSTRAP) | BIT(COMMAND_HEARTBEAT) | BIT(COMMAND_RUN))

static const struct {
    const char *name, *help;
} commands[COMMAND_COUNT] = {
    [COMMAND_UID] = {"uid", "print the device's RoTPublicUID; makes the identity on first use"},
    [COMMAND_SEAL] = {"seal", "seal profile and serial, once for ever"},
    [COMMAND_STATUS] = {"status", "registered, sealed, activated, certificate, last error"},
    [COMMAND_BOOTSTRAP] = {"bootstrap", "make the device known to its server now"},
    [COMMAND_HEARTBEAT] = {"heartbeat", "call the server now and do the work it has"},
    [COMMAND_RUN] = {"run", "stay: bootstrap, then heartbeats when they are due"},
    [COMMAND_HELP] = {"--help", "this text"},
    [COMMAND_VERSION] = {"--version", "the agent's version"},
};

enum type { TYPE_TEXT, TYPE_SWITCH, TYPE_SECONDS };

struct option {
    const char *name, *environment, *fallback;
    enum type type;
    size_t offset;
    unsigned allowed, required; /* bits of commands */
    const char *value, *help;
};

static const struct option options[] = {
    {"--state-dir", "FLEETSEAL_STATE_DIR", "/var/lib/fleetseal-device", TYPE_TEXT,
     offsetof(struct config, state_dir), ALL, 0, "DIR", "where keys, certificate and state are"},
    {"--server", "FLEETSEAL_DEVICE", NULL, TYPE_TEXT, offsetof(struct config, server), TALKS, TALKS,
     "URL", "https://name[:port] of the server"},
    {"--server-ca", "FLEETSEAL_SERVER_CA", NULL, TYPE_TEXT, offsetof(struct config, server_ca),
     TALKS, TALKS, "FILE", "PEM certificates that vouch for the server"},
    {"--profile", NULL, NULL, TYPE_TEXT, offsetof(struct config, profile), BIT(COMMAND_SEAL),
     BIT(COMMAND_SEAL), "UID", "DeviceProfileUID, 22 letters and digits"},
    {"--serial", NULL, NULL, TYPE_TEXT, offsetof(struct config, serial), BIT(COMMAND_SEAL), 0,
     "TEXT", "the maker's serial, 1 to 16 of A-Z a-z 0-9 . _ -"},
    {"--model", "FLEETSEAL_MODEL", NULL, TYPE_TEXT, offsetof(struct config, model), TALKS, 0,
     "TEXT", "the device's model, told at bootstrap"},
    {"--firmware", "FLEETSEAL_FIRMWARE", NULL, TYPE_TEXT, offsetof(struct config, firmware), TALKS,
     0, "TEXT", "its firmware's version, told at bootstrap"},
    {"--wait", NULL, NULL, TYPE_SWITCH, offsetof(struct config, wait), BIT(COMMAND_STATUS), 0, "",
     "wait until the device is activated"},
    {"--timeout", NULL, NULL, TYPE_SECONDS, offsetof(struct config, timeout_s),
     BIT(COMMAND_STATUS) | BIT(COMMAND_BOOTSTRAP) | BIT(COMMAND_HEARTBEAT), 0, "SECONDS",
     "how long to wait, or to try, at most (300)"},
    {"--json", NULL, NULL, TYPE_SWITCH, offsetof(struct config, json), ALL, 0, "",
     "one JSON object instead of text"},
};
#define OPTION_COUNT (sizeof options / sizeof options[0])

void config_help(FILE *to)
{
    (void)fputs("usage: device-agent COMMAND [OPTIONS]\n\n"
                "Keeps a device's certificate alive: identity, bootstrap, heartbeats, renewal.\n\n",
                to);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        (void)fprintf(to, "  %-10s  %s\n", commands[i].name, commands[i].help);
    }
    (void)fputs("\n", to);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        int width = (int)(22 - strlen(o->name));
        (void)fprintf(to, "  %s %-*s%s%s%s%s\n", o->name, width > 0 ? width : 0, o->value, o->help,
                      o->environment != NULL ? " [" : "",
                      o->environment != NULL ? o->environment : "",
                      o->environment != NULL ? "]" : "");
    }
    (void)fputs("\nExit status: 0 done; 64 the input is at fault or the server refuses it; 65 the\n"
                "present state does not allow it; 75 try again later; 70 broken.\n",
                to);
}

static err_t invalid(struct fault *fault, const char *field, const char *text, const char *detail)
{
    return fault_set(fault, ERR_INVALID, "validation_error", field, "%s%s", text, detail);
}

static err_t read_command(const char *name, struct config *c, struct fault *fault)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            c->command = (enum command)i;
            return ERR_OK;
        }
    }
    return invalid(fault, "command", "no such command, see --help: ", name);
}

static err_t read_seconds(const char *name, const char *text, int64_t *ret, struct fault *fault)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || value < 1 || value > 86400) {
        return invalid(fault, name, "must be 1 to 86400 seconds, is ", text);
    }
    *ret = value;
    return ERR_OK;
}

static err_t read_option(const struct option *o, const char *value, struct config *c,
                         struct fault *fault)
{
    char *at = (char *)c + o->offset;
    if ((o->allowed & BIT(c->command)) == 0) {
        return invalid(fault, o->name, "does not belong to ", commands[c->command].name);
    }
    if (o->type == TYPE_SWITCH) {
        *(bool *)(void *)at = true;
        return ERR_OK;
    }
    if (value == NULL || value[0] == 0) {
        return invalid(fault, o->name, "needs a value", "");
    }
    if (o->type == TYPE_SECONDS) {
        return read_seconds(o->name, value, (int64_t *)(void *)at, fault);
    }
    *(const char **)(void *)at = value;
    return ERR_OK;
}

static const struct option *find_option(const char *name)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (strcmp(options[i].name, name) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

/* What was not given: environment, default, or a complaint. */
static err_t fill_in(struct config *c, struct fault *fault)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        const char **at = (const char **)(void *)((char *)c + o->offset);
        if (o->type != TYPE_TEXT || (o->allowed & BIT(c->command)) == 0 || *at != NULL) {
            continue;
        }
        const char *value = o->environment != NULL ? getenv(o->environment) : NULL;
        *at = value != NULL && value[0] != 0 ? value : o->fallback;
        if (*at == NULL && (o->required & BIT(c->command)) != 0) {
            return invalid(fault, o->name, "is needed for ", commands[c->command].name);
        }
    }
    return ERR_OK;
}

err_t config_read(int argc, char **argv, struct config *ret, struct fault *fault)
{
    struct config c = {.command = COMMAND_HELP, .timeout_s = 300};
    if (argc < 2) {
        return invalid(fault, "command", "a command is needed, see --help", "");
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            *ret = c;
            return ERR_OK;
        }
    }
    err_t err = read_command(argv[1], &c, fault);
    for (int i = 2; err == ERR_OK && i < argc; i++) {
        const struct option *o = find_option(argv[i]);
        if (o == NULL) {
            return invalid(fault, "", "no such option, see --help: ", argv[i]);
        }
        err = read_option(o, i + 1 < argc ? argv[i + 1] : NULL, &c, fault);
        i += o->type != TYPE_SWITCH ? 1 : 0;
    }
    if (err == ERR_OK) {
        err = fill_in(&c, fault);
    }
    if (err == ERR_OK) {
        *ret = c;
    }
    return err;
}
