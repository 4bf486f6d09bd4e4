/*
 * fake_call.c - one call of a handler against a host that writes down what the handler asked for.
 */
#define SLUICE_UNSTABLE /* it has what the engine has */
#include "fake_inside.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADD_MAX = 10000, FIELD_MAX = 64 * 1024, NAME_MAX_BYTES = 128, WORDS_MAX = 500, SHOWN_MAX = 40 };

struct fake_call *fake_call_of(struct sluice_call *head)
{
    return (struct fake_call *)head;
}

void fake_fault_of(struct fake_call *call, const char *format, ...)
{
    char sentence[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(sentence, sizeof sentence, format, list);
    va_end(list);
    if (call->host->fault == NULL)
        call->host->fault = fake_text(call->host, "handler %s.%s %s", call->host->plugin->name, call->handler->name,
                                      sentence);
}

char *fake_copy(struct fake_host *host, struct sluice_text text)
{
    char *copy = fake_alloc(host, text.length);
    if (text.length > 0)
        memcpy(copy, text.at, text.length);
    return copy;
}

/* The result of event `n`, or with `added` of what add() returned; NULL after noting the fault. */
static struct fake_result *result_of(struct fake_call *call, size_t n, bool added, const char *function)
{
    struct fake_host *host = call->host;
    if (n < call->head.count)
        return &host->results[call->places[n]];
    if (added && n - call->head.count < host->result_count - call->event_count)
        return &host->results[call->event_count + (n - call->head.count)];
    fake_fault_of(call, "called %s() for event %zu of a call that has %zu", function, n,
                  call->head.count + (added ? host->result_count - call->event_count : 0));
    return NULL;
}

/* A plugin's sentence as the engine keeps it. */
static const char *words(struct fake_call *call, const char *why)
{
    return why == NULL || *why == '\0' ? "no reason given" : fake_text(call->host, "%.*s", WORDS_MAX, why);
}

/* ---------------------------------------------------------------------------------------------- outcomes, verdicts */

/* The outcome's name, or NULL after noting the fault. `did`: gave, or added. */
static const char *outcome_name(struct fake_call *call, size_t outcome, const char *did)
{
    size_t count = 0;
    for (const struct sluice_outcome *row = call->handler->outcomes; row != NULL && row->name != NULL; row++)
        count++;
    if (outcome < count)
        return call->handler->outcomes[outcome].name;
    fake_fault_of(call, "%s outcome %zu; it declares %zu", did, outcome, count);
    return NULL;
}

static void host_outcome(struct sluice_call *head, size_t n, size_t outcome)
{
    struct fake_call *call = fake_call_of(head);
    struct fake_result *result = result_of(call, n, false, "outcome");
    const char *name = result == NULL ? NULL : outcome_name(call, outcome, "gave");
    if (name != NULL) {
        result->verdict = FAKE_OUTCOME;
        result->outcome = name;
        result->why = NULL;
    }
}

static void verdict(struct sluice_call *head, size_t n, enum fake_verdict which, const char *why)
{
    struct fake_call *call = fake_call_of(head);
    struct fake_result *result = result_of(call, n, false, which == FAKE_RETRY ? "retry" : "reject");
    if (result == NULL)
        return;
    result->verdict = which;
    result->outcome = NULL;
    result->why = words(call, why);
}

static void host_retry(struct sluice_call *head, size_t n, const char *why)
{
    verdict(head, n, FAKE_RETRY, why);
}

static void host_reject(struct sluice_call *head, size_t n, const char *why)
{
    verdict(head, n, FAKE_REJECT, why);
}

static size_t host_add(struct sluice_call *head, size_t outcome)
{
    struct fake_call *call = fake_call_of(head);
    struct fake_host *host = call->host;
    size_t added = host->result_count - call->event_count;
    const char *name = outcome_name(call, outcome, "added");
    if (name == NULL || added == ADD_MAX)
        return SIZE_MAX;
    host->results = realloc(host->results, (host->result_count + 1) * sizeof *host->results);
    if (host->results == NULL)
        fake_die("out of memory");
    host->results[host->result_count++] = (struct fake_result){.verdict = FAKE_OUTCOME, .outcome = name, .added = true};
    return head->count + added;
}

/* ------------------------------------------------------------------------------------------------- fields, replies */

/* Whether a JSON value is one of the field's type; null is one of every type. */
static bool field_takes(const struct sluice_field *field, const char *json)
{
    json += strspn(json, " \t\r\n");
    char *end;
    errno = 0;
    (void)strtoll(json, &end, 10);
    switch (*json) {
    case 'n':
        return true;
    case '"':
        return field->type == SLUICE_TYPE_TEXT || field->type == SLUICE_TYPE_JSON;
    case 't':
    case 'f':
        return field->type == SLUICE_TYPE_BOOL || field->type == SLUICE_TYPE_JSON;
    case '{':
    case '[':
        return field->type == SLUICE_TYPE_JSON;
    default:
        return field->type == SLUICE_TYPE_DOUBLE || field->type == SLUICE_TYPE_JSON ||
               (field->type == SLUICE_TYPE_INT64 && errno == 0 && end[strspn(end, " \t\r\n")] == '\0');
    }
}

static bool field_declared(struct fake_call *call, const char *name, const char *json)
{
    static const char *const words[] = {[SLUICE_TYPE_TEXT] = "text",
                                        [SLUICE_TYPE_INT64] = "int64",
                                        [SLUICE_TYPE_DOUBLE] = "double",
                                        [SLUICE_TYPE_BOOL] = "bool",
                                        [SLUICE_TYPE_JSON] = "json"};
    const struct sluice_field *field = call->handler->sets;
    while (field != NULL && field->name != NULL && strcmp(field->name, name) != 0)
        field++;
    if (field == NULL || field->name == NULL)
        fake_fault_of(call, "set field '%.64s', which it does not declare in its `sets`", name);
    else if (!field_takes(field, json))
        fake_fault_of(call, "set field '%.64s' to %.*s; its `sets` declare %s", name, SHOWN_MAX, json,
                      words[field->type]);
    else
        return true;
    return false;
}

static void set_put(struct fake_host *host, struct fake_result *result, const char *name, const char *json)
{
    size_t i = 0;
    while (i < result->set_count && strcmp(result->sets[i].name, name) != 0)
        i++;
    if (i == result->set_count) {
        struct fake_set *sets = fake_alloc(host, (result->set_count + 1) * sizeof *sets);
        if (result->set_count > 0)
            memcpy(sets, result->sets, result->set_count * sizeof *sets);
        result->sets = sets;
        result->set_count++;
    }
    result->sets[i] = (struct fake_set){fake_text(host, "%s", name), json};
}

/* `valid`: it is JSON and UTF-8. */
static void set(struct sluice_call *head, const char *function, size_t n, const char *name, const char *json,
                bool valid)
{
    struct fake_call *call = fake_call_of(head);
    struct fake_result *result = result_of(call, n, true, function);
    size_t length = name == NULL ? 0 : strlen(name);
    if (result == NULL)
        return;
    if (length == 0 || length > NAME_MAX_BYTES)
        fake_fault_of(call, "called %s() without a field name of 1..%d bytes", function, NAME_MAX_BYTES);
    else if (strlen(json) > FIELD_MAX)
        fake_fault_of(call, "set field '%.64s' to %zu bytes; the most is %d", name, strlen(json), FIELD_MAX);
    else if (!valid)
        fake_fault_of(call, "set field '%.64s' to what is no valid JSON or UTF-8", name);
    else if (field_declared(call, name, json))
        set_put(call->host, result, name, json);
}

static void host_set_text(struct sluice_call *head, size_t n, const char *name, struct sluice_text value)
{
    char *json = value.at == NULL ? strdup("null") : fake_json_escape(value);
    set(head, "set_text", n, name, fake_text(fake_call_of(head)->host, "%s", json),
        value.at == NULL || fake_utf8_valid(value));
    free(json);
}

static void host_set_int64(struct sluice_call *head, size_t n, const char *name, int64_t value)
{
    set(head, "set_int64", n, name, fake_text(fake_call_of(head)->host, "%" PRId64, value), true);
}

static void host_set_double(struct sluice_call *head, size_t n, const char *name, double value)
{
    struct fake_call *call = fake_call_of(head);
    if (result_of(call, n, true, "set_double") == NULL)
        return;
    char digits[32] = "";
    for (int precision = 15; precision <= 17 && (precision == 15 || strtod(digits, NULL) != value); precision++)
        snprintf(digits, sizeof digits, "%.*g", precision, value);
    if (value - value != 0) /* infinite, or none */
        fake_fault_of(call, "set field '%.64s' to %g, which is no number in JSON", name == NULL ? "" : name, value);
    else
        set(head, "set_double", n, name, fake_text(call->host, "%s", digits), true);
}

static void host_set_bool(struct sluice_call *head, size_t n, const char *name, int32_t value)
{
    struct fake_call *call = fake_call_of(head);
    if (result_of(call, n, true, "set_bool") == NULL)
        return;
    if (value != 0 && value != 1)
        fake_fault_of(call, "set field '%.64s' to the bool %" PRId32 ", expected 0 or 1", name == NULL ? "" : name,
                      value);
    else
        set(head, "set_bool", n, name, value != 0 ? "true" : "false", true);
}

static void host_set_json(struct sluice_call *head, size_t n, const char *name, struct sluice_text json)
{
    bool valid = json.at != NULL && fake_json_valid(json);
    set(head, "set_json", n, name, json.at == NULL ? "" : fake_copy(fake_call_of(head)->host, json), valid);
}

static void host_reply(struct sluice_call *head, size_t n, uint32_t status, struct sluice_text json, uint32_t flags)
{
    struct fake_call *call = fake_call_of(head);
    struct fake_result *result = result_of(call, n, false, "reply");
    if (result == NULL)
        return;
    if (call->handler->kind != SLUICE_REQUEST || status < 200 || status > 599)
        fake_fault_of(call, "replied %" PRIu32 "; a request's handler replies 200..599, others do not", status);
    else if (json.at == NULL || !fake_json_valid(json))
        fake_fault_of(call, "replied with what is no valid JSON");
    else {
        result->status = status;
        result->reply = fake_copy(call->host, json);
        result->reply_flags = flags;
    }
}

/* ---------------------------------------------------------------------------------------------------- log and time */

static void host_log(struct sluice_call *head, uint32_t level, const char *message)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    struct fake_host *host = fake_call_of(head)->host;
    char *line;
    if (message == NULL)
        return;
    if (asprintf(&line, "%s%s %s\n", fake_log(host), levels[level < 4 ? level : SLUICE_LOG_INFO], message) < 0)
        fake_die("out of memory");
    free(host->log);
    host->log = line;
}

static int64_t host_now_ms(struct sluice_call *head)
{
    return fake_call_of(head)->host->now_ms;
}

static int64_t host_time_left_ms(struct sluice_call *head)
{
    (void)head;
    return 10000;
}

static void host_unavailable(struct sluice_call *head, const char *why)
{
    struct fake_call *call = fake_call_of(head);
    call->unavailable = words(call, why);
}

static void host_fault(struct sluice_call *head, const char *why)
{
    struct fake_call *call = fake_call_of(head);
    fake_fault_of(call, "failed: %s", words(call, why));
}

static const struct sluice_host host_table = {
    .size = sizeof(struct sluice_host),
    .outcome = host_outcome,
    .retry = host_retry,
    .reject = host_reject,
    .set_text = host_set_text,
    .set_int64 = host_set_int64,
    .set_json = host_set_json,
    .add = host_add,
    .reply = host_reply,
    .query = fake_host_query,
    .row_count = fake_host_row_count,
    .is_null = fake_host_is_null,
    .get_int64 = fake_host_get_int64,
    .get_double = fake_host_get_double,
    .get_text = fake_host_get_text,
    .log = host_log,
    .now_ms = host_now_ms,
    .time_left_ms = host_time_left_ms,
    .unavailable = host_unavailable,
    .set_double = host_set_double,
    .set_bool = host_set_bool,
    .fault = host_fault,
};

/* ----------------------------------------------------------------------------------------------------------- a call */

static struct sluice_text text_or(const char *text, const char *otherwise)
{
    const char *at = text == NULL ? otherwise : text;
    return (struct sluice_text){at, strlen(at)};
}

static struct sluice_event event_make(struct fake_host *host, const struct fake_event *from, size_t n)
{
    struct sluice_event event = {
        .size = sizeof event,
        .attempt = from->attempt == 0 ? 1 : (uint32_t)from->attempt,
        .id = text_or(from->id, fake_text(host, "event-%zu", n)),
        .topic = text_or(from->topic, "test.topic"),
        .key = text_or(from->key, ""),
        .data = text_or(from->data, "{}"),
        .timestamp_ms = from->timestamp_ms == 0 ? 1700000000000 : from->timestamp_ms,
        .retries_left = from->retries_left == FAKE_NO_LADDER   ? -1
                        : from->retries_left == FAKE_LAST_STEP ? 0
                                                               : from->retries_left,
        .retry_count = from->retry_count,
    };
    event.name = text_or(from->name, event.topic.at);
    if (!fake_json_valid(event.data) || *event.data.at != '{')
        fake_die("the data of event %zu is no JSON object: %s", n, event.data.at);
    char *value = fake_text(host, "{\"eventId\":\"%s\",\"eventName\":\"%s\",\"timestamp\":%" PRId64 ",\"data\":%s}",
                            event.id.at, event.name.at, event.timestamp_ms, event.data.at);
    event.value = text_or(value, "");
    return event;
}

static const struct sluice_handler *handler_find(const struct fake_host *host, const char *name)
{
    const struct sluice_handler *handler = host->plugin->handlers;
    while (handler->name != NULL && strcmp(handler->name, name) != 0)
        handler++;
    if (handler->name == NULL)
        fake_die("plugin '%s' has no handler '%s'", host->plugin->name, name);
    return handler;
}

static void call_reset(struct fake_host *host, size_t count)
{
    if (host->fault != NULL && !host->fault_seen)
        fake_die("the plugin is at fault, and the test did not ask: %s", host->fault);
    fake_memory_free(&host->memory);
    free(host->results);
    free(host->queries);
    free(host->log);
    host->results = calloc(count, sizeof *host->results);
    if (host->results == NULL)
        fake_die("out of memory");
    host->result_count = count;
    host->queries = NULL;
    host->query_count = 0;
    host->log = NULL;
    host->fault = NULL;
    host->fault_seen = false;
}

static void call_moment(struct fake_call *call, enum fake_moment moment)
{
    struct fake_host *host = call->host;
    const char *why = NULL;
    if (host->has_source && host->source.moment != NULL &&
        host->source.moment(host->source.context, host, moment, &why) != 0)
        call->failed = why;
}

/* What the engine would find wrong after the handler returned. */
static void call_judge(struct fake_call *call)
{
    struct fake_host *host = call->host;
    for (size_t n = 0; n < call->head.count; n++) {
        struct fake_result *result = &host->results[call->places[n]];
        if (call->unavailable != NULL)
            *result = (struct fake_result){.verdict = FAKE_UNAVAILABLE, .why = call->unavailable};
        else if (call->failed != NULL)
            *result = (struct fake_result){.verdict = FAKE_STATEMENT_FAILED, .why = call->failed};
        else if (call->handler->kind == SLUICE_EVENT && result->verdict == FAKE_NOTHING)
            fake_fault_of(call, "returned without an outcome for this event: %zu", n);
        else if (call->handler->kind == SLUICE_REQUEST && result->status == 0 &&
                 (result->verdict == FAKE_NOTHING || result->verdict == FAKE_OUTCOME))
            fake_fault_of(call, "returned without a reply: to request %zu", n);
    }
}

const struct fake_result *fake_call(struct fake_host *host, const char *name, size_t count,
                                    const struct fake_event *events)
{
    const struct sluice_handler *handler = handler_find(host, name);
    if (count == 0 || count > handler->max_events)
        fake_die("handler '%s' takes 1 to %" PRIu32 " events a call, not %zu", name, handler->max_events, count);
    call_reset(host, count);
    struct fake_call call = {.host = host, .handler = handler, .event_count = count};
    struct sluice_event *seen = fake_alloc(host, count * sizeof *seen);
    char *inputs = fake_alloc(host, count * handler->input_size);
    call.places = fake_alloc(host, count * sizeof *call.places);
    size_t good = 0;
    for (size_t i = 0; i < count; i++) {
        static const struct fake_event empty;
        seen[good] = event_make(host, events == NULL ? &empty : &events[i], i);
        for (size_t other = 0; other < good; other++)
            if (seen[good].key.length > 0 && strcmp(seen[other].key.at, seen[good].key.at) == 0)
                fake_die("a call never holds two events of one key: '%s'", seen[good].key.at);
        char *input = inputs + good * handler->input_size;
        const char *wrong = fake_input(host, handler, &seen[good], input);
        if (wrong == NULL) {
            call.places[good++] = i;
            continue;
        }
        host->results[i] = (struct fake_result){.verdict = FAKE_BAD_INPUT, .why = wrong};
        memset(input, 0, handler->input_size);
    }
    call.head = (struct sluice_call){
        .size = sizeof call.head, .count = (uint32_t)good, .host = &host_table, .events = seen, .inputs = inputs};
    if (good > 0) {
        call_moment(&call, FAKE_BEGIN);
        handler->handle(host->state, &call.head);
        call_moment(&call, call.failed == NULL && call.unavailable == NULL && host->fault == NULL ? FAKE_COMMIT
                                                                                                  : FAKE_ROLLBACK);
        call_judge(&call);
    }
    for (size_t n = 0; n < host->result_count; n++) {
        host->results[n].host = host;
        host->results[n].n = n;
    }
    return host->results;
}

const char *fake_fault(struct fake_host *host)
{
    host->fault_seen = true;
    return host->fault;
}

const char *fake_log(const struct fake_host *host)
{
    return host->log == NULL ? "" : host->log;
}

void fake_clock(struct fake_host *host, int64_t now_ms)
{
    host->now_ms = now_ms;
}
