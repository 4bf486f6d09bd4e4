/*
 * intake.h - requests and ticks as events, and the way their answers go back.
 */
#ifndef SLUICE_RUN_INTAKE_H
#define SLUICE_RUN_INTAKE_H

#include "run/batch.h"

/* Fills work->event of a request (its body, path and query as one object) or of a tick (nothing); may judge it. */
void intake_event(struct batch *batch, struct work *work);
/* A request under an Idempotency-Key that was used before: the answer of then, or a refusal when it asks for
 * something else. */
void intake_repeated(struct batch *batch, struct work *work, const struct claim *claim);
/* After COMMIT: sends the answer; or, when it is pending and the client waits, false and when to ask again
 * (monotonic ms). */
bool intake_answer(struct batch *batch, struct work *work, int64_t *ret_again_ms);
/* True when the request waited past http.timeout and was told so. */
bool intake_late(struct batch *batch, struct item *item);
/* The engine stops: 503. */
void intake_refuse(struct engine *engine, struct item *item);

#endif
