/*
 * held.c - events of held keys: written behind those that are there, read in order, deleted once they have ended.
 *
 * Rows of sluice.held never change, but for one that an operator cancels. Whatever changes with a key is in its one row
 * of sluice.held_key, which is locked before its events are written: who appends to a key waits for a transaction that
 * did so and is not known to be over.
 */
#include "store/ledger/inner.h"

#include "base/failpoint.h"

static const struct statement statement_hold_keys = {
    "insert into sluice.held_key as k (consumer_group, stream, key_hash, events, due, reason, paused) "
    "select $1, u.stream, u.key_hash, u.events, case when u.paused is not null then 'infinity'"
    "       else clock_timestamp() + nullif(u.wait, 0) * interval '1 millisecond' end, u.reason, u.paused "
    "from unnest($2, $3, $4, $5, $6, $7) as u(stream, key_hash, events, wait, reason, paused) "
    "on conflict on constraint held_key_pkey do update"
    " set events = k.events + excluded.events,"
    " due = coalesce(excluded.due, k.due),"
    " paused = case when excluded.due is null then k.paused else excluded.paused end,"
    " reason = case when excluded.due is null then k.reason else excluded.reason end",
    false,
};

/* As in claim.c, "key share" and no "order by". A process that was removed inserts nothing. */
static const struct statement statement_hold = {
    "with fence as (select 1 from sluice.bus_member where id = $1 for key share) "
    "insert into sluice.held (consumer_group, handler, partition, key_hash, log_offset, event_id, stream, record, at) "
    "select $2, u.handler, u.partition, u.key_hash, u.log_offset, u.event_id, u.stream, u.record, now() "
    "from unnest($3, $4, $5, $6, $7, $8, $9)"
    "     as u(handler, partition, key_hash, log_offset, event_id, stream, record) "
    "where $1 = 0 or exists (select from fence)",
    false,
};

enum store_result ledger_hold(struct connection *connection, int64_t member, int16_t group, const struct held_key *keys,
                              size_t key_count, const struct held_event *rows, size_t count, struct error *error)
{
    const struct store_param of_keys[] = {
        STORE_VALUE(PARAM_INT2, &group),
        STORE_COLUMN(PARAM_TEXT, &keys[0].stream, key_count, sizeof *keys),
        STORE_COLUMN(PARAM_INT8, &keys[0].key_hash, key_count, sizeof *keys),
        STORE_COLUMN(PARAM_INT8, &keys[0].events, key_count, sizeof *keys),
        STORE_COLUMN(PARAM_INT8, &keys[0].wait_ms, key_count, sizeof *keys),
        STORE_COLUMN(PARAM_TEXT, &keys[0].reason, key_count, sizeof *keys),
        STORE_COLUMN(PARAM_TEXT, &keys[0].paused, key_count, sizeof *keys),
    };
    if (FAILPOINT("store.hold.before") == FAILPOINT_ERROR)
        return ledger_failpoint(connection, error);
    enum store_result result = connection_queue(connection, &statement_hold_keys, 7, of_keys, error);
    if (result != STORE_OK || count == 0)
        return result;
    const struct store_param of_rows[] = {
        STORE_VALUE(PARAM_INT8, &member),
        STORE_VALUE(PARAM_INT2, &group),
        STORE_COLUMN(PARAM_INT2, &rows[0].handler, count, sizeof *rows),
        STORE_COLUMN(PARAM_INT4, &rows[0].partition, count, sizeof *rows),
        STORE_COLUMN(PARAM_INT8, &rows[0].key_hash, count, sizeof *rows),
        STORE_COLUMN(PARAM_INT8, &rows[0].offset, count, sizeof *rows),
        STORE_COLUMN(PARAM_UUID, &rows[0].id, count, sizeof *rows),
        STORE_COLUMN(PARAM_TEXT, &rows[0].stream, count, sizeof *rows),
        STORE_COLUMN(PARAM_BYTEA, &rows[0].record, count, sizeof *rows),
    };
    struct rows *inserted;
    result = connection_exec(connection, &statement_hold, 9, of_rows, &inserted, error);
    if (FAILPOINT("store.hold.after") == FAILPOINT_ERROR && result == STORE_OK)
        return ledger_failpoint(connection, error);
    if (result != STORE_OK || rows_affected(inserted) == count)
        return result;
    return ledger_fenced(connection, error);
}

static const struct statement statement_held_ended = {
    "with ended as (delete from sluice.held h using unnest($2, $3) as u(key_hash, id)"
    "  where h.consumer_group = $1 and h.key_hash = u.key_hash and h.id = u.id returning h.stream, h.key_hash),"
    " of_key as (select e.stream, e.key_hash, count(*) as events from ended e group by e.stream, e.key_hash) "
    "update sluice.held_key k set events = greatest(k.events - o.events, 0), due = null, reason = null, paused = null "
    "from of_key o "
    "where k.consumer_group = $1 and k.stream = o.stream and k.key_hash = o.key_hash",
    false,
};

enum store_result ledger_held_ended(struct connection *connection, int16_t group, const int64_t *key_hashes,
                                    const int64_t *ids, size_t count, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group), STORE_ARRAY(PARAM_INT8, key_hashes, count),
                                         STORE_ARRAY(PARAM_INT8, ids, count)};
    if (count == 0)
        return STORE_OK;
    if (FAILPOINT("store.held.ended") == FAILPOINT_ERROR)
        return ledger_failpoint(connection, error);
    return connection_queue(connection, &statement_held_ended, 3, params, error);
}

/* One that waits for the end of a pause has no time: its lane knows when that is over. What is behind the head in
 * another stream has none either: it has that of its head. A head that was handled after all is due at once: it was
 * written by a COMMIT whose reply was lost, or by an earlier owner after its successor had looked. */
static const struct statement statement_held_keys = {
    "with page as materialized (select q.stream, q.key_hash, q.due, q.paused from sluice.held_key q"
    "   where q.consumer_group = $1 and (q.stream, q.key_hash) > ($4, $5) order by q.stream, q.key_hash limit $6),"
    " last as (select p.stream, p.key_hash from page p where (select count(*) from page) = $6"
    "   order by p.stream desc, p.key_hash desc limit 1) "
    "select k.key_hash, case when i.event_id is null and h.ready is not true then " LEDGER_LEFT_MS(
        "k.due") " end, k.paused, e.stream, e.key_hash, case when h.needs is not null then coalesce(h.rule, '') end "
                 "from (values (1)) one left join last e on true left join"
                 " (select p.key_hash, coalesce(p.due, o.due) as due, coalesce(p.paused, o.paused) as paused from page "
                 "p"
                 "   left join lateral (select max(r.due) as due, max(r.paused) as paused from sluice.held_key r"
                 "     where p.due is null and r.consumer_group = $1 and r.stream = any ($2)"
                 "       and r.key_hash = p.key_hash) o on true"
                 "   where p.stream = any ($2) and (p.paused is null or p.paused <> all ($3))) k on true "
                 "left join lateral (select h.handler, h.event_id, h.ready, h.needs, h.rule from sluice.held h"
                 "   where k.due > now() and k.paused is null and h.consumer_group = $1 and h.key_hash = k.key_hash"
                 "     and h.stream = any ($2) order by h.id limit 1) h on true "
                 "left join sluice.inbox i on i.handler = h.handler and i.event_id = h.event_id",
    false,
};

enum store_result ledger_held_keys(struct connection *connection, int16_t group, const struct span *streams,
                                   size_t stream_count, const struct span *paused, size_t paused_count,
                                   const struct held_key *from, int32_t most, struct rows **ret, struct error *error)
{
    const struct store_param params[] = {
        STORE_VALUE(PARAM_INT2, &group),
        STORE_ARRAY(PARAM_TEXT, streams, stream_count),
        STORE_ARRAY(PARAM_TEXT, paused, paused_count),
        STORE_VALUE(PARAM_TEXT, &from->stream),
        STORE_VALUE(PARAM_INT8, &from->key_hash),
        STORE_VALUE(PARAM_INT4, &most),
    };
    return connection_run(connection, &statement_held_keys, 6, params, ret, error);
}

static const struct statement statement_held_due = {
    "select d.key_hash from ("
    "  (select k.stream, k.key_hash from sluice.held_key k where k.consumer_group = $1 and k.due is null limit $3)"
    "  union all (select k.stream, k.key_hash from sluice.held_key k where k.consumer_group = $1 and k.due <= now()"
    "    order by k.due desc limit $3)) d where d.stream = any ($2)",
    false,
};

enum store_result ledger_held_due(struct connection *connection, int16_t group, const struct span *streams,
                                  size_t stream_count, int32_t limit, struct rows **ret, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group),
                                         STORE_ARRAY(PARAM_TEXT, streams, stream_count),
                                         STORE_VALUE(PARAM_INT4, &limit)};
    return connection_run(connection, &statement_held_due, 3, params, ret, error);
}

/* The keys of a group one after the other, each found by the index. Of one whose first event has no key row, all are
 * made. */
static const struct statement statement_held_repair = {
    "with recursive keys as ("
    "  select g.number, (select min(h.key_hash) from sluice.held h where h.consumer_group = g.number) as key_hash"
    "  from unnest($1) g(number)"
    "  union all"
    "  select k.number, (select min(h.key_hash) from sluice.held h"
    "                    where h.consumer_group = k.number and h.key_hash > k.key_hash)"
    "  from keys k where k.key_hash is not null),"
    " lost as materialized (select k.number, k.key_hash from keys k cross join lateral ("
    "    select h.stream from sluice.held h where h.consumer_group = k.number and h.key_hash = k.key_hash"
    "    order by h.id limit 1) h"
    "  where not exists (select from sluice.held_key q"
    "    where q.consumer_group = k.number and q.stream = h.stream and q.key_hash = k.key_hash)) "
    "insert into sluice.held_key (consumer_group, stream, key_hash, events) "
    "select h.consumer_group, h.stream, h.key_hash, count(*) from lost l"
    " join sluice.held h on h.consumer_group = l.number and h.key_hash = l.key_hash group by 1, 2, 3 "
    "on conflict on constraint held_key_pkey do nothing returning key_hash",
    false,
};

enum store_result ledger_held_repair(struct connection *connection, const int16_t *groups, size_t group_count,
                                     size_t *ret, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_INT2, groups, group_count)};
    struct rows *rows;
    enum store_result result = connection_run(connection, &statement_held_repair, 1, params, &rows, error);
    if (result == STORE_OK)
        *ret = rows_count(rows);
    return result;
}

/* A key ends where no event of it is left, whatever its row says: an operator may have changed that. "events = 0" is
 * looked at again when somebody else has just added some. */
static const struct statement statement_held_fetch = {
    "with nothing as (delete from sluice.held_key k"
    "  where k.consumer_group = $1 and k.stream = any ($2) and k.key_hash = any ($3) and k.events = 0"
    "    and not exists (select from sluice.held h where h.consumer_group = $1 and h.key_hash = k.key_hash"
    "                    and h.stream = k.stream)),"
    " wait as (select w.key_hash, " LEDGER_LEFT_MS(
        "max(w.due)") " as ms from sluice.held_key w"
                      "  where w.consumer_group = $1 and w.stream = any ($2) and w.key_hash = any ($3) "
                      "  and w.paused is null group by "
                      "w.key_hash) "
                      "select k.key_hash, h.id, h.partition, h.log_offset, h.stream, h.record, coalesce(a.attempts, "
                      "0), w.ms, coalesce(h.cancelled, ''), (extract(epoch from now() - h.at) * 1000)::int8, h.ready, "
                      "h.needs is not null "
                      "from unnest($3, $4) with ordinality as k(key_hash, most, place) "
                      "cross join lateral"
                      " (select l.*, sum(octet_length(l.record)) over (order by l.id) - octet_length(l.record) as "
                      "bytes_before"
                      "  from (select f.* from sluice.held f"
                      "        where f.consumer_group = $1 and f.key_hash = k.key_hash and f.stream = any ($2)"
                      "        order by f.id limit k.most) l) h "
                      "left join sluice.attempt a on a.handler = h.handler and a.event_id = h.event_id "
                      "left join wait w on w.key_hash = k.key_hash "
                      "where h.bytes_before < $5 order by k.place, h.id",
    false,
};

enum store_result ledger_held_fetch(struct connection *connection, int16_t group, const struct span *streams,
                                    size_t stream_count, const int64_t *key_hashes, const int32_t *limits, size_t count,
                                    int64_t bytes, struct rows **ret, struct error *error)
{
    const struct store_param params[] = {
        STORE_VALUE(PARAM_INT2, &group),
        STORE_ARRAY(PARAM_TEXT, streams, stream_count),
        STORE_ARRAY(PARAM_INT8, key_hashes, count),
        STORE_ARRAY(PARAM_INT4, limits, count),
        STORE_VALUE(PARAM_INT8, &bytes),
    };
    return connection_run(connection, &statement_held_fetch, 5, params, ret, error);
}
