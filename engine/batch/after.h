/*
 * after.h - events that need another one before them (`after:` of their topic).
 *
 * One that came before what it needs waits as the head of its key, written down like every key that waits for long
 * (batch/held.h), until the database says that an event of the other topic with the same value was handled by the
 * group, or its time is over. What was handled is written in the transaction that handles it; the same transaction
 * marks who waits, whatever process has it. The lanes of this process are told at once, those of others look every
 * moment while something waits.
 *
 * Events of such a topic are in an order of their own: of those with the same key, and with no other topic's, or one
 * that waits would hold up what it waits for.
 */
#ifndef SLUICE_BATCH_AFTER_H
#define SLUICE_BATCH_AFTER_H

#include "batch/batch.h"

/* Behind the claim: events that came too early get their verdict. */
void batch_after(struct batch *batch);
/* Why this data does not say what its event comes after, in the arena; NULL: *ret_value is it. */
const char *after_refusal(const struct after *after, const struct json_object *data, struct arena *arena,
                          struct span *ret_value);
/* In the transaction, behind batch_held(): what was handled that others need, and what the held ones wait for. */
void after_record(struct batch *batch);
/* Behind COMMIT, or one whose reply was lost. */
void after_over(struct batch *batch);

/* Between batches, on the lane's thread. */

/* When after_look() has something to do, monotonic; INT64_MAX: it has not. */
int64_t after_due_ms(const struct batch_env *env);
/* Whether the file still says this rule, by which an event waits. */
bool after_stands(const struct batch_env *env, struct span rule);
/* Those in these streams that wait by a rule that the file does not say are judged again. */
void after_changed(struct batch_env *env, const struct span *streams, size_t stream_count);
/* Something waits: it is looked for soon. */
void after_waits(struct batch_env *env);
/* Makes due the keys whose head need not wait any more. Uses env->arena. */
void after_look(struct batch_env *env);

#endif
