/*
 * definitions.h - the definitions with which chains in the database began, where the file says something else now.
 * Each lane reads one when it meets it first, and keeps it.
 */
#ifndef SLUICE_BATCH_DEFINITIONS_H
#define SLUICE_BATCH_DEFINITIONS_H

#include "batch/batch.h"

/* The definition of that number: `current`, or one of before. NULL: batch->result, or the work is condemned, because
 * this file lacks a topic that an undo must be sent to. */
const struct chain *definition_find(struct batch *batch, struct work *work, const struct chain *current,
                                    int32_t number);
void definitions_free(struct chain_definitions *definitions); /* NULL is fine */

#endif
