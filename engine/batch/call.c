/*
 * call.c - one call of a handler: inputs are filled into one array, the handler runs, and each work has its verdict.
 */
#include "batch/host.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/random.h"
#include "batch/breaker.h"
#include "batch/isolated.h"
#include "batch/pause.h"
#include "batch/traced.h"
#include "guard/watch.h"

#include <errno.h>

enum {
    CALL_PAUSE_MS = 200, /* after the first call that found something unavailable; doubles with each */
    CALL_PAUSE_MAX_MS = 30000,
    CALL_PAUSE_DOUBLINGS = 8, /* then the pause is above its maximum */
};

static void call_event(const struct work *work, struct sluice_event *ret)
{
    const struct event *event = &work->event;
    *ret = (struct sluice_event){
        .size = sizeof *ret,
        .attempt = work->item->tries + 1,
        .id = text_of_span(event->id_text),
        .topic = text_of_span(event->record->topic),
        .key = text_of_span(event->record->key),
        .name = text_of_span(event->name),
        .value = text_of_span(event->record->value),
        .data = text_of_span(event->data.text),
        .timestamp_ms = event->timestamp_ms,
        .retries_left = (int32_t)work->retries_left,
        .retry_count = (int32_t)work->retry_count,
    };
}

/* The verdict of a work for which the handler gave none, or only half of one. */
static void call_settle(struct call *call, struct work *work)
{
    const struct sluice_handler *handler = call->binding->handler;
    bool decided = work->verdict != VERDICT_NONE;
    if (work->verdict == VERDICT_RETRY)
        work_retry(call->batch, work, DEAD_RETRIES_EXHAUSTED, work->why);
    else if (handler->kind == SLUICE_REQUEST && work->status == 0 && work_row(work)->replies)
        work_condemn(call->batch, work, DEAD_PLUGIN_FAULT, "handler %s returned without a reply",
                     call->binding->handler_name);
    else if (!decided && (handler->kind == SLUICE_REQUEST || handler->kind == SLUICE_SCHEDULE))
        work->verdict = VERDICT_NO_OUTCOME;
    else if (!decided)
        work_condemn(call->batch, work, DEAD_PLUGIN_FAULT, "handler %s returned without an outcome for this event",
                     call->binding->handler_name);
}

/* Something outside is unavailable: the whole call comes again, after pauses that double from 200 ms to 30 s. */
static void call_unavailable(struct call *call)
{
    struct binding_run *run = &call->batch->env->bindings[call->binding->index];
    int times = atomic_fetch_add(&run->unavailable, 1);
    int64_t pause = (int64_t)CALL_PAUSE_MS << (times > CALL_PAUSE_DOUBLINGS ? CALL_PAUSE_DOUBLINGS : times);
    if (pause > CALL_PAUSE_MAX_MS)
        pause = CALL_PAUSE_MAX_MS;
    if (call->binding->dependency != NULL)
        pause = breaker_wait_ms(call->binding->dependency, pause);
    pause += (int64_t)((double)pause * 0.2 * random_unit(&call->batch->env->random));
    for (size_t i = 0; i < call->count; i++) {
        call->works[i]->verdict = VERDICT_DELAY;
        call->works[i]->due_ms = call->batch->now_ms + pause;
        call->works[i]->why = call->unavailable;
        if (call->works[i]->try == TRY_FAILED && !call->queried)
            pause_wait(call->batch, call->works[i], call->unavailable);
    }
    log_rarely(10000, LOG_WARN, "lane", "handler %s waits: %s; next try in %lld ms", call->binding->handler_name,
               call->unavailable, (long long)pause);
    if (call->queried) { /* what its statements did must not stay */
        call->batch->undo_call = true;
        call->batch->result = STORE_TRANSIENT;
        error_set(&call->batch->error, EAGAIN, "handler %s waits: %s", call->binding->handler_name, call->unavailable);
    }
}

/* The works whose fields fit, with their inputs and events; the others become dead. */
static void call_fill(struct call *call, struct work **works, size_t count)
{
    struct batch *batch = call->batch;
    const struct binding *binding = call->binding;
    size_t step = binding->handler->input_size;
    char *inputs = step > 0 ? arena_alloc(batch->arena, step * count) : NULL;
    struct sluice_event *events = arena_alloc_raw(batch->arena, sizeof *events * count);

    call->works = arena_array(batch->arena, struct work *, count);
    for (size_t i = 0; i < count; i++) {
        struct work *work = works[i];
        struct input_meta meta = {
            .attempt = work->item->tries + 1, .retries_left = work->retries_left, .retry_count = work->retry_count};
        struct error error = {0};
        if (binding->input != NULL &&
            input_fill(binding->input, &work->event, &meta, batch->arena, inputs + step * call->count, &error) != 0) {
            work_dead(batch, work, DEAD_BAD_FIELD, "%s", error.text);
            memset(inputs + step * call->count, 0, step);
            continue;
        }
        call_event(work, &events[call->count]);
        call->works[call->count++] = work;
    }
    call->shared = (struct sluice_call){.size = sizeof call->shared,
                                        .count = (uint32_t)call->count,
                                        .host = &host_functions,
                                        .events = events,
                                        .inputs = inputs};
}

void call_put_back(const struct batch *batch)
{
    const char *changed = batch->env->surroundings == NULL ? NULL : surroundings_restore(batch->env->surroundings);
    if (changed != NULL)
        log_rarely(1000, LOG_ERROR, "lane",
                   "handler %s changed the %s of the process, which is put back; a plugin leaves it alone",
                   batch->last_called->handler_name, changed);
}

/* In this process, whose surroundings are put back: while the function runs, the master sees its events. */
static void call_here(struct call *call, int64_t deadline_ms)
{
    struct batch_env *env = call->batch->env;
    const struct binding *binding = call->binding;
    for (size_t i = 0; env->suspects != NULL && i < call->count; i++)
        suspects_add(env->suspects, env->lane_number, i, work_suspect_id(call->works[i]));
    suspects_open(env->suspects, env->lane_number, call->count, deadline_ms,
                  call->batch->count == 1 && call->works[0]->item->quarantined);
    if (binding->emits)
        emit_call(call);
    else
        binding->handler->handle(env->plugins[binding->plugin->index].state, &call->shared);
    watch_returned(env->suspects, env->lane_number);
    if (++call->batch->calls <= CALL_LOOKS)
        call_put_back(call->batch);
}

/* Runs the plugin's function; while it does, the watchdog sees its deadline. */
static void call_handler(struct call *call)
{
    struct batch_env *env = call->batch->env;
    const struct binding *binding = call->binding;
    int64_t began = clock_monotonic_ns();

    call->batch->called = true;
    call->batch->last_called = binding;
    (void)FAILPOINT("lane.handler.before");
    int64_t deadline_ms = clock_monotonic_ms() + binding->timeout_ms;
    atomic_store_explicit(&env->call_handler, binding->handler_name, memory_order_relaxed);
    atomic_store_explicit(&env->call_deadline_ms, deadline_ms, memory_order_relaxed);
    batch_env_at(env, "the handler's call");
    if (!binding->emits && env->plugins[binding->plugin->index].isolated != NULL)
        call_isolated(call, deadline_ms);
    else
        call_here(call, deadline_ms);
    batch_env_at(env, "what follows the handler's call");
    atomic_store_explicit(&env->call_deadline_ms, 0, memory_order_relaxed);
    (void)FAILPOINT("lane.handler.after");
    int64_t ended = clock_monotonic_ns();
    series_observe(env->bindings[binding->index].seconds, (double)(ended - began) / 1e9);
    traced_called(call->works, call->count, began, ended);
}

void batch_call(struct batch *batch, struct binding *binding, struct work **works, size_t count)
{
    struct binding_run *run = &batch->env->bindings[binding->index];
    struct call call = {.batch = batch, .binding = binding};

    call_fill(&call, works, count);
    if (call.count == 0)
        return;
    call_handler(&call);
    if (batch->result != STORE_OK || batch->condemned)
        return; /* the others of a call with a fault are handled again: they may have got no answer from query() */
    if (batch->transaction && connection_tampered(batch->connection)) {
        call_fault_alone(&call, "ended the engine's transaction with a statement of its own");
    } else if (call.unavailable != NULL) {
        breaker_called(batch, binding, call.works, call.count, call.unavailable);
        call_unavailable(&call);
    } else {
        if (atomic_load_explicit(&run->unavailable, memory_order_relaxed) != 0)
            atomic_store(&run->unavailable, 0);
        breaker_called(batch, binding, call.works, call.count, NULL);
        for (size_t i = 0; i < call.count; i++)
            call_settle(&call, call.works[i]);
    }
}
