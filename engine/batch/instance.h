/*
 * instance.h - one chain of one correlation: its row is locked, read, decided on and written in the transaction of the
 * event that concerns it; and which events concern chains at all.
 */
#ifndef SLUICE_BATCH_INSTANCE_H
#define SLUICE_BATCH_INSTANCE_H

#include "batch/batch.h"
#include "flow/chain.h"

/* A chain of one correlation, its row locked. */
struct instance {
    const struct chain *chain; /* by the definition that it began with */
    struct chain_shape shape;
    struct chain_row row;
    struct span correlation;
};

/* The correlation of the work's event in a chain; false: none that is usable. */
bool chain_correlation(struct batch *batch, const struct work *work, const struct chain *chain, struct span *ret);
int16_t chain_number(const struct batch *batch, const struct chain *chain);
/* Whether a step that was done is written down: it can be undone, or its chain is followed to its end. */
bool watch_notes(const struct chain_watch *watch);
/* Whether chains are told of the work: not when it is tried again, or is a duplicate. */
bool works_on_chains(const struct work *work);
/* The same, and an event passed: not when a timeout is over. */
bool notes_steps(const struct work *work);

/* False: batch->result, or the work is condemned. */
bool instance_open(struct batch *batch, struct work *work, const struct chain *current, const struct chain_row *row,
                   struct span correlation, struct instance *ret);
/* Writes the decided row and emits the undos, the newest doing first. */
void instance_apply(struct batch *batch, struct work *work, struct instance *instance, uint64_t undos);

#endif
