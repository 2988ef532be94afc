/*
 * Every long-lived object of the process, and the order in which they start and stop. Main thread.
 */
#ifndef API_GATEWAY_APP_H
#define API_GATEWAY_APP_H

#include "config.h"

/* Loads what the settings name (keys), starts nothing. Exit status. */
int app_check(const struct config *config);
/* Runs until a signal. Exit status. */
int app_run(const struct config *config);

#endif
