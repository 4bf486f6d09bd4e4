/*
 * steps.c - see steps.h.
 */
#include "batch/steps.h"

#include "base/log.h"
#include "batch/instance.h"
#include "batch/timers.h"
#include "batch/traced.h"
#include "pipeline/chain_definition.h"
#include "store/ledger_span.h"

/* The steps that were done in a part of a batch. */
struct steps {
    struct chain_done *done;
    struct work **works;
    const struct chain_watch **watches;
    size_t count;
};

/* What the topic is to a definition: a step, or -1. */
static int step_done_on(const struct chain *chain, const struct topic *topic)
{
    for (size_t i = 0; i < chain->step_count; i++)
        if (chain->steps[i].done == topic)
            return (int)i;
    return -1;
}

static bool was_done(const struct chain_facts *facts, int step)
{
    for (int32_t i = 0; i < facts->count; i++)
        if (facts->steps[i] == step)
            return true;
    return false;
}

/* The chain is over, and begins again with the definition of now. */
static void begin_again(struct batch *batch, struct instance *instance, const struct chain *current,
                        const struct chain_done *done)
{
    struct chain_facts *facts = &instance->row.facts;
    *facts = (struct chain_facts){.generation = facts->generation + 1};
    if (done->data.at != NULL)
        facts->steps[facts->count++] = (uint8_t)done->step;
    instance->chain = current;
    instance->shape = chain_shape_of(current);
    instance->row.definition = done->definition;
    instance->row.missing = done->missing;
    batch->result = ledger_chain_note(batch->connection, &instance->row, done, true, &batch->error);
}

/* Writes down a step of the definition that the instance began with. */
static void note_step(struct batch *batch, struct instance *instance, int step, const struct work *work)
{
    struct chain_done note = {.data = {NULL, 0}};
    instance->row.missing &= ~(int32_t)(1u << step);
    if (instance->chain->steps[step].undo != NULL) {
        note.data = work->event.data.text;
        chain_note(&instance->row.facts, &(uint8_t){(uint8_t)step}, 1);
    }
    batch->result = ledger_chain_note(batch->connection, &instance->row, &note, false, &batch->error);
}

/* A step of a chain that began with another definition: what it is there, its topic says. One that it does not have is
 * undone by nobody, so that is said. */
static bool note_by_topic(struct batch *batch, struct instance *instance, const struct chain *current,
                          const struct chain_done *done, const struct work *work)
{
    struct chain_facts *facts = &instance->row.facts;
    int step = step_done_on(instance->chain, work->item->topic);
    bool over = facts->state == CHAIN_UNDONE || facts->state == CHAIN_CLOSED,
         undoable = step >= 0 && instance->chain->steps[step].undo != NULL;
    if (over && (!undoable || was_done(facts, step))) {
        begin_again(batch, instance, current, done);
        return batch->result == STORE_OK;
    }
    if (step < 0) {
        log_rarely(1000, LOG_WARN, "chain",
                   "chain %s of %.*s began with a definition without a step on %s: what was done there is not undone",
                   current->name, (int)instance->correlation.length, instance->correlation.at, work->item->topic->name);
        return false;
    }
    note_step(batch, instance, step, work);
    return batch->result == STORE_OK;
}

void step_done_before(struct batch *batch, struct work *work, struct instance *instance)
{
    struct chain_facts *facts = &instance->row.facts;
    int step = step_done_on(instance->chain, work->item->topic);
    bool over = facts->state == CHAIN_UNDONE || facts->state == CHAIN_CLOSED;
    if (step < 0 || (over && was_done(facts, step)) || facts->count == CHAIN_DOINGS_MAX)
        return; /* of a correlation that begins again it is no step any more */
    note_step(batch, instance, step, work);
    if (batch->result == STORE_OK)
        instance_apply(batch, work, instance, chain_settle(&instance->shape, facts));
    struct timers timers = {0};
    timers_step(batch, &timers, instance, step, work);
    timers_write(batch, &timers);
}

/* The rows of one statement all say what is known after it: of several steps of a correlation, the second one goes on
 * from what the first has left, or it would emit the same undos again. */
static const struct instance *instance_before(const struct chain_noted *noted, const struct instance *instances,
                                              size_t row)
{
    for (size_t r = row; r > 0; r--)
        if (noted[r - 1].row.chain == noted[row].row.chain &&
            memcmp(&noted[r - 1].row.correlation, &noted[row].row.correlation, sizeof noted[row].row.correlation) == 0)
            return &instances[r - 1];
    return NULL;
}

/* Of a chain that runs there is nothing to decide, unless its row was not noted yet: it is here for its timers. */
static bool is_settled(const struct chain_noted *noted)
{
    return noted->noted && noted->row.facts.state == CHAIN_RUNNING;
}

static void steps_noted(struct batch *batch, const struct steps *steps, const struct chain_noted *noted, size_t count)
{
    struct timers timers = {0};
    struct instance *instances = arena_array(batch->arena, struct instance, count + 1);
    for (size_t r = 0; r < count && batch->result == STORE_OK && !batch->condemned; r++) {
        const struct chain_done *done = &steps->done[noted[r].input];
        const struct chain *current = steps->watches[noted[r].input]->chain;
        struct work *work = steps->works[noted[r].input];
        const struct instance *before = instance_before(noted, instances, r);
        bool full = noted[r].too_many || (!noted[r].noted && noted[r].row.facts.count == CHAIN_DOINGS_MAX);
        if (full)
            work_condemn(batch, work, DEAD_BAD_CORRELATION,
                         "the steps of chain '%s' were done %d times under correlation '%.*s', and that is the most",
                         current->name, CHAIN_DOINGS_MAX, (int)done->correlation_text.length,
                         done->correlation_text.at);
        else if (before != NULL)
            instances[r] = *before;
        else if (!instance_open(batch, work, current, &noted[r].row, done->correlation_text, &instances[r]))
            return;
        if (full || !(noted[r].noted || note_by_topic(batch, &instances[r], current, done, work)))
            continue;
        if (!is_settled(&noted[r]))
            instance_apply(batch, work, &instances[r], chain_settle(&instances[r].shape, &instances[r].row.facts));
        timers_step(batch, &timers, &instances[r], step_done_on(instances[r].chain, work->item->topic), work);
    }
    timers_write(batch, &timers);
}

/* Who did the steps, where their traces are recorded. */
static void note_spans(struct batch *batch, const struct steps *steps)
{
    struct chain_span *spans = arena_array(batch->arena, struct chain_span, steps->count);
    size_t count = 0;
    for (size_t i = 0; i < steps->count; i++) {
        const char *span = steps->done[i].data.at == NULL ? NULL : traced_step(batch, steps->works[i]);
        if (span != NULL)
            spans[count++] = (struct chain_span){.chain = steps->done[i].chain,
                                                 .step = steps->done[i].step,
                                                 .correlation = steps->done[i].correlation,
                                                 .traceparent = span_of(span)};
    }
    if (count > 0)
        batch->result = ledger_chain_spans_note(batch->connection, spans, count, &batch->error);
}

void chain_steps(struct batch *batch, size_t first, size_t last)
{
    size_t most = 0, count = 0;
    for (size_t i = first; i < last; i++)
        if (notes_steps(&batch->works[i]))
            most += batch->works[i].item->topic->watch_count;
    if (most == 0)
        return;
    struct steps steps = {.done = arena_array(batch->arena, struct chain_done, most),
                          .works = arena_array(batch->arena, struct work *, most),
                          .watches = arena_array(batch->arena, const struct chain_watch *, most)};
    for (size_t i = first; i < last; i++) {
        struct work *work = &batch->works[i];
        for (size_t w = 0; notes_steps(work) && w < work->item->topic->watch_count; w++) {
            const struct chain_watch *watch = &work->item->topic->watches[w];
            struct span correlation;
            if (!watch_notes(watch) || !chain_correlation(batch, work, watch->chain, &correlation))
                continue;
            steps.done[steps.count] = (struct chain_done){
                .chain = chain_number(batch, watch->chain),
                .step = (int16_t)watch->step,
                .definition = batch->env->numbers->definitions[watch->chain->index],
                .missing = chain_followed(watch->chain)
                               ? (int32_t)(((1u << watch->chain->step_count) - 1) & ~(1u << watch->step))
                               : 0,
                .timed = watch->chain->timer_count > 0,
                .followed = chain_followed(watch->chain),
                .timeout_ms = watch->chain->timeout_ms,
                .correlation = event_id_of(correlation),
                .correlation_text = correlation,
                .data = watch->chain->steps[watch->step].undo != NULL ? work->event.data.text : (struct span){NULL, 0}};
            steps.works[steps.count] = work;
            steps.watches[steps.count++] = watch;
        }
    }
    if (steps.count == 0)
        return;
    struct chain_noted *noted = arena_array(batch->arena, struct chain_noted, steps.count);
    batch->result = ledger_chain_done(batch->connection, steps.done, steps.count, noted, &count, &batch->error);
    if (batch->result == STORE_OK)
        steps_noted(batch, &steps, noted, count);
    if (batch->result == STORE_OK && !batch->condemned && batch->env->tracer != NULL)
        note_spans(batch, &steps);
}
