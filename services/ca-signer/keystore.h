/*
 * Where CA keys live. A `keystore` makes and opens keys; a `ca_key` is one opened key, immutable
 * and shared by all threads; a `key_session` is one thread's way to sign with it, holding whatever
 * the backend can prepare once. What is behind them is a struct of functions (keystore_backend.h):
 * sealed files of keys here, a fake for tests, a PKCS#11 token later. Private keys exist outside
 * their backend only in sealed form.
 */
#ifndef CA_SIGNER_KEYSTORE_H
#define CA_SIGNER_KEYSTORE_H

#include "common/buf.h"
#include "common/err.h"
#include "common/spki.h"

/* What a CA key can be. */
enum key_algorithm {
    KEY_ALGORITHM_EC_P256, /* the default */
    KEY_ALGORITHM_EC_P384,
    KEY_ALGORITHM_ED25519,
    KEY_ALGORITHM_RSA_2048,
    KEY_ALGORITHM_RSA_3072,
    KEY_ALGORITHM_RSA_4096,
    KEY_ALGORITHM_COUNT,
};
/* "EC-P256", "EC-P384", "Ed25519", "RSA-2048", "RSA-3072", "RSA-4096". */
const char *key_algorithm_name(enum key_algorithm algorithm);
/* ERR_UNSUPPORTED with a fault on the field KeyAlgorithm that lists what is accepted. */
MUST_USE err_t key_algorithm_parse(struct span text, enum key_algorithm *ret, struct fault *fault);
/* The AlgorithmIdentifier (DER) of signatures made with it. Static. */
struct span key_algorithm_signature(enum key_algorithm algorithm);

#define KEY_HASH_SIZE     32
#define KEY_SIGNATURE_MAX 512  /* bytes: RSA-4096 */
#define KEY_SEALED_MAX    8192 /* bytes of a sealed key */

/* Whose key: a sealed key opens only for the pair it was made for. Texts, borrowed. */
struct key_owner {
    struct span domain;
    struct span ca;
};

struct keystore;
struct ca_key;
struct key_session;

void keystore_free(struct keystore *store);
CLEANUP_DEFINE(struct keystore *, keystore_free);

/*
 * Makes a key. On success the caller owns a reference in *ret, and `ret_sealed` (BUF_INIT of at
 * least KEY_SEALED_MAX, empty) has what has to be stored to open it again. ERR_UNAVAILABLE: the
 * store is away, try later; ERR_INTERNAL: the generator failed. Any thread; RSA takes up to
 * seconds.
 */
MUST_USE err_t keystore_generate(struct keystore *store, const struct key_owner *owner,
                                 enum key_algorithm algorithm, struct ca_key **ret,
                                 struct buf *ret_sealed);
/*
 * Opens a sealed key. `key_hash` is what ca_key_hash said when it was made. ERR_CORRUPT: damaged,
 * or sealed for another owner or another key; ERR_UNSUPPORTED: a later form; ERR_UNAVAILABLE: the
 * store is away, or the key-encryption key it was sealed under is not the one here (park and say
 * so). Any thread.
 */
MUST_USE err_t keystore_load(struct keystore *store, const struct key_owner *owner,
                             struct span key_hash, struct span sealed, struct ca_key **ret);

/* The store must outlive its keys. Any thread. */
struct ca_key *ca_key_ref(struct ca_key *key);
void ca_key_unref(struct ca_key *key);
CLEANUP_DEFINE(struct ca_key *, ca_key_unref);
enum key_algorithm ca_key_algorithm(const struct ca_key *key);
/* SubjectPublicKeyInfo; borrowed from the key. */
struct span ca_key_public(const struct ca_key *key);
/* SHA-256 of the above. */
struct span ca_key_hash(const struct ca_key *key);

/* One per thread and key; holds a reference to the key. ERR_UNAVAILABLE, ERR_INTERNAL. */
MUST_USE err_t key_session_new(struct ca_key *key, struct key_session **ret);
void key_session_free(struct key_session *session);
CLEANUP_DEFINE(struct key_session *, key_session_free);
/*
 * Signs `message` (hashed here as the algorithm asks) into `signature`, which has room for
 * KEY_SIGNATURE_MAX bytes. ERR_UNAVAILABLE: the store is away, nothing was signed; ERR_INTERNAL.
 */
MUST_USE err_t key_session_sign(struct key_session *session, struct span message,
                                uint8_t *signature, size_t *ret_len);

/*
 * Keys sealed with AES-256-GCM under a data key of their own, which is sealed under the
 * key-encryption key: exactly 32 raw bytes in a file that only its owner may read or write. The
 * sealed form is bound to domain, CA and public key. ERR_INVALID with a fault: the file is missing,
 * too open, or not 32 bytes.
 */
MUST_USE err_t keystore_file_new(const char *kek_path, struct keystore **ret, struct fault *fault);

/*
 * For tests: keys in the clear, kept nowhere else, and errors on demand. The script belongs to the
 * test and must outlive the store; its fields are read before each call.
 */
struct keystore_fake_script {
    err_t generate; /* what the next calls answer instead of working, ERR_OK: they work */
    err_t load;
    err_t sign;
    unsigned signatures; /* counted here; read it when no thread signs */
};
struct keystore *keystore_fake_new(struct keystore_fake_script *script);

#endif
