/*
 * chain.h - a compensation chain as a function: (what is known, what passed) → (what is known now, which undos to
 * emit).
 *
 * Steps are numbered 0..step_count-1, oldest first. An abort undoes the done steps that have an undo, newest first;
 * a step whose undo has an `undone` topic makes the older ones wait for it. A step that is done after the abort is
 * undone at once (in its place in that order: if a newer undo is being waited for it still goes at once when the
 * steps it must wait for are none of the newer ones). Every input may be repeated; repeating changes nothing.
 * Exhaustively tested.
 */
#ifndef SLUICE_FLOW_CHAIN_H
#define SLUICE_FLOW_CHAIN_H

#include <stdint.h>

enum { CHAIN_STEPS_MAX = 30 };

enum chain_state { CHAIN_RUNNING = 0, CHAIN_ABORTED = 1, CHAIN_UNDONE = 2, CHAIN_STUCK = 3 };

struct chain_shape {
    int32_t step_count;
    uint32_t has_undo; /* bit i: step i has an undo topic */
    uint32_t waits;    /* bit i: step i has an `undone` topic; older undos wait for it */
};
struct chain_facts {
    int16_t state; /* enum chain_state */
    uint32_t done, undoing, undone;
};
/* Each changes *facts and returns the steps whose undo is to be emitted now, as bits; emit the highest bit first. */
uint32_t chain_step_done(const struct chain_shape *shape, struct chain_facts *facts, int32_t step);
uint32_t chain_abort(const struct chain_shape *shape, struct chain_facts *facts);
uint32_t chain_step_undone(const struct chain_shape *shape, struct chain_facts *facts, int32_t step);
/* The undo of a step failed for good and the policy is pause: facts say STUCK until it is resumed, or until every
 * undo is known to have happened. Meanwhile steps are undone as before: STUCK is for people. Without an abort
 * nothing changes. */
void chain_stuck(struct chain_facts *facts);

#endif
