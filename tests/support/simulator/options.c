#include "options.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum type {
    TYPE_TEXT,
    TYPE_NUMBER,
    TYPE_SWITCH,
    TYPE_SHARE, /* K=PROFILE */
};

struct flag {
    const char *name;
    enum type type;
    size_t offset;
    int64_t min, max;
    const char *help;
};

#define FLAG(name, type, member, min, max, help)                                                   \
    {                                                                                              \
        name, type, offsetof(struct options, member), min, max, help                               \
    }

static const struct flag flags[] = {
    FLAG("--devices", TYPE_NUMBER, devices, 1, 1000000, "size of the fleet"),
    FLAG("--first", TYPE_NUMBER, first, 0, 1000000, "number of the first device that takes part"),
    FLAG("--count", TYPE_NUMBER, count, 0, 1000000, "how many take part; 0: all from the first on"),
    FLAG("--server", TYPE_TEXT, server, 0, 0, "https://name:port of the device door"),
    FLAG("--server-ca", TYPE_TEXT, server_ca, 0, 0, "PEM file that vouches for it"),
    FLAG("--profile", TYPE_TEXT, profile, 0, 0, "DeviceProfileUID that is sealed"),
    FLAG("--profile-for-last", TYPE_SHARE, last_count, 0, 0,
         "K=PROFILE: the last K devices of the fleet are sealed with another one"),
    FLAG("--keys", TYPE_TEXT, keys_file, 0, 0, "root-of-trust keys, made once and kept"),
    FLAG("--state", TYPE_TEXT, state_file, 0, 0, "what the devices remember between phases"),
    FLAG("--threads", TYPE_NUMBER, threads, 1, 64, "event loops"),
    FLAG("--concurrency", TYPE_NUMBER, concurrency, 1, 20000, "devices under way at a time"),
    FLAG("--deadline", TYPE_NUMBER, deadline_s, 1, 86400, "seconds until the phase gives up"),
    FLAG("--seconds", TYPE_NUMBER, seconds, 1, 86400, "how long idle-heartbeats runs"),
    FLAG("--interval-ms", TYPE_NUMBER, interval_ms, 0, 86400000,
         "from one heartbeat of a device to its next"),
    FLAG("--interval-override", TYPE_NUMBER, flood_s, -1, 86400,
         "seconds of the local flood interval; -1: as the server says"),
    FLAG("--renewals", TYPE_NUMBER, renewals, 1, 1000, "to be confirmed by each device"),
    FLAG("--drop-answer-every", TYPE_NUMBER, drop_every, 0, 1000000,
         "lose every n-th answer to a pick-up or confirmation"),
    FLAG("--keep-alive", TYPE_SWITCH, keep_alive, 0, 0, "keep connections between heartbeats"),
    FLAG("--no-resume", TYPE_SWITCH, no_resume, 0, 0, "make every TLS handshake a full one"),
    FLAG("--with-keys", TYPE_SWITCH, with_keys, 0, 0, "list: print UID,public key"),
    FLAG("--replay-confirm", TYPE_SWITCH, probe_replay, 0, 0,
         "send every confirmation once more and compare the answers"),
    FLAG("--forge-confirm", TYPE_SWITCH, probe_forged, 0, 0,
         "before every confirmation send one that another key has signed"),
    FLAG("--wrong-serial-confirm", TYPE_SWITCH, probe_wrong_serial, 0, 0,
         "before every confirmation send one for another serial"),
};
#define FLAG_COUNT (sizeof flags / sizeof flags[0])

static const struct {
    const char *name, *help;
} phases[PHASE_COUNT] = {
    [PHASE_LIST] = {"list", "print the devices' UIDs, one per line"},
    [PHASE_BOOTSTRAP] = {"bootstrap", "until every device has a certificate that it confirmed"},
    [PHASE_RENEW] = {"heartbeat-until-renewed", "until every device has confirmed a renewal"},
    [PHASE_IDLE] = {"idle-heartbeats", "heartbeats as fast as the interval allows"},
};

const char *phase_name(enum phase phase)
{
    return phases[phase].name;
}

void options_help(FILE *to)
{
    (void)fputs("usage: fleetseal-simulator PHASE [FLAGS]\n\n"
                "A fleet of devices over the real device library and real TLS. Numbers go to\n"
                "standard output as one JSON object, progress and failures to standard error.\n"
                "Exit status: 0 all devices did it, 1 some did not, 64 bad flags, 70 broken.\n\n",
                to);
    for (size_t i = 0; i < PHASE_COUNT; i++) {
        (void)fprintf(to, "  %-26s %s\n", phases[i].name, phases[i].help);
    }
    (void)fputs("\n", to);
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        (void)fprintf(to, "  %-26s %s\n", flags[i].name, flags[i].help);
    }
}

static err_t read_number(const struct flag *f, const char *text, int64_t *ret, struct fault *fault)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || value < f->min || value > f->max) {
        return fault_set(fault, ERR_INVALID, "validation_error", f->name,
                         "%s must be a number of %lld to %lld, is \"%.40s\"", f->name,
                         (long long)f->min, (long long)f->max, text);
    }
    *ret = value;
    return ERR_OK;
}

/* K=PROFILE, in place: the text stays argv's. */
static err_t read_share(const struct flag *f, char *text, struct options *o, struct fault *fault)
{
    char *equals = strchr(text, '=');
    if (equals == NULL) {
        return fault_set(fault, ERR_INVALID, "validation_error", f->name,
                         "%s must be K=PROFILE, is \"%.60s\"", f->name, text);
    }
    *equals = 0;
    o->last_profile = equals + 1;
    struct flag number = {.name = f->name, .min = 0, .max = 1000000};
    return read_number(&number, text, &o->last_count, fault);
}

static err_t read_flag(const struct flag *f, char *text, struct options *o, struct fault *fault)
{
    char *at = (char *)o + f->offset;
    if (f->type == TYPE_SWITCH) {
        *(bool *)(void *)at = true;
        return ERR_OK;
    }
    if (text == NULL) {
        return fault_set(fault, ERR_INVALID, "validation_error", f->name, "%s needs a value",
                         f->name);
    }
    if (f->type == TYPE_TEXT) {
        *(const char **)(void *)at = text;
        return ERR_OK;
    }
    return f->type == TYPE_NUMBER ? read_number(f, text, (int64_t *)(void *)at, fault)
                                  : read_share(f, text, o, fault);
}

static const struct flag *find_flag(const char *name)
{
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if (strcmp(flags[i].name, name) == 0) {
            return &flags[i];
        }
    }
    return NULL;
}

static err_t read_phase(const char *name, struct options *o, struct fault *fault)
{
    for (size_t i = 0; i < PHASE_COUNT; i++) {
        if (strcmp(phases[i].name, name) == 0) {
            o->phase = (enum phase)i;
            return ERR_OK;
        }
    }
    return fault_set(fault, ERR_INVALID, "validation_error", "phase",
                     "\"%.40s\" is no phase; see --help", name);
}

static err_t check(struct options *o, struct fault *fault)
{
    const struct {
        const char *name, *value;
        bool needed;
    } needed[] = {
        {"--keys", o->keys_file, true},
        {"--state", o->state_file, o->phase != PHASE_LIST},
        {"--server", o->server, o->phase != PHASE_LIST},
        {"--server-ca", o->server_ca, o->phase != PHASE_LIST},
    };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (needed[i].needed && needed[i].value == NULL) {
            return fault_set(fault, ERR_INVALID, "validation_error", needed[i].name,
                             "%s is needed for %s", needed[i].name, phase_name(o->phase));
        }
    }
    if (o->first >= o->devices || o->count > o->devices - o->first) {
        return fault_set(fault, ERR_INVALID, "validation_error", "--first",
                         "--first and --count must stay within --devices");
    }
    o->count = o->count > 0 ? o->count : o->devices - o->first;
    o->threads = o->threads < o->count ? o->threads : o->count;
    return ERR_OK;
}

err_t options_read(int argc, char **argv, struct options *ret, bool *ret_help, struct fault *fault)
{
    struct options o = {.devices = 1000,
                        .threads = 2,
                        .concurrency = 256,
                        .deadline_s = 120,
                        .seconds = 10,
                        .interval_ms = 1000,
                        .renewals = 1};
    bool help = argc < 2;
    err_t err = ERR_OK;
    for (int i = 1; i < argc; i++) {
        help = help || strcmp(argv[i], "--help") == 0;
    }
    if (!help) {
        err = read_phase(argv[1], &o, fault);
    }
    for (int i = 2; !help && err == ERR_OK && i < argc; i++) {
        const struct flag *f = find_flag(argv[i]);
        if (f == NULL) {
            return fault_set(fault, ERR_INVALID, "validation_error", "",
                             "\"%.40s\" is no flag; see --help", argv[i]);
        }
        err = read_flag(f, i + 1 < argc ? argv[i + 1] : NULL, &o, fault);
        i += f->type != TYPE_SWITCH ? 1 : 0;
    }
    if (!help && err == ERR_OK) {
        err = check(&o, fault);
    }
    if (err == ERR_OK) {
        *ret = o;
        *ret_help = help;
    }
    return err;
}
