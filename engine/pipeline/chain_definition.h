/*
 * chain_definition.h - a chain as text, which the store keeps: an instance is undone by the definition that it began
 * with, whatever the file says later.
 */
#ifndef SLUICE_PIPELINE_CHAIN_DEFINITION_H
#define SLUICE_PIPELINE_CHAIN_DEFINITION_H

#include "pipeline/pipeline.h"

/* JSON, in the arena; the same text for the same definition. */
struct span chain_definition_write(const struct chain *chain, struct arena *arena);
/* The chain that was written, with the topics of this pipeline, renamed ones included. NULL with a sentence: it is
 * damaged, or an undo's topic is not in the pipeline any more. Lives in the arena. */
struct chain *chain_definition_read(const struct pipeline *pipeline, const struct chain *current, struct span text,
                                    struct arena *arena, struct error *error);
/* Lets topics of the pipeline watch for what they are to an earlier definition of the chain, where they are not that
 * to the one of now. Tells each() of those. Before events are read; the arena must live as long as the pipeline is
 * used. */
void chain_definition_watch(const struct pipeline *pipeline, struct chain *current, struct span text,
                            struct arena *arena, void (*each)(void *context, const struct topic *topic), void *context);
/* What flow/chain.h has to know of a chain. */
struct chain_shape chain_shape_of(const struct chain *chain);

#endif
