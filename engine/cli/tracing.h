/*
 * tracing.h - what `tracing:` of the pipeline comes to: the tracer of a running engine, and whether its collector
 * answers.
 */
#ifndef SLUICE_CLI_TRACING_H
#define SLUICE_CLI_TRACING_H

#include "cli/parts.h"

struct tracer;

/* *ret stays NULL when the pipeline records no traces. 0, or negative with a sentence. */
int tracing_open(const struct parts *parts, struct tracer **ret, struct error *error);
/* Adds a warning when the collector takes no spans: the engine starts all the same. */
void tracing_connect(const struct pipeline *pipeline, struct problems *problems);

#endif
