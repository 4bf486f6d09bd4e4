/*
 * chaos_sql.c - the modes sql_* of chaos: statements that fail in every way, and those that a plugin may not make.
 */
#include "chaos.h"

#include <string.h>

static void run(struct sluice_call *call, size_t n, const struct sluice_sql *sql)
{
    if (call->host->query(call, sql, 0, NULL) != NULL)
        call->host->outcome(call, n, OK);
}

#define SQL_MODE(name, statement)                                                                                      \
    static void do_##name(struct sluice_call *call, size_t n, const struct act *act)                                   \
    {                                                                                                                  \
        static const struct sluice_sql sql = {statement};                                                              \
        (void)act;                                                                                                     \
        run(call, n, &sql);                                                                                            \
    }

SQL_MODE(sql_ok, "select 1::bigint")
SQL_MODE(sql_error, "select 1 / 0")
SQL_MODE(sql_bad_data, "select 'x'::integer")
SQL_MODE(sql_no_table, "select * from there_is_no_such_table")
SQL_MODE(sql_syntax, "selectt")
SQL_MODE(sql_serialization, "do $$begin raise exception 'on demand' using errcode = '40001'; end$$")
SQL_MODE(sql_check, "do $$begin raise exception 'on demand' using errcode = '23514'; end$$")
SQL_MODE(sql_commit, "commit")
SQL_MODE(sql_rollback, "rollback")
SQL_MODE(sql_begin, "begin")
SQL_MODE(sql_two, "select 1; select 2")
SQL_MODE(sql_set, "set session statement_timeout = 0")
SQL_MODE(sql_terminate, "select pg_terminate_backend(pg_backend_pid())")
SQL_MODE(sql_hang, "select pg_sleep(3600)")
SQL_MODE(sql_copy, "copy (select 1) to stdout")

static const struct sluice_sql sql_rows = {"select 1::bigint, 'text'::text, null::bigint"};

static void do_sql_bad_cell(struct sluice_call *call, size_t n, const struct act *act)
{
    const struct sluice_rows *rows = call->host->query(call, &sql_rows, 0, NULL);
    (void)act;
    if (rows == NULL)
        return;
    int64_t past = call->host->get_int64(rows, 5, 5) + call->host->get_int64(rows, 0, 1);
    call->host->outcome(call, n, past == 0 ? OK : OTHER);
}

static void do_sql_bad_param(struct sluice_call *call, size_t n, const struct act *act)
{
    static const struct sluice_sql sql = {"select $1::jsonb"};
    static const struct sluice_text broken = {"{\"a\":", 5};
    const struct sluice_param param = {
        .form = SLUICE_PARAM_VALUE, .type = SLUICE_TYPE_JSON, .values = &broken, .count = 1};
    (void)act;
    if (call->host->query(call, &sql, 1, &param) != NULL)
        call->host->outcome(call, n, OK);
}

static void do_sql_after_failure(struct sluice_call *call, size_t n, const struct act *act)
{
    do_sql_error(call, n, act);
    do_sql_ok(call, n, act);
}

#define MODE(name)                                                                                                     \
    {                                                                                                                  \
#name, do_##name                                                                                               \
    }

static const struct mode modes[] = {
    MODE(sql_ok),        MODE(sql_error),         MODE(sql_bad_data), MODE(sql_no_table),
    MODE(sql_syntax),    MODE(sql_serialization), MODE(sql_check),    MODE(sql_commit),
    MODE(sql_rollback),  MODE(sql_begin),         MODE(sql_two),      MODE(sql_set),
    MODE(sql_terminate), MODE(sql_hang),          MODE(sql_copy),     MODE(sql_bad_cell),
    MODE(sql_bad_param), MODE(sql_after_failure),
};

int chaos_sql(struct sluice_call *call, size_t n, const struct act *act)
{
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strlen(modes[i].name) == act->mode.length && memcmp(modes[i].name, act->mode.at, act->mode.length) == 0) {
            modes[i].act(call, n, act);
            return 1;
        }
    }
    return 0;
}
