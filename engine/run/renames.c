/*
 * renames.c - see renames.h.
 *
 * A topic is renamed while its events are read: run/engine.c maps the old name. Everything else has a number or a
 * position in the database, which goes to the new name. All of it may be done again.
 */
#include "run/renames.h"

#include "run/waiting.h"

size_t renames_pipelines(const struct names *names, struct span *ret)
{
    const struct pipeline *config = names->config;
    size_t count = 0;
    ret[count++] = span_of(config->engine.group);
    for (size_t i = 0; i < config->answer_count; i++)
        if (config->answers[i].new_name != NULL && strcmp(config->answers[i].new_name, config->engine.group) == 0)
            ret[count++] = span_of(config->answers[i].old);
    return count;
}

static int rename_row(struct names *names, char kind, const char *old, const char *new_name)
{
    return names->change && names->connection != NULL
               ? names_code(ledger_rename(names->connection, kind, span_of(old), span_of(new_name), names->error))
               : 0;
}

static int rename_group(struct names *names, const char *old, const char *new_name)
{
    int code = names->change ? bus_rename_group(names->bus, old, new_name, names->error) : 0;
    for (size_t i = 0; i < names->known_count; i++) {
        struct known *known = &names->known[i];
        if (span_is(known->row.group, old))
            known->row.group = span_of(new_name);
        if (names_kind(known) == 'g' && span_is(known->row.name, old)) {
            known->carried_over = true;
            known->row.name = span_of(new_name);
        }
    }
    return code == 0 ? rename_row(names, 'g', old, new_name) : code;
}

/* The pipeline's own group: those of its taps are called after it. */
static int rename_pipeline(struct names *names, const char *old)
{
    const struct pipeline *config = names->config;
    size_t length = strlen(old), known_count = names->known_count;
    int code = 0;
    for (size_t i = 0; i < config->group_count && code == 0; i++)
        if (config->groups[i].retired == NULL)
            code = rename_group(
                names, arena_format(names->arena, "%s%s", old, config->groups[i].name + strlen(config->engine.group)),
                config->groups[i].name);
    for (size_t i = 0; i < known_count && code == 0; i++) { /* taps that left with the old name */
        struct known *known = &names->known[i];
        if (names_kind(known) != 'g' || known->carried_over || known->row.name.length <= length ||
            strncmp(known->row.name.at, old, length) != 0 || known->row.name.at[length] != '.')
            continue;
        const char *name = arena_format(names->arena, "%s%s", config->engine.group, known->row.name.at + length);
        code = rename_group(names, known->row.name.at, name);
        known->carried_over = false;
    }
    if (code == 0 && names->change && names->connection != NULL)
        code = names_code(
            ledger_known_rename(names->connection, span_of(old), span_of(config->engine.group), names->error));
    return code;
}

static void carry_over(struct names *names, char kind, const char *old)
{
    for (size_t i = 0; i < names->known_count; i++)
        if (names_kind(&names->known[i]) == kind && span_is(names->known[i].row.name, old))
            names->known[i].carried_over = true;
}

static int rename_handlers(struct names *names, const struct name_answer *answer)
{
    const struct pipeline *config = names->config;
    int code = 0;
    for (size_t i = 0; i < config->binding_count && code == 0; i++) {
        const struct binding *binding = config->bindings[i];
        bool topic = strcmp(binding->id, answer->new_name) == 0; /* a tap's is TAP/HANDLER */
        bool tap = binding->group != NULL && binding->group->tap != NULL;
        if (strcmp(binding->handler_name, answer->new_name) != 0 || !(topic || tap))
            continue;
        const char *old = topic ? answer->old
                                : arena_format(names->arena, "%s/%s", binding->group->tap->name, answer->old);
        carry_over(names, 'h', old);
        code = rename_row(names, 'h', old, binding->id);
    }
    return code;
}

static int rename_tap(struct names *names, const struct name_answer *answer, const struct tap *tap)
{
    const char *old = arena_format(names->arena, "%s.%s", names->config->engine.group, answer->old),
               *handler = arena_format(names->arena, "%s/%s", answer->old, tap->binding->handler_name);
    int code = rename_group(names, old, tap->binding->group->name);
    carry_over(names, 'h', handler);
    return code == 0 ? rename_row(names, 'h', handler, tap->binding->id) : code;
}

/* What was paused under the old name is paused under the new one. */
static int rename_pause(struct names *names, const struct name_answer *answer)
{
    if (!names->change || names->connection == NULL)
        return 0;
    return names_code(ledger_pause_rename(names->connection, span_of(names->config->engine.group), span_of(answer->old),
                                          span_of(answer->new_name), names->error));
}

static int rename_one(struct names *names, const struct name_answer *answer)
{
    const struct pipeline *config = names->config;
    int code = rename_handlers(names, answer);
    if (code == 0)
        code = rename_pause(names, answer);
    for (size_t i = 0; i < config->tap_count && code == 0; i++)
        if (strcmp(config->taps[i].name, answer->new_name) == 0)
            code = rename_tap(names, answer, &config->taps[i]);
    for (size_t i = 0; i < config->chain_count && code == 0; i++)
        if (strcmp(config->chains[i].name, answer->new_name) == 0) {
            carry_over(names, 'c', answer->old);
            code = rename_row(names, 'c', answer->old, answer->new_name);
        }
    for (size_t i = 0; i < config->schedule_count && code == 0; i++)
        if (strcmp(config->schedules[i].name, answer->new_name) == 0) {
            const char *handler = arena_format(names->arena, "schedule/%s", answer->old);
            carry_over(names, 'h', handler);
            code = rename_row(names, 's', answer->old, answer->new_name);
            if (code == 0)
                code = rename_row(names, 'h', handler, config->schedules[i].binding->id);
        }
    return code;
}

int renames_apply(struct names *names)
{
    const struct pipeline *config = names->config;
    int code = 0;
    for (size_t pass = 0; pass < 2; pass++) /* the group first: taps are known under its new name then */
        for (size_t i = 0; i < config->answer_count && code == 0; i++) {
            const struct name_answer *answer = &config->answers[i];
            bool group = answer->new_name != NULL && strcmp(answer->new_name, config->engine.group) == 0;
            if (answer->new_name != NULL && pass == 0 && group)
                code = rename_pipeline(names, answer->old);
            else if (answer->new_name != NULL && pass == 1)
                code = rename_one(names, answer);
        }
    return code;
}
