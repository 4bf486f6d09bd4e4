/*
 * drive.h - an engine in virtual time: what happens to it, step by step, and what is on its topics.
 *
 * The clocks of the process stop when the drive starts, the engine is stepped (run/engine.h), and the database's now()
 * follows. For a process that runs one test and then ends.
 */
#ifndef SLUICE_FLOWTEST_DRIVE_H
#define SLUICE_FLOWTEST_DRIVE_H

#include "base/arena.h"
#include "run/engine.h"

#define FLOW_BEGINS_MS 1767225600000 /* 2026-01-01T00:00:00Z: when each test begins */

struct drive {
    struct arena *arena;
    struct engine *engine;
    const struct pipeline *pipeline;
    struct bus *bus;
    struct connection *connection; /* to the test's database; NULL without a store */
    int64_t database_ms;           /* what its clock says */
};

struct reply {
    int status;       /* 0: there is none yet */
    struct span json; /* in the arena */
};

/* An event as it stands on its topic. */
struct seen {
    const struct record *record;
    struct span key, data; /* data: JSON; of an event that cannot be read: a string of its bytes */
    bool dead_letter;
};

/* Stops the clocks and starts the engine; `parts->stepped` is set. 0, or negative with a sentence, as all of these. */
int drive_start(struct drive *drive, struct engine_parts *parts, struct error *error);
int drive_sql(struct drive *drive, const char *sql, struct error *error);
/* Time goes on, and what is due on the way happens when it is due. In up to five minutes schedules tick at each of
 * their times; in a longer time about fifty times, evenly, as an engine that is late skips ticks. */
int drive_advance(struct drive *drive, int64_t ms, struct error *error);
/* Time goes on until nothing is due but ticks, at most a year. */
int drive_run(struct drive *drive, struct error *error);
/* A request, and time goes on until it is answered. `key`: its Idempotency-Key, or NULL. */
int drive_request(struct drive *drive, const char *method, const char *target, struct span body, const char *key,
                  struct reply *ret, struct error *error);
/* An event; `key` NULL: by the topic's `key:`; `id` NULL: a new one. */
int drive_emit(struct drive *drive, const char *topic, struct span data, const char *key, const char *id,
               struct error *error);
/* The last event of all but dead letters, or (`topic` not NULL) of this topic, once more as it is. */
int drive_duplicate(struct drive *drive, const char *topic, struct error *error);
/* All events, in the order in which they were published. */
int drive_events(struct drive *drive, struct seen **ret, size_t *ret_count, struct error *error);
int64_t drive_elapsed_ms(void); /* since the test began */

#endif
