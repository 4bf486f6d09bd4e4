/*
 * chain.c - the decisions of a compensation chain.
 */
#include "flow/chain.h"

#include "store/ledger.h"

struct chain_shape chain_shape_of(const struct chain *chain)
{
    struct chain_shape shape = {.step_count = (int32_t)chain->step_count};
    for (size_t i = 0; i < chain->step_count; i++) {
        shape.has_undo |= (chain->steps[i].undo != NULL ? 1u : 0u) << i;
        shape.waits |= (chain->steps[i].undone != NULL ? 1u : 0u) << i;
    }
    return shape;
}

/* Walks from the newest step to the oldest: what is done and not being undone is undone now, until a step is reached whose
 * undo must be known to have happened first. */
static uint32_t undo_now(const struct chain_shape *shape, struct chain_facts *facts)
{
    uint32_t now = 0;
    bool all = true;
    for (int32_t step = shape->step_count - 1; step >= 0; step--) {
        uint32_t bit = 1u << step;
        if (!(facts->done & bit) || !(shape->has_undo & bit))
            continue;
        if (!(facts->undoing & bit))
            now |= bit;
        if (!(facts->undone & bit)) {
            all = false;
            if (shape->waits & bit)
                break;
        }
    }
    facts->undoing |= now;
    if (facts->state == CHAIN_ABORTED && all)
        facts->state = CHAIN_UNDONE;
    else if (facts->state == CHAIN_UNDONE && !all)
        facts->state = CHAIN_ABORTED;
    return now;
}

uint32_t chain_step_done(const struct chain_shape *shape, struct chain_facts *facts, int32_t step)
{
    facts->done |= 1u << step;
    return facts->state == CHAIN_RUNNING ? 0 : undo_now(shape, facts);
}

uint32_t chain_abort(const struct chain_shape *shape, struct chain_facts *facts)
{
    if (facts->state == CHAIN_RUNNING)
        facts->state = CHAIN_ABORTED;
    return undo_now(shape, facts);
}

uint32_t chain_step_undone(const struct chain_shape *shape, struct chain_facts *facts, int32_t step)
{
    if (facts->undoing & 1u << step)
        facts->undone |= 1u << step;
    return facts->state == CHAIN_RUNNING ? 0 : undo_now(shape, facts);
}

void chain_stuck(struct chain_facts *facts)
{
    facts->state = CHAIN_STUCK;
}

void chain_resumed(struct chain_facts *facts)
{
    if (facts->state == CHAIN_STUCK)
        facts->state = CHAIN_ABORTED;
}
