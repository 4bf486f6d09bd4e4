/*
 * traced.h - the spans of a batch: one for each event that a handler was called for, or that ended here otherwise.
 *
 * An event whose trace is recorded has a struct work_trace; for all others work->trace is NULL, and nothing is done.
 * The span's id follows from event, handler and try, so that what is emitted can name it before COMMIT; it is handed to
 * the tracer after COMMIT only. All of it runs on the lane's thread.
 */
#ifndef SLUICE_BATCH_TRACED_H
#define SLUICE_BATCH_TRACED_H

#include "batch/batch.h"
#include "trace/tracer.h"

struct work_trace {
    struct trace_context own;   /* of the span of this try */
    uint64_t parent;            /* who emitted the event; 0: the trace begins with it */
    uint64_t first;             /* the span of the event's first try; own.span in that one */
    bool emitted;               /* something that is emitted names its span */
    int64_t began_ns, ended_ns; /* of the handler's call, monotonic; 0: it was not called */
};

/* Once the works are parsed: which of them are recorded. */
void traced_begin(struct batch *batch);
/* A call of a handler for these works is over. */
void traced_called(struct work **works, size_t count, int64_t began_ns, int64_t ended_ns);
/* The traceparent of what the work emits; NULL: its trace is not recorded. */
const char *traced_parent(struct batch *batch, const struct work *work);
/* Of an event that says that a step was done: the traceparent of what did it; NULL: its trace is not recorded. */
const char *traced_step(struct batch *batch, const struct work *work);
/* The span of its first try, 16 hexadecimal digits, for HEADER_FIRST_TRY; its trace is recorded. */
const char *traced_first(struct batch *batch, const struct work *work);
/* After COMMIT, or when it is not known whether there was one. */
void traced_end(struct batch *batch);

#endif
