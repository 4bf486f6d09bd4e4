/*
 * chain.c - see chain.h. Everything follows from one rule, applied to what is known after each input: from the
 * newest step down, each done step whose undo was not emitted is emitted, until a step is met whose undo must first
 * be known to have happened. Being a function of the facts alone, it gives the same for an input that comes again,
 * comes late or comes first.
 */
#include "flow/chain.h"

#include <assert.h>

/* The undos due now; notes them, and what has become of the chain. */
static uint32_t chain_settle(const struct chain_shape *shape, struct chain_facts *facts)
{
    if (facts->state == CHAIN_RUNNING)
        return 0;
    uint32_t concerned = facts->done & shape->has_undo;
    uint32_t awaited = concerned & shape->waits & ~facts->undone;
    uint32_t emit = 0;
    for (int32_t step = shape->step_count - 1; step >= 0; step--) {
        uint32_t bit = 1u << step;
        emit |= concerned & ~facts->undoing & bit;
        if (awaited & bit)
            break;
    }
    facts->undoing |= emit;
    /* An undo nobody reports on is taken as done once emitted, unless one failed: then only reports count. */
    uint32_t known = facts->undone | (facts->state == CHAIN_STUCK ? 0 : facts->undoing & ~shape->waits);
    if ((concerned & ~known) == 0)
        facts->state = CHAIN_UNDONE;
    else if (facts->state == CHAIN_UNDONE)
        facts->state = CHAIN_ABORTED;
    return emit;
}

uint32_t chain_step_done(const struct chain_shape *shape, struct chain_facts *facts, int32_t step)
{
    assert(step >= 0 && step < shape->step_count);
    facts->done |= 1u << step;
    return chain_settle(shape, facts);
}

uint32_t chain_abort(const struct chain_shape *shape, struct chain_facts *facts)
{
    if (facts->state == CHAIN_RUNNING)
        facts->state = CHAIN_ABORTED;
    return chain_settle(shape, facts);
}

uint32_t chain_step_undone(const struct chain_shape *shape, struct chain_facts *facts, int32_t step)
{
    assert(step >= 0 && step < shape->step_count);
    /* What this chain did not ask for (somebody else's undo, before any abort) says nothing about its own. */
    facts->undone |= facts->undoing & 1u << step;
    return chain_settle(shape, facts);
}

void chain_stuck(struct chain_facts *facts)
{
    if (facts->state != CHAIN_RUNNING)
        facts->state = CHAIN_STUCK;
}
