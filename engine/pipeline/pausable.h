/*
 * pausable.h - what of a pipeline can be paused, by which name, and what that covers.
 *
 * A topic's pause covers what the pipeline's own group does with it; a handler's, every place that it is bound to; a
 * tap's, its group; a schedule's, its ticks; a dependency's or its breaker's, the topics that depend on it.
 */
#ifndef SLUICE_PIPELINE_PAUSABLE_H
#define SLUICE_PIPELINE_PAUSABLE_H

#include "flow/pause.h"
#include "pipeline/pipeline.h"

/* Whether the file has it. A topic needs a handler in the pipeline's own group; `ret_idle`, when that is all that is
 * missing. */
bool pausable_exists(const struct pipeline *pipeline, enum pause_kind kind, const char *name, bool *ret_idle);
/* Every name that can be paused, NULL-terminated, for nearest_name(). */
const char **pausable_names(const struct pipeline *pipeline, struct arena *arena);

/* What a pause covers: events of a topic in the pipeline's own group; a binding of a tap, schedule or request. */
bool pause_covers_topic(const struct pause *pause, const struct topic *topic);
bool pause_covers_binding(const struct pause *pause, const struct pipeline *pipeline, const struct binding *binding);
bool pause_covers_tap(const struct pause *pause, const struct tap *tap);

#endif
