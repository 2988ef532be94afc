/*
 * Answers for people: objects as name-value lines, lists as tables whose columns are as wide as
 * their widest cell. Terminal control characters in what the server says are shown as '?'. Pure.
 */
#ifndef FLEETCTL_SHOW_H
#define FLEETCTL_SHOW_H

#include <cjson/cJSON.h>

#include "commands.h"
#include "common/buf.h"

/* Every member of an object, nested ones by their dotted names; `except` (may be NULL) is left out.
 */
void show_object(const cJSON *object, const char *except, struct buf *to);
/* Rows as a table, with its header; nothing for no rows. */
void show_table(const struct column *columns, const cJSON *rows, struct buf *to);
/* An error of the API: message, then the fields at fault. */
void show_error(const cJSON *error, struct buf *to);

#endif
