/*
 * load_chains.c - chains, their steps and timers, and the topics that they watch.
 */
#include "pipeline/load.h"

static void watch_topic(struct load *load, struct topic *topic, struct chain *chain, enum chain_role role, int32_t step)
{
    topic->watches = arena_grown(load->arena, topic->watches, topic->watch_count, sizeof *topic->watches);
    topic->watches[topic->watch_count++] = (struct chain_watch){chain, role, step};
}

static void load_step(struct load *load, struct chain *chain, struct node *node, const char *what)
{
    struct chain_step *step = &chain->steps[chain->step_count];
    struct node *undo = node_get(node, "undo");
    bool none = undo != NULL && undo->kind == NODE_SCALAR && span_is(undo->text, "none");
    int32_t number = (int32_t)chain->step_count;
    step->place = node->place;
    options_apply(chain_step_options, node, node->place, what, step, load->arena, load->problems);
    step->done = load_topic_at(load, node, "done", what);
    if (!none)
        step->undo = load_topic_at(load, node, "undo", what);
    step->undone = load_topic_at(load, node, "undone", what);
    if (step->done == NULL || undo == NULL)
        return;
    chain->step_count++;
    watch_topic(load, step->done, chain, CHAIN_DONE, number);
    if (step->undo != NULL)
        watch_topic(load, step->undo, chain, CHAIN_UNDO, number);
    if (step->undone != NULL)
        watch_topic(load, step->undone, chain, CHAIN_STEP_UNDONE, number);
}

/* ---------------------------------------------------------------------------------------------------------- timers */

static int32_t step_done_on(const struct chain *chain, const struct topic *topic)
{
    for (size_t s = 0; s < chain->step_count; s++)
        if (chain->steps[s].done == topic)
            return (int32_t)s;
    return -1;
}

static bool aborts_on(const struct chain *chain, const struct topic *topic)
{
    for (size_t a = 0; a < chain->abort_count; a++)
        if (chain->abort_on[a] == topic)
            return true;
    return false;
}

/* A topic whose events the chain does not write down could not be told from one that never came. */
static void load_cancel_on(struct load *load, const struct chain *chain, struct chain_timer *timer, struct node *list,
                           const char *what)
{
    if (list == NULL)
        return;
    if (list->kind != NODE_SEQUENCE || list->count == 0) {
        problem_add(load->problems, list->place, "bad_value", "%s.cancel_on: expected a list of topics", what);
        return;
    }
    timer->cancel_on = arena_array(load->arena, struct topic *, list->count + 1);
    for (size_t i = 0; i < list->count; i++) {
        struct topic *topic = load_topic_named(load, list->items[i], arena_format(load->arena, "%s.cancel_on", what));
        int32_t step = step_done_on(chain, topic);
        if (step < 0 && !aborts_on(chain, topic) && strcmp(topic->name, "?") != 0)
            problem_add(load->problems, list->items[i]->place, "bad_timer",
                        "%s.cancel_on: topic '%s' is no step of chain '%s' and does not abort it, so nobody writes "
                        "down that it came; make it the `done` of a step with undo: none, or one of abort_on",
                        what, topic->name, chain->name);
        if (step >= 0)
            timer->cancel_steps |= 1u << step;
        timer->cancel_on[timer->cancel_count++] = topic;
    }
}

static void load_timer(struct load *load, struct chain *chain, struct node *node, const char *what)
{
    struct chain_timer *timer = &chain->timers[chain->timer_count];
    size_t problems = load->problems->count;
    timer->place = node->place;
    options_apply(chain_timer_options, node, node->place, what, timer, load->arena, load->problems);
    timer->from = load_topic_at(load, node, "from", what);
    timer->emit = load_topic_at(load, node, "emit", what);
    if (timer->from == NULL || timer->emit == NULL || load->problems->count > problems)
        return;
    timer->emit_name = timer->emit->name;
    timer->from_step = step_done_on(chain, timer->from);
    if (timer->from_step < 0) {
        problem_add(load->problems, node_get(node, "from")->place, "bad_timer",
                    "%s.from: no step of chain '%s' is done on topic '%s', so the chain does not know when the timer "
                    "begins; make it the `done` of a step, with undo: none if there is nothing to undo",
                    what, chain->name, timer->from->name);
        return;
    }
    load_cancel_on(load, chain, timer, node_get(node, "cancel_on"), what);
    chain->timer_count++;
}

static void load_timers(struct load *load, struct chain *chain, struct node *list, const char *what)
{
    if (list == NULL)
        return;
    if (list->kind != NODE_SEQUENCE || list->count == 0 || list->count > CHAIN_TIMERS_MAX) {
        problem_add(load->problems, list->place, "bad_value", "%s.timers: expected a list of 1 to %d timers", what,
                    CHAIN_TIMERS_MAX);
        return;
    }
    chain->timers = arena_array(load->arena, struct chain_timer, list->count);
    for (size_t i = 0; i < list->count; i++)
        load_timer(load, chain, list->items[i], arena_format(load->arena, "%s.timers[%zu]", what, i));
}

/* ---------------------------------------------------------------------------------------------------------- chains */

static void load_chain(struct load *load, struct node *key, struct node *node, struct chain *chain)
{
    const char *what = arena_format(load->arena, "chains.%s", chain->name);
    chain->place = key->place;
    options_apply(chain_options, node, key->place, what, chain, load->arena, load->problems);
    struct node *steps = node_get(node, "steps"), *abort_on = node_get(node, "abort_on"),
                *failure = node_get(node, "on_undo_failure"), *uncorrelated = node_get(node, "uncorrelated");
    int choice = failure == NULL ? -1 : choice_index("pause|retry_forever|dead_letter", failure->text);
    chain->on_undo_failure = choice < 0 ? UNDO_PAUSE : (enum undo_failure)(UNDO_PAUSE + choice);
    chain->ignore_uncorrelated = uncorrelated != NULL && uncorrelated->kind == NODE_SCALAR &&
                                 span_is(uncorrelated->text, "ignore");
    size_t count = steps != NULL && steps->kind == NODE_SEQUENCE ? steps->count : 0;
    if (steps != NULL && (count == 0 || count > CHAIN_STEPS_MAX)) {
        problem_add(load->problems, steps->place, "bad_value",
                    "%s.steps: expected a list of 1 to %d steps, oldest first", what, CHAIN_STEPS_MAX);
        count = 0;
    }
    chain->steps = arena_array(load->arena, struct chain_step, count + 1);
    for (size_t i = 0; i < count; i++)
        load_step(load, chain, steps->items[i], arena_format(load->arena, "%s.steps[%zu]", what, i));
    if (abort_on != NULL && (abort_on->kind != NODE_SEQUENCE || abort_on->count == 0)) {
        problem_add(load->problems, abort_on->place, "bad_value", "%s.abort_on: expected a list of topics", what);
        abort_on = NULL;
    }
    chain->abort_on = arena_array(load->arena, struct topic *, abort_on == NULL ? 1 : abort_on->count + 1);
    chain->timed_out = (struct chain_watch){chain, CHAIN_ABORT, -1};
    for (size_t i = 0; abort_on != NULL && i < abort_on->count; i++) {
        if (abort_on->items[i]->kind == NODE_SCALAR && span_is(abort_on->items[i]->text, "dead_letter")) {
            chain->abort_on_dead_letter = true;
            continue;
        }
        struct topic *topic = load_topic_named(load, abort_on->items[i],
                                               arena_format(load->arena, "%s.abort_on", what));
        chain->abort_on[chain->abort_count++] = topic;
        watch_topic(load, topic, chain, CHAIN_ABORT, -1);
    }
    load_timers(load, chain, node_get(node, "timers"), what);
}

void load_chains(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *chains = NULL;
    if (!load_section(load, root, "chains", &chains))
        return;
    pipeline->chains = arena_array(load->arena, struct chain, chains->count + 1);
    for (size_t i = 0; i < chains->count; i++) {
        struct chain *chain = &pipeline->chains[pipeline->chain_count];
        chain->index = (uint32_t)pipeline->chain_count++;
        chain->name = load_name(load, chains->keys[i], "chain name", 64);
        load_chain(load, chains->keys[i], chains->items[i], chain);
    }
    if (pipeline->chain_count > 0 && !pipeline->store.present)
        problem_add(load->problems, pipeline->chains[0].place, "missing_key",
                    "chains are written down in the database; 'store' is missing");
}
