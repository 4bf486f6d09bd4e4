/*
 * call_rows.c - a statement's answer, as a plugin reads it. A place that does not exist, or holds another type,
 * reads as NULL.
 */
#include "run/call_rows.h"

#include "store/store.h"

static const struct rows *rows_of(const struct sluice_rows *rows)
{
    return (const struct rows *)rows;
}

size_t call_row_count(const struct sluice_rows *rows)
{
    return rows == NULL ? 0 : rows_count(rows_of(rows));
}

static bool cell_exists(const struct sluice_rows *rows, size_t row, size_t column)
{
    return rows != NULL && row < rows_count(rows_of(rows)) && column < rows_columns(rows_of(rows));
}

int call_is_null(const struct sluice_rows *rows, size_t row, size_t column)
{
    return !cell_exists(rows, row, column) || rows_null(rows_of(rows), row, column);
}

int64_t call_get_int64(const struct sluice_rows *rows, size_t row, size_t column)
{
    if (!cell_exists(rows, row, column) || rows_null(rows_of(rows), row, column))
        return 0;
    switch (rows_type(rows_of(rows), column)) {
    case PARAM_INT2:
    case PARAM_INT4:
    case PARAM_INT8:
    case PARAM_BOOL:
    case PARAM_TIMESTAMP:
    case PARAM_XID8:
        return rows_int64(rows_of(rows), row, column);
    default:
        return 0;
    }
}

double call_get_double(const struct sluice_rows *rows, size_t row, size_t column)
{
    if (!cell_exists(rows, row, column) || rows_null(rows_of(rows), row, column) ||
        rows_type(rows_of(rows), column) != PARAM_DOUBLE)
        return 0;
    return rows_double(rows_of(rows), row, column);
}

struct sluice_text call_get_text(const struct sluice_rows *rows, size_t row, size_t column)
{
    struct span text;
    if (!cell_exists(rows, row, column) || rows_null(rows_of(rows), row, column))
        return (struct sluice_text){NULL, 0};
    switch (rows_type(rows_of(rows), column)) {
    case PARAM_TEXT:
    case PARAM_BYTEA:
    case PARAM_JSONB:
        text = rows_span(rows_of(rows), row, column);
        return (struct sluice_text){text.at == NULL ? "" : text.at, text.length};
    default:
        return (struct sluice_text){NULL, 0};
    }
}
