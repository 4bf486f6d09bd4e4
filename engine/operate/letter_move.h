/*
 * letter_move.h - replay.h for a pipeline without a store: on the topics (letter_topics.h).
 */
#ifndef SLUICE_OPERATE_LETTER_MOVE_H
#define SLUICE_OPERATE_LETTER_MOVE_H

#include "operate/operation.h"
#include "operate/pace.h"

/* Replays or drops. As dead_letters_replay(). */
int letter_move(const struct operation *operation, const struct replay *replay, bool drops, struct replay_progress *ret,
                struct error *error);
/* What it would do: found, exhausted. */
int letter_count(const struct operation *operation, const struct replay *replay, struct replay_progress *ret,
                 struct error *error);

#endif
