/*
 * sqlstate.c - what an error of the server means for a batch. Decided by the five characters alone, never by the text.
 *
 * What is an outage stands in the table. A plugin's statement that is refused for any other reason is the fault of the
 * event that it was for, so that no code, known or not, makes a batch run again for ever. The engine's own statements
 * are nobody's fault: theirs is waited for, and logged.
 */
#include "store/connection/connection.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

struct sqlstate_row {
    const char *prefix; /* a whole state, or its class; "" fits all */
    enum store_result engine, plugin, commit;
};

/* The first prefix that fits counts: whole states stand before their classes. */
static const struct sqlstate_row sqlstate_table[] = {
    /*          of the engine's,  of a plugin's,   of COMMIT (deferred constraints and triggers: the plugin's tables) */
    {"40", STORE_TRANSIENT, STORE_TRANSIENT, STORE_TRANSIENT},    /* serialization failure, deadlock */
    {"55P03", STORE_TRANSIENT, STORE_TRANSIENT, STORE_TRANSIENT}, /* lock_not_available: lock_timeout */
    {"57014", STORE_TRANSIENT, STORE_DEADLINE, STORE_TRANSIENT},  /* query_canceled: statement_timeout */
    {"25P03", STORE_DEADLINE, STORE_DEADLINE, STORE_UNKNOWN},     /* idle_in_transaction_session_timeout */
    {"25P04", STORE_DEADLINE, STORE_DEADLINE, STORE_UNKNOWN},     /* transaction_timeout */
    {"25006", STORE_DOWN, STORE_DATA, STORE_DOWN},                /* read_only_sql_transaction: a standby */
    {"53400", STORE_DOWN, STORE_DATA, STORE_DATA},                /* configuration_limit_exceeded: temp_file_limit */
    {"58P01", STORE_DOWN, STORE_REFUSED, STORE_DATA},             /* undefined_file: a library of a function */
    {"08", STORE_DOWN, STORE_DOWN, STORE_DOWN},                   /* connection */
    {"53", STORE_DOWN, STORE_DOWN, STORE_DOWN},                   /* insufficient resources */
    {"57", STORE_DOWN, STORE_DOWN, STORE_DOWN},                   /* operator intervention */
    {"58", STORE_DOWN, STORE_DOWN, STORE_DOWN},                   /* system error */
    {"22", STORE_DATA, STORE_DATA, STORE_DATA},                   /* data exception */
    {"23", STORE_DATA, STORE_DATA, STORE_DATA},                   /* integrity constraint */
    {"54", STORE_DATA, STORE_DATA, STORE_DATA},                   /* program limit exceeded */
    {"26", STORE_DOWN, STORE_DOWN, STORE_DOWN},                   /* prepared statement lost, or */
    {"42P05", STORE_DOWN, STORE_DOWN, STORE_DOWN},                /* there already: a pooler, or a plugin */
    {"3F", STORE_DEPLOY, STORE_REFUSED, STORE_DATA},              /* invalid schema name */
    {"42", STORE_DEPLOY, STORE_REFUSED, STORE_DATA},              /* syntax, access rule, no such table */
    {"0A", STORE_DEPLOY, STORE_REFUSED, STORE_DATA},              /* feature not supported */
    {"", STORE_DOWN, STORE_DATA, STORE_DATA},
};

enum store_result sqlstate_class(const char *sqlstate, enum sqlstate_origin origin)
{
    const struct sqlstate_row *row = sqlstate_table;
    while (strncmp(sqlstate, row->prefix, strlen(row->prefix)) != 0)
        row++; /* ends: the last row fits all */
    return origin == SQLSTATE_ENGINE ? row->engine : origin == SQLSTATE_PLUGIN ? row->plugin : row->commit;
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
    case STORE_REFUSED:
        return "refused";
    case STORE_DEADLINE:
        return "deadline";
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
    case STORE_REFUSED:
        return EACCES;
    case STORE_DEADLINE:
        return ETIME;
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
