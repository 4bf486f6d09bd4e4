/*
 * host_rows.c - a statement's answer, as a plugin reads it. A place that does not exist, or holds another type than the
 * one that is asked for, is a fault of the plugin: a 0 that nobody is told of is a price of 0.
 */
#include "batch/host.h"

#include "isolate/area.h"

struct host_rows { /* what a plugin's struct sluice_rows * points to; lives as long as the batch */
    struct call *call;
    struct rows *rows;
};

static const struct host_rows *rows_of(const struct sluice_rows *rows)
{
    return (const struct host_rows *)rows;
}

const struct sluice_rows *host_rows(struct call *call, struct rows *rows)
{
    struct host_rows *mine = arena_new(call->batch->arena, struct host_rows);
    *mine = (struct host_rows){.call = call, .rows = rows};
    return (const struct sluice_rows *)mine;
}

const struct rows *host_rows_behind(const struct sluice_rows *rows)
{
    return rows_of(rows)->rows;
}

size_t host_row_count(const struct sluice_rows *rows)
{
    return rows == NULL ? 0 : rows_count(rows_of(rows)->rows);
}

/* False, with the fault noted, when there is no such place. */
static bool cell_exists(const struct host_rows *rows, size_t row, size_t column, const char *function)
{
    if (rows == NULL)
        return false; /* of a statement that failed: the call has its verdict */
    if (row < rows_count(rows->rows) && column < rows_columns(rows->rows))
        return true;
    call_fault_alone(rows->call, "called %s() for row %zu, column %zu of an answer of %zu rows and %zu columns",
                     function, row, column, rows_count(rows->rows), rows_columns(rows->rows));
    return false;
}

uint32_t host_getter(enum param_type type)
{
    switch (type) {
    case PARAM_INT2:
    case PARAM_INT4:
    case PARAM_INT8:
    case PARAM_BOOL:
    case PARAM_TIMESTAMP:
        return AREA_INT64;
    case PARAM_DOUBLE:
        return AREA_DOUBLE;
    case PARAM_TEXT:
    case PARAM_BYTEA:
    case PARAM_JSONB:
        return AREA_TEXT;
    default:
        return 0;
    }
}

/* True when the cell is there, not null, and read by this getter. */
static bool cell_has(const struct host_rows *rows, size_t row, size_t column, enum area_getter getter,
                     const char *function)
{
    if (!cell_exists(rows, row, column, function))
        return false;
    if (host_getter(rows_type(rows->rows, column)) != (uint32_t)getter) {
        call_fault_alone(rows->call, "called %s() for column %zu, which has another type", function, column);
        return false;
    }
    return !rows_null(rows->rows, row, column);
}

int host_is_null(const struct sluice_rows *rows, size_t row, size_t column)
{
    return !cell_exists(rows_of(rows), row, column, "is_null") || rows_null(rows_of(rows)->rows, row, column);
}

int64_t host_get_int64(const struct sluice_rows *rows, size_t row, size_t column)
{
    return cell_has(rows_of(rows), row, column, AREA_INT64, "get_int64") ? rows_int64(rows_of(rows)->rows, row, column)
                                                                         : 0;
}

double host_get_double(const struct sluice_rows *rows, size_t row, size_t column)
{
    return cell_has(rows_of(rows), row, column, AREA_DOUBLE, "get_double")
               ? rows_double(rows_of(rows)->rows, row, column)
               : 0;
}

struct sluice_text host_get_text(const struct sluice_rows *rows, size_t row, size_t column)
{
    if (!cell_has(rows_of(rows), row, column, AREA_TEXT, "get_text"))
        return (struct sluice_text){NULL, 0};
    return text_of_span(rows_span(rows_of(rows)->rows, row, column));
}
