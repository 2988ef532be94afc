/*
 * Object identifiers that the services speak, as the contents octets of their DER. Constants; any
 * thread.
 */
#ifndef COMMON_OID_H
#define COMMON_OID_H

#include "common/buf.h"

/* From one of the strings below: an initialiser, and a value. */
#define OID_INIT(bytes)                                                                            \
    {                                                                                              \
        (const uint8_t *)(bytes), sizeof(bytes) - 1                                                \
    }
#define OID(bytes) ((struct span)OID_INIT(bytes))

/* public keys and signatures: RFC 5480, RFC 8410, RFC 8017 */
#define OID_EC_PUBLIC_KEY  "\x2a\x86\x48\xce\x3d\x02\x01"
#define OID_PRIME256V1     "\x2a\x86\x48\xce\x3d\x03\x01\x07"
#define OID_SECP384R1      "\x2b\x81\x04\x00\x22"
#define OID_ECDSA_SHA256   "\x2a\x86\x48\xce\x3d\x04\x03\x02"
#define OID_ECDSA_SHA384   "\x2a\x86\x48\xce\x3d\x04\x03\x03"
#define OID_ECDSA_SHA512   "\x2a\x86\x48\xce\x3d\x04\x03\x04"
#define OID_ED25519        "\x2b\x65\x70"
#define OID_RSA_ENCRYPTION "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
#define OID_RSA_SHA256     "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"
#define OID_RSA_SHA384     "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c"
#define OID_RSA_SHA512     "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d"

/* certificate extensions: RFC 5280 section 4.2.1 */
#define OID_SUBJECT_KEY_ID    "\x55\x1d\x0e"
#define OID_KEY_USAGE         "\x55\x1d\x0f"
#define OID_SUBJECT_ALT_NAME  "\x55\x1d\x11"
#define OID_BASIC_CONSTRAINTS "\x55\x1d\x13"
#define OID_CRL_POINTS        "\x55\x1d\x1f"
#define OID_POLICIES          "\x55\x1d\x20"
#define OID_AUTHORITY_KEY_ID  "\x55\x1d\x23"
#define OID_EXTENDED_USAGE    "\x55\x1d\x25"

/* key purposes: RFC 5280 section 4.2.1.12 */
#define OID_SERVER_AUTH "\x2b\x06\x01\x05\x05\x07\x03\x01"
#define OID_CLIENT_AUTH "\x2b\x06\x01\x05\x05\x07\x03\x02"

/* name attributes: RFC 5280 appendix A.1 */
#define OID_COMMON_NAME   "\x55\x04\x03"
#define OID_SERIAL_NUMBER "\x55\x04\x05"
#define OID_COUNTRY       "\x55\x04\x06"
#define OID_LOCALITY      "\x55\x04\x07"
#define OID_STATE         "\x55\x04\x08"
#define OID_ORGANIZATION  "\x55\x04\x0a"
#define OID_ORG_UNIT      "\x55\x04\x0b"

#endif
