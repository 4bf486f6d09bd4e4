/*
 * stand_in.c - see stand_in.h. The binding gets a handler that is the plugin's but for its function.
 */
#include "flowtest/stand_in.h"

#include "batch/host.h"

#include <errno.h>

/* What all bindings of one handler share. */
struct failing {
    enum fail_kind kind;
    const char *word; /* the outcome, or why */
    int64_t left;     /* calls */
};

struct replaced {
    struct sluice_handler handler; /* first: what the binding points to */
    const struct sluice_handler *original;
    struct failing *failing; /* NULL: it is called */
    bool *called;            /* NULL: nobody is told */
};

static int find_outcome(const struct binding *binding, const char *name, size_t *ret, struct error *error)
{
    for (*ret = 0; *ret < binding->outcome_count; ++*ret)
        if (strcmp(binding->outcomes[*ret].name, name) == 0)
            return 0;
    return error_set(error, EINVAL, "handler %s has no outcome '%s'", binding->handler_name, name);
}

static void call_instead(void *state, struct sluice_call *call)
{
    const struct binding *binding = call_of(call)->binding;
    const struct replaced *replaced = (const struct replaced *)binding->handler;
    struct failing *failing = replaced->failing;
    size_t outcome = 0;
    if (replaced->called != NULL)
        *replaced->called = true;
    if (failing == NULL || failing->left == 0 ||
        (failing->kind == FAIL_OUTCOME && find_outcome(binding, failing->word, &outcome, NULL) != 0)) {
        replaced->original->handle(state, call);
        return;
    }
    failing->left--;
    if (failing->kind == FAIL_UNAVAILABLE)
        call->host->unavailable(call, failing->word);
    for (uint32_t i = 0; i < call->count && failing->kind != FAIL_UNAVAILABLE; i++) {
        if (failing->kind == FAIL_OUTCOME)
            call->host->outcome(call, i, outcome);
        else
            call->host->retry(call, i, failing->word);
    }
}

/* What stands in for the binding's handler, from now on if nothing did. */
static struct replaced *replace(struct binding *binding, struct arena *arena)
{
    if (binding->handler->handle == call_instead)
        return (struct replaced *)binding->handler;
    struct replaced *replaced = arena_new(arena, struct replaced);
    *replaced = (struct replaced){.handler = *binding->handler, .original = binding->handler};
    replaced->handler.handle = call_instead;
    binding->handler = &replaced->handler;
    return replaced;
}

int stand_in(const struct pipeline *pipeline, const struct step *step, struct arena *arena, struct error *error)
{
    struct failing *failing = arena_new(arena, struct failing);
    bool found = false;
    size_t outcome;
    *failing = (struct failing){.kind = step->fail.kind, .word = step->fail.word, .left = step->fail.times};
    for (size_t i = 0; i < pipeline->binding_count; i++) {
        struct binding *binding = pipeline->bindings[i];
        if (strcmp(binding->handler_name, step->fail.handler) != 0 || binding->handler->kind != SLUICE_EVENT)
            continue;
        if (failing->kind == FAIL_OUTCOME && find_outcome(binding, step->fail.word, &outcome, error) != 0)
            return -EINVAL;
        replace(binding, arena)->failing = failing;
        found = true;
    }
    return found ? 0
                 : error_set(error, EINVAL, "the pipeline binds no handler '%s' to a topic or tap", step->fail.handler);
}

int stand_in_watch(const struct pipeline *pipeline, const char *handler, bool *called, bool *ret_recorded,
                   struct arena *arena, struct error *error)
{
    bool found = false;
    for (size_t i = 0; i < pipeline->binding_count; i++) {
        struct binding *binding = pipeline->bindings[i];
        if (strcmp(binding->handler_name, handler) != 0)
            continue;
        replace(binding, arena)->called = called;
        *ret_recorded = binding_is_recorded(binding);
        found = true;
    }
    return found ? 0 : error_set(error, EINVAL, "the pipeline has no handler '%s'", handler);
}

void stand_in_again(const struct pipeline *before, const struct pipeline *now, struct arena *arena)
{
    for (size_t i = 0; i < before->binding_count; i++) {
        const struct binding *old = before->bindings[i];
        const struct replaced *replaced = (const struct replaced *)old->handler;
        for (size_t n = 0; old->handler->handle == call_instead && n < now->binding_count; n++) {
            if (strcmp(now->bindings[n]->handler_name, old->handler_name) != 0)
                continue;
            struct replaced *again = replace(now->bindings[n], arena);
            again->failing = replaced->failing;
            again->called = replaced->called;
        }
    }
}
