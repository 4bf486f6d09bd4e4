/*
 * delayed.c - what waits in sluice.parked as operators move it.
 */
#include "store/ledger/inner.h"

/* What a process has taken is handled at this moment: it keeps its time. */
#define DUE_NOW "case when p.taken_by is null then now() else p.due end"

static const struct statement statement_parked_search = {
    "select p.consumer_group, p.event_id, p.record from sluice.parked p"
    " join sluice.name n on n.number = p.consumer_group and n.kind = 'g'"
    " where n.name = any ($1) and p.state = 1 and position($2::bytea in p.record) > 0 for update of p",
    false,
};
static const struct statement statement_parked_search_all = {
    "select p.consumer_group, p.event_id, p.record from sluice.parked p"
    " join sluice.name n on n.number = p.consumer_group and n.kind = 'g'"
    " where n.name = any ($1) and p.state in (0, 1) and position($2::bytea in p.record) > 0 for update of p",
    false,
};
static const struct statement statement_parked_due = {
    "update sluice.parked p set state = 0, tries = case when p.state = 1 then 0 else p.tries end, due = " DUE_NOW
    " from unnest($1, $2) as u(consumer_group, event_id)"
    " where p.consumer_group = u.consumer_group and p.event_id = u.event_id",
    false,
};
/* The tries of a stuck undo begin again. */
static const struct statement statement_attempts_forget = {
    "delete from sluice.attempt a using unnest($1, $2, $3) as u(consumer_group, id, event_id)"
    " join sluice.parked p on p.consumer_group = u.consumer_group and p.event_id = u.id and p.state = 1"
    " where a.event_id = u.event_id",
    false,
};
static const struct statement statement_parked_cancel = {
    "update sluice.parked p set state = 0, cancelled = $3, due = " DUE_NOW
    " from unnest($1, $2) as u(consumer_group, event_id)"
    " where p.consumer_group = u.consumer_group and p.event_id = u.event_id",
    false,
};
enum store_result ledger_parked_search(struct connection *connection, const struct span *groups, size_t group_count,
                                       struct span text, bool stuck, struct rows **ret, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_TEXT, groups, group_count), STORE_VALUE(PARAM_BYTEA, &text)};
    return connection_exec(connection, stuck ? &statement_parked_search : &statement_parked_search_all, 2, params, ret,
                           error);
}

enum store_result ledger_parked_due(struct connection *connection, const struct parked_id *ids, size_t count,
                                    size_t *ret, struct error *error)
{
    struct rows *rows = NULL;
    const struct store_param params[] = {STORE_COLUMN(PARAM_INT2, &ids[0].group, count, sizeof *ids),
                                         STORE_COLUMN(PARAM_UUID, &ids[0].id, count, sizeof *ids),
                                         STORE_COLUMN(PARAM_UUID, &ids[0].event, count, sizeof *ids)};
    enum store_result result = connection_queue(connection, &statement_attempts_forget, 3, params, error);
    if (result == STORE_OK)
        result = connection_exec(connection, &statement_parked_due, 2, params, &rows, error);
    if (result == STORE_OK)
        *ret = rows_affected(rows);
    return result;
}

enum store_result ledger_parked_cancel(struct connection *connection, const struct parked_id *ids, size_t count,
                                       struct span why, size_t *ret, struct error *error)
{
    struct rows *rows = NULL;
    const struct store_param params[] = {STORE_COLUMN(PARAM_INT2, &ids[0].group, count, sizeof *ids),
                                         STORE_COLUMN(PARAM_UUID, &ids[0].id, count, sizeof *ids),
                                         STORE_VALUE(PARAM_TEXT, &why)};
    enum store_result result = connection_exec(connection, &statement_parked_cancel, 3, params, &rows, error);
    if (result == STORE_OK)
        *ret = rows_affected(rows);
    return result;
}
