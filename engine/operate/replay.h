/*
 * replay.h - dead letters are sent to their topics again, or dropped: many of them, in batches of one transaction.
 *
 * A replay is a new event: its id is derived from the dead letter and the round, so that one that is published twice
 * is the same event; its headers name the dead letter and the group whose it was, and the engine's own headers of
 * earlier rounds are not carried on. The dead letters of a key are replayed in the order of their ids, and where events
 * of the key wait in the database they go behind them, as any event does.
 *
 * Rows, audit and, on a transactional bus, the events are one transaction. On other buses the events of a batch are a
 * row of sluice.outbox in that transaction, and published before the next batch, so that there is one such row at most:
 * what a process leaves behind that ends in between is published by the next one that moves dead letters, or by the
 * sweeper of an engine, and never twice to a handler, nor out of order. Only one at a time moves dead letters of a
 * group.
 *
 * Without a store a batch is one transaction of the bus, with the events and the notes of what became of their dead
 * letters (letter_topics.h): what a process that ends in between leaves behind is done as a whole, or not at all.
 */
#ifndef SLUICE_OPERATE_REPLAY_H
#define SLUICE_OPERATE_REPLAY_H

#include "operate/dead_letter.h"
#include "operate/pace.h"

/* The operation needs its bus. 0, or negative with a sentence; *ret says how far it came in either case. */
int dead_letters_replay(const struct operation *operation, const struct replay *replay, struct replay_progress *ret,
                        struct error *error);
/* rate and force mean nothing here; no bus is needed. */
int dead_letters_drop(const struct operation *operation, const struct replay *replay, struct replay_progress *ret,
                      struct error *error);
/* What it would do: found, exhausted. */
int dead_letters_count(const struct operation *operation, const struct replay *replay, struct replay_progress *ret,
                       struct error *error);
/* {"found":…,"WORD":moved,"exhausted":…,"unfit":…,"unfitWhy":…,"stopped":…} and a line end. */
void replay_progress_json(const struct replay_progress *progress, const char *word, struct buffer *out);

#endif
