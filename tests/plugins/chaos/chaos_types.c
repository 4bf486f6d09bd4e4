/*
 * chaos_types.c - the modes get_GETTER_of_TYPE of chaos: a row of one column of each type is read by each function of
 * the host. Each statement inserts a row into the table `kept`, which the test makes.
 */
#include "chaos.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *type;
    struct sluice_sql sql;
} columns[] = {
#define COLUMN(type, value)                                                                                            \
    {                                                                                                                  \
        type,                                                                                                          \
        {                                                                                                              \
            "insert into kept default values returning " value                                                         \
        }                                                                                                              \
    }
    COLUMN("smallint", "7::smallint"),
    COLUMN("int", "7::int"),
    COLUMN("bigint", "7::bigint"),
    COLUMN("boolean", "true"),
    COLUMN("timestamptz", "'1970-01-01 00:00:00.007+00'::timestamptz"),
    COLUMN("real", "1.5::real"),
    COLUMN("double", "1.5::double precision"),
    COLUMN("text", "'x'::text"),
    COLUMN("varchar", "'x'::varchar(3)"),
    COLUMN("char", "'x'::char(1)"),
    COLUMN("json", "'7'::json"),
    COLUMN("jsonb", "'7'::jsonb"),
    COLUMN("bytea", "'x'::bytea"),
    COLUMN("numeric", "7::numeric"),
    COLUMN("fraction", "1.5::numeric"),
    COLUMN("count", "(select sum(n) from generate_series(1, 3) n(n))::numeric"),
    COLUMN("date", "'2000-01-02'::date"),
    COLUMN("time", "'01:00'::time"),
    COLUMN("timestamp", "'2000-01-02'::timestamp"),
    COLUMN("interval", "'1 s'::interval"),
    COLUMN("uuid", "gen_random_uuid()"),
    COLUMN("name", "'x'::name"),
    COLUMN("oid", "7::oid"),
    COLUMN("money", "7::money"),
    COLUMN("inet", "'127.0.0.1'::inet"),
    COLUMN("xid", "pg_current_xact_id()"),
    COLUMN("ints", "array[7]"),
    COLUMN("texts", "array['x']"),
    COLUMN("bit", "b'1'"),
    COLUMN("range", "int4range(1, 2)"),
    COLUMN("record", "row(7, 'x')"),
};

static void get(struct sluice_call *call, size_t n, const char *getter, const struct sluice_sql *sql)
{
    const struct sluice_host *host = call->host;
    const struct sluice_rows *rows = host->query(call, sql, 0, NULL);
    char number[40];
    if (rows == NULL)
        return;
    if (strcmp(getter, "int") == 0) {
        host->set_int64(call, n, "number", host->get_int64(rows, 0, 0));
    } else if (strcmp(getter, "double") == 0) {
        snprintf(number, sizeof number, "%g", host->get_double(rows, 0, 0));
        host->set_json(call, n, "ratio", (struct sluice_text){number, strlen(number)});
    } else {
        host->set_text(call, n, "note", host->get_text(rows, 0, 0));
    }
    host->outcome(call, n, OK);
}

int chaos_types(struct sluice_call *call, size_t n, const struct act *act)
{
    char mode[65], getter[65], type[65];
    snprintf(mode, sizeof mode, "%.*s", (int)act->mode.length, act->mode.at);
    if (sscanf(mode, "get_%64[a-z]_of_%64[a-z]", getter, type) != 2)
        return 0;
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        if (strcmp(columns[i].type, type) == 0)
            get(call, n, getter, &columns[i].sql);
    return 1;
}
