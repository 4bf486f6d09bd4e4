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
};

/* What an engine of this pipeline opens and takes at most: connections to the database, bytes of memory. Estimates for
 * whoever plans limits, a bit too high. */
int64_t engine_connections(const struct pipeline *pipeline);
int64_t engine_memory(const struct pipeline *pipeline);

/* Starts every thread. Returns at once; the database and the bus need not answer yet (engine_ready() tells). */
int engine_start(const struct engine_parts *parts, struct engine **ret, struct error *error);
/* No new work; what runs is finished, committed and handed over, for at most drain_ms and then a few seconds for
 * what was interrupted; events that are queued are redelivered. 0, -ETIMEDOUT when requests or a tick had no time,
 * or -EBUSY when a handler does not come back: then the only way to stop is _exit(). */
int engine_drain(struct engine *engine, int64_t drain_ms);
void engine_stop(struct engine *engine); /* drains for no time, joins every thread, frees everything. NULL is fine */
/* Returns at once, for main's loop: 0 while the engine goes on, else a negative errno and what it cannot go on for (a
 * database or bus that is not as the configuration says, a plugin that does not open; -ENOKEY: the configuration does
 * not say what becomes of names that left it, or where a group begins). Any thread. */
int engine_fault(struct engine *engine, struct error *ret);

#endif
