/*
 * correlations.c - /correlations: what operate/timeline.h tells, over HTTP.
 *
 * The bus is read from its first record on, for as long as http.timeout; `sluice explain` takes the time it needs.
 */
#include "http/call.h"

#include "operate/timeline.h"

#include <errno.h>

int correlations_show(struct call *call)
{
    const struct operation *operation = &call->operation;
    struct timeline timeline = {
        .arena = operation->arena,
        .pipeline = operation->pipeline,
        .correlation = arena_string(operation->arena, call_param(call, "correlation")),
        .stop = call->stop,
        .deadline_ms = operation->deadline_ms,
    };
    int code = timeline_read(&timeline, operation->bus, operation->connection, call->error);
    if (code == -ETIMEDOUT)
        error_hint(call->error, "`sluice explain` reads for as long as it takes");
    if (code == 0 && __atomic_load_n(call->stop, __ATOMIC_RELAXED) != 0)
        code = error_set(call->error, EAGAIN, "The engine is stopping.");
    if (code == 0)
        timeline_json(&timeline, call->answer);
    return code;
}
