/*
 * call_rows.h - the part of struct sluice_host that reads rows. The contract is in sluice/plugin.h.
 */
#ifndef SLUICE_RUN_CALL_ROWS_H
#define SLUICE_RUN_CALL_ROWS_H

#include "sluice/plugin.h"

size_t call_row_count(const struct sluice_rows *rows);
int call_is_null(const struct sluice_rows *rows, size_t row, size_t column);
int64_t call_get_int64(const struct sluice_rows *rows, size_t row, size_t column);
double call_get_double(const struct sluice_rows *rows, size_t row, size_t column);
struct sluice_text call_get_text(const struct sluice_rows *rows, size_t row, size_t column);

#endif
