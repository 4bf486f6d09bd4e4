/*
 * delayed.c - see delayed.h.
 */
#include "operate/delayed.h"

#include "event/correlation.h"
#include "event/record_batch.h"
#include "operate/chain.h"
#include "operate/json.h"
#include "operate/page.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

const struct delayed_filter delayed_filter_none = {.state = -1, .limit = DELAYED_LIMIT};

static const char *const kinds[] = {
    [PARKED_WAITING] = "delayed", [PARKED_STUCK] = "stuck", [PARKED_UNKNOWN] = "unknown", [DELAYED_KEY] = "key"};
enum { KIND_COUNT = sizeof kinds / sizeof kinds[0] };

int delayed_filter_set(const struct operation *operation, struct delayed_filter *filter, struct span name,
                       struct span value, struct error *error)
{
    static const char *const names[] = {"topic", "state", "older", "limit", "after", NULL};
    const char *text = arena_string(operation->arena, value);
    if (span_is(name, "topic")) {
        filter->topic = value; /* also one that the file does not have any more */
        return 0;
    }
    if (span_is(name, "after")) {
        filter->after = value;
        return 0;
    }
    if (span_is(name, "state")) {
        for (filter->state = 0; filter->state < KIND_COUNT; filter->state++)
            if (strcmp(text, kinds[filter->state]) == 0)
                return 0;
        return error_set(error, EINVAL, "state: expected delayed, stuck, unknown or key, got '%.100s'", text);
    }
    if (span_is(name, "older"))
        return page_older(value, &filter->older_ms, error);
    if (span_is(name, "limit"))
        return page_limit(value, operation->arena, DELAYED_LIMIT_MAX, &filter->limit, error);
    return page_unknown(name, operation->arena, names, "topic, state, older, limit or after", error);
}

/* ------------------------------------------------------------------------------------------------------------- rows */

/* The chain whose undo this is. */
static void find_chain(const struct operation *operation, const struct event *event, struct delayed_view *view)
{
    const struct topic *topic = pipeline_topic(operation->pipeline, view->topic);
    for (size_t w = 0; topic != NULL && w < topic->watch_count; w++) {
        const struct chain *chain = topic->watches[w].chain;
        if (topic->watches[w].role == CHAIN_UNDO &&
            correlation_read(&event->data, span_of(chain->correlate), operation->arena, &view->correlation, NULL) ==
                CORRELATION_USABLE)
            view->chain = chain->name;
    }
}

static void read_record(const struct operation *operation, struct span packed, struct delayed_view *view)
{
    struct arena *arena = operation->arena;
    struct record *records = NULL;
    struct event event;
    enum dead_reason reason;
    size_t count = 0;
    view->topic = "?";
    if (record_batch_read(packed, arena, &records, &count, NULL) != 0 || count != 1)
        return;
    view->topic = arena_string(arena, records[0].topic);
    if (records[0].key.at != NULL)
        view->key = arena_span(arena, records[0].key);
    if (event_parse(&records[0], SIZE_MAX / 2, arena, &event, &reason, NULL) != 0)
        return;
    view->event = arena_string(arena, event.id_text);
    view->event_id = event.id;
    if (view->kind == PARKED_STUCK)
        find_chain(operation, &event, view);
    if (view->correlation.length > 0)
        view->correlation = arena_span(arena, view->correlation);
}

static struct delayed_view read_row(const struct operation *operation, const struct rows *rows, size_t row)
{
    struct arena *arena = operation->arena;
    struct event_id id = rows_uuid(rows, row, 2);
    int kind = (int)rows_int64(rows, row, 1);
    struct delayed_view view = {
        .kind = kind,
        .state = kinds[kind < KIND_COUNT ? kind : 0],
        .group = arena_string(arena, rows_span(rows, row, 0)),
        .since_ms = rows_int64(rows, row, 3),
        .due_ms = rows_null(rows, row, 4) ? 0 : rows_int64(rows, row, 4),
        .tries = rows_int64(rows, row, 5),
        .reason = rows_null(rows, row, 6) || rows_span(rows, row, 6).length == 0
                      ? NULL
                      : arena_string(arena, rows_span(rows, row, 6)),
        .behind = rows_int64(rows, row, 8),
        .cancelled = rows_null(rows, row, 9) ? NULL : arena_string(arena, rows_span(rows, row, 9)),
        .group_number = (int16_t)rows_int64(rows, row, 10),
        .head = rows_null(rows, row, 11) ? 0 : rows_int64(rows, row, 11),
    };
    event_id_format(&id, view.id);
    view.place = arena_format(arena, "%lld.%s", (long long)rows_int64(rows, row, 12), view.id);
    read_record(operation, rows_span(rows, row, 7), &view);
    return view;
}

static int read_place(const struct operation *operation, struct span after, struct delayed_query *query,
                      struct error *error)
{
    char *end = NULL;
    const char *text = arena_string(operation->arena, after);
    query->after_us = strtoll(text, &end, 10);
    if (end == text || *end != '.' || !page_id(end + 1))
        return page_bad_place(error);
    query->after_id = event_id_of(span_of(end + 1));
    return 0;
}

int delayed_list(const struct operation *operation, const struct delayed_filter *filter, struct delayed_page *ret,
                 struct error *error)
{
    struct rows *rows = NULL;
    struct delayed_query query = {
        .topic = filter->topic.at == NULL ? SPAN("") : filter->topic,
        .older_ms = filter->older_ms,
        .state = filter->state,
        .limit = (int32_t)filter->limit + 1, /* one more tells whether there is another page */
        .after_us = INT64_MIN,
    };
    int code = operation_needs_store(operation, "events that wait are", error);
    if (code == 0 && filter->after.length > 0)
        code = read_place(operation, filter->after, &query, error);
    if (code != 0)
        return code;
    query.groups = operation_groups(operation, &query.group_count);
    code = operation_result(
        ledger_delayed_list(operation->connection, &query, operation_timeout_ms(operation), &rows, error), error);
    if (code != 0)
        return code;
    bool more;
    size_t count = page_count(rows_count(rows), filter->limit, &more);
    *ret = (struct delayed_page){.list = arena_array(operation->arena, struct delayed_view, count + 1), .count = count};
    for (size_t i = 0; i < count; i++)
        ret->list[i] = read_row(operation, rows, i);
    ret->next = more ? ret->list[count - 1].place : NULL;
    return 0;
}

int delayed_find(const struct operation *operation, struct span id, struct delayed_view *ret, struct error *error)
{
    struct rows *rows = NULL;
    size_t count;
    int length = id.length < 200 ? (int)id.length : 200;
    int code = operation_needs_store(operation, "events that wait are", error);
    if (code != 0)
        return code;
    struct span *groups = operation_groups(operation, &count);
    struct event_id wanted = event_id_of(id);
    code = operation_result(ledger_delayed_find(operation->connection, groups, count, &wanted, 1,
                                                operation_timeout_ms(operation), &rows, error),
                            error);
    if (code != 0)
        return code;
    if (rows_count(rows) == 0) {
        error_set(error, ENOENT, "nothing waits under the id '%.*s'", length, id.at);
        return error_hint(error, "it was handled meanwhile, or is an event's id: `sluice delayed list` shows the ids "
                                 "that are meant here");
    }
    *ret = read_row(operation, rows, 0);
    return 0;
}

/* ------------------------------------------------------------------------------------------------------------- acts */

struct act {
    const struct delayed_view *view;
    const char *words;
};

static int act_end(const struct operation *operation, const struct act *act, size_t count, struct error *error)
{
    const struct delayed_view *view = act->view;
    if (count == 0)
        return error_set(error, ENOENT, "nothing waits under the id '%s' any more: it was handled meanwhile", view->id);
    char *object = arena_format(operation->arena, "%s event %s on %s", view->id,
                                view->event == NULL ? "?" : view->event, view->topic);
    return operation_result(operation_audit(operation, act->words, span_of(object), error), error);
}

static struct parked_id parked_of(const struct delayed_view *view)
{
    return (struct parked_id){view->group_number, event_id_of(span_of(view->id)), view->event_id};
}

static int release(const struct operation *operation, void *context, struct error *error)
{
    const struct act *act = context;
    struct parked_id parked = parked_of(act->view);
    size_t count = 0;
    enum store_result result = act->view->kind == DELAYED_KEY
                                   ? ledger_held_release(operation->connection, parked.group, parked.id, &count, error)
                                   : ledger_parked_due(operation->connection, &parked, 1, &count, error);
    int code = operation_result(result, error);
    return code == 0 ? act_end(operation, act, count, error) : code;
}

static int cancel(const struct operation *operation, void *context, struct error *error)
{
    const struct act *act = context;
    struct parked_id parked = parked_of(act->view);
    struct span words = operation_words(operation);
    struct span why = span_of(arena_format(operation->arena, "cancelled by %.*s", (int)words.length, words.at));
    size_t count = 0, keys = 0;
    enum store_result result = STORE_OK;
    if (act->view->kind == DELAYED_KEY) {
        result = ledger_held_cancel(operation->connection, parked.group, act->view->head, why, &count, error);
        if (result == STORE_OK)
            result = ledger_held_release(operation->connection, parked.group, parked.id, &keys, error);
    } else {
        result = ledger_parked_cancel(operation->connection, &parked, 1, why, &count, error);
    }
    int code = operation_result(result, error);
    return code == 0 ? act_end(operation, act, count, error) : code;
}

int delayed_release(const struct operation *operation, const struct delayed_view *view, struct error *error)
{
    struct act act = {view, "delayed release"};
    struct chain_view chain;
    struct chain_did did;
    if (view->chain != NULL && chain_find(operation, view->chain, view->correlation, &chain, error) == 0 &&
        strcmp(chain.state, "stuck") == 0)
        return chain_act(operation, CHAIN_RESUME, &chain, &did, error);
    return operation_transact(operation, release, &act, error);
}

int delayed_cancel(const struct operation *operation, const struct delayed_view *view, struct error *error)
{
    struct act act = {view, "delayed cancel"};
    if (view->kind == PARKED_UNKNOWN) {
        error_set(error, EBUSY, "the file has no topic '%.249s', so nothing says where its dead letter would go",
                  view->topic);
        return error_hint(error, "say so in the file, retired: {%.249s: dead_letter}, and start it", view->topic);
    }
    return operation_transact(operation, cancel, &act, error);
}

/* ------------------------------------------------------------------------------------------------------------- JSON */

void delayed_json(const struct delayed_view *view, struct buffer *out)
{
    json_text(out, "{", "id", view->id);
    json_text(out, ",", "state", view->state);
    json_text(out, ",", "group", view->group);
    json_text(out, ",", "topic", view->topic);
    json_bytes(out, ",", "key", view->key);
    json_text(out, ",", "event", view->event);
    json_text(out, ",", "reason", view->reason);
    json_text(out, ",", "cancelled", view->cancelled);
    json_time(out, ",", "since", view->since_ms);
    json_time(out, ",", "due", view->due_ms);
    buffer_format(out, ",\"tries\":%lld,\"behind\":%lld}", (long long)view->tries, (long long)view->behind);
}

static void each_json(const void *list, size_t i, struct buffer *out)
{
    delayed_json((const struct delayed_view *)list + i, out);
}

void delayed_page_json(const struct delayed_page *page, struct buffer *out)
{
    page_json("delayed", page->list, page->count, page->next, each_json, out);
}
