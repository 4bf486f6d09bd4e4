/*
 * fake_database.c - statements of the fake host go to a real PostgreSQL, each call in a transaction of its own.
 *
 * Parameters are sent as text with their types named, rows are read in binary: column types are checked as the
 * engine checks them. A statement that fails leaves the transaction to be rolled back; its SQLSTATE and message are
 * the reason. No deadlines.
 */
#include "fake_host.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { /* pg_type.oid, fixed for ever */
       OID_BOOL = 16,
       OID_BYTEA = 17,
       OID_INT8 = 20,
       OID_INT2 = 21,
       OID_INT4 = 23,
       OID_TEXT = 25,
       OID_JSON = 114,
       OID_FLOAT4 = 700,
       OID_FLOAT8 = 701,
       OID_BOOL_ARRAY = 1000,
       OID_TEXT_ARRAY = 1009,
       OID_INT8_ARRAY = 1016,
       OID_FLOAT8_ARRAY = 1022,
       OID_BPCHAR = 1042,
       OID_VARCHAR = 1043,
       OID_TIMESTAMPTZ = 1184,
       OID_JSONB = 3802,
       OID_JSONB_ARRAY = 3807,
};

static Oid oid_of(uint32_t type, bool array)
{
    switch (type) {
    case SLUICE_TYPE_INT64:
        return array ? OID_INT8_ARRAY : OID_INT8;
    case SLUICE_TYPE_DOUBLE:
        return array ? OID_FLOAT8_ARRAY : OID_FLOAT8;
    case SLUICE_TYPE_BOOL:
        return array ? OID_BOOL_ARRAY : OID_BOOL;
    case SLUICE_TYPE_JSON:
        return array ? OID_JSONB_ARRAY : OID_JSONB;
    default:
        return array ? OID_TEXT_ARRAY : OID_TEXT;
    }
}

static char *value_text(struct fake_host *host, uint32_t type, const struct fake_value *value)
{
    if (type == SLUICE_TYPE_INT64)
        return fake_text(host, "%" PRId64, value->number);
    if (type == SLUICE_TYPE_BOOL)
        return fake_text(host, "%s", value->number != 0 ? "true" : "false");
    if (type == SLUICE_TYPE_DOUBLE)
        return fake_text(host, "%.17g", value->real);
    return fake_text(host, "%.*s", (int)value->text.length, value->text.at);
}

/* An array as PostgreSQL writes it: {"a","b",NULL}. */
static char *array_text(struct fake_host *host, const struct fake_param *param)
{
    size_t room = 3;
    char **texts = fake_alloc(host, param->count * sizeof *texts);
    for (size_t i = 0; i < param->count; i++) {
        texts[i] = param->values[i].null ? NULL : value_text(host, param->type, &param->values[i]);
        room += texts[i] == NULL ? 5 : 2 * strlen(texts[i]) + 3;
    }
    char *out = fake_alloc(host, room), *at = out;
    *at++ = '{';
    for (size_t i = 0; i < param->count; i++) {
        if (i > 0)
            *at++ = ',';
        if (texts[i] == NULL) {
            at = stpcpy(at, "NULL");
            continue;
        }
        *at++ = '"';
        for (const char *from = texts[i]; *from != '\0'; from++) {
            if (*from == '"' || *from == '\\')
                *at++ = '\\';
            *at++ = *from;
        }
        *at++ = '"';
    }
    *at = '}';
    return out;
}

static uint64_t big_endian(const char *at, int length)
{
    uint64_t number = 0;
    for (int i = 0; i < length; i++)
        number = number << 8 | (unsigned char)at[i];
    return number;
}

static void cell_read(struct fake_host *host, const PGresult *result, int row, int column, struct fake_cell *ret)
{
    const char *at = PQgetvalue(result, row, column);
    int length = PQgetlength(result, row, column);
    Oid oid = PQftype(result, column);
    ret->value.null = PQgetisnull(result, row, column);
    ret->type = SLUICE_TYPE_INT64;
    if (oid == OID_FLOAT4 || oid == OID_FLOAT8)
        ret->type = SLUICE_TYPE_DOUBLE;
    else if (oid == OID_TEXT || oid == OID_VARCHAR || oid == OID_BPCHAR || oid == OID_JSON || oid == OID_JSONB ||
             oid == OID_BYTEA)
        ret->type = SLUICE_TYPE_TEXT;
    else if (oid != OID_INT2 && oid != OID_INT4 && oid != OID_INT8 && oid != OID_BOOL && oid != OID_TIMESTAMPTZ)
        ret->type = UINT32_MAX; /* no function of the host reads it */
    if (ret->value.null)
        return;
    uint64_t bits = length <= 8 ? big_endian(at, length) : 0;
    if (oid == OID_INT2)
        ret->value.number = (int16_t)bits;
    else if (oid == OID_INT4)
        ret->value.number = (int32_t)bits;
    else if (oid == OID_TIMESTAMPTZ)
        ret->value.number = (int64_t)bits / 1000 + 946684800000; /* microseconds since 2000 */
    else
        ret->value.number = (int64_t)bits;
    if (oid == OID_FLOAT4) {
        uint32_t half = (uint32_t)bits;
        float real;
        memcpy(&real, &half, sizeof real);
        ret->value.real = (double)real;
    } else if (oid == OID_FLOAT8) {
        memcpy(&ret->value.real, &bits, sizeof bits);
    }
    int skip = oid == OID_JSONB; /* its first byte is a version */
    char *copy = fake_alloc(host, (size_t)length);
    memcpy(copy, at + skip, (size_t)(length - skip));
    ret->value.text = (struct sluice_text){copy, (size_t)(length - skip)};
}

static const char *failure(struct fake_host *host, PGconn *connection, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return fake_text(host, "SQLSTATE %s: %s", state == NULL ? "none" : state, PQerrorMessage(connection));
}

static const struct fake_rows *database_query(void *context, struct fake_host *host, const char *sql, size_t count,
                                              const struct fake_param *params, const char **ret_why)
{
    PGconn *connection = context;
    Oid *types = fake_alloc(host, count * sizeof *types);
    const char **values = fake_alloc(host, count * sizeof *values);
    for (size_t i = 0; i < count; i++) {
        types[i] = oid_of(params[i].type, params[i].array);
        if (params[i].array)
            values[i] = array_text(host, &params[i]);
        else
            values[i] = params[i].values->null ? NULL : value_text(host, params[i].type, params[i].values);
    }
    PGresult *result = PQexecParams(connection, sql, (int)count, types, values, NULL, NULL, 1);
    struct fake_rows *rows = NULL;
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        *ret_why = failure(host, connection, result);
    } else {
        rows = fake_alloc(host, sizeof *rows);
        rows->rows = (size_t)PQntuples(result);
        rows->columns = (size_t)PQnfields(result);
        rows->cells = fake_alloc(host, rows->rows * rows->columns * sizeof *rows->cells);
        for (size_t i = 0; i < rows->rows * rows->columns; i++)
            cell_read(host, result, (int)(i / rows->columns), (int)(i % rows->columns), &rows->cells[i]);
    }
    PQclear(result);
    return rows;
}

static int database_moment(void *context, struct fake_host *host, enum fake_moment moment, const char **ret_why)
{
    static const char *const words[] = {[FAKE_BEGIN] = "BEGIN", [FAKE_COMMIT] = "COMMIT", [FAKE_ROLLBACK] = "ROLLBACK"};
    PGconn *connection = context;
    if (moment == FAKE_DISCONNECT) {
        PQfinish(connection);
        return 0;
    }
    PGresult *result = PQexec(connection, words[moment]);
    /* The server answers COMMIT of a broken transaction with ROLLBACK, and calls that a success. */
    bool ok = PQresultStatus(result) == PGRES_COMMAND_OK && strcmp(PQcmdStatus(result), words[moment]) == 0;
    if (!ok)
        *ret_why = fake_text(host, "%s was answered with %s %s", words[moment], PQcmdStatus(result),
                             PQerrorMessage(connection));
    PQclear(result);
    return ok ? 0 : -1;
}

static void be_quiet(void *context, const char *message)
{
    (void)context;
    (void)message;
}

void fake_database(struct fake_host *host, const char *url)
{
    PGconn *connection = PQconnectdb(url);
    if (PQstatus(connection) != CONNECTION_OK)
        fake_die("%s", PQerrorMessage(connection));
    PQsetNoticeProcessor(connection, be_quiet, NULL);
    fake_source(host, &(struct fake_source){.context = connection, .query = database_query, .moment = database_moment});
}

const char *fake_sql(struct fake_host *host, const char *sql)
{
    const struct fake_source *source = fake_source_of(host);
    if (source == NULL || source->query != database_query)
        fake_die("fake_sql() needs fake_database() before it");
    PGresult *result = PQexec(source->context, sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
        fake_die("%s\n  in: %s", PQerrorMessage(source->context), sql);
    const char *text = PQntuples(result) > 0 && PQnfields(result) > 0 ? fake_text(host, "%s", PQgetvalue(result, 0, 0))
                                                                      : "";
    PQclear(result);
    return text;
}
