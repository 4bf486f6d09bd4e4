/*
 * held.h - keys whose next event must wait for longer than a moment.
 *
 * In memory such a key would hold its later events, their positions, and in the end everybody. So its event is written
 * to sluice.held, in the transaction of the batch that found that it must wait, and whatever comes for the key behind
 * it; positions are complete with that. flow/lane knows which keys are stored and when they are due; the lane that has
 * the key reads it back, a piece at a time, and each event's row is deleted by the transaction that handles it.
 *
 * The rows of a key belong to whoever is assigned the streams that they were read from: after each change of the
 * assignment, and before anything is handled, a lane must know the keys that are held there (held_load). Handling a row
 * twice, or one that was handled, is found out by its claim, as with any event that is delivered again.
 */
#ifndef SLUICE_BATCH_HELD_H
#define SLUICE_BATCH_HELD_H

#include "batch/batch.h"

/* Between batches, on the lane's thread; both use env->arena, and neither resets it. */

/* Where a walk through the stored keys has come to; zeroed before it begins. */
struct held_page {
    char stream[300];
    int64_t key_hash;
    bool under_way;
};

/* Tells the lane which keys are stored, the next page of them: a bounded number, however many there are. Without `all`,
 * only those that do not wait for what is paused now, which it knows. The walk is over when it is not under way any
 * more. False: the database did not say, and the page is asked for again. */
bool held_load(struct batch_env *env, bool all, struct held_page *page);
/* The same of those that are due now, which costs little where many are held: an operator may have moved their time. */
bool held_load_due(struct batch_env *env);
/* Reads what is due. When the database does not answer its keys are due again a little later. */
void held_fetch(struct batch_env *env);

/* What the engine has learnt of an item, and its row does not say, survives in the lane while it is held, or its stream
 * is lost and assigned again: that it breaks batches, or was refused. Of an item that is written down or may be lost,
 * and of one that is to be handled. Of events only. */
void held_remember(struct batch_env *env, const struct work *work);
void held_recall(struct batch_env *env, const struct work *work);
void held_free(struct batch_env *env); /* forgets it all */

/* Whether an event that waits for so long is to wait in the database. */
bool held_may_wait(const struct batch *batch, const struct item *item, int64_t wait_ms, bool paused);

/* The batch's COMMIT may or may not have written its rows: its heads are in the table now, or follow them there. */
void held_uncertain(struct batch *batch);

#endif
