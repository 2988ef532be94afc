/*
 * The servers that test_wrappers.py gives to the C programs of this folder, by environment:
 * KAFKA_BROKERS and REDIS_ADDRESS to talk to, KAFKA_DIR, REDIS_DIR and DEPLOY_DIR to stop and start
 * them. A missing one fails the running test.
 */
#ifndef INTEGRATION_SERVERS_H
#define INTEGRATION_SERVERS_H

#include <stdbool.h>

const char *servers_env(const char *variable);
/* Runs DEPLOY_DIR/<script> DIR [option], which must succeed; option may be NULL. */
void servers_run(const char *script, const char *dir, const char *option);

#endif
