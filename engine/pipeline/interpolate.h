/*
 * interpolate.h - values from the environment and from files, put into a scalar after YAML was read.
 */
#ifndef SLUICE_PIPELINE_INTERPOLATE_H
#define SLUICE_PIPELINE_INTERPOLATE_H

#include "pipeline/tree.h"

/* Replaces ${…} in the node's text and marks it. False, with a problem, when something cannot be had. */
bool interpolate(struct node *node, struct arena *arena, struct problems *problems);

#endif
