/*
 * request.c - see request.h.
 *
 * A request's body, path and query become one JSON object: the body is scanned once, and what the path and the query
 * add is written behind its members. A name given twice is refused like any duplicate key. A path parameter of an
 * integer field is written as a number, so that handlers see one type.
 */
#include "batch/request.h"

#include "base/clock.h"
#include "event/json.h"

#include <stdio.h>

enum { REQUEST_BODY_MAX = 16 * 1024 * 1024, REQUEST_AGAIN_MS = 10, REQUEST_AGAIN_MAX_MS = 250 };

static bool is_integer_field(const struct binding *binding, struct span name)
{
    for (const struct sluice_field *field = binding->input; field != NULL && field->name != NULL; field++)
        if (field->nested == 0 && span_is(name, field->name))
            return field->type == SLUICE_TYPE_INT64;
    return false;
}

/* How many digits stand at text.at[at]. */
static size_t digits_at(struct span text, size_t at)
{
    size_t count = 0;
    while (at + count < text.length && text.at[at + count] >= '0' && text.at[at + count] <= '9')
        count++;
    return count;
}

/* Whether the text is a number as JSON writes it, of at most 19 characters; input_fill() judges whether it fits. */
static bool is_json_number(struct span text)
{
    size_t at = text.length > 0 && text.at[0] == '-';
    size_t whole = digits_at(text, at);
    if (whole == 0 || text.length > 19 || (whole > 1 && text.at[at] == '0'))
        return false;
    at += whole;
    if (at < text.length && text.at[at] == '.') {
        size_t fraction = digits_at(text, at + 1);
        if (fraction == 0)
            return false;
        at += 1 + fraction;
    }
    if (at < text.length && (text.at[at] == 'e' || text.at[at] == 'E')) {
        at++;
        at += at < text.length && (text.at[at] == '+' || text.at[at] == '-');
        size_t exponent = digits_at(text, at);
        if (exponent == 0)
            return false;
        at += exponent;
    }
    return at == text.length;
}

static bool is_text(struct span span)
{
    return span_utf8(span) == span.length && (span.length == 0 || memchr(span.at, 0, span.length) == NULL);
}

/* An object that is being written. Its text may move while it grows, so members get their spans at the end. */
struct object_writer {
    struct buffer text;
    struct json_member *members; /* with the lengths of their spans */
    struct {
        size_t name, value;
    } * at; /* where they begin in `text` */
    size_t count;
};

static void member_begin(struct object_writer *writer)
{
    buffer_byte(&writer->text, writer->count == 0 ? '{' : ',');
}

static void member_add(struct object_writer *writer, struct json_member member, size_t name_at, size_t value_at)
{
    member.value.length = writer->text.length - value_at;
    writer->at[writer->count].name = name_at;
    writer->at[writer->count].value = value_at;
    writer->members[writer->count++] = member;
}

static void write_member(struct object_writer *writer, const struct json_member *member)
{
    member_begin(writer);
    buffer_byte(&writer->text, '"');
    size_t name_at = writer->text.length;
    buffer_span(&writer->text, member->name);
    buffer_text(&writer->text, "\":");
    size_t value_at = writer->text.length;
    buffer_span(&writer->text, member->value);
    member_add(writer, *member, name_at, value_at);
}

static void write_param(struct object_writer *writer, const struct binding *binding, const struct gateway_param *param)
{
    bool number = is_integer_field(binding, param->name) && is_json_number(param->value);
    struct json_member member = {.kind = number ? JSON_KIND_NUMBER : JSON_KIND_STRING};
    member_begin(writer);
    size_t name_at = writer->text.length + 1;
    buffer_json_string(&writer->text, param->name);
    member.name.length = writer->text.length - name_at - 1;
    member.name_escaped = member.name.length != param->name.length;
    buffer_byte(&writer->text, ':');
    size_t value_at = writer->text.length;
    if (number)
        buffer_span(&writer->text, param->value);
    else
        buffer_json_string(&writer->text, param->value);
    member.value_escaped = !number && writer->text.length - value_at != param->value.length + 2;
    member_add(writer, member, name_at, value_at);
}

/* The one that names the topic is no part of the event. */
static bool is_address(const struct binding *binding, const struct gateway_param *param)
{
    return binding->emit_parameter != NULL && span_is(param->name, binding->emit_parameter);
}

/* What keeps the parameters from standing in one object with the body; NULL: nothing. */
static const char *params_refused(const struct gateway_request *request, const struct binding *binding,
                                  const struct json_object *body, struct arena *arena)
{
    for (size_t i = 0; i < request->param_count; i++) {
        const struct gateway_param *param = &request->params[i];
        bool twice = !is_address(binding, param) && json_find(body, param->name) != NULL;
        for (size_t j = 0; j < i; j++)
            twice = twice || span_equal(request->params[j].name, param->name);
        if (!is_text(param->name) || !is_text(param->value))
            return "a parameter is no UTF-8 text";
        if (twice)
            return arena_format(arena, "'%.*s' is given twice", (int)param->name.length, param->name.at);
    }
    return NULL;
}

static void request_data(struct batch *batch, struct work *work)
{
    const struct gateway_request *request = work->item->request;
    struct json_object body = {0};
    struct error error = {0};

    if (request->body.length > 0 && json_scan_inner(request->body, batch->arena, &body, NULL, &error) != 0) {
        work_dead(batch, work, DEAD_BAD_JSON, "the body is no JSON object: %s", error.text);
        return;
    }
    const char *refused = params_refused(request, work->item->binding, &body, batch->arena);
    if (refused != NULL) {
        work_dead(batch, work, DEAD_BAD_JSON, "body, path and query do not fit together: %s", refused);
        return;
    }
    struct object_writer writer = {
        .members = arena_array(batch->arena, struct json_member, body.count + request->param_count + 1)};
    writer.at = arena_alloc_raw(batch->arena, (body.count + request->param_count + 1) * sizeof *writer.at);
    buffer_init(&writer.text, REQUEST_BODY_MAX);
    for (size_t i = 0; i < body.count; i++)
        write_member(&writer, &body.members[i]);
    for (size_t i = 0; i < request->param_count; i++)
        if (!is_address(work->item->binding, &request->params[i]))
            write_param(&writer, work->item->binding, &request->params[i]);
    buffer_text(&writer.text, writer.count == 0 ? "{}" : "}");
    struct span text = arena_span(batch->arena, buffer_view(&writer.text));
    if (writer.text.failed)
        work_dead(batch, work, DEAD_TOO_LARGE, "body, path and query have more than %d bytes", REQUEST_BODY_MAX);
    for (size_t i = 0; i < writer.count && !writer.text.failed; i++) {
        writer.members[i].name.at = text.at + writer.at[i].name;
        writer.members[i].value.at = text.at + writer.at[i].value;
    }
    if (!writer.text.failed)
        work->event.data = (struct json_object){.text = text, .members = writer.members, .count = writer.count};
    buffer_free(&writer.text);
}

static void event_base(struct batch *batch, struct work *work, const char *id)
{
    static const struct json_object nothing = {.text = {"{}", 2}};
    work->retries_left = -1;
    work->event.record = &work->item->record;
    work->event.timestamp_ms = batch->wall_ms;
    work->event.data = nothing;
    work->event.name = span_of(work->item->binding->id);
    work->event.id_text = span_of(id);
    work->event.id = event_id_of(work->event.id_text);
}

void tick_event(struct batch *batch, struct work *work)
{
    const struct item *item = work->item;
    event_base(batch, work, arena_format(batch->arena, "%.40s-%lld", item->schedule->name, (long long)item->slot_ms));
}

bool request_has_idempotency_key(const struct item *item)
{
    return item->request->idempotency_key.length > 0;
}

/* Of all that the request says. */
static uint64_t payload_hash(const struct work *work)
{
    const struct gateway_request *request = work->item->request;
    uint64_t hash = span_hash(work->event.data.text);
    for (size_t i = 0; i < request->param_count; i++)
        if (is_address(work->item->binding, &request->params[i]))
            hash ^= span_hash(request->params[i].value);
    return hash;
}

/* The same in all processes of a file, and another in other files on the same database with the same request. */
static void id_of_key(const struct batch *batch, const struct item *item, char ret_text[37])
{
    const struct pipeline *config = batch->env->config;
    const char *who = arena_format(batch->arena, "%s/%s %s", config->engine.group, config->name, item->binding->id);
    event_id_derive(item->request->idempotency_key, span_of(who), SPAN("idempotency-key"), 0, ret_text);
}

void request_event(struct batch *batch, struct work *work)
{
    const struct item *item = work->item;
    char *id = arena_alloc(batch->arena, 64);
    if (request_has_idempotency_key(item))
        id_of_key(batch, item, id);
    else
        event_id_new(batch->wall_ms, id);
    event_base(batch, work, id);
    request_data(batch, work);
    if (request_has_idempotency_key(item))
        work->event.payload_hash = payload_hash(work);
}

void request_repeated(struct batch *batch, struct work *work, const struct claim *claim)
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

static void answer(struct gateway_request *request, int status, struct span json)
{
    atomic_fetch_sub(request->waiting, 1);
    request->done(request, status, json);
}

int request_dead_status(enum dead_reason reason)
{
    switch (reason) {
    case DEAD_BAD_JSON:
    case DEAD_NOT_OBJECT:
    case DEAD_TOO_DEEP:
    case DEAD_BAD_FIELD:
    case DEAD_BAD_CORRELATION:
        return 400;
    case DEAD_TOO_LARGE:
        return 413;
    case DEAD_REJECTED:
        return 422;
    case DEAD_RETRIES_EXHAUSTED:
    case DEAD_DEADLINE:
        return 503;
    default:
        return 500;
    }
}

static void answer_error(struct gateway_request *request, int status, const char *word, const char *why)
{
    struct buffer json;
    buffer_init(&json, 16 * 1024);
    json_error(&json, word, why);
    buffer_byte(&json, '}');
    answer(request, status, buffer_view(&json));
    buffer_free(&json);
}

bool request_answer(struct batch *batch, struct work *work, int64_t *ret_again_ms)
{
    struct gateway_request *request = work->item->request;
    if (work->verdict == VERDICT_DEAD) {
        struct request_refusal refusal = {request_dead_status(work->reason), event_dead_word(work->reason)};
        if (work->refusal != NULL)
            refusal = *work->refusal;
        answer_error(request, refusal.status, refusal.word, work->why);
        return true;
    }
    int64_t left = request->arrived_ms + request->wait_ms - clock_monotonic_ms();
    if (work->reply_pending && left > 0 && !atomic_load(&request->left) && !atomic_load(batch->env->draining)) {
        int64_t pause = REQUEST_AGAIN_MS + 5ll * request->asked++;
        pause = pause > REQUEST_AGAIN_MAX_MS ? REQUEST_AGAIN_MAX_MS : pause;
        *ret_again_ms = clock_monotonic_ms() + (pause < left ? pause : left);
        return false;
    }
    answer(request, work->status, work->reply);
    return true;
}

static int64_t until_ms(const struct batch *batch, const struct gateway_request *request)
{
    int64_t timeout_ms = batch->env->config->http.timeout_ms;
    return request->arrived_ms + (request->wait_ms > timeout_ms ? request->wait_ms : timeout_ms);
}

int64_t request_due_ms(const struct batch *batch, const struct item *item, int64_t due_ms)
{
    if (item->source != ITEM_REQUEST || due_ms < until_ms(batch, item->request))
        return due_ms;
    return until_ms(batch, item->request);
}

bool request_answer_if_late(const struct batch *batch, const struct item *item, const char *why)
{
    if (item->source != ITEM_REQUEST || clock_monotonic_ms() < until_ms(batch, item->request))
        return false;
    answer_error(item->request, 503, "unavailable", why);
    return true;
}

void request_refuse(const struct item *item)
{
    answer_error(item->request, 503, "stopping", "this process is stopping; nothing was done: ask again");
}
