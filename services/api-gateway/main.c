/*
 * api-gateway: the operators' door and the registry's owner. --role door|owner|both splits them, so
 * that scaling doors never moves partitions.
 */
#include <stdio.h>
#include <string.h>

#include "app.h"
#include "config.h"

#define ARGUMENTS_MAX 128

/* "--role X" is short for "--set role=X". */
static int expand_role(int argc, char **argv, char **out, char *role, size_t role_size)
{
    int n = 0;
    for (int i = 0; i < argc && n < ARGUMENTS_MAX - 2; i++) {
        if (strcmp(argv[i], "--role") == 0 && i + 1 < argc) {
            static char set[] = "--set";
            (void)snprintf(role, role_size, "role=%s", argv[++i]);
            out[n++] = set;
            out[n++] = role;
        } else {
            out[n++] = argv[i];
        }
    }
    return n;
}

int main(int argc, char **argv)
{
    static struct config config;
    char *arguments[ARGUMENTS_MAX] = {0};
    char role[64];
    int count = expand_role(argc, argv, arguments, role, sizeof role);
    const struct service_spec spec = {.config = &config_spec,
                                      .settings = &config,
                                      .common = &config.common,
                                      .check = app_check,
                                      .start = app_start,
                                      .ready = app_ready,
                                      .free = app_free};
    return service_main(&spec, count, arguments);
}
