/*
 * maintenance.c - the look at the settings in the database, the figure of a group's lag, and the chore of trimming the
 * log: all on one connection of their own. See postgres.h.
 */
#include "bus/postgres/postgres.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>

static const struct statement statement_open = {.text = "select * from sluice.bus_open($1)"};
/* The same where nothing may be written: a log that nobody has opened would have as many partitions as are wanted. */
static const struct statement statement_look = {
    .text = "with s as (select coalesce((select b.partitions from sluice.bus_setting b), $1) as partitions)"
            " select s.partitions, coalesce((select max(at.high) from (select l.high from sluice.bus_lease l"
            "   union all select (select b.xid::text::int8 from sluice.bus_log b where b.partition = p"
            "    order by b.xid desc limit 1) from generate_series(0, s.partitions - 1) p) at), 0),"
            "  pg_snapshot_xmax(pg_current_snapshot())::text::int8 from s"};
static const struct statement statement_lag = {.text = "select sluice.bus_lag($1)"};
static const struct statement statement_maintain = {.text = "select * from sluice.bus_maintain($1, $2)"};

enum {
    MAINTAIN_EVERY_MS = 5000,
    SEGMENT_XIDS_MIN = 1 << 12,
    SEGMENT_XIDS_MAX = 1 << 20,
    SEGMENT_MS_MIN = 30 * 1000, /* a segment should last an eighth of the retention, within these */
    SEGMENT_MS_MAX = 6 * 60 * 60 * 1000,
};

/* Compares the number of partitions, and the newest transaction number in the log with that of the server. */
static int settings_verify(struct postgres_bus *bus, struct error *error)
{
    int32_t wanted = (int32_t)bus->partition_count;
    struct store_param param = STORE_VALUE(PARAM_INT4, &wanted);
    struct rows *rows;
    enum store_result result = connection_once(bus->maintenance, bus->looked_at ? &statement_look : &statement_open, 1,
                                               &param, STATEMENT_MS, &rows, error);
    if (result != STORE_OK) {
        error_prefix(error, "cannot open the postgres bus");
        return result == STORE_DEPLOY || result == STORE_DATA ? -EPROTO : -EAGAIN;
    }
    if (rows_count(rows) != 1)
        return error_set(error, EPROTO, "cannot open the postgres bus: its settings are %zu rows instead of one",
                         rows_count(rows));
    int64_t partitions = rows_int64(rows, 0, 0), newest = rows_int64(rows, 0, 1), now = rows_int64(rows, 0, 2);
    if (partitions != wanted) {
        error_set(error, EINVAL, "the postgres bus was made with %lld partitions, and the configuration says %d",
                  (long long)partitions, wanted);
        error_hint(error,
                   "set bus.partitions to %lld: the number cannot change while there are events, or events of one key "
                   "would be in two partitions",
                   (long long)partitions);
        return -EINVAL;
    }
    if (newest >= now) {
        error_set(
            error, ESTALE,
            "the log of the postgres bus ends at transaction %lld, and this server is only at %lld: the database was "
            "restored from a dump, and new events would sort before old ones",
            (long long)newest, (long long)now);
        error_hint(
            error,
            "while no engine runs, execute \"select sluice.bus_rebase()\" in this database once, then start again");
        return -ESTALE;
    }
    return 0;
}

int postgres_verify(struct postgres_bus *bus, struct error *error)
{
    if (atomic_load(&bus->verified))
        return 0;
    pthread_mutex_lock(&bus->maintenance_lock);
    int result = atomic_load(&bus->verified) ? 0 : settings_verify(bus, error);
    if (result == 0)
        atomic_store(&bus->verified, true);
    pthread_mutex_unlock(&bus->maintenance_lock);
    return result;
}

int64_t postgres_lag(struct bus *head, const char *group)
{
    struct postgres_bus *bus = (struct postgres_bus *)head;
    struct span name = span_of(group);
    struct store_param param = STORE_VALUE(PARAM_TEXT, &name);
    struct rows *rows;
    pthread_mutex_lock(&bus->maintenance_lock);
    int64_t lag = -EAGAIN;
    if (connection_once(bus->maintenance, &statement_lag, 1, &param, STATEMENT_MS, &rows, NULL) == STORE_OK &&
        rows_count(rows) == 1)
        lag = rows_null(rows, 0, 0) ? -ENOENT : rows_int64(rows, 0, 0);
    pthread_mutex_unlock(&bus->maintenance_lock);
    return lag;
}

/* Transactions that a segment should have, by how fast their numbers are used up. A power of two, so that lengths
 * settle. */
static int64_t segment_step(const struct postgres_bus *bus)
{
    int64_t lasts_ms = bus->retention_ms / 8;
    lasts_ms = lasts_ms < SEGMENT_MS_MIN ? SEGMENT_MS_MIN : lasts_ms > SEGMENT_MS_MAX ? SEGMENT_MS_MAX : lasts_ms;
    double wanted = bus->xids_per_second * (double)lasts_ms / 1000;
    int64_t step = SEGMENT_XIDS_MIN;
    while (step < SEGMENT_XIDS_MAX && (double)step < wanted)
        step *= 2;
    return step;
}

static enum store_result maintain_now(struct postgres_bus *bus, int64_t now_ms, struct error *error)
{
    int64_t step = segment_step(bus);
    struct store_param params[] = {STORE_VALUE(PARAM_INT8, &step), STORE_VALUE(PARAM_INT8, &bus->retention_ms)};
    struct rows *rows;
    enum store_result result = connection_once(bus->maintenance, &statement_maintain, 2, params, STATEMENT_MS, &rows,
                                               error);
    if (result != STORE_OK || rows_count(rows) != 1)
        return result;
    int64_t xid = rows_int64(rows, 0, 0);
    if (bus->maintained_xid != 0 && now_ms > bus->maintained_ms)
        bus->xids_per_second = (double)(xid - bus->maintained_xid) * 1000 / (double)(now_ms - bus->maintained_ms);
    bus->maintained_xid = xid;
    bus->maintained_ms = now_ms;
    return STORE_OK;
}

void postgres_maintain(struct bus *head)
{
    struct postgres_bus *bus = (struct postgres_bus *)head;
    int64_t now_ms = clock_monotonic_ms();
    pthread_mutex_lock(&bus->maintenance_lock);
    /* Sooner when this process alone uses up the segment ahead, which has at least SEGMENT_XIDS_MIN. */
    bool due = now_ms - bus->maintained_ms >= MAINTAIN_EVERY_MS || atomic_load(&bus->appends) > SEGMENT_XIDS_MIN / 4;
    if (due) {
        struct error error = {0};
        atomic_store(&bus->appends, 0);
        enum store_result result = maintain_now(bus, now_ms, &error);
        if (result == STORE_DATA || result == STORE_DEPLOY)
            log_rarely(60000, LOG_ERROR, "bus", "cannot maintain the log of the postgres bus: %s", error.text);
    }
    pthread_mutex_unlock(&bus->maintenance_lock);
}
