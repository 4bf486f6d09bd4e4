/*
 * dead_letter.c - dead letters, and what became of them.
 *
 * A filter is a range of each column, from a word to itself or from nothing to everything, so that one statement with
 * one index (dead_letter_open) answers every filter: the index is read from the row where the last page ended, and what
 * does not match is passed by without its row. Ids and a correlation have an index of their own, and a statement.
 */
#include "store/ledger/inner.h"

#include <errno.h>

static const struct statement statement_add = {
    "insert into sluice.dead_letter (consumer_group, noted, attempts, round, partition, log_offset, before, event_id,"
    " topic, handler, reason, event, correlation, message, record) "
    "select u.consumer_group, u.noted, u.attempts, u.round, nullif(u.partition, -1), nullif(u.log_offset, -1),"
    "       nullif(u.before, 0), u.event_id, u.topic, u.handler, u.reason, u.event, u.correlation, u.message, u.record "
    "from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) with ordinality"
    "     as u(consumer_group, noted, attempts, round, partition, log_offset, before, event_id, topic, handler, reason,"
    "          event, correlation, message, record, place) "
    "order by u.place",
    false,
};

enum store_result ledger_dead_letters_add(struct connection *connection, const struct dead_letter_row *rows,
                                          size_t count, struct error *error)
{
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &rows[0].group, count, sizeof *rows),
        STORE_COLUMN(PARAM_BOOL, &rows[0].noted, count, sizeof *rows),
        STORE_COLUMN(PARAM_INT4, &rows[0].attempts, count, sizeof *rows),
        STORE_COLUMN(PARAM_INT4, &rows[0].round, count, sizeof *rows),
        STORE_COLUMN(PARAM_INT4, &rows[0].partition, count, sizeof *rows),
        STORE_COLUMN(PARAM_INT8, &rows[0].offset, count, sizeof *rows),
        STORE_COLUMN(PARAM_INT8, &rows[0].before, count, sizeof *rows),
        STORE_COLUMN(PARAM_UUID, &rows[0].id, count, sizeof *rows),
        STORE_COLUMN(PARAM_TEXT, &rows[0].topic, count, sizeof *rows),
        STORE_COLUMN(PARAM_TEXT, &rows[0].handler, count, sizeof *rows),
        STORE_COLUMN(PARAM_TEXT, &rows[0].reason, count, sizeof *rows),
        STORE_COLUMN(PARAM_TEXT, &rows[0].event, count, sizeof *rows),
        STORE_COLUMN(PARAM_TEXT, &rows[0].correlation, count, sizeof *rows),
        STORE_COLUMN(PARAM_TEXT, &rows[0].message, count, sizeof *rows),
        STORE_COLUMN(PARAM_BYTEA, &rows[0].record, count, sizeof *rows),
    };
    return count == 0 ? STORE_OK : connection_queue(connection, &statement_add, 15, params, error);
}

static const struct statement statement_again = {
    "update sluice.dead_letter set state = 1, ended_at = now(), ended_by = 'sent to its topic again',"
    " replayed_as = event where state = 0 and consumer_group = $1 and event_id = any ($2)",
    false,
};

enum store_result ledger_dead_letters_again(struct connection *connection, int16_t group, const struct claim *claims,
                                            size_t count, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group),
                                         STORE_COLUMN(PARAM_UUID, &claims[0].id, count, sizeof *claims)};
    return connection_queue(connection, &statement_again, 2, params, error);
}

/* ---------------------------------------------------------------------------------------------------------- filters */

/* The parameters that all statements with a filter have: */
#define GROUPS "sluice.name g"
#define OF_GROUPS "g.kind = 'g' and (g.name = $1 or starts_with(g.name, $1 || '.'))"
#define RANGE                                                                                                          \
    "d.consumer_group = g.number and d.id > $2 and d.id <= $3 and d.topic >= $4 and d.topic <= $5 and "                \
    "d.handler >= $6 and d.handler <= $7 and d.reason >= $8 and d.reason <= $9 and d.at >= $10"
#define OPEN "d.state = 0"
#define STATES "d.state between $12 and $13"
#define CORRELATED "d.correlation = $14 and d.correlation <> ''"
#define GIVEN "d.id = any ($15)"
enum { FILTER_PARAMS = 15 };

/* Statements that differ in where they find their rows. */
enum { WAY_OPEN = 0, WAY_STATES, WAY_CORRELATED, WAY_GIVEN, WAY_COUNT };
#define WAYS(before, after)                                                                                            \
    {                                                                                                                  \
        {before OPEN " and " RANGE after, false}, {before STATES " and " RANGE after, false},                          \
            {before CORRELATED " and " STATES " and " RANGE after, false},                                             \
            {before GIVEN " and " STATES " and " RANGE after, false},                                                  \
    }

static const char everything[] = "\xf4\x8f\xbf\xbf"; /* the last character there is */

struct filter_bounds {
    struct span from[3], to[3]; /* topic, handler, reason */
    char topic_to[300];
};

static void bounds_of(const struct dead_letter_filter *filter, struct filter_bounds *ret)
{
    const struct span words[] = {filter->topic, filter->handler, filter->reason};
    for (size_t i = 0; i < 3; i++) {
        ret->from[i] = words[i].length > 0 ? words[i] : (struct span){"", 0};
        ret->to[i] = words[i].length > 0 ? words[i] : (struct span){everything, sizeof everything - 1};
    }
    size_t length = filter->topic.length;
    if (length == 0 || filter->topic.at[length - 1] != '*' || length > sizeof ret->topic_to - sizeof everything)
        return;
    ret->from[0].length = length - 1;
    memcpy(ret->topic_to, filter->topic.at, length - 1);
    memcpy(ret->topic_to + length - 1, everything, sizeof everything);
    ret->to[0] = (struct span){ret->topic_to, length - 1 + sizeof everything - 1};
}

static size_t way_of(const struct dead_letter_filter *filter)
{
    if (filter->id_count > 0)
        return WAY_GIVEN;
    if (filter->correlation.length > 0)
        return WAY_CORRELATED;
    return filter->state == DEAD_LETTER_OPEN && filter->state_to == DEAD_LETTER_OPEN ? WAY_OPEN : WAY_STATES;
}

/* Runs one of the ways. */
static enum store_result run(struct connection *connection, const struct statement *ways,
                             const struct dead_letter_filter *filter, int64_t above, int64_t last, int64_t number,
                             struct rows **ret, struct error *error)
{
    struct filter_bounds bounds;
    int16_t from = (int16_t)filter->state, to = (int16_t)filter->state_to;
    bounds_of(filter, &bounds);
    const struct store_param params[FILTER_PARAMS] = {
        STORE_VALUE(PARAM_TEXT, &filter->group),
        STORE_VALUE(PARAM_INT8, &above),
        STORE_VALUE(PARAM_INT8, &last),
        STORE_VALUE(PARAM_TEXT, &bounds.from[0]),
        STORE_VALUE(PARAM_TEXT, &bounds.to[0]),
        STORE_VALUE(PARAM_TEXT, &bounds.from[1]),
        STORE_VALUE(PARAM_TEXT, &bounds.to[1]),
        STORE_VALUE(PARAM_TEXT, &bounds.from[2]),
        STORE_VALUE(PARAM_TEXT, &bounds.to[2]),
        STORE_VALUE(PARAM_TIMESTAMP, &filter->since_ms),
        STORE_VALUE(PARAM_INT8, &number),
        STORE_VALUE(PARAM_INT2, &from),
        STORE_VALUE(PARAM_INT2, &to),
        STORE_VALUE(PARAM_TEXT, &filter->correlation),
        STORE_ARRAY(PARAM_INT8, filter->ids, filter->id_count),
    };
    return connection_run(connection, &ways[way_of(filter)], FILTER_PARAMS, params, ret, error);
}

/* ---------------------------------------------------------------------------------------------------------- reading */

/* Of each group the first rows by one index scan, so that those of another pipeline are not read. */
#define LIST(record, edited)                                                                                           \
    "select d.id, g.name, d.state, d.noted, d.attempts, d.round, d.partition, d.log_offset, d.before, d.at, d.topic,"  \
    " d.handler, d.reason, d.event, d.correlation, d.message, d.ended_at, d.ended_by, d.replayed_as,"                  \
    " d.edited is not null, " record ", " edited " from " GROUPS " cross join lateral (select d.* from"                \
    " sluice.dead_letter d where "
#define LISTED " order by d.id desc limit $11) d where " OF_GROUPS " order by d.id desc limit $11"

static const struct statement lists[WAY_COUNT] = WAYS(LIST("null::bytea", "null::bytea"), LISTED);
static const struct statement whole_lists[WAY_COUNT] = WAYS(LIST("d.record", "d.edited"), LISTED);

enum store_result ledger_dead_letters(struct connection *connection, const struct dead_letter_filter *filter,
                                      int64_t below, int64_t limit, bool whole, struct rows **ret, struct error *error)
{
    int64_t last = below > 0 ? below - 1 : INT64_MAX;
    return run(connection, whole ? whole_lists : lists, filter, 0, last, limit, ret, error);
}

static const struct statement counts[WAY_COUNT] = WAYS(
    "select count(*), count(*) filter (where d.round >= $11), coalesce(max(d.id), 0) from " GROUPS
    ", sluice.dead_letter d where " OF_GROUPS " and ",
    "");

enum store_result ledger_dead_letters_count(struct connection *connection, const struct dead_letter_filter *filter,
                                            int32_t rounds, struct rows **ret, struct error *error)
{
    return run(connection, counts, filter, 0, INT64_MAX, rounds, ret, error);
}

static const struct statement open_counts = {
    "select d.topic, count(*) from sluice.dead_letter d where d.state = 0 and d.consumer_group = any ($1) group by 1",
    false,
};

enum store_result ledger_dead_letters_open(struct connection *connection, const int16_t *groups, size_t count,
                                           struct rows **ret, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_INT2, groups, count)};
    return connection_run(connection, &open_counts, 1, params, ret, error);
}

/* ----------------------------------------------------------------------------------------------------------- moving */

/* As many as fit into memory: about 8 MiB. Not locked: who moves them is alone, and finds out when they end. */
static const struct statement nexts[WAY_COUNT] = WAYS(
    "select d.id, d.name, d.round, d.noted, d.topic, d.event, d.sent from"
    " (select d.id, g.name, d.round, d.noted, d.topic, d.event, coalesce(d.edited, d.record) as sent,"
    "   sum(octet_length(coalesce(d.edited, d.record))) over (order by d.id)"
    "   - octet_length(coalesce(d.edited, d.record)) as bytes_before from " GROUPS
    "  cross join lateral (select d.* from sluice.dead_letter d where ",
    "   order by d.id limit $11) d where " OF_GROUPS " order by d.id limit $11) d"
    " where d.bytes_before < 8388608 order by d.id");

static const struct statement statement_alone = {
    "select pg_advisory_xact_lock(sluice.dead_letter_lock(), hashtext($1))", false};

enum store_result ledger_dead_letters_alone(struct connection *connection, struct span group, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &group)};
    struct rows *rows;
    return connection_exec(connection, &statement_alone, 1, params, &rows, error);
}

enum store_result ledger_dead_letters_next(struct connection *connection, const struct dead_letter_filter *filter,
                                           int64_t above, int64_t last, int64_t limit, struct rows **ret,
                                           struct error *error)
{
    struct dead_letter_filter open = *filter;
    open.state = open.state_to = DEAD_LETTER_OPEN;
    return run(connection, nexts, &open, above, last, limit, ret, error);
}

static const struct statement statement_replayed = {
    "update sluice.dead_letter d set state = 1, ended_at = now(), ended_by = $3, replayed_as = u.event"
    " from unnest($1, $2) as u(id, event) where d.id = u.id and d.state = 0",
    false,
};
static const struct statement statement_dropped = {
    "update sluice.dead_letter set state = 2, ended_at = now(), ended_by = $2 where id = any ($1) and state = 0",
    false,
};

enum store_result ledger_dead_letters_end(struct connection *connection, const int64_t *ids,
                                          const struct span *replayed_as, size_t count, struct span actor,
                                          struct error *error)
{
    const struct store_param replayed[] = {STORE_ARRAY(PARAM_INT8, ids, count),
                                           STORE_ARRAY(PARAM_TEXT, replayed_as, count),
                                           STORE_VALUE(PARAM_TEXT, &actor)};
    const struct store_param dropped[] = {STORE_ARRAY(PARAM_INT8, ids, count), STORE_VALUE(PARAM_TEXT, &actor)};
    struct rows *rows;
    if (count == 0)
        return STORE_OK;
    enum store_result result = replayed_as != NULL
                                   ? connection_exec(connection, &statement_replayed, 3, replayed, &rows, error)
                                   : connection_exec(connection, &statement_dropped, 2, dropped, &rows, error);
    if (result != STORE_OK || rows_affected(rows) == count)
        return result;
    error_set(error, EAGAIN, "one of %zu dead letters is not open any more", count);
    return connection_fail(connection, STORE_TRANSIENT);
}

static const struct statement statement_edit = {
    "update sluice.dead_letter set edited = $2, correlation = $3, noted = $4 where id = $1 and state = 0",
    false,
};

enum store_result ledger_dead_letter_edit(struct connection *connection, int64_t id, struct span record,
                                          struct span correlation, bool noted, struct error *error)
{
    int32_t still_noted = noted;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT8, &id), STORE_VALUE(PARAM_BYTEA, &record),
                                         STORE_VALUE(PARAM_TEXT, &correlation), STORE_VALUE(PARAM_BOOL, &still_noted)};
    return connection_queue(connection, &statement_edit, 4, params, error);
}

static const struct statement statement_prune = {
    "delete from sluice.dead_letter where id = any (array(select d.id from sluice.dead_letter d"
    " where d.state <> 0 and d.ended_at < now() - $1 * interval '1 millisecond' order by d.ended_at limit $2"
    " for update skip locked))",
    false,
};

enum store_result ledger_dead_letters_prune(struct connection *connection, int64_t keep_ms, int64_t limit,
                                            struct error *error)
{
    double keep = (double)keep_ms;
    struct rows *rows;
    const struct store_param params[] = {STORE_VALUE(PARAM_DOUBLE, &keep), STORE_VALUE(PARAM_INT8, &limit)};
    return connection_run(connection, &statement_prune, 2, params, &rows, error);
}
