/*
 * chain.c - one row a correlation: steps done, doings undone, aborted or not; and the definitions of chains.
 *
 * A row is locked by the transaction that marks a step or an abort, until it ends: of a step and an abort that happen
 * at the same time, one sees the other.
 */
#include "store/ledger/inner.h"
#include "store/ledger_timeout.h"

#include <errno.h>
#include <stdlib.h>

enum { CHAINS_OF_CALL_MAX = 1000 };

/* An input with its place in the caller's list, which is what the rows that come back are numbered by. */
struct placed {
    struct chain_done done;
    int32_t place;
    int32_t bit;
    char byte; /* the step */
    struct span step;
};

/*
 * One row a correlation, in the order of the primary key, so that two batches cannot deadlock. This is chain_note()
 * (flow/chain.h) for all of them: doings are appended; a chain that is over and whose step is done again begins its
 * next generation. A chain with another definition is left as it is: its steps have other numbers.
 */
// clang-format off
#define SAME "coalesce(c.definition, excluded.definition) = excluded.definition"
#define AGAIN SAME " and c.state in (2, 4) and c.done & excluded.done <> 0"
/* Of a new row: another one than any that was pruned had, or its undos would have the ids of earlier ones. */
#define GENERATION(chain) \
    "coalesce(case when (select true from sluice.chain_pruned limit 1)" \
    " then (select p.generation + 1 from sluice.chain_pruned p where p.chain = " chain ") end, 0)"
#define FOLLOWED(row) row ".chain = any ($12)"
#define NOTED(column, again, appended) \
    column " = case when " AGAIN " then " again " when " SAME " then " appended " else c." column " end,"
#define BEGUN(column, again) column " = case when " AGAIN " then " again " else c." column " end,"
#define CHAIN_UPSERT \
    " on conflict on constraint chain_pkey do update set at = excluded.at," \
    " definition = coalesce(c.definition, excluded.definition)," \
    BEGUN("state", "0") \
    BEGUN("generation", "c.generation + 1") \
    BEGUN("began", "excluded.at") \
    BEGUN("reason", "null") \
    BEGUN("undoing", "0") \
    BEGUN("undone", "0") \
    NOTED("missing", "excluded.missing", \
          "case when " FOLLOWED("c") " then c.missing & excluded.missing else c.missing end") \
    NOTED("due", "excluded.due", "case when c.missing & excluded.missing <> 0 or c.asked is not null then c.due end") \
    NOTED("over", "excluded.over", \
          "case when c.state = 0 and " FOLLOWED("c") " and c.missing & excluded.missing = 0" \
          "      and (c.missing <> 0 or c.over is not null) then excluded.at else c.over end") \
    NOTED("done", "excluded.done", "c.done | excluded.done") \
    NOTED("steps", "excluded.steps", "c.steps || excluded.steps") \
    " data = case when " AGAIN " then excluded.data when " SAME " then c.data || excluded.data else c.data end" \
    " returning c.chain, c.correlation, c.definition, c.state, c.generation, c.steps, c.undoing, c.undone," \
    "   c.missing) " \
    "select i.place, w.definition, w.state, w.generation, w.steps, w.undoing, w.undone, w.missing," \
    "   (w.definition = i.definition)::int4" \
    " from written w join unnest($1, $3, $7, $8) as i(chain, correlation, place, definition)" \
    "   on i.chain = w.chain and i.correlation = w.correlation" \
    " where w.state <> 0 or w.definition <> i.definition or octet_length(w.steps) > $9 or w.chain = any ($13)" \
    " order by i.place"
#define CHAIN_INSERT \
    "with written as (insert into sluice.chain as c" \
    " (chain, at, began, correlation, correlation_text, generation, done, steps, data, definition, missing, due," \
    "   over)" \
    " select u.chain, " LEDGER_NOW ", " LEDGER_NOW ", u.correlation, u.text, " GENERATION("u.chain") "," \
    "   u.done, u.steps, u.data, u.definition, u.missing," \
    "   case when u.timeout > 0 and u.missing <> 0 then now() + u.timeout * interval '1 millisecond' end," \
    "   case when " FOLLOWED("u") " and u.missing = 0 then " LEDGER_NOW " end from ("
#define CHAIN_INPUT ") u"

/* The common case: every correlation stands once in the call. Nothing is sorted or grouped again. */
static const struct statement statement_chain_done = {
    CHAIN_INSERT
    "select i.chain, i.correlation, i.text, i.bit as done,"
    "   case when i.data is null then ''::bytea else i.step end as steps,"
    "   case when i.data is null then '{}' else array[i.data] end as data, i.definition, i.missing, i.timeout"
    " from unnest($1, $2, $3, $4, $5, $6, $8, $10, $11)"
    "   as i(chain, step, correlation, text, data, bit, definition, missing, timeout)"
    CHAIN_INPUT CHAIN_UPSERT,
    false,
};
static const struct statement statement_chain_done_grouped = {
    CHAIN_INSERT
    "select i.chain, i.correlation, min(i.text) as text, bit_or(i.bit) as done,"
    "   coalesce(string_agg(i.step, ''::bytea order by i.place) filter (where i.data is not null), '') as steps,"
    "   coalesce(array_agg(i.data order by i.place) filter (where i.data is not null), '{}') as data,"
    "   min(i.definition) as definition, bit_and(i.missing) as missing, max(i.timeout) as timeout"
    " from unnest($1, $2, $3, $4, $5, $6, $7, $8, $10, $11)"
    "   as i(chain, step, correlation, text, data, bit, place, definition, missing, timeout)"
    " group by i.chain, i.correlation order by i.chain, i.correlation"
    CHAIN_INPUT CHAIN_UPSERT,
    false,
};
// clang-format on

static int placed_compare(const void *left, const void *right)
{
    const struct placed *a = left, *b = right;
    if (a->done.chain != b->done.chain)
        return a->done.chain < b->done.chain ? -1 : 1;
    int order = memcmp(&a->done.correlation, &b->done.correlation, sizeof a->done.correlation);
    return order != 0 ? order : a->place < b->place ? -1 : 1;
}

static bool same_chain(const struct placed *a, const struct placed *b)
{
    return a->done.chain == b->done.chain &&
           memcmp(&a->done.correlation, &b->done.correlation, sizeof a->done.correlation) == 0;
}

/* Seven columns from `first` on: definition, state, generation, steps, undoing, undone, missing. False: more doings
 * than there is room for. */
static bool facts_read(const struct rows *rows, size_t row, size_t first, struct chain_row *ret)
{
    struct span steps = rows_span(rows, row, first + 3);
    ret->definition = rows_null(rows, row, first) ? 0 : (int32_t)rows_int64(rows, row, first);
    ret->missing = (int32_t)rows_int64(rows, row, first + 6);
    ret->facts = (struct chain_facts){.state = (int16_t)rows_int64(rows, row, first + 1),
                                      .generation = (int32_t)rows_int64(rows, row, first + 2),
                                      .undoing = (uint64_t)rows_int64(rows, row, first + 4),
                                      .undone = (uint64_t)rows_int64(rows, row, first + 5)};
    bool all = steps.length <= CHAIN_DOINGS_MAX;
    ret->facts.count = all ? (int32_t)steps.length : CHAIN_DOINGS_MAX;
    memcpy(ret->facts.steps, steps.at, (size_t)ret->facts.count);
    return all;
}

/* Sorted as the statement locks; *ret_once: every correlation stands once. */
static struct placed *place_all(const struct chain_done *done, size_t count, bool *ret_once)
{
    struct placed *list = calloc(count + 1, sizeof *list);
    *ret_once = true;
    for (size_t i = 0; list != NULL && i < count; i++)
        list[i] = (struct placed){.done = done[i],
                                  .place = (int32_t)i,
                                  .bit = done[i].data.at == NULL ? 0 : (int32_t)(1u << done[i].step),
                                  .byte = (char)done[i].step};
    if (list != NULL)
        qsort(list, count, sizeof *list, placed_compare);
    for (size_t i = 0; list != NULL && i < count; i++) {
        list[i].step = (struct span){&list[i].byte, 1};
        *ret_once = *ret_once && (i == 0 || !same_chain(&list[i - 1], &list[i]));
    }
    return list;
}

/* The chains in a sorted list that are followed to their end, or have timers. */
static size_t list_chains(const struct placed *list, size_t count, bool timed, int16_t *ret)
{
    size_t found = 0;
    for (size_t i = 0; i < count && found < CHAINS_OF_CALL_MAX; i++)
        if ((timed ? list[i].done.timed : list[i].done.followed) &&
            (found == 0 || ret[found - 1] != list[i].done.chain))
            ret[found++] = list[i].done.chain;
    return found;
}

enum store_result ledger_chain_done(struct connection *connection, const struct chain_done *done, size_t count,
                                    struct chain_noted *ret, size_t *ret_count, struct error *error)
{
    for (size_t i = 0; i < count; i++)
        if (done[i].step < 0 || done[i].step >= CHAIN_STEPS_MAX) {
            error_set(error, EINVAL, "a chain may have %d steps; a step has the number %d", (int)CHAIN_STEPS_MAX,
                      done[i].step);
            return connection_fail(connection, STORE_DEPLOY);
        }
    bool once;
    struct placed *list = place_all(done, count, &once);
    if (list == NULL) {
        error_set(error, ENOMEM, "out of memory for %zu steps of chains", count);
        return connection_fail(connection, STORE_DOWN);
    }
    const int32_t most = CHAIN_DOINGS_MAX;
    int16_t followed[CHAINS_OF_CALL_MAX], timed[CHAINS_OF_CALL_MAX];
    size_t followed_count = list_chains(list, count, false, followed),
           timed_count = list_chains(list, count, true, timed);
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &list[0].done.chain, count, sizeof *list),
        STORE_COLUMN(PARAM_BYTEA, &list[0].step, count, sizeof *list),
        STORE_COLUMN(PARAM_UUID, &list[0].done.correlation, count, sizeof *list),
        STORE_COLUMN(PARAM_TEXT, &list[0].done.correlation_text, count, sizeof *list),
        STORE_COLUMN(PARAM_BYTEA, &list[0].done.data, count, sizeof *list),
        STORE_COLUMN(PARAM_INT4, &list[0].bit, count, sizeof *list),
        STORE_COLUMN(PARAM_INT4, &list[0].place, count, sizeof *list),
        STORE_COLUMN(PARAM_INT4, &list[0].done.definition, count, sizeof *list),
        STORE_VALUE(PARAM_INT4, &most),
        STORE_COLUMN(PARAM_INT4, &list[0].done.missing, count, sizeof *list),
        STORE_COLUMN(PARAM_INT8, &list[0].done.timeout_ms, count, sizeof *list),
        STORE_ARRAY(PARAM_INT2, followed, followed_count),
        STORE_ARRAY(PARAM_INT2, timed, timed_count),
    };
    struct rows *rows;
    enum store_result result = connection_exec(connection, once ? &statement_chain_done : &statement_chain_done_grouped,
                                               13, params, &rows, error);
    free(list);
    *ret_count = result == STORE_OK ? rows_count(rows) : 0;
    for (size_t r = 0; r < *ret_count; r++) {
        struct chain_noted *noted = &ret[r];
        *noted = (struct chain_noted){.input = (size_t)rows_int64(rows, r, 0), .noted = rows_int64(rows, r, 8) != 0};
        noted->row.chain = done[noted->input].chain;
        noted->row.correlation = done[noted->input].correlation;
        noted->too_many = !facts_read(rows, r, 1, &noted->row);
    }
    return result;
}

/* Two statements, one round trip: the second sees a row that another transaction made while the first one waited for
 * it. */
static const struct statement statement_chain_make = {
    "insert into sluice.chain (chain, at, began, correlation, correlation_text, definition, generation)"
    " values ($1, " LEDGER_NOW ", " LEDGER_NOW
    ", $2, $3, $4, " GENERATION("$1") ") on conflict on constraint chain_pkey do nothing",
    false,
};
static const struct statement statement_chain_lock = {
    "select definition, state, generation, steps, undoing, undone, missing from sluice.chain"
    " where chain = $1 and correlation = $2 for no key update",
    false,
};
static const struct statement statement_chain_abort = {
    "update sluice.chain set state = 1, reason = $3, due = null, asked = null, over = null, at = " LEDGER_NOW
    " where chain = $1 and correlation = $2",
    false,
};

enum store_result ledger_chain_lock(struct connection *connection, int16_t chain, struct event_id correlation,
                                    struct chain_row *ret, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &chain), STORE_VALUE(PARAM_UUID, &correlation)};
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_chain_lock, 2, params, &rows, error);
    if (result != STORE_OK)
        return result;
    *ret = (struct chain_row){.chain = rows_count(rows) == 0 ? -1 : chain, .correlation = correlation};
    if (rows_count(rows) != 0)
        (void)facts_read(rows, 0, 0, ret);
    return result;
}

enum store_result ledger_chain_abort(struct connection *connection, int16_t chain, int32_t definition,
                                     struct event_id correlation, struct span correlation_text, struct span reason,
                                     struct chain_row *ret, struct error *error)
{
    const struct store_param make[] = {STORE_VALUE(PARAM_INT2, &chain), STORE_VALUE(PARAM_UUID, &correlation),
                                       STORE_VALUE(PARAM_TEXT, &correlation_text),
                                       STORE_VALUE(PARAM_INT4, &definition)};
    const struct store_param abort[] = {STORE_VALUE(PARAM_INT2, &chain), STORE_VALUE(PARAM_UUID, &correlation),
                                        STORE_VALUE(PARAM_TEXT, &reason)};
    struct chain_row row;
    enum store_result result = connection_queue(connection, &statement_chain_make, 4, make, error);
    if (result == STORE_OK)
        result = ledger_chain_lock(connection, chain, correlation, &row, error);
    if (result == STORE_OK && row.chain >= 0 && row.facts.state == CHAIN_RUNNING)
        result = connection_queue(connection, &statement_chain_abort, 3, abort, error);
    if (result == STORE_OK)
        *ret = row;
    return result;
}

static const struct statement statement_chain_data = {
    "select data[$3], reason from sluice.chain where chain = $1 and correlation = $2",
    false,
};

enum store_result ledger_chain_data(struct connection *connection, int16_t chain, struct event_id correlation,
                                    int32_t doing, struct span *ret_data, struct span *ret_reason, struct error *error)
{
    const int32_t place = doing + 1;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &chain), STORE_VALUE(PARAM_UUID, &correlation),
                                         STORE_VALUE(PARAM_INT4, &place)};
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_chain_data, 3, params, &rows, error);
    if (result == STORE_OK) {
        *ret_data = rows_span(rows, 0, 0);
        *ret_reason = rows_span(rows, 0, 1);
    }
    return result;
}

static const struct statement statement_chain_note = {
    "update sluice.chain set done = case when $3 then $4 else done | $4 end,"
    " steps = case when $3 then $5 else steps || $5 end,"
    " data = case when $3 then $6 else data || $6 end,"
    " reason = case when $3 then null else reason end, began = case when $3 then " LEDGER_NOW " else began end,"
    " due = case when $9 = 0 and asked is null then null when not $3 then due"
    "   when $10 > 0 then now() + $10 * interval '1 millisecond' end,"
    " over = case when $9 = 0 and ($3 and $11 or not $3 and state = 0 and (missing <> 0 or over is not null))"
    "   then " LEDGER_NOW " when $3 then null else over end,"
    " missing = $9, definition = $8, generation = $7, at = " LEDGER_NOW " where chain = $1 and correlation = $2",
    false,
};

enum store_result ledger_chain_note(struct connection *connection, const struct chain_row *row,
                                    const struct chain_done *done, bool begins, struct error *error)
{
    const int32_t generation = row->facts.generation;
    const char byte = done->data.at == NULL ? 0 : (char)row->facts.steps[row->facts.count - 1];
    const int32_t bit = done->data.at == NULL ? 0 : (int32_t)(1u << (unsigned char)byte);
    const struct span step = {&byte, done->data.at == NULL ? 0 : 1};
    const struct store_param params[] = {
        STORE_VALUE(PARAM_INT2, &row->chain),     STORE_VALUE(PARAM_UUID, &row->correlation),
        STORE_VALUE(PARAM_BOOL, &begins),         STORE_VALUE(PARAM_INT4, &bit),
        STORE_VALUE(PARAM_BYTEA, &step),          STORE_ARRAY(PARAM_BYTEA, &done->data, done->data.at == NULL ? 0 : 1),
        STORE_VALUE(PARAM_INT4, &generation),     STORE_VALUE(PARAM_INT4, &row->definition),
        STORE_VALUE(PARAM_INT4, &row->missing),   STORE_VALUE(PARAM_INT8, &done->timeout_ms),
        STORE_VALUE(PARAM_BOOL, &done->followed),
    };
    return connection_queue(connection, &statement_chain_note, 11, params, error);
}

static const struct statement statement_chain_update = {
    "update sluice.chain set state = $3, undoing = $4, undone = $5,"
    " over = case when $3 in (0, 4) then over when $3 = 2 then " LEDGER_NOW " end, at = " LEDGER_NOW
    " where chain = $1 and correlation = $2",
    false,
};

enum store_result ledger_chain_update(struct connection *connection, const struct chain_row *row, struct error *error)
{
    const struct store_param params[] = {
        STORE_VALUE(PARAM_INT2, &row->chain),        STORE_VALUE(PARAM_UUID, &row->correlation),
        STORE_VALUE(PARAM_INT2, &row->facts.state),  STORE_VALUE(PARAM_INT8, &row->facts.undoing),
        STORE_VALUE(PARAM_INT8, &row->facts.undone),
    };
    return connection_queue(connection, &statement_chain_update, 5, params, error);
}

/* --------------------------------------------------------------------------------------------------------- timeouts */

static const struct statement statement_chain_timeout_next = {
    "select min(c.due) from sluice.chain c where c.due is not null and c.state = 0", false};

enum store_result ledger_chain_timeout_next(struct connection *connection, int64_t *ret_ms, struct error *error)
{
    struct rows *rows;
    enum store_result result = connection_run(connection, &statement_chain_timeout_next, 0, NULL, &rows, error);
    if (result == STORE_OK)
        *ret_ms = rows_null(rows, 0, 0) ? INT64_MAX : rows_int64(rows, 0, 0);
    return result;
}

static const struct statement statement_chain_timeouts = {
    "with over as (select c.chain, c.correlation, u.correlate, u.place from sluice.chain c"
    "   join unnest($1, $2) with ordinality as u(chain, correlate, place) on u.chain = c.chain"
    "   where c.due <= now() and c.state = 0 order by c.due limit $4 for update of c skip locked) "
    "update sluice.chain c set due = now() + $3 * interval '1 millisecond' from over o"
    " where c.chain = o.chain and c.correlation = o.correlation "
    "returning (o.place - 1)::int4, c.correlation_text, convert_to(json_build_object("
    "  'eventId', case when c.asked is null then 'timeout-' else 'abort-' end ||"
    "    c.chain || '-' || c.generation || '-' || c.correlation, 'data', json_build_object("
    "    o.correlate, c.correlation_text, 'generation', c.generation, 'reason', coalesce(c.asked, 'timeout'),"
    "    case when c.asked is null then 'timeout' else 'asked' end, true))::text, 'UTF8')",
    false,
};

enum store_result ledger_chain_timeouts(struct connection *connection, const int16_t *chains,
                                        const struct span *correlates, size_t count, int64_t hold_ms, int32_t limit,
                                        struct rows **ret, struct error *error)
{
    double hold = (double)hold_ms;
    const struct store_param params[] = {STORE_ARRAY(PARAM_INT2, chains, count),
                                         STORE_ARRAY(PARAM_TEXT, correlates, count), STORE_VALUE(PARAM_DOUBLE, &hold),
                                         STORE_VALUE(PARAM_INT4, &limit)};
    return connection_run(connection, &statement_chain_timeouts, 4, params, ret, error);
}

/* --------------------------------------------------------------------------------------------------------- pruning */

static const struct statement statement_chain_prune = {
    "with old as (select chain, correlation from sluice.chain where chain = $1 and over < " LEDGER_NOW " - $2"
    "   order by over limit $3 for update skip locked),"
    " pruned as (delete from sluice.chain c using old o where c.chain = o.chain and c.correlation = o.correlation"
    "   returning c.generation),"
    " noted as (insert into sluice.chain_pruned as p (chain, generation)"
    "   select $1, max(generation) from pruned having count(*) > 0"
    "   on conflict (chain) do update set generation = greatest(p.generation, excluded.generation)) "
    "select count(*) from pruned",
    false,
};

enum store_result ledger_chains_prune(struct connection *connection, int16_t chain, int64_t retain_ms, int32_t limit,
                                      size_t *ret, struct error *error)
{
    int64_t retain_s = retain_ms / 1000;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &chain), STORE_VALUE(PARAM_INT8, &retain_s),
                                         STORE_VALUE(PARAM_INT4, &limit)};
    struct rows *rows;
    enum store_result result = connection_run(connection, &statement_chain_prune, 3, params, &rows, error);
    if (result == STORE_OK)
        *ret = (size_t)rows_int64(rows, 0, 0);
    return result;
}

/* ------------------------------------------------------------------------------------------------------ definitions */

static const struct statement statement_chain_define = {
    "insert into sluice.chain_definition (chain, hash, definition) select $1, $2, $3"
    " where not exists (select from sluice.chain_definition where chain = $1 and hash = $2)"
    " on conflict on constraint chain_definition_hash do nothing",
    false,
};
static const struct statement statement_chain_defined = {
    "select number from sluice.chain_definition where chain = $1 and hash = $2", false};
static const struct statement statement_chain_definition = {
    "select definition from sluice.chain_definition where number = $1", false};

enum store_result ledger_chain_define(struct connection *connection, int16_t chain, struct span definition,
                                      int32_t *ret_number, struct error *error)
{
    struct event_id hash;
    struct rows *rows;
    span_hash128(definition, hash.bytes);
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &chain), STORE_VALUE(PARAM_UUID, &hash),
                                         STORE_VALUE(PARAM_TEXT, &definition)};
    enum store_result result = connection_exec(connection, &statement_chain_define, 3, params, &rows, error);
    if (result == STORE_OK)
        result = connection_exec(connection, &statement_chain_defined, 2, params, &rows, error);
    if (result == STORE_OK)
        *ret_number = (int32_t)rows_int64(rows, 0, 0);
    return result;
}

static const struct statement statement_chain_definitions = {
    "select d.definition from sluice.chain_definition d join sluice.name n on n.number = d.chain"
    " where n.kind = 'c' and n.name = $1 order by d.number",
    false,
};

enum store_result ledger_chain_definitions(struct connection *connection, struct span chain, struct rows **ret,
                                           struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &chain)};
    return connection_run(connection, &statement_chain_definitions, 1, params, ret, error);
}

enum store_result ledger_chain_definition(struct connection *connection, int32_t number, struct span *ret,
                                          struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT4, &number)};
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_chain_definition, 1, params, &rows, error);
    if (result == STORE_OK)
        *ret = rows_count(rows) == 0 ? (struct span){NULL, 0} : rows_span(rows, 0, 0);
    return result;
}
