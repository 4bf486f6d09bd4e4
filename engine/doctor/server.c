/*
 * server.c - checks of the PostgreSQL that is the pipeline's store: whether its sessions can be used, what keeps
 * transactions open, what is kept that should be removed.
 */
#include "doctor/doctor.h"

#include "base/clock.h"
#include "run/engine.h"
#include "store/ledger_outbox_table.h"

enum {
    SERVER_OPEN_S = 10,           /* a transaction that has written is old, unless a handler may take longer */
    SERVER_LOCK_S = 3,            /* so long a wait for a lock is worth a word */
    SERVER_CLOCK_WARNS_MS = 1000, /* between the clocks of the machine and of the server */
    SERVER_CLOCK_BAD_MS = 60000,
    SERVER_DEAD_ROWS = 10000, /* fewer are no bloat */
};
static const int64_t SERVER_SLOT_BYTES = (int64_t)1 << 30; /* of WAL that a slot keeps */

/* ---------------------------------------------------------------------------------------------------------- session */

static void look_session(struct exam *exam)
{
    struct error error = {0};
    if (exam->store == NULL && exam->store_error != NULL) {
        exam_bad(exam, NULL, "%s", exam->store_error);
        return;
    }
    if (!exam_has_store(exam))
        return;
    enum store_result result = store_check_session(exam->store, &error);
    if (result == STORE_OK) {
        exam_good(exam, "the database answers, can be written to, and keeps the engine's session");
        return;
    }
    if (result == STORE_DOWN)
        exam->store_away = "the database cannot be used; see session";
    exam_bad(exam, error.hint[0] == '\0' ? NULL : arena_string(exam->arena, span_of(error.hint)), "%s", error.text);
}

/* --------------------------------------------------------------------------------------------------------- settings */

static const struct statement statement_settings = {
    "select current_setting('server_version_num')::int4, current_setting('server_version'),"
    "       current_setting('server_encoding'), current_setting('fsync'), current_setting('full_page_writes'),"
    "       current_setting('synchronous_commit'), current_setting('autovacuum'), current_setting('track_counts'),"
    "       (select string_agg(c.relname, ', ' order by c.relname) from pg_class c join pg_namespace n"
    "          on n.oid = c.relnamespace where n.nspname = 'sluice' and c.relname not like 'bus\\_log%'"
    "          and c.reloptions && array['autovacuum_enabled=false', 'autovacuum_enabled=off'])",
    false,
};

static void look_version(struct exam *exam)
{
    const struct rows *rows = exam_rows(exam, &statement_settings, 0, NULL);
    if (rows == NULL)
        return;
    const char *version = exam_text(exam, rows, 0, 1), *encoding = exam_text(exam, rows, 0, 2);
    if (rows_int64(rows, 0, 0) < STORE_VERSION_MIN)
        exam_bad(exam, NULL, "the database is PostgreSQL %s", version);
    else if (strcmp(encoding, "UTF8") != 0 && strcmp(encoding, "SQL_ASCII") != 0)
        exam_bad(exam, "create the database with encoding 'UTF8' template template0",
                 "the database's encoding is %s: events are UTF-8 and some would be refused", encoding);
    else
        exam_good(exam, "PostgreSQL %s, %s", version, encoding);
}

static void look_encryption(struct exam *exam)
{
    char mode[32];
    bool local = false;
    const struct rows *rows = exam_rows(exam, &statement_settings, 0, NULL);
    if (rows == NULL || !connection_encryption(exam->connection, mode, sizeof mode, &local))
        return;
    if (strncmp(mode, "verify-", 7) == 0)
        exam_good(exam, "TLS, and the server is known by its certificate (sslmode=%s)", mode);
    else if (strcmp(mode, "require") == 0 || (mode[0] != '\0' && !local))
        exam_warns(exam, NULL, "TLS, and nobody asks who the server is (sslmode=%s)", mode);
    else if (!local)
        exam_warns(exam, NULL, "the connection is not encrypted, and the server is on another machine");
    else
        exam_good(exam, "the server is on this machine");
}

static void look_durability(struct exam *exam)
{
    static const char *const names[] = {"fsync", "full_page_writes", "synchronous_commit"};
    const struct rows *rows = exam_rows(exam, &statement_settings, 0, NULL);
    for (size_t i = 0; rows != NULL && i < 3; i++) {
        if (!span_is(rows_span(rows, 0, 3 + i), "off"))
            continue;
        if (exam->pipeline->store.allow_unsafe)
            exam_warns(exam, NULL, "%s is off, and store.allow_unsafe allows it: a crash loses what was acknowledged",
                       names[i]);
        else
            exam_bad(exam, NULL, "%s is off: a crash loses events that were acknowledged, and `run` refuses to start",
                     names[i]);
    }
    if (rows != NULL && exam->finding_count == 0)
        exam_good(exam, "fsync, full_page_writes and synchronous_commit are on");
}

static void look_autovacuum(struct exam *exam)
{
    const struct rows *rows = exam_rows(exam, &statement_settings, 0, NULL);
    if (rows == NULL)
        return;
    if (span_is(rows_span(rows, 0, 6), "off") || span_is(rows_span(rows, 0, 7), "off"))
        exam_bad(exam, NULL, "%s is off: dead rows of the inbox and the outbox are never removed",
                 span_is(rows_span(rows, 0, 6), "off") ? "autovacuum" : "track_counts");
    if (!rows_null(rows, 0, 8)) {
        const char *tables = exam_text(exam, rows, 0, 8);
        exam_bad(exam, "alter table sluice.TABLE reset (autovacuum_enabled)", "autovacuum is off for sluice tables: %s",
                 tables);
    }
    if (exam->finding_count == 0)
        exam_good(exam, "autovacuum is on");
}

/* ------------------------------------------------------------------------------------------------------ connections */

static const struct statement statement_connections = {
    "select least(current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8,"
    "             nullif(d.datconnlimit, -1), nullif(r.rolconnlimit, -1))::int8,"
    "       (select count(*) from pg_stat_activity a where coalesce(a.backend_type, 'client backend')"
    "          = 'client backend' and a.application_name is distinct from $1"
    "          and left(a.application_name, length($1) + 1) is distinct from $1 || ' '),"
    "       current_setting('max_connections'), d.datconnlimit, r.rolconnlimit "
    "from pg_database d, pg_roles r where d.datname = current_database() and r.rolname = session_user",
    false,
};

static void look_connections(struct exam *exam)
{
    struct span name = span_of(arena_format(exam->arena, "sluice/%s", exam->pipeline->name));
    struct store_param application = STORE_VALUE(PARAM_TEXT, &name);
    const struct rows *rows = exam_rows(exam, &statement_connections, 1, &application);
    if (rows == NULL)
        return;
    int64_t most = rows_int64(rows, 0, 0), others = rows_int64(rows, 0, 1);
    int64_t needed = engine_connections(exam->pipeline);
    if (most - others < needed)
        exam_bad(exam, NULL,
                 "one process of the pipeline opens up to %lld connections, and of %lld that the server, the database "
                 "or the role allows, %lld are others'",
                 (long long)needed, (long long)most, (long long)others);
    else
        exam_good(exam, "one process opens up to %lld connections; %lld are allowed, %lld are others'",
                  (long long)needed, (long long)most, (long long)others);
}

/* ----------------------------------------------------------------------------------------------------- transactions */

static const struct statement statement_open = {
    "select a.pid, coalesce(nullif(a.application_name, ''), '?'), a.usename::text, coalesce(a.datname::text, ''),"
    "       a.state, extract(epoch from clock_timestamp() - a.xact_start)::int8,"
    "       exists (select from pg_locks l where l.pid = a.pid and l.locktype = 'advisory'"
    "        and l.classid = " STORE_LOCK_WRITER " and l.objsubid = 2 and a.datname = current_database())::int4 "
    "from pg_stat_activity a "
    "where a.backend_type = 'client backend' and a.backend_xid is not null and a.pid <> pg_backend_pid()"
    "  and a.xact_start < clock_timestamp() - $1 * interval '1 ms' order by a.xact_start limit 5",
    false,
};

static const struct statement statement_rights = {"select pg_has_role(session_user, 'pg_read_all_stats', 'usage')",
                                                  false};

static void look_open(struct exam *exam)
{
    int64_t limit_ms = pipeline_longest_call_ms(exam->pipeline);
    limit_ms = limit_ms > SERVER_OPEN_S * 1000 ? limit_ms : SERVER_OPEN_S * 1000;
    const struct rows *rows = exam_rows_of_ms(exam, &statement_open, limit_ms);
    bool postgres = exam->pipeline->bus.kind == BUS_CHOICE_POSTGRES;
    for (size_t i = 0; rows != NULL && i < rows_count(rows); i++) {
        bool stops = postgres && rows_int64(rows, i, 6) != 0;
        long long pid = (long long)rows_int64(rows, i, 0);
        const char *cure = arena_format(exam->arena,
                                        "find out what it does; end it with select pg_terminate_backend(%lld)", pid);
        const char *what = arena_format(
            exam->arena, "pid %lld (%s, user %s, database %s, %s) has had a transaction open for %s", pid,
            exam_text(exam, rows, i, 1), exam_text(exam, rows, i, 2), exam_text(exam, rows, i, 3),
            exam_text(exam, rows, i, 4), exam_duration(exam, rows_int64(rows, i, 5)));
        if (stops)
            exam_bad(exam, cure, "%s: nothing that was committed since is read from the bus", what);
        else
            exam_warns(exam, cure, "%s: dead rows of since then are kept", what);
    }
    const struct rows *rights = rows == NULL ? NULL : exam_rows(exam, &statement_rights, 0, NULL);
    if (rights != NULL && rows_int64(rights, 0, 0) == 0)
        exam_unchecked(exam, "sessions of other users are not shown to this one: grant pg_monitor to it");
    else if (rights != NULL && exam->finding_count == 0)
        exam_good(exam, "none that has written is older than %s", exam_duration(exam, limit_ms / 1000));
}

static const struct statement statement_prepared = {
    "select p.gid, p.owner::text, p.database::text, extract(epoch from clock_timestamp() - p.prepared)::int8 "
    "from pg_prepared_xacts p where p.prepared < clock_timestamp() - $1 * interval '1 ms' order by p.prepared limit 5",
    false,
};

static void look_prepared(struct exam *exam)
{
    const struct rows *rows = exam_rows_of_ms(exam, &statement_prepared, SERVER_OPEN_S * 1000);
    for (size_t i = 0; rows != NULL && i < rows_count(rows); i++) {
        const char *gid = exam_text(exam, rows, i, 0);
        exam_bad(exam, arena_format(exam->arena, "commit prepared '%s', or rollback prepared '%s'", gid, gid),
                 "transaction '%s' of %s in database %s was prepared %s ago: it holds its locks, and keeps dead rows "
                 "of since then, across restarts",
                 gid, exam_text(exam, rows, i, 1), exam_text(exam, rows, i, 2),
                 exam_duration(exam, rows_int64(rows, i, 3)));
    }
    if (rows != NULL && rows_count(rows) == 0)
        exam_good(exam, "none is older than %d s", SERVER_OPEN_S);
}

static const struct statement statement_locks = {
    "select l.pid, coalesce(nullif(a.application_name, ''), '?'),"
    "       extract(epoch from clock_timestamp() - l.waitstart)::int8, coalesce(l.relation::regclass::text, "
    "l.locktype),"
    "       array_to_string(pg_blocking_pids(l.pid), ', ') "
    "from pg_locks l join pg_stat_activity a on a.pid = l.pid "
    "where not l.granted and l.waitstart < clock_timestamp() - $1 * interval '1 ms'"
    "  and (l.database is null or l.database = (select oid from pg_database where datname = current_database()))"
    "  and a.datname = current_database() "
    "order by l.waitstart limit 5",
    false,
};

static void look_locks(struct exam *exam)
{
    const struct rows *rows = exam_rows_of_ms(exam, &statement_locks, SERVER_LOCK_S * 1000);
    for (size_t i = 0; rows != NULL && i < rows_count(rows); i++)
        exam_warns(exam, NULL, "pid %lld (%s) has waited for a lock (%s) for %s; pid %s has it",
                   (long long)rows_int64(rows, i, 0), exam_text(exam, rows, i, 1), exam_text(exam, rows, i, 3),
                   exam_duration(exam, rows_int64(rows, i, 2)), exam_text(exam, rows, i, 4));
    if (rows != NULL && rows_count(rows) == 0)
        exam_good(exam, "nobody has waited longer than %d s", SERVER_LOCK_S);
}

/* ----------------------------------------------------------------------------------------------------- what is kept */

static const struct statement statement_dead = {
    "select s.schemaname || '.' || s.relname, s.n_dead_tup, s.n_live_tup,"
    "       (extract(epoch from now() - greatest(s.last_autovacuum, s.last_vacuum)))::int8 "
    "from pg_stat_user_tables s where s.schemaname = 'sluice' and s.n_dead_tup > $1 and s.n_dead_tup > s.n_live_tup "
    "order by s.n_dead_tup desc limit 5",
    false,
};

static void look_dead_rows(struct exam *exam)
{
    int64_t least = SERVER_DEAD_ROWS;
    struct store_param limit = STORE_VALUE(PARAM_INT8, &least);
    const struct rows *rows = exam_rows(exam, &statement_dead, 1, &limit);
    for (size_t i = 0; rows != NULL && i < rows_count(rows); i++)
        exam_warns(exam, NULL, "%s has %s and %lld live ones; last vacuumed %s%s", exam_text(exam, rows, i, 0),
                   exam_count(exam, rows_int64(rows, i, 1), "dead row"), (long long)rows_int64(rows, i, 2),
                   rows_null(rows, i, 3) ? "never" : exam_duration(exam, rows_int64(rows, i, 3)),
                   rows_null(rows, i, 3) ? "" : " ago");
    if (rows != NULL && rows_count(rows) == 0)
        exam_good(exam, "no table of sluice has more dead rows than live ones");
}

static const struct statement statement_slots = {
    "select s.slot_name::text, s.active, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0)::int8,"
    "       coalesce(s.wal_status, ''), s.xmin is not null or s.catalog_xmin is not null "
    "from pg_replication_slots s where not pg_is_in_recovery() and not s.temporary order by 3 desc limit 20",
    false,
};

static void look_slots(struct exam *exam)
{
    const struct rows *rows = exam_rows(exam, &statement_slots, 0, NULL);
    for (size_t i = 0; rows != NULL && i < rows_count(rows); i++) {
        const char *name = exam_text(exam, rows, i, 0);
        const char *cure = arena_format(
            exam->arena, "start what reads it, or remove it: select pg_drop_replication_slot('%s')", name);
        bool active = rows_int64(rows, i, 1) != 0, lost = span_is(rows_span(rows, i, 3), "lost");
        long long kept = (long long)rows_int64(rows, i, 2);
        if (lost || kept > SERVER_SLOT_BYTES)
            exam_bad(exam, cure, "replication slot '%s' %s %lld MiB of WAL: the server's disk fills", name,
                     lost ? "has lost" : "keeps", kept >> 20);
        else if (!active)
            exam_warns(exam, cure, "nobody reads replication slot '%s': it keeps WAL (%lld MiB)%s", name, kept >> 20,
                       rows_int64(rows, i, 4) != 0 ? " and dead rows" : "");
    }
    if (rows != NULL && exam->finding_count == 0)
        exam_good(exam, "%s, and each is read", exam_count(exam, (int64_t)rows_count(rows), "replication slot"));
}

static void look_outbox_table(struct exam *exam)
{
    const char *table = exam->pipeline->outbox_table.name;
    struct error error = {0};
    bool unread = false;
    if (table == NULL)
        exam_good(exam, "the file has no `outbox_table`");
    else if (!exam_has_store(exam))
        return;
    else if (outbox_table_unread(exam->store, table, &unread, &error) != STORE_OK)
        exam_unchecked(exam, "%s", error.text);
    else if (unread)
        exam_bad(exam, arena_string(exam->arena, span_of(error.hint)), "%s", error.text);
    else
        exam_good(exam, "the table %s can be read from the write-ahead log by a logical replication slot", table);
}

/* ----------------------------------------------------------------------------------------------------------- limits */

static const struct statement statement_clock = {"select (extract(epoch from clock_timestamp()) * 1000)::int8", false};

static void look_clock(struct exam *exam)
{
    if (exam_rows(exam, &statement_clock, 0, NULL) == NULL) /* connects and prepares, which is not to be measured */
        return;
    int64_t before = clock_wall_ms();
    const struct rows *rows = exam_rows(exam, &statement_clock, 0, NULL);
    int64_t after = clock_wall_ms();
    if (rows == NULL)
        return;
    int64_t server = rows_int64(rows, 0, 0);
    int64_t apart = server < before ? before - server : server > after ? server - after : 0;
    if (apart >= SERVER_CLOCK_BAD_MS)
        exam_bad(exam, NULL, "the clocks of this machine and of the database are %lld s apart",
                 (long long)apart / 1000);
    else if (apart >= SERVER_CLOCK_WARNS_MS)
        exam_warns(exam, NULL, "the clocks of this machine and of the database are %lld ms apart", (long long)apart);
    else
        exam_good(exam, "this machine and the database are less than %d ms apart", SERVER_CLOCK_WARNS_MS);
}

static const struct statement statement_limits = {
    "select l.name, coalesce((select s.setting::int8 from pg_settings s where s.name = l.name), 0) "
    "from (values ('idle_in_transaction_session_timeout'), ('transaction_timeout'), ('idle_session_timeout')) l(name)",
    false,
};

static void look_session_limits(struct exam *exam)
{
    const struct rows *rows = exam_rows(exam, &statement_limits, 0, NULL);
    int64_t call_ms = pipeline_longest_call_ms(exam->pipeline);
    for (size_t i = 0; rows != NULL && i < rows_count(rows); i++) {
        const char *name = exam_text(exam, rows, i, 0);
        int64_t limit_ms = rows_int64(rows, i, 1);
        if (limit_ms == 0)
            continue;
        if (i == 2)
            exam_warns(exam, NULL,
                       "%s is %lld ms: the server closes connections of lanes that have nothing to do, and the engine "
                       "makes them again",
                       name, (long long)limit_ms);
        else if (limit_ms < call_ms)
            exam_bad(exam, NULL,
                     "%s is %lld ms and a handler may take %lld ms: its transaction ends under it, and is tried again",
                     name, (long long)limit_ms, (long long)call_ms);
    }
    if (rows != NULL && exam->finding_count == 0)
        exam_good(exam, "none of the server's ends a session or a transaction under a handler");
}

static const struct check checks[] = {
    {"session",
     "the database cannot be reached, refuses the user or its certificate, is a standby or read-only, has no schema on "
     "its search path, or is behind a connection pooler in transaction or statement mode",
     "start the server, or mend `store.url`: it must lead to a primary, as a user who may use the database",
     look_session},
    {"version", "PostgreSQL older than 14, or a database whose encoding is not UTF-8", "use PostgreSQL 14 or later",
     look_version},
    {"durability", "`fsync`, `full_page_writes` or `synchronous_commit` is off",
     "turn it on; `store.allow_unsafe` is for databases whose contents do not matter", look_durability},
    {"encryption",
     "the database is on another machine and the connection is not encrypted, or the server's certificate is not "
     "verified (`sslmode=require`)",
     "sslmode=verify-full and sslrootcert=FILE in `store.url`", look_encryption},
    {"connections",
     "`max_connections`, or the limit of the database or the role, leaves fewer connections than one process opens",
     "raise max_connections or the limit (alter database, alter role), or use fewer `engine.lanes`", look_connections},
    {"open_transactions",
     "a transaction that has written, of whatever program, is open for longer than 10 s and than any handler's "
     "`timeout`: it keeps dead rows; one of an engine keeps readers of the postgres bus waiting, too",
     "end it; give its role an idle_in_transaction_session_timeout", look_open},
    {"prepared_transactions", "a transaction was prepared (two-phase commit) more than 10 s ago and is not over",
     "commit or roll back what was prepared", look_prepared},
    {"locks", "a session of this database has waited for a lock for longer than 3 s",
     "look at what the session that has it does (pg_stat_activity); end it when it is forgotten", look_locks},
    {"autovacuum", "`autovacuum` or `track_counts` is off, or a table of the engine has it off",
     "turn it on: postgresql.conf, or alter system, then select pg_reload_conf()", look_autovacuum},
    {"dead_rows", "a table of the engine has more than 10 000 dead rows, and more than live ones",
     "end what keeps them (open_transactions, slots), then vacuum the table", look_dead_rows},
    {"slots", "a replication slot that nobody reads, or that keeps more than 1 GiB of WAL",
     "start what reads it, or drop it", look_slots},
    {"outbox_table",
     "events are written to the table of `outbox_table`, and nobody can read them: `wal_level` is not `logical`, or "
     "the "
     "database has no logical replication slot",
     "set `wal_level = logical`, and start the connector that makes the slot", look_outbox_table},
    {"clock", "the clocks of this machine and of the server differ by a second; bad: by a minute",
     "run a time service (chrony, systemd-timesyncd) on both machines", look_clock},
    {"session_limits",
     "the server ends sessions that are idle in a transaction, or whole transactions, before a handler's `timeout` is "
     "over, or sessions that have nothing to do",
     "alter role ... set the limit to 0 for the engine's role, or longer than the longest `timeout`",
     look_session_limits},
};
const struct checks server_checks = {"PostgreSQL", checks, sizeof checks / sizeof checks[0]};
