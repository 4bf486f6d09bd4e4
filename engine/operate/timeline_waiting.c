/*
 * timeline_waiting.c - the events of a timeline that have a row to wait in: delayed ones, held keys, counted tries,
 * suspects.
 */
#include "operate/timeline.h"

#include "base/clock.h"
#include "event/timestamp.h"

#include <stdio.h>

enum { WHEN_TEXT = TIMESTAMP_TEXT + 40 };

/* The engine's words for a handler that the database refuses, in batch/stopped.c. */
static const char stopped_words[] = " has stopped: ";
/* Its words for a key that waits for a limit, in batch/limit.c. */
static const char limit_words[] = "the limit of topic ";
/* Its words for an event that came before what it needs, in batch/after.c; behind "; " what becomes of it then. */
static const char early_words[] = "waits for ";

struct waiting_row {
    struct timeline_event *event;
    int64_t due_ms, state, tries, before; /* due_ms 0: at once; before -1: it is not held */
    const char *why, *name, *command;     /* NULL: not known, of the pipeline's group, none */
    bool counted, paused;                 /* counted: a row of sluice.attempt, which only counts tries */
};

static const char *when_text(int64_t due_ms, char text[WHEN_TEXT])
{
    int64_t left_ms = due_ms - clock_wall_ms();
    char at[TIMESTAMP_TEXT + 1];
    timestamp_format(due_ms, at);
    if (due_ms == 0 || left_ms <= 0)
        snprintf(text, WHEN_TEXT, "now");
    else if (due_ms == INT64_MAX) /* an operator's infinity */
        snprintf(text, WHEN_TEXT, "when it is released");
    else
        snprintf(text, WHEN_TEXT, "at %s, in %lld.%lld s", at, (long long)left_ms / 1000,
                 (long long)left_ms / 100 % 10);
    return text;
}

static const char *tries_text(const struct waiting_row *row, struct arena *arena)
{
    return row->tries == 0
               ? ""
               : arena_format(arena, "failed %lld time%s, ", (long long)row->tries, row->tries == 1 ? "" : "s");
}

/* "waits for payment.try with paymentTxId=a, for at most 8 m 12 s, then dead letter". */
static const char *early_text(const struct waiting_row *row, struct arena *arena)
{
    const char *then = strrchr(row->why, ';');
    int64_t left_s = (row->due_ms - clock_wall_ms() + 999) / 1000;
    if (then == NULL || row->due_ms == 0 || left_s <= 0)
        return arena_format(arena, "%s; it is looked at now", row->why);
    const char *left = left_s < 60 ? arena_format(arena, "%lld s", (long long)left_s)
                       : left_s < 3600
                           ? arena_format(arena, "%lld m %lld s", (long long)left_s / 60, (long long)left_s % 60)
                           : arena_format(arena, "%lld h %lld m", (long long)left_s / 3600,
                                          (long long)left_s / 60 % 60);
    return arena_format(arena, "%.*s, for at most %s,%s", (int)(then - row->why), row->why, left, then + 1);
}

static void add_row_wait(const struct timeline *timeline, const struct waiting_row *row)
{
    struct arena *arena = timeline->arena;
    struct timeline_event *event = row->event;
    const char *colon = row->why != NULL ? ": " : "", *why = row->why != NULL ? row->why : "";
    char when[WHEN_TEXT];
    when_text(row->due_ms, when);
    struct wait wait = {.command = row->command, .name = row->name, .until_ms = row->due_ms, .tries = row->tries};
    if (row->counted) {
        if (event->waits.count > 0 || event->held || event->stuck)
            return;
        wait.cause = WAIT_RETRY;
        wait.sentence = arena_format(arena, "%sholds its key, tried again within a second%s%s", tries_text(row, arena),
                                     colon, why);
    } else if (row->before > 0) {
        wait.cause = WAIT_KEY;
        wait.count = row->before;
        wait.until_ms = 0;
        wait.sentence = arena_format(arena, "behind its key: %lld event%s before it%s%s%s", (long long)row->before,
                                     row->before == 1 ? "" : "s", row->why != NULL ? "; the first waits" : "", colon,
                                     why);
    } else if (row->paused && row->why != NULL && strncmp(row->why, limit_words, sizeof limit_words - 1) == 0) {
        wait.cause = WAIT_LIMIT;
        wait.name = event->topic;
        wait.until_ms = 0;
        wait.sentence = arena_format(arena, "%s; it comes by itself, in its turn", row->why);
    } else if (row->paused) {
        return; /* what is paused says so */
    } else if (row->why != NULL && strstr(row->why, stopped_words) != NULL) {
        wait.cause = WAIT_HANDLER;
        wait.command = "sluice migrate CONFIG";
        wait.sentence = row->why;
    } else if (row->before == 0 && row->why != NULL && strncmp(row->why, early_words, sizeof early_words - 1) == 0) {
        wait.cause = WAIT_EARLY;
        wait.command = NULL;
        wait.sentence = early_text(row, arena);
    } else if (row->before == 0) {
        wait.cause = row->tries > 0 ? WAIT_RETRY : WAIT_UNAVAILABLE;
        wait.sentence = arena_format(arena, "%sholds its key, next try %s%s%s",
                                     row->tries > 0 ? tries_text(row, arena) : "no try is counted, ", when, colon, why);
    } else if (row->state == 1) {
        wait.cause = WAIT_STUCK;
        wait.until_ms = 0;
        wait.sentence = arena_format(arena, "its undo failed for good and waits for an operator%s%s", colon, why);
    } else if (row->state == 2) {
        wait.cause = WAIT_UNKNOWN;
        wait.until_ms = 0;
        wait.command = "sluice validate --connect CONFIG";
        wait.sentence = "the file says nothing of its topic: `renamed` or `retired` says what becomes of it";
    } else {
        wait.cause = row->tries > 0 ? WAIT_RETRY : WAIT_DELAYED;
        wait.sentence = arena_format(arena, "%s%s%s%s%s", tries_text(row, arena),
                                     row->tries > 0 ? "tried again " : "delayed: due ", when, colon, why);
    }
    wait_add(&event->waits, arena, wait);
}

/* The facts of the row for the event, and why it waits. */
static void note_row(struct timeline *timeline, const struct waiting_row *row)
{
    struct timeline_event *event = row->event;
    bool shown = row->before < 0 || (row->before == 0 && !row->paused);
    if (row->due_ms != 0 && shown)
        event->delayed_until_ms = row->due_ms;
    event->stuck = event->stuck || row->state == 1;
    event->tries = row->tries > event->tries ? row->tries : event->tries;
    if (row->before >= 0)
        event->held = true, event->held_before = row->before;
    if (event->why == NULL)
        event->why = row->why;
    add_row_wait(timeline, row);
}

static void read_row(struct timeline *timeline, const struct rows *rows, size_t r)
{
    struct event_id id = rows_uuid(rows, r, 0);
    struct waiting_row row = {
        .due_ms = rows_null(rows, r, 1) ? 0 : rows_int64(rows, r, 1),
        .state = rows_int64(rows, r, 2),
        .tries = rows_int64(rows, r, 3),
        .before = rows_null(rows, r, 4) ? -1 : rows_int64(rows, r, 4),
        .why = rows_span(rows, r, 5).length == 0 ? NULL : arena_string(timeline->arena, rows_span(rows, r, 5)),
        .name = arena_string(timeline->arena, rows_span(rows, r, 7)),
        .counted = rows_null(rows, r, 6),
        .paused = rows_int64(rows, r, 8) != 0,
    };
    if (!row.counted && !row.paused) {
        struct event_id moved = rows_uuid(rows, r, 6);
        char text[37];
        event_id_format(&moved, text);
        row.command = arena_format(timeline->arena, "sluice delayed release CONFIG %s", text);
    }
    for (size_t i = 0; i < timeline->count; i++) {
        row.event = &timeline->events[i];
        if (!row.event->dead_letter &&
            (memcmp(&row.event->id128, &id, sizeof id) == 0 || memcmp(&row.event->payload_id, &id, sizeof id) == 0))
            note_row(timeline, &row);
    }
}

static bool has_ended(const struct timeline_event *event, const char *handler)
{
    bool ended = event->dead_letter;
    for (size_t e = 0; e < event->ended_count && !ended; e++)
        ended = strcmp(event->ended[e].handler, handler) == 0;
    return ended;
}

/* Of a suspect: what its handler did, and what comes next. */
static void read_suspect(struct timeline *timeline, const struct rows *rows, size_t r)
{
    struct arena *arena = timeline->arena;
    struct event_id id = rows_uuid(rows, r, 0);
    const char *handler = arena_string(arena, rows_span(rows, r, 1)), *slash = strchr(handler, '/');
    const char *plugin = slash == NULL ? handler : slash + 1,
               *dot = strchr(plugin, '.'); /* of a tap: TAP/PLUGIN.NAME */
    const char *reason = arena_string(arena, rows_span(rows, r, 3));
    struct wait wait = {.cause = WAIT_PLUGIN, .name = handler, .count = rows_int64(rows, r, 2)};
    wait.sentence = arena_format(arena, "handler %s of plugin %.*s: %s", handler, dot == NULL ? 0 : (int)(dot - plugin),
                                 plugin, reason);
    for (size_t i = 0; i < timeline->count; i++)
        if (memcmp(&timeline->events[i].id128, &id, sizeof id) == 0 && !has_ended(&timeline->events[i], handler))
            wait_add(&timeline->events[i].waits, arena, wait);
}

static enum store_result read_suspects(struct timeline *timeline, struct connection *connection,
                                       const struct store_param *ids, struct error *error)
{
    static const struct statement suspects = {
        "select s.event_id, n.name, s.times::int8, s.reason from sluice.suspect s"
        " join sluice.name n on n.number = s.handler and n.kind = 'h' where s.event_id = any($1::uuid[])",
        false};
    struct rows *rows = NULL;
    enum store_result result = connection_once(connection, &suspects, 1, ids, TIMELINE_TIMEOUT_MS, &rows, error);
    for (size_t r = 0; result == STORE_OK && r < rows_count(rows); r++)
        read_suspect(timeline, rows, r);
    return result;
}

enum store_result timeline_read_waiting(struct timeline *timeline, struct connection *connection,
                                        const struct store_param *ids, struct error *error)
{
    /* The id is that by which `sluice delayed` knows it: see store/ledger/delayed.c. */
    static const struct statement waiting = {
        "select p.event_id, p.due, p.state::int8, (p.tries + (p.state = 1)::int4)::int8, null::int8, p.reason, "
        "p.event_id, g.name,"
        "  (p.state = 3)::int4, 0 as place"
        " from sluice.parked p join sluice.name g on g.number = p.consumer_group and g.kind = 'g'"
        " where p.event_id = any($1::uuid[])"
        " union all select h.event_id, k.due, 0, coalesce(a.attempts, 0), b.before, k.reason,"
        "  md5(k.consumer_group || '/' || k.key_hash || '/' || k.stream)::uuid, n.name, (k.paused is not null)::int4, 0"
        " from sluice.held h join sluice.name n on n.number = h.handler and n.kind = 'h'"
        " cross join lateral (select count(*) as before from sluice.held a where a.consumer_group = h.consumer_group"
        "  and a.key_hash = h.key_hash and a.id < h.id) b"
        " left join sluice.held_key k on k.consumer_group = h.consumer_group and k.stream = h.stream"
        "  and k.key_hash = h.key_hash"
        " left join sluice.attempt a on a.handler = h.handler and a.event_id = h.event_id"
        " where h.event_id = any($1::uuid[])"
        " union all select a.event_id, null, 0, a.attempts, null, a.reason, null, n.name, 0, 1"
        " from sluice.attempt a join sluice.name n on n.number = a.handler and n.kind = 'h'"
        " where a.event_id = any($1::uuid[]) order by place",
        false};
    struct rows *rows = NULL;
    enum store_result result = connection_once(connection, &waiting, 1, ids, TIMELINE_TIMEOUT_MS, &rows, error);
    for (size_t r = 0; result == STORE_OK && r < rows_count(rows); r++)
        read_row(timeline, rows, r);
    return result == STORE_OK ? read_suspects(timeline, connection, ids, error) : result;
}
