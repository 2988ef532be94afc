/* What an app sees of a request, and the queue in which requests wait for a round. */
#include "processor_internal.h"

#include "common/partition.h"

#define REQUEST_ID_MAX 128

struct work *work_new(struct processor *p, struct kafka_message *m)
{
    struct work *w = xcalloc(1, sizeof *w);
    w->processor = p;
    w->message = *m;
    *m = (struct kafka_message){0};
    w->source = (struct work_source){.topic = w->message.topic,
                                     .partition = w->message.partition,
                                     .offset = w->message.offset,
                                     .timestamp_ms = w->message.timestamp_ms,
                                     .key = w->message.key,
                                     .value = w->message.value};
    w->emits_tail = &w->emits;
    return w;
}

void work_free(struct work *w)
{
    if (w == NULL) {
        return;
    }
    if (w->request != NULL && w->processor->app->free_request != NULL) {
        w->processor->app->free_request(w->request);
    }
    for (unsigned i = 0; i < w->need_count; i++) {
        free((void *)(uintptr_t)w->need_keys[i].ptr);
    }
    kafka_messages_free(&w->message, 1);
    free(w);
}

void work_reset(struct work *w)
{
    memset(w->entities, 0, sizeof w->entities);
    w->emits = NULL;
    w->emits_tail = &w->emits;
    w->reply = (struct reply){0};
    w->has_reply = false;
    w->signing = false;
    w->dead = w->poisoned;
}

/* ---- the app's side ---- */

const struct work_source *work_source(const struct work *w)
{
    return &w->source;
}

void work_set_request(struct work *w, void *request)
{
    w->request = request;
}

void *work_request(const struct work *w)
{
    return w->request;
}

int32_t work_partition(const struct work *w)
{
    return w->source.partition;
}

err_t work_check_place(const struct work *w, struct span key, struct fault *fault)
{
    int32_t right = partition_of(key, w->processor->request_partitions);
    if (right == w->source.partition) {
        return ERR_OK;
    }
    return fault_set(fault, ERR_INVALID, "wrong_partition", "key",
                     "a request with this key belongs to partition %d", (int)right);
}

err_t work_partitions(const struct work *w, const char *topic, int32_t *ret)
{
    err_t e = proc_partitions(w->processor, topic, ret);
    return e != ERR_OK && err_class(e) != ERR_CLASS_RETRY ? ERR_UNAVAILABLE : e;
}

err_t work_need(struct work *w, struct span record_key, unsigned *ret_index)
{
    for (unsigned i = 0; i < w->need_count; i++) {
        if (span_eq(w->need_keys[i], record_key)) {
            *ret_index = i;
            return ERR_OK;
        }
    }
    if (w->need_count == WORK_ENTITIES_MAX || record_key.len == 0 ||
        record_key.len > VIEW_KEY_MAX) {
        return ERR_TOO_LARGE;
    }
    char *copy = xstrndup((const char *)record_key.ptr, record_key.len);
    w->need_keys[w->need_count] = span_of(copy, record_key.len);
    *ret_index = w->need_count++;
    return ERR_OK;
}

void work_will_sign(struct work *w)
{
    w->will_sign = true;
}

const void *work_state(const struct work *w, unsigned index)
{
    const struct entity *entity = w->entities[index];
    return entity->state;
}

static struct arena *arena_of(const struct work *w)
{
    return &w->processor->round.arena;
}

/* Earlier readers in this round may still point at the state that is replaced: it is freed when the
 * round ends. */
static void bury(struct round *round, void *state)
{
    if (state == NULL) {
        return;
    }
    if (round->grave_count == round->grave_capacity) {
        round->grave_capacity = round->grave_capacity ? 2 * round->grave_capacity : 64;
        round->graves = xrealloc(round->graves, round->grave_capacity, sizeof *round->graves);
    }
    round->graves[round->grave_count++] = state;
}

static struct entity *touch(struct work *w, unsigned index)
{
    struct entity *entity = w->entities[index];
    bury(&w->processor->round, entity->state);
    entity->state = NULL;
    entity->dirty = true;
    entity->input_offset = w->source.offset;
    return entity;
}

void work_put(struct work *w, unsigned index, void *state, struct span record)
{
    struct entity *entity = touch(w, index);
    entity->state = state;
    entity->deleted = false;
    entity->record = arena_span(arena_of(w), record);
}

void work_delete(struct work *w, unsigned index)
{
    struct entity *entity = touch(w, index);
    entity->deleted = true;
    entity->record = (struct span){0};
}

struct emit *work_new_emit(struct work *w)
{
    struct emit *emit = arena_alloc(arena_of(w), sizeof *emit);
    emit->partition = -1;
    *w->emits_tail = emit;
    w->emits_tail = &emit->next;
    return emit;
}

void work_emit(struct work *w, const char *topic, struct span partition_key, struct span record_key,
               struct span value, const struct work_header *headers, unsigned header_count)
{
    struct arena *a = arena_of(w);
    struct emit *emit = work_new_emit(w);
    emit->topic = arena_str(a, topic);
    emit->partition_key = arena_span(a, partition_key);
    emit->record_key = arena_span(a, record_key);
    emit->value = arena_span(a, value);
    emit->headers = arena_alloc(a, (header_count + 1) * sizeof *emit->headers);
    emit->header_count = header_count;
    for (unsigned i = 0; i < header_count; i++) {
        emit->headers[i].name = arena_str(a, headers[i].name);
        emit->headers[i].value = arena_span(a, headers[i].value);
    }
}

void work_reply(struct work *w, const char *request_id, const char *channel, struct span json)
{
    struct arena *a = arena_of(w);
    w->reply = (struct reply){arena_str(a, request_id), arena_str(a, channel), arena_span(a, json)};
    w->has_reply = strlen(request_id) <= REQUEST_ID_MAX;
}

void work_dead_letter(struct work *w, err_t why, const struct fault *fault)
{
    w->dead = true;
    w->dead_why = why;
    w->dead_fault = fault != NULL ? *fault : (struct fault){0};
}

void work_sign(struct work *w)
{
    w->signing = true;
}

/* ---- the backlog: a ring that grows ---- */

static void backlog_grow(struct backlog *b)
{
    unsigned capacity = b->capacity ? 2 * b->capacity : 256;
    struct work **items = xcalloc(capacity, sizeof(struct work *));
    for (unsigned i = 0; i < b->len; i++) {
        items[i] = b->items[(b->head + i) % b->capacity];
    }
    free(b->items);
    b->items = items;
    b->capacity = capacity;
    b->head = 0;
}

static size_t size_of(const struct work *w)
{
    return sizeof *w + w->message.key.len + w->message.value.len;
}

void backlog_push(struct backlog *b, struct work *w)
{
    if (b->len == b->capacity) {
        backlog_grow(b);
    }
    b->items[(b->head + b->len++) % b->capacity] = w;
    b->bytes += size_of(w);
}

void backlog_push_front(struct backlog *b, struct work *w)
{
    if (b->len == b->capacity) {
        backlog_grow(b);
    }
    b->head = (b->head + b->capacity - 1) % b->capacity;
    b->items[b->head] = w;
    b->len++;
    b->bytes += size_of(w);
}

struct work *backlog_peek(const struct backlog *b)
{
    return b->len > 0 ? b->items[b->head] : NULL;
}

struct work *backlog_at(const struct backlog *b, unsigned i)
{
    return b->items[(b->head + i) % b->capacity];
}

struct work *backlog_pop(struct backlog *b)
{
    struct work *w = backlog_peek(b);
    if (w != NULL) {
        b->head = (b->head + 1) % b->capacity;
        b->len--;
        b->bytes -= size_of(w);
    }
    return w;
}

bool backlog_is_long(const struct backlog *b, bool paused, unsigned batch, size_t bytes)
{
    unsigned batches = paused ? 1 : PROC_BACKLOG_BATCHES;
    return b->len > batches * batch || b->bytes > (paused ? bytes / 2 : bytes);
}

void backlog_clear(struct backlog *b)
{
    while (b->len > 0) {
        work_free(backlog_pop(b));
    }
}

void backlog_deinit(struct backlog *b)
{
    backlog_clear(b);
    free(b->items);
    *b = (struct backlog){0};
}
