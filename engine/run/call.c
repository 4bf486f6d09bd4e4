/*
 * call.c - one call of a handler: the engine as a plugin sees it.
 *
 * Inputs are filled into one array, the handler runs, and what it said is noted in the works. Nothing that a plugin
 * passes is trusted: an index, an outcome or a name that does not exist, text that is no UTF-8, JSON that is none, a
 * column of another type: each is a fault of the plugin that costs its event and nothing else.
 */
#include "run/batch.h"
#include "run/call_rows.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CALL_PARAMS_MAX = STORE_PARAMS_MAX,
    CALL_WORDS_MAX = 500, /* bytes of a plugin's sentence */
    CALL_FIELD_MAX = 64 * 1024,
};

struct call {
    struct sluice_call shared; /* first: what the plugin holds a pointer to */
    struct batch *batch;
    struct binding *binding;
    struct work **works;
    size_t count;
    size_t added;
    struct work *last; /* the work that additions belong to: the tick */
    bool failed;       /* a statement failed: the whole call has its verdict elsewhere */
    const char *away;  /* unavailable() was said */
};

_Static_assert(sizeof(struct span) == sizeof(struct sluice_text) &&
                   offsetof(struct span, length) == offsetof(struct sluice_text, length),
               "a text of the contract is a span");

static struct call *call_of(struct sluice_call *shared)
{
    return (struct call *)shared;
}

static struct span span_of_text(struct sluice_text text)
{
    return (struct span){text.at, text.length};
}

static struct sluice_text text_of_span(struct span span)
{
    return (struct sluice_text){span.at == NULL ? "" : span.at, span.length};
}

/* A plugin's sentence: bounded, and without what is no text (it goes into headers, logs and answers). */
static char *words(struct batch *batch, const char *why)
{
    if (why == NULL || *why == '\0')
        return arena_string(batch->arena, SPAN("no reason given"));
    return text_clean(arena_string(batch->arena, (struct span){why, strnlen(why, CALL_WORDS_MAX)}));
}

/* The plugin did what the contract forbids. Charged to event n, or to the first one when n is none of them. */
static void call_fault(struct call *call, size_t n, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void call_fault(struct call *call, size_t n, const char *format, ...)
{
    char text[CALL_WORDS_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    work_condemn(call->batch, call->works[n < call->count ? n : 0], DEAD_PLUGIN_FAULT, "handler %s %s",
                 call->binding->handler_name, text);
}

/* A fault that cannot be laid on one event: of several each runs alone, and whoever does it again is the one. */
static void call_fault_alone(struct call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void call_fault_alone(struct call *call, const char *format, ...)
{
    char text[CALL_WORDS_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (call->count == 1) {
        call_fault(call, 0, "%s", text);
    } else if (call->batch->result == STORE_OK) {
        call->batch->result = STORE_DATA;
        error_set(&call->batch->error, EPROTO, "handler %s %s", call->binding->handler_name, text);
    }
}

static struct work *call_work(struct call *call, size_t n, const char *what)
{
    if (n < call->count)
        return call->works[n];
    call_fault_alone(call, "called %s() for event %zu of a call that has %zu", what, n, call->count);
    return NULL;
}

static void host_outcome(struct sluice_call *shared, size_t n, size_t outcome)
{
    struct call *call = call_of(shared);
    struct work *work = call_work(call, n, "outcome");
    if (work == NULL)
        return;
    if (outcome >= call->binding->outcome_count) {
        call_fault(call, n, "gave outcome %zu; it declares %zu", outcome, call->binding->outcome_count);
        return;
    }
    work->verdict = VERDICT_OUTCOME;
    work->outcome = outcome;
}

static void host_retry(struct sluice_call *shared, size_t n, const char *why)
{
    struct call *call = call_of(shared);
    struct work *work = call_work(call, n, "retry");
    if (work != NULL) {
        work->verdict = VERDICT_RETRY;
        work->why = words(call->batch, why);
    }
}

static void host_reject(struct sluice_call *shared, size_t n, const char *why)
{
    struct call *call = call_of(shared);
    struct work *work = call_work(call, n, "reject");
    if (work != NULL)
        work_dead(call->batch, work, DEAD_REJECTED, "%s", words(call->batch, why));
}

static void host_unavailable(struct sluice_call *shared, const char *why)
{
    struct call *call = call_of(shared);
    call->away = words(call->batch, why);
}

/* Where fields of index n are laid: the event's own output, or an addition. */
static struct overlays *call_overlays(struct call *call, size_t n, const char *what)
{
    if (n < call->count)
        return &call->works[n]->overlays;
    if (call->last != NULL && n - call->count < call->last->addition_count)
        return &call->last->additions[n - call->count].overlays;
    call_fault_alone(call, "called %s() for event %zu of a call that has %zu", what, n, call->count + call->added);
    return NULL;
}

/* `json` must be a valid JSON value: checked by the same scanner that checks events. */
static void call_lay(struct call *call, size_t n, const char *what, const char *name, struct span json)
{
    struct overlays *overlays = call_overlays(call, n, what);
    if (overlays == NULL)
        return;
    size_t length = name == NULL ? 0 : strlen(name);
    if (length == 0 || length > 128) {
        call_fault(call, n, "called %s() without a field name of 1..128 bytes", what);
        return;
    }
    if (json.length > CALL_FIELD_MAX) {
        call_fault(call, n, "set field '%.64s' to %zu bytes; the most is %d", name, json.length, CALL_FIELD_MAX);
        return;
    }
    struct arena *arena = call->batch->arena;
    struct buffer probe;
    struct json_object object;
    buffer_init(&probe, CALL_FIELD_MAX * 2);
    buffer_byte(&probe, '{');
    buffer_json_string(&probe, span_of(name));
    buffer_byte(&probe, ':');
    buffer_span(&probe, json);
    buffer_byte(&probe, '}');
    struct error why = {0};
    if (probe.failed || json_scan(buffer_view(&probe), arena, &object, &why) != 0 || object.count != 1)
        call_fault(call, n, "set field '%.64s' to what is no valid JSON or UTF-8: %.200s", name, why.text);
    else
        overlay_set(call->batch, overlays, arena_span(arena, span_of(name)), arena_span(arena, json));
    buffer_free(&probe);
}

static void host_set_text(struct sluice_call *shared, size_t n, const char *name, struct sluice_text value)
{
    struct buffer json;
    buffer_init(&json, CALL_FIELD_MAX * 2);
    if (value.length <= CALL_FIELD_MAX)
        buffer_json_string(&json, span_of_text(value));
    if (json.failed || value.length > CALL_FIELD_MAX)
        call_fault(call_of(shared), n, "set a text of %zu bytes; the most is %d", value.length, CALL_FIELD_MAX);
    else
        call_lay(call_of(shared), n, "set_text", name, buffer_view(&json));
    buffer_free(&json);
}

static void host_set_int64(struct sluice_call *shared, size_t n, const char *name, int64_t value)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)value);
    call_lay(call_of(shared), n, "set_int64", name, (struct span){digits, (size_t)length});
}

static void host_set_json(struct sluice_call *shared, size_t n, const char *name, struct sluice_text json)
{
    call_lay(call_of(shared), n, "set_json", name, span_of_text(json));
}

static size_t host_add(struct sluice_call *shared, size_t outcome)
{
    struct call *call = call_of(shared);
    struct work *work = call->works[0];
    if (outcome >= call->binding->outcome_count) {
        call_fault_alone(call, "added outcome %zu; it declares %zu", outcome, call->binding->outcome_count);
        return SIZE_MAX;
    }
    if (work->addition_count >= RUN_ADDS_MAX)
        return SIZE_MAX;
    if (work->addition_count == work->addition_size) {
        size_t size = work->addition_size == 0 ? 16 : work->addition_size * 2;
        struct addition *grown = arena_array(call->batch->arena, struct addition, size);
        if (work->addition_count > 0)
            memcpy(grown, work->additions, work->addition_count * sizeof *grown);
        work->additions = grown;
        work->addition_size = size;
    }
    work->additions[work->addition_count] = (struct addition){.outcome = outcome};
    call->last = work;
    call->added++;
    return call->count + work->addition_count++;
}

static void host_reply(struct sluice_call *shared, size_t n, uint32_t status, struct sluice_text json, uint32_t flags)
{
    struct call *call = call_of(shared);
    struct work *work = call_work(call, n, "reply");
    if (work == NULL)
        return;
    if (call->binding->handler->kind != SLUICE_REQUEST || status < 200 || status > 599) {
        call_fault(call, n, "replied %u; a request's handler replies 200..599, others do not", status);
        return;
    }
    work->status = (int)status;
    work->reply = arena_span(call->batch->arena, span_of_text(json));
    work->reply_pending = flags & SLUICE_REPLY_PENDING;
}

static bool call_param(struct call *call, const struct sluice_param *from, struct store_param *ret)
{
    static const enum param_type types[] = {[SLUICE_TYPE_TEXT] = PARAM_TEXT,
                                            [SLUICE_TYPE_INT64] = PARAM_INT8,
                                            [SLUICE_TYPE_DOUBLE] = PARAM_DOUBLE,
                                            [SLUICE_TYPE_BOOL] = PARAM_BOOL,
                                            [SLUICE_TYPE_JSON] = PARAM_JSONB};
    if (from->type == 0 || from->type >= sizeof types / sizeof types[0])
        return false;
    *ret = (struct store_param){.type = types[from->type],
                                .array = from->form != SLUICE_PARAM_VALUE,
                                .values = from->values,
                                .count = from->form == SLUICE_PARAM_VALUE ? 1 : from->count};
    if (from->form == SLUICE_PARAM_EACH) {
        size_t step = call->binding->handler->input_size;
        if (step == 0 || from->offset >= step)
            return false;
        ret->values = (const char *)call->shared.inputs + from->offset;
        ret->count = call->count;
        ret->stride = step;
    }
    return from->form >= SLUICE_PARAM_EACH && from->form <= SLUICE_PARAM_VALUE &&
           (ret->values != NULL || ret->count == 0);
}

static const struct sluice_rows *host_query(struct sluice_call *shared, const struct sluice_sql *sql,
                                            size_t param_count, const struct sluice_param *params)
{
    struct call *call = call_of(shared);
    struct batch *batch = call->batch;
    struct store_param store_params[CALL_PARAMS_MAX];

    if (call->failed || batch->result != STORE_OK)
        return NULL;
    call->failed = true;
    if (batch->connection == NULL || !batch->transaction || !call->binding->handler->uses_store) {
        call_fault_alone(call, "called query() without having declared uses_store");
        return NULL;
    }
    if (sql == NULL || sql->text == NULL || param_count > CALL_PARAMS_MAX) {
        call_fault_alone(call, "called query() with no statement, or with %zu parameters; the most is %d", param_count,
                         CALL_PARAMS_MAX);
        return NULL;
    }
    for (size_t i = 0; i < param_count; i++)
        if (!call_param(call, &params[i], &store_params[i])) {
            call_fault_alone(call, "called query() with a parameter $%zu that has no valid form and type", i + 1);
            return NULL;
        }
    struct statement statement = {.text = sql->text, .plugin = true};
    struct rows *rows = NULL;
    batch->result = connection_exec(batch->connection, &statement, param_count, store_params, &rows, &batch->error);
    if (batch->result != STORE_OK) {
        error_prefix(&batch->error, "handler %s", call->binding->handler_name);
        return NULL;
    }
    call->failed = false;
    return (const struct sluice_rows *)rows;
}

static void host_log(struct sluice_call *shared, uint32_t level, const char *message)
{
    struct call *call = call_of(shared);
    if (message != NULL)
        log_line(level <= SLUICE_LOG_ERROR ? (enum log_level)level : LOG_INFO, call->binding->plugin->name, "%.900s",
                 message);
}

static int64_t host_now_ms(struct sluice_call *shared)
{
    (void)shared;
    return clock_wall_ms();
}

static int64_t host_time_left_ms(struct sluice_call *shared)
{
    int64_t left = call_of(shared)->batch->deadline_ms - clock_monotonic_ms();
    return left > 0 ? left : 0;
}

static const struct sluice_host host = {
    .size = sizeof host,
    .outcome = host_outcome,
    .retry = host_retry,
    .reject = host_reject,
    .set_text = host_set_text,
    .set_int64 = host_set_int64,
    .set_json = host_set_json,
    .add = host_add,
    .reply = host_reply,
    .query = host_query,
    .row_count = call_row_count,
    .is_null = call_is_null,
    .get_int64 = call_get_int64,
    .get_double = call_get_double,
    .get_text = call_get_text,
    .log = host_log,
    .now_ms = host_now_ms,
    .time_left_ms = host_time_left_ms,
    .unavailable = host_unavailable,
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

/* What the handler left unsaid. */
static void call_settle(struct call *call, struct work *work)
{
    const struct sluice_handler *handler = call->binding->handler;
    if (work->verdict == VERDICT_RETRY) {
        work_retry(call->batch, work, work->why);
    } else if (work->verdict == VERDICT_NONE && handler->kind == SLUICE_SCHEDULE) {
        work->verdict = VERDICT_PASSED;
    } else if (handler->kind == SLUICE_REQUEST && work->status == 0 && work->verdict < VERDICT_RETRY) {
        work_condemn(call->batch, work, DEAD_PLUGIN_FAULT, "handler %s returned without a reply",
                     call->binding->handler_name);
    } else if (work->verdict == VERDICT_NONE && handler->kind == SLUICE_REQUEST) {
        work->verdict = VERDICT_PASSED;
    } else if (work->verdict == VERDICT_NONE) {
        work_condemn(call->batch, work, DEAD_PLUGIN_FAULT, "handler %s returned without an outcome for this event",
                     call->binding->handler_name);
    }
}

/* Something outside is away: the whole call comes again, after pauses that double from 200 ms to 30 s. */
static void call_away(struct call *call)
{
    struct binding_run *run = &call->batch->engine->bindings[call->binding->index];
    int times = atomic_fetch_add(&run->away, 1);
    int64_t pause = 200ll << (times > 7 ? 7 : times);
    if (pause > 30000)
        pause = 30000;
    pause += (int64_t)((double)pause * 0.2 * worker_random(call->batch->worker));
    for (size_t i = 0; i < call->count; i++) {
        call->works[i]->verdict = VERDICT_LATER;
        call->works[i]->due_ms = call->batch->now_ms + pause;
    }
    log_rarely(10000, LOG_WARN, "lane", "handler %s waits: %s; next try in %lld ms", call->binding->handler_name,
               call->away, (long long)pause);
}

void batch_call(struct batch *batch, struct binding *binding, struct work **works, size_t count)
{
    size_t step = binding->handler->input_size;
    char *inputs = step > 0 ? arena_alloc(batch->arena, step * count) : NULL;
    struct sluice_event *events = arena_alloc_raw(batch->arena, sizeof *events * count);
    struct call call = {.batch = batch, .binding = binding, .works = arena_array(batch->arena, struct work *, count)};

    for (size_t i = 0; i < count; i++) {
        struct work *work = works[i];
        struct input_meta meta = {
            .attempt = work->item->tries + 1, .retries_left = work->retries_left, .retry_count = work->retry_count};
        struct error error = {0};
        if (binding->input != NULL &&
            input_fill(binding->input, &work->event, &meta, batch->arena, inputs + step * call.count, &error) != 0) {
            work_dead(batch, work, DEAD_BAD_FIELD, "%s", error.text);
            memset(inputs + step * call.count, 0, step);
            continue;
        }
        call_event(work, &events[call.count]);
        call.works[call.count++] = work;
    }
    if (call.count == 0)
        return;
    call.shared = (struct sluice_call){
        .size = sizeof call.shared, .count = (uint32_t)call.count, .host = &host, .events = events, .inputs = inputs};

    struct binding_run *run = &batch->engine->bindings[binding->index];
    int64_t began = clock_monotonic_ns();
    batch->called = true;
    (void)FAILPOINT("lane.handler.before");
    atomic_store_explicit(&batch->worker->call_handler, binding->handler_name, memory_order_relaxed);
    atomic_store_explicit(&batch->worker->call_deadline_ms, clock_monotonic_ms() + binding->timeout_ms,
                          memory_order_relaxed);
    struct suspects *suspects = batch->engine->parts.suspects;
    for (size_t i = 0; suspects != NULL && i < call.count; i++)
        suspects_add(suspects, batch->worker->number, i, call.works[i]->event.id);
    suspects_begin(suspects, batch->worker->number, call.count);
    binding->handler->handle(batch->worker->plugins[binding->plugin->index].state, &call.shared);
    atomic_store_explicit(&batch->worker->call_deadline_ms, 0, memory_order_relaxed);
    (void)FAILPOINT("lane.handler.after");
    series_observe(run->seconds, (double)(clock_monotonic_ns() - began) / 1e9);

    if (batch->result != STORE_OK)
        return;
    if (batch->transaction && connection_tampered(batch->connection)) {
        call_fault_alone(&call, "ended the engine's transaction with a statement of its own");
        return;
    }
    if (call.away != NULL) {
        call_away(&call);
        return;
    }
    if (atomic_load_explicit(&run->away, memory_order_relaxed) != 0)
        atomic_store(&run->away, 0);
    for (size_t i = 0; i < call.count; i++)
        call_settle(&call, call.works[i]);
}
