/*
 * The crash guard: a request that ends its owner, or hangs it, each time is found and put aside
 * after three attempts, whoever owns its partition then.
 *
 * Before a round each of its partitions gets a note in Redis: how far the round may reach; after
 * the commit the note goes. Who takes a partition over and finds a note that reaches beyond the
 * committed offset knows that the round never ended. It suspects the requests up to there and works
 * on suspects only, in ever smaller rounds: all together (1st attempt), in small groups (2nd), one
 * by one (3rd). The one that was alone the third time goes to the dead letters. A round that was
 * given back by a living owner is no attempt. Redis forgets notes when it is flushed: that costs
 * one more attempt.
 */
#include "processor_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/log.h"

#define GROUPS          32 /* a suspected batch is tried in so many parts */
#define SUSPICION_ALONE 2  /* from here on: one request per round */
#define CONDEMNED       3
#define NOTE_SECONDS    "86400"
#define KEY_MAX         192
#define NOTE_MAX        96

static void note_key(const struct processor *p, const struct part *part, char out[KEY_MAX])
{
    (void)snprintf(out, KEY_MAX, "g:round:%s:%" PRId32, p->app->name, part->number);
}

static bool has_work(const struct part *part)
{
    return part->state == PART_LIVE && part->backlog.len > 0;
}

static unsigned highest_suspicion(const struct processor *p)
{
    unsigned level = 0;
    for (unsigned i = 0; i < p->part_count; i++) {
        if (has_work(&p->parts[i]) && p->parts[i].suspicion > level) {
            level = p->parts[i].suspicion;
        }
    }
    return level;
}

static unsigned batch_of(const struct processor *p, unsigned level)
{
    unsigned max = p->options.batch_max;
    if (level == 0) {
        return max;
    }
    return level < SUSPICION_ALONE && max > GROUPS ? max / GROUPS : 1;
}

bool guard_condemns(const struct part *part, const struct work *w)
{
    return part->suspicion >= CONDEMNED && w->source.offset == part->suspect_end - 1;
}

/* Takes `n` answers that say nothing but yes. */
static err_t collect(struct processor *p, unsigned n)
{
    err_t first = ERR_OK;
    for (unsigned i = 0; i < n; i++) {
        CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
        err_t e = redis_collect(p->redis, &reply);
        first = first == ERR_OK ? e : first;
    }
    return first;
}

static err_t append_note(struct processor *p, struct part *part, unsigned level, unsigned max)
{
    char key[KEY_MAX];
    char note[NOTE_MAX];
    unsigned reach = part->backlog.len < max ? part->backlog.len : max;
    note_key(p, part, key);
    (void)snprintf(note, sizeof note, "%" PRId64 " %u %s",
                   backlog_at(&part->backlog, reach - 1)->source.offset + 1, level, p->run_id);
    err_t e = redis_append(
        p->redis,
        (struct span[]){span_str("SETEX"), span_str(key), span_str(NOTE_SECONDS), span_str(note)},
        4);
    part->noted = e == ERR_OK;
    return e;
}

err_t guard_enter(struct processor *p, unsigned *ret_max)
{
    unsigned level = highest_suspicion(p);
    unsigned max = batch_of(p, level);
    unsigned owed = 0;
    err_t e = ERR_OK;
    for (unsigned i = 0; i < p->part_count && e == ERR_OK; i++) {
        struct part *part = &p->parts[(p->first_part + i) % p->part_count];
        bool admitted = has_work(part) && part->suspicion == level;
        if (admitted && (level < SUSPICION_ALONE || owed == 0)) {
            e = append_note(p, part, level, max);
            owed += e == ERR_OK;
        }
    }
    *ret_max = max;
    err_t answers = collect(p, owed);
    return e == ERR_OK ? answers : e;
}

void guard_undo(struct processor *p)
{
    unsigned owed = 0;
    for (unsigned i = 0; i < p->part_count; i++) {
        struct part *part = &p->parts[i];
        if (part->noted) {
            char key[KEY_MAX];
            note_key(p, part, key);
            part->noted = false;
            owed += redis_append(p->redis, (struct span[]){span_str("DEL"), span_str(key)}, 2) ==
                    ERR_OK;
        }
    }
    if (collect(p, owed) != ERR_OK) {
        /* A note that stays is known as our own when this process reads it again, and costs a
         * successor some small rounds. */
        log_debug("guard", NULL, "note_left_behind", LOG_STR("app", p->app->name));
    }
}

void guard_leave(struct processor *p)
{
    for (unsigned i = 0; i < p->part_count; i++) {
        struct part *part = &p->parts[i];
        if (part->next_offset < 0) {
            continue; /* not in this round */
        }
        if (part->next_offset >= part->suspect_end) {
            part->suspicion = 0;
        } else if (part->suspicion >= CONDEMNED) {
            part->suspicion = SUSPICION_ALONE;
        }
    }
    guard_undo(p);
}

/* "<offset behind the last request> <level> <who>" */
static bool note_parse(struct span text, int64_t *ret_end, unsigned *ret_level,
                       const char **ret_run_id)
{
    char *rest = NULL;
    if (text.ptr == NULL) {
        return false;
    }
    *ret_end = strtoll((const char *)text.ptr, &rest, 10);
    if (*rest != ' ') {
        return false;
    }
    *ret_level = (unsigned)strtoul(rest + 1, &rest, 10);
    *ret_run_id = *rest == ' ' ? rest + 1 : "";
    return true;
}

err_t guard_suspect(struct processor *p, struct part *part, int64_t committed)
{
    char key[KEY_MAX];
    note_key(p, part, key);
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = redis_command_str(p->redis, &reply, "GET", key, NULL);
    int64_t end = 0;
    unsigned level = 0;
    const char *run_id = "";
    part->suspicion = 0;
    if (e != ERR_OK || !note_parse(redis_reply_span(reply), &end, &level, &run_id) ||
        end <= committed) {
        return e;
    }
    part->suspect_end = end;
    part->suspicion = strcmp(run_id, p->run_id) == 0 ? level : level + 1;
    log_warn(NULL, "round_never_ended", LOG_STR("app", p->app->name),
             LOG_INT("partition", part->number), LOG_INT("from", committed), LOG_INT("to", end),
             LOG_UINT("attempts", part->suspicion));
    return ERR_OK;
}
