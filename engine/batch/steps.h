/*
 * steps.h - steps of chains that were done: one statement writes down those of a whole batch.
 */
#ifndef SLUICE_BATCH_STEPS_H
#define SLUICE_BATCH_STEPS_H

#include "batch/instance.h"

/* All steps that were done in works [first, last); those of a chain that was aborted before are undone at once. */
void chain_steps(struct batch *batch, size_t first, size_t last);

/* The topic is a step of the definition that the instance began with, and none of the one of now. */
void step_done_before(struct batch *batch, struct work *work, struct instance *instance);

#endif
