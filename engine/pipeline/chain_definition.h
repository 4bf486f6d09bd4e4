/*
 * chain_definition.h - a chain as text, which the store keeps: an instance is undone by the definition that it began
 * with, whatever the file says later.
 */
#ifndef SLUICE_PIPELINE_CHAIN_DEFINITION_H
#define SLUICE_PIPELINE_CHAIN_DEFINITION_H

#include "pipeline/pipeline.h"

/* JSON, in the arena; the same text for the same definition. What aborts it is in it for people: what an event means to
 * a chain is always what the file says. */
struct span chain_definition_write(const struct chain *chain, struct arena *arena);
/* The chain that was written, with the topics of this pipeline, renamed ones included. NULL with a sentence: it is
 * damaged, or an undo's topic is not in the pipeline any more. Lives in the arena. */
struct chain *chain_definition_read(const struct pipeline *pipeline, const struct chain *current, struct span text,
                                    struct arena *arena, struct error *error);
/* What flow/chain.h has to know of a chain. */
struct chain_shape chain_shape_of(const struct chain *chain);

#endif
