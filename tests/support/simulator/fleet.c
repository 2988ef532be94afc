#include "fleet.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYS_MAGIC  "fleetseal-keys1\n"
#define STATE_MAGIC "fleetseal-fleet\n"
#define MAGIC_LEN   16
#define SCALAR_LEN  32
#define POINT_LEN   65
#define KEY_LEN     (SCALAR_LEN + POINT_LEN)
#define FILE_MAX    ((size_t)2 << 30)
#define IMAGE_MAX   ((size_t)256 * 1024)
#define SESSION_MAX ((size_t)64 * 1024)

CLEANUP_DEFINE(BIGNUM *, BN_clear_free);

static void close_fd(const int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}
CLEANUP_DEFINE_EMBEDDED(int, close_fd);

static err_t file_fault(struct fault *fault, err_t err, const char *path, const char *what)
{
    return fault_set(fault, err, "file", "", "%.180s: %s", path, what);
}

err_t fleet_read_file(const char *path, struct buf *to, struct fault *fault)
{
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return file_fault(fault, errno == ENOENT ? ERR_ABSENT : ERR_INTERNAL, path,
                          strerror(errno));
    }
    for (;;) {
        uint8_t *at = buf_reserve(to, 65536);
        if (at == NULL) {
            return file_fault(fault, ERR_TOO_LARGE, path, "too large");
        }
        ssize_t n = read(fd, at, 65536);
        if (n < 0) {
            return file_fault(fault, ERR_INTERNAL, path, strerror(errno));
        }
        if (n == 0) {
            return ERR_OK;
        }
        to->len += (size_t)n;
    }
}

static err_t write_file(const char *path, struct span bytes, struct fault *fault)
{
    CLEANUP_FREE char *aside = xasprintf("%s.new", path);
    CLEANUP(close_fd) int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    while (fd >= 0 && bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0) {
            break;
        }
        bytes = span_of(bytes.ptr + n, bytes.len - (size_t)n);
    }
    if (fd < 0 || bytes.len > 0 || rename(aside, path) != 0) {
        return file_fault(fault, ERR_INTERNAL, path, strerror(errno));
    }
    return ERR_OK;
}

static err_t key_to_bytes(const EVP_PKEY *key, struct buf *to)
{
    CLEANUP(BN_clear_free) BIGNUM *scalar = NULL;
    uint8_t bytes[KEY_LEN];
    size_t len = 0;
    if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &scalar) != 1 ||
        BN_bn2binpad(scalar, bytes, SCALAR_LEN) != SCALAR_LEN ||
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, bytes + SCALAR_LEN, POINT_LEN,
                                        &len) != 1 ||
        len != POINT_LEN) {
        return ERR_INTERNAL;
    }
    return buf_append(to, bytes, sizeof bytes);
}

static err_t make_missing_keys(struct fleet *f, size_t have, const char *path, struct buf *file,
                               struct fault *fault)
{
    for (size_t i = have; i < f->count; i++) {
        err_t err = device_key_generate(&f->keys[i]);
        if (err == ERR_OK) {
            err = key_to_bytes(f->keys[i], file);
        }
        if (err != ERR_OK) {
            return file_fault(fault, err, path, "a key cannot be made");
        }
    }
    return have < f->count ? write_file(path, buf_span(file), fault) : ERR_OK;
}

err_t fleet_load_keys(const char *path, size_t count, struct fleet **ret, struct fault *fault)
{
    CLEANUP(fleet_free) struct fleet *f = xcalloc(1, sizeof *f);
    CLEANUP_BUF struct buf file = BUF_INIT_SECRET(FILE_MAX);
    f->count = count;
    f->keys = xcalloc(count, sizeof(EVP_PKEY *));
    f->images = xcalloc(count, sizeof(struct fleet_image));
    err_t err = fleet_read_file(path, &file, fault);
    if (err == ERR_ABSENT) {
        err = buf_append_str(&file, KEYS_MAGIC);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (file.len < MAGIC_LEN || memcmp(file.ptr, KEYS_MAGIC, MAGIC_LEN) != 0 ||
        (file.len - MAGIC_LEN) % KEY_LEN != 0) {
        return file_fault(fault, ERR_CORRUPT, path, "not a file of keys");
    }
    size_t have = (file.len - MAGIC_LEN) / KEY_LEN;
    for (size_t i = 0; i < have && i < count; i++) {
        const uint8_t *at = file.ptr + MAGIC_LEN + i * KEY_LEN;
        err = device_key_assemble(at, at + SCALAR_LEN, &f->keys[i]);
        if (err != ERR_OK) {
            return file_fault(fault, err, path, "a key cannot be read");
        }
    }
    err = make_missing_keys(f, have < count ? have : count, path, &file, fault);
    if (err == ERR_OK) {
        *ret = TAKE(f);
    }
    return err;
}

void fleet_free(struct fleet *f)
{
    if (f == NULL) {
        return;
    }
    for (size_t i = 0; i < f->count; i++) {
        EVP_PKEY_free(f->keys[i]);
        buf_deinit(&f->images[i].storage);
        buf_deinit(&f->images[i].session);
    }
    free(f->keys);
    free(f->images);
    free(f);
}

static bool take(struct span *from, struct buf *to, size_t max)
{
    if (from->len < 4) {
        return false;
    }
    size_t len = (size_t)from->ptr[0] << 24 | (size_t)from->ptr[1] << 16 |
                 (size_t)from->ptr[2] << 8 | from->ptr[3];
    if (len > max || from->len - 4 < len) {
        return false;
    }
    *to = BUF_INIT_SECRET(max);
    (void)buf_append(to, from->ptr + 4, len);
    *from = span_of(from->ptr + 4 + len, from->len - 4 - len);
    return true;
}

static void put(struct buf *to, struct span bytes)
{
    uint8_t head[4] = {(uint8_t)(bytes.len >> 24), (uint8_t)(bytes.len >> 16),
                       (uint8_t)(bytes.len >> 8), (uint8_t)bytes.len};
    (void)buf_append(to, head, sizeof head);
    (void)buf_append_span(to, bytes);
}

err_t fleet_load_state(struct fleet *f, const char *path, struct fault *fault)
{
    CLEANUP_BUF struct buf file = BUF_INIT_SECRET(FILE_MAX);
    err_t err = fleet_read_file(path, &file, fault);
    if (err != ERR_OK) {
        return err == ERR_ABSENT ? ERR_OK : err;
    }
    if (file.len < MAGIC_LEN || memcmp(file.ptr, STATE_MAGIC, MAGIC_LEN) != 0) {
        return file_fault(fault, ERR_CORRUPT, path, "not a fleet's state");
    }
    struct span rest = span_of(file.ptr + MAGIC_LEN, file.len - MAGIC_LEN);
    for (size_t i = 0; i < f->count && rest.len > 0; i++) {
        if (!take(&rest, &f->images[i].storage, IMAGE_MAX) ||
            !take(&rest, &f->images[i].session, SESSION_MAX)) {
            return file_fault(fault, ERR_CORRUPT, path, "cut off");
        }
    }
    return ERR_OK;
}

err_t fleet_save_state(const struct fleet *f, const char *path, struct fault *fault)
{
    CLEANUP_BUF struct buf file = BUF_INIT_SECRET(FILE_MAX);
    (void)buf_append_str(&file, STATE_MAGIC);
    for (size_t i = 0; i < f->count; i++) {
        put(&file, buf_span(&f->images[i].storage));
        put(&file, buf_span(&f->images[i].session));
    }
    return buf_ok(&file) ? write_file(path, buf_span(&file), fault)
                         : file_fault(fault, ERR_TOO_LARGE, path, "too large");
}
