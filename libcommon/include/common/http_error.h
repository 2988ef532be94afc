/*
 * How an error code leaves over HTTP: the one table from err_t to status and type, and the one
 * error shape. Pure; any thread.
 */
#ifndef COMMON_HTTP_ERROR_H
#define COMMON_HTTP_ERROR_H

#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/http_request.h"

/* ERR_OK and codes that do not exist are a bug of the caller and give 500. */
unsigned http_error_status(err_t e);
/* The `type` used when a fault brings no code of its own. Never NULL. */
const char *http_error_type(err_t e);
/* The `message` used when a fault brings no text. Never NULL. */
const char *http_error_message(err_t e);

/*
 * Appends {"object":"error","code","type","message","request_id","fields"} to `to`; *ret_id_offset
 * is where the HTTP_REQUEST_ID_SIZE - 1 characters of the request id stand, zeros until the server
 * writes it over them. ERR_TOO_LARGE as buf_append.
 */
err_t http_error_append(struct buf *to, unsigned status, const char *type, const char *message,
                        const struct http_error_field *fields, size_t count, size_t *ret_id_offset);

#endif
