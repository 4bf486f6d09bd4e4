/*
 * chain.c - see chain.h. Everything follows from one rule, applied to what is known after each input: from the newest
 * step down, each doing whose undo was not emitted is emitted, until a step is met whose undos must first be known to
 * have happened. Being a function of the facts alone, it gives the same for an input that comes again, comes late or
 * comes first.
 */
#include "flow/chain.h"

#include <assert.h>

static uint64_t bit_of(int32_t doing)
{
    return (uint64_t)1 << doing;
}

/* The doings of the steps in `steps`. */
static uint64_t doings_of(const struct chain_facts *facts, uint32_t steps)
{
    uint64_t doings = 0;
    for (int32_t i = 0; i < facts->count; i++)
        if (steps >> facts->steps[i] & 1)
            doings |= bit_of(i);
    return doings;
}

uint64_t chain_settle(const struct chain_shape *shape, struct chain_facts *facts)
{
    if (facts->state == CHAIN_RUNNING || facts->state == CHAIN_CLOSED)
        return 0;
    uint64_t all = doings_of(facts, UINT32_MAX), waiting = doings_of(facts, shape->waits);
    uint64_t emit = 0;
    for (int32_t step = shape->step_count - 1; step >= 0; step--) {
        uint64_t doings = doings_of(facts, 1u << step);
        emit |= doings & ~facts->undoing;
        if (doings & waiting & ~facts->undone)
            break;
    }
    facts->undoing |= emit;
    /* An undo nobody reports on is taken as done once emitted, unless one failed: then only reports count. */
    uint64_t known = facts->undone | (facts->state == CHAIN_STUCK ? 0 : facts->undoing & ~waiting);
    if ((all & ~known) == 0)
        facts->state = CHAIN_UNDONE;
    else if (facts->state == CHAIN_UNDONE)
        facts->state = CHAIN_ABORTED;
    return emit;
}

void chain_note(struct chain_facts *facts, const uint8_t *steps, int32_t count)
{
    uint32_t done = 0;
    for (int32_t i = 0; i < count; i++)
        done |= 1u << steps[i];
    bool over = facts->state == CHAIN_UNDONE || facts->state == CHAIN_CLOSED;
    if (over && doings_of(facts, done) != 0)
        *facts = (struct chain_facts){.generation = facts->generation + 1};
    for (int32_t i = 0; i < count; i++) {
        assert(steps[i] < CHAIN_STEPS_MAX && facts->count < CHAIN_DOINGS_MAX);
        facts->steps[facts->count++] = steps[i];
    }
}

uint64_t chain_abort(const struct chain_shape *shape, struct chain_facts *facts)
{
    if (facts->state == CHAIN_RUNNING)
        facts->state = CHAIN_ABORTED;
    return chain_settle(shape, facts);
}

uint64_t chain_undone(const struct chain_shape *shape, struct chain_facts *facts, int32_t doing)
{
    /* What this chain did not ask for (somebody else's undo, before any abort) says nothing about its own. */
    if (doing >= 0 && doing < facts->count)
        facts->undone |= facts->undoing & bit_of(doing);
    return chain_settle(shape, facts);
}

uint64_t chain_step_undone(const struct chain_shape *shape, struct chain_facts *facts, int32_t step)
{
    uint64_t open = doings_of(facts, 1u << step) & facts->undoing & ~facts->undone;
    return chain_undone(shape, facts, chain_newest(facts, open));
}

void chain_stuck(struct chain_facts *facts)
{
    if (facts->state != CHAIN_RUNNING && facts->state != CHAIN_CLOSED)
        facts->state = CHAIN_STUCK;
}

int32_t chain_newest(const struct chain_facts *facts, uint64_t bits)
{
    int32_t newest = -1;
    for (int32_t i = 0; i < facts->count; i++)
        if ((bits & bit_of(i)) != 0 && (newest < 0 || facts->steps[i] >= facts->steps[newest]))
            newest = i;
    return newest;
}

uint32_t chain_repeats(const struct chain_facts *facts, int32_t doing)
{
    uint32_t before = 0;
    for (int32_t i = 0; i < doing; i++)
        before += facts->steps[i] == facts->steps[doing];
    return before;
}
