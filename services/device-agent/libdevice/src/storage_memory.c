#include "device/storage.h"

#include <assert.h>

/* A device keeps a handful of files: a list is enough. */
struct file {
    struct file *next;
    char name[STORAGE_NAME_MAX + 1];
    struct buf bytes;
};

struct memory {
    struct storage base;
    struct file *files;
};

static struct memory *self(struct storage *s)
{
    return (struct memory *)(void *)s;
}

static struct file **find(struct memory *m, const char *name)
{
    struct file **at = &m->files;
    while (*at != NULL && strcmp((*at)->name, name) != 0) {
        at = &(*at)->next;
    }
    return at;
}

static void file_free(struct file *f)
{
    buf_deinit(&f->bytes);
    free(f);
}

static err_t memory_read(struct storage *s, const char *name, struct buf *to)
{
    const struct file *f = *find(self(s), name);
    return f == NULL ? ERR_ABSENT : buf_append_span(to, buf_span(&f->bytes));
}

static err_t memory_write(struct storage *s, const char *name, struct span bytes)
{
    size_t len = strlen(name);
    if (len == 0 || len > STORAGE_NAME_MAX) {
        return ERR_INVALID;
    }
    struct file **at = find(self(s), name);
    if (*at == NULL) {
        *at = xcalloc(1, sizeof **at);
        memcpy((*at)->name, name, len);
        (*at)->bytes = BUF_INIT_SECRET(STORAGE_FILE_MAX);
    }
    buf_clear(&(*at)->bytes);
    return buf_append_span(&(*at)->bytes, bytes);
}

static err_t memory_sync(struct storage *s, const char *name)
{
    return *find(self(s), name) == NULL ? ERR_ABSENT : ERR_OK;
}

static err_t memory_remove(struct storage *s, const char *name)
{
    struct file **at = find(self(s), name);
    if (*at != NULL) {
        struct file *gone = *at;
        *at = gone->next;
        file_free(gone);
    }
    return ERR_OK;
}

static err_t memory_rename(struct storage *s, const char *from, const char *to)
{
    if (*find(self(s), from) == NULL) {
        return ERR_ABSENT;
    }
    size_t len = strlen(to);
    if (len == 0 || len > STORAGE_NAME_MAX) {
        return ERR_INVALID;
    }
    if (strcmp(from, to) == 0) {
        return ERR_OK;
    }
    (void)memory_remove(s, to);
    memcpy((*find(self(s), from))->name, to, len + 1);
    return ERR_OK;
}

static err_t memory_sync_names(struct storage *s)
{
    (void)s;
    return ERR_OK;
}

static void memory_free(struct storage *s)
{
    struct memory *m = self(s);
    while (m->files != NULL) {
        struct file *next = m->files->next;
        file_free(m->files);
        m->files = next;
    }
    free(m);
}

static const struct storage_ops memory_ops = {
    .read = memory_read,
    .write = memory_write,
    .sync = memory_sync,
    .rename = memory_rename,
    .remove = memory_remove,
    .sync_names = memory_sync_names,
    .free = memory_free,
};

struct storage *storage_new_memory(void)
{
    struct memory *m = xcalloc(1, sizeof *m);
    m->base.ops = &memory_ops;
    return &m->base;
}

/* Exported form: per file one byte name length, name, four bytes length (big endian), bytes. */
err_t storage_export_memory(const struct storage *s, struct buf *to)
{
    assert(s->ops == &memory_ops);
    for (const struct file *f = ((const struct memory *)(const void *)s)->files; f != NULL;
         f = f->next) {
        size_t len = f->bytes.len;
        uint8_t head[4] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                           (uint8_t)len};
        (void)buf_append_byte(to, (uint8_t)strlen(f->name));
        (void)buf_append_str(to, f->name);
        (void)buf_append(to, head, sizeof head);
        (void)buf_append_span(to, buf_span(&f->bytes));
    }
    return buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}

static bool take(struct span *from, size_t len, struct span *ret)
{
    if (from->len < len) {
        return false;
    }
    *ret = span_of(from->ptr, len);
    *from = span_of(from->ptr + len, from->len - len);
    return true;
}

err_t storage_import_memory(struct storage *s, struct span bytes)
{
    assert(s->ops == &memory_ops);
    while (bytes.len > 0) {
        struct span part;
        char name[256] = "";
        if (!take(&bytes, 1, &part) || !take(&bytes, part.ptr[0], &part)) {
            return ERR_CORRUPT;
        }
        memcpy(name, part.ptr, part.len);
        if (!take(&bytes, 4, &part)) {
            return ERR_CORRUPT;
        }
        size_t len = (size_t)part.ptr[0] << 24 | (size_t)part.ptr[1] << 16 |
                     (size_t)part.ptr[2] << 8 | part.ptr[3];
        if (!take(&bytes, len, &part) || memory_write(s, name, part) != ERR_OK) {
            return ERR_CORRUPT;
        }
    }
    return ERR_OK;
}
