/*
 * chain.c - see chain.h.
 */
#include "operate/chain.h"

#include "base/clock.h"
#include "flow/chain.h"
#include "operate/json.h"
#include "operate/page.h"
#include "pipeline/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SECONDS_MAX = 1000000000, /* thirty years */
    CHAIN_HASH_TEXT = 13,     /* of a definition, as it is shown */
};

const struct chain_filter chain_filter_none = {.state = -1, .limit = CHAIN_LIMIT};

/* What is asked for by name. */
static const struct {
    const char *name;
    int state;
} states[] = {{"running", CHAIN_RUNNING},
              {"aborted", CHAIN_ABORTED},
              {"stuck", CHAIN_STUCK},
              {"undone", CHAIN_UNDONE},
              {"closed", CHAIN_CLOSED}};

static int no_chain(const struct operation *operation, const char *name, struct error *error)
{
    const struct pipeline *pipeline = operation->pipeline;
    const char **names = arena_array(operation->arena, const char *, pipeline->chain_count + 1);
    for (size_t i = 0; i < pipeline->chain_count; i++)
        names[i] = pipeline->chains[i].name;
    const char *near = nearest_name(name, names);
    return error_set(error, ENOENT, "the pipeline has no chain '%.100s'%s%s%s", name,
                     near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
}

static const struct chain *chain_of(const struct pipeline *pipeline, const char *name)
{
    for (size_t i = 0; i < pipeline->chain_count; i++)
        if (strcmp(pipeline->chains[i].name, name) == 0)
            return &pipeline->chains[i];
    return NULL;
}

int chain_filter_set(const struct operation *operation, struct chain_filter *filter, struct span name,
                     struct span value, struct error *error)
{
    static const char *const names[] = {"chain", "state", "older", "limit", "after", NULL};
    const char *text = arena_string(operation->arena, value);
    if (span_is(name, "chain")) {
        filter->chain = text;
        return chain_of(operation->pipeline, text) != NULL ? 0 : no_chain(operation, text, error);
    }
    if (span_is(name, "state")) {
        for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
            if (strcmp(text, states[i].name) == 0) {
                filter->state = states[i].state;
                return 0;
            }
        return error_set(error, EINVAL, "state: expected running, aborted, stuck, undone or closed, got '%.100s'",
                         text);
    }
    if (span_is(name, "older"))
        return page_older(value, &filter->older_ms, error);
    if (span_is(name, "limit"))
        return page_limit(value, operation->arena, CHAIN_LIMIT_MAX, &filter->limit, error);
    if (span_is(name, "after")) {
        filter->after = value;
        return 0;
    }
    return page_unknown(name, operation->arena, names, "chain, state, older, limit or after", error);
}

/* ------------------------------------------------------------------------------------------------------------- rows */

/* Whose chains are meant: those of one name, or all of the file. */
static void read_chains(const struct operation *operation, const char *chain, struct chain_query *query)
{
    const struct pipeline *pipeline = operation->pipeline;
    struct span *names = arena_array(operation->arena, struct span, pipeline->chain_count + 1);
    struct span *followed = arena_array(operation->arena, struct span, pipeline->chain_count + 1);
    query->chain_count = 0;
    for (size_t i = 0; i < pipeline->chain_count; i++)
        if (chain == NULL || strcmp(pipeline->chains[i].name, chain) == 0) {
            names[query->chain_count] = span_of(pipeline->chains[i].name);
            followed[query->chain_count++] = chain_followed_undos(&pipeline->chains[i], operation->arena);
        }
    query->chains = names;
    query->followed = followed;
}

/* Cuts the first line off. */
static bool next_line(struct span *lines, struct span *ret)
{
    const char *end = lines->length == 0 ? NULL : memchr(lines->at, '\n', lines->length);
    size_t length = end == NULL ? lines->length : (size_t)(end - lines->at);
    *ret = (struct span){lines->at, length};
    *lines = end == NULL ? (struct span){NULL, 0} : (struct span){end + 1, lines->length - length - 1};
    return length > 0;
}

/* Names of the steps, by their numbers in the definition that the chain began with. */
static const char **step_names(const struct operation *operation, const struct rows *rows, size_t row,
                               const struct chain *chain)
{
    const char **names = arena_array(operation->arena, const char *, CHAIN_STEPS_MAX + 1);
    struct span lines = rows_span(rows, row, 13), line;
    for (size_t i = 0; i < CHAIN_STEPS_MAX; i++)
        names[i] = i < chain->step_count ? chain->steps[i].name : "?";
    for (size_t i = 0; !rows_null(rows, row, 13) && i < CHAIN_STEPS_MAX && next_line(&lines, &line); i++)
        names[i] = arena_string(operation->arena, line);
    return names;
}

static const char *state_word(const struct chain *chain, int64_t state, int64_t missing)
{
    if (state == CHAIN_RUNNING && chain_followed(chain) && missing == 0)
        return "complete";
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        if (states[i].state == state)
            return states[i].name;
    return "?";
}

static void read_steps(const struct operation *operation, const struct rows *rows, size_t row,
                       const struct chain *chain, struct chain_view *view)
{
    const char **names = step_names(operation, rows, row, chain);
    struct span steps = rows_span(rows, row, 8);
    uint64_t undoing = (uint64_t)rows_int64(rows, row, 9), undone = (uint64_t)rows_int64(rows, row, 10);
    uint32_t missing = (uint32_t)rows_int64(rows, row, 11);
    view->doing_count = steps.length < CHAIN_DOINGS_MAX ? steps.length : CHAIN_DOINGS_MAX;
    view->doings = arena_array(operation->arena, struct chain_doing, view->doing_count + 1);
    view->missing = arena_array(operation->arena, const char *, CHAIN_STEPS_MAX);
    for (size_t i = 0; i < view->doing_count; i++) {
        unsigned char step = (unsigned char)steps.at[i];
        view->doings[i] = (struct chain_doing){step < CHAIN_STEPS_MAX ? names[step] : "?", undone >> i & 1 ? "undone"
                                                                                           : undoing >> i & 1
                                                                                               ? "undoing"
                                                                                               : "done"};
    }
    for (size_t i = 0; i < CHAIN_STEPS_MAX; i++)
        if (missing >> i & 1)
            view->missing[view->missing_count++] = names[i];
}

/* Topics to which its undos go, as the file calls them now. */
static void read_undos(const struct operation *operation, const struct rows *rows, size_t row,
                       const struct chain *chain, struct chain_view *view)
{
    const struct pipeline *pipeline = operation->pipeline;
    view->undos = arena_array(operation->arena, const char *, 2 * CHAIN_STEPS_MAX);
    for (size_t i = 0; i < chain->step_count; i++)
        if (chain->steps[i].undo != NULL)
            view->undos[view->undo_count++] = chain->steps[i].undo->name;
    struct span lines = rows_null(rows, row, 17) ? (struct span){NULL, 0} : rows_span(rows, row, 17), line;
    while (view->undo_count < 2 * CHAIN_STEPS_MAX && next_line(&lines, &line)) {
        const char *name = arena_string(operation->arena, line);
        for (size_t i = 0; i < pipeline->answer_count; i++)
            if (pipeline->answers[i].new_name != NULL && strcmp(pipeline->answers[i].old, name) == 0)
                name = pipeline->answers[i].new_name;
        view->undos[view->undo_count++] = name;
    }
}

static struct chain_view read_row(const struct operation *operation, const struct rows *rows, size_t row)
{
    struct arena *arena = operation->arena;
    const char *name = arena_string(arena, rows_span(rows, row, 0));
    const struct chain *chain = chain_of(operation->pipeline, name); /* only those of the file were asked for */
    struct event_id id = rows_uuid(rows, row, 16);
    char correlation[37];
    event_id_format(&id, correlation);
    struct chain_view view = {
        .chain = name,
        .correlation = arena_string(arena, rows_span(rows, row, 1)),
        .state = state_word(chain, rows_int64(rows, row, 2), rows_int64(rows, row, 11)),
        .reason = rows_null(rows, row, 7) ? NULL : arena_string(arena, rows_span(rows, row, 7)),
        .began_ms = rows_int64(rows, row, 4),
        .changed_ms = rows_int64(rows, row, 5),
        .due_ms = rows_null(rows, row, 6) ? 0 : rows_int64(rows, row, 6),
        .generation = (int32_t)rows_int64(rows, row, 3),
        .number = (int16_t)rows_int64(rows, row, 15),
        .correlate = rows_null(rows, row, 18) ? chain->correlate : arena_string(arena, rows_span(rows, row, 18)),
        .asked = rows_null(rows, row, 19) ? NULL : arena_string(arena, rows_span(rows, row, 19)),
        .place = arena_format(arena, "%lld.%lld.%s", (long long)rows_int64(rows, row, 14),
                              (long long)rows_int64(rows, row, 15), correlation),
    };
    read_steps(operation, rows, row, chain, &view);
    read_undos(operation, rows, row, chain, &view);
    return view;
}

/* A number before the next point, which *at is moved behind. */
static bool read_number(const char **at, long most, long *ret)
{
    char *end;
    *ret = strtol(*at, &end, 10);
    if (end == *at || *end != '.' || *ret < 0 || *ret > most)
        return false;
    *at = end + 1;
    return true;
}

static int read_place(struct span after, struct chain_query *query, struct error *error)
{
    char text[64];
    const char *at = text;
    long began, chain;
    snprintf(text, sizeof text, "%.*s", (int)(after.length < sizeof text ? after.length : sizeof text - 1), after.at);
    if (after.length >= sizeof text || !read_number(&at, INT32_MAX, &began) || !read_number(&at, INT16_MAX, &chain) ||
        !page_id(at))
        return page_bad_place(error);
    query->after_began = (int32_t)began;
    query->after_chain = (int16_t)chain;
    query->after_correlation = event_id_of(span_of(at));
    return 0;
}

static void count_json(const struct operation *operation, const struct rows *rows, size_t row, struct buffer *out)
{
    struct span name = rows_span(rows, row, 0), hash = rows_span(rows, row, 1);
    const struct chain *chain = chain_of(operation->pipeline, arena_string(operation->arena, name));
    bool known = !rows_null(rows, row, 1),
         current = known && chain != NULL && span_equal(chain->definition, rows_span(rows, row, 2));
    char shown[CHAIN_HASH_TEXT];
    size_t length = 0;
    for (size_t i = 0; known && i < hash.length && length + 1 < sizeof shown; i++)
        if (hash.at[i] != '-')
            shown[length++] = hash.at[i];
    shown[length] = '\0';
    buffer_text(out, row > 0 ? "," : "");
    json_bytes(out, "{", "chain", name);
    json_text(out, ",", "definition", known ? shown : NULL);
    buffer_format(out, ",\"current\":%s,\"in_flight\":%lld}", current ? "true" : "false",
                  (long long)rows_int64(rows, row, 3));
}

int chain_counts(const struct operation *operation, struct buffer *out, struct error *error)
{
    struct rows *rows = NULL;
    struct chain_query query;
    read_chains(operation, NULL, &query);
    int code = operation_needs_store(operation, "chains are", error);
    if (code == 0)
        code = operation_result(ledger_chain_counts(operation->connection, query.chains, query.followed,
                                                    query.chain_count, operation_timeout_ms(operation), &rows, error),
                                error);
    if (code != 0)
        return code;
    buffer_byte(out, '[');
    for (size_t i = 0; i < rows_count(rows); i++)
        count_json(operation, rows, i, out);
    buffer_byte(out, ']');
    return 0;
}

int chain_list(const struct operation *operation, const struct chain_filter *filter, struct chain_page *ret,
               struct error *error)
{
    static const int16_t all_open[] = {CHAIN_RUNNING, CHAIN_ABORTED, CHAIN_STUCK};
    int16_t one = (int16_t)filter->state;
    struct rows *rows = NULL;
    struct chain_query query = {
        .states = filter->state < 0 ? all_open : &one,
        .state_count = filter->state < 0 ? 3 : 1,
        .open = filter->state < 0 || filter->state == CHAIN_ABORTED || filter->state == CHAIN_STUCK,
        .older_s = (int32_t)(filter->older_ms / 1000 < SECONDS_MAX ? filter->older_ms / 1000 : SECONDS_MAX),
        .limit = (int32_t)filter->limit + 1, /* one more tells whether there is another page */
        .after_began = INT32_MIN,
    };
    int code = operation_needs_store(operation, "chains are", error);
    if (code == 0 && filter->after.length > 0)
        code = read_place(filter->after, &query, error);
    if (code != 0)
        return code;
    read_chains(operation, filter->chain, &query);
    code = operation_result(
        ledger_chain_list(operation->connection, &query, operation_timeout_ms(operation), &rows, error), error);
    if (code != 0)
        return code;
    bool more;
    size_t count = page_count(rows_count(rows), filter->limit, &more);
    *ret = (struct chain_page){.list = arena_array(operation->arena, struct chain_view, count + 1), .count = count};
    for (size_t i = 0; i < count; i++)
        ret->list[i] = read_row(operation, rows, i);
    ret->next = more ? ret->list[count - 1].place : NULL;
    return 0;
}

int chain_find(const struct operation *operation, const char *chain, struct span correlation, struct chain_view *ret,
               struct error *error)
{
    struct rows *rows = NULL;
    struct chain_query query;
    int code = operation_needs_store(operation, "chains are", error);
    if (code == 0 && chain != NULL && chain_of(operation->pipeline, chain) == NULL)
        code = no_chain(operation, chain, error);
    if (code != 0)
        return code;
    read_chains(operation, chain, &query);
    code = operation_result(ledger_chain_find(operation->connection, query.chains, query.followed, query.chain_count,
                                              event_id_of(correlation), operation_timeout_ms(operation), &rows, error),
                            error);
    if (code != 0)
        return code;
    int length = correlation.length < 200 ? (int)correlation.length : 200;
    if (rows_count(rows) == 0)
        return error_set(error, ENOENT, "no chain%s%s%s has begun under the correlation '%.*s'",
                         chain != NULL ? " '" : "", chain != NULL ? chain : "", chain != NULL ? "'" : "", length,
                         correlation.at);
    if (rows_count(rows) > 1) {
        error_set(error, EINVAL, "correlation '%.*s' is that of chain '%.*s' and of '%.*s'", length, correlation.at,
                  (int)rows_span(rows, 0, 0).length, rows_span(rows, 0, 0).at, (int)rows_span(rows, 1, 0).length,
                  rows_span(rows, 1, 0).at);
        return error_hint(error, "say which one is meant: --chain NAME");
    }
    *ret = read_row(operation, rows, 0);
    return operation_result(chain_timers_read(operation->connection, ret->number, event_id_of(correlation),
                                              operation_timeout_ms(operation), operation->arena, &ret->timers,
                                              &ret->timer_count, error),
                            error);
}

/* ------------------------------------------------------------------------------------------------------------- JSON */

void chain_json(const struct chain_view *view, struct buffer *out)
{
    json_text(out, "{", "chain", view->chain);
    json_text(out, ",", "correlation", view->correlation);
    json_text(out, ",", "state", view->state);
    json_text(out, ",", "reason", view->reason);
    json_text(out, ",", "abortAsked", view->asked);
    json_time(out, ",", "began", view->began_ms);
    json_time(out, ",", "changed", view->changed_ms);
    json_time(out, ",", "abortsAt", view->due_ms);
    buffer_format(out, ",\"begun\":%d,\"steps\":[", view->generation + 1);
    for (size_t i = 0; i < view->doing_count; i++) {
        json_text(out, i == 0 ? "{" : ",{", "step", view->doings[i].step);
        json_text(out, ",", "state", view->doings[i].state);
        buffer_byte(out, '}');
    }
    buffer_text(out, "],\"missing\":[");
    for (size_t i = 0; i < view->missing_count; i++) {
        buffer_text(out, i == 0 ? "" : ",");
        buffer_json_string(out, span_of(view->missing[i]));
    }
    buffer_text(out, "],\"timers\":[");
    for (size_t i = 0; i < view->timer_count; i++) {
        json_text(out, i == 0 ? "{" : ",{", "id", view->timers[i].id);
        json_text(out, ",", "emit", view->timers[i].emit);
        json_text(out, ",", "reason", view->timers[i].words);
        json_time(out, ",", "due", view->timers[i].due_ms);
        buffer_byte(out, '}');
    }
    buffer_text(out, "]}");
}

void chain_did_json(const struct chain_view *view, const struct chain_did *did, struct buffer *out)
{
    json_text(out, "{", "chain", view->chain);
    json_text(out, ",", "correlation", view->correlation);
    json_text(out, ",", "did", did->did);
    buffer_format(out, ",\"undos\":%zu}", did->undos);
}

static void each_json(const void *list, size_t i, struct buffer *out)
{
    chain_json((const struct chain_view *)list + i, out);
}

void chain_page_json(const struct chain_page *page, struct buffer *out)
{
    page_json("chains", page->list, page->count, page->next, each_json, out);
}
