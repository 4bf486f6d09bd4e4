/*
 * pause.c - see pause.h.
 */
#include "operate/pause.h"

#include "pipeline/pausable.h"

#include <errno.h>

#define PAUSE_FOR_MAX_MS (3650 * 86400000ll)

/* ------------------------------------------------------------------------------------------------------------ names */

/* "topic:orders" → PAUSE_TOPIC and "orders"; without a kind before it *ret_any is true. */
static const char *name_of(const char *word, enum pause_kind *ret_kind, bool *ret_any)
{
    const char *colon = strchr(word, ':');
    *ret_any = colon == NULL || !pause_kind_of((struct span){word, (size_t)(colon - word)}, ret_kind);
    return *ret_any ? word : colon + 1;
}

static int not_found(struct error *error, const char *name, const char *what, const char *const *names)
{
    const char *near = nearest_name(name, names);
    int code = error_set(error, ENOENT, "%s '%.249s'", what, name);
    if (near != NULL)
        error_hint(error, "did you mean '%s'?", near);
    return code;
}

static int say_two_things(struct error *error, const char *name, enum pause_kind first, enum pause_kind second)
{
    return error_set(error, EINVAL, "'%.249s' is a %s and a %s; say '%s:%.249s' or '%s:%.249s'", name,
                     pause_kind_word(first), pause_kind_word(second), pause_kind_word(first), name,
                     pause_kind_word(second), name);
}

/* What of the file `word` names. */
static int find_in_file(const struct operation *operation, const char *word, struct pause *ret, struct error *error)
{
    struct arena *arena = operation->arena;
    const struct pipeline *pipeline = operation->pipeline;
    enum pause_kind only = PAUSE_TOPIC, found = PAUSE_KIND_COUNT;
    bool any, idle = false;
    const char *name = name_of(word, &only, &any);
    for (int kind = 0; kind < PAUSE_KIND_COUNT; kind++) {
        bool is_idle = false;
        if ((!any && kind != (int)only) || kind == PAUSE_BREAKER)
            continue; /* a breaker opens by itself */
        if (pausable_exists(pipeline, (enum pause_kind)kind, name, &is_idle) && found != PAUSE_KIND_COUNT)
            return say_two_things(error, name, found, (enum pause_kind)kind);
        if (pausable_exists(pipeline, (enum pause_kind)kind, name, &is_idle))
            found = (enum pause_kind)kind;
        idle = idle || is_idle;
    }
    if (found == PAUSE_KIND_COUNT && idle)
        return error_set(error, EINVAL, "topic '%.249s' has no handler in this pipeline: there is nothing to pause",
                         name);
    if (found == PAUSE_KIND_COUNT)
        return not_found(error, name,
                         any ? "no topic, handler, tap, schedule or dependency of the pipeline is named"
                             : arena_format(arena, "the pipeline has no %s", pause_kind_word(only)),
                         pausable_names(pipeline, arena));
    *ret = (struct pause){.kind = found, .name = arena_string(arena, span_of(name))};
    return 0;
}

/* Which of the pauses `word` names. */
static int find_in_list(const struct pauses_listed *listed, struct arena *arena, const char *word, size_t *ret,
                        struct error *error)
{
    enum pause_kind only = PAUSE_TOPIC;
    bool any;
    const char *name = name_of(word, &only, &any);
    const char **names = arena_array(arena, const char *, listed->count + 1);
    size_t found = listed->count;
    for (size_t i = 0; i < listed->count; i++) {
        const struct pause *pause = &listed->list[i];
        names[i] = pause->name;
        if (strcmp(pause->name, name) != 0 || (!any && pause->kind != only))
            continue;
        if (found != listed->count)
            return say_two_things(error, name, listed->list[found].kind, pause->kind);
        found = i;
    }
    *ret = found;
    return found < listed->count ? 0 : not_found(error, word, "nothing is paused that is named", names);
}

/* ------------------------------------------------------------------------------------------------------------- acts */

int pause_duration(struct span text, int64_t *ret_ms, struct error *error)
{
    if (duration_parse(text, ret_ms) == 0 && *ret_ms >= 1 && *ret_ms <= PAUSE_FOR_MAX_MS)
        return 0;
    return error_set(error, EINVAL, "'%.*s': expected a duration as 30s, 10m or 2h, up to 3650d",
                     text.length > 100 ? 100 : (int)text.length, text.at);
}

int pause_list(const struct operation *operation, struct pauses_listed *ret, struct error *error)
{
    int code = operation_needs_store(operation, "pauses are", error);
    return code != 0 ? code
                     : operation_result(ledger_pauses(operation->connection, span_of(operation->pipeline->engine.group),
                                                      operation->arena, &ret->list, &ret->count, error),
                                        error);
}

static struct span object_of(const struct operation *operation, const struct pause *pause)
{
    return span_of(arena_format(operation->arena, "%s %s", pause_kind_word(pause->kind), pause->name));
}

struct making {
    struct pause pause;
    int64_t for_ms;
};

static int make(const struct operation *operation, void *context, struct error *error)
{
    const struct making *making = context;
    const struct pause *pause = &making->pause;
    char duration[32];
    const char *act = making->for_ms == 0
                          ? "pause"
                          : arena_format(operation->arena, "pause --for %s", duration_text(making->for_ms, duration));
    enum store_result result = ledger_pause(operation->connection, span_of(operation->pipeline->engine.group),
                                            span_of(pause_kind_word(pause->kind)), span_of(pause->name), making->for_ms,
                                            operation->actor, operation->reason, error);
    if (result == STORE_OK)
        result = operation_audit(operation, act, object_of(operation, pause), error);
    return operation_result(result, error);
}

int pause_make(const struct operation *operation, const char *name, int64_t for_ms, struct pause *ret,
               struct error *error)
{
    struct making making = {.for_ms = for_ms};
    struct pauses_listed listed = {0};
    int code = operation_needs_store(operation, "pauses are", error);
    if (code == 0)
        code = find_in_file(operation, name, &making.pause, error);
    if (code == 0)
        code = operation_transact(operation, make, &making, error);
    if (code == 0)
        code = pause_list(operation, &listed, error);
    *ret = making.pause;
    for (size_t i = 0; i < listed.count; i++)
        if (listed.list[i].kind == ret->kind && strcmp(listed.list[i].name, ret->name) == 0)
            *ret = listed.list[i];
    return code == 0 && ret->actor == NULL ? error_set(error, EBUSY, "somebody else has ended that pause at once")
                                           : code;
}

static int end(const struct operation *operation, void *context, struct error *error)
{
    const struct pauses_listed *listed = context;
    enum store_result result = STORE_OK;
    for (size_t i = 0; i < listed->count && result == STORE_OK; i++) {
        const struct pause *pause = &listed->list[i];
        bool found = false;
        result = ledger_resume(operation->connection, span_of(operation->pipeline->engine.group),
                               span_of(pause_kind_word(pause->kind)), span_of(pause->name), &found, error);
        if (result == STORE_OK && found)
            result = operation_audit(operation, "resume", object_of(operation, pause), error);
    }
    return operation_result(result, error);
}

int pause_end(const struct operation *operation, const char *name, struct pauses_listed *ret, struct error *error)
{
    struct pauses_listed listed = {0};
    size_t at = 0;
    int code = pause_list(operation, &listed, error);
    if (code == 0 && name != NULL)
        code = find_in_list(&listed, operation->arena, name, &at, error);
    if (code != 0)
        return code;
    *ret = name == NULL ? listed : (struct pauses_listed){&listed.list[at], 1};
    return operation_transact(operation, end, ret, error);
}

bool pause_in_file(const struct operation *operation, const struct pause *pause)
{
    bool idle;
    return pausable_exists(operation->pipeline, pause->kind, pause->name, &idle);
}

void pauses_json(const struct pauses_listed *listed, struct buffer *out)
{
    buffer_text(out, "{\"pauses\":[");
    for (size_t i = 0; i < listed->count; i++) {
        buffer_text(out, i > 0 ? "," : "");
        pause_print_json(&listed->list[i], out);
    }
    buffer_text(out, "]}\n");
}
