/*
 * stopped.h - a handler whose statement the database refuses as no event could pass it: its table or function is not
 * there (a deploy that came too early), or a right is missing.
 *
 * Such a handler stops: its events wait, no try is counted, and every STOPPED_AGAIN_MS it is tried again. What one
 * event alone does to a statement (SQL that a function builds from its data) is told apart by the others: when the same
 * statement has passed for another event since, the event is at fault. A single event that was refused waits alone; the
 * handler's other events wait with it once a second one was refused and none has passed in between.
 *
 * Threads: any lane's.
 */
#ifndef SLUICE_BATCH_STOPPED_H
#define SLUICE_BATCH_STOPPED_H

#include "batch/batch.h"

enum { STOPPED_AGAIN_MS = 2000 };

/* A statement of the binding's handler passed. */
void stopped_passed(const struct batch_env *env, const struct binding *binding, const char *statement);
/* batch->failed_sql of batch->failed_binding was refused in a batch of this work alone: the handler, or only this
 * event, waits. False: the event is at fault. */
bool stopped_refused(struct batch *batch, struct work *work);
/* Until when events of this binding wait, monotonic; 0: they need not. */
int64_t stopped_until_ms(const struct batch_env *env, const struct binding *binding);
/* Why it is stopped, or was last. */
const char *stopped_why(struct handler_stop *stop, struct arena *arena);
/* Appends that as a line; false when it is not stopped. */
bool stopped_print(struct handler_stop *stop, struct buffer *out);

#endif
