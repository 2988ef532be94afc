/*
 * Doing what the command line says: credentials, the call, its pages, requests that take longer,
 * waiting for orders, and printing. Main thread.
 */
#ifndef FLEETCTL_RUN_H
#define FLEETCTL_RUN_H

#include "arguments.h"

/* Prints to standard output, what went wrong to standard error. The exit status. */
int run_command(const struct arguments *a, char *(*get)(const char *));
/* The exit status of a failure; 77 for a missing right, else as every program of Fleetseal. */
int run_exit_status(err_t e);

#endif
