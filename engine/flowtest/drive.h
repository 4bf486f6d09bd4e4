/*
 * drive.h - an engine in virtual time: what happens to it, step by step, and what is on its topics.
 *
 * The clocks of the process stop when the drive starts, the engine is stepped (run/engine.h), and the database's now()
 * follows. When the process of the engine dies (crash.h), another engine starts at once, on the bus and the database as
 * they are. For a process that runs one test and then ends.
 */
#ifndef SLUICE_FLOWTEST_DRIVE_H
#define SLUICE_FLOWTEST_DRIVE_H

#include "flowtest/crash.h"
#include "run/engine.h"

#define FLOW_BEGINS_MS 1767225600000 /* 2026-01-01T00:00:00Z: when each test begins */

/* What a test begins with: the parts of an engine, how a new process opens its own store and metrics on the same
 * database, and how another file is read: into new parts, or negative with sentences that say why a running engine
 * would not change to it. */
struct drive_parts {
    struct engine_parts engine;
    int (*reopen)(struct engine_parts *parts, void *context, struct error *error);
    int (*reread)(struct engine_parts *parts, const char *path, void *context, struct buffer *ret_why,
                  struct error *error);
    void *context;
};

struct drive {
    struct arena *arena;
    struct engine *engine;
    struct drive_parts *parts;
    struct crash crash;
    size_t deaths;
    int64_t sweep_ms; /* when what an earlier process committed and did not publish is published at the latest */
    void (*died)(void *context, const char *where); /* tells that the process died, or goes on; or NULL */
    void *context;
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
    struct span id, key, data; /* of an event that cannot be read: its bytes; JSON, of such a one a string of them */
    bool dead_letter, again;   /* again: it stands on its topic already, under the same id */
};

/* Stops the clocks and starts the engine; `parts` stays there, and `stepped` is set. 0, or negative with a sentence, as
 * all of these. */
int drive_start(struct drive *drive, struct drive_parts *parts, struct error *error);
/* Notes from now on where the process might die (crash.h). */
int drive_note_places(struct drive *drive, struct error *error);
int drive_sql(struct drive *drive, const char *sql, struct error *error);
/* Whatever is due now happens, also by what others have changed in the database. */
int drive_settle(struct drive *drive, struct error *error);
/* Time goes on, and what is due on the way happens when it is due. In up to five minutes schedules tick at each of
 * their times; in a longer time about fifty times, evenly, as an engine that is late skips ticks. */
int drive_advance(struct drive *drive, int64_t ms, struct error *error);
/* Time goes on until nothing is due but ticks, at most a year. */
int drive_run(struct drive *drive, struct error *error);
/* A request, and time goes on until it is answered; when the process died with it, its client sends it again. `key`:
 * its Idempotency-Key, or NULL. */
int drive_request(struct drive *drive, const char *method, const char *target, struct span body, const char *key,
                  struct reply *ret, struct error *error);
/* An event; `key` NULL: by the topic's `key:`; `id` NULL: a new one. */
int drive_emit(struct drive *drive, const char *topic, struct span data, const char *key, const char *id,
               struct error *error);
/* The last event of all but dead letters, or (`topic` not NULL) of this topic, once more as it is. */
int drive_duplicate(struct drive *drive, const char *topic, struct error *error);
/* Another file takes the place of the one that runs. What this one would not do is an error, and what runs goes on. */
int drive_reload(struct drive *drive, const char *path, struct error *error);
/* All events, in the order in which they were published. */
int drive_events(struct drive *drive, struct seen **ret, size_t *ret_count, struct error *error);
int64_t drive_elapsed_ms(void); /* since the test began */

#endif
