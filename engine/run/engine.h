/*
 * engine.h - the running pipeline: threads, start order, drain, stop order.
 */
#ifndef SLUICE_RUN_ENGINE_H
#define SLUICE_RUN_ENGINE_H

#include "bus/bus.h"
#include "guard/suspects.h"
#include "pipeline/pipeline.h"
#include "store/store.h"

struct engine;
struct migrations;
struct tracer;

struct engine_parts {                /* made by whoever starts the engine; they outlive it */
    const struct pipeline *pipeline; /* resolved and checked */
    struct bus *bus;
    struct store *store;                 /* NULL: at-least-once, and the log says so */
    const struct migrations *migrations; /* that the database must have; NULL: any */
    struct suspects *suspects;           /* NULL: nobody watches for crashes */
    struct tracer *tracer;               /* NULL: no traces are recorded */
    struct metrics *metrics;
    bool stepped; /* no thread is made: engine_step() does what they would, see below */
    bool waits;   /* it takes nothing before engine_begin() */
};

/* What an engine of this pipeline opens and takes at most: connections to the database, bytes of memory. Estimates for
 * whoever plans limits, a bit too high. */
int64_t engine_connections(const struct pipeline *pipeline);
int64_t engine_memory(const struct pipeline *pipeline);

/* Starts every thread. Returns at once; the database and the bus need not answer yet (engine_ready() tells). A stepped
 * engine is open when this returns 0. */
int engine_start(const struct engine_parts *parts, struct engine **ret, struct error *error);
/* One that waits: whether it could begin: the database is as it must be, the file says what becomes of names, every
 * lane has opened its plugins. Nothing but what is the same for each start was written. Any thread. */
bool engine_prepared(struct engine *engine);
/* Whether it is its turn, too: processes of a group that are reloaded at the same time hand over one after the other,
 * where they have a store. It has it from then on until it takes work, or is stopped. Any thread. */
bool engine_has_turn(struct engine *engine);
void engine_begin(struct engine *engine); /* any thread */
/* No new work; what runs is finished, committed and handed over, for at most drain_ms and then a few seconds for
 * what was interrupted; events that are queued are redelivered. 0, -ETIMEDOUT when requests or a tick had no time,
 * or -EBUSY when a handler does not come back: then the only way to stop is _exit(). */
int engine_drain(struct engine *engine, int64_t drain_ms);
/* After -ETIMEDOUT: interrupts requests and a tick that still run. False when a handler of one does not come back. */
bool engine_interrupt(struct engine *engine);
void engine_stop(struct engine *engine); /* drains for no time, joins every thread, frees everything. NULL is fine */
/* Returns at once, for main's loop: 0 while the engine goes on, else a negative errno and what it cannot go on for (a
 * database or bus that is not as the configuration says, a plugin that does not open; -ENOKEY: the configuration does
 * not say what becomes of names that left it, or where a group begins). Any thread. */
int engine_fault(struct engine *engine, struct error *ret);

/* An engine that was started `stepped`, for virtual time (base/clock.h): the same readers, lanes and chores, one after
 * the other in the caller's thread, so that what happens is the same in every run. Between two steps it may be stopped
 * like any other; of one that waits engine_start() has looked whether it could begin, and engine_step() begins it. */
/* Does what is due now, until nothing is; `looks`: with what others may have changed in the database. 0, or negative:
 * it has a fault, or there is no end of it. */
int engine_step(struct engine *engine, bool looks, struct error *error);
/* When something more is due, monotonic; INT64_MAX: never. *ret_tick_ms: the same, of ticks of schedules. */
int64_t engine_due_ms(struct engine *engine, int64_t *ret_tick_ms);
/* To the bus, the process of this engine is dead: its consumers are gone, and nothing was committed. The caller may
 * have left engine_start() or engine_step() at a failpoint; it touches the engine never again, whose memory stays. */
void engine_abandon(struct engine *engine);

#endif
