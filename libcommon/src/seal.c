#include "common/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "common/id.h"

#define VERSION    1
#define KEK_ID_LEN 8
#define HEAD_LEN   (1 + KEK_ID_LEN)
#define NONCE_LEN  12
#define KEY_LEN    32
#define TAG_LEN    16

_Static_assert(SEAL_OVERHEAD == HEAD_LEN + NONCE_LEN + KEY_LEN + TAG_LEN + NONCE_LEN + TAG_LEN,
               "the header says how long a sealed secret is");
_Static_assert(SEAL_KEK_SIZE == KEY_LEN, "AES-256");

struct seal_kek {
    uint8_t key[SEAL_KEK_SIZE];
    uint8_t id[KEK_ID_LEN]; /* tells KEKs apart without telling anything about them */
};

CLEANUP_DEFINE(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free);

struct key {
    uint8_t bytes[KEY_LEN];
};
static void key_wipe(struct key *key)
{
    explicit_bzero(key, sizeof *key);
}
CLEANUP_DEFINE_EMBEDDED(struct key, key_wipe);

static void descriptor_close(const int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}
CLEANUP_DEFINE_EMBEDDED(int, descriptor_close);

struct seal_kek *seal_kek_new(const uint8_t bytes[SEAL_KEK_SIZE])
{
    static const char label[] = "fleetseal-kek-id-v1";
    uint8_t input[sizeof label + SEAL_KEK_SIZE];
    uint8_t digest[32] = {0};
    struct seal_kek *kek = xcalloc(1, sizeof *kek);
    memcpy(kek->key, bytes, sizeof kek->key);
    memcpy(input, label, sizeof label);
    memcpy(input + sizeof label, bytes, SEAL_KEK_SIZE);
    if (EVP_Digest(input, sizeof input, digest, NULL, EVP_sha256(), NULL) != 1) {
        abort(); /* without SHA-256 nothing of this product works */
    }
    explicit_bzero(input, sizeof input);
    memcpy(kek->id, digest, sizeof kek->id);
    return kek;
}

void seal_kek_free(struct seal_kek *kek)
{
    if (kek != NULL) {
        explicit_bzero(kek, sizeof *kek);
        free(kek);
    }
}

static err_t refuse_file(const char *path, struct fault *fault, const char *why)
{
    return fault_set(fault, ERR_INVALID, "key_encryption_key", "", "%s: %s", path, why);
}

err_t seal_kek_read(const char *path, struct seal_kek **ret, struct fault *fault)
{
    CLEANUP(key_wipe) struct key key = {{0}};
    struct stat st;
    CLEANUP(descriptor_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return refuse_file(path, fault, strerror(errno));
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return refuse_file(path, fault, "must be a regular file");
    }
    if ((st.st_mode & 077) != 0) {
        return refuse_file(path, fault,
                           "must be closed to group and others (chmod 600): it opens every secret");
    }
    if (st.st_size != SEAL_KEK_SIZE ||
        read(fd, key.bytes, sizeof key.bytes) != (ssize_t)sizeof key.bytes) {
        return refuse_file(path, fault, "must hold exactly 32 random bytes");
    }
    *ret = seal_kek_new(key.bytes);
    return ERR_OK;
}

struct gcm {
    const uint8_t *key;
    const uint8_t *nonce;
    struct span head;
    struct span aad;
};

static bool start(EVP_CIPHER_CTX *ctx, const struct gcm *g, int encrypt)
{
    int ignored = 0;
    return ctx != NULL &&
           EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, g->key, g->nonce, encrypt) == 1 &&
           EVP_CipherUpdate(ctx, NULL, &ignored, g->head.ptr, (int)g->head.len) == 1 &&
           (g->aad.len == 0 ||
            EVP_CipherUpdate(ctx, NULL, &ignored, g->aad.ptr, (int)g->aad.len) == 1);
}

/* `out` has room for the input and, behind it, the tag. */
static err_t encrypt(const struct gcm *g, struct span plain, uint8_t *out)
{
    CLEANUP(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0;
    bool done =
        start(ctx, g, 1) &&
        (plain.len == 0 || EVP_CipherUpdate(ctx, out, &len, plain.ptr, (int)plain.len) == 1) &&
        EVP_CipherFinal_ex(ctx, out + plain.len, &len) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, out + plain.len) == 1;
    ERR_clear_error();
    return done ? ERR_OK : ERR_INTERNAL;
}

/* `in` ends with the tag. */
static err_t decrypt(const struct gcm *g, struct span in, uint8_t *out)
{
    CLEANUP(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t tag[TAG_LEN];
    size_t text = in.len - TAG_LEN;
    int len = 0;
    memcpy(tag, in.ptr + text, TAG_LEN);
    bool good = start(ctx, g, 0) &&
                (text == 0 || EVP_CipherUpdate(ctx, out, &len, in.ptr, (int)text) == 1) &&
                EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) == 1 &&
                EVP_CipherFinal_ex(ctx, out + text, &len) == 1;
    ERR_clear_error();
    if (!good) {
        explicit_bzero(out, text); /* what was not authenticated is nobody's to read */
    }
    return good ? ERR_OK : ERR_CORRUPT;
}

err_t seal(const struct seal_kek *kek, struct span aad, struct span plain, struct buf *to)
{
    CLEANUP(key_wipe) struct key key = {{0}};
    if (plain.len > SEAL_PLAIN_MAX || aad.len > SEAL_AAD_MAX) {
        return ERR_TOO_LARGE;
    }
    uint8_t *at = buf_reserve(to, plain.len + SEAL_OVERHEAD);
    if (at == NULL) {
        return ERR_TOO_LARGE;
    }
    at[0] = VERSION;
    memcpy(at + 1, kek->id, KEK_ID_LEN);
    uint8_t *key_nonce = at + HEAD_LEN;
    uint8_t *wrapped = key_nonce + NONCE_LEN;
    uint8_t *nonce = wrapped + KEY_LEN + TAG_LEN;
    random_bytes(key.bytes, sizeof key.bytes);
    random_bytes(key_nonce, NONCE_LEN);
    random_bytes(nonce, NONCE_LEN);
    struct gcm outer = {kek->key, key_nonce, span_of(at, HEAD_LEN), aad};
    struct gcm inner = {key.bytes, nonce, span_of(at, HEAD_LEN), aad};
    err_t e = encrypt(&outer, span_of(key.bytes, sizeof key.bytes), wrapped);
    if (e == ERR_OK) {
        e = encrypt(&inner, plain, nonce + NONCE_LEN);
    }
    if (e == ERR_OK) {
        to->len += plain.len + SEAL_OVERHEAD;
    }
    return e;
}

err_t unseal(const struct seal_kek *kek, struct span aad, struct span sealed, struct buf *to)
{
    CLEANUP(key_wipe) struct key key = {{0}};
    if (sealed.len > 0 && sealed.ptr[0] != VERSION) {
        return ERR_UNSUPPORTED;
    }
    if (sealed.len < SEAL_OVERHEAD || sealed.len > SEAL_PLAIN_MAX + SEAL_OVERHEAD ||
        aad.len > SEAL_AAD_MAX) {
        return ERR_CORRUPT;
    }
    struct span head = span_of(sealed.ptr, HEAD_LEN);
    if (memcmp(sealed.ptr + 1, kek->id, KEK_ID_LEN) != 0) {
        return ERR_ABSENT;
    }
    const uint8_t *key_nonce = sealed.ptr + HEAD_LEN;
    const uint8_t *wrapped = key_nonce + NONCE_LEN;
    const uint8_t *nonce = wrapped + KEY_LEN + TAG_LEN;
    struct gcm outer = {kek->key, key_nonce, head, aad};
    err_t e = decrypt(&outer, span_of(wrapped, KEY_LEN + TAG_LEN), key.bytes);
    if (e != ERR_OK) {
        return e;
    }
    size_t text = sealed.len - SEAL_OVERHEAD;
    uint8_t *at = buf_reserve(to, text);
    if (at == NULL) {
        return ERR_TOO_LARGE;
    }
    struct gcm inner = {key.bytes, nonce, head, aad};
    e = decrypt(&inner, span_of(nonce + NONCE_LEN, text + TAG_LEN), at);
    if (e == ERR_OK) {
        to->len += text;
    }
    return e;
}
