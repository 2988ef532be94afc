#include "page.h"

#include <stdio.h>

#define PAGE_BYTES ((size_t)64 * 1024 * 1024)

void page_rows_deinit(struct page_rows *rows)
{
    views_members_deinit(&rows->members);
    buf_deinit(&rows->arena);
    free(rows->payloads);
    *rows = (struct page_rows){0};
}

/* The member as text; returns its id, within it. */
static const char *member_text(const struct views_member *m, char out[PAGE_KEY_SIZE])
{
    (void)snprintf(out, PAGE_KEY_SIZE, "%.*s", (int)m->len, (const char *)m->bytes);
    const char *slash = strrchr(out, '/');
    return slash != NULL ? slash + 1 : out;
}

static err_t read_records(struct exchange *x, const struct page *p, struct page_rows *rows)
{
    size_t n = rows->count;
    CLEANUP_FREE struct views_want *wants = xcalloc(n + 1, sizeof *wants);
    char(*keys)[PAGE_KEY_SIZE] = xcalloc(n + 1, sizeof *keys);
    for (size_t i = 0; i < n; i++) {
        char member[PAGE_KEY_SIZE];
        const char *id = member_text(&rows->members.items[i], member);
        if (p->key != NULL) {
            p->key(member, id, keys[i]);
        } else {
            (void)snprintf(keys[i], sizeof keys[i], "%s", id);
        }
        wants[i] = (struct views_want){.letter = p->letter,
                                       .partition = rows->members.items[i].partition,
                                       .key = span_str(keys[i])};
    }
    err_t err = views_get_many(x->redis, wants, n, &rows->arena, rows->payloads);
    free(keys);
    return err;
}

err_t page_read(struct exchange *x, const struct page *p, bool descending, size_t limit,
                struct page_rows *ret)
{
    const struct views_range range = {
        .letter = p->letter,
        .index = span_str(p->index),
        .partition = p->partition,
        .prefix = span_str(p->prefix),
        .after = span_str(p->after),
        .descending = descending,
        .limit = limit + 1,
    };
    *ret = (struct page_rows){.arena = BUF_INIT(PAGE_BYTES)};
    err_t err = views_list(x->door->views, x->redis, &range, &ret->members);
    if (err != ERR_OK) {
        return err;
    }
    ret->count = ret->members.count < limit ? ret->members.count : limit;
    ret->payloads = xcalloc(ret->count + 1, sizeof *ret->payloads);
    return read_records(x, p, ret);
}

void page_reply(struct exchange *x, const struct page *p)
{
    const struct api_page_body *body = x->body;
    size_t limit = api_limit(body->has_limit, body->limit);
    CLEANUP(page_rows_deinit) struct page_rows rows = {0};
    err_t err = page_read(x, p, body->order == API_DESC, limit, &rows);
    if (err != ERR_OK) {
        api_view_failed(x, err, "", "list", "");
        return;
    }
    cJSON *data = cJSON_CreateArray();
    for (size_t i = 0; i < rows.count; i++) {
        cJSON *row = rows.payloads[i].ptr != NULL ? p->show(x, p->ctx, rows.payloads[i]) : NULL;
        if (row != NULL) {
            (void)cJSON_AddItemToArray(data, row);
        }
    }
    char member[PAGE_KEY_SIZE] = "";
    const char *last =
        rows.count > 0 ? member_text(&rows.members.items[rows.count - 1], member) : member;
    api_reply(x, 200, api_list(data, rows.members.count > rows.count, limit, last, body->order));
}
