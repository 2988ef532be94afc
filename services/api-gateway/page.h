/*
 * Pages of the lists: a stretch of an index with the record of each member, in the envelope of the
 * API. An index member ends in the id of its thing, behind the last '/'; After names that id.
 * Handler's thread.
 */
#ifndef API_GATEWAY_PAGE_H
#define API_GATEWAY_PAGE_H

#include "api.h"

#define PAGE_KEY_SIZE REGISTRY_KEY_SIZE

struct page {
    char letter;
    const char *index;
    int32_t partition;  /* -1: all */
    const char *prefix; /* of the members; "": all */
    const char *after;  /* the member the page begins behind; "": from the start */
    /* The view key of a member's record; NULL: the id. */
    void (*key)(const char *member, const char *id, char out[PAGE_KEY_SIZE]);
    /* NULL: cannot be shown (of a newer version), left out. */
    cJSON *(*show)(struct exchange *x, const void *ctx, struct span payload);
    const void *ctx;
};

/* Answers with the page that the body, an api_page_body, asks for. */
void page_reply(struct exchange *x, const struct page *p);

/* The records of up to `limit` members, NULL where one is gone between the two reads. */
struct page_rows {
    struct views_members members; /* perhaps one more than `count`: there are more */
    size_t count;
    struct buf arena;
    struct span *payloads;
};
err_t page_read(struct exchange *x, const struct page *p, bool descending, size_t limit,
                struct page_rows *ret) MUST_USE;
void page_rows_deinit(struct page_rows *rows);
CLEANUP_DEFINE_EMBEDDED(struct page_rows, page_rows_deinit);

#endif
