/*
 * Whether the head of a request is what libmicrohttpd says it read. 0.9.75 works on C strings in
 * its read buffer: it ends values and the target at a NUL, takes a header without a name and a line
 * that begins with a NUL for the end of the head, and glues a folded line to the NAME of the header
 * it continues. Each makes a request of what is something else to a reader before us.
 *
 * In the buffer every text stays where it was, and NULs are written over what stood between: one
 * over a blank or colon, two over CRLF. So the head is walked from text to text, and nothing else
 * may lie between them. 1.0 is strict by itself (http_server.c).
 */
#include <string.h>

#include "http_private.h"

#define LENIENT_LIBRARY (MHD_VERSION < 0x01000000)

void http_head_begin(struct http_head *head, const char *method, struct span target,
                     const char *version)
{
    const char *start = (const char *)target.ptr;
    head->start = method;
    head->at = version + strlen(version);
    head->plain = start == method + strlen(method) + 1 && version == start + target.len + 1;
}

/* A NUL ends the text before, so that the second byte is still in the buffer. */
static bool skip_line_end(struct http_head *head)
{
    if (head->at[0] != '\0' || head->at[1] != '\0') {
        return false;
    }
    head->at += 2;
    return true;
}

void http_head_add(struct http_head *head, struct span name, struct span value)
{
    head->plain =
        head->plain && skip_line_end(head) && name.len > 0 && (const char *)name.ptr == head->at;
    if (head->plain) {
        const char *behind_colon = head->at + name.len + 1;
        head->at = behind_colon + strspn(behind_colon, " \t");
        head->plain = (const char *)value.ptr == head->at;
        head->at += value.len;
    }
}

bool http_head_plain(struct http_head *head, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return !LENIENT_LIBRARY || (head->plain && skip_line_end(head) && skip_line_end(head) &&
                                size != NULL && head->at == head->start + size->header_size);
}
