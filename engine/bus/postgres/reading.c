/*
 * reading.c - who reads a place of the log for a group, and what keeps it from being read: what an operator asks from
 * outside. See postgres.h.
 *
 * A member lives while its session holds the advisory lock on its number, or its last heartbeat is younger than the
 * time for which a session may be cut; and in no case longer than MEMBER_TTL_MS after a heartbeat.
 */
#include "bus/postgres/postgres.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* The oldest transaction of an engine is where readers stop. */
static const struct statement statement_reading = {
    .text =
        "with alive as (select m.id from sluice.bus_member m join sluice.bus_member_heartbeat h on h.member = m.id"
        "  where m.consumer_group = $1 and h.at > clock_timestamp() - $2 * interval '1 ms'"
        "   and (h.at > clock_timestamp() - $3 * interval '1 ms' or exists (select from pg_locks k"
        "    where k.locktype = 'advisory' and k.classid = sluice.bus_lock_member()::int8::oid and k.objid = m.id::oid"
        "     and k.database = (select d.oid from pg_database d where d.datname = current_database())))),"
        " horizon as materialized (select sluice.bus_horizon(pg_current_snapshot(),"
        "   sluice.bus_strangers(pg_current_snapshot())) as xid),"
        " oldest as (select l.pid, concat_ws(', ', nullif(a.application_name, ''), a.usename, a.state,"
        "    'since ' || to_char(a.xact_start at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')) as who"
        "   from horizon h join pg_locks l on l.locktype = 'transactionid' and l.mode = 'ExclusiveLock'"
        "    and l.transactionid = h.xid::xid join pg_stat_activity a on a.pid = l.pid)"
        " select coalesce(l.high, 0), coalesce(l.low, 0), (l.member in (select id from alive))::int4,"
        "  (select count(*) from alive), (select xid from horizon), b.before,"
        "  coalesce((select pid from oldest), 0)::int8, (select who from oldest)"
        " from unnest($4::int4[], $5::xid8[], $6::int8[]) with ordinality w (partition, xid, id, place)"
        " left join sluice.bus_lease l on l.consumer_group = $1 and l.partition = w.partition"
        " cross join lateral (select coalesce(sum(r.count), 0)::int8 as before from (select g.count from "
        "sluice.bus_log g"
        "   where g.partition = w.partition and g.xid >= coalesce(l.high, 0)::text::xid8"
        "    and (g.xid, g.id) > (coalesce(l.high, 0)::text::xid8, coalesce(l.low, 0) >> $7)"
        "    and (g.xid, g.id) < (w.xid, w.id) limit $8) r) b"
        " order by w.place"};

enum { READING_ROWS = 100000 };

static void fill(const struct rows *rows, size_t r, struct position place, struct bus_reading *ret)
{
    struct position done = {(uint64_t)rows_int64(rows, r, 0), (uint64_t)rows_int64(rows, r, 1)};
    struct span who = rows_span(rows, r, 7);
    *ret = (struct bus_reading){
        .consumed = position_compare(place, done) <= 0,
        .has_reader = !rows_null(rows, r, 2) && rows_int64(rows, r, 2) != 0,
        .members = rows_int64(rows, r, 3),
        .hidden = (int64_t)place.high >= rows_int64(rows, r, 4),
        .before = rows_int64(rows, r, 5),
        .transaction_pid = rows_int64(rows, r, 6),
    };
    snprintf(ret->transaction, sizeof ret->transaction, "%.*s", who.at == NULL ? 0 : (int)who.length,
             who.at == NULL ? "" : who.at);
}

int postgres_reading(struct bus *head, const char *group, const struct bus_place *places, size_t count,
                     struct bus_reading *ret, struct error *error)
{
    struct postgres_bus *bus = (struct postgres_bus *)head;
    struct connection *connection = connection_create(bus->store, "reading");
    int32_t *partitions = calloc(count + 1, sizeof *partitions);
    int64_t *xids = calloc(count + 1, sizeof *xids), *ids = calloc(count + 1, sizeof *ids);
    double ttl_ms = MEMBER_TTL_MS, grace_ms = SESSION_GRACE_MS + HEARTBEAT_ALONE_MS;
    int32_t bits = INDEX_BITS;
    int64_t most = READING_ROWS;
    struct span name = span_of(group);
    struct rows *rows = NULL;
    enum store_result result = STORE_DOWN;
    if (connection == NULL || partitions == NULL || xids == NULL || ids == NULL) {
        error_set(error, ENOMEM, "out of memory");
    } else {
        for (size_t i = 0; i < count; i++) {
            partitions[i] = places[i].partition;
            xids[i] = (int64_t)places[i].position.high;
            ids[i] = (int64_t)(places[i].position.low >> INDEX_BITS);
        }
        const struct store_param params[] = {
            STORE_VALUE(PARAM_TEXT, &name),       STORE_VALUE(PARAM_DOUBLE, &ttl_ms),
            STORE_VALUE(PARAM_DOUBLE, &grace_ms), STORE_ARRAY(PARAM_INT4, partitions, count),
            STORE_ARRAY(PARAM_XID8, xids, count), STORE_ARRAY(PARAM_INT8, ids, count),
            STORE_VALUE(PARAM_INT4, &bits),       STORE_VALUE(PARAM_INT8, &most)};
        result = connection_once(connection, &statement_reading, 8, params, STATEMENT_MS, &rows, error);
    }
    for (size_t i = 0; result == STORE_OK && i < count && i < rows_count(rows); i++)
        fill(rows, i, places[i].position, &ret[i]);
    connection_destroy(connection);
    free(partitions);
    free(xids);
    free(ids);
    return result == STORE_OK ? 0 : -EAGAIN;
}
