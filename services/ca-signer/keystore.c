#include "keystore.h"

#include <stdatomic.h>

#include "common/oid.h"
#include "keystore_backend.h"

/* AlgorithmIdentifiers: ECDSA and Ed25519 without parameters (RFC 5758 3.2, RFC 8410 3), RSA with
 * NULL (RFC 4055 5). */
#define SIGNED_SHA256_ECDSA "\x30\x0a\x06\x08" OID_ECDSA_SHA256
#define SIGNED_SHA384_ECDSA "\x30\x0a\x06\x08" OID_ECDSA_SHA384
#define SIGNED_ED25519      "\x30\x05\x06\x03" OID_ED25519
#define SIGNED_SHA256_RSA   "\x30\x0d\x06\x09" OID_RSA_SHA256 "\x05\x00"

static const struct {
    const char *name;
    struct span signature;
} algorithms[KEY_ALGORITHM_COUNT] = {
    [KEY_ALGORITHM_EC_P256] = {"EC-P256", OID_INIT(SIGNED_SHA256_ECDSA)},
    [KEY_ALGORITHM_EC_P384] = {"EC-P384", OID_INIT(SIGNED_SHA384_ECDSA)},
    [KEY_ALGORITHM_ED25519] = {"Ed25519", OID_INIT(SIGNED_ED25519)},
    [KEY_ALGORITHM_RSA_2048] = {"RSA-2048", OID_INIT(SIGNED_SHA256_RSA)},
    [KEY_ALGORITHM_RSA_3072] = {"RSA-3072", OID_INIT(SIGNED_SHA256_RSA)},
    [KEY_ALGORITHM_RSA_4096] = {"RSA-4096", OID_INIT(SIGNED_SHA256_RSA)},
};

struct keystore {
    const struct keystore_backend *backend;
    void *self;
};

struct ca_key {
    atomic_uint refs;
    struct keystore *store;
    struct key_facts facts;
    uint8_t hash[KEY_HASH_SIZE];
};

struct key_session {
    struct ca_key *key;
    void *session;
};

const char *key_algorithm_name(enum key_algorithm algorithm)
{
    return algorithms[algorithm].name;
}

struct span key_algorithm_signature(enum key_algorithm algorithm)
{
    return algorithms[algorithm].signature;
}

err_t key_algorithm_parse(struct span text, enum key_algorithm *ret, struct fault *fault)
{
    for (unsigned i = 0; i < KEY_ALGORITHM_COUNT; i++) {
        if (span_eq(text, span_str(algorithms[i].name))) {
            *ret = i;
            return ERR_OK;
        }
    }
    return fault_set(fault, ERR_UNSUPPORTED, "validation_error", "KeyAlgorithm",
                     "KeyAlgorithm must be EC-P256, EC-P384, Ed25519, RSA-2048, RSA-3072 or "
                     "RSA-4096");
}

struct keystore *keystore_new(const struct keystore_backend *backend, void *self)
{
    struct keystore *store = xcalloc(1, sizeof *store);
    store->backend = backend;
    store->self = self;
    return store;
}

void keystore_free(struct keystore *store)
{
    if (store != NULL) {
        store->backend->destroy(store->self);
        free(store);
    }
}

static err_t adopt(struct keystore *store, struct ca_key **key, struct ca_key **ret)
{
    struct ca_key *fresh = *key;
    err_t e = key_hash_of(span_of(fresh->facts.spki, fresh->facts.spki_len), fresh->hash);
    if (e != ERR_OK) {
        store->backend->material_free(fresh->facts.material);
        return e;
    }
    fresh->store = store;
    atomic_init(&fresh->refs, 1);
    *ret = TAKE(*key);
    return ERR_OK;
}

err_t keystore_generate(struct keystore *store, const struct key_owner *owner,
                        enum key_algorithm algorithm, struct ca_key **ret, struct buf *ret_sealed)
{
    CLEANUP_FREE struct ca_key *key = xcalloc(1, sizeof *key);
    err_t e = store->backend->generate(store->self, owner, algorithm, &key->facts, ret_sealed);
    if (e != ERR_OK) {
        buf_clear(ret_sealed);
        return e;
    }
    return adopt(store, &key, ret);
}

err_t keystore_load(struct keystore *store, const struct key_owner *owner, struct span key_hash,
                    struct span sealed, struct ca_key **ret)
{
    CLEANUP_FREE struct ca_key *key = xcalloc(1, sizeof *key);
    CLEANUP(ca_key_unref) struct ca_key *opened = NULL;
    if (sealed.len > KEY_SEALED_MAX) {
        return ERR_CORRUPT;
    }
    err_t e = store->backend->load(store->self, owner, key_hash, sealed, &key->facts);
    if (e == ERR_OK) {
        e = adopt(store, &key, &opened);
    }
    if (e != ERR_OK) {
        return e;
    }
    if (!span_eq(ca_key_hash(opened), key_hash)) {
        return ERR_CORRUPT;
    }
    *ret = TAKE(opened);
    return ERR_OK;
}

struct ca_key *ca_key_ref(struct ca_key *key)
{
    (void)atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
    return key;
}

void ca_key_unref(struct ca_key *key)
{
    if (key != NULL && atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) == 1) {
        key->store->backend->material_free(key->facts.material);
        free(key);
    }
}

enum key_algorithm ca_key_algorithm(const struct ca_key *key)
{
    return key->facts.algorithm;
}

struct span ca_key_public(const struct ca_key *key)
{
    return span_of(key->facts.spki, key->facts.spki_len);
}

struct span ca_key_hash(const struct ca_key *key)
{
    return span_of(key->hash, sizeof key->hash);
}

err_t key_session_new(struct ca_key *key, struct key_session **ret)
{
    void *opened = NULL;
    err_t e = key->store->backend->session_new(key->store->self, key->facts.material,
                                               key->facts.algorithm, &opened);
    if (e != ERR_OK) {
        return e;
    }
    struct key_session *session = xcalloc(1, sizeof *session);
    session->key = ca_key_ref(key);
    session->session = opened;
    *ret = session;
    return ERR_OK;
}

void key_session_free(struct key_session *session)
{
    if (session != NULL) {
        session->key->store->backend->session_free(session->session);
        ca_key_unref(session->key);
        free(session);
    }
}

err_t key_session_sign(struct key_session *session, struct span message, uint8_t *signature,
                       size_t *ret_len)
{
    const struct keystore *store = session->key->store;
    return store->backend->sign(store->self, session->session, message, signature, ret_len);
}
