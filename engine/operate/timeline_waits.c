/*
 * timeline_waits.c - why events of a timeline do not go on that have no row to wait in: they are not read, or are not
 * published; and that their chain is stuck.
 *
 * An event that its handler has had waits for nothing. One that waits in a row has its cause already, but nothing moves
 * it while no process runs. Only what the pipeline's own group does is looked at here: a tap holds nobody back.
 */
#include "operate/timeline.h"

#include "event/record_batch.h"
#include "operate/dead_letter.h"

#include <errno.h>

enum { OUTBOX_ROWS = 100 };

/* ---------------------------------------------------------------------------------------------------------- reading */

static bool is_handled(const struct timeline_event *event, const struct binding *binding)
{
    for (size_t e = 0; e < event->ended_count; e++)
        if (strcmp(event->ended[e].handler, binding->id) == 0)
            return true;
    return event->letter_count > 0;
}

/* The binding that an event waits for; NULL: for none. */
static const struct binding *binding_of(const struct timeline *timeline, const struct timeline_event *event)
{
    const struct topic *topic = pipeline_topic(timeline->pipeline, event->topic);
    const struct binding *binding = topic == NULL || event->dead_letter || event->poison ? NULL : topic->binding;
    return binding == NULL || is_handled(event, binding) ? NULL : binding;
}

static void add_engine(const struct timeline *timeline, struct timeline_event *event)
{
    const char *group = timeline->pipeline->engine.group;
    wait_add(&event->waits, timeline->arena,
             (struct wait){.cause = WAIT_ENGINE,
                           .name = group,
                           .sentence = arena_format(timeline->arena, "no process of group %s runs", group),
                           .command = "sluice run CONFIG"});
}

static void add_transaction(const struct timeline *timeline, struct timeline_event *event,
                            const struct bus_reading *reading)
{
    long long pid = (long long)reading->transaction_pid;
    struct wait wait = {.cause = WAIT_TRANSACTION, .pid = pid};
    if (reading->transaction[0] == '\0')
        wait.sentence = "a transaction of the server was open, behind which nothing is read";
    else if (pid == 0)
        wait.sentence = arena_format(timeline->arena,
                                     "a transaction is open in the server, and nothing behind it is read: %s",
                                     reading->transaction);
    else {
        wait.sentence = arena_format(timeline->arena,
                                     "a transaction is open in the server, and nothing behind it is read: pid %lld, %s",
                                     pid, reading->transaction);
        wait.command = arena_format(timeline->arena, "psql \"$DATABASE_URL\" -c \"select pg_terminate_backend(%lld)\"",
                                    pid);
    }
    wait_add(&event->waits, timeline->arena, wait);
}

static void add_reading(const struct timeline *timeline, struct timeline_event *event,
                        const struct bus_reading *reading)
{
    struct arena *arena = timeline->arena;
    const char *group = timeline->pipeline->engine.group;
    bool waits_in_row = event->waits.count > 0;
    if (reading->members == 0)
        add_engine(timeline, event);
    if (waits_in_row || reading->consumed)
        return;
    if (reading->hidden)
        add_transaction(timeline, event, reading);
    else if (reading->members > 0 && reading->no_leader)
        wait_add(&event->waits, arena,
                 (struct wait){.cause = WAIT_NO_LEADER,
                               .name = event->topic,
                               .sentence = arena_format(arena, "partition %d of %s has no leader", event->partition,
                                                        event->topic)});
    else if (reading->members > 0 && !reading->has_reader)
        wait_add(&event->waits, arena,
                 (struct wait){
                     .cause = WAIT_NO_READER,
                     .name = group,
                     .command = "sluice validate --connect CONFIG",
                     .sentence = arena_format(arena, "no process of group %s reads its partition, %d", group,
                                              event->partition),
                 });
    else if (reading->members > 0)
        wait_add(
            &event->waits, arena,
            (struct wait){
                .cause = WAIT_QUEUE,
                .name = group,
                .count = reading->before,
                .sentence = reading->before == 0
                                ? "it is next in its partition: a handler has it, or tries it again within a second"
                                : arena_format(arena, "its turn: at most %lld record%s of its partition before it",
                                               (long long)reading->before, reading->before == 1 ? "" : "s"),
            });
}

static void find_reading(struct timeline *timeline, struct bus *bus, struct error *error)
{
    struct arena *arena = timeline->arena;
    struct bus_place *places = arena_array(arena, struct bus_place, timeline->count + 1);
    struct bus_reading *readings = arena_array(arena, struct bus_reading, timeline->count + 1);
    struct timeline_event **waiting = arena_array(arena, struct timeline_event *, timeline->count + 1);
    size_t count = 0;
    for (size_t i = 0; i < timeline->count; i++) {
        struct timeline_event *event = &timeline->events[i];
        if (event->waits.count == 0 && binding_of(timeline, event) == NULL)
            continue;
        waiting[count] = event;
        places[count++] = (struct bus_place){event->topic, event->partition, event->position};
    }
    int code = count == 0 ? 0 : bus_reading(bus, timeline->pipeline->engine.group, places, count, readings, error);
    for (size_t i = 0; i < count && code == 0; i++)
        add_reading(timeline, waiting[i], &readings[i]);
    if (code != 0 && code != -ENOTSUP && timeline->incomplete == NULL)
        timeline->incomplete = arena_string(timeline->arena, span_of(error->text));
}

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
    find_reading(timeline, bus, error);
    if (connection != NULL && timeline->pipeline->bus.kind == BUS_CHOICE_KAFKA)
        code = find_outbox(timeline, bus, connection, error);
    find_dead_letters(timeline);
    find_chain(timeline);
    return code;
}
