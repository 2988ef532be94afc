#include "absence.h"

#include "common/view.h"
#include "proto/topics.h"

#define CALL_TIMEOUT_MS 2000

static const struct {
    char letter;
    const char *topic;
} views[ABSENT_VIEWS] = {
    [ABSENT_IN_REGISTRY] = {VIEW_REGISTRY, TOPIC_REGISTRY_STATE},
    [ABSENT_IN_CAS] = {VIEW_CA, TOPIC_CA_STATE},
};

struct place {
    bool found;             /* something is absent by this pass */
    bool checked;           /* the view was up to date before this pass */
    struct view_mark stood; /* then */
};

struct absences {
    int32_t partitions;
    struct place *places; /* partitions of the first view, then those of the next */
};

struct absences *absences_new(int32_t partitions)
{
    struct absences *a = xcalloc(1, sizeof *a);
    a->partitions = partitions;
    a->places = xcalloc(ABSENT_VIEWS * (size_t)partitions, sizeof *a->places);
    return a;
}

void absences_free(struct absences *a)
{
    if (a != NULL) {
        free(a->places);
        free(a);
    }
}

void absences_next_pass(struct absences *a)
{
    for (int32_t i = 0; i < ABSENT_VIEWS * a->partitions; i++) {
        a->places[i].found = false;
    }
}

void absences_note(struct absences *a, enum absent_in view, int32_t partition)
{
    a->places[(int32_t)view * a->partitions + partition].found = true;
}

err_t absences_believe(const struct absences *a, struct redis *redis)
{
    err_t e = ERR_OK;
    for (int32_t i = 0; i < ABSENT_VIEWS * a->partitions && e == ERR_OK; i++) {
        const struct place *place = &a->places[i];
        if (place->found) {
            e = place->checked ? view_fresh_stands(redis, views[i / a->partitions].letter,
                                                   i % a->partitions, &place->stood)
                               : ERR_STALE;
        }
    }
    return e;
}

err_t absences_check(struct absences *a, struct view_fresh *fresh, struct redis *redis)
{
    err_t e = ERR_OK;
    for (int32_t i = 0; i < ABSENT_VIEWS * a->partitions && e == ERR_OK; i++) {
        struct place *place = &a->places[i];
        place->checked = place->found;
        if (place->found) {
            e = view_fresh_check(fresh, redis, views[i / a->partitions].letter,
                                 views[i / a->partitions].topic, i % a->partitions, CALL_TIMEOUT_MS,
                                 &place->stood);
        }
    }
    return e;
}
