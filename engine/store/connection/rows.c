/*
 * rows.c - results in PostgreSQL's binary format, read where libpq put them.
 *
 * Reading a cell of another type than asked for gives 0 or an empty span, never other bytes: the column's type is
 * looked at.
 */
#include "store/connection/connection.h"

#include <endian.h>
#include <math.h>
#include <stdlib.h>

enum { /* of the types that are read */
       OID_BOOL = 16,
       OID_BYTEA = 17,
       OID_CHAR = 18,
       OID_NAME = 19,
       OID_INT8 = 20,
       OID_INT2 = 21,
       OID_INT4 = 23,
       OID_TEXT = 25,
       OID_OID = 26,
       OID_XID = 28,
       OID_JSON = 114,
       OID_FLOAT4 = 700,
       OID_FLOAT8 = 701,
       OID_BPCHAR = 1042,
       OID_VARCHAR = 1043,
       OID_TIMESTAMP = 1114,
       OID_TIMESTAMPTZ = 1184,
       OID_NUMERIC = 1700,
       OID_UUID = 2950,
       OID_JSONB = 3802,
       OID_XID8 = 5069,
};

static const int64_t ROWS_EPOCH_MS = INT64_C(946684800000);

struct rows *rows_keep(struct connection *connection, PGresult *result)
{
    struct rows *rows = malloc(sizeof *rows);
    if (rows == NULL)
        abort(); /* as in arena.h: a supervisor starts the process again, and nothing is lost */
    *rows = (struct rows){.result = result, .next = connection->rows};
    connection->rows = rows;
    return rows;
}

void rows_free(struct rows *rows)
{
    if (rows == NULL)
        return;
    PQclear(rows->result);
    free(rows);
}

void rows_release(struct connection *connection)
{
    while (connection->rows != NULL) {
        struct rows *next = connection->rows->next;
        rows_free(connection->rows);
        connection->rows = next;
    }
}

struct rows *rows_detach(struct connection *connection, struct rows *rows)
{
    for (struct rows **link = &connection->rows; *link != NULL; link = &(*link)->next) {
        if (*link == rows) {
            *link = rows->next;
            rows->next = NULL;
            break;
        }
    }
    return rows;
}

size_t rows_count(const struct rows *rows)
{
    return (size_t)PQntuples(rows->result);
}

size_t rows_affected(const struct rows *rows)
{
    return (size_t)strtoull(PQcmdTuples(rows->result), NULL, 10);
}

size_t rows_columns(const struct rows *rows)
{
    return (size_t)PQnfields(rows->result);
}

/* The bytes of a cell; NULL for SQL NULL and for a cell that does not exist. */
static const char *rows_cell(const struct rows *rows, size_t row, size_t column, size_t *ret_length, Oid *ret_type)
{
    if (row >= rows_count(rows) || column >= rows_columns(rows) || PQgetisnull(rows->result, (int)row, (int)column))
        return NULL;
    *ret_length = (size_t)PQgetlength(rows->result, (int)row, (int)column);
    *ret_type = PQftype(rows->result, (int)column);
    return PQgetvalue(rows->result, (int)row, (int)column);
}

bool rows_null(const struct rows *rows, size_t row, size_t column)
{
    size_t length;
    Oid type;
    return rows_cell(rows, row, column, &length, &type) == NULL;
}

static int64_t rows_integer(const char *at, size_t length)
{
    uint64_t value = 0;
    for (size_t i = 0; i < length && i < 8; i++)
        value = value << 8 | (uint8_t)at[i];
    unsigned shift = length >= 8 ? 0 : 64 - 8 * (unsigned)length;
    return length == 0 ? 0 : (int64_t)(value << shift) >> shift; /* the sign of the shorter ones */
}

static int64_t rows_floor(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

static int rows_digit(const char *at, size_t index)
{
    return (int)rows_integer(at + 8 + 2 * index, 2);
}

/* numeric: count, weight, sign, scale, then base-10000 digits. */
static double rows_numeric(const char *at, size_t length)
{
    if (length < 8)
        return 0;
    size_t count = (size_t)rows_integer(at, 2);
    int64_t weight = rows_integer(at + 2, 2);
    uint16_t sign = (uint16_t)rows_integer(at + 4, 2);
    if (length < 8 + 2 * count)
        return 0;
    if (sign == 0xC000)
        return NAN;
    if (sign == 0xD000 || sign == 0xF000)
        return sign == 0xD000 ? INFINITY : -INFINITY;
    double value = 0;
    for (size_t i = 0; i < count; i++)
        value = value * 10000 + rows_digit(at, i);
    value *= pow(10000, (double)(weight + 1 - (int64_t)count));
    return sign == 0x4000 ? -value : value;
}

/* Exact for whole numerics that fit; the fraction is cut off. */
static int64_t rows_numeric_integer(const char *at, size_t length)
{
    if (length < 8)
        return 0;
    int64_t count = rows_integer(at, 2), weight = rows_integer(at + 2, 2);
    uint16_t sign = (uint16_t)rows_integer(at + 4, 2);
    if (length < (size_t)(8 + 2 * count) || (sign & 0xC000) == 0xC000 || weight > 4)
        return 0;
    int64_t value = 0;
    for (int64_t i = 0; i <= weight; i++) {
        int64_t digit = i < count ? rows_digit(at, (size_t)i) : 0;
        if (__builtin_mul_overflow(value, INT64_C(10000), &value) ||
            __builtin_sub_overflow(value, digit, &value)) /* negative: it reaches one further */
            return 0;
    }
    if (sign == 0x4000)
        return value;
    return value == INT64_MIN ? 0 : -value;
}

static double rows_float(const char *at, size_t length)
{
    if (length == sizeof(float)) {
        uint32_t bits;
        float value;
        memcpy(&bits, at, sizeof bits);
        bits = be32toh(bits);
        memcpy(&value, &bits, sizeof value);
        return (double)value;
    }
    if (length != sizeof(double))
        return 0;
    uint64_t bits;
    double value;
    memcpy(&bits, at, sizeof bits);
    bits = be64toh(bits);
    memcpy(&value, &bits, sizeof value);
    return value;
}

int64_t rows_int64(const struct rows *rows, size_t row, size_t column)
{
    size_t length;
    Oid type;
    const char *at = rows_cell(rows, row, column, &length, &type);
    if (at == NULL)
        return 0;
    switch (type) {
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_XID8:
    case OID_BOOL:
        return rows_integer(at, length);
    case OID_OID:
    case OID_XID:
        return (int64_t)(uint32_t)rows_integer(at, length);
    case OID_CHAR:
        return length == 0 ? 0 : (uint8_t)at[0];
    case OID_TIMESTAMPTZ:
    case OID_TIMESTAMP: {
        int64_t us = rows_integer(at, length); /* 'infinity' stays the largest number */
        return us == INT64_MAX || us == INT64_MIN ? us : rows_floor(us, 1000) + ROWS_EPOCH_MS;
    }
    case OID_NUMERIC:
        return rows_numeric_integer(at, length);
    case OID_FLOAT4:
    case OID_FLOAT8: {
        double value = rows_float(at, length);
        return value >= -9223372036854775808.0 && value < 9223372036854775808.0 ? (int64_t)value : 0;
    }
    default:
        return 0;
    }
}

double rows_double(const struct rows *rows, size_t row, size_t column)
{
    size_t length;
    Oid type;
    const char *at = rows_cell(rows, row, column, &length, &type);
    if (at == NULL)
        return 0;
    if (type == OID_FLOAT4 || type == OID_FLOAT8)
        return rows_float(at, length);
    if (type == OID_NUMERIC)
        return rows_numeric(at, length);
    return (double)rows_int64(rows, row, column);
}

struct span rows_span(const struct rows *rows, size_t row, size_t column)
{
    size_t length;
    Oid type;
    const char *at = rows_cell(rows, row, column, &length, &type);
    if (at == NULL)
        return (struct span){NULL, 0};
    switch (type) {
    case OID_JSONB:
        return length == 0 ? (struct span){at, 0} : (struct span){at + 1, length - 1};
    case OID_TEXT:
    case OID_VARCHAR:
    case OID_BPCHAR:
    case OID_NAME:
    case OID_CHAR:
    case OID_JSON:
    case OID_BYTEA:
        return (struct span){at, length};
    default:
        return (struct span){"", 0};
    }
}

struct event_id rows_uuid(const struct rows *rows, size_t row, size_t column)
{
    struct event_id id = {{0}};
    size_t length;
    Oid type;
    const char *at = rows_cell(rows, row, column, &length, &type);
    if (at != NULL && type == OID_UUID && length == sizeof id.bytes)
        memcpy(id.bytes, at, sizeof id.bytes);
    return id;
}

enum param_type rows_type(const struct rows *rows, size_t column)
{
    switch (PQftype(rows->result, (int)column)) {
    case OID_INT2:
        return PARAM_INT2;
    case OID_INT4:
        return PARAM_INT4;
    case OID_INT8:
        return PARAM_INT8;
    case OID_BOOL:
        return PARAM_BOOL;
    case OID_FLOAT4:
    case OID_FLOAT8:
        return PARAM_DOUBLE;
    case OID_TEXT:
    case OID_VARCHAR:
    case OID_BPCHAR:
        return PARAM_TEXT;
    case OID_BYTEA:
        return PARAM_BYTEA;
    case OID_UUID:
        return PARAM_UUID;
    case OID_JSON:
    case OID_JSONB:
        return PARAM_JSONB;
    case OID_XID8:
        return PARAM_XID8;
    case OID_TIMESTAMPTZ:
        return PARAM_TIMESTAMP;
    default:
        return 0;
    }
}
