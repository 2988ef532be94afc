#include "kernel_internal.h"

#include "common/cert_view.h"
#include "common/oid.h"
#include "name.h"

#define FIELD_CERTIFICATE "certificate"

static err_t not_usable(struct fault *fault, const char *why)
{
    return fault_set(fault, ERR_INVALID, "invalid_ca_certificate", FIELD_CERTIFICATE,
                     "the CA certificate %s", why);
}

/* basicConstraints with cA; a path length over 127 says as little as none. */
static bool read_constraints(struct span extensions, int *ret_path_length)
{
    struct extension_view extension;
    struct der_item item;
    struct der_item ca;
    if (!extension_find(extensions, OID(OID_BASIC_CONSTRAINTS), &extension) ||
        !der_read_only(extension.value, DER_SEQUENCE, &item) ||
        !der_read_tag(&item.value, DER_BOOLEAN, &ca) || ca.value.len != 1 || ca.value.ptr[0] == 0) {
        return false;
    }
    struct der_item length;
    if (der_read_only(item.value, DER_INTEGER, &length) && length.value.len == 1) {
        *ret_path_length = length.value.ptr[0];
        return length.value.ptr[0] < 0x80;
    }
    *ret_path_length = -1;
    return true;
}

/* keyCertSign, where there is a keyUsage at all. */
static bool may_sign(struct span extensions)
{
    struct extension_view extension;
    struct der_item bits;
    if (!extension_find(extensions, OID(OID_KEY_USAGE), &extension)) {
        return true;
    }
    return der_read_only(extension.value, DER_BIT_STRING, &bits) && bits.value.len >= 2 &&
           (bits.value.ptr[1] & 0x80 >> 5) != 0;
}

static bool find_key_id(struct span extensions, struct span *ret)
{
    struct extension_view extension;
    struct der_item id;
    if (!extension_find(extensions, OID(OID_SUBJECT_KEY_ID), &extension) ||
        !der_read_only(extension.value, DER_OCTET_STRING, &id) || id.value.len == 0 ||
        id.value.len > 64) {
        return false;
    }
    *ret = id.value;
    return true;
}

/* Takes over what the CA's certificate says; its bytes are already the template's. */
static err_t read_certificate(struct issuer_template *t, struct fault *fault)
{
    struct cert_view view;
    if (!cert_parse(t->certificate, &view)) {
        return not_usable(fault, "is not a DER certificate");
    }
    if (!read_constraints(view.fields.extensions, &t->path_length) ||
        !may_sign(view.fields.extensions)) {
        return not_usable(fault, "does not allow signing of certificates");
    }
    if (!find_key_id(view.fields.extensions, &t->key_id)) {
        return not_usable(fault, "has no subjectKeyIdentifier");
    }
    if (!cert_time_read(&view.fields.not_before, &t->not_before_s) ||
        !cert_time_read(&view.fields.not_after, &t->not_after_s)) {
        return not_usable(fault, "has times that cannot be read");
    }
    if (!span_eq(view.fields.spki, ca_key_public(t->key))) {
        return not_usable(fault, "is for another key");
    }
    if (view.fields.subject.len <= 2 || view.fields.subject.len > NAME_MAX_BYTES) {
        return not_usable(fault, "has an empty subject, or one over 1024 bytes");
    }
    t->subject = view.fields.subject;
    t->algorithm = key_algorithm_signature(ca_key_algorithm(t->key));
    return ERR_OK;
}

static unsigned purposes_of(unsigned extended_key_usage)
{
    return extended_key_usage != 0 ? extended_key_usage : (unsigned)EXTENDED_CLIENT_AUTH;
}

err_t issuer_check_usages(unsigned key_usage, unsigned extended_key_usage, struct fault *fault)
{
    if ((key_usage & ~(unsigned)USAGE_DEVICE_ALL) != 0) {
        return fault_set(fault, ERR_INVALID, "validation_error", "KeyUsage",
                         "device certificates can have digitalSignature, nonRepudiation, "
                         "keyEncipherment, dataEncipherment and keyAgreement");
    }
    if ((extended_key_usage & ~(unsigned)EXTENDED_ALL) != 0) {
        return fault_set(fault, ERR_INVALID, "validation_error", "ExtendedKeyUsage",
                         "device certificates can have clientAuth and serverAuth");
    }
    if ((key_usage & ~key_usage_consistent(purposes_of(extended_key_usage))) != 0) {
        return fault_set(fault, ERR_INVALID, "validation_error", "KeyUsage",
                         "clientAuth goes with digitalSignature and keyAgreement, serverAuth with "
                         "keyEncipherment in addition (RFC 5280 4.2.1.12)");
    }
    return ERR_OK;
}

static err_t check_options(const struct issuer_options *o, struct fault *fault)
{
    err_t e = issuer_check_usages(o->key_usage, o->extended_key_usage, fault);
    if (e != ERR_OK) {
        return e;
    }
    if (o->crl_uri.len > CRL_URI_MAX) {
        return fault_set(fault, ERR_INVALID, "validation_error", "CRL",
                         "the CRL address may have %d bytes", CRL_URI_MAX);
    }
    if (o->policy_count > KERNEL_POLICIES_MAX) {
        return fault_set(fault, ERR_INVALID, "validation_error", "CertificatePolicies",
                         "at most %d certificate policies", KERNEL_POLICIES_MAX);
    }
    for (size_t i = 0; i < o->policy_count; i++) {
        if (o->policies[i].len == 0 || o->policies[i].len > POLICY_OID_MAX) {
            return fault_set(fault, ERR_INVALID, "validation_error", "CertificatePolicies",
                             "a policy identifier has 1 to %d bytes", POLICY_OID_MAX);
        }
    }
    return ERR_OK;
}

static err_t write_extensions(struct issuer_template *t, const struct issuer_options *o)
{
    struct der_out out = der_out_of(t->extension_bytes, sizeof t->extension_bytes);
    if (o->policy_count > 0) {
        extension_put_policies(&out, o->policies, o->policy_count);
    }
    if (o->crl_uri.len > 0) {
        extension_put_crl_point(&out, o->crl_uri);
    }
    extension_put_authority_key_id(&out, t->key_id);
    extension_put_extended_usage(&out, purposes_of(o->extended_key_usage));
    extension_put_basic_constraints(&out, false, -1);
    t->extensions = der_written(&out);
    return out.overflow ? ERR_INTERNAL : ERR_OK;
}

static err_t write_key_usages(struct issuer_template *t, const struct issuer_options *o)
{
    unsigned wanted = o->key_usage != 0
                          ? o->key_usage
                          : (unsigned)(USAGE_DIGITAL_SIGNATURE | USAGE_KEY_ENCIPHERMENT);
    for (unsigned kind = 0; kind < KEY_KIND_COUNT; kind++) {
        unsigned bits = wanted & key_usage_possible(kind) &
                        key_usage_consistent(purposes_of(o->extended_key_usage));
        if (bits == 0) {
            continue;
        }
        struct der_out out = der_out_of(t->key_usage_bytes[kind], sizeof t->key_usage_bytes[kind]);
        extension_put_key_usage(&out, bits);
        if (out.overflow) {
            return ERR_INTERNAL;
        }
        t->key_usage[kind] = der_written(&out);
    }
    return ERR_OK;
}

err_t issuer_template_new(const struct issuer_options *options, struct issuer_template **ret,
                          struct fault *fault)
{
    err_t e = check_options(options, fault);
    if (e != ERR_OK) {
        return e;
    }
    CLEANUP(issuer_template_free) struct issuer_template *t = xcalloc(1, sizeof *t);
    t->key = ca_key_ref(options->key);
    t->certificate_bytes = xcalloc(options->certificate.len + 1, 1);
    if (options->certificate.len > 0) {
        memcpy(t->certificate_bytes, options->certificate.ptr, options->certificate.len);
    }
    t->certificate = span_of(t->certificate_bytes, options->certificate.len);
    e = read_certificate(t, fault);
    if (e == ERR_OK) {
        e = write_extensions(t, options);
    }
    if (e == ERR_OK) {
        e = write_key_usages(t, options);
    }
    if (e == ERR_OK) {
        *ret = TAKE(t);
    }
    return e;
}

void issuer_template_free(struct issuer_template *template)
{
    if (template != NULL) {
        ca_key_unref(template->key);
        free(template->certificate_bytes);
        free(template);
    }
}

struct span issuer_template_subject(const struct issuer_template *template)
{
    return template->subject;
}
