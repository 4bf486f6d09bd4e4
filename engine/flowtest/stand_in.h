/*
 * stand_in.h - a handler that, for its next calls, ends as a test says instead of being called, or tells of its calls.
 */
#ifndef SLUICE_FLOWTEST_STAND_IN_H
#define SLUICE_FLOWTEST_STAND_IN_H

#include "flowtest/flow.h"
#include "pipeline/pipeline.h"

/* `step` is a STEP_FAIL. Of a handler that is bound several times (a retry ladder apart), all bindings count together.
 * -EINVAL with a sentence: no handler of events is called so, or has such an outcome. */
int stand_in(const struct pipeline *pipeline, const struct step *step, struct arena *arena, struct error *error);
/* Each call of the handler, of whatever kind, sets *called. *ret_recorded: it takes part in a transaction of the
 * engine. -EINVAL as above. */
int stand_in_watch(const struct pipeline *pipeline, const char *handler, bool *called, bool *ret_recorded,
                   struct arena *arena, struct error *error);

/* What was said of handlers of the one pipeline holds for those of the other, which it is reloaded with. */
void stand_in_again(const struct pipeline *before, const struct pipeline *now, struct arena *arena);

#endif
