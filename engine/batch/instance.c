/*
 * instance.c - see instance.h.
 */
#include "batch/instance.h"

#include "batch/definitions.h"
#include "event/correlation.h"
#include "pipeline/chain_definition.h"
#include "store/ledger_span.h"

bool chain_correlation(struct batch *batch, const struct work *work, const struct chain *chain, struct span *ret)
{
    return correlation_read(&work->event.data, span_of(chain->correlate), batch->arena, ret, NULL) ==
           CORRELATION_USABLE;
}

int16_t chain_number(const struct batch *batch, const struct chain *chain)
{
    return batch->env->numbers->chains[chain->index];
}

bool watch_notes(const struct chain_watch *watch)
{
    return watch->role == CHAIN_DONE && (watch->chain->steps[watch->step].undo != NULL || chain_followed(watch->chain));
}

bool works_on_chains(const struct work *work)
{
    const struct item *item = work->item;
    size_t count;
    (void)item_watches(item, &count);
    if (count == 0)
        return false;
    if (item->condemned == DEAD_BAD_OUTPUT || item->condemned == DEAD_BAD_CORRELATION || item->minimal)
        return false; /* an undo of it could not be composed: it is a dead letter that says so, once */
    return work_row(work)->chains && work->claimed && work->event.data.text.length > 0;
}

bool notes_steps(const struct work *work)
{
    return item_is_event(work->item) && works_on_chains(work) && !work_noted_before(work);
}

bool instance_open(struct batch *batch, struct work *work, const struct chain *current, const struct chain_row *row,
                   struct span correlation, struct instance *ret)
{
    const struct chain *chain = definition_find(batch, work, current, row->definition);
    if (chain == NULL)
        return false;
    *ret = (struct instance){chain, chain_shape_of(chain), *row, correlation};
    return true;
}

/* Who did the step, if that is known. */
static void undo_span(struct batch *batch, const struct instance *instance, struct undo *undo, int16_t step)
{
    struct chain_span span = {.chain = instance->row.chain, .step = step, .correlation = instance->row.correlation};
    batch->result = ledger_chain_span_find(batch->connection, &span, &batch->error);
    if (batch->result == STORE_OK && span.traceparent.length > 0)
        undo->traceparent = arena_span(batch->arena, span.traceparent);
}

void instance_apply(struct batch *batch, struct work *work, struct instance *instance, uint64_t undos)
{
    const struct chain_facts *facts = &instance->row.facts;
    for (int32_t doing; batch->result == STORE_OK && (doing = chain_newest(facts, undos)) >= 0;) {
        struct undo undo = {.chain = instance->chain->name,
                            .step = &instance->chain->steps[facts->steps[doing]],
                            .generation = facts->generation,
                            .doing = doing,
                            .repeats = chain_repeats(facts, doing),
                            .correlation = instance->correlation};
        undos &= ~((uint64_t)1 << doing);
        if (batch->env->tracer != NULL)
            undo_span(batch, instance, &undo, facts->steps[doing]);
        if (batch->result == STORE_OK)
            batch->result = ledger_chain_data(batch->connection, instance->row.chain, instance->row.correlation, doing,
                                              &undo.data, &undo.reason, &batch->error);
        if (batch->result == STORE_OK)
            outputs_undo(batch, work, &undo);
    }
    if (batch->result == STORE_OK)
        batch->result = ledger_chain_update(batch->connection, &instance->row, &batch->error);
}
