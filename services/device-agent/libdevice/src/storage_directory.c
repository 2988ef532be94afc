#include "device/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct directory {
    struct storage base;
    int fd;
};

static struct directory *self(struct storage *s)
{
    return (struct directory *)(void *)s;
}

static err_t from_errno(int number)
{
    switch (number) {
    case ENOENT:
        return ERR_ABSENT;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_FORBIDDEN;
    case ENOSPC:
    case EDQUOT:
        return ERR_LIMIT;
    default:
        return ERR_INTERNAL;
    }
}

static void close_fd(const int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}
CLEANUP_DEFINE_EMBEDDED(int, close_fd);

static int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

static err_t directory_read(struct storage *s, const char *name, struct buf *to)
{
    CLEANUP(close_fd) int fd = openat(self(s)->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return from_errno(errno);
    }
    for (;;) {
        size_t room = to->max - to->len;
        size_t want = room < 4096 ? room + 1 : 4096;
        uint8_t chunk[4096];
        ssize_t n = read(fd, chunk, want);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return from_errno(errno);
        }
        err_t err = n > 0 ? buf_append(to, chunk, (size_t)n) : ERR_OK;
        explicit_bzero(chunk, sizeof chunk); /* it may have been a key */
        if (n == 0 || err != ERR_OK) {
            return err;
        }
    }
}

static err_t write_all(int fd, struct span bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return from_errno(errno);
        }
        bytes = span_of(bytes.ptr + n, bytes.len - (size_t)n);
    }
    return ERR_OK;
}

static err_t directory_write(struct storage *s, const char *name, struct span bytes)
{
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
    CLEANUP(close_fd) int fd = openat(self(s)->fd, name, flags, 0600);
    return fd < 0 ? from_errno(errno) : write_all(fd, bytes);
}

static err_t directory_sync(struct storage *s, const char *name)
{
    CLEANUP(close_fd) int fd = openat(self(s)->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 || fsync(fd) != 0 ? from_errno(errno) : ERR_OK;
}

static err_t directory_rename(struct storage *s, const char *from, const char *to)
{
    return renameat(self(s)->fd, from, self(s)->fd, to) != 0 ? from_errno(errno) : ERR_OK;
}

static err_t directory_remove(struct storage *s, const char *name)
{
    return unlinkat(self(s)->fd, name, 0) != 0 && errno != ENOENT ? from_errno(errno) : ERR_OK;
}

static err_t directory_sync_names(struct storage *s)
{
    return fsync(self(s)->fd) != 0 ? from_errno(errno) : ERR_OK;
}

static void directory_free(struct storage *s)
{
    close_fd(&self(s)->fd);
    free(s);
}

static const struct storage_ops directory_ops = {
    .read = directory_read,
    .write = directory_write,
    .sync = directory_sync,
    .rename = directory_rename,
    .remove = directory_remove,
    .sync_names = directory_sync_names,
    .free = directory_free,
};

err_t storage_open_directory(const char *path, struct storage **ret, struct fault *fault)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return fault_set(fault, from_errno(errno), "state_dir", "state-dir",
                         "%s cannot be made: %s", path, strerror(errno));
    }
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        return fault_set(fault, from_errno(errno), "state_dir", "state-dir",
                         "%s cannot be opened: %s", path, strerror(errno));
    }
    if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return fault_set(fault, ERR_FORBIDDEN, "state_dir", "state-dir",
                         "%s may be written by others; it must have mode 0700", path);
    }
    struct directory *d = xcalloc(1, sizeof *d);
    d->base.ops = &directory_ops;
    d->fd = take_fd(&fd);
    *ret = &d->base;
    return ERR_OK;
}
