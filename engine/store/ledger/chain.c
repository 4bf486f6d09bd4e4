/*
 * chain.c - one row a correlation: steps done, doings undone, aborted or not; and the definitions of chains.
 *
 * A row is locked by the transaction that marks a step or an abort, until it ends: of a step and an abort that happen
 * at the same time, one sees the other.
 */
#include "store/ledger/inner.h"

#include <errno.h>
#include <stdlib.h>

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
#define SAME "coalesce(c.definition, excluded.definition) = excluded.definition"
#define AGAIN SAME " and c.state = 2 and c.done & excluded.done <> 0"
#define NOTED(column, appended)                                                                                        \
    column " = case when " AGAIN " then excluded." column " when " SAME " then " appended " else c." column " end"
#define CHAIN_UPSERT                                                                                                   \
    "       on conflict on constraint chain_pkey do update set at = excluded.at,"                                      \
    "         definition = coalesce(c.definition, excluded.definition),"                                               \
    "         state = case when " AGAIN " then 0 else c.state end,"                                                    \
    "         generation = case when " AGAIN " then c.generation + 1 else c.generation end,"                           \
    "         began = case when " AGAIN " then excluded.at else c.began end,"                                          \
    "         due = case when " AGAIN " then excluded.due"                                                             \
    "           when " SAME " and c.missing & excluded.missing = 0 then null else c.due end,"                          \
    "         reason = case when " AGAIN " then null else c.reason end,"                                               \
    "         undoing = case when " AGAIN " then 0 else c.undoing end,"                                                \
    "         undone = case when " AGAIN                                                                               \
    " then 0 else c.undone end," NOTED("missing", "c.missing & excluded.missing") "," NOTED(                           \
        "done",                                                                                                        \
        "c.done | excluded.done") "," NOTED("steps",                                                                   \
                                            "c.steps || excluded.steps") "," NOTED("data",                             \
                                                                                   "c.data || excluded.data") "      " \
                                                                                                              " retur" \
                                                                                                              "ning "  \
                                                                                                              "c."     \
                                                                                                              "chain," \
                                                                                                              " c."    \
                                                                                                              "correl" \
                                                                                                              "ation," \
                                                                                                              " c."    \
                                                                                                              "defini" \
                                                                                                              "tion, " \
                                                                                                              "c."     \
                                                                                                              "state," \
                                                                                                              " c."    \
                                                                                                              "genera" \
                                                                                                              "tion, " \
                                                                                                              "c."     \
                                                                                                              "steps," \
                                                                                                              " c."    \
                                                                                                              "undoin" \
                                                                                                              "g, "    \
                                                                                                              "c."     \
                                                                                                              "undone" \
                                                                                                              ","      \
                                                                                                              "      " \
                                                                                                              "   "    \
                                                                                                              "c."     \
                                                                                                              "missin" \
                                                                                                              "g) "    \
                                                                                                              "select" \
                                                                                                              " i."    \
                                                                                                              "place," \
                                                                                                              " w."    \
                                                                                                              "defini" \
                                                                                                              "tion, " \
                                                                                                              "w."     \
                                                                                                              "state," \
                                                                                                              " w."    \
                                                                                                              "genera" \
                                                                                                              "tion, " \
                                                                                                              "w."     \
                                                                                                              "steps," \
                                                                                                              " w."    \
                                                                                                              "undoin" \
                                                                                                              "g, "    \
                                                                                                              "w."     \
                                                                                                              "undone" \
                                                                                                              ", "     \
                                                                                                              "w."     \
                                                                                                              "missin" \
                                                                                                              "g,"     \
                                                                                                              "  "     \
                                                                                                              "(w."    \
                                                                                                              "defini" \
                                                                                                              "tion "  \
                                                                                                              "= "     \
                                                                                                              "i."     \
                                                                                                              "defini" \
                                                                                                              "tion):" \
                                                                                                              ":int4 " \
                                                                                                              "from "  \
                                                                                                              "writte" \
                                                                                                              "n w "   \
                                                                                                              "join "  \
                                                                                                              "unnest" \
                                                                                                              "($1, "  \
                                                                                                              "$3, "   \
                                                                                                              "$7, "   \
                                                                                                              "$8) "   \
                                                                                                              "as "    \
                                                                                                              "i("     \
                                                                                                              "chain," \
                                                                                                              " corre" \
                                                                                                              "lation" \
                                                                                                              ", "     \
                                                                                                              "place," \
                                                                                                              " defin" \
                                                                                                              "ition)" \
                                                                                                              "  on "  \
                                                                                                              "i."     \
                                                                                                              "chain " \
                                                                                                              "= "     \
                                                                                                              "w."     \
                                                                                                              "chain " \
                                                                                                              "and "   \
                                                                                                              "i."     \
                                                                                                              "correl" \
                                                                                                              "ation " \
                                                                                                              "= "     \
                                                                                                              "w."     \
                                                                                                              "correl" \
                                                                                                              "ation"  \
                                                                                                              "  "     \
                                                                                                              "where " \
                                                                                                              "w."     \
                                                                                                              "state " \
                                                                                                              "<> 0 "  \
                                                                                                              "or "    \
                                                                                                              "w."     \
                                                                                                              "defini" \
                                                                                                              "tion "  \
                                                                                                              "<> "    \
                                                                                                              "i."     \
                                                                                                              "defini" \
                                                                                                              "tion "  \
                                                                                                              "or "    \
                                                                                                              "octet_" \
                                                                                                              "length" \
                                                                                                              "(w."    \
                                                                                                              "steps)" \
                                                                                                              " > $9 " \
                                                                                                              "order " \
                                                                                                              "by "    \
                                                                                                              "i."     \
                                                                                                              "place"

#define DUE(timeout, missing)                                                                                          \
    "case when " timeout " > 0 and " missing " <> 0 then now() + " timeout " * interval '1 millisecond' end"

/* The common case: every correlation stands once in the call. Nothing is sorted or grouped again. */
static const struct statement statement_chain_done = {
    "with written as (insert into sluice.chain as c"
    "         (chain, at, began, correlation, correlation_text, done, steps, data, definition, missing, due)"
    "       select u.chain, " LEDGER_NOW ", " LEDGER_NOW ", u.correlation, u.text, u.bit,"
    "         case when u.data is null then ''::bytea else u.step end,"
    "         case when u.data is null then '{}' else array[u.data] end, u.definition, u.missing,"
    "         " DUE("u.timeout", "u.missing") "       from unnest($1, $2, $3, $4, $5, $6, $8, $10, $11)"
                                              "         as u(chain, step, correlation, text, data, bit, definition, "
                                              "missing, timeout)" CHAIN_UPSERT,
    false,
};
static const struct statement statement_chain_done_grouped = {
    "with written as (insert into sluice.chain as c"
    "         (chain, at, began, correlation, correlation_text, done, steps, data, definition, missing, due)"
    "       select u.chain, " LEDGER_NOW ", " LEDGER_NOW ", u.correlation, min(u.text), bit_or(u.bit),"
    "         coalesce(string_agg(u.step, ''::bytea order by u.place) filter (where u.data is not null), ''),"
    "         coalesce(array_agg(u.data order by u.place) filter (where u.data is not null), '{}'), min(u.definition),"
    "         bit_and(u.missing), " DUE(
        "max(u.timeout)",
        "bit_and(u.missing)") "       from unnest($1, $2, $3, $4, $5, $6, $7, $8, $10, $11)"
                              "         as u(chain, step, correlation, text, data, bit, place, definition, missing, "
                              "timeout)"
                              "       group by u.chain, u.correlation order by u.chain, u.correlation" CHAIN_UPSERT,
    false,
};

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
    };
    struct rows *rows;
    enum store_result result = connection_exec(connection, once ? &statement_chain_done : &statement_chain_done_grouped,
                                               11, params, &rows, error);
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
    "insert into sluice.chain (chain, at, began, correlation, correlation_text, definition)"
    " values ($1, " LEDGER_NOW ", " LEDGER_NOW ", $2, $3, $4) on conflict on constraint chain_pkey do nothing",
    false,
};
static const struct statement statement_chain_lock = {
    "select definition, state, generation, steps, undoing, undone, missing from sluice.chain"
    " where chain = $1 and correlation = $2 for no key update",
    false,
};
static const struct statement statement_chain_abort = {
    "update sluice.chain set state = 1, reason = $3, due = null, at = " LEDGER_NOW
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
    "update sluice.chain set done = case when $3 = 1 then $4 else done | $4 end,"
    " steps = case when $3 = 1 then $5 else steps || $5 end,"
    " data = case when $3 = 1 then array[$6] else data || array[$6] end,"
    " reason = case when $3 = 1 and $7 > generation then null else reason end,"
    " definition = case when $3 = 1 then $8 else definition end, generation = $7, at = " LEDGER_NOW
    " where chain = $1 and correlation = $2",
    false,
};

enum store_result ledger_chain_note(struct connection *connection, const struct chain_row *row, struct span data,
                                    struct error *error)
{
    const int32_t count = row->facts.count, generation = row->facts.generation;
    const char byte = (char)row->facts.steps[count - 1];
    const int32_t bit = (int32_t)(1u << (unsigned char)byte);
    const struct span step = {&byte, 1};
    const struct store_param params[] = {
        STORE_VALUE(PARAM_INT2, &row->chain), STORE_VALUE(PARAM_UUID, &row->correlation),
        STORE_VALUE(PARAM_INT4, &count),      STORE_VALUE(PARAM_INT4, &bit),
        STORE_VALUE(PARAM_BYTEA, &step),      STORE_VALUE(PARAM_BYTEA, &data),
        STORE_VALUE(PARAM_INT4, &generation), STORE_VALUE(PARAM_INT4, &row->definition),
    };
    return connection_queue(connection, &statement_chain_note, 8, params, error);
}

static const struct statement statement_chain_update = {
    "update sluice.chain set state = $3, undoing = $4, undone = $5, at = " LEDGER_NOW
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

static const struct statement statement_chain_timeouts = {
    "with over as (select chain, correlation from sluice.chain where due <= now() and state = 0 and chain = $1"
    "   order by due limit $4 for update skip locked) "
    "update sluice.chain c set due = now() + $3 * interval '1 millisecond' from over o"
    " where c.chain = o.chain and c.correlation = o.correlation "
    "returning c.correlation_text, convert_to(json_build_object("
    "  'eventId', 'timeout-' || c.chain || '-' || c.generation || '-' || c.correlation, 'data', json_build_object("
    "    $2::text, c.correlation_text, 'generation', c.generation, 'reason', 'timeout'))::text, 'UTF8')",
    false,
};

enum store_result ledger_chain_timeouts(struct connection *connection, int16_t chain, struct span correlate,
                                        int64_t hold_ms, int32_t limit, struct rows **ret, struct error *error)
{
    double hold = (double)hold_ms;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &chain), STORE_VALUE(PARAM_TEXT, &correlate),
                                         STORE_VALUE(PARAM_DOUBLE, &hold), STORE_VALUE(PARAM_INT4, &limit)};
    return connection_run(connection, &statement_chain_timeouts, 4, params, ret, error);
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
