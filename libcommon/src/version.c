#include "common/version.h"

#include <cjson/cJSON.h>
#include <gnutls/gnutls.h>
#include <hiredis.h>
#include <librdkafka/rdkafka.h>
#include <microhttpd.h>
#include <openssl/crypto.h>

void version_libraries(struct buf *to)
{
    (void)buf_printf(to, "  %s\n", OpenSSL_version(OPENSSL_VERSION));
    (void)buf_printf(to, "  librdkafka %s\n", rd_kafka_version_str());
    (void)buf_printf(to, "  libmicrohttpd %s\n", MHD_get_version());
    (void)buf_printf(to, "  GnuTLS %s\n", gnutls_check_version(NULL));
    (void)buf_printf(to, "  hiredis %d.%d.%d (headers)\n", HIREDIS_MAJOR, HIREDIS_MINOR,
                     HIREDIS_PATCH);
    (void)buf_printf(to, "  cJSON %s\n", cJSON_Version());
}
