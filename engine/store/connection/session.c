/*
 * session.c - what a plugin's statements changed in the session does not reach the next transaction.
 *
 * Behind COMMIT and rollback of a transaction in which a plugin's statement ran, two statements travel in the same
 * pipeline: one compares what outlives the transaction with what was there before the first such statement, and gives
 * up advisory locks; the other puts all settings back. What cannot be put back has the connection closed, and the next
 * transaction opens another one. Should they fail, the connection is closed, too; the transaction stands.
 *
 * The comparison costs microseconds, because it looks at little. Once a second, and when a statement of a plugin was
 * prepared, it is whole: it also looks at all settings, at advisory locks and at prepared statements. Those do no harm
 * (they are put back anyway, or found when the next statement fails), but who changed them is named in the log.
 *
 * Not looked at: settings that no library defines ("app.tenant"), which are put back without a name; currval(); and
 * what a library that a plugin loads into the server keeps for itself.
 */
#include "store/connection/connection.h"

#include "base/clock.h"

#include <stdlib.h>

enum { SESSION_WHOLE_MS = 1000 };

/* Column by column as session_columns[]. Every name is qualified, since the search path is what the plugin left. */
const struct statement session_compare = {
    "select case when $1 then (select pg_catalog.string_agg(s.name, ', ') from pg_catalog.pg_settings s"
    "                          where s.source operator(pg_catalog.=) 'session' and s.name operator(pg_catalog.<>) "
    "'search_path') end,"
    " case when $1 then (select pg_catalog.string_agg(l.objid::pg_catalog.text, ', ') from pg_catalog.pg_locks l"
    "                    where l.locktype operator(pg_catalog.=) 'advisory'"
    "                    and l.pid operator(pg_catalog.=) pg_catalog.pg_backend_pid()) end,"
    " case when $1 then (select pg_catalog.string_agg(p.name, ', ') from pg_catalog.pg_prepared_statement() p"
    "                    where p.from_sql) end,"
    " pg_catalog.current_setting('search_path'), pg_catalog.current_setting('role'),"
    " session_user::pg_catalog.text, "
    " case when pg_catalog.pg_my_temp_schema() operator(pg_catalog.<>) 0 and exists (select from pg_catalog.pg_depend d"
    "           where d.refclassid operator(pg_catalog.=) 2615 /* pg_namespace */"
    "           and d.refobjid operator(pg_catalog.=) pg_catalog.pg_my_temp_schema()) then 'some' end,"
    " (select pg_catalog.string_agg(c, ', ') from pg_catalog.pg_listening_channels() c),"
    " (select pg_catalog.string_agg(c.name, ', ') from pg_catalog.pg_cursor() c where c.is_holdable),"
    " pg_catalog.pg_advisory_unlock_all()",
    false,
};
const struct statement session_reset = {"reset all", false};

static const struct session_column {
    const char *word;
    bool whole;    /* only asked for by a whole comparison; NULL while nothing was changed */
    bool put_back; /* a change is undone by the two statements */
} session_columns[SESSION_COLUMNS] = {
    {"settings", true, true},           {"advisory locks", true, true}, {"prepared statements", true, false},
    {"search_path", false, true},       {"role", false, false},         {"session authorization", false, false},
    {"temporary tables", false, false}, {"listen", false, false},       {"cursors with hold", false, false},
};

bool session_statement(const struct statement *statement)
{
    return statement == &session_compare || statement == &session_reset;
}

bool session_whole(struct connection *connection)
{
    struct session *session = &connection->session;
    int64_t now_ms = clock_monotonic_ms();
    bool whole = session->whole_due || now_ms - session->whole_ms >= SESSION_WHOLE_MS;
    if (whole)
        session->whole_ms = now_ms;
    session->whole_due = false;
    return whole;
}

static void session_changed(struct session *session, const struct session_column *column, const char *now)
{
    size_t length = strlen(session->changed);
    session->replace = session->replace || !column->put_back;
    snprintf(session->changed + length, sizeof session->changed - length, "%s%s%s%.60s%s", length == 0 ? "" : ", ",
             column->word, column->whole ? " (" : "", column->whole ? now : "", column->whole ? ")" : "");
}

void session_take(struct connection *connection, const PGresult *result)
{
    struct session *session = &connection->session;
    bool first = !session->known;
    if (PQresultStatus(result) == PGRES_COMMAND_OK)
        return;
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 || PQnfields(result) <= SESSION_COLUMNS) {
        session->replace = true; /* the statements were deallocated, or the role may not even do this */
        return;
    }
    for (int i = 0; i < SESSION_COLUMNS; i++) {
        const struct session_column *column = &session_columns[i];
        const char *now = PQgetisnull(result, 0, i) ? "" : PQgetvalue(result, 0, i);
        if (!first && strcmp(now, session->before[i] == NULL ? "" : session->before[i]) != 0)
            session_changed(session, column, now);
        else if (first && !column->whole && (session->before[i] = strdup(now)) == NULL)
            abort(); /* as in arena.h */
    }
    session->known = true;
}

void session_forget(struct connection *connection)
{
    struct session *session = &connection->session;
    for (int i = 0; i < SESSION_COLUMNS; i++) {
        free(session->before[i]);
        session->before[i] = NULL;
    }
    session->asked = session->known = session->replace = false;
}

const char *connection_changed(const struct connection *connection)
{
    return connection->session.changed[0] == '\0' ? NULL : connection->session.changed;
}
