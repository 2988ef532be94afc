#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/codec.h"

#define FILE_MAX 8192
#define PATH_LEN 1024

static const struct codec_field fields[] = {
    {CODEC_STR(struct session, api, "api", CODEC_REQUIRED, 1)},
    {CODEC_STR(struct session, access, "access", CODEC_REQUIRED, 1)},
    {CODEC_STR(struct session, refresh, "refresh", CODEC_REQUIRED, 1)},
    {CODEC_I64(struct session, expires_s, "expires", CODEC_REQUIRED, 0, JSON_INTEGER_MAX)},
};
static const struct codec_table table = CODEC_TABLE(struct session, fields);

static err_t folder(char *(*get)(const char *), char out[PATH_LEN], struct fault *fault)
{
    const char *config = get("XDG_CONFIG_HOME");
    const char *home = get("HOME");
    int n = 0;
    if (config != NULL && config[0] == '/') {
        n = snprintf(out, PATH_LEN, "%s/fleetctl", config);
    } else if (home != NULL && home[0] != '\0') {
        n = snprintf(out, PATH_LEN, "%s/.config/fleetctl", home);
    } else {
        return fault_set(fault, ERR_INVALID, "session", "HOME", "is not set");
    }
    return n > 0 && n < PATH_LEN - 32 ? ERR_OK : ERR_TOO_LARGE;
}

static err_t file_path(char *(*get)(const char *), char out[PATH_LEN], struct fault *fault)
{
    err_t err = folder(get, out, fault);
    if (err == ERR_OK) {
        size_t len = strlen(out);
        (void)snprintf(out + len, PATH_LEN - len, "/session.json");
    }
    return err;
}

static err_t read_private(const char *path, struct buf *to, struct fault *fault)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return ERR_ABSENT;
    }
    err_t err = ERR_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
        err = fault_set(fault, ERR_INVALID, "session", path,
                        "must be a file that only its owner can read: chmod 600, or log in again");
    }
    uint8_t *room = err == ERR_OK ? buf_reserve(to, FILE_MAX) : NULL;
    ssize_t n = room != NULL ? read(fd, room, FILE_MAX) : -1;
    (void)close(fd);
    if (err == ERR_OK && n < 0) {
        err = ERR_ABSENT;
    }
    to->len = err == ERR_OK ? (size_t)n : 0;
    return err;
}

err_t session_load(char *(*get)(const char *), struct session *ret, struct fault *fault)
{
    char path[PATH_LEN];
    CLEANUP_BUF struct buf text = BUF_INIT_SECRET(FILE_MAX);
    err_t err = file_path(get, path, fault);
    if (err == ERR_OK) {
        err = read_private(path, &text, fault);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (codec_decode_text(&table, CODEC_KEEP, buf_span(&text), &JSON_LIMITS_DEFAULT, ret, NULL) !=
        ERR_OK) {
        return fault_set(fault, ERR_INVALID, "session", path, "is damaged; log in again");
    }
    return ERR_OK;
}

static err_t make_folder(const char *path, struct fault *fault)
{
    char part[PATH_LEN];
    (void)snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST) {
            return fault_set(fault, ERR_INVALID, "session", part, "cannot be made: %s",
                             strerror(errno));
        }
        *slash = '/';
    }
    return mkdir(part, 0700) == 0 || errno == EEXIST
               ? ERR_OK
               : fault_set(fault, ERR_INVALID, "session", part, "cannot be made: %s",
                           strerror(errno));
}

static err_t write_aside(const char *aside, struct span text, struct fault *fault)
{
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool fine = fd >= 0 && fchmod(fd, 0600) == 0 &&
                write(fd, text.ptr, text.len) == (ssize_t)text.len && fsync(fd) == 0;
    int why = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    return fine ? ERR_OK
                : fault_set(fault, ERR_INVALID, "session", aside, "cannot be written: %s",
                            strerror(why));
}

err_t session_save(char *(*get)(const char *), const struct session *session, struct fault *fault)
{
    char path[PATH_LEN];
    char directory[PATH_LEN];
    CLEANUP_BUF struct buf text = BUF_INIT_SECRET(FILE_MAX);
    err_t err = folder(get, directory, fault);
    if (err == ERR_OK) {
        err = file_path(get, path, fault);
    }
    if (err == ERR_OK) {
        err = codec_encode(&table, session, &text);
    }
    if (err == ERR_OK) {
        err = make_folder(directory, fault);
    }
    if (err != ERR_OK) {
        return err;
    }
    CLEANUP_FREE char *aside = xasprintf("%s.new", path);
    err = write_aside(aside, buf_span(&text), fault);
    if (err == ERR_OK && rename(aside, path) != 0) {
        err = fault_set(fault, ERR_INVALID, "session", path, "cannot be written: %s",
                        strerror(errno));
    }
    return err;
}

err_t session_forget(char *(*get)(const char *), struct fault *fault)
{
    char path[PATH_LEN];
    err_t err = file_path(get, path, fault);
    if (err == ERR_OK && unlink(path) != 0 && errno != ENOENT) {
        err = fault_set(fault, ERR_INVALID, "session", path, "cannot be removed: %s",
                        strerror(errno));
    }
    return err;
}
