/*
 * host.c - see host.h.
 */
#define SLUICE_UNSTABLE /* the engine has all of the header */
#include "batch/host.h"

#include "base/clock.h"
#include "base/log.h"
#include "batch/stopped.h"
#include "guard/watch.h"
#include "plugin/field.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    HOST_WORDS_MAX = 500,       /* bytes of a plugin's sentence */
    HOST_FIELD_MAX = 64 * 1024, /* bytes of a field that is set, as JSON */
    HOST_NAME_MAX = 128,        /* bytes of its name */
};

_Static_assert(sizeof(struct span) == sizeof(struct sluice_text) &&
                   offsetof(struct span, length) == offsetof(struct sluice_text, length),
               "a text of the contract is a span");

static struct span span_of_text(struct sluice_text text)
{
    return (struct span){text.at, text.length};
}

/* A plugin's sentence: bounded, and without what is no text (it goes into headers, logs and answers). */
static char *words(struct batch *batch, const char *why)
{
    if (why == NULL || *why == '\0')
        return arena_string(batch->arena, SPAN("no reason given"));
    return text_clean(arena_string(batch->arena, (struct span){why, strnlen(why, HOST_WORDS_MAX)}));
}

static struct work *call_work(struct call *call, size_t n, const char *what)
{
    if (n < call->count)
        return call->works[n];
    call_fault_alone(call, "called %s() for event %zu of a call that has %zu", what, n, call->count);
    return NULL;
}

/* For the master, should the call hang. */
static void call_decided(const struct call *call, size_t n)
{
    suspects_progress(call->batch->env->suspects, call->batch->env->lane_number, n);
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
    call_decided(call, n);
    work->verdict = VERDICT_OUTCOME;
    work->outcome = outcome;
}

static void host_retry(struct sluice_call *shared, size_t n, const char *why)
{
    struct call *call = call_of(shared);
    struct work *work = call_work(call, n, "retry");
    if (work != NULL) {
        call_decided(call, n);
        work->verdict = VERDICT_RETRY;
        work->why = words(call->batch, why);
    }
}

static void host_reject(struct sluice_call *shared, size_t n, const char *why)
{
    struct call *call = call_of(shared);
    struct work *work = call_work(call, n, "reject");
    if (work == NULL)
        return;
    call_decided(call, n);
    work_dead(call->batch, work, DEAD_REJECTED, "%s", words(call->batch, why));
}

static void host_unavailable(struct sluice_call *shared, const char *why)
{
    struct call *call = call_of(shared);
    call->unavailable = words(call->batch, why);
}

static void host_fault(struct sluice_call *shared, const char *why)
{
    struct call *call = call_of(shared);
    call_fault_alone(call, "failed: %s", words(call->batch, why));
}

/* Where fields of event n are set: the event's own output, or an addition. */
static struct overlays *call_overlays(struct call *call, size_t n, const char *what)
{
    if (n < call->count)
        return &call->works[n]->overlays;
    if (call->last != NULL && n - call->count < call->last->addition_count)
        return &call->last->additions[n - call->count].overlays;
    call_fault_alone(call, "called %s() for event %zu of a call that has %zu", what, n, call->count + call->added);
    return NULL;
}

/* Whether a value of this kind is one of the field's type, as `validate` relies on; null is one of every type. */
static bool field_takes(const struct sluice_field *field, const struct json_member *value)
{
    int64_t integer;
    switch (value->kind) {
    case JSON_KIND_NULL:
        return true;
    case JSON_KIND_STRING:
        return field->type == SLUICE_TYPE_TEXT || field->type == SLUICE_TYPE_JSON;
    case JSON_KIND_NUMBER:
        return field->type == SLUICE_TYPE_DOUBLE || field->type == SLUICE_TYPE_JSON ||
               (field->type == SLUICE_TYPE_INT64 && json_int64(value->value, &integer) == 0);
    case JSON_KIND_TRUE:
    case JSON_KIND_FALSE:
        return field->type == SLUICE_TYPE_BOOL || field->type == SLUICE_TYPE_JSON;
    default:
        return field->type == SLUICE_TYPE_JSON;
    }
}

/* False, with the fault noted: the handler's `sets` have no such field, or one of another type. */
static bool field_declared(struct call *call, size_t n, const char *name, const struct json_member *value)
{
    const struct sluice_field *field = call->binding->handler->sets;
    while (field != NULL && field->name != NULL && strcmp(field->name, name) != 0)
        field++;
    if (field == NULL || field->name == NULL)
        call_fault(call, n, "set field '%.64s', which it does not declare in its `sets`", name);
    else if (!field_takes(field, value))
        call_fault(call, n, "set field '%.64s' to %.*s; its `sets` declare %s", name,
                   value->value.length > 40 ? 40 : (int)value->value.length, value->value.at,
                   field_type_word(field->type));
    else
        return true;
    return false;
}

/* `json` must be a valid JSON value: checked by the same scanner that checks events. */
static void set_output_field(struct call *call, size_t n, const char *what, const char *name, struct span json)
{
    struct overlays *overlays = call_overlays(call, n, what);
    if (overlays == NULL)
        return;
    size_t length = name == NULL ? 0 : strlen(name);
    if (length == 0 || length > HOST_NAME_MAX) {
        call_fault(call, n, "called %s() without a field name of 1..%d bytes", what, HOST_NAME_MAX);
        return;
    }
    if (json.length > HOST_FIELD_MAX) {
        call_fault(call, n, "set field '%.64s' to %zu bytes; the most is %d", name, json.length, HOST_FIELD_MAX);
        return;
    }
    struct arena *arena = call->batch->arena;
    struct buffer probe;
    struct json_object object;
    buffer_init(&probe, HOST_FIELD_MAX * 2);
    buffer_byte(&probe, '{');
    buffer_json_string(&probe, span_of(name));
    buffer_byte(&probe, ':');
    buffer_span(&probe, json);
    buffer_byte(&probe, '}');
    struct error why = {0};
    if (probe.failed || json_scan(buffer_view(&probe), arena, &object, &why) != 0 || object.count != 1)
        call_fault(call, n, "set field '%.64s' to what is no valid JSON or UTF-8: %.200s", name, why.text);
    else if (field_declared(call, n, name, &object.members[0]))
        overlay_set(arena, overlays, arena_span(arena, span_of(name)), arena_span(arena, json));
    buffer_free(&probe);
}

static void host_set_text(struct sluice_call *shared, size_t n, const char *name, struct sluice_text value)
{
    struct buffer json;
    if (value.at == NULL || value.length > HOST_FIELD_MAX) { /* no text, or more than is worth a copy */
        struct span null = value.at == NULL ? SPAN("null") : (struct span){value.at, value.length + 2};
        set_output_field(call_of(shared), n, "set_text", name, null);
        return;
    }
    buffer_init(&json, HOST_FIELD_MAX * 6 + 2); /* each byte may be \u0001 */
    buffer_json_string(&json, span_of_text(value));
    set_output_field(call_of(shared), n, "set_text", name, buffer_view(&json));
    buffer_free(&json);
}

static void host_set_int64(struct sluice_call *shared, size_t n, const char *name, int64_t value)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)value);
    set_output_field(call_of(shared), n, "set_int64", name, (struct span){digits, (size_t)length});
}

static void host_set_double(struct sluice_call *shared, size_t n, const char *name, double value)
{
    struct call *call = call_of(shared);
    char digits[32];
    if (call_overlays(call, n, "set_double") == NULL)
        return;
    if (!isfinite(value)) {
        call_fault(call, n, "set field '%.64s' to %g, which is no number in JSON", name == NULL ? "" : name, value);
        return;
    }
    int length = 0, precision = 15; /* the fewest digits that are this double */
    do
        length = snprintf(digits, sizeof digits, "%.*g", precision, value);
    while (strtod(digits, NULL) != value && precision++ < 17);
    set_output_field(call, n, "set_double", name, (struct span){digits, (size_t)length});
}

static void host_set_bool(struct sluice_call *shared, size_t n, const char *name, int32_t value)
{
    struct call *call = call_of(shared);
    if (call_overlays(call, n, "set_bool") == NULL)
        return;
    if (value != 0 && value != 1) {
        call_fault(call, n, "set field '%.64s' to the bool %d, expected 0 or 1", name == NULL ? "" : name, value);
        return;
    }
    set_output_field(call, n, "set_bool", name, value != 0 ? SPAN("true") : SPAN("false"));
}

static void host_set_json(struct sluice_call *shared, size_t n, const char *name, struct sluice_text json)
{
    set_output_field(call_of(shared), n, "set_json", name, span_of_text(json));
}

static size_t host_add(struct sluice_call *shared, size_t outcome)
{
    struct call *call = call_of(shared);
    struct work *work = call->works[0];
    if (outcome >= call->binding->outcome_count) {
        call_fault_alone(call, "added outcome %zu; it declares %zu", outcome, call->binding->outcome_count);
        return SIZE_MAX;
    }
    if (work->addition_count >= CALL_ADDS_MAX)
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
    /* Not event/json.h's scan: an answer may be larger than an event. */
    static const struct sluice_field body = {.type = SLUICE_TYPE_JSON};
    struct sluice_text checked;
    if (json.at == NULL || field_parse(&body, span_of_text(json), &checked, NULL) != 0) {
        call_fault(call, n, "replied with what is no valid JSON");
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
        size_t step = call->binding->handler->input_size, size = field_member_size(from->type);
        if (size > step || from->offset > step - size)
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
    struct store_param store_params[STORE_PARAMS_MAX];

    watch_child(); /* the connection is its parent's */
    if (call->failed || batch->condemned || batch->result != STORE_OK)
        return NULL;
    call->failed = true;
    if (batch->connection == NULL || !batch->transaction || !call->binding->handler->uses_store) {
        call_fault_alone(call, "called query() without having declared uses_store");
        return NULL;
    }
    if (sql == NULL || sql->text == NULL || param_count > STORE_PARAMS_MAX) {
        call_fault_alone(call, "called query() with no statement, or with %zu parameters; the most is %d", param_count,
                         STORE_PARAMS_MAX);
        return NULL;
    }
    for (size_t i = 0; i < param_count; i++)
        if (!call_param(call, &params[i], &store_params[i])) {
            call_fault_alone(call, "called query() with a parameter $%zu that has no valid form and type", i + 1);
            return NULL;
        }
    session_queried(batch, call->binding);
    struct statement statement = {.text = sql->text, .plugin = true};
    struct rows *rows = NULL;
    batch->result = connection_exec(batch->connection, &statement, param_count, store_params, &rows, &batch->error);
    if (batch->result != STORE_OK && session_left(batch))
        return NULL;
    if (batch->result != STORE_OK) {
        error_prefix(&batch->error, "handler %s", call->binding->handler_name);
        batch->failed_binding = call->binding;
        batch->failed_sql = sql->text;
        return NULL;
    }
    stopped_passed(batch->env, call->binding, sql->text);
    call->failed = false;
    call->queried = true;
    return host_rows(call, rows);
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
    const struct batch *batch = call_of(shared)->batch;
    int64_t deadline = atomic_load_explicit(&batch->env->call_deadline_ms, memory_order_relaxed);
    int64_t left = (deadline < batch->deadline_ms ? deadline : batch->deadline_ms) - clock_monotonic_ms();
    return left > 0 ? left : 0;
}

const struct sluice_host host_functions = {
    .size = sizeof host_functions,
    .outcome = host_outcome,
    .retry = host_retry,
    .reject = host_reject,
    .set_text = host_set_text,
    .set_int64 = host_set_int64,
    .set_json = host_set_json,
    .add = host_add,
    .reply = host_reply,
    .query = host_query,
    .row_count = host_row_count,
    .is_null = host_is_null,
    .get_int64 = host_get_int64,
    .get_double = host_get_double,
    .get_text = host_get_text,
    .log = host_log,
    .now_ms = host_now_ms,
    .time_left_ms = host_time_left_ms,
    .unavailable = host_unavailable,
    .set_double = host_set_double,
    .set_bool = host_set_bool,
    .fault = host_fault,
};
