/* The command line of fleetseal-topics. Main thread only. */
#ifndef TOPIC_TOOL_ARGUMENTS_H
#define TOPIC_TOOL_ARGUMENTS_H

#include "cluster.h"

#define ARGUMENTS_PROPERTIES_MAX 32

struct arguments {
    bool help;
    bool version;
    bool check_only;
    const char *topics_file;
    int timeout_s;
    int partitions; /* 0: what the catalogue says */
    char *properties[ARGUMENTS_PROPERTIES_MAX];
    struct cluster_options cluster; /* all but the partitions */
};

extern const char arguments_help[];

/* Fills `a`, which points into argv from then on and must not move. ERR_INVALID, `f` names the
 * option. */
err_t arguments_parse(int argc, char **argv, struct arguments *a, struct fault *f) MUST_USE;

#endif
