/*
 * timeline_store.c - what the store knows of a timeline's events: the inbox has their outcomes, chain the state of
 * their chain, pause what is paused; what they wait in is in timeline_waiting.c.
 */
#include "operate/timeline.h"

#include "event/timestamp.h"
#include "flow/chain.h"
#include "operate/chain_timers.h"
#include "store/ledger.h"

static const char *outcome_name(const struct timeline *timeline, const char *handler, int64_t outcome)
{
    const struct pipeline *pipeline = timeline->pipeline;
    if (outcome == -1)
        return "dead letter";
    for (size_t i = 0; i < pipeline->binding_count; i++)
        if (strcmp(pipeline->bindings[i]->id, handler) == 0 && outcome >= 0 &&
            (size_t)outcome < pipeline->bindings[i]->outcome_count)
            return pipeline->bindings[i]->outcomes[outcome].name;
    return strcmp(handler, "chain") == 0 ? "noted" : "done";
}

static void read_inbox(struct timeline *timeline, const struct rows *rows)
{
    for (size_t r = 0; r < rows_count(rows); r++) {
        struct event_id id = rows_uuid(rows, r, 0);
        const char *handler = arena_string(timeline->arena, rows_span(rows, r, 1));
        for (size_t i = 0; i < timeline->count; i++) {
            struct timeline_event *event = &timeline->events[i];
            if (event->dead_letter || memcmp(&event->id128, &id, sizeof id) != 0 ||
                event->ended_count == TIMELINE_ENDED_MAX)
                continue;
            bool other = (uint64_t)rows_int64(rows, r, 3) != event->payload_hash; /* under the same id: a conflict */
            event->ended[event->ended_count].handler = handler;
            event->ended[event->ended_count++].outcome = outcome_name(timeline, handler,
                                                                      other ? -1 : rows_int64(rows, r, 2));
        }
    }
}

/* The event itself has them; its record on the dead letter topic only where the event is not there any more. */
static void read_letters(struct timeline *timeline, const struct rows *rows)
{
    for (size_t r = 0; r < rows_count(rows); r++) {
        struct event_id id = rows_uuid(rows, r, 0);
        struct timeline_event *event = NULL;
        for (size_t i = 0; i < timeline->count; i++)
            if (memcmp(&timeline->events[i].id128, &id, sizeof id) == 0 &&
                (event == NULL || (event->dead_letter && !timeline->events[i].dead_letter)))
                event = &timeline->events[i];
        if (event == NULL || event->letter_count == TIMELINE_LETTERS_MAX)
            continue;
        event->letters[event->letter_count].id = rows_int64(rows, r, 1);
        event->letters[event->letter_count++].state = rows_int64(rows, r, 2);
    }
}

/* Every step's event is among those that were found. */
static bool all_steps_done(const struct timeline *timeline)
{
    const struct pipeline *pipeline = timeline->pipeline;
    for (size_t c = 0; c < pipeline->chain_count; c++) {
        if (strcmp(pipeline->chains[c].name, timeline->chain) != 0)
            continue;
        for (size_t s = 0; s < pipeline->chains[c].step_count; s++) {
            bool found = false;
            for (size_t i = 0; i < timeline->count && !found; i++)
                found = strcmp(timeline->events[i].topic, pipeline->chains[c].steps[s].done->name) == 0;
            if (!found)
                return false;
        }
        return true;
    }
    return false;
}

/* How many doings are known to be undone. Of an undo that no handler of the file has, nothing else is ever known than
 * that it was emitted. */
static int64_t count_undone(const struct chain *chain, struct span steps, uint64_t undoing, uint64_t undone)
{
    int64_t count = 0;
    for (size_t i = 0; i < steps.length && i < CHAIN_DOINGS_MAX; i++) {
        size_t number = (unsigned char)steps.at[i];
        const struct chain_step *step = chain != NULL && number < chain->step_count ? &chain->steps[number] : NULL;
        bool followed = step != NULL && (step->undone != NULL || (step->undo != NULL && step->undo->binding != NULL));
        count += (int64_t)((followed ? undone : undone | undoing) >> i & 1);
    }
    return count;
}

static void read_chain(struct timeline *timeline, const struct rows *rows)
{
    static const char *const states[] = {[CHAIN_RUNNING] = "running",
                                         [CHAIN_ABORTED] = "aborted",
                                         [CHAIN_UNDONE] = "undone",
                                         [CHAIN_STUCK] = "stuck: an undo failed and waits for an operator",
                                         [CHAIN_CLOSED] = "closed"};
    const struct pipeline *pipeline = timeline->pipeline;
    const struct chain *chain = NULL;
    int64_t state = rows_int64(rows, 0, 1);
    timeline->chain = arena_string(timeline->arena, rows_span(rows, 0, 0));
    for (size_t c = 0; c < pipeline->chain_count && chain == NULL; c++)
        if (strcmp(pipeline->chains[c].name, timeline->chain) == 0)
            chain = &pipeline->chains[c];
    timeline->chain_begun = rows_int64(rows, 0, 3) + 1;
    timeline->chain_doings = (int64_t)rows_span(rows, 0, 4).length;
    timeline->chain_undos = count_undone(chain, rows_span(rows, 0, 4), (uint64_t)rows_int64(rows, 0, 5),
                                         (uint64_t)rows_int64(rows, 0, 7));
    /* The engine takes a chain as undone once its undos are emitted; for people it is when they were handled. */
    if (state == CHAIN_UNDONE && timeline->chain_undos < timeline->chain_doings)
        state = CHAIN_ABORTED;
    timeline->chain_state = state == CHAIN_RUNNING && all_steps_done(timeline)                ? "complete"
                            : state >= 0 && state < (int64_t)(sizeof states / sizeof *states) ? states[state]
                                                                                              : "?";
    timeline->chain_older_definition = chain != NULL && !rows_null(rows, 0, 6) &&
                                       !span_equal(rows_span(rows, 0, 6), chain->definition);
    timeline->chain_reason = rows_null(rows, 0, 2) ? NULL : arena_string(timeline->arena, rows_span(rows, 0, 2));
}

/* A timer is no event yet: the chain waits for it. */
static enum store_result read_timers(struct timeline *timeline, struct connection *connection, int16_t chain,
                                     struct error *error)
{
    struct arena *arena = timeline->arena;
    struct chain_timer_view *timers = NULL;
    size_t count = 0;
    char at[TIMESTAMP_TEXT + 1];
    enum store_result result = chain_timers_read(connection, chain, event_id_of(span_of(timeline->correlation)),
                                                 TIMELINE_TIMEOUT_MS, arena, &timers, &count, error);
    for (size_t i = 0; i < count; i++) {
        timestamp_format(timers[i].due_ms, at);
        at[TIMESTAMP_TEXT] = '\0';
        wait_add(
            &timeline->waits, arena,
            (struct wait){.cause = WAIT_TIMER,
                          .name = timeline->chain,
                          .until_ms = timers[i].due_ms,
                          .sentence = arena_format(arena, "%s: emits %s at %s", timers[i].words, timers[i].emit, at),
                          .command = arena_format(arena, "sluice delayed release CONFIG %s", timers[i].id)});
    }
    return result;
}

enum store_result timeline_read_store(struct timeline *timeline, struct connection *connection, struct error *error)
{
    static const struct statement inbox = {
        "select i.event_id, n.name, i.outcome, i.hash from sluice.inbox i join sluice.name n on n.number = i.handler"
        " where (i.handler, i.event_id) in (select h.number, e from sluice.name h, unnest($1::uuid[]) e where h.kind = "
        "'h')",
        false};
    static const struct statement letters = {
        "select event_id, id, state from sluice.dead_letter where event_id = any($1::uuid[]) order by id", false};
    static const struct statement chain = {
        "select n.name, c.state, c.reason, c.generation::int8, c.steps, c.undoing, d.definition, c.undone, c.chain"
        " from sluice.chain c join sluice.name n on n.number = c.chain"
        " left join sluice.chain_definition d on d.number = c.definition where c.correlation = $1",
        false};
    struct event_id *ids = arena_array(timeline->arena, struct event_id, 2 * timeline->count + 1);
    struct rows *rows = NULL;
    for (size_t i = 0; i < timeline->count; i++)
        ids[i] = timeline->events[i].id128;
    for (size_t i = 0; i < timeline->count; i++)
        ids[timeline->count + i] = timeline->events[i].payload_id;
    struct store_param param = STORE_ARRAY(PARAM_UUID, ids, 2 * timeline->count);
    enum store_result result = connection_once(connection, &inbox, 1, &param, TIMELINE_TIMEOUT_MS, &rows, error);
    if (result == STORE_OK) {
        read_inbox(timeline, rows);
        result = timeline_read_waiting(timeline, connection, &param, error);
    }
    if (result == STORE_OK)
        result = connection_once(connection, &letters, 1, &param, TIMELINE_TIMEOUT_MS, &rows, error);
    if (result == STORE_OK) {
        read_letters(timeline, rows);
        struct event_id correlation = event_id_of(span_of(timeline->correlation));
        struct store_param of_chain = STORE_VALUE(PARAM_UUID, &correlation);
        result = connection_once(connection, &chain, 1, &of_chain, TIMELINE_TIMEOUT_MS, &rows, error);
    }
    if (result == STORE_OK && rows_count(rows) > 0) {
        read_chain(timeline, rows);
        result = read_timers(timeline, connection, (int16_t)rows_int64(rows, 0, 8), error);
    }
    struct pause *pauses = NULL;
    size_t pause_count = 0;
    if (result == STORE_OK)
        result = ledger_pauses(connection, span_of(timeline->pipeline->engine.group), timeline->arena, &pauses,
                               &pause_count, error);
    if (result == STORE_OK)
        timeline_find_paused(timeline, pauses, pause_count);
    return result;
}
