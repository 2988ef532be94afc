#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "app.h"

static long read_pid(int fd)
{
    char text[24] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    return n > 0 ? strtol(text, NULL, 10) : 0;
}

/* The lock counts; without the number nobody can ask this process for a heartbeat, no more. */
static bool write_pid(int fd)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    return ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n;
}

err_t lock_take(const char *state_dir, int *ret_fd, long *ret_pid, struct fault *fault)
{
    CLEANUP_FREE char *path = xasprintf("%s/lock", state_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return fault_set(fault, ERR_FORBIDDEN, "state_dir", "--state-dir", "%.180s: %s", path,
                         strerror(errno));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        *ret_pid = read_pid(fd);
        (void)close(fd);
        return fault_set(fault, ERR_CONFLICT, "already_running", "--state-dir",
                         "another agent is at work on %.160s (process %ld)", state_dir, *ret_pid);
    }
    (void)write_pid(fd);
    *ret_fd = fd;
    return ERR_OK;
}
