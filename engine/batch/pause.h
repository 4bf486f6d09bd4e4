/*
 * pause.h - what is paused, by operators or by breakers, as a lane sees it: its events wait with their keys, and no try
 * is counted.
 *
 * A pause is one flag of a topic, or of a tap's binding; run/pauses sets it while lanes run. An event whose handler is
 * paused when its batch begins waits until the flag is cleared: written down where its key may be (batch/held.h), else
 * in memory. A pause's number, as flow/lane keeps it, is that of the event's topic.
 */
#ifndef SLUICE_BATCH_PAUSE_H
#define SLUICE_BATCH_PAUSE_H

#include "batch/batch.h"

/* What an event of this topic in env's group waits for; 0: nothing. */
uint32_t pause_of(const struct batch_env *env, const struct topic *topic);
/* The work's handler is not called now. It has its verdict, or gets it after the claim, which tells whether an earlier
 * batch has handled it. */
void pause_prepare(struct batch *batch, struct work *work);
/* It waits for the end of what pauses its topic; for its handler a breaker said so. */
void pause_wait(const struct batch *batch, struct work *work, const char *why);
/* After the claim. */
void batch_pause(struct batch *batch);
/* Keys of the lane that waited for what is paused no more are due. Between batches, on the lane's thread. */
void pause_resume(struct batch_env *env);

#endif
