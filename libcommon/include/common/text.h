/*
 * Text of unknown origin: UTF-8 validity and JSON string escaping. Used by the log, the JSON
 * decoder and every encoder. Any thread.
 */
#ifndef COMMON_TEXT_H
#define COMMON_TEXT_H

#include "common/buf.h"

/* Length (1..4) of the well-formed UTF-8 sequence at the start of `text`; 0 when there is none
 * (malformed, overlong, surrogate, beyond U+10FFFF, cut off, empty). */
size_t utf8_sequence(struct span text);
bool utf8_valid(struct span text);

/* Appends the bytes as a JSON string with its quotes. Valid UTF-8 comes through as it is, escaped
 * only where JSON forces it; each byte that is not UTF-8 appears as \xNN, so that the result is
 * always a valid document. ERR_TOO_LARGE as buf_append. */
err_t text_append_json(struct buf *to, struct span bytes);

#endif
