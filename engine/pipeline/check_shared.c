/*
 * check_shared.c - what the checks start from: the topics of one file or of several, joined by their names, and what is
 * emitted and retried in all of them; and how a finding in one file names a place in another.
 */
#include "pipeline/check.h"

static void mark_emitted(const struct route *route, struct topic *target, void *context)
{
    (void)route;
    ((struct check *)context)->emitted[target->number] = true;
}

static void find_emitted(struct check *check, const struct pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->binding_count; i++)
        binding_targets(pipeline->bindings[i], mark_emitted, check);
    for (size_t c = 0; c < pipeline->chain_count; c++) {
        const struct chain *chain = &pipeline->chains[c];
        for (size_t s = 0; s < chain->step_count; s++)
            if (chain->steps[s].undo != NULL)
                check->emitted[chain->steps[s].undo->number] = true;
        for (size_t t = 0; t < chain->timer_count; t++)
            check->emitted[chain->timers[t].emit->number] = true;
    }
}

const char *check_place(const struct check *check, struct place place)
{
    return arena_format(check->arena, "%s:%d", place.file, place.line);
}

const char *check_other_file(const struct check *check, struct place reported, struct place place)
{
    if (strcmp(reported.file, place.file) == 0)
        return "";
    return arena_format(check->arena, " (%s)", check_place(check, place));
}

static void number_topics(struct check *check)
{
    for (size_t p = 0; p < check->count; p++)
        for (size_t i = 0; i < check->pipelines[p]->topic_count; i++) {
            struct topic *topic = check->pipelines[p]->topics[i], *earlier = NULL;
            for (size_t q = 0; q < p && earlier == NULL; q++)
                earlier = pipeline_topic(check->pipelines[q], topic->name);
            struct shared_topic *shared = earlier != NULL ? &check->topics[earlier->number]
                                                          : &check->topics[check->topic_count++];
            shared->list = arena_grown(check->arena, shared->list, shared->count, sizeof(struct topic *));
            shared->list[shared->count++] = topic;
            topic->number = (uint32_t)(shared - check->topics);
        }
}

void check_begin(const struct pipeline *const *pipelines, size_t count, struct problems *problems, struct check *ret)
{
    size_t topics = 1, bindings = 1;
    for (size_t p = 0; p < count; p++) {
        topics += pipelines[p]->topic_count;
        bindings += pipelines[p]->binding_count;
    }
    *ret = (struct check){.pipelines = pipelines, .count = count, .arena = pipelines[0]->arena, .problems = problems};
    ret->topics = arena_array(ret->arena, struct shared_topic, topics);
    ret->emitted = arena_array(ret->arena, bool, topics);
    ret->ladders = arena_array(ret->arena, const struct binding *, bindings);
    number_topics(ret);
    for (size_t p = 0; p < count; p++) {
        find_emitted(ret, pipelines[p]);
        for (size_t b = 0; b < pipelines[p]->binding_count; b++)
            if (pipelines[p]->bindings[b]->ladder != NULL)
                ret->ladders[ret->ladder_count++] = pipelines[p]->bindings[b];
    }
}
