/*
 * chain_act.c - what operators do with a chain: each in one transaction, with its row locked.
 *
 * A chain is aborted by a running engine, as its timeout would do it (run/timeouts.c): here only the wish is written.
 * A stuck undo is released, or cancelled, where it waits, in sluice.parked.
 */
#include "operate/chain.h"

#include "event/correlation.h"
#include "event/record_batch.h"
#include "flow/chain.h"
#include "store/ledger_timer.h"

#include <errno.h>

/* What an act is done to, and what it did. */
struct act {
    const struct chain_view *view;
    const char *words;
    struct chain_row row;
    size_t undos;
};

static int refuse(const struct act *act, struct error *error, const char *sentence, const char *hint)
{
    error_set(error, EBUSY, "chain '%s' of '%.200s' %s", act->view->chain, act->view->correlation, sentence);
    return error_hint(error, "%s", hint);
}

/* Locks the row: what it was when it was looked for may be over. */
static int act_begin(const struct operation *operation, struct act *act, struct error *error)
{
    struct event_id id = event_id_of(span_of(act->view->correlation));
    int code = operation_result(ledger_chain_lock(operation->connection, act->view->number, id, &act->row, error),
                                error);
    if (code == 0 && act->row.chain < 0)
        return error_set(error, ENOENT, "chain '%s' of '%.200s' is not there any more", act->view->chain,
                         act->view->correlation);
    return code;
}

static int act_end(const struct operation *operation, const struct act *act, struct error *error)
{
    char *object = arena_format(operation->arena, "%s %s", act->view->chain, act->view->correlation);
    return operation_result(operation_audit(operation, act->words, span_of(object), error), error);
}

/* ------------------------------------------------------------------------------------------------- undos that wait */

/* Whether the record is an undo of this chain, as the engine finds it: by its topic, and the field that it correlates
 * by. */
static bool is_undo_of(const struct operation *operation, const struct chain_view *view, struct span packed,
                       struct event_id *ret_event)
{
    struct arena *arena = operation->arena;
    struct record *records = NULL;
    struct event event;
    struct span correlation;
    enum dead_reason reason;
    size_t count = 0;
    bool undoes = false;
    if (record_batch_read(packed, arena, &records, &count, NULL) != 0 || count != 1 ||
        event_parse(&records[0], SIZE_MAX / 2, arena, &event, &reason, NULL) != 0)
        return false;
    *ret_event = event.id;
    for (size_t i = 0; i < view->undo_count; i++)
        undoes = undoes || span_is(records[0].topic, view->undos[i]);
    return undoes &&
           correlation_read(&event.data, span_of(view->correlate), arena, &correlation, NULL) == CORRELATION_USABLE &&
           span_is(correlation, view->correlation);
}

/* The undos of the chain that wait in the database, locked. */
static int find_undos(const struct operation *operation, const struct act *act, bool stuck, struct parked_id **ret,
                      size_t *ret_count, struct error *error)
{
    struct rows *rows = NULL;
    size_t group_count;
    struct span *groups = operation_groups(operation, &group_count);
    int code = operation_result(ledger_parked_search(operation->connection, groups, group_count,
                                                     span_of(act->view->correlation), stuck, &rows, error),
                                error);
    if (code != 0)
        return code;
    *ret = arena_array(operation->arena, struct parked_id, rows_count(rows) + 1);
    *ret_count = 0;
    for (size_t i = 0; i < rows_count(rows); i++) {
        struct event_id event;
        if (is_undo_of(operation, act->view, rows_span(rows, i, 2), &event))
            (*ret)[(*ret_count)++] = (struct parked_id){(int16_t)rows_int64(rows, i, 0), rows_uuid(rows, i, 1), event};
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------------------------- acts */

static int resume(const struct operation *operation, void *context, struct error *error)
{
    struct act *act = context;
    struct parked_id *undos;
    int code = act_begin(operation, act, error);
    if (code == 0 && act->row.facts.state != CHAIN_STUCK)
        return refuse(act, error, arena_format(operation->arena, "is not stuck: it is %s", act->view->state),
                      "only an undo that failed for good is resumed");
    if (code == 0)
        code = find_undos(operation, act, true, &undos, &act->undos, error);
    if (code == 0 && act->undos == 0)
        return refuse(act, error, "is stuck, and the undo that failed does not wait any more",
                      "it was cancelled or deleted: `sluice chain close` ends the chain");
    act->row.facts.state = CHAIN_ABORTED;
    if (code == 0)
        code = operation_result(ledger_parked_due(operation->connection, undos, act->undos, &act->undos, error), error);
    if (code == 0)
        code = operation_result(ledger_chain_update(operation->connection, &act->row, error), error);
    return code == 0 ? act_end(operation, act, error) : code;
}

static int ask_abort(const struct operation *operation, void *context, struct error *error)
{
    struct act *act = context;
    int code = act_begin(operation, act, error);
    if (code == 0 && act->row.facts.state != CHAIN_RUNNING)
        return refuse(act, error, arena_format(operation->arena, "does not run: it is %s", act->view->state),
                      "only what runs is aborted");
    struct span why = operation_words(operation);
    if (code == 0)
        code = operation_result(ledger_chain_ask(operation->connection, &act->row, why, error), error);
    return code == 0 ? act_end(operation, act, error) : code;
}

/* None of its timers runs any more. */
static int close_timers(const struct operation *operation, const struct act *act, struct error *error)
{
    struct event_id timers[CHAIN_TIMERS_MAX];
    size_t group_count;
    struct span *groups = operation_groups(operation, &group_count);
    for (int32_t n = 0; n < CHAIN_TIMERS_MAX; n++)
        timers[n] = event_id_timer(act->row.chain, n, act->row.correlation);
    return operation_result(
        ledger_timers_close(operation->connection, groups, group_count, timers, CHAIN_TIMERS_MAX, error), error);
}

static int close_chain(const struct operation *operation, void *context, struct error *error)
{
    struct act *act = context;
    struct parked_id *undos;
    int code = act_begin(operation, act, error);
    bool undone = act->row.facts.state == CHAIN_UNDONE && strcmp(act->view->state, "aborted") != 0;
    if (code == 0 && (undone || act->row.facts.state == CHAIN_CLOSED))
        return refuse(act, error, arena_format(operation->arena, "is over already: it is %s", act->view->state),
                      "there is nothing to close");
    if (code == 0)
        code = find_undos(operation, act, false, &undos, &act->undos, error);
    struct span words = operation_words(operation);
    struct span why = span_of(arena_format(operation->arena, "closed by %.*s", (int)words.length, words.at));
    if (code == 0)
        code = operation_result(ledger_chain_close(operation->connection, &act->row, why, error), error);
    if (code == 0)
        code = close_timers(operation, act, error);
    why = span_of(arena_format(operation->arena, "cancelled with its chain, %.*s", (int)why.length, why.at));
    if (code == 0 && act->undos > 0)
        code = operation_result(ledger_parked_cancel(operation->connection, undos, act->undos, why, &act->undos, error),
                                error);
    return code == 0 ? act_end(operation, act, error) : code;
}

static const struct {
    const char *name, *words;
    int (*act)(const struct operation *operation, void *context, struct error *error);
} acts[] = {
    [CHAIN_RESUME] = {"resumed", "chain resume", resume},
    [CHAIN_ABORT_ASK] = {"abort asked", "chain abort", ask_abort},
    [CHAIN_CLOSE] = {"closed", "chain close", close_chain},
};

int chain_act(const struct operation *operation, enum chain_act what, const struct chain_view *view,
              struct chain_did *ret, struct error *error)
{
    struct act act = {.view = view, .words = acts[what].words};
    int code = operation_transact(operation, acts[what].act, &act, error);
    if (code == 0)
        *ret = (struct chain_did){.did = acts[what].name, .undos = act.undos};
    return code;
}
