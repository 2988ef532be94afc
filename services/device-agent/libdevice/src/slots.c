/* Keys and certificates in two slots, switched by one replacement of the state file. */
#include <openssl/sha.h>
#include <stdio.h>

#include "common/id.h"
#include "device_internal.h"

#define CERTIFICATE_FILE_MAX (STORAGE_FILE_MAX)

static const struct {
    const char *key, *certificate;
} files[DEVICE_SLOT_COUNT] = {
    [DEVICE_SLOT_A] = {"key-a.pem", "certificate-a.pem"},
    [DEVICE_SLOT_B] = {"key-b.pem", "certificate-b.pem"},
};

const char *device_key_file(enum device_slot slot)
{
    return files[slot].key;
}

const char *device_certificate_file(enum device_slot slot)
{
    return files[slot].certificate;
}

EVP_PKEY *device_current_key(const struct device *d)
{
    return d->key[d->state.current];
}

const char *device_current_serial(const struct device *d)
{
    return d->state.pair[d->state.current].serial;
}

static void set_text(char *to, size_t size, const char *text)
{
    (void)snprintf(to, size, "%s", text);
}

static void hash_text(struct span bytes, char out[DEVICE_HASH_TEXT_SIZE])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    (void)SHA256(bytes.ptr, bytes.len, digest);
    hex_format(span_of(digest, sizeof digest), out);
}

static void set_key(struct device *d, enum device_slot slot, EVP_PKEY *key)
{
    EVP_PKEY_free(d->key[slot]);
    d->key[slot] = key;
}

/* Says of a slot's file that it is not what was written there. Any other failure to read it is the
 * moment's: a disk, a lack of descriptors or memory, rights. It must not cost key and certificate.
 */
static bool is_damage(err_t err)
{
    return err == ERR_ABSENT || err == ERR_CORRUPT || err == ERR_TOO_LARGE;
}

/* Bytes that have the right digest are those that were written: what cannot read them is broken. */
static err_t as_written(err_t err)
{
    return err == ERR_CORRUPT ? ERR_INTERNAL : err;
}

/* Reads a file of a slot and checks that it is the one the state means. */
static err_t read_file(struct device *d, const char *name, const char *hash, struct buf *to)
{
    err_t err = storage_read(d->storage, name, to);
    if (err != ERR_OK) {
        return err;
    }
    char found[DEVICE_HASH_TEXT_SIZE];
    hash_text(buf_span(to), found);
    return strcmp(found, hash) == 0 ? ERR_OK : ERR_CORRUPT;
}

static err_t load_key(struct device *d, enum device_slot slot)
{
    CLEANUP_BUF struct buf pem = BUF_INIT_SECRET(DEVICE_KEY_PEM_MAX);
    err_t err = read_file(d, files[slot].key, d->state.pair[slot].key_hash, &pem);
    if (err != ERR_OK) {
        return err;
    }
    EVP_PKEY *key = NULL;
    err = as_written(device_key_read(buf_span(&pem), &key));
    if (err == ERR_OK) {
        set_key(d, slot, key);
    }
    return err;
}

/* Key and certificate are there, are those the state means, and belong together. */
static err_t load_pair(struct device *d, enum device_slot slot)
{
    err_t err = load_key(d, slot);
    if (err != ERR_OK) {
        return err;
    }
    CLEANUP_BUF struct buf pem = BUF_INIT(CERTIFICATE_FILE_MAX);
    err = read_file(d, files[slot].certificate, d->state.pair[slot].certificate_hash, &pem);
    if (err != ERR_OK) {
        return err;
    }
    CLEANUP(X509_free) X509 *certificate = NULL;
    err = as_written(device_certificate_read(buf_span(&pem), &certificate));
    const EVP_PKEY *certified = err == ERR_OK ? X509_get0_pubkey(certificate) : NULL;
    if (err == ERR_OK && certified == NULL) {
        err = ERR_INTERNAL;
    }
    if (err != ERR_OK) {
        return err;
    }
    int same = EVP_PKEY_eq(certified, d->key[slot]);
    return same == 1 ? ERR_OK : same == -2 ? ERR_INTERNAL : ERR_CORRUPT; /* -2: cannot tell */
}

static void clear_pair(struct device_state *s, enum device_slot slot)
{
    if (slot != DEVICE_SLOT_NONE) {
        s->pair[slot] = (struct device_pair){.serial = ""};
    }
}

/* Removes the files of a slot that the state has let go. What cannot be removed now is removed when
 * the device is opened again. */
static void drop_files(struct device *d, enum device_slot slot)
{
    set_key(d, slot, NULL);
    (void)d->storage->ops->remove(d->storage, files[slot].key);
    (void)d->storage->ops->remove(d->storage, files[slot].certificate);
    (void)d->storage->ops->sync_names(d->storage);
}

static void note_failure(struct device_state *s, const char *operation, const char *reason)
{
    set_text(s->failed_operation, sizeof s->failed_operation, operation);
    set_text(s->failed_reason, sizeof s->failed_reason, reason);
    set_text(s->last_error, sizeof s->last_error, reason);
}

/* The spare slot holds the previous pair, or nothing when this was the first certificate. */
static void step_back(struct device_state *s, const char *reason)
{
    enum device_slot broken = s->current;
    enum device_slot previous = device_state_spare(s);
    note_failure(s, s->operation, reason);
    s->stage = DEVICE_STAGE_NONE;
    s->operation[0] = 0;
    s->current = s->pair[previous].serial[0] != 0 ? previous : DEVICE_SLOT_NONE;
    clear_pair(s, broken);
}

/* With a current pair that cannot be used: the previous one while it is kept, else none. */
static err_t leave_current(struct device *d)
{
    struct device_state next = d->state;
    if (next.stage == DEVICE_STAGE_CONFIRM) {
        step_back(&next, "unusable: the installed key and certificate cannot be read back");
    } else {
        clear_pair(&next, next.current);
        next.current = DEVICE_SLOT_NONE;
        set_text(next.last_error, sizeof next.last_error,
                 "the installed key and certificate cannot be read");
    }
    return device_commit(d, &next);
}

static err_t recover_current(struct device *d)
{
    while (d->state.current != DEVICE_SLOT_NONE) {
        err_t err = load_pair(d, d->state.current);
        if (!is_damage(err)) {
            return err;
        }
        set_key(d, d->state.current, NULL);
        if (d->options.read_only) {
            return ERR_CORRUPT;
        }
        err = leave_current(d);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* A key whose certificate was asked for may be the one the server signed: it is kept. So is the
 * previous pair while the new one may still be refused. */
static err_t recover_spare(struct device *d)
{
    enum device_slot spare = device_state_spare(&d->state);
    bool previous = d->state.stage == DEVICE_STAGE_CONFIRM && d->state.pair[spare].serial[0] != 0;
    if (d->state.stage != DEVICE_STAGE_KEY && !previous) {
        return ERR_OK;
    }
    err_t err = previous ? load_pair(d, spare) : load_key(d, spare);
    if (!is_damage(err)) {
        return err;
    }
    if (d->options.read_only) {
        return ERR_CORRUPT;
    }
    set_key(d, spare, NULL);
    struct device_state next = d->state;
    if (!previous) {
        next.stage = DEVICE_STAGE_NONE;
        next.operation[0] = 0;
    }
    clear_pair(&next, spare);
    return device_commit(d, &next);
}

static err_t clear_leftovers(struct device *d)
{
    for (enum device_slot slot = DEVICE_SLOT_A; slot < DEVICE_SLOT_COUNT; slot++) {
        bool key = d->state.pair[slot].key_hash[0] != 0;
        bool certificate = d->state.pair[slot].certificate_hash[0] != 0;
        err_t err = key ? ERR_OK : d->storage->ops->remove(d->storage, files[slot].key);
        if (err == ERR_OK && !certificate) {
            err = d->storage->ops->remove(d->storage, files[slot].certificate);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    static const char *const aside[] = {
        "rot.pem.new",           "key-a.pem.new", "key-b.pem.new", "certificate-a.pem.new",
        "certificate-b.pem.new", "state.new",     "sealed.new",    "server-ca.pem.new",
    };
    for (size_t i = 0; i < sizeof aside / sizeof aside[0]; i++) {
        err_t err = d->storage->ops->remove(d->storage, aside[i]);
        if (err != ERR_OK) {
            return err;
        }
    }
    return d->storage->ops->sync_names(d->storage);
}

err_t device_slots_recover(struct device *d)
{
    err_t err = recover_current(d);
    if (err == ERR_OK) {
        err = recover_spare(d);
    }
    if (err == ERR_OK && !d->options.read_only) {
        err = clear_leftovers(d);
    }
    return err;
}

static err_t store_key(struct device *d, enum device_slot slot, EVP_PKEY *key,
                       struct device_pair *pair)
{
    CLEANUP_BUF struct buf pem = BUF_INIT_SECRET(DEVICE_KEY_PEM_MAX);
    err_t err = device_key_write(key, &pem);
    if (err != ERR_OK) {
        return err;
    }
    hash_text(buf_span(&pem), pair->key_hash);
    return storage_replace(d->storage, files[slot].key, buf_span(&pem));
}

/* The waiting key serves this operation too. */
static err_t adopt_key(struct device *d, const char *operation)
{
    if (strcmp(d->state.operation, operation) == 0) {
        return ERR_OK;
    }
    struct device_state next = d->state;
    set_text(next.operation, sizeof next.operation, operation);
    return device_commit(d, &next);
}

/* A key that waits for another operation's certificate gives way. */
static err_t drop_waiting_key(struct device *d)
{
    struct device_state next = d->state;
    enum device_slot spare = device_state_spare(&next);
    next.stage = DEVICE_STAGE_NONE;
    next.operation[0] = 0;
    clear_pair(&next, spare);
    err_t err = device_commit(d, &next);
    if (err == ERR_OK) {
        drop_files(d, spare);
    }
    return err;
}

err_t device_new_key(struct device *d, const char *operation, EVP_PKEY **ret_key)
{
    if (d->state.stage == DEVICE_STAGE_CONFIRM) {
        return ERR_CONFLICT;
    }
    enum device_slot spare = device_state_spare(&d->state);
    bool waiting = d->state.stage == DEVICE_STAGE_KEY;
    if (waiting && (d->state.operation[0] == 0 || operation[0] == 0 ||
                    strcmp(d->state.operation, operation) == 0)) {
        *ret_key = d->key[spare];
        return adopt_key(d, operation);
    }
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    err_t err = device_key_generate(&key);
    if (err == ERR_OK && waiting) {
        err = drop_waiting_key(d);
    }
    struct device_state next = d->state;
    if (err == ERR_OK) {
        err = store_key(d, spare, key, &next.pair[spare]);
    }
    if (err != ERR_OK) {
        return err;
    }
    next.stage = DEVICE_STAGE_KEY;
    set_text(next.operation, sizeof next.operation, operation);
    err = device_commit(d, &next);
    if (err == ERR_OK) {
        *ret_key = key;
        set_key(d, spare, TAKE(key));
    }
    return err;
}

static err_t store_certificate(struct device *d, enum device_slot slot,
                               const struct device_certificate *c, struct device_pair *pair)
{
    CLEANUP_BUF struct buf pem = BUF_INIT(CERTIFICATE_FILE_MAX);
    err_t err = device_certificate_pem(c->der, &pem);
    for (size_t i = 0; err == ERR_OK && i < c->chain_count; i++) {
        err = device_certificate_pem(c->chain[i], &pem);
    }
    if (err != ERR_OK) {
        return err;
    }
    set_text(pair->serial, sizeof pair->serial, c->serial);
    hash_text(buf_span(&pem), pair->certificate_hash);
    return storage_replace(d->storage, files[slot].certificate, buf_span(&pem));
}

static err_t refuse(struct device *d, const char *operation, const struct fault *fault)
{
    struct device_state next = d->state;
    char reason[DEVICE_REASON_MAX + 1];
    (void)snprintf(reason, sizeof reason, "%s: %.150s", fault->code, fault->text);
    note_failure(&next, operation, reason);
    next.standing = DEVICE_STANDING_ACTIVE; /* as in device_confirmed */
    enum device_slot spare = device_state_spare(&next);
    bool had_key = next.stage == DEVICE_STAGE_KEY && strcmp(next.operation, operation) == 0;
    if (had_key) {
        next.stage = DEVICE_STAGE_NONE;
        next.operation[0] = 0;
        clear_pair(&next, spare);
    }
    err_t err = device_commit(d, &next);
    if (err == ERR_OK && had_key) {
        drop_files(d, spare);
    }
    return err != ERR_OK ? err : ERR_INVALID;
}

static err_t judge(struct device *d, const struct device_grant *grant, EVP_PKEY *key,
                   struct fault *why)
{
    err_t err = ERR_INVALID;
    if (key == NULL) {
        (void)fault_set(why, err, "no_key", "", "there is no key that this could be for");
    } else {
        err = device_certificate_check(&grant->certificate, key, why);
    }
    return err == ERR_OK ? err : refuse(d, grant->operation, why);
}

/* Files first, then the one replacement that switches over. */
static err_t switch_over(struct device *d, const struct device_grant *grant, EVP_PKEY *copied_key)
{
    struct device_state next = d->state;
    enum device_slot spare = device_state_spare(&next);
    err_t err = ERR_OK;
    if (copied_key != NULL) {
        err = store_key(d, spare, copied_key, &next.pair[spare]);
    }
    if (err == ERR_OK) {
        err = store_certificate(d, spare, &grant->certificate, &next.pair[spare]);
    }
    if (err != ERR_OK) {
        return err;
    }
    next.current = spare;
    next.stage = DEVICE_STAGE_CONFIRM;
    next.standing = DEVICE_STANDING_ACTIVE; /* as in device_confirmed */
    set_text(next.operation, sizeof next.operation, grant->operation);
    err = device_commit(d, &next);
    if (err == ERR_OK && copied_key != NULL) {
        (void)EVP_PKEY_up_ref(copied_key);
        set_key(d, spare, copied_key);
    }
    return err;
}

err_t device_install(struct device *d, const struct device_grant *grant, struct fault *fault)
{
    struct fault why = {.code = ""};
    if (d->state.stage == DEVICE_STAGE_CONFIRM) {
        return fault_set(fault, ERR_CONFLICT, "confirmation_owed", "",
                         "the last certificate is not confirmed yet");
    }
    bool waiting = d->state.stage == DEVICE_STAGE_KEY;
    bool fresh_key = waiting && strcmp(d->state.operation, grant->operation) == 0;
    EVP_PKEY *key = fresh_key ? d->key[device_state_spare(&d->state)] : device_current_key(d);
    err_t err = judge(d, grant, key, &why);
    if (err != ERR_OK) {
        if (fault != NULL) {
            *fault = why;
        }
        return err;
    }
    if (waiting && !fresh_key) {
        err = drop_waiting_key(d);
    }
    if (err == ERR_OK) {
        err = switch_over(d, grant, fresh_key ? NULL : key);
    }
    return err == ERR_OK ? err
                         : fault_set(fault, err, "storage", "", "the certificate cannot be stored");
}

err_t device_confirmed(struct device *d)
{
    struct device_state next = d->state;
    enum device_slot previous = device_state_spare(&next);
    next.stage = DEVICE_STAGE_NONE;
    next.operation[0] = 0;
    next.last_error[0] = 0;
    next.standing = DEVICE_STANDING_ACTIVE; /* none but active devices are given certificates */
    next.standing_reason[0] = 0;
    clear_pair(&next, previous);
    err_t err = device_commit(d, &next);
    if (err == ERR_OK) {
        drop_files(d, previous);
    }
    return err;
}

err_t device_return(struct device *d, const char *reason)
{
    struct device_state next = d->state;
    enum device_slot broken = next.current;
    step_back(&next, reason);
    err_t err = device_commit(d, &next);
    if (err == ERR_OK && broken != DEVICE_SLOT_NONE) {
        drop_files(d, broken);
    }
    return err;
}

err_t device_note_failure(struct device *d, const char *operation, const char *reason)
{
    struct device_state next = d->state;
    note_failure(&next, operation, reason);
    return device_commit(d, &next);
}

err_t device_failure_reported(struct device *d)
{
    struct device_state next = d->state;
    next.failed_operation[0] = 0;
    next.failed_reason[0] = 0;
    return device_commit(d, &next);
}
