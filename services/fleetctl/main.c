/*
 * fleetctl: the operator's command line over the public API.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "arguments.h"
#include "run.h"

#define HELP_MAX 65536

static void print_help(const struct arguments *a, const char *group)
{
    CLEANUP_BUF struct buf text = BUF_INIT(HELP_MAX);
    arguments_help(a->command, group, &text);
    (void)printf("%s", buf_cstr(&text));
}

int main(int argc, char **argv)
{
    CLEANUP(arguments_deinit) struct arguments a = {0};
    struct fault fault = {0};
    (void)signal(SIGPIPE, SIG_IGN);
    err_t err = arguments_parse(argc, argv, getenv, &a, &fault);
    if (err != ERR_OK) {
        (void)fprintf(stderr, "fleetctl: %s %s\n", fault.field, fault.text);
        return run_exit_status(err);
    }
    if (a.version) {
        (void)printf("fleetctl %s\n", FLEETSEAL_VERSION);
        return 0;
    }
    if (a.help) {
        const char *group = argc > 1 && command_group_exists(argv[1]) ? argv[1] : NULL;
        print_help(&a, group);
        return 0;
    }
    return run_command(&a, getenv);
}
