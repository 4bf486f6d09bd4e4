/*
 * intake.c - requests and ticks as events; the gateway's door.
 *
 * A request's body, path and query become one JSON object, checked by the scanner that checks every event: a name
 * given twice is refused like any duplicate key. A path parameter of an integer field is written as a number, so
 * that handlers see one type. Writes and reads have a lane each: those who poll for an answer hold up nobody who
 * posts.
 */
#include "run/intake.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>

enum { INTAKE_BODY_MAX = 16 * 1024 * 1024, INTAKE_AGAIN_MS = 10, INTAKE_AGAIN_MAX_MS = 250 };

int gateway_submit(struct engine *engine, struct gateway_request *request)
{
    if (atomic_load(&engine->draining) || !atomic_load(&engine->open) || engine->request_worker_count == 0)
        return -EAGAIN;
    if (atomic_fetch_add(&engine->requests_waiting, 1) >= RUN_REQUESTS_MAX) {
        atomic_fetch_sub(&engine->requests_waiting, 1);
        return -EAGAIN;
    }
    struct item_block *block = item_block_create(1, NULL);
    if (block == NULL) {
        atomic_fetch_sub(&engine->requests_waiting, 1);
        return -EAGAIN;
    }
    const struct request *route = &engine->pipeline->requests[request->route];
    struct item *item = item_block_items(block);
    request->arrived_ms = clock_monotonic_ms();
    request->asked = 0;
    item->source = ITEM_REQUEST;
    item->request = request;
    item->binding = route->binding;
    item->record.topic = span_of(route->path);
    item->record.value = request->body;
    item->entry.key_hash = atomic_fetch_add(&engine->request_count, 1);
    struct worker *worker = engine->requests[strcmp(route->method, "GET") == 0 ? 1 : 0];
    worker_push(worker, &item->entry, &item->entry.next);
    return 0;
}

static void answer(struct engine *engine, struct gateway_request *request, int status, struct span json)
{
    atomic_fetch_sub(&engine->requests_waiting, 1);
    request->done(request, status, json);
}

static bool is_integer_field(const struct binding *binding, struct span name)
{
    for (const struct sluice_field *field = binding->input; field != NULL && field->name != NULL; field++)
        if (span_is(name, field->name))
            return field->type == SLUICE_TYPE_INT64;
    return false;
}

static void param_append(struct buffer *out, const struct binding *binding, const struct gateway_param *param,
                         struct arena *arena)
{
    struct json_object probe;
    buffer_json_string(out, param->name);
    buffer_byte(out, ':');
    if (is_integer_field(binding, param->name) && param->value.length > 0 && param->value.length < 20) {
        char *text = arena_format(arena, "{\"n\":%.*s}", (int)param->value.length, param->value.at);
        if (json_scan(span_of(text), arena, &probe, NULL) == 0 && probe.count == 1 &&
            probe.members[0].kind == JSON_KIND_NUMBER) {
            buffer_span(out, param->value);
            return;
        }
    }
    buffer_json_string(out, param->value);
}

static void request_object(struct batch *batch, struct work *work)
{
    const struct gateway_request *request = work->item->request;
    struct json_object body = {0};
    struct error error = {0};
    struct buffer text;

    if (request->body.length > 0 && json_scan(request->body, batch->arena, &body, &error) != 0) {
        work_dead(batch, work, DEAD_BAD_JSON, "the body is no JSON object: %s", error.text);
        return;
    }
    buffer_init(&text, INTAKE_BODY_MAX);
    buffer_byte(&text, '{');
    for (size_t i = 0; i < body.count; i++) {
        buffer_text(&text, i > 0 ? ",\"" : "\"");
        buffer_span(&text, body.members[i].name);
        buffer_text(&text, "\":");
        buffer_span(&text, body.members[i].value);
    }
    for (size_t i = 0; i < request->param_count; i++) {
        if (i + body.count > 0)
            buffer_byte(&text, ',');
        param_append(&text, work->item->binding, &request->params[i], batch->arena);
    }
    buffer_byte(&text, '}');
    struct span whole = arena_span(batch->arena, buffer_view(&text));
    if (text.failed || json_scan(whole, batch->arena, &work->event.data, &error) != 0)
        work_dead(batch, work, DEAD_BAD_JSON, "body, path and query do not fit together: %s", error.text);
    buffer_free(&text);
}

void intake_event(struct batch *batch, struct work *work)
{
    static const struct json_object nothing = {.text = {"{}", 2}};
    struct item *item = work->item;
    char *id = arena_alloc(batch->arena, 64);

    work->retries_left = -1;
    work->event.record = &item->record;
    work->event.timestamp_ms = batch->wall_ms;
    work->event.data = nothing;
    work->event.name = span_of(item->binding->id);
    if (item->source == ITEM_TICK) {
        snprintf(id, 64, "%.40s-%lld", item->schedule->name, (long long)item->slot_ms);
    } else if (item->request->idempotency_key.length > 0) {
        event_id_derive(item->request->idempotency_key, span_of(item->binding->id), SPAN("idempotency-key"), 0, id);
        request_object(batch, work);
        work->event.payload_hash = span_hash(work->event.data.text);
    } else {
        event_id_new(batch->wall_ms, id);
        request_object(batch, work);
    }
    work->event.id_text = span_of(id);
    work->event.id = event_id_of(work->event.id_text);
}

void intake_repeated(struct batch *batch, struct work *work, const struct claim *claim)
{
    struct kept_reply reply = {.handler = claim->handler, .id = claim->id};
    work->verdict = VERDICT_DUPLICATE;
    if (claim->conflict) {
        work->status = 422;
        work->reply = SPAN("{\"error\":\"idempotency_key_reused\",\"message\":\"this Idempotency-Key came before with "
                           "another request\"}");
        return;
    }
    batch->result = ledger_reply_get(batch->connection, &reply, &batch->error);
    if (batch->result != STORE_OK)
        return;
    work->status = reply.status != 0 ? reply.status : 409;
    work->reply = reply.status != 0 ? arena_span(batch->arena, reply.body)
                                    : SPAN("{\"error\":\"idempotency_key_reused\",\"message\":\"the answer to this "
                                           "Idempotency-Key is not kept any more\"}");
}

static int dead_status(enum dead_reason reason)
{
    switch (reason) {
    case DEAD_BAD_JSON:
    case DEAD_NOT_OBJECT:
    case DEAD_TOO_DEEP:
    case DEAD_BAD_FIELD:
    case DEAD_TOO_LARGE:
        return 400;
    case DEAD_REJECTED:
        return 422;
    case DEAD_RETRIES_EXHAUSTED:
    case DEAD_DEADLINE:
        return 503;
    default:
        return 500;
    }
}

static void answer_error(struct engine *engine, struct gateway_request *request, int status, const char *word,
                         const char *why)
{
    struct buffer json;
    buffer_init(&json, 16 * 1024);
    buffer_text(&json, "{\"error\":");
    buffer_json_string(&json, span_of(word));
    buffer_text(&json, ",\"message\":");
    buffer_json_string(&json, span_of(why));
    buffer_byte(&json, '}');
    answer(engine, request, status, buffer_view(&json));
    buffer_free(&json);
}

bool intake_answer(struct batch *batch, struct work *work, int64_t *ret_again_ms)
{
    struct gateway_request *request = work->item->request;
    if (work->verdict == VERDICT_DEAD) {
        answer_error(batch->engine, request, dead_status(work->reason), event_dead_word(work->reason), work->why);
        return true;
    }
    int64_t left = request->arrived_ms + request->wait_ms - clock_monotonic_ms();
    if (work->reply_pending && left > 0 && !atomic_load(&batch->engine->draining)) {
        int64_t pause = INTAKE_AGAIN_MS + 5ll * request->asked++;
        pause = pause > INTAKE_AGAIN_MAX_MS ? INTAKE_AGAIN_MAX_MS : pause;
        *ret_again_ms = clock_monotonic_ms() + (pause < left ? pause : left);
        return false;
    }
    answer(batch->engine, request, work->status, work->reply);
    return true;
}

bool intake_late(struct batch *batch, struct item *item)
{
    struct engine *engine = batch->engine;
    if (clock_monotonic_ms() - item->request->arrived_ms < engine->pipeline->http.timeout_ms)
        return false;
    answer_error(engine, item->request, 503, "unavailable",
                 "the database did not answer in time; nothing was done: ask again");
    return true;
}

void intake_refuse(struct engine *engine, struct item *item)
{
    answer_error(engine, item->request, 503, "stopping", "this process is stopping; nothing was done: ask again");
}
