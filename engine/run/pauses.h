/*
 * pauses.h - what operators have paused: read from the store twice a second, and told to lanes, readers and the keeper.
 *
 * Lanes see flags (batch/pause.h); who made a pause, since when and why is kept for people. A pause whose name the file
 * does not have covers nothing; the log says so. Without a store there are none.
 */
#ifndef SLUICE_RUN_PAUSES_H
#define SLUICE_RUN_PAUSES_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buffer.h"
#include "base/error.h"
#include "flow/pause.h"

struct arena;
struct connection;
struct engine;
struct group_run;

struct pauses {
    atomic_uint count;    /* in effect, of names that the file has */
    atomic_uint changes;  /* counts changes of the flags */
    pthread_mutex_t lock; /* the list */
    struct arena *arena;  /* of the list; NULL: there is none */
    struct pause *list;
    size_t list_count;
};

void pauses_init(struct pauses *pauses);
void pauses_destroy(struct pauses *pauses);
/* Reads them, and puts what is new into effect. Before the engine is open: the opener; then the keeper. 0, or -EAGAIN
 * with a sentence: what was known still holds, but for what has ended by the clock. */
int pauses_look(struct engine *engine, struct connection *connection, struct error *error);
/* Delayed events that were due while their topic was paused, and are not any more, are due again. The keeper. */
void pauses_release(struct engine *engine, struct connection *connection);
/* Appends the list as a JSON array. Any thread. */
void pauses_print(struct engine *engine, struct buffer *out);

#endif
