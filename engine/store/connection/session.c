/*
 * session.c - what a plugin's statements changed in the session does not reach the next transaction.
 *
 * Behind COMMIT and rollback of a transaction in which a plugin's statement ran, two statements travel in the same
 * pipeline: one compares what outlives the transaction with what was there before the first such statement, and gives
 * up advisory locks; the other puts all settings back. What cannot be put back has the connection closed, and the next
 * transaction opens another one. Should they fail, the connection is closed, too; the transaction stands.
 *
 * Before the engine's own statements, and COMMIT, the role and the settings that they depend on are put back for the
 * rest of the transaction: a handler's time limit ends none of them, and COMMIT waits for the disk.
 *
 * Between two handlers in one transaction the same two statements travel before the second one's, settings first, so
 * that it finds them as the session has them, also those that the first one changed with `set local`. What remains
 * changed then (a role, temporary tables) makes the second one's statement fail.
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
    " pg_catalog.pg_advisory_unlock_all(), pg_catalog.current_setting('statement_timeout'),"
    " pg_catalog.current_setting('lock_timeout'), pg_catalog.current_setting('synchronous_commit')",
    false,
};
const struct statement session_own = {
    "select pg_catalog.set_config('role', $1, true), pg_catalog.set_config('statement_timeout', $2, true),"
    " pg_catalog.set_config('lock_timeout', $3, true), pg_catalog.set_config('synchronous_commit', $4, true)",
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

static const char *const own_names[SESSION_OWN] = {"statement_timeout", "lock_timeout", "synchronous_commit"};

bool session_statement(const struct statement *statement)
{
    return statement == &session_compare || statement == &session_reset;
}

bool session_whole(struct connection *connection)
{
    struct session *session = &connection->session;
    int64_t now_ms = clock_monotonic_ms();
    bool second = now_ms - session->whole_ms >= SESSION_WHOLE_MS && !clock_is_stopped(); /* virtual ones are many */
    bool whole = session->whole_due || second;
    if (whole)
        session->whole_ms = now_ms;
    session->whole_due = false;
    return whole;
}

static void words_add(char *words, size_t size, const struct session_column *column, const char *now)
{
    size_t length = strlen(words);
    snprintf(words + length, size - length, "%s%s%s%.60s%s", length == 0 ? "" : ", ", column->word,
             column->whole ? " (" : "", column->whole ? now : "", column->whole ? ")" : "");
}

static bool is_comparison(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 &&
           PQnfields(result) == SESSION_COLUMNS + 1 + SESSION_OWN;
}

static const char *column_value(const PGresult *result, int column)
{
    return PQgetisnull(result, 0, column) ? "" : PQgetvalue(result, 0, column);
}

static bool column_differs(const struct session *session, int column, const char *now)
{
    return strcmp(now, session->before[column] == NULL ? "" : session->before[column]) != 0;
}

void session_take(struct connection *connection, const PGresult *result)
{
    struct session *session = &connection->session;
    bool first = !session->known;
    if (PQresultStatus(result) == PGRES_COMMAND_OK)
        return;
    if (!is_comparison(result)) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        session->replace = true; /* the statements were deallocated, or the role may not even do this */
        if (state != NULL && strcmp(state, "57014") == 0) /* the time limit that was left is so short */
            words_add(session->changed, sizeof session->changed, &session_columns[0], own_names[0]);
        return;
    }
    for (int i = 0; i < SESSION_COLUMNS; i++) {
        const struct session_column *column = &session_columns[i];
        const char *now = column_value(result, i);
        if (!first && column_differs(session, i, now)) {
            session->replace = session->replace || !column->put_back;
            words_add(session->changed, sizeof session->changed, column, now);
        } else if (first && !column->whole && (session->before[i] = strdup(now)) == NULL) {
            abort(); /* as in arena.h */
        }
    }
    for (int i = 0; !first && column_value(result, 0)[0] == '\0' && i < SESSION_OWN; i++)
        if (strcmp(column_value(result, SESSION_COLUMNS + 1 + i), session->own[i]) != 0)
            words_add(session->changed, sizeof session->changed, &session_columns[0], own_names[i]);
    for (int i = 0; first && i < SESSION_OWN; i++)
        if ((session->own[i] = strdup(column_value(result, SESSION_COLUMNS + 1 + i))) == NULL)
            abort();
    session->known = true;
}

void session_take_left(struct connection *connection, const PGresult *result)
{
    struct session *session = &connection->session;
    if (PQresultStatus(result) == PGRES_COMMAND_OK)
        return;
    if (!is_comparison(result)) {
        session->replace = true;
        snprintf(session->left, sizeof session->left, "prepared statements or rights");
        return;
    }
    for (int i = 0; session->known && i < SESSION_COLUMNS; i++)
        if (!session_columns[i].whole && column_differs(session, i, column_value(result, i)))
            words_add(session->left, sizeof session->left, &session_columns[i], "");
}

void session_forget(struct connection *connection)
{
    struct session *session = &connection->session;
    for (int i = 0; i < SESSION_COLUMNS; i++) {
        free(session->before[i]);
        session->before[i] = NULL;
    }
    for (int i = 0; i < SESSION_OWN; i++) {
        free(session->own[i]);
        session->own[i] = NULL;
    }
    session->asked = session->known = session->replace = false;
}

void session_hand_on(struct session *from, struct session *to)
{
    memcpy(to->before, from->before, sizeof to->before);
    memcpy(to->own, from->own, sizeof to->own);
    to->asked = from->asked;
    to->known = from->known;
    to->replace = from->replace;
    to->whole_due = from->whole_due;
    to->whole_ms = from->whole_ms;
    memset(from->before, 0, sizeof from->before);
    memset(from->own, 0, sizeof from->own);
    from->asked = from->known = from->replace = from->whole_due = false;
}

const char *connection_changed(const struct connection *connection)
{
    return connection->session.changed[0] == '\0' ? NULL : connection->session.changed;
}

void connection_separate(struct connection *connection)
{
    connection->session.separate = true;
}

const char *connection_left(const struct connection *connection)
{
    return connection->session.left[0] == '\0' ? NULL : connection->session.left;
}
