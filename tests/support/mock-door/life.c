#include "life.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>

#include "common/id.h"
#include "device/json.h"

#define BUCKETS 4096

struct entry {
    struct entry *next;
    char uid[DEVICE_UID_SIZE];
    char nonce[32];
    uint64_t sequence;
    char operation[UUID_TEXT_SIZE]; /* the last one */
    char serial[33];                /* issued for it; "" not yet */
    char installed[33];
    struct buf key; /* SPKI of the last issued certificate */
    struct buf answer;
    long orders;
};

struct life {
    struct life_options options;
    EVP_PKEY *ca_key;
    X509 *ca;
    struct buf ca_der;
    pthread_mutex_t lock;
    struct entry *devices[BUCKETS];
    long requests, bootstraps, heartbeats, pickups, confirms, repeats, refused;
};

static void name(X509_NAME *to, const char *cn)
{
    (void)X509_NAME_add_entry_by_txt(to, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
}

/* A certificate over `key`; over the CA's own key when `cn` is NULL. */
static X509 *issue(struct life *l, const char *cn, EVP_PKEY *key, char serial[33])
{
    X509 *c = X509_new();
    uint8_t number[16];
    random_bytes(number, sizeof number);
    number[0] = (uint8_t)((number[0] & 0x7f) | 0x40);
    hex_format(span_of(number, sizeof number), serial);
    BIGNUM *bn = BN_bin2bn(number, sizeof number, NULL);
    (void)BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(c));
    BN_free(bn);
    (void)X509_set_version(c, X509_VERSION_3);
    name(X509_get_subject_name(c), cn != NULL ? cn : "mock CA");
    (void)X509_set_issuer_name(c, X509_get_subject_name(l->ca != NULL ? l->ca : c));
    (void)X509_gmtime_adj(X509_getm_notBefore(c), -60);
    (void)X509_gmtime_adj(X509_getm_notAfter(c), 86400);
    (void)X509_set_pubkey(c, key);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints,
                                            cn != NULL ? "critical,CA:FALSE" : "critical,CA:TRUE");
    (void)X509_add_ext(c, e, -1);
    X509_EXTENSION_free(e);
    (void)X509_sign(c, l->ca_key, EVP_sha256());
    return c;
}

static void to_der(X509 *c, struct buf *to)
{
    unsigned char *bytes = NULL;
    int len = i2d_X509(c, &bytes);
    (void)buf_append(to, bytes, len > 0 ? (size_t)len : 0);
    OPENSSL_free(bytes);
}

struct life *life_new(const struct life_options *options)
{
    struct life *l = xcalloc(1, sizeof *l);
    char serial[33];
    l->options = *options;
    l->ca_der = BUF_INIT(DEVICE_CERT_MAX);
    if (device_key_generate(&l->ca_key) != ERR_OK || pthread_mutex_init(&l->lock, NULL) != 0) {
        abort();
    }
    l->ca = issue(l, NULL, l->ca_key, serial);
    to_der(l->ca, &l->ca_der);
    return l;
}

void life_free(struct life *l)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        while (l->devices[i] != NULL) {
            struct entry *next = l->devices[i]->next;
            buf_deinit(&l->devices[i]->key);
            buf_deinit(&l->devices[i]->answer);
            free(l->devices[i]);
            l->devices[i] = next;
        }
    }
    (void)pthread_mutex_destroy(&l->lock);
    X509_free(l->ca);
    EVP_PKEY_free(l->ca_key);
    buf_deinit(&l->ca_der);
    free(l);
}

static struct entry *find(struct life *l, const char *uid)
{
    size_t bucket = strtoul((char[]){uid[0], uid[1], uid[2], 0}, NULL, 16) % BUCKETS;
    for (struct entry *e = l->devices[bucket]; e != NULL; e = e->next) {
        if (strcmp(e->uid, uid) == 0) {
            return e;
        }
    }
    struct entry *e = xcalloc(1, sizeof *e);
    memcpy(e->uid, uid, DEVICE_UID_SIZE);
    e->key = BUF_INIT(DEVICE_SPKI_MAX);
    e->answer = BUF_INIT(DEVICE_ANSWER_MAX);
    e->next = l->devices[bucket];
    l->devices[bucket] = e;
    return e;
}

/* One request under way. */
struct call {
    struct life *life;
    struct entry *entry;
    EVP_PKEY *rot;
    struct device_json doc;
    struct device_message message;
    const char *signature;
    struct buf *answer;
};

static int refuse(struct call *c, int status, const char *type)
{
    c->life->refused++;
    (void)buf_printf(c->answer,
                     "{\"object\":\"error\",\"code\":%d,\"type\":\"%s\",\"message\":\"refused\"}",
                     status, type);
    return status;
}

static void text(const struct call *c, const char *member, char *out, size_t size)
{
    out[0] = 0;
    if (device_json_text(device_json_member(&c->doc, &c->doc.values[0], member), out, size) !=
        ERR_OK) {
        out[0] = 0;
    }
}

/* Bytes of a base64 member; empty when there is none. */
static void bytes(const struct call *c, const char *member, struct buf *to)
{
    CLEANUP_BUF struct buf b64 = BUF_INIT(DEVICE_REQUEST_MAX);
    size_t len = 0;
    if (device_json_string(device_json_member(&c->doc, &c->doc.values[0], member), &b64) ==
        ERR_OK) {
        uint8_t *room = buf_reserve(to, b64.len);
        if (room != NULL &&
            base64_decode(buf_span(&b64), BASE64_STANDARD, room, b64.len, &len) == ERR_OK) {
            to->len += len;
        }
    }
}

static bool signed_by(struct call *c, EVP_PKEY *key)
{
    uint8_t signature[DEVICE_SIGNATURE_MAX];
    size_t len = 0;
    char signed_text[DEVICE_SIGNED_SIZE];
    size_t signed_len = 0;
    if (key == NULL ||
        device_signature_parse(span_str(c->signature), &c->message.sequence, signature, &len) !=
            ERR_OK ||
        device_signed_bytes(&c->message, signed_text, &signed_len) != ERR_OK) {
        return false;
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestVerify(context, signature, len, (const unsigned char *)signed_text,
                                 signed_len) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return good;
}

/* The public key of the CSR, or of the last certificate when there is no CSR. */
static EVP_PKEY *key_to_certify(struct call *c)
{
    CLEANUP_BUF struct buf der = BUF_INIT(DEVICE_REQUEST_MAX);
    bytes(c, "csr", &der);
    const unsigned char *at = der.len > 0 ? der.ptr : c->entry->key.ptr;
    EVP_PKEY *key = NULL;
    if (der.len == 0) {
        return d2i_PUBKEY(NULL, &at, (long)c->entry->key.len);
    }
    X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)der.len);
    if (request != NULL && X509_REQ_verify(request, X509_REQ_get0_pubkey(request)) == 1) {
        key = X509_REQ_get_pubkey(request);
    }
    X509_REQ_free(request);
    return key;
}

/* Signs, and keeps the answer for a repetition. */
static int hand_out(struct call *c, const char *operation)
{
    struct entry *e = c->entry;
    EVP_PKEY *key = key_to_certify(c);
    if (key == NULL) {
        return refuse(c, 400, "bad_csr");
    }
    X509 *certificate = issue(c->life, e->uid, key, e->serial);
    CLEANUP_BUF struct buf der = BUF_INIT(DEVICE_CERT_MAX);
    to_der(certificate, &der);
    X509_free(certificate);
    buf_clear(&e->key);
    err_t err = device_key_spki(key, &e->key);
    EVP_PKEY_free(key);
    if (err != ERR_OK) {
        return refuse(c, 500, "internal");
    }
    if (operation != e->operation) {
        (void)snprintf(e->operation, sizeof e->operation, "%s", operation);
    }
    buf_clear(&e->answer);
    (void)buf_printf(&e->answer,
                     "{\"state\":\"active\",\"settings\":{\"heartbeat_interval_s\":%ld,"
                     "\"flood_interval_s\":%ld},\"next_heartbeat_s\":%ld,\"operation\":\"%s\","
                     "\"serial\":\"%s\",\"certificate\":\"",
                     c->life->options.heartbeat_interval_s, c->life->options.flood_interval_s,
                     c->life->options.heartbeat_interval_s, operation, e->serial);
    (void)base64_append(&e->answer, buf_span(&der), BASE64_STANDARD);
    (void)buf_append_str(&e->answer, "\",\"chain\":[\"");
    (void)base64_append(&e->answer, buf_span(&c->life->ca_der), BASE64_STANDARD);
    (void)buf_append_str(&e->answer, "\"]}");
    (void)buf_append_span(c->answer, buf_span(&e->answer));
    return 200;
}

/* Numbers never go back; an equal one is a repetition. Only after the signature was found good. */
static bool fresh(struct call *c)
{
    if (c->message.sequence < c->entry->sequence) {
        return false;
    }
    c->entry->sequence = c->message.sequence;
    return true;
}

static void fresh_operation(char out[UUID_TEXT_SIZE])
{
    struct uuid id = uuid_v4();
    uuid_format(&id, out);
}

static int bootstrap(struct call *c)
{
    char nonce[32];
    char operation[UUID_TEXT_SIZE];
    c->life->bootstraps++;
    if (!signed_by(c, c->rot)) {
        return refuse(c, 403, "bad_signature");
    }
    if (!fresh(c)) {
        return refuse(c, 409, "stale_sequence");
    }
    text(c, "install_nonce", nonce, sizeof nonce);
    if (c->entry->nonce[0] != 0 && strcmp(c->entry->nonce, nonce) != 0) {
        return refuse(c, 409, "duplicate");
    }
    memcpy(c->entry->nonce, nonce, sizeof nonce);
    if (c->life->options.allocate_only) {
        (void)buf_append_str(c->answer, "{\"state\":\"allocated\",\"reason\":\"not_listed\"}");
        return 200;
    }
    fresh_operation(operation);
    return hand_out(c, operation);
}

static int heartbeat(struct call *c)
{
    struct entry *e = c->entry;
    const struct life_options *o = &c->life->options;
    char installed[DEVICE_CERT_SERIAL_MAX + 1];
    char sequence[24];
    c->life->heartbeats++;
    text(c, "sequence", sequence, sizeof sequence);
    if (device_sequence_parse(span_str(sequence), &c->message.sequence) != ERR_OK || !fresh(c)) {
        return refuse(c, 409, "stale_sequence");
    }
    if (e->nonce[0] == 0) {
        return refuse(c, 409, "not_bootstrapped");
    }
    text(c, "installed", installed, sizeof installed);
    bool open = e->operation[0] != 0 && strcmp(e->serial, e->installed) != 0;
    if (!open && e->orders < o->renewals) {
        e->orders++;
        fresh_operation(e->operation);
        e->serial[0] = 0;
        open = true;
    }
    if (open) {
        (void)buf_printf(c->answer,
                         "{\"work\":{\"operation\":\"%s\",\"kind\":\"%s\",\"new_key\":%s},",
                         e->operation, e->installed[0] != 0 ? o->kind : "issue",
                         o->new_key || e->installed[0] == 0 ? "true" : "false");
    } else {
        (void)buf_append_str(c->answer, "{\"work\":null,");
    }
    (void)buf_printf(c->answer, "\"next_heartbeat_s\":%ld,\"token\":\"AAEC\"}",
                     o->heartbeat_interval_s);
    return 200;
}

static int pickup(struct call *c)
{
    struct entry *e = c->entry;
    c->life->pickups++;
    if (!signed_by(c, c->rot)) {
        return refuse(c, 403, "bad_signature");
    }
    if (!fresh(c)) {
        return refuse(c, 409, "stale_sequence");
    }
    if (strcmp(c->message.operation, e->operation) != 0) {
        return refuse(c, 409, "no_such_operation");
    }
    if (e->serial[0] != 0) { /* a repetition: the same answer */
        c->life->repeats++;
        (void)buf_append_span(c->answer, buf_span(&e->answer));
        return 200;
    }
    return hand_out(c, e->operation);
}

static int confirm(struct call *c)
{
    struct entry *e = c->entry;
    char serial[DEVICE_CERT_SERIAL_MAX + 1];
    CLEANUP_BUF struct buf spki = BUF_INIT(DEVICE_REQUEST_MAX);
    text(c, "serial", serial, sizeof serial);
    bytes(c, "key", &spki);
    const unsigned char *at = spki.ptr;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)spki.len);
    if (!span_eq(buf_span(&spki), buf_span(&e->key)) || !signed_by(c, key)) {
        return refuse(c, 403, "bad_signature");
    }
    if (!fresh(c)) {
        return refuse(c, 409, "stale_sequence");
    }
    if (strcmp(c->message.operation, e->operation) != 0 || strcmp(serial, e->serial) != 0) {
        return refuse(c, 409, "not_issued");
    }
    if (strcmp(e->installed, e->serial) == 0) {
        c->life->repeats++;
    } else {
        c->life->confirms++;
        memcpy(e->installed, e->serial, sizeof e->installed);
    }
    (void)buf_printf(c->answer, "{\"operation\":\"%s\",\"serial\":\"%s\",\"status\":\"installed\"}",
                     e->operation, e->serial);
    return 200;
}

static int dispatch(struct call *c)
{
    static int (*const handlers[DEVICE_EXCHANGE_COUNT])(struct call *) = {
        [DEVICE_BOOTSTRAP] = bootstrap,
        [DEVICE_HEARTBEAT] = heartbeat,
        [DEVICE_PICKUP] = pickup,
        [DEVICE_CONFIRM] = confirm,
    };
    return handlers[c->message.exchange](c);
}

int life_answer(struct life *l, EVP_PKEY *rot, const char *path, const char *signature,
                struct span body, struct buf *answer, long *ret_retry_s)
{
    struct call c = {.life = l, .rot = rot, .signature = signature, .answer = answer};
    char uid[DEVICE_UID_SIZE] = "";
    char operation[UUID_TEXT_SIZE];
    const char prefix[] = "/v1/device/";
    *ret_retry_s = -1;
    if (rot == NULL || device_key_uid(rot, uid) != ERR_OK) {
        return refuse(&c, 401, "no_certificate");
    }
    if (strncmp(path, prefix, sizeof prefix - 1) != 0 ||
        !device_exchange_find(span_str(path + sizeof prefix - 1), &c.message.exchange)) {
        return refuse(&c, 404, "not_found");
    }
    if (device_json_parse(&c.doc, body) != ERR_OK) {
        return refuse(&c, 400, "validation_error");
    }
    bool has_operation =
        c.message.exchange == DEVICE_PICKUP || c.message.exchange == DEVICE_CONFIRM;
    text(&c, "operation", operation, sizeof operation);
    c.message.uid = uid;
    c.message.operation = has_operation ? operation : "";
    c.message.payload = body;
    (void)pthread_mutex_lock(&l->lock);
    l->requests++;
    int status = 503;
    if (l->options.busy_every > 0 && l->requests % l->options.busy_every == 0) {
        *ret_retry_s = 0;
        (void)refuse(&c, status, "unavailable");
    } else {
        c.entry = find(l, uid);
        status = dispatch(&c);
    }
    (void)pthread_mutex_unlock(&l->lock);
    return status;
}

const char *life_installed(struct life *l, const char *uid)
{
    return find(l, uid)->installed;
}

struct life_numbers life_numbers(struct life *l)
{
    return (struct life_numbers){l->confirms, l->refused};
}

void life_report(struct life *l, struct buf *to)
{
    (void)buf_printf(to,
                     "{\"requests\":%ld,\"bootstraps\":%ld,\"heartbeats\":%ld,\"pickups\":%ld,"
                     "\"confirms\":%ld,\"repeats\":%ld,\"refused\":%ld}\n",
                     l->requests, l->bootstraps, l->heartbeats, l->pickups, l->confirms, l->repeats,
                     l->refused);
}
