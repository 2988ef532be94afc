#include "common/http_error.h"

#include "common/text.h"

static const struct {
    unsigned status;
    const char *type;
    const char *message;
} answers[ERR_COUNT_] = {
    [ERR_INVALID] = {400, "validation_error", "the request breaks a rule"},
    [ERR_TOO_LARGE] = {413, "too_large", "the request is over a limit"},
    [ERR_UNAUTHORIZED] = {401, "unauthorized", "no valid credential"},
    [ERR_FORBIDDEN] = {403, "forbidden", "the credential does not allow this"},
    [ERR_UNSUPPORTED] = {400, "unsupported", "not supported here"},
    [ERR_LIMIT] = {403, "account_limit_exceeded", "a quota of the account is used up"},
    [ERR_ABSENT] = {404, "not_found", "no such thing"},
    [ERR_EXISTS] = {409, "duplicate", "it exists already"},
    [ERR_CONFLICT] = {409, "conflict", "the present state does not allow it"},
    [ERR_STALE] = {409, "stale", "made for an older state"},
    [ERR_BUSY] = {429, "too_many_requests", "too many requests, try again later"},
    [ERR_TIMEOUT] = {504, "timeout", "no answer in time; the outcome is not known"},
    [ERR_UNAVAILABLE] = {503, "unavailable", "temporarily not available, try again later"},
    [ERR_STOPPING] = {503, "stopping", "this instance is stopping, try again"},
    [ERR_CORRUPT] = {500, "internal_error", "internal error"},
    [ERR_FENCED] = {500, "internal_error", "internal error"},
    [ERR_INTERNAL] = {500, "internal_error", "internal error"},
};

static err_t answerable(err_t e)
{
    return (unsigned)e < ERR_COUNT_ && answers[e].status != 0 ? e : ERR_INTERNAL;
}

unsigned http_error_status(err_t e)
{
    return answers[answerable(e)].status;
}

const char *http_error_type(err_t e)
{
    return answers[answerable(e)].type;
}

const char *http_error_message(err_t e)
{
    return answers[answerable(e)].message;
}

err_t http_error_append(struct buf *to, unsigned status, const char *type, const char *message,
                        const struct http_error_field *fields, size_t count, size_t *ret_id_offset)
{
    (void)buf_printf(to, "{\"object\":\"error\",\"code\":%u,\"type\":", status);
    (void)text_append_json(to, span_str(type));
    (void)buf_append_str(to, ",\"message\":");
    (void)text_append_json(to, span_str(message));
    (void)buf_append_str(to, ",\"request_id\":\"");
    *ret_id_offset = to->len;
    (void)buf_append_str(to, "00000000-0000-0000-0000-000000000000\",\"fields\":[");
    for (size_t i = 0; i < count; i++) {
        (void)buf_append_str(to, i == 0 ? "{\"field\":" : ",{\"field\":");
        (void)text_append_json(to, span_str(fields[i].field));
        (void)buf_append_str(to, ",\"message\":");
        (void)text_append_json(to, span_str(fields[i].message));
        (void)buf_append_byte(to, '}');
    }
    (void)buf_append_str(to, "]}");
    return buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}
