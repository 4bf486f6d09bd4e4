/*
 * after.c - see ledger_after.h.
 *
 * Locks are taken in one order: rows of sluice.needed by id, then held events that wait for them. Whoever ends such an
 * event has locked it before, and is not waited for: it needs no mark.
 */
#include "store/ledger_after.h"

#include "store/ledger/inner.h"

static const struct statement statement_look = {
    "select (u.place - 1)::int4 from unnest($2) with ordinality as u(id, place) "
    "join sluice.needed n on n.consumer_group = $1 and n.id = u.id where n.handled",
    false,
};

enum store_result ledger_after_look(struct connection *connection, int16_t group, struct needed *needed, size_t count,
                                    struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group),
                                         STORE_COLUMN(PARAM_UUID, &needed[0].id, count, sizeof *needed)};
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_look, 2, params, &rows, error);
    for (size_t i = 0; result == STORE_OK && i < rows_count(rows); i++)
        needed[rows_int64(rows, i, 0)].handled = 1;
    return result;
}

/* Rows that say already that it was handled stay as they are: nothing can change that. Of those that were there,
 * somebody waited. */
static const struct statement statement_note = {
    "insert into sluice.needed as n (consumer_group, id, at, handled) "
    "select $1, u.id, " LEDGER_NOW ", u.handled from unnest($2, $3) as u(id, handled) "
    "on conflict on constraint needed_pkey do update set handled = n.handled or excluded.handled, at = excluded.at "
    "where not n.handled returning n.xmax <> 0 and n.handled",
    false,
};

static const struct statement statement_wait = {
    "update sluice.held h set needs = case when u.rule is not null then u.needs end, rule = u.rule,"
    " ready = u.rule is not null and exists (select from sluice.needed n"
    "   where n.consumer_group = $1 and n.id = u.needs and n.handled) "
    "from unnest($2, $3, $4, $5) as u(key_hash, event_id, needs, rule) "
    "where h.consumer_group = $1 and h.key_hash = u.key_hash and h.event_id = u.event_id",
    false,
};

static const struct statement statement_wake = {
    "update sluice.held h set ready = true from (select w.consumer_group, w.key_hash, w.id from sluice.held w"
    "   where w.consumer_group = $1 and w.needs = any ($2) and not w.ready for update skip locked) l "
    "where h.consumer_group = l.consumer_group and h.key_hash = l.key_hash and h.id = l.id",
    false,
};

static enum store_result wake(struct connection *connection, int16_t group, const struct needed *needed, size_t count,
                              size_t *ret, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group),
                                         STORE_COLUMN(PARAM_UUID, &needed[0].id, count, sizeof *needed)};
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_wake, 2, params, &rows, error);
    *ret = result == STORE_OK ? rows_affected(rows) : 0;
    return result;
}

enum store_result ledger_after_note(struct connection *connection, int16_t group, const struct needed *needed,
                                    size_t count, const struct held_need *held, size_t held_count, size_t *ret,
                                    struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group),
                                         STORE_COLUMN(PARAM_UUID, &needed[0].id, count, sizeof *needed),
                                         STORE_COLUMN(PARAM_BOOL, &needed[0].handled, count, sizeof *needed)};
    struct rows *rows;
    bool waited = false;
    *ret = 0;
    enum store_result result = count == 0 ? STORE_OK
                                          : connection_exec(connection, &statement_note, 3, params, &rows, error);
    for (size_t i = 0; count > 0 && result == STORE_OK && i < rows_count(rows) && !waited; i++)
        waited = rows_int64(rows, i, 0) != 0;
    if (result == STORE_OK && held_count > 0) {
        const struct store_param waits[] = {STORE_VALUE(PARAM_INT2, &group),
                                            STORE_COLUMN(PARAM_INT8, &held[0].key_hash, held_count, sizeof *held),
                                            STORE_COLUMN(PARAM_UUID, &held[0].event, held_count, sizeof *held),
                                            STORE_COLUMN(PARAM_UUID, &held[0].needs, held_count, sizeof *held),
                                            STORE_COLUMN(PARAM_TEXT, &held[0].rule, held_count, sizeof *held)};
        result = connection_queue(connection, &statement_wait, 5, waits, error);
    }
    if (result == STORE_OK && waited)
        result = wake(connection, group, needed, count, ret, error);
    return result;
}

static const struct statement statement_ready = {
    "select r.key_hash, exists (select from sluice.held w where w.consumer_group = $1 and w.needs is not null"
    "   and not w.ready and w.stream = any ($2)) "
    "from (values (1)) one left join (select distinct h.key_hash from sluice.held h"
    "   where h.consumer_group = $1 and h.ready and h.stream = any ($2)"
    "     and not exists (select from sluice.held f where f.consumer_group = $1 and f.key_hash = h.key_hash"
    "                     and f.stream = any ($2) and f.id < h.id) limit $3) r on true",
    false,
};

enum store_result ledger_after_ready(struct connection *connection, int16_t group, const struct span *streams,
                                     size_t stream_count, int32_t limit, struct rows **ret, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group),
                                         STORE_ARRAY(PARAM_TEXT, streams, stream_count),
                                         STORE_VALUE(PARAM_INT4, &limit)};
    return connection_run(connection, &statement_ready, 3, params, ret, error);
}

static const struct statement statement_changed = {
    "update sluice.held set ready = true where consumer_group = $1 and needs is not null and not ready "
    "and stream = any ($2) and coalesce(rule, '') <> all ($3)",
    false,
};

enum store_result ledger_after_changed(struct connection *connection, int16_t group, const struct span *streams,
                                       size_t stream_count, const struct span *rules, size_t rule_count,
                                       struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group),
                                         STORE_ARRAY(PARAM_TEXT, streams, stream_count),
                                         STORE_ARRAY(PARAM_TEXT, rules, rule_count)};
    return connection_run(connection, &statement_changed, 3, params, NULL, error);
}

static const struct statement statement_prune = {
    "delete from sluice.needed where ctid = any (array(select n.ctid from sluice.needed n"
    "  where n.at < " LEDGER_NOW " - $1 order by n.at limit $2 for update skip locked))",
    false,
};

enum store_result ledger_after_prune(struct connection *connection, int64_t keep_ms, int32_t limit, struct error *error)
{
    int64_t keep_s = keep_ms / 1000;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT8, &keep_s), STORE_VALUE(PARAM_INT4, &limit)};
    struct rows *rows;
    return connection_run(connection, &statement_prune, 2, params, &rows, error);
}
