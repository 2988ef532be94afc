/*
 * A disk that loses power. It keeps what POSIX promises and no more: bytes are durable after their
 * sync, names after theirs; at the cut everything else is there, gone or torn, as the chosen
 * `damage` says. The storage reports failure for every step from the cut on, until cut_reboot.
 * Header only, for unit tests of the device library.
 */
#ifndef SUPPORT_STORAGE_CUT_H
#define SUPPORT_STORAGE_CUT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/storage.h"

#define CUT_FILES   24
#define CUT_PENDING 64

/* Bit 0: unsynced names survive (all of them); bit 1: only every second one does; the next two bits
 * say what becomes of unsynced bytes. */
enum {
    CUT_DAMAGE_COUNT = 12,
};
enum cut_bytes {
    CUT_BYTES_LOST, /* the last synced content, or empty */
    CUT_BYTES_KEPT,
    CUT_BYTES_TORN, /* the first half */
};

struct cut_inode {
    uint8_t *now, *durable;
    size_t now_len, durable_len;
};

struct cut_name {
    char name[STORAGE_NAME_MAX + 8];
    struct cut_inode *inode;
};

/* One change of the name table: `name` stands for `inode`, or for nothing. */
struct cut_disk {
    struct cut_inode *inodes[256];
    size_t inode_count;
    struct cut_name names[CUT_FILES], durable_names[CUT_FILES];
    struct {
        struct cut_name change, gone;
    } pending[CUT_PENDING];
    size_t pending_count;
    int steps;  /* done since the last reboot */
    int cut_at; /* the step that fails; -1: none */
};

struct cut_storage {
    struct storage base;
    struct cut_disk *disk;
};

static inline struct cut_disk *cut_disk_of(struct storage *s)
{
    return ((struct cut_storage *)(void *)s)->disk;
}

/* True when the power is gone. */
static inline bool cut_step(struct cut_disk *d)
{
    if (d->cut_at >= 0 && d->steps >= d->cut_at) {
        return true;
    }
    d->steps++;
    return false;
}

static inline struct cut_name *cut_find(struct cut_name *names, const char *name)
{
    for (size_t i = 0; i < CUT_FILES; i++) {
        if (strcmp(names[i].name, name) == 0) {
            return &names[i];
        }
    }
    return NULL;
}

static inline void cut_set(struct cut_name *names, const char *name, struct cut_inode *inode)
{
    struct cut_name *at = cut_find(names, name);
    if (at == NULL) {
        at = cut_find(names, "");
    }
    if (at == NULL) {
        abort();
    }
    (void)snprintf(at->name, sizeof at->name, "%s", inode != NULL ? name : "");
    at->inode = inode;
}

/* A rename is one change with two sides: it survives as a whole or not at all. */
static inline void cut_change(struct cut_disk *d, const char *name, struct cut_inode *inode,
                              const char *gone)
{
    if (d->pending_count == CUT_PENDING) {
        abort();
    }
    cut_set(d->names, name, inode);
    (void)snprintf(d->pending[d->pending_count].change.name,
                   sizeof d->pending[d->pending_count].change.name, "%s", name);
    d->pending[d->pending_count].change.inode = inode;
    d->pending[d->pending_count].gone.name[0] = 0;
    if (gone != NULL) {
        cut_set(d->names, gone, NULL);
        (void)snprintf(d->pending[d->pending_count].gone.name,
                       sizeof d->pending[d->pending_count].gone.name, "%s", gone);
    }
    d->pending_count++;
}

static inline void cut_assign(uint8_t **to, size_t *to_len, const uint8_t *from, size_t len)
{
    uint8_t *copy = xcalloc(len + 1, 1);
    if (len > 0) {
        memcpy(copy, from, len);
    }
    free(*to);
    *to = copy;
    *to_len = len;
}

static inline err_t cut_read(struct storage *s, const char *name, struct buf *to)
{
    struct cut_disk *d = cut_disk_of(s);
    const struct cut_name *at = cut_find(d->names, name);
    if (d->cut_at >= 0 && d->steps >= d->cut_at) {
        return ERR_INTERNAL;
    }
    return at == NULL ? ERR_ABSENT : buf_append(to, at->inode->now, at->inode->now_len);
}

static inline err_t cut_write(struct storage *s, const char *name, struct span bytes)
{
    struct cut_disk *d = cut_disk_of(s);
    bool cut = cut_step(d);
    if (cut && d->steps > d->cut_at) {
        return ERR_INTERNAL;
    }
    struct cut_name *at = cut_find(d->names, name);
    if (at == NULL) {
        if (d->inode_count == sizeof d->inodes / sizeof d->inodes[0]) {
            abort();
        }
        struct cut_inode *inode = xcalloc(1, sizeof *inode);
        d->inodes[d->inode_count++] = inode;
        cut_change(d, name, inode, NULL);
        at = cut_find(d->names, name);
    }
    /* The write that meets the cut got half its bytes out. */
    cut_assign(&at->inode->now, &at->inode->now_len, bytes.ptr, cut ? bytes.len / 2 : bytes.len);
    if (cut) {
        d->steps++; /* nothing at all from here on */
        return ERR_INTERNAL;
    }
    return ERR_OK;
}

static inline err_t cut_sync(struct storage *s, const char *name)
{
    struct cut_disk *d = cut_disk_of(s);
    if (cut_step(d)) {
        return ERR_INTERNAL;
    }
    struct cut_name *at = cut_find(d->names, name);
    if (at == NULL) {
        return ERR_ABSENT;
    }
    cut_assign(&at->inode->durable, &at->inode->durable_len, at->inode->now, at->inode->now_len);
    return ERR_OK;
}

static inline err_t cut_rename(struct storage *s, const char *from, const char *to)
{
    struct cut_disk *d = cut_disk_of(s);
    if (cut_step(d)) {
        return ERR_INTERNAL;
    }
    struct cut_name *at = cut_find(d->names, from);
    if (at == NULL) {
        return ERR_ABSENT;
    }
    cut_change(d, to, at->inode, from);
    return ERR_OK;
}

static inline err_t cut_remove(struct storage *s, const char *name)
{
    struct cut_disk *d = cut_disk_of(s);
    if (cut_step(d)) {
        return ERR_INTERNAL;
    }
    if (cut_find(d->names, name) != NULL) {
        cut_change(d, name, NULL, NULL);
    }
    return ERR_OK;
}

static inline void cut_apply_names(struct cut_disk *d, unsigned keep_mask)
{
    for (size_t i = 0; i < d->pending_count; i++) {
        if ((keep_mask >> (i % 2) & 1u) == 0) {
            continue;
        }
        cut_set(d->durable_names, d->pending[i].change.name, d->pending[i].change.inode);
        if (d->pending[i].gone.name[0] != 0) {
            cut_set(d->durable_names, d->pending[i].gone.name, NULL);
        }
    }
    d->pending_count = 0;
}

static inline err_t cut_sync_names(struct storage *s)
{
    struct cut_disk *d = cut_disk_of(s);
    if (cut_step(d)) {
        return ERR_INTERNAL;
    }
    cut_apply_names(d, 3);
    return ERR_OK;
}

static inline void cut_close(struct storage *s)
{
    free(s);
}

static inline struct storage *cut_open(struct cut_disk *d)
{
    static const struct storage_ops ops = {
        .read = cut_read,
        .write = cut_write,
        .sync = cut_sync,
        .rename = cut_rename,
        .remove = cut_remove,
        .sync_names = cut_sync_names,
        .free = cut_close,
    };
    struct cut_storage *s = xcalloc(1, sizeof *s);
    s->base.ops = &ops;
    s->disk = d;
    return &s->base;
}

static inline struct cut_disk *cut_disk_new(void)
{
    struct cut_disk *d = xcalloc(1, sizeof *d);
    d->cut_at = -1;
    return d;
}

static inline void cut_disk_free(struct cut_disk *d)
{
    for (size_t i = 0; i < d->inode_count; i++) {
        free(d->inodes[i]->now);
        free(d->inodes[i]->durable);
        free(d->inodes[i]);
    }
    free(d);
}

/* The power comes back: what was not durable is there, gone or torn. damage 0..CUT_DAMAGE_COUNT-1;
 * no cut is set afterwards. */
static inline void cut_reboot(struct cut_disk *d, unsigned damage)
{
    cut_apply_names(d, damage % 4);
    memcpy(d->names, d->durable_names, sizeof d->names);
    for (size_t i = 0; i < d->inode_count; i++) {
        struct cut_inode *inode = d->inodes[i];
        switch ((enum cut_bytes)(damage / 4)) {
        case CUT_BYTES_LOST:
            cut_assign(&inode->now, &inode->now_len, inode->durable, inode->durable_len);
            break;
        case CUT_BYTES_KEPT:
            break;
        case CUT_BYTES_TORN:
            if (inode->durable == NULL || inode->now_len != inode->durable_len ||
                memcmp(inode->now, inode->durable, inode->now_len) != 0) {
                inode->now_len /= 2;
            }
            break;
        }
        cut_assign(&inode->durable, &inode->durable_len, inode->now, inode->now_len);
    }
    d->steps = 0;
    d->cut_at = -1;
}

/* The copy of an inode that a copied disk points to. */
static inline struct cut_inode *cut_twin(const struct cut_disk *from, const struct cut_disk *to,
                                         const struct cut_inode *inode)
{
    for (size_t i = 0; i < from->inode_count; i++) {
        if (from->inodes[i] == inode) {
            return to->inodes[i];
        }
    }
    return NULL;
}

/* A deep copy, to try many ends of one beginning. */
static inline struct cut_disk *cut_disk_copy(const struct cut_disk *from)
{
    struct cut_disk *d = cut_disk_new();
    *d = *from;
    for (size_t i = 0; i < from->inode_count; i++) {
        const struct cut_inode *old = from->inodes[i];
        d->inodes[i] = xcalloc(1, sizeof *d->inodes[i]);
        cut_assign(&d->inodes[i]->now, &d->inodes[i]->now_len, old->now, old->now_len);
        if (old->durable != NULL) {
            cut_assign(&d->inodes[i]->durable, &d->inodes[i]->durable_len, old->durable,
                       old->durable_len);
        }
    }
    for (size_t i = 0; i < CUT_FILES; i++) {
        d->names[i].inode = cut_twin(from, d, from->names[i].inode);
        d->durable_names[i].inode = cut_twin(from, d, from->durable_names[i].inode);
    }
    for (size_t i = 0; i < from->pending_count; i++) {
        d->pending[i].change.inode = cut_twin(from, d, from->pending[i].change.inode);
    }
    return d;
}

#endif
