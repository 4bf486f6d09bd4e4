/*
 * timeline_waits.c - why events of a timeline do not go on that have no row to wait in: those that are not read are in
 * timeline_reading.c, those that are not published here; and dead letters, and that their chain is stuck.
 */
#include "operate/timeline.h"

#include "event/record_batch.h"
#include "operate/dead_letter.h"

#include <errno.h>

enum { OUTBOX_ROWS = 100 };

/* ----------------------------------------------------------------------------------------------------------- outbox */

static bool is_on_bus(const struct timeline *timeline, const struct record *record, const struct event *parsed)
{
    for (size_t i = 0; i < timeline->count; i++)
        if (span_is(parsed->id_text, timeline->events[i].id) && span_is(record->topic, timeline->events[i].topic))
            return true;
    return false;
}

static void add_unpublished(struct timeline *timeline, struct bus *bus, const struct record *record,
                            const struct rows *rows, size_t r)
{
    struct arena *arena = timeline->arena;
    const char *topic = arena_string(arena, record->topic);
    struct bus_place place = {topic, -1, {0, 0}};
    struct bus_reading reading = {0};
    struct wait wait = {.cause = WAIT_OUTBOX, .name = topic, .command = "sluice validate --connect CONFIG"};
    bool known = bus_reading(bus, timeline->pipeline->engine.group, &place, 1, &reading, NULL) == 0;
    if (!rows_null(rows, r, 0)) {
        struct span why = rows_span(rows, r, 0);
        wait.sentence = arena_format(
            arena, "an event for %s is committed, and the brokers refuse it; tried again every half minute: %.*s",
            topic, (int)why.length, why.at);
    } else if (known && reading.no_leader) {
        wait.cause = WAIT_NO_LEADER;
        wait.command = NULL; /* that of a broker */
        wait.sentence = arena_format(arena,
                                     "an event for %s is committed and not published: partition %d has no leader",
                                     topic, reading.leaderless);
    } else {
        wait.sentence = arena_format(
            arena,
            "an event for %s is committed, and not published yet: the brokers do not take it, or no process runs",
            topic);
    }
    wait_add(&timeline->waits, arena, wait);
    if (known && reading.members == 0 && !waits_have(&timeline->waits, WAIT_ENGINE))
        wait_add(&timeline->waits, arena,
                 (struct wait){
                     .cause = WAIT_ENGINE,
                     .name = timeline->pipeline->engine.group,
                     .sentence = arena_format(arena, "no process of group %s runs", timeline->pipeline->engine.group),
                     .command = "sluice run CONFIG"});
}

/* Records in the outbox that name the correlation. */
static int find_outbox(struct timeline *timeline, struct bus *bus, struct connection *connection, struct error *error)
{
    static const struct statement outbox = {
        "select refused, batch from sluice.outbox where position($1::bytea in batch) > 0"
        " and (refused is not null or created_at < now() - interval '1 s') order by created_at, id limit $2::int8",
        false};
    struct span correlation = span_of(timeline->correlation);
    int64_t limit = OUTBOX_ROWS;
    const struct store_param params[] = {STORE_VALUE(PARAM_BYTEA, &correlation), STORE_VALUE(PARAM_INT8, &limit)};
    struct rows *rows = NULL;
    if (connection_once(connection, &outbox, 2, params, TIMELINE_TIMEOUT_MS, &rows, error) != STORE_OK)
        return -EIO;
    for (size_t r = 0; r < rows_count(rows); r++) {
        struct record *records = NULL;
        size_t count = 0;
        if (record_batch_read(rows_span(rows, r, 1), timeline->arena, &records, &count, NULL) != 0)
            continue;
        for (size_t i = 0; i < count; i++) {
            struct event parsed;
            enum dead_reason reason;
            struct span value = records[i].value;
            bool named = span_is(record_header(&records[i], HEADER_CORRELATION), timeline->correlation) ||
                         memmem(value.at, value.length, correlation.at, correlation.length) != NULL;
            if (named && event_parse(&records[i], SIZE_MAX / 2, timeline->arena, &parsed, &reason, NULL) == 0 &&
                !is_on_bus(timeline, &records[i], &parsed))
                add_unpublished(timeline, bus, &records[i], rows, r);
        }
    }
    return 0;
}

/* ----------------------------------------------------------------------------------------------------- dead letters */

/* Why an event became a dead letter: its record on the dead letter topic says. */
static const char *dead_because(const struct timeline *timeline, const struct timeline_event *event)
{
    for (size_t i = 0; i < timeline->count; i++) {
        const struct timeline_event *dead = &timeline->events[i];
        if (dead->dead_letter && dead->reason != NULL &&
            memcmp(&dead->payload_id, &event->payload_id, sizeof event->payload_id) == 0)
            return dead->reason;
    }
    return NULL;
}

static void find_dead_letters(struct timeline *timeline)
{
    for (size_t i = 0; i < timeline->count; i++) {
        struct timeline_event *event = &timeline->events[i];
        const char *why = event->letter_count > 0 ? dead_because(timeline, event) : NULL;
        for (size_t l = 0; l < event->letter_count; l++) {
            long long id = (long long)event->letters[l].id;
            if (event->letters[l].state != DEAD_LETTER_OPEN)
                continue;
            wait_add(&event->waits, timeline->arena,
                     (struct wait){
                         .cause = WAIT_DEAD_LETTER,
                         .sentence = arena_format(timeline->arena, "dead letter %lld waits for a decision%s%s", id,
                                                  why != NULL ? ": " : "", why != NULL ? why : ""),
                         .command = arena_format(timeline->arena, "sluice dead-letter show CONFIG %lld", id),
                     });
        }
    }
}

/* ------------------------------------------------------------------------------------------------------------ chain */

static void find_chain(struct timeline *timeline)
{
    if (timeline->chain_state == NULL || strncmp(timeline->chain_state, "stuck", 5) != 0)
        return;
    const char *command = wait_command(timeline->arena, "sluice chain resume CONFIG", timeline->correlation);
    bool shown = false;
    for (size_t i = 0; i < timeline->count; i++)
        for (size_t w = 0; w < timeline->events[i].waits.count; w++)
            if (timeline->events[i].waits.list[w].cause == WAIT_STUCK) {
                timeline->events[i].waits.list[w].command = command;
                shown = true;
            }
    if (!shown) /* its undo waits where this pipeline does not look, or is gone */
        wait_add(&timeline->waits, timeline->arena,
                 (struct wait){
                     .cause = WAIT_STUCK,
                     .name = timeline->chain,
                     .sentence = arena_format(timeline->arena, "chain %s is stuck: an undo failed for good",
                                              timeline->chain),
                     .command = command,
                 });
}

int timeline_find_waits(struct timeline *timeline, struct bus *bus, struct connection *connection, struct error *error)
{
    int code = 0;
    timeline_find_reading(timeline, bus, error);
    if (connection != NULL && timeline->pipeline->bus.kind == BUS_CHOICE_KAFKA)
        code = find_outbox(timeline, bus, connection, error);
    find_dead_letters(timeline);
    find_chain(timeline);
    return code;
}
