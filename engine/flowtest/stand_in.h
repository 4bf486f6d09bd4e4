/*
 * stand_in.h - a handler that, for its next calls, ends as a test says instead of being called.
 */
#ifndef SLUICE_FLOWTEST_STAND_IN_H
#define SLUICE_FLOWTEST_STAND_IN_H

#include "flowtest/flow.h"
#include "pipeline/pipeline.h"

/* `step` is a STEP_FAIL. Of a handler that is bound several times (a retry ladder apart), all bindings count together.
 * -EINVAL with a sentence: no handler of events is called so, or has such an outcome. */
int stand_in(const struct pipeline *pipeline, const struct step *step, struct arena *arena, struct error *error);

#endif
