/*
 * Versions of the libraries a service runs with, as they answer at run time, for --version. Only
 * programs that use them all refer to this, so that others need not link them.
 */
#ifndef COMMON_VERSION_H
#define COMMON_VERSION_H

#include "common/buf.h"

/* One line per library; fits struct config_spec.versions. */
void version_libraries(struct buf *to);

#endif
