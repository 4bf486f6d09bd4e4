/*
 * pauses.c - see pauses.h.
 */
#include "run/pauses.h"

#include "base/clock.h"
#include "base/log.h"
#include "pipeline/pausable.h"
#include "run/breakers.h"
#include "run/state.h"
#include "store/ledger.h"

#include <errno.h>
#include <stdlib.h>

enum { PAUSES_TEXT_MAX = 2048 };

void pauses_init(struct pauses *pauses)
{
    pthread_mutex_init(&pauses->lock, NULL);
}

void pauses_destroy(struct pauses *pauses)
{
    arena_destroy(pauses->arena);
    pthread_mutex_destroy(&pauses->lock);
}

/* --------------------------------------------------------------------------------------------------------- logging */

static bool in_file(const struct engine *engine, const struct pause *pause)
{
    bool idle;
    return pausable_exists(engine->config, pause->kind, pause->name, &idle);
}

static void log_began(const struct engine *engine, const struct pause *pause)
{
    const char *word = pause_kind_word(pause->kind);
    struct buffer text;
    buffer_init(&text, PAUSES_TEXT_MAX);
    pause_print_text(pause, &text);
    if (in_file(engine, pause))
        log_line(LOG_WARN, "pause", "%s %s is %.*s", word, pause->name, (int)text.length, text.at);
    else
        log_line(LOG_WARN, "pause",
                 "%s %s, which this file does not have, is %.*s; `sluice resume CONFIG %s:%s` removes the pause", word,
                 pause->name, (int)text.length, text.at, word, pause->name);
    buffer_free(&text);
}

/* --------------------------------------------------------------------------------------------------------- the list */

static bool same(const struct pause *a, const struct pause *b)
{
    return a->kind == b->kind && strcmp(a->name, b->name) == 0;
}

static bool unchanged(const struct pause *a, const struct pause *b)
{
    return same(a, b) && strcmp(a->actor, b->actor) == 0 && a->since_ms == b->since_ms && a->until_ms == b->until_ms &&
           a->half_open == b->half_open &&
           strcmp(a->reason == NULL ? "" : a->reason, b->reason == NULL ? "" : b->reason) == 0;
}

static const struct pause *find(const struct pause *list, size_t count, const struct pause *wanted)
{
    for (size_t i = 0; i < count; i++)
        if (same(&list[i], wanted))
            return &list[i];
    return NULL;
}

/* Says what began, changed or ended. False: nothing did. */
static bool compare(const struct engine *engine, const struct pause *list, size_t count)
{
    const struct pauses *before = &engine->pauses;
    bool changed = false;
    for (size_t i = 0; i < count; i++) {
        const struct pause *known = find(before->list, before->list_count, &list[i]);
        if (known != NULL && unchanged(known, &list[i]))
            continue;
        changed = true;
        log_began(engine, &list[i]);
    }
    for (size_t i = 0; i < before->list_count; i++) {
        if (find(list, count, &before->list[i]) != NULL)
            continue;
        changed = true;
        log_info("pause", "%s %s is %s", pause_kind_word(before->list[i].kind), before->list[i].name,
                 before->list[i].kind == PAUSE_BREAKER ? "closed" : "resumed");
    }
    return changed;
}

/* ------------------------------------------------------------------------------------------------------- the flags */

static void set_series(const struct engine *engine, const struct pause *list, size_t count, int64_t value)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].kind != PAUSE_BREAKER && in_file(engine, &list[i]))
            series_set(metrics_series(engine->metrics, METRIC_PAUSED, pause_kind_word(list[i].kind), list[i].name),
                       value);
}

static void set_flags(struct engine *engine, const struct pause *list, size_t count)
{
    const struct pipeline *config = engine->config;
    unsigned effective = 0;
    for (size_t i = 0; i < config->topic_count; i++) {
        bool paused = false, half_open = true;
        for (size_t p = 0; p < count; p++)
            if (pause_covers_topic(&list[p], config->topics[i])) {
                paused = true;
                half_open = half_open && list[p].half_open;
            }
        atomic_store(&engine->topic_runs[i].half_open, paused && half_open);
        atomic_store(&engine->topic_runs[i].paused, paused);
    }
    for (size_t i = 0; i < config->binding_count; i++) {
        bool paused = false;
        int64_t until_ms = 0;
        for (size_t p = 0; p < count; p++)
            if (pause_covers_binding(&list[p], config, config->bindings[i])) {
                paused = true;
                until_ms = list[p].until_ms > until_ms ? list[p].until_ms : until_ms;
            }
        atomic_store(&engine->bindings[i].paused_until_ms, until_ms);
        atomic_store(&engine->bindings[i].paused, paused);
    }
    for (size_t p = 0; p < count; p++)
        effective += in_file(engine, &list[p]);
    atomic_store(&engine->pauses.count, effective);
    atomic_fetch_add(&engine->pauses.changes, 1); /* after the flags: who sees it sees them */
}

static void wake(struct engine *engine)
{
    for (size_t i = 0; i < engine->group_count; i++) {
        struct group_run *group = &engine->groups[i];
        group_wake(group);
        if (group->config->tap != NULL && group->reader_started)
            bus_wake(engine->bus, group->consumer);
    }
}

/* Takes the list and its arena. */
static void put_into_effect(struct engine *engine, struct arena *arena, struct pause *list, size_t count)
{
    struct pauses *pauses = &engine->pauses;
    set_series(engine, pauses->list, pauses->list_count, 0);
    set_series(engine, list, count, 1);
    breakers_show(engine, list, count);
    set_flags(engine, list, count);
    pthread_mutex_lock(&pauses->lock);
    struct arena *before = pauses->arena;
    pauses->arena = arena;
    pauses->list = list;
    pauses->list_count = count;
    pthread_mutex_unlock(&pauses->lock);
    arena_destroy(before);
    wake(engine);
}

/* The database does not answer: what is over by the clock is over. */
static void copy_current(const struct pauses *pauses, struct arena *arena, struct pause **ret, size_t *ret_count)
{
    int64_t now_ms = clock_wall_ms();
    struct pause *list = arena_array(arena, struct pause, pauses->list_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < pauses->list_count; i++) {
        const struct pause *pause = &pauses->list[i];
        if (pause->until_ms <= now_ms && pause->kind != PAUSE_BREAKER)
            continue;
        list[count] = *pause;
        list[count].name = arena_string(arena, span_of(pause->name));
        list[count].actor = arena_string(arena, span_of(pause->actor));
        if (pause->reason != NULL)
            list[count].reason = arena_string(arena, span_of(pause->reason));
        count++;
    }
    *ret = list;
    *ret_count = count;
}

int pauses_look(struct engine *engine, struct connection *connection, struct error *error)
{
    struct pause *list = NULL;
    size_t count = 0;
    struct arena *arena = arena_create(4096, 16 * 1024 * 1024);
    if (arena == NULL)
        return error_set(error, EAGAIN, "no memory for what is paused");
    breakers_report(engine, connection);
    enum store_result result = ledger_pauses(connection, span_of(engine->config->engine.group), arena, &list, &count,
                                             error);
    if (result != STORE_OK)
        copy_current(&engine->pauses, arena, &list, &count);
    bool changed = compare(engine, list, count);
    if (changed)
        put_into_effect(engine, arena, list, count);
    else
        arena_destroy(arena);
    if (changed && atomic_load(&engine->open))
        pauses_release(engine, connection);
    if (result == STORE_OK && atomic_load(&engine->open) && breakers_want_a_try(engine, connection)) {
        atomic_fetch_add(&engine->pauses.changes, 1); /* lanes look for a key that waits */
        wake(engine);
    }
    return result == STORE_OK ? 0 : -EAGAIN;
}

void pauses_release(struct engine *engine, struct connection *connection)
{
    const struct pipeline *config = engine->config;
    struct span *paused = calloc(config->topic_count + 1, sizeof *paused);
    for (size_t g = 0; paused != NULL && g < config->group_count; g++) {
        const struct tap *tap = config->groups[g].tap;
        size_t count = 0;
        for (size_t i = 0; i < config->topic_count; i++)
            if (atomic_load(tap != NULL ? &engine->bindings[tap->binding->index].paused
                                        : &engine->topic_runs[i].paused))
                paused[count++] = span_of(config->topics[i]->name);
        (void)ledger_parked_resume(connection, engine->numbers.groups[g], paused, count, NULL);
    }
    free(paused);
    timer_advance(&engine->parked_timer, clock_wall_ms());
}

void pauses_print(struct engine *engine, struct buffer *out)
{
    struct pauses *pauses = &engine->pauses;
    buffer_byte(out, '[');
    pthread_mutex_lock(&pauses->lock);
    for (size_t i = 0; i < pauses->list_count; i++) {
        buffer_text(out, i > 0 ? "," : "");
        pause_print_json(&pauses->list[i], out);
    }
    pthread_mutex_unlock(&pauses->lock);
    buffer_byte(out, ']');
}
