/*
 * check_chains.c - do a chain's steps, aborts and undos fit together, and does a retry ladder fit inside the hold?
 */
#include "pipeline/check.h"

static void check_watched(const struct check *check, const struct chain *chain, const struct topic *topic)
{
    if (!check->emitted[topic->number] && !topic->declared)
        problem_add(check->problems, topic->place, "never_emitted",
                    "chain '%s' waits for topic '%s', to which nothing here emits; if it comes from elsewhere, declare "
                    "it under 'topics'",
                    chain->name, topic->name);
}

static void check_step(const struct check *check, const struct chain *chain, size_t number)
{
    const struct chain_step *step = &chain->steps[number];
    if (step->undo != NULL && step->undo->binding == NULL && !step->undo->final &&
        !topic_tapped(check->pipeline, step->undo))
        problem_add(check->problems, step->place, "unhandled",
                    "step '%s' is undone by events on topic '%s', and nobody handles them; give the topic a handler, "
                    "or say undo: none",
                    step->name, step->undo->name);
    if (step->undo != NULL && step->undo == step->done)
        problem_add(check->problems, step->place, "bad_chain", "step '%s' is done and undone on the same topic '%s'",
                    step->name, step->done->name);
    if (step->undone != NULL && step->undo == NULL)
        problem_add(check->problems, step->place, "bad_chain", "step '%s' waits for '%s', and has no undo", step->name,
                    step->undone->name);
    for (size_t other = 0; other < number; other++) {
        if (chain->steps[other].done == step->done)
            problem_add(check->problems, step->place, "bad_chain",
                        "steps '%s' and '%s' are done on the same topic '%s'", chain->steps[other].name, step->name,
                        step->done->name);
        if (strcmp(chain->steps[other].name, step->name) == 0)
            problem_add(check->problems, step->place, "bad_chain", "two steps of chain '%s' are called '%s'",
                        chain->name, step->name);
    }
    for (size_t a = 0; a < chain->abort_count; a++) {
        const struct topic *aborts = chain->abort_on[a];
        if (aborts == step->done || (step->undo != NULL && aborts == step->undo) ||
            (step->undone != NULL && aborts == step->undone))
            problem_add(check->problems, step->place, "bad_chain",
                        "topic '%s' aborts chain '%s' and belongs to its step '%s' too", aborts->name, chain->name,
                        step->name);
    }
    check_watched(check, chain, step->done);
    if (step->undone != NULL)
        check_watched(check, chain, step->undone);
}

struct reach {
    const struct check *check;
    bool *seen; /* by number */
    const struct chain *chain;
    bool found; /* an event that does a step of the chain can come from here */
};

static void reach_topic(const struct route *route, struct topic *target, void *context)
{
    struct reach *reach = context;
    (void)route;
    if (reach->found || reach->seen[target->number])
        return;
    reach->seen[target->number] = true;
    for (size_t s = 0; s < reach->chain->step_count; s++)
        reach->found = reach->found || reach->chain->steps[s].done->number == target->number;
    const struct shared_topic *shared = &reach->check->topics[target->number];
    for (size_t i = 0; i < shared->count; i++)
        if (shared->list[i]->binding != NULL)
            binding_targets(shared->list[i]->binding, reach_topic, reach);
}

/* Whether what climbs the ladder of `binding` can still become a step of the chain. */
static bool leads_to(const struct check *check, const struct binding *binding, const struct chain *chain)
{
    struct reach reach = {
        .check = check, .seen = arena_array(check->arena, bool, check->topic_count + 1), .chain = chain};
    binding_targets(binding, reach_topic, &reach);
    return reach.found;
}

/* Whether an event on the topic can still become a step of the chain. */
static bool topic_leads_to(const struct check *check, struct topic *topic, const struct chain *chain)
{
    struct reach reach = {
        .check = check, .seen = arena_array(check->arena, bool, check->topic_count + 1), .chain = chain};
    reach_topic(NULL, topic, &reach);
    return reach.found;
}

/* Until then an event of it may come again: again from the bus or a client, which the inbox knows for that long; an
 * undo whose id is that of one before is a duplicate; and what climbs a ladder may still become a step. */
static void check_retain(const struct check *check, const struct pipeline *pipeline, const struct chain *chain)
{
    char retain_text[32], least_text[32];
    int64_t least = pipeline->store.inbox_retention_ms;
    const char *why = "store.inbox_retention, for which its events may come again";
    if (chain->timeout_ms > least) {
        least = chain->timeout_ms;
        why = "its timeout";
    }
    struct way way = check_longest_way(check, chain, NULL, chain->place);
    if (way.total_ms > least) {
        least = way.total_ms;
        why = way.parts == 1 && way.ladder != NULL
                  ? arena_format(
                        check->arena, "what the retry ladder on '%s'%s takes, after which a step may still be done",
                        way.ladder->ladder->topic->name, check_other_file(check, chain->place, way.ladder->place))
                  : arena_format(check->arena, "what the way to a step takes: %s", way.text);
    }
    if (chain->retain_ms == 0 || chain->retain_ms >= least)
        return;
    problem_add(check->problems, chain->place, "retain_too_short",
                "chain '%s' is forgotten %s after it was over; expected at least %s: %s", chain->name,
                duration_text(chain->retain_ms, retain_text), duration_text(least, least_text), why);
}

void check_chains(const struct check *check)
{
    const struct pipeline *pipeline = check->pipeline;
    for (size_t c = 0; c < pipeline->chain_count; c++) {
        const struct chain *chain = &pipeline->chains[c];
        bool undoes = false;
        for (size_t s = 0; s < chain->step_count; s++) {
            check_step(check, chain, s);
            undoes = undoes || chain->steps[s].undo != NULL;
        }
        for (size_t a = 0; a < chain->abort_count; a++) {
            check_watched(check, chain, chain->abort_on[a]);
            for (size_t other = 0; other < a; other++)
                if (chain->abort_on[other] == chain->abort_on[a])
                    problem_add(check->problems, chain->place, "bad_chain", "chain '%s' aborts on topic '%s' twice",
                                chain->name, chain->abort_on[a]->name);
        }
        if (!undoes && chain->timer_count == 0)
            problem_warn(check->problems, chain->place, "no_effect",
                         "chain '%s' undoes nothing: each of its steps says undo: none", chain->name);
    }
}

/* It begins with the first step that is done: the way from there to another one. */
static void check_timeout(const struct check *check, const struct chain *chain)
{
    char total_text[32], timeout_text[32];
    for (size_t s = 0; s < chain->step_count && chain->timeout_ms > 0; s++) {
        struct way way = check_longest_way(check, chain, chain->steps[s].done, chain->place);
        if (way.total_ms < chain->timeout_ms)
            continue;
        problem_add(check->problems, chain->place, "timeout_too_short",
                    "the way from step '%s' of chain '%s' to another takes %s in all: %s; its timeout of %s would undo "
                    "what is still on its way; make the timeout longer, or the ladders and delays shorter",
                    chain->steps[s].name, chain->name, duration_text(way.total_ms, total_text), way.text,
                    duration_text(chain->timeout_ms, timeout_text));
        return;
    }
}

void check_retains(const struct check *check)
{
    for (size_t p = 0; p < check->count; p++)
        for (size_t c = 0; c < check->pipelines[p]->chain_count; c++) {
            check_retain(check, check->pipelines[p], &check->pipelines[p]->chains[c]);
            check_timeout(check, &check->pipelines[p]->chains[c]);
        }
}

/* ----------------------------------------------------------------------------------------------------------- holds */

/* The plugin's duration setting called `hold`, as the file says it or by default; -1 when it has none. */
static int64_t hold_setting(const struct plugin_ref *ref, struct place *ret_place)
{
    const struct sluice_field *field = ref == NULL || ref->plugin == NULL ? NULL : ref->plugin->settings;
    int64_t hold = -1;
    while (field != NULL && field->name != NULL &&
           (strcmp(field->name, "hold") != 0 || field->type != SLUICE_TYPE_DURATION))
        field++;
    if (field == NULL || field->name == NULL)
        return -1;
    *ret_place = ref->place;
    if (field->fallback != NULL)
        duration_parse(span_of(field->fallback), &hold);
    struct node *node = ref->settings == NULL ? NULL : node_get(ref->settings, "hold");
    if (node != NULL && node->kind == NODE_SCALAR && duration_parse(node->text, &hold) == 0)
        *ret_place = node->place;
    return hold;
}

static void check_hold(const struct check *check, const struct schedule *schedule, const struct chain *chain,
                       int64_t hold, struct place place)
{
    char total_text[32], hold_text[32];
    for (size_t i = 0; i < check->ladder_count; i++) {
        const struct binding *binding = check->ladders[i];
        int64_t total = ladder_total_ms(binding->ladder);
        if (total < hold || !leads_to(check, binding, chain))
            continue;
        problem_add(check->problems, place, "hold_too_short",
                    "the retry ladder on '%s'%s takes %s in all, and schedule '%s' aborts chain '%s'%s after a hold of "
                    "%s: what is still retried would be undone; make the hold longer, or the ladder shorter",
                    binding->ladder->topic->name, check_other_file(check, place, binding->place),
                    duration_text(total, total_text), schedule->name, chain->name,
                    check_other_file(check, place, chain->place), duration_text(hold, hold_text));
    }
}

/* As check_hold(), for one route with a delay. */
static void check_hold_delay(const struct check *check, const struct schedule *schedule, const struct chain *chain,
                             int64_t hold, struct place place)
{
    char delay_text[32], hold_text[32];
    for (size_t p = 0; p < check->count; p++)
        for (size_t b = 0; b < check->pipelines[p]->binding_count; b++) {
            const struct binding *binding = check->pipelines[p]->bindings[b];
            for (size_t r = 0; r < binding->route_count; r++)
                for (size_t t = 0; t < binding->routes[r].target_count; t++) {
                    const struct route_target *target = &binding->routes[r].targets[t];
                    if (target->delay_ms < hold || target->delay_ms == 0 ||
                        !topic_leads_to(check, target->topic, chain))
                        continue;
                    problem_add(check->problems, place, "hold_too_short",
                                "the route '%s' of %s%s to '%s' has a delay of %s, and schedule '%s' aborts chain "
                                "'%s'%s after a hold of %s: what still waits would be undone; make the hold longer, or "
                                "the delay shorter",
                                binding->routes[r].outcome, binding->handler_name,
                                check_other_file(check, place, binding->place), target->topic->name,
                                duration_text(target->delay_ms, delay_text), schedule->name, chain->name,
                                check_other_file(check, place, chain->place), duration_text(hold, hold_text));
                }
        }
}

/* As check_hold(), when each of them ends before the hold and all on one way do not. */
static void check_hold_way(const struct check *check, const struct schedule *schedule, const struct chain *chain,
                           int64_t hold, struct place place)
{
    char total_text[32], hold_text[32];
    struct way way = check_longest_way(check, chain, NULL, place);
    if (way.total_ms < hold || way.parts < 2)
        return;
    problem_add(
        check->problems, place, "hold_too_short",
        "the way to a step of chain '%s'%s takes %s in all: %s; schedule '%s' aborts it after a hold of %s, and "
        "what is still on its way would be undone; make the hold longer, or the ladders and delays shorter",
        chain->name, check_other_file(check, place, chain->place), duration_text(way.total_ms, total_text), way.text,
        schedule->name, duration_text(hold, hold_text));
}

/* As check_hold(), for what waits for another event. */
static void check_hold_after(const struct check *check, const struct schedule *schedule, const struct chain *chain,
                             int64_t hold, struct place place)
{
    char most_text[32], hold_text[32];
    for (size_t p = 0; p < check->count; p++)
        for (size_t t = 0; t < check->pipelines[p]->topic_count; t++) {
            struct topic *topic = check->pipelines[p]->topics[t];
            if (topic->after == NULL || topic->after->at_most_ms < hold || !topic_leads_to(check, topic, chain))
                continue;
            problem_add(check->problems, place, "hold_too_short",
                        "an event of topic '%s'%s waits for one of '%s' for up to %s, and schedule '%s' aborts chain "
                        "'%s'%s after a hold of %s: what still waits would be undone; make the hold longer, or at_most "
                        "shorter",
                        topic->name, check_other_file(check, place, topic->after->place), topic->after->topic->name,
                        duration_text(topic->after->at_most_ms, most_text), schedule->name, chain->name,
                        check_other_file(check, place, chain->place), duration_text(hold, hold_text));
        }
}

/* The chains that a topic aborts, of any file. */
static void check_aborted(const struct check *check, const struct schedule *schedule, const struct topic *topic,
                          int64_t hold, struct place place)
{
    const struct shared_topic *shared = &check->topics[topic->number];
    for (size_t i = 0; i < shared->count; i++)
        for (size_t w = 0; w < shared->list[i]->watch_count; w++)
            if (shared->list[i]->watches[w].role == CHAIN_ABORT) {
                const struct chain *chain = shared->list[i]->watches[w].chain;
                size_t before = check->problems->errors;
                check_hold(check, schedule, chain, hold, place);
                check_hold_delay(check, schedule, chain, hold, place);
                check_hold_after(check, schedule, chain, hold, place);
                if (check->problems->errors == before)
                    check_hold_way(check, schedule, chain, hold, place);
            }
}

void check_holds(const struct check *check)
{
    for (size_t p = 0; p < check->count; p++)
        for (size_t s = 0; s < check->pipelines[p]->schedule_count; s++) {
            const struct schedule *schedule = &check->pipelines[p]->schedules[s];
            const struct binding *binding = schedule->binding;
            struct place place = binding->place;
            int64_t hold = hold_setting(binding->plugin, &place);
            for (size_t r = 0; hold >= 0 && r < binding->route_count; r++)
                for (size_t t = 0; t < binding->routes[r].target_count; t++)
                    check_aborted(check, schedule, binding->routes[r].targets[t].topic, hold, place);
        }
}
