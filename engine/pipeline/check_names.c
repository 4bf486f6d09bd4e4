/*
 * check_names.c - `renamed:` and `retired:`: the old name must have left the file, and the new one must be in it.
 *
 * One name may be a topic, a tap and a chain at once. An old name must have left those kinds in which the new one
 * stands; a retired one must have left all.
 */
#include "pipeline/check.h"

/* The kinds of names that something can wait for, and `group`, the pipeline's own. */
enum name_kind { NAME_TOPIC, NAME_HANDLER, NAME_CHAIN, NAME_TAP, NAME_SCHEDULE, NAME_GROUP, NAME_KINDS };
static const char *const kind_words[NAME_KINDS] = {"topic", "handler", "chain", "tap", "schedule", "group"};

/* Where the file has the name as one of that kind; line 0: it has not. */
static struct place place_of(const struct pipeline *pipeline, enum name_kind kind, const char *name)
{
    const struct topic *topic = kind == NAME_TOPIC ? pipeline_topic(pipeline, name) : NULL;
    if (topic != NULL)
        return topic->place;
    for (size_t i = 0; kind == NAME_HANDLER && i < pipeline->binding_count; i++)
        if (strcmp(pipeline->bindings[i]->handler_name, name) == 0)
            return pipeline->bindings[i]->place;
    for (size_t i = 0; kind == NAME_CHAIN && i < pipeline->chain_count; i++)
        if (strcmp(pipeline->chains[i].name, name) == 0)
            return pipeline->chains[i].place;
    for (size_t i = 0; kind == NAME_TAP && i < pipeline->tap_count; i++)
        if (strcmp(pipeline->taps[i].name, name) == 0)
            return pipeline->taps[i].place;
    for (size_t i = 0; kind == NAME_SCHEDULE && i < pipeline->schedule_count; i++)
        if (strcmp(pipeline->schedules[i].name, name) == 0)
            return pipeline->schedules[i].place;
    if (kind == NAME_GROUP && (strcmp(pipeline->engine.group, name) == 0 || strcmp(pipeline->name, name) == 0))
        return (struct place){.file = pipeline->file, .line = 1, .column = 1};
    return (struct place){0};
}

/* The file's name that is closest; NULL: none is near. */
static const char *nearest_of_all(const struct pipeline *pipeline, const char *name)
{
    size_t most = pipeline->topic_count + pipeline->binding_count + pipeline->chain_count + pipeline->tap_count +
                  pipeline->schedule_count + 2,
           count = 0;
    const char **names = arena_array(pipeline->arena, const char *, most);
    for (size_t i = 0; i < pipeline->topic_count; i++)
        if (!pipeline->topics[i]->is_dead_letter)
            names[count++] = pipeline->topics[i]->name;
    for (size_t i = 0; i < pipeline->binding_count; i++)
        names[count++] = pipeline->bindings[i]->handler_name;
    for (size_t i = 0; i < pipeline->chain_count; i++)
        names[count++] = pipeline->chains[i].name;
    for (size_t i = 0; i < pipeline->tap_count; i++)
        names[count++] = pipeline->taps[i].name;
    for (size_t i = 0; i < pipeline->schedule_count; i++)
        names[count++] = pipeline->schedules[i].name;
    names[count] = pipeline->engine.group;
    return nearest_name(name, names);
}

static void check_renamed(const struct check *check, const struct name_answer *answer)
{
    const struct pipeline *pipeline = check->pipeline;
    bool known = false;
    for (enum name_kind kind = 0; kind < NAME_KINDS; kind++) {
        if (place_of(pipeline, kind, answer->new_name).line == 0)
            continue;
        known = true;
        struct place place = place_of(pipeline, kind, answer->old);
        if (place.line != 0)
            problem_add(check->problems, answer->place, "still_there",
                        "renamed.%s: %s '%s' is still in the file, on line %d; only a name that left it was renamed",
                        answer->old, kind_words[kind], answer->old, place.line);
    }
    const char *near = known ? NULL : nearest_of_all(pipeline, answer->new_name);
    if (!known)
        problem_add(check->problems, answer->place, "unknown_name",
                    "renamed.%s: the file has no topic, handler, chain, tap, schedule or group '%s'%s%s%s", answer->old,
                    answer->new_name, near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                    near != NULL ? "'?" : "");
}

static void check_retired(const struct check *check, const struct name_answer *answer)
{
    for (enum name_kind kind = 0; kind < NAME_KINDS; kind++) {
        struct place place = place_of(check->pipeline, kind, answer->old);
        if (place.line != 0)
            problem_add(check->problems, answer->place, "still_there",
                        "retired.%s: %s '%s' is still in the file, on line %d; only a name that left it is retired",
                        answer->old, kind_words[kind], answer->old, place.line);
    }
}

void check_answers(const struct check *check)
{
    for (size_t i = 0; i < check->pipeline->answer_count; i++) {
        const struct name_answer *answer = &check->pipeline->answers[i];
        if (answer->new_name != NULL)
            check_renamed(check, answer);
        else
            check_retired(check, answer);
    }
}
