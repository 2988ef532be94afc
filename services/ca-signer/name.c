#include "name.h"

#include <ctype.h>

#include "common/oid.h"
#include "common/text.h"

/* Attributes with bounds of their own, in characters; `printable`: only PrintableString will do. */
static const struct attribute {
    const char *field;
    size_t offset;
    struct span oid;
    size_t chars_max;
    bool printable;
} attributes[] = {
    {"Country", offsetof(struct name_fields, country), OID_INIT(OID_COUNTRY), 2, true},
    {"State", offsetof(struct name_fields, state), OID_INIT(OID_STATE), 128, false},
    {"Locality", offsetof(struct name_fields, locality), OID_INIT(OID_LOCALITY), 128, false},
    {"Organization", offsetof(struct name_fields, organization), OID_INIT(OID_ORGANIZATION), 64,
     false},
    {"OrganizationalUnit", offsetof(struct name_fields, organizational_unit),
     OID_INIT(OID_ORG_UNIT), 64, false},
    {"CommonName", offsetof(struct name_fields, common_name), OID_INIT(OID_COMMON_NAME), 64, false},
    {"SerialNumber", offsetof(struct name_fields, serial_number), OID_INIT(OID_SERIAL_NUMBER), 64,
     true},
};
#define ATTRIBUTE_COUNT  (sizeof attributes / sizeof attributes[0])
#define OTHER_CHARS_MAX  256
#define COUNTRY_OID_LAST 0x06

static struct span field_of(const struct name_fields *fields, const struct attribute *a)
{
    return *(const struct span *)(const void *)((const char *)fields + a->offset);
}

static bool is_printable(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        if (!(c < 0x80 && isalnum(c)) && (c == 0 || strchr(" '()+,-./:=?", c) == NULL)) {
            return false;
        }
    }
    return true;
}

static bool has_control(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < 0x20 || text.ptr[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

static size_t count_chars(struct span utf8)
{
    size_t chars = 0;
    for (size_t i = 0; i < utf8.len; i++) {
        chars += (utf8.ptr[i] & 0xc0) != 0x80;
    }
    return chars;
}

static bool is_country(const struct attribute *a)
{
    return a->oid.ptr[a->oid.len - 1] == COUNTRY_OID_LAST;
}

/* What is wrong with a text for this attribute (NULL: for one without bounds of its own), or NULL.
 */
static const char *text_problem(const struct attribute *a, struct span text)
{
    if (text.len == 0) {
        return "is empty";
    }
    if (!utf8_valid(text) || has_control(text)) {
        return "must be UTF-8 without control characters";
    }
    if (count_chars(text) > (a != NULL ? a->chars_max : OTHER_CHARS_MAX)) {
        return "is too long for its attribute (RFC 5280 appendix A.1)";
    }
    if (a != NULL && a->printable && !is_printable(text)) {
        return "may only have the characters of PrintableString";
    }
    if (a != NULL && is_country(a) &&
        (text.len != 2 || !isupper(text.ptr[0]) || !isupper(text.ptr[1]))) {
        return "must be two capital letters";
    }
    return NULL;
}

static void put_attribute(struct der_out *out, const struct attribute *a, struct span text)
{
    size_t mark = der_mark(out);
    der_put_item(out, a->printable ? DER_PRINTABLE_STRING : DER_UTF8_STRING, text);
    der_put_item(out, DER_OID, a->oid);
    der_wrap(out, DER_SEQUENCE, mark);
    der_wrap(out, DER_SET, mark);
}

err_t name_build(const struct name_fields *fields, struct der_out *out, struct fault *fault)
{
    size_t mark = der_mark(out);
    bool any = false;
    for (size_t i = ATTRIBUTE_COUNT; i-- > 0;) {
        struct span text = field_of(fields, &attributes[i]);
        if (text.len == 0) {
            continue;
        }
        const char *problem = text_problem(&attributes[i], text);
        if (problem != NULL) {
            return fault_set(fault, ERR_INVALID, "validation_error", attributes[i].field, "%s %s",
                             attributes[i].field, problem);
        }
        put_attribute(out, &attributes[i], text);
        any = true;
    }
    if (!any) {
        return fault_set(fault, ERR_INVALID, "validation_error", "CommonName",
                         "a name needs at least one attribute");
    }
    der_wrap(out, DER_SEQUENCE, mark);
    return out->overflow ? ERR_TOO_LARGE : ERR_OK;
}

static const struct attribute *find_attribute(struct span oid)
{
    for (size_t i = 0; i < ATTRIBUTE_COUNT; i++) {
        if (span_eq(attributes[i].oid, oid)) {
            return &attributes[i];
        }
    }
    return NULL;
}

static const char *string_problem(const struct attribute *a, const struct der_item *string)
{
    switch (string->tag) {
    case DER_PRINTABLE_STRING:
        if (!is_printable(string->value)) {
            return "a PrintableString has other characters";
        }
        break;
    case DER_UTF8_STRING:
        if (a != NULL && a->printable) {
            return "country and serialNumber must be PrintableString";
        }
        break;
    case DER_IA5_STRING: /* emailAddress and domainComponent */
        if (a != NULL) {
            return "a DirectoryString must be PrintableString or UTF8String";
        }
        break;
    default:
        return "an attribute value is not of an allowed string type";
    }
    return text_problem(a, string->value);
}

static const char *rdn_problem(struct span *rdns)
{
    struct der_item set;
    if (!der_read_tag(rdns, DER_SET, &set) || set.value.len == 0) {
        return "an RDN is not a SET with members";
    }
    while (set.value.len > 0) {
        struct der_item pair;
        struct der_item oid;
        struct der_item string;
        if (!der_read_tag(&set.value, DER_SEQUENCE, &pair) ||
            !der_read_tag(&pair.value, DER_OID, &oid) || !der_read(&pair.value, &string) ||
            pair.value.len != 0) {
            return "an attribute is not a type and a value";
        }
        const char *problem = string_problem(find_attribute(oid.value), &string);
        if (problem != NULL) {
            return problem;
        }
    }
    return NULL;
}

const char *name_problem(struct span name)
{
    struct der_item sequence;
    if (name.len > NAME_MAX_BYTES || !der_read_only(name, DER_SEQUENCE, &sequence)) {
        return "not a Name, or too long";
    }
    if (sequence.value.len == 0) {
        return "the name is empty";
    }
    const char *problem = NULL;
    while (problem == NULL && sequence.value.len > 0) {
        problem = rdn_problem(&sequence.value);
    }
    return problem;
}

/* Letters, digits and inner hyphens in labels of 1..63, as RFC 1034 section 3.5 with RFC 1123. */
static bool is_dns_name(struct span text)
{
    size_t label = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        if (c == '.') {
            if (label == 0 || text.ptr[i - 1] == '-') {
                return false;
            }
            label = 0;
            continue;
        }
        if (!(c < 0x80 && isalnum(c)) && !(c == '-' && label > 0)) {
            return false;
        }
        if (++label > 63) {
            return false;
        }
    }
    return label > 0 && text.len <= 253 && text.ptr[text.len - 1] != '-';
}

static bool is_visible_ascii(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= 0x20 || text.ptr[i] >= 0x7f) {
            return false;
        }
    }
    return text.len > 0 && text.len <= 512;
}

/* scheme ":" something; a relative reference is not allowed (RFC 5280 section 4.2.1.6). */
static bool is_uri(struct span text)
{
    if (!is_visible_ascii(text) || !isalpha(text.ptr[0])) {
        return false;
    }
    const uint8_t *colon = memchr(text.ptr, ':', text.len);
    if (colon == NULL || colon == text.ptr + text.len - 1) {
        return false;
    }
    for (const uint8_t *p = text.ptr; p < colon; p++) {
        if (!isalnum(*p) && *p != '+' && *p != '-' && *p != '.') {
            return false;
        }
    }
    return true;
}

static bool is_mailbox(struct span text)
{
    const uint8_t *at = is_visible_ascii(text) ? memchr(text.ptr, '@', text.len) : NULL;
    if (at == NULL || at == text.ptr) {
        return false;
    }
    size_t host = (size_t)(at - text.ptr) + 1;
    return is_dns_name(span_of(text.ptr + host, text.len - host));
}

static const char *alt_problem(unsigned kind, struct span value)
{
    switch (kind) {
    case ALT_NAME_EMAIL:
        return is_mailbox(value) ? NULL : "an e-mail name must be local-part@host";
    case ALT_NAME_DNS:
        return is_dns_name(value) ? NULL : "a DNS name must be made of letters, digits and hyphens";
    case ALT_NAME_URI:
        return is_uri(value) ? NULL : "a URI must be absolute and ASCII";
    case ALT_NAME_IP:
        return value.len == 4 || value.len == 16 ? NULL : "an IP address has 4 or 16 bytes";
    default:
        return "only e-mail, DNS, URI and IP names are issued";
    }
}

err_t name_build_alt(const struct alt_name *names, size_t count, struct der_out *out,
                     struct fault *fault)
{
    size_t mark = der_mark(out);
    if (count == 0) {
        return fault_set(fault, ERR_INVALID, "validation_error", "SubjectAltName",
                         "an alternative name needs at least one entry");
    }
    for (size_t i = count; i-- > 0;) {
        const char *problem = alt_problem(names[i].kind, names[i].value);
        if (problem != NULL) {
            return fault_set(fault, ERR_INVALID, "validation_error", "SubjectAltName", "%s",
                             problem);
        }
        der_put_item(out, (uint8_t)(DER_CONTEXT | names[i].kind), names[i].value);
    }
    der_wrap(out, DER_SEQUENCE, mark);
    return out->overflow ? ERR_TOO_LARGE : ERR_OK;
}

const char *name_alt_problem(struct span general_names)
{
    struct der_item sequence;
    if (general_names.len > NAME_MAX_BYTES ||
        !der_read_only(general_names, DER_SEQUENCE, &sequence) || sequence.value.len == 0) {
        return "not GeneralNames with at least one entry, or too long";
    }
    while (sequence.value.len > 0) {
        struct der_item name;
        if (!der_read(&sequence.value, &name) || (name.tag & 0xe0) != DER_CONTEXT) {
            return "only e-mail, DNS, URI and IP names are issued";
        }
        const char *problem = alt_problem(name.tag & 0x1f, name.value);
        if (problem != NULL) {
            return problem;
        }
    }
    return NULL;
}
