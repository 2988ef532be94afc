#include "arguments.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#define DEFAULT_TIMEOUT 30
#define MAX_TIMEOUT     600
#define MAX_REPLICATION 15

const char arguments_help[] =
    "usage: fleetseal-topics apply|check --brokers HOST:PORT[,...] --topics FILE [options]\n"
    "\n"
    "  apply   creates the topics of FILE that are missing, says where existing ones differ (it "
    "never changes them),\n"
    "          and writes a log id into every empty partition of a state topic. A second run "
    "changes nothing.\n"
    "  check   says what is missing or differs and writes nothing.\n"
    "\n"
    "  --brokers LIST       bootstrap servers\n"
    "  --topics FILE        the catalogue, proto/topics.json\n"
    "  --partitions N       of every topic, 1..1024; default: what FILE says. Set once: a key must "
    "never move\n"
    "  --replication N      copies of every partition, 1..15; default: the brokers'. With 2 or "
    "more,\n"
    "                       min.insync.replicas becomes N-1\n"
    "  --property NAME=VAL  a librdkafka property, e.g. security.protocol=SSL; may be repeated\n"
    "  --timeout SECONDS    for the brokers to answer each step, 1..600; default 30\n"
    "  --help, --version\n"
    "\n"
    "exit status: 0 all is as the catalogue says; 64 wrong arguments or catalogue; 65 something "
    "differs or is missing;\n"
    "75 Kafka is away, try again; 70 anything else\n";

static err_t parse_number(const char *text, int min, int max, const char *option, int *ret,
                          struct fault *f)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end != '\0' || value < min || value > max) {
        return fault_set(f, ERR_INVALID, "validation_error", option,
                         "must be a number, %d..%d, is '%s'", min, max, text);
    }
    *ret = (int)value;
    return ERR_OK;
}

static err_t add_property(struct arguments *a, char *text, struct fault *f)
{
    if (a->cluster.properties_count == ARGUMENTS_PROPERTIES_MAX) {
        return fault_set(f, ERR_INVALID, "validation_error", "--property", "at most %d",
                         ARGUMENTS_PROPERTIES_MAX);
    }
    a->properties[a->cluster.properties_count++] = text;
    return ERR_OK;
}

static err_t take_option(int option, struct arguments *a, struct fault *f)
{
    switch (option) {
    case 'b':
        a->cluster.brokers = optarg;
        return ERR_OK;
    case 't':
        a->topics_file = optarg;
        return ERR_OK;
    case 'p':
        return parse_number(optarg, 1, CATALOG_MAX_PARTITIONS, "--partitions", &a->partitions, f);
    case 'r':
        return parse_number(optarg, 1, MAX_REPLICATION, "--replication", &a->cluster.replication,
                            f);
    case 'x':
        return add_property(a, optarg, f);
    case 'w':
        return parse_number(optarg, 1, MAX_TIMEOUT, "--timeout", &a->timeout_s, f);
    case 'h':
        a->help = true;
        return ERR_OK;
    case 'v':
        a->version = true;
        return ERR_OK;
    default:
        return fault_set(f, ERR_INVALID, "validation_error", "arguments", "see --help");
    }
}

static err_t take_command(int argc, char **argv, struct arguments *a, struct fault *f)
{
    const char *command = optind + 1 == argc ? argv[optind] : "";
    if (strcmp(command, "apply") != 0 && strcmp(command, "check") != 0) {
        return fault_set(f, ERR_INVALID, "validation_error", "command",
                         "must be one of apply, check; see --help");
    }
    a->check_only = strcmp(command, "check") == 0;
    if (!a->cluster.brokers || !a->topics_file) {
        return fault_set(f, ERR_INVALID, "validation_error",
                         a->cluster.brokers ? "--topics" : "--brokers", "is missing");
    }
    return ERR_OK;
}

err_t arguments_parse(int argc, char **argv, struct arguments *a, struct fault *f)
{
    *a = (struct arguments){.timeout_s = DEFAULT_TIMEOUT, .cluster.replication = -1};
    a->cluster.properties = a->properties;
    static const struct option options[] = {
        {"brokers", required_argument, NULL, 'b'},
        {"topics", required_argument, NULL, 't'},
        {"partitions", required_argument, NULL, 'p'},
        {"replication", required_argument, NULL, 'r'},
        {"property", required_argument, NULL, 'x'},
        {"timeout", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        err_t e = take_option(option, a, f);
        if (e) {
            return e;
        }
    }
    a->cluster.timeout_ms = a->timeout_s * 1000;
    return a->help || a->version ? ERR_OK : take_command(argc, argv, a, f);
}
