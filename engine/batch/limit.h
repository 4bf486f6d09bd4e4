/*
 * limit.h - how often the handler of a topic is called at most, and for how many events at once, over all
 * processes: who has a slot and a place is handled, who has none waits with its key, and no try is counted.
 *
 * A bucket (batch/bucket.h) is a limit, or one value of its `per:`. Of a `rate`, the store gives out slots, one
 * each step, a moment ahead; a lane asks for as many as a batch has events, in one statement before its
 * transaction, and keeps what it cannot use yet. An event whose slot comes within that moment waits for it in
 * memory.
 *
 * Of a `concurrency`, the store has so many places, each an advisory lock of the transaction. A batch takes one for
 * each of its events before it claims them, so it has at most as many of a bucket as there are, and they are free
 * by its COMMIT, its rollback, or the end of its process.
 *
 * An event that gets no slot or no place waits without a time, as behind a pause (batch/pause.h): written down
 * where its key may be. The lane asks for those from time to time, and makes as many keys due as there are slots or
 * places, in turn.
 */
#ifndef SLUICE_BATCH_LIMIT_H
#define SLUICE_BATCH_LIMIT_H

#include "batch/batch.h"

/* Before the transaction: events that may not be handled yet get their verdict. */
void batch_limit(struct batch *batch);
/* After the claim: slots of events that had been handled before are free; of those whose last COMMIT is not known, who
 * turns out to be new needs a place. */
void batch_limit_claimed(struct batch *batch);

/* Between batches, on the lane's thread. */

/* When limit_resume() has something to do, monotonic; INT64_MAX: it has not. */
int64_t limit_due_ms(const struct batch_env *env);
/* Asks for slots for keys that wait, and makes due those that got one. Uses env->arena. */
void limit_resume(struct batch_env *env);
/* Of a key that was found in the table behind what this topic waits for, which is no pause: what its limit is to
 * flow/lane; 0: it has none, or the event has to say. False: the lane knows that the key waits. */
bool limit_of_found(struct batch_env *env, const struct topic *topic, uint64_t key_hash, uint32_t *ret_pause);
void limits_free(struct batch_env *env);

#endif
