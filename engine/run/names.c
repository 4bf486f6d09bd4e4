/*
 * names.c - see names.h.
 */
#include "run/names.h"

#include "base/clock.h"
#include "run/begin.h"
#include "run/renames.h"
#include "run/waiting.h"

#include <errno.h>

enum { NAMES_MS = 600000 /* counting a million parked events takes seconds; a timeout would repeat it for ever */ };

/* --------------------------------------------------------------------------------------------------- what was known */

/* Whether the names of a file are this one's: it has its name, or had it. */
static bool is_own_file(const struct names *names, struct span file)
{
    const struct pipeline *config = names->config;
    bool own = span_is(file, config->name);
    for (size_t i = 0; i < config->answer_count && !own; i++)
        own = names_renames_file(config, &config->answers[i]) && span_is(file, config->answers[i].old);
    return own;
}

static void load_row(struct names *names, const struct rows *rows, size_t row)
{
    struct span kind = rows_span(rows, row, 0), file = rows_span(rows, row, 4);
    if (is_own_file(names, file)) {
        struct known *known = names_known_add(names, kind.at[0], rows_span(rows, row, 1), rows_span(rows, row, 2),
                                              rows_span(rows, row, 3));
        known->stored.file = span_of(names->config->name); /* save() has it under this name */
        return;
    }
    names->elsewhere = arena_grown(names->arena, names->elsewhere, names->elsewhere_count, sizeof *names->elsewhere);
    names->elsewhere[names->elsewhere_count++] = (struct known_name){
        .kind = arena_span(names->arena, kind),
        .group = arena_span(names->arena, rows_span(rows, row, 1)),
        .name = arena_span(names->arena, rows_span(rows, row, 2)),
        .file = arena_span(names->arena, file)};
}

static int load(struct names *names)
{
    const struct pipeline *config = names->config;
    struct span *pipelines = arena_array(names->arena, struct span, config->answer_count + 2);
    size_t count = renames_pipelines(names, pipelines);
    struct rows *rows = NULL;
    enum store_result result = ledger_known(names->connection, pipelines, count, names->change, &rows, names->error);
    for (size_t r = 0; result == STORE_OK && r < rows_count(rows); r++) {
        names->remembered = true;
        load_row(names, rows, r);
    }
    return names_code(result);
}

/* ------------------------------------------------------------------------------------------------ what is known now */

static void list_name(struct known_name *list, size_t *count, const char *kind, const char *group, const char *name,
                      const char *handler)
{
    list[(*count)++] = (struct known_name){
        .kind = span_of(kind), .group = span_of(group), .name = span_of(name), .handler = span_of(handler)};
}

static const char *recorded_under(const struct binding *binding)
{
    return binding_is_recorded(binding) ? binding->id : "";
}

/* Whether a timer emits to the topic. */
static bool timed(const struct pipeline *config, const struct topic *topic)
{
    for (size_t c = 0; c < config->chain_count; c++)
        for (size_t t = 0; t < config->chains[c].timer_count; t++)
            if (config->chains[c].timers[t].emit == topic)
                return true;
    return false;
}

static size_t list_names(struct names *names, struct known_name *list)
{
    const struct pipeline *config = names->config;
    size_t count = 0;
    for (size_t i = 0; i < config->topic_count; i++)
        if (config->topics[i]->binding != NULL)
            list_name(list, &count, "t", config->engine.group, config->topics[i]->name, config->topics[i]->binding->id);
    list_name(list, &count, "g", "", config->engine.group, "");
    for (size_t t = 0; t < config->tap_count; t++) {
        const struct tap *tap = &config->taps[t];
        const char *group = tap->binding->group->name, *handler = recorded_under(tap->binding);
        list_name(list, &count, "g", "", group, handler);
        for (size_t i = 0; i < config->topic_count; i++)
            if (tap_sees(tap, config->topics[i]))
                list_name(list, &count, "t", group, config->topics[i]->name, handler);
    }
    for (size_t i = 0; i < config->binding_count; i++)
        list_name(list, &count, "h", "", config->bindings[i]->id, "");
    for (size_t i = 0; i < config->chain_count; i++)
        list_name(list, &count, "c", "", config->chains[i].name, "");
    for (size_t i = 0; i < config->topic_count; i++)
        if (timed(config, config->topics[i]))
            list_name(list, &count, "e", config->engine.group, config->topics[i]->name, "");
    return count;
}

static size_t list_max(const struct pipeline *config)
{
    return config->topic_count * (config->tap_count + 2) + config->tap_count + config->binding_count +
           config->chain_count + 1;
}

/* Writes down what the file has, and forgets what left it and nothing waits for. */
static int save(struct names *names)
{
    struct known_name *list = arena_array(names->arena, struct known_name, list_max(names->config)),
                      *over = arena_array(names->arena, struct known_name, names->known_count + 1);
    struct span pipeline = span_of(names->config->engine.group);
    size_t count = list_names(names, list), over_count = 0;
    for (size_t i = 0; i < names->known_count; i++) {
        const struct known *known = &names->known[i];
        if (known->carried_over || (known->left && known->answer == NULL))
            over[over_count++] = known->stored;
    }
    enum store_result result = STORE_OK;
    for (size_t i = 0; i < count; i++)
        list[i].file = span_of(names->config->name);
    for (size_t i = 0; i < names->config->answer_count && result == STORE_OK; i++)
        if (names_renames_file(names->config, &names->config->answers[i]))
            result = ledger_known_file(names->connection, pipeline, span_of(names->config->answers[i].old),
                                       span_of(names->config->name), names->error);
    if (result == STORE_OK)
        result = ledger_known_forget(names->connection, pipeline, over, over_count, names->error);
    if (result == STORE_OK)
        result = ledger_known_save(names->connection, pipeline, list, count, names->error);
    return names_code(result);
}

/* ----------------------------------------------------------------------------------------------- what becomes of it */

/* A topic that is read beside those of the group's configuration. */
static void read_also(struct names *names, size_t group, const char *topic)
{
    const char **list = names->others[group];
    size_t count = 0;
    while (list != NULL && list[count] != NULL)
        if (strcmp(list[count++], topic) == 0)
            return;
    list = arena_array(names->arena, const char *, count + 2);
    for (size_t i = 0; i < count; i++)
        list[i] = names->others[group][i];
    list[count] = topic;
    names->others[group] = list;
}

/* What is `renamed` may still come, from processes with an earlier file or from other producers: it is read as long as
 * the answer stands in the file. */
static void read_answered(struct names *names)
{
    const struct pipeline *config = names->config;
    for (size_t i = 0; i < config->answer_count; i++) {
        const struct name_answer *answer = &config->answers[i];
        const struct topic *topic = answer->new_name == NULL ? NULL : pipeline_topic(config, answer->new_name);
        if (topic != NULL && topic->binding != NULL)
            read_also(names, 0, answer->old);
        for (size_t t = 0; t < config->tap_count && topic != NULL; t++)
            if (tap_sees(&config->taps[t], topic))
                read_also(names, config->taps[t].binding->group->index, answer->old);
    }
}

/* What the database remembers of a name with an answer. */
static void read_known(struct names *names, const struct known *known)
{
    const struct pipeline *config = names->config;
    size_t answer = known->answer == NULL ? 0 : (size_t)(known->answer - config->answers);
    bool retired = known->answer != NULL && known->answer->new_name == NULL;
    const char *handler = known->row.handler.length > 0 ? known->row.handler.at : NULL;
    if (retired && names_kind(known) == 'g')
        names->retired_taps[answer] = handler;
    for (size_t i = 0; i < config->group_count && names_kind(known) == 't'; i++) {
        const struct group *group = &config->groups[i];
        if (!span_is(known->row.group, group->name) || (!retired && group->retired == NULL))
            continue;
        if (group->tap == NULL && group->retired == NULL)
            names->retired_topics[answer] = handler;
        read_also(names, i, known->name);
    }
}

static int retire_chains(struct names *names)
{
    int code = 0;
    for (size_t i = 0; i < names->known_count && code == 0; i++) {
        const struct known *known = &names->known[i];
        if (names_kind(known) == 'c' && known->answer != NULL && known->answer->new_name == NULL)
            code = names_code(ledger_chains_close(
                names->connection, known->row.name,
                span_of(arena_format(names->arena, "retired: chain '%s' left the pipeline", known->name)),
                names->error));
    }
    return code;
}

/* What waited for a name that no file had is looked at again. */
static int look_again(struct names *names)
{
    struct span *groups = arena_array(names->arena, struct span, names->config->group_count + 1);
    for (size_t i = 0; i < names->config->group_count; i++)
        groups[i] = span_of(names->config->groups[i].name);
    return names_code(ledger_parked_again(names->connection, groups, names->config->group_count, names->error));
}

/* Of those, what the bus has. */
static int keep_existing(struct names *names)
{
    int code = 0;
    for (size_t i = 0; i < names->config->group_count && code == 0; i++) {
        const char **list = names->others[i];
        size_t count = 0, kept = 0;
        while (list != NULL && list[count] != NULL)
            count++;
        struct bus_standing *topics = arena_array(names->arena, struct bus_standing, count + 1);
        for (size_t t = 0; t < count; t++)
            topics[t].topic = list[t];
        if (count > 0)
            code = bus_standing(names->bus, names->config->groups[i].name, topics, count, 0, names->error);
        for (size_t t = 0; t < count && code == 0; t++)
            if (topics[t].exists)
                list[kept++] = topics[t].topic;
        if (count > 0 && code == 0)
            list[kept] = NULL;
    }
    return code;
}

const char **names_elsewhere(const struct names *names, size_t group)
{
    const char **list = arena_array(names->arena, const char *, names->elsewhere_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < names->elsewhere_count; i++)
        if (names->elsewhere[i].kind.at[0] == 't' &&
            span_is(names->elsewhere[i].group, names->config->groups[group].name))
            list[count++] = arena_string(names->arena, names->elsewhere[i].name);
    return list;
}

/* --------------------------------------------------------------------------------------------------------- the walk */

static int look(struct names *names)
{
    bool store = names->connection != NULL;
    int code = store ? load(names) : 0;
    if (code == 0)
        code = renames_apply(names);
    if (code == 0)
        waiting_mark(names);
    if (code == 0 && store)
        code = waiting_count(names);
    if (code == 0)
        code = begin_groups(names);
    if (code == 0)
        waiting_say(names);
    return code;
}

static int act(struct names *names)
{
    int code = retire_chains(names);
    if (code == 0)
        code = look_again(names);
    return code == 0 ? save(names) : code;
}

int names_check(struct names *names)
{
    const struct pipeline *config = names->config;
    bool store = names->connection != NULL;
    names->others = arena_array(names->arena, const char **, config->group_count + 1);
    names->retired_topics = arena_array(names->arena, const char *, config->answer_count + 1);
    names->retired_taps = arena_array(names->arena, const char *, config->answer_count + 1);
    int code = 0;
    if (store)
        code = names_code(
            ledger_begin_long(names->connection, clock_monotonic_ms() + NAMES_MS, NAMES_MS, names->error));
    if (code == 0)
        code = look(names);
    if (code == 0 && names->findings > 0)
        code = -ENOKEY;
    read_answered(names);
    for (size_t i = 0; i < names->known_count && code == 0; i++)
        read_known(names, &names->known[i]);
    if (code == 0)
        code = keep_existing(names);
    if (code == 0 && store && names->change)
        code = act(names);
    if (code == 0 && store && names->change)
        return names_code(connection_commit(names->connection, names->error));
    if (store)
        connection_rollback(names->connection);
    return code;
}
