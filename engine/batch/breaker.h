/*
 * breaker.h - the breaker of a dependency, as a lane sees it: calls that fail are counted, and while it is half-open
 * one event is let through.
 *
 * An open breaker pauses the topics that depend on it (batch/pause.h). Failures are counted here and written by
 * run/breakers. When the breaker is half-open, one lane of a process takes an event for a try; after its claim, its
 * transaction asks the store, which lets one through over all processes. What its handler's call shows is written in
 * the same transaction.
 */
#ifndef SLUICE_BATCH_BREAKER_H
#define SLUICE_BATCH_BREAKER_H

#include "batch/batch.h"
#include "store/ledger_breaker.h"

/* As the store knows it; its texts are the pipeline's. */
struct breaker breaker_of(const struct pipeline *config, const struct dependency *dependency);
/* An event whose topic is paused by nothing but a half-open breaker may try it: this one does. */
bool breaker_wanted(const struct batch_env *env, struct work *work);
/* After the claim: whether it is the one. False: it waits, or batch->result says why nobody knows. */
bool breaker_lets_through(struct batch *batch, struct work *work);
/* A handler's call is over. `why` NULL: it found nothing unavailable. */
void breaker_called(const struct batch *batch, struct binding *binding, struct work **works, size_t count,
                    const char *why);
/* A try of an event failed by its deadline. */
void breaker_late(const struct batch *batch, struct work *work);
/* What a try showed, in its transaction. */
void breaker_record(struct batch *batch);
/* The batch is over, its transaction too: whoever tried is done. Of one that was rolled back, a failure is written. */
void breaker_over(struct batch *batch, bool committed);
/* How long an event waits for a dependency that did not answer, while its breaker is closed: short enough that one
 * event alone can open it. */
int64_t breaker_wait_ms(const struct dependency *dependency, int64_t wait_ms);

#endif
