#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "http_private.h"

/* A list of 1,000 entries of a few hundred bytes fits; errors are cut far below. */
#define ERROR_BODY_MAX 65536

struct http_response *http_response_new(unsigned status)
{
    struct http_response *response = xcalloc(1, sizeof *response);
    response->status = status;
    response->body = BUF_INIT(1);
    return response;
}

struct http_response *http_response_body(unsigned status, const char *content_type,
                                         struct buf *body)
{
    struct http_response *response = http_response_new(status);
    response->content_type = content_type;
    response->body = *body;
    *body = BUF_INIT(body->max);
    return response;
}

struct http_response *http_response_json(unsigned status, struct buf *body)
{
    return http_response_body(status, "application/json", body);
}

struct http_response *http_response_error(unsigned status, const char *type, const char *message,
                                          const struct http_error_field *fields, size_t count)
{
    CLEANUP_BUF struct buf body = BUF_INIT(ERROR_BODY_MAX);
    size_t id_offset = 0;
    if (http_error_append(&body, status, type, message, fields, count, &id_offset) != ERR_OK) {
        /* Too many fields to tell them all. */
        buf_deinit(&body);
        body = BUF_INIT(ERROR_BODY_MAX);
        (void)http_error_append(&body, status, type, message, NULL, 0, &id_offset);
    }
    struct http_response *response = http_response_json(status, &body);
    response->id_offset = id_offset;
    return response;
}

struct http_response *http_response_fault(err_t e, const struct fault *fault)
{
    const char *type = http_error_type(e);
    const char *message = http_error_message(e);
    struct http_error_field field = {0};
    if (fault != NULL && fault->code[0] != '\0') {
        type = fault->code;
    }
    if (fault != NULL && fault->text[0] != '\0') {
        message = fault->text;
    }
    if (fault != NULL && fault->field[0] != '\0') {
        field = (struct http_error_field){fault->field, message};
    }
    return http_response_error(http_error_status(e), type, message, &field,
                               field.field != NULL ? 1 : 0);
}

void http_response_free(struct http_response *response)
{
    if (response == NULL) {
        return;
    }
    for (size_t i = 0; i < response->header_count; i++) {
        free(response->headers[i].value);
    }
    buf_deinit(&response->body);
    free(response);
}

void http_response_set_header(struct http_response *response, const char *name, const char *value)
{
    assert(response->header_count < HTTP_RESPONSE_HEADERS);
    for (const char *p = value; *p != '\0'; p++) {
        assert((unsigned char)*p >= 0x20 && *p != 0x7f);
    }
    response->headers[response->header_count].name = name;
    response->headers[response->header_count++].value = xstrdup(value);
    response->own_cache_control |= strcmp(name, "Cache-Control") == 0;
}

void http_response_set_retry_after(struct http_response *response, uint32_t seconds)
{
    response->retry_after_s = seconds;
}

void http_response_set_close(struct http_response *response)
{
    response->close = true;
}

void http_reply(struct http_request *req, struct http_response *response)
{
    assert(req->stage == HTTP_STAGE_HANDLER && req->response == NULL && req->ticket == NULL);
    req->response = response;
}

void http_reply_json(struct http_request *req, unsigned status, struct buf *body)
{
    http_reply(req, http_response_json(status, body));
}

void http_reply_fault(struct http_request *req, err_t e, const struct fault *fault)
{
    http_reply(req, http_response_fault(e, fault));
}

/* ---- on the event loop's thread ---- */

static void add(struct MHD_Response *to, const char *name, const char *value)
{
    (void)MHD_add_response_header(to, name, value);
}

/* Clients that were turned away together should not come back together. */
static uint32_t retry_after(const struct http_request *req, const struct http_response *response)
{
    if (response->retry_after_s > 0) {
        return response->retry_after_s;
    }
    if (response->status != 429 && response->status != 503) {
        return 0;
    }
    return 1 + (uint32_t)(unsigned char)req->id[0] % 4;
}

static void add_headers(struct MHD_Response *to, const struct http_request *req,
                        const struct http_response *response)
{
    add(to, "X-Request-Id", req->id);
    add(to, "X-Content-Type-Options", "nosniff");
    if (!response->own_cache_control) {
        add(to, "Cache-Control", "no-store");
    }
    if (response->content_type != NULL) {
        add(to, "Content-Type", response->content_type);
    }
    for (size_t i = 0; i < response->header_count; i++) {
        add(to, response->headers[i].name, response->headers[i].value);
    }
    if (response->status == 401 && req->server->options.challenge != NULL) {
        add(to, "WWW-Authenticate", req->server->options.challenge);
    }
    const uint32_t seconds = retry_after(req, response);
    if (seconds > 0) {
        char text[16];
        (void)snprintf(text, sizeof text, "%" PRIu32, seconds);
        add(to, "Retry-After", text);
    }
    /* A chunked body ends where libmicrohttpd saw its end, which 0.9.75 does in trailers without a
     * name and behind bare line feeds too: what follows is nobody's request. */
    if (response->close || http_framing_chunked(&req->framing) ||
        atomic_load(&req->server->closing)) {
        add(to, "Connection", "close");
    }
}

enum MHD_Result http_response_queue(struct http_request *req, struct http_response *response)
{
    CLEANUP(http_response_free) struct http_response *owned = response;
    if (owned->id_offset > 0) {
        memcpy(owned->body.ptr + owned->id_offset, req->id, HTTP_REQUEST_ID_SIZE - 1);
    }
    size_t len = 0;
    char *bytes = buf_take(&owned->body, &len);
    struct MHD_Response *mhd = MHD_create_response_from_buffer(len, bytes, MHD_RESPMEM_MUST_FREE);
    if (mhd == NULL) {
        free(bytes);
        return MHD_NO;
    }
    add_headers(mhd, req, owned);
    req->stage = HTTP_STAGE_ANSWERED;
    req->status = owned->status;
    req->body_sent = len;
    http_conn_phase(req->conn, HTTP_PHASE_SENDING);
    const enum MHD_Result result = MHD_queue_response(req->mhd, owned->status, mhd);
    MHD_destroy_response(mhd);
    return result;
}
