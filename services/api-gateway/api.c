#include "api.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "common/http_error.h"
#include "common/json.h"
#include "common/partition.h"
#include "duration.h"

#define ANSWER_MAX   ((size_t)16 * 1024 * 1024)
#define RETRY_VIEW_S 2
#define PEM_LINE     64

static const struct codec_field empty_fields[] = {API_DOMAIN_ROW(struct api_body)};
const struct codec_table api_empty_table = CODEC_TABLE(struct api_body, empty_fields);

const struct codec_name api_order_names[] = {{API_ASC, "ASC"}, {API_DESC, "DESC"}, {0}};
static const struct codec_field page_fields[] = {API_DOMAIN_ROW(struct api_page_body),
                                                 API_PAGE_ROWS(struct api_page_body)};
const struct codec_table api_page_table = CODEC_TABLE(struct api_page_body, page_fields);

bool api_is_csv(const struct exchange *x)
{
    const char *type = http_request_header(x->req, "Content-Type");
    return x->call->max_csv > 0 && type != NULL && strncasecmp(type, "text/csv", 8) == 0;
}

int32_t api_partition(const struct door *door, const char *key)
{
    return partition_of(span_str(key), views_partitions(door->views));
}

/* ---- rules of fields ---- */

bool api_line_rule(const void *text)
{
    const uint8_t *c = text;
    bool visible = *c == 0; /* whether it may be empty is said by its length */
    for (; *c != 0; c++) {
        /* C0, DEL, and C1 (U+0080 to U+009F) */
        if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0)) {
            return false;
        }
        visible = visible || *c != ' ';
    }
    return visible;
}

/* ---- answers ---- */

struct http_response *api_response(unsigned status, const cJSON *json)
{
    CLEANUP_BUF struct buf body = BUF_INIT(ANSWER_MAX);
    if (json_encode(json, &body) != ERR_OK) {
        return http_response_fault(ERR_INTERNAL, NULL);
    }
    return http_response_json(status, &body);
}

void api_reply(struct exchange *x, unsigned status, cJSON *json)
{
    http_reply(x->req, api_response(status, json));
    cJSON_Delete(json);
}

void api_fault(struct exchange *x, err_t e, const struct fault *fault)
{
    http_reply_fault(x->req, e, fault);
}

void api_refuse(struct exchange *x, err_t e, const char *code, const char *field,
                const char *format, ...)
{
    char text[FAULT_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct fault fault;
    api_fault(x, fault_set(&fault, e, code, field, "%s", text), &fault);
}

void api_view_failed(struct exchange *x, err_t e, const char *field, const char *what,
                     const char *id)
{
    if (e == ERR_ABSENT) {
        api_refuse(x, e, "not_found", field, "there is no %s %s", what, id);
        return;
    }
    if (err_class(e) != ERR_CLASS_RETRY) {
        api_fault(x, e, NULL);
        return;
    }
    struct fault fault;
    (void)fault_set(&fault, ERR_UNAVAILABLE, "view_rebuilding", "",
                    "what was stored cannot be read just now; it is safe in the log, try again");
    struct http_response *response = http_response_fault(ERR_UNAVAILABLE, &fault);
    http_response_set_retry_after(response, RETRY_VIEW_S);
    http_reply(x->req, response);
}

/* ---- lists ---- */

size_t api_limit(bool given, int64_t limit)
{
    if (!given) {
        return API_LIMIT_DEFAULT;
    }
    if (limit < API_LIMIT_MIN) {
        return API_LIMIT_MIN;
    }
    return limit > API_LIMIT_MAX ? API_LIMIT_MAX : (size_t)limit;
}

cJSON *api_list(cJSON *data, bool has_more, size_t limit, const char *after, int order)
{
    cJSON *list = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(list, "object", "list");
    (void)cJSON_AddItemToObject(list, "data", data);
    (void)cJSON_AddBoolToObject(list, "has_more", has_more);
    (void)cJSON_AddNumberToObject(list, "limit", (double)limit);
    if (after != NULL && after[0] != '\0') {
        (void)cJSON_AddStringToObject(list, "after", after);
    } else {
        (void)cJSON_AddNullToObject(list, "after");
    }
    (void)cJSON_AddStringToObject(list, "order", codec_name_of(api_order_names, order));
    return list;
}

/* ---- pieces ---- */

void api_add_time(cJSON *to, const char *name, int64_t ms)
{
    if (ms != 0) {
        char text[TIME_TEXT_SIZE];
        time_format(ms, text);
        (void)cJSON_AddStringToObject(to, name, text);
    }
}

void api_add_text(cJSON *to, const char *name, const char *text)
{
    if (text[0] != '\0') {
        (void)cJSON_AddStringToObject(to, name, text);
    }
}

void api_add_duration(cJSON *to, const char *name, int64_t seconds)
{
    char text[DURATION_TEXT_SIZE];
    duration_format(seconds, text);
    (void)cJSON_AddStringToObject(to, name, text);
}

void api_add_uuid(cJSON *to, const char *name, const struct uuid *u)
{
    if (!uuid_is_zero(u)) {
        char text[UUID_TEXT_SIZE];
        uuid_format(u, text);
        (void)cJSON_AddStringToObject(to, name, text);
    }
}

void api_add_base64(cJSON *to, const char *name, struct span bytes)
{
    CLEANUP_BUF struct buf text = BUF_INIT(16384);
    if (bytes.len > 0 && base64_append(&text, bytes, BASE64_STANDARD) == ERR_OK) {
        (void)cJSON_AddStringToObject(to, name, buf_cstr(&text));
    }
}

void api_add_hex(cJSON *to, const char *name, struct span bytes)
{
    CLEANUP_BUF struct buf text = BUF_INIT(4096);
    if (bytes.len > 0 && hex_append(&text, bytes) == ERR_OK) {
        (void)cJSON_AddStringToObject(to, name, buf_cstr(&text));
    }
}

void api_add_pem(cJSON *to, const char *name, struct span der)
{
    CLEANUP_BUF struct buf base64 = BUF_INIT(16384);
    CLEANUP_BUF struct buf pem = BUF_INIT(20480);
    if (der.len == 0 || base64_append(&base64, der, BASE64_STANDARD) != ERR_OK) {
        return;
    }
    (void)buf_append_str(&pem, "-----BEGIN CERTIFICATE-----\n");
    for (size_t at = 0; at < base64.len; at += PEM_LINE) {
        size_t len = base64.len - at < PEM_LINE ? base64.len - at : PEM_LINE;
        (void)buf_append(&pem, base64.ptr + at, len);
        (void)buf_append_byte(&pem, '\n');
    }
    (void)buf_append_str(&pem, "-----END CERTIFICATE-----\n");
    if (buf_ok(&pem)) {
        (void)cJSON_AddStringToObject(to, name, buf_cstr(&pem));
    }
}
