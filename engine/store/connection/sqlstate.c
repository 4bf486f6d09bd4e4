/*
 * sqlstate.c - what an error of the server means for a batch. Decided by the five characters alone, never by the text.
 *
 * Every state that is not in the table is an outage: the engine waits and logs it, and no event counts a try.
 */
#include "store/connection/connection.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

struct sqlstate_row {
    const char *prefix; /* a whole state, or its class */
    enum store_result engine, plugin, commit;
};

/* The longest prefix that fits counts: whole states stand before their classes. */
static const struct sqlstate_row sqlstate_table[] = {
    /*          of the engine's,  of a plugin's,   of COMMIT (deferred constraints and triggers: the plugin's tables) */
    {"40001", STORE_TRANSIENT, STORE_TRANSIENT, STORE_TRANSIENT}, /* serialization_failure */
    {"40P01", STORE_TRANSIENT, STORE_TRANSIENT, STORE_TRANSIENT}, /* deadlock_detected */
    {"55P03", STORE_TRANSIENT, STORE_TRANSIENT, STORE_TRANSIENT}, /* lock_not_available: lock_timeout */
    {"57014", STORE_TRANSIENT, STORE_TRANSIENT, STORE_TRANSIENT}, /* query_canceled: statement_timeout */
    {"25P03", STORE_DOWN, STORE_DOWN, STORE_UNKNOWN},             /* idle_in_transaction_session_timeout */
    {"25006", STORE_DOWN, STORE_DOWN, STORE_DOWN},                /* read_only_sql_transaction: a standby */
    {"P0001", STORE_DOWN, STORE_DATA, STORE_DATA},                /* raise_exception */
    {"08", STORE_DOWN, STORE_DOWN, STORE_DOWN},                   /* connection */
    {"28", STORE_DOWN, STORE_DOWN, STORE_DOWN},                   /* authorization */
    {"53", STORE_DOWN, STORE_DOWN, STORE_DOWN},                   /* insufficient resources */
    {"57", STORE_DOWN, STORE_DOWN, STORE_DOWN},                   /* operator intervention */
    {"58", STORE_DOWN, STORE_DOWN, STORE_DOWN},                   /* system error */
    {"22", STORE_DATA, STORE_DATA, STORE_DATA},                   /* data exception */
    {"23", STORE_DATA, STORE_DATA, STORE_DATA},                   /* integrity constraint */
    {"26", STORE_DEPLOY, STORE_DOWN, STORE_DOWN},                 /* prepared statement lost: a pooler in between */
    {"3F", STORE_DEPLOY, STORE_DATA, STORE_DATA},                 /* invalid schema name */
    {"42", STORE_DEPLOY, STORE_DATA, STORE_DATA},                 /* syntax, access rule, no such table */
    {"0A", STORE_DEPLOY, STORE_DATA, STORE_DATA},                 /* feature not supported */
};

enum store_result sqlstate_class(const char *sqlstate, enum sqlstate_origin origin)
{
    if (sqlstate == NULL)
        return STORE_DOWN;
    for (size_t i = 0; i < sizeof sqlstate_table / sizeof sqlstate_table[0]; i++) {
        const struct sqlstate_row *row = &sqlstate_table[i];
        if (strncmp(sqlstate, row->prefix, strlen(row->prefix)) == 0)
            return origin == SQLSTATE_ENGINE ? row->engine : origin == SQLSTATE_PLUGIN ? row->plugin : row->commit;
    }
    return STORE_DOWN;
}

const char *store_result_word(enum store_result result)
{
    switch (result) {
    case STORE_OK:
        return "ok";
    case STORE_TRANSIENT:
        return "transient";
    case STORE_DOWN:
        return "down";
    case STORE_UNKNOWN:
        return "unknown";
    case STORE_DATA:
        return "data";
    case STORE_DEPLOY:
        return "deploy";
    case STORE_FENCED:
        return "fenced";
    }
    return "?";
}

int store_result_errno(enum store_result result)
{
    switch (result) {
    case STORE_OK:
        return 0;
    case STORE_TRANSIENT:
        return EAGAIN;
    case STORE_DOWN:
        return ENOTCONN;
    case STORE_UNKNOWN:
        return EINPROGRESS;
    case STORE_DATA:
        return EINVAL;
    case STORE_DEPLOY:
        return ENOEXEC;
    case STORE_FENCED:
        return ESTALE;
    }
    return EIO;
}

/* Past blanks, comments and opening brackets. A comment that does not end ends the text. */
static const char *sqlstate_first_word(const char *at)
{
    for (;;) {
        if (isspace((unsigned char)*at) || *at == '(' || *at == ';') {
            at++;
        } else if (at[0] == '-' && at[1] == '-') {
            while (*at != '\0' && *at != '\n')
                at++;
        } else if (at[0] == '/' && at[1] == '*') {
            int depth = 1; /* comments nest in PostgreSQL */
            for (at += 2; *at != '\0' && depth > 0; at++) {
                if (at[0] == '/' && at[1] == '*') {
                    depth++;
                    at++;
                } else if (at[0] == '*' && at[1] == '/') {
                    depth--;
                    at++;
                }
            }
        } else {
            return at;
        }
    }
}

static bool sqlstate_is_word(const char *at, const char *word)
{
    size_t length = strlen(word);
    if (strncasecmp(at, word, length) != 0)
        return false;
    unsigned char next = (unsigned char)at[length];
    return !isalnum(next) && next != '_' && next != '$' && next < 0x80;
}

bool sqlstate_transaction_word(const char *text)
{
    /* "set" and "reset" change the session that other handlers use after this one; "discard" and "deallocate" drop the
     * engine's prepared statements. */
    static const char *const words[] = {"abort",    "begin",     "commit",  "deallocate", "discard",
                                        "end",      "listen",    "prepare", "release",    "reset",
                                        "rollback", "savepoint", "set",     "start",      "unlisten"};
    const char *at = sqlstate_first_word(text);
    if (sqlstate_is_word(at, "set") && sqlstate_is_word(sqlstate_first_word(at + 3), "local"))
        return false; /* ends with the transaction */
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (sqlstate_is_word(at, words[i]))
            return true;
    }
    return false;
}
