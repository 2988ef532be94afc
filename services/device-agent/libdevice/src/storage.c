#include "device/storage.h"

#include <stdio.h>

err_t storage_read(struct storage *s, const char *name, struct buf *to)
{
    return s->ops->read(s, name, to);
}

static err_t place(struct storage *s, const char *aside, const char *name, struct span bytes)
{
    err_t err = s->ops->write(s, aside, bytes);
    if (err != ERR_OK) {
        return err;
    }
    err = s->ops->sync(s, aside);
    if (err != ERR_OK) {
        return err;
    }
    return s->ops->rename(s, aside, name);
}

err_t storage_replace(struct storage *s, const char *name, struct span bytes)
{
    char aside[STORAGE_NAME_MAX + 8];
    int n = snprintf(aside, sizeof aside, "%s.new", name);
    if (n < 0 || (size_t)n > STORAGE_NAME_MAX) {
        return ERR_INVALID;
    }
    if (bytes.len > STORAGE_FILE_MAX) {
        return ERR_TOO_LARGE;
    }
    err_t err = place(s, aside, name, bytes);
    if (err != ERR_OK) {
        (void)s->ops->remove(s, aside); /* a full disk gets its room back; start-up clears it too */
        return err;
    }
    return s->ops->sync_names(s);
}

err_t storage_remove(struct storage *s, const char *name)
{
    err_t err = s->ops->remove(s, name);
    return err != ERR_OK ? err : s->ops->sync_names(s);
}

void storage_free(struct storage *s)
{
    if (s != NULL) {
        s->ops->free(s);
    }
}
