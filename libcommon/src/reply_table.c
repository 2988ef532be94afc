#include "reply_table.h"

#include <string.h>

#include "common/partition.h"

void reply_table_init(struct reply_table *t, size_t capacity)
{
    t->capacity = capacity;
    t->used = 0;
    t->slots = xcalloc(capacity, sizeof *t->slots);
    t->buckets = xcalloc(capacity, sizeof(struct reply_slot *));
    t->free_list = NULL;
    for (size_t i = capacity; i > 0; i--) {
        struct reply_slot *slot = &t->slots[i - 1];
        slot->cookie = i;
        slot->next = t->free_list;
        t->free_list = slot;
    }
}

void reply_table_deinit(struct reply_table *t)
{
    free(t->slots);
    free(t->buckets);
    *t = (struct reply_table){0};
}

static struct reply_slot **bucket(struct reply_table *t, const char *id)
{
    return &t->buckets[stable_hash(span_str(id)) % t->capacity];
}

struct reply_slot *reply_table_add(struct reply_table *t, const char *id, int64_t deadline_ms)
{
    struct reply_slot *slot = t->free_list;
    if (slot == NULL) {
        return NULL;
    }
    t->free_list = slot->next;
    /* A new generation: a late delivery report of the slot's former life finds nothing. */
    *slot = (struct reply_slot){
        .in_use = true, .deadline_ms = deadline_ms, .cookie = slot->cookie + (UINT64_C(1) << 32)};
    size_t len = strnlen(id, sizeof slot->id - 1);
    memcpy(slot->id, id, len);
    struct reply_slot **head = bucket(t, slot->id);
    slot->next = *head;
    *head = slot;
    t->used++;
    return slot;
}

void reply_table_remove(struct reply_table *t, struct reply_slot *slot)
{
    struct reply_slot **at = bucket(t, slot->id);
    while (*at != slot) {
        at = &(*at)->next;
    }
    *at = slot->next;
    slot->in_use = false;
    slot->next = t->free_list;
    t->free_list = slot;
    t->used--;
}

struct reply_slot *reply_table_find(struct reply_table *t, const char *id)
{
    struct reply_slot *slot = *bucket(t, id);
    while (slot != NULL && strcmp(slot->id, id) != 0) {
        slot = slot->next;
    }
    return slot;
}

struct reply_slot *reply_table_at(struct reply_table *t, uint64_t cookie)
{
    uint64_t number = cookie & UINT32_MAX;
    if (number == 0 || number > t->capacity) {
        return NULL;
    }
    struct reply_slot *slot = &t->slots[number - 1];
    return slot->in_use && slot->cookie == cookie ? slot : NULL;
}

struct reply_slot *reply_table_any(struct reply_table *t)
{
    for (size_t i = 0; i < t->capacity && t->used > 0; i++) {
        if (t->slots[i].in_use) {
            return &t->slots[i];
        }
    }
    return NULL;
}

bool reply_table_any_due(const struct reply_table *t, int64_t at_ms)
{
    for (size_t i = 0; i < t->capacity; i++) {
        if (t->slots[i].in_use && t->slots[i].deadline_ms <= at_ms) {
            return true;
        }
    }
    return false;
}

size_t reply_table_due(struct reply_table *t, int64_t at_ms, size_t *position,
                       char (*ids)[UUID_TEXT_SIZE], size_t max)
{
    size_t n = 0;
    while (*position < t->capacity && n < max) {
        struct reply_slot *slot = &t->slots[(*position)++];
        if (slot->in_use && slot->deadline_ms <= at_ms && (at_ms == INT64_MAX || !slot->looked)) {
            slot->looked = at_ms != INT64_MAX;
            memcpy(ids[n++], slot->id, sizeof slot->id);
        }
    }
    return n;
}

struct reply_slot *reply_table_expired(struct reply_table *t, int64_t at_ms)
{
    for (size_t i = 0; i < t->capacity; i++) {
        struct reply_slot *slot = &t->slots[i];
        if (slot->in_use && slot->stored && slot->looked && slot->deadline_ms <= at_ms) {
            return slot;
        }
    }
    return NULL;
}
