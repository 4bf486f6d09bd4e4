/*
 * outbox_table.c - see ledger_outbox_table.h.
 *
 * The table's name is in the text of the statements, so each connection keeps texts of its own.
 */
#include "store/ledger_outbox_table.h"

#include "store/connection/connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { TABLE_NAME_MAX = 160 };

/* Each part in quotes, as "user" or "order" are words of SQL. */
static void quoted(const char *table, char ret[TABLE_NAME_MAX])
{
    const char *point = strchr(table, '.');
    if (point == NULL)
        snprintf(ret, TABLE_NAME_MAX, "\"%s\"", table);
    else
        snprintf(ret, TABLE_NAME_MAX, "\"%.*s\".\"%s\"", (int)(point - table), table, point + 1);
}

/* ------------------------------------------------------------------------------------------------------------- rows */

static bool make_texts(struct outbox_table_texts *texts, const char *table)
{
    char name[TABLE_NAME_MAX];
    if (texts->add.text != NULL)
        return true;
    quoted(table, name);
    char *add = NULL, *done = NULL;
    if (asprintf(&add,
                 "insert into %s (id, aggregatetype, aggregateid, type, payload, \"timestamp\", tracingspancontext) "
                 "select u.id, u.topic, u.key, u.topic, u.data, u.at at time zone 'UTC', u.tracing "
                 "from unnest($1, $2, $3, $4, $5, $6) with ordinality as u(id, topic, key, data, at, tracing, place) "
                 "order by u.place on conflict do nothing",
                 name) < 0)
        add = NULL;
    if (asprintf(&done, "delete from %s where id = any ($1)", name) < 0)
        done = NULL;
    if (add == NULL || done == NULL) {
        free(add);
        free(done);
        return false;
    }
    *texts = (struct outbox_table_texts){{add, false}, {done, false}};
    return true;
}

enum store_result ledger_outbox_table_add(struct connection *connection, const char *table,
                                          const struct outbox_table_row *rows, size_t count, struct error *error)
{
    if (!make_texts(&connection->outbox_table, table)) {
        error_set(error, ENOMEM, "out of memory");
        return STORE_DOWN;
    }
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_UUID, &rows[0].id, count, sizeof *rows),
        STORE_COLUMN(PARAM_TEXT, &rows[0].topic, count, sizeof *rows),
        STORE_COLUMN(PARAM_TEXT, &rows[0].key, count, sizeof *rows),
        STORE_COLUMN(PARAM_JSONB, &rows[0].data, count, sizeof *rows),
        STORE_COLUMN(PARAM_TIMESTAMP, &rows[0].at_ms, count, sizeof *rows),
        STORE_COLUMN(PARAM_TEXT, &rows[0].tracing, count, sizeof *rows),
    };
    enum store_result result = connection_queue(connection, &connection->outbox_table.add, 6, params, error);
    if (result == STORE_OK) /* the same ids */
        result = connection_queue(connection, &connection->outbox_table.done, 1, params, error);
    return result;
}

/* -------------------------------------------------------------------------------------------------------- the table */

static const struct statement statement_exists = {"select to_regclass($1) is not null", false};

static const char make_sql[] =
    "create table %1$s ("
    " id uuid primary key, aggregatetype text not null, aggregateid text not null, type text not null,"
    " payload jsonb not null, \"timestamp\" timestamp not null, tracingspancontext text);"
    "comment on table %1$s is 'Events for Debezium''s outbox event router: a row is written and deleted in the "
    "transaction that emits the event, so that only the write-ahead log keeps it';"
    "comment on column %1$s.id is 'The event''s id';"
    "comment on column %1$s.aggregatetype is 'Its topic, by which the router routes';"
    "comment on column %1$s.aggregateid is 'Its key, or its id when it has none';"
    "comment on column %1$s.type is 'Its topic';"
    "comment on column %1$s.payload is 'Its data';"
    "comment on column %1$s.\"timestamp\" is 'When it was emitted, UTC';"
    "comment on column %1$s.tracingspancontext is 'traceparent=..., or null';";

enum store_result outbox_table_make(struct connection *connection, const char *table, bool *ret_made,
                                    struct error *error)
{
    char name[TABLE_NAME_MAX], sql[sizeof make_sql + 16 * TABLE_NAME_MAX];
    struct rows *rows;
    quoted(table, name);
    struct span text = span_of(name);
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &text)};
    enum store_result result = connection_exec(connection, &statement_exists, 1, params, &rows, error);
    if (result != STORE_OK)
        return result;
    *ret_made = rows_int64(rows, 0, 0) == 0;
    snprintf(sql, sizeof sql, make_sql, name);
    return *ret_made ? connection_script(connection, sql, connection->store->statement_timeout_ms, error) : STORE_OK;
}

/* What is there, in one row: of the table, then of the first of its columns that does not fit. */
static const struct statement statement_look = {
    "with t as (select to_regclass($1) as oid),"
    " wanted(name, types, place) as (values ('id', 'uuid', 1), ('aggregatetype', 'text|character varying', 2),"
    "  ('aggregateid', 'text|character varying', 3), ('type', 'text|character varying', 4),"
    "  ('payload', 'jsonb|json|text|character varying', 5), ('timestamp', 'timestamp without time zone', 6),"
    "  ('tracingspancontext', 'text|character varying', 7)),"
    " columns as (select a.attname::text, format_type(a.atttypid, null) as type, a.attnotnull, a.atthasdef, "
    "a.attidentity"
    "  from pg_attribute a, t where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped),"
    " misfit as (select w.name, w.types, c.type from wanted w left join columns c on c.attname = w.name"
    "  where c.type is null or not c.type = any (string_to_array(w.types, '|')) order by w.place limit 1)"
    "select t.oid is not null,"
    " (select m.name from misfit m), (select replace(m.types, '|', ' or ') from misfit m), (select m.type from misfit "
    "m),"
    " (select string_agg(c.attname, ', ' order by c.attname) from columns c where c.attnotnull and not c.atthasdef"
    "   and c.attidentity = '' and not exists (select from wanted w where w.name = c.attname"
    "   and w.name <> 'tracingspancontext')),"
    " c.relreplident in ('f', 'i') or (c.relreplident = 'd'"
    "   and exists (select from pg_index i where i.indrelid = t.oid and i.indisprimary)),"
    " has_table_privilege(t.oid, 'insert') and has_table_privilege(t.oid, 'select')"
    "   and has_table_privilege(t.oid, 'delete'), current_user::text "
    "from t left join pg_class c on c.oid = t.oid",
    false,
};

static enum store_result judge(const struct rows *rows, const char *table, struct error *error)
{
    struct span column = rows_span(rows, 0, 1), types = rows_span(rows, 0, 2), type = rows_span(rows, 0, 3);
    struct span others = rows_span(rows, 0, 4), user = rows_span(rows, 0, 7);
    if (rows_int64(rows, 0, 0) == 0) {
        error_set(error, ENOEXEC, "the database has no table %s, which outbox_table names", table);
        error_hint(error, "`sluice migrate CONFIG` makes it");
    } else if (!rows_null(rows, 0, 1) && rows_null(rows, 0, 3)) {
        error_set(error, ENOEXEC, "the table %s of outbox_table has no column %.*s; expected one of type %.*s", table,
                  (int)column.length, column.at, (int)types.length, types.at);
        error_hint(error, "alter the table, or name one that is not there: `sluice migrate CONFIG` makes it");
    } else if (!rows_null(rows, 0, 1)) {
        error_set(error, ENOEXEC, "the column %.*s of the table %s of outbox_table is of type %.*s; expected %.*s",
                  (int)column.length, column.at, table, (int)type.length, type.at, (int)types.length, types.at);
        error_hint(error, "alter the table, or name one that is not there: `sluice migrate CONFIG` makes it");
    } else if (!rows_null(rows, 0, 4)) {
        error_set(error, ENOEXEC,
                  "the table %s of outbox_table has columns into which nothing is written and that take no null: %.*s",
                  table, (int)others.length, others.at);
        error_hint(error, "give them a default, or drop their `not null`");
    } else if (rows_int64(rows, 0, 5) == 0) {
        error_set(
            error, ENOEXEC,
            "the table %s of outbox_table has no primary key, without which the server refuses to delete its rows "
            "while a publication has the table",
            table);
        error_hint(error, "alter table %s add primary key (id)", table);
    } else if (rows_int64(rows, 0, 6) == 0) {
        error_set(error, ENOEXEC, "the user %.*s may not insert into, select from and delete from the table %s",
                  (int)user.length, user.at, table);
        error_hint(error, "grant insert, select, delete on %s to %.*s", table, (int)user.length, user.at);
    } else {
        return STORE_OK;
    }
    return STORE_DEPLOY;
}

enum store_result outbox_table_check(struct connection *connection, const char *table, struct error *error)
{
    char name[TABLE_NAME_MAX];
    struct rows *rows;
    quoted(table, name);
    struct span text = span_of(name);
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &text)};
    enum store_result result = connection_once(connection, &statement_look, 1, params,
                                               connection->store->statement_timeout_ms, &rows, error);
    return result == STORE_OK ? judge(rows, table, error) : result;
}

static const struct statement statement_readers = {
    "select current_setting('wal_level') = 'logical', exists (select from pg_replication_slots s"
    "  where s.slot_type = 'logical' and s.database = current_database()), current_database()::text",
    false,
};

enum store_result outbox_table_unread(struct store *store, const char *table, bool *ret_unread, struct error *error)
{
    struct connection *connection = connection_create(store, "outbox_table");
    struct rows *rows = NULL;
    if (connection == NULL) {
        error_set(error, ENOMEM, "out of memory");
        return STORE_DOWN;
    }
    enum store_result result = connection_once(connection, &statement_readers, 0, NULL, store->statement_timeout_ms,
                                               &rows, error);
    bool logical = result == STORE_OK && rows_int64(rows, 0, 0) != 0;
    bool slot = logical && rows_int64(rows, 0, 1) != 0;
    if (result == STORE_OK && !logical) {
        error_set(error, ENOENT,
                  "nobody can read what is written to the table %s of outbox_table: wal_level is not logical", table);
        error_hint(error, "alter system set wal_level = logical, and start the server again");
    } else if (result == STORE_OK && !slot) {
        struct span database = rows_span(rows, 0, 2);
        error_set(error, ENOENT,
                  "nobody reads what is written to the table %s of outbox_table: database %.*s has no logical "
                  "replication slot",
                  table, (int)database.length, database.at);
        error_hint(error, "start the connector, which makes its slot: it gets nothing that was written before");
    }
    if (result == STORE_OK)
        *ret_unread = !slot;
    connection_destroy(connection);
    return result;
}
