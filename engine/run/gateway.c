/*
 * gateway.c - see gateway.h.
 */
#include "run/gateway.h"

#include "base/clock.h"
#include "batch/stopped.h"
#include "run/state.h"

#include <errno.h>

int gateway_submit(struct engine *engine, struct gateway_request *request)
{
    if (atomic_load(&engine->life.draining) || !atomic_load(&engine->open) || engine->request_worker_count == 0)
        return -ESHUTDOWN;
    struct item_block *block = NULL;
    if (atomic_fetch_add(&engine->requests_waiting, 1) < ENGINE_REQUESTS_MAX)
        block = item_block_create(1, NULL);
    if (block == NULL) {
        atomic_fetch_sub(&engine->requests_waiting, 1);
        return -EAGAIN;
    }
    const struct request *route = &engine->config->requests[request->route];
    struct item *item = item_block_items(block);
    request->waiting = &engine->requests_waiting;
    request->arrived_ms = clock_monotonic_ms();
    request->asked = 0;
    item->source = ITEM_REQUEST;
    item->request = request;
    item->binding = route->binding;
    item->record.topic = span_of(route->path);
    item->record.value = request->body;
    item->entry.key_hash = atomic_fetch_add(&engine->request_count, 1);
    struct worker *worker = engine->requests[strcmp(route->method, "GET") == 0 ? 1 : 0];
    mailbox_push(&worker->mailbox, &item->entry, &item->entry.next);
    return 0;
}

void engine_paused(struct engine *engine, struct buffer *out)
{
    pauses_print(engine, out);
}

struct metrics *engine_metrics(struct engine *engine)
{
    return engine->metrics;
}

struct tracer *engine_tracer(struct engine *engine)
{
    return engine->parts.tracer;
}

const struct pipeline *engine_pipeline(struct engine *engine)
{
    return engine->config;
}

bool engine_healthy(struct engine *engine, struct buffer *ret_why)
{
    struct error error;
    if (life_fault(&engine->life, &error) == 0)
        return true;
    buffer_format(ret_why, "%s\n", error.text);
    return false;
}

bool engine_ready(struct engine *engine, struct buffer *ret_why)
{
    if (!engine_healthy(engine, ret_why))
        return false;
    if (atomic_load(&engine->life.draining)) {
        buffer_text(ret_why, "stopping\n");
        return false;
    }
    if (!atomic_load(&engine->open)) {
        bool store = engine->store != NULL && !atomic_load(&engine->store_open);
        buffer_text(ret_why, store ? "waiting for the database\n" : "waiting for the bus\n");
        return false;
    }
    if (engine->store != NULL && series_value(metrics_series(engine->metrics, METRIC_STORE_UP, NULL, NULL)) == 0) {
        buffer_text(ret_why, "the database does not answer\n");
        return false;
    }
    return true;
}

bool engine_reads(struct engine *engine, struct buffer *ret_why)
{
    bool all = true;
    for (size_t i = 0; i < engine->group_count; i++)
        all = !halted_print(&engine->groups[i], ret_why) && all;
    return all;
}

bool engine_handles(struct engine *engine, struct buffer *ret_why)
{
    bool all = true;
    for (size_t i = 0; i < engine->config->binding_count; i++)
        all = !stopped_print(&engine->bindings[i].stop, ret_why) && all;
    return all;
}
