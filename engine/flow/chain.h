/*
 * chain.h - a compensation chain as a function: (what is known, what passed) → (what is known now, which undos to
 * emit).
 *
 * Steps are numbered 0..step_count-1, oldest first. A step with an undo may be done several times; each time is a
 * doing, numbered in the order they became known, and is undone once. An abort undoes the doings of the newest step
 * first, of one step the last doing first; a step whose undo has an `undone` topic makes the older ones wait until all
 * its doings are undone. A step that is done after the abort is undone at once (in its place in that order: if a newer
 * undo is being waited for it still goes at once when the steps it must wait for are none of the newer ones).
 *
 * A chain is over when every undo is known to have happened. A step that was done in it and is done again begins the
 * next generation: running, with this doing alone. A step that it had not seen yet is late, and undone at once. A chain
 * that an operator closed is over without undoing: nothing of it is undone any more, a late step neither.
 *
 * An abort or an undone doing may be repeated; repeating changes nothing. Exhaustively tested. The statements of
 * store/ledger/chain.c do chain_note() for many chains at once.
 */
#ifndef SLUICE_FLOW_CHAIN_H
#define SLUICE_FLOW_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

enum { CHAIN_STEPS_MAX = 30, CHAIN_DOINGS_MAX = 60, CHAIN_TIMERS_MAX = 16 };

enum chain_state { CHAIN_RUNNING = 0, CHAIN_ABORTED = 1, CHAIN_UNDONE = 2, CHAIN_STUCK = 3, CHAIN_CLOSED = 4 };

struct chain_shape {
    int32_t step_count;
    uint32_t has_undo; /* bit i: step i has an undo topic */
    uint32_t waits;    /* bit i: step i has an `undone` topic; older undos wait for it */
};
struct chain_facts {
    int16_t state; /* enum chain_state */
    int32_t generation;
    int32_t count; /* of doings */
    uint8_t steps[CHAIN_DOINGS_MAX];
    uint64_t undoing, undone; /* bit i: of doing i */
};

/* Steps that have an undo were done, at most CHAIN_DOINGS_MAX in one generation. chain_settle() must follow before the
 * next ones. */
void chain_note(struct chain_facts *facts, const uint8_t *steps, int32_t count);
/* Each changes *facts and returns the doings whose undo is to be emitted now, as bits; emit chain_newest() first. */
uint64_t chain_settle(const struct chain_shape *shape, struct chain_facts *facts);
uint64_t chain_abort(const struct chain_shape *shape, struct chain_facts *facts);
uint64_t chain_undone(const struct chain_shape *shape, struct chain_facts *facts, int32_t doing);
/* One doing of the step, whoever says so does not know which: the one whose undo was emitted first. */
uint64_t chain_step_undone(const struct chain_shape *shape, struct chain_facts *facts, int32_t step);
/* The undo of a doing failed for good and the policy is pause: facts say STUCK until it is resumed, or until every
 * undo is known to have happened. Meanwhile steps are undone as before: STUCK is for people. Without an abort
 * nothing changes. */
void chain_stuck(struct chain_facts *facts);

/* The doing among `bits` that is undone first; -1: there is none. */
int32_t chain_newest(const struct chain_facts *facts, uint64_t bits);
/* How often its step was done before it. */
uint32_t chain_repeats(const struct chain_facts *facts, int32_t doing);

#endif
