#include "server_ca.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "proto/device_protocol.h"

static void close_file(FILE *file)
{
    (void)fclose(file); /* it was read, nothing can be lost */
}
CLEANUP_DEFINE(FILE *, close_file);
CLEANUP_DEFINE(BIO *, BIO_free_all);
CLEANUP_DEFINE(X509 *, X509_free);

/* At least one certificate, and nothing damaged: every device of the fleet would keep it. */
static bool is_certificates(const char *pem)
{
    CLEANUP(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem, -1);
    unsigned count = 0;
    for (;; count++) {
        CLEANUP(X509_free) X509 *c = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
        if (c == NULL) {
            break;
        }
    }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    return count > 0 && at_end;
}

static bool read_text(const char *path, struct buf *to)
{
    CLEANUP(close_file) FILE *file = fopen(path, "re");
    uint8_t *at = buf_reserve(to, DEVICE_SERVER_CA_MAX + 1);
    if (file == NULL || at == NULL) {
        return false;
    }
    to->len = fread(at, 1, DEVICE_SERVER_CA_MAX + 1, file);
    return to->len <= DEVICE_SERVER_CA_MAX && memchr(to->ptr, 0, to->len) == NULL;
}

err_t server_ca_read(const char *path, char **ret, struct fault *fault)
{
    CLEANUP_BUF struct buf pem = BUF_INIT(DEVICE_SERVER_CA_MAX + 2);
    if (path[0] != 0 && (!read_text(path, &pem) || !is_certificates(buf_cstr(&pem)))) {
        return fault_set(fault, ERR_INVALID, "file_invalid", "device.server_ca",
                         "%s: must hold PEM certificates, together up to %zu bytes", path,
                         DEVICE_SERVER_CA_MAX);
    }
    *ret = buf_take(&pem, NULL);
    return ERR_OK;
}
