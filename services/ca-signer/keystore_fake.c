#include "keystore_backend.h"

/* The "sealed" form is the marker and PKCS#8: a test key is no secret. */
#define MARKER "fake-key:"

static err_t fake_generate(void *self, const struct key_owner *owner, enum key_algorithm algorithm,
                           struct key_facts *ret, struct buf *ret_sealed)
{
    const struct keystore_fake_script *script = self;
    (void)owner;
    if (script->generate != ERR_OK) {
        return script->generate;
    }
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    err_t e = evp_generate(algorithm, &key);
    if (e == ERR_OK) {
        e = buf_append_str(ret_sealed, MARKER);
    }
    if (e == ERR_OK) {
        e = evp_to_pkcs8(key, ret_sealed);
    }
    if (e == ERR_OK) {
        e = evp_facts(key, ret);
    }
    if (e == ERR_OK) {
        ret->material = TAKE(key);
    }
    return e;
}

static err_t fake_load(void *self, const struct key_owner *owner, struct span key_hash,
                       struct span sealed, struct key_facts *ret)
{
    const struct keystore_fake_script *script = self;
    const size_t marker = sizeof MARKER - 1;
    (void)owner;
    (void)key_hash;
    if (script->load != ERR_OK) {
        return script->load;
    }
    if (sealed.len < marker || memcmp(sealed.ptr, MARKER, marker) != 0) {
        return ERR_CORRUPT;
    }
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    err_t e = evp_from_pkcs8(span_of(sealed.ptr + marker, sealed.len - marker), &key);
    if (e == ERR_OK) {
        e = evp_facts(key, ret);
    }
    if (e == ERR_OK) {
        ret->material = TAKE(key);
    }
    return e;
}

static err_t fake_sign(void *self, void *session, struct span message, uint8_t *signature,
                       size_t *ret_len)
{
    struct keystore_fake_script *script = self;
    if (script->sign != ERR_OK) {
        return script->sign;
    }
    (void)__atomic_fetch_add(&script->signatures, 1, __ATOMIC_RELAXED);
    return evp_sign(NULL, session, message, signature, ret_len);
}

static void fake_destroy(void *self)
{
    (void)self; /* the test's */
}

static const struct keystore_backend fake = {
    .generate = fake_generate,
    .load = fake_load,
    .material_free = evp_material_free,
    .session_new = evp_session_new,
    .sign = fake_sign,
    .session_free = evp_session_free,
    .destroy = fake_destroy,
};

struct keystore *keystore_fake_new(struct keystore_fake_script *script)
{
    return keystore_new(&fake, script);
}
