/*
 * Where a device keeps its few small files: key, certificate, state. A storage is a struct of
 * functions so that the same code runs on a directory (the agent), in memory (the fleet simulator)
 * and on a simulated disk that loses power at any step (tests). The operations are those that a
 * POSIX file system makes a promise about; storage_replace builds the one safe sequence out of
 * them, and nothing else in the library writes. One thread at a time per storage.
 */
#ifndef DEVICE_STORAGE_H
#define DEVICE_STORAGE_H

#include "common/buf.h"
#include "common/err.h"

#define STORAGE_NAME_MAX 48                  /* characters of a name: letters, digits, '.', '-' */
#define STORAGE_FILE_MAX ((size_t)96 * 1024) /* bytes of one file */

struct storage {
    const struct storage_ops *ops;
};

struct storage_ops {
    /* Appends the file's bytes. ERR_ABSENT; ERR_TOO_LARGE; ERR_INTERNAL for I/O errors. */
    err_t (*read)(struct storage *s, const char *name, struct buf *to);
    /* Creates the file or empties it, then writes. Neither name nor bytes survive a power cut yet.
     */
    err_t (*write)(struct storage *s, const char *name, struct span bytes);
    /* The file's bytes survive a power cut from now on. */
    err_t (*sync)(struct storage *s, const char *name);
    /* Puts a file in the place of another, at once or not at all. */
    err_t (*rename)(struct storage *s, const char *from, const char *to);
    /* ERR_OK also when there is none. */
    err_t (*remove)(struct storage *s, const char *name);
    /* Names made, moved and removed survive a power cut from now on. */
    err_t (*sync_names)(struct storage *s);
    void (*free)(struct storage *s);
};

/* Reads a whole file into `to`. Errors as the operation. */
MUST_USE err_t storage_read(struct storage *s, const char *name, struct buf *to);

/*
 * Replaces a file as a whole: written aside as "<name>.new", synced, moved into place, names
 * synced. After a power cut at any step the file holds the old bytes or the new ones; after ERR_OK
 * the new ones. On failure the old ones are still there, unless only the last step failed.
 */
MUST_USE err_t storage_replace(struct storage *s, const char *name, struct span bytes);

/* Removes a file for good. */
MUST_USE err_t storage_remove(struct storage *s, const char *name);

void storage_free(struct storage *s);
CLEANUP_DEFINE(struct storage *, storage_free);

/*
 * A directory: made with mode 0700 when missing, files are 0600. ERR_FORBIDDEN when others may
 * write to it, ERR_INTERNAL when it cannot be made or opened; `fault` says which path and why.
 */
MUST_USE err_t storage_open_directory(const char *path, struct storage **ret, struct fault *fault);

/* Memory; nothing is durable, everything else holds. Never fails. */
struct storage *storage_new_memory(void);
/* Every file of a memory storage, as bytes that storage_import_memory reads back. */
MUST_USE err_t storage_export_memory(const struct storage *s, struct buf *to);
/* ERR_CORRUPT when the bytes were not made by storage_export_memory. */
MUST_USE err_t storage_import_memory(struct storage *s, struct span bytes);

#endif
