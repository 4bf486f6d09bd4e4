/*
 * fake_query.c - statements of the fake host: parameters resolved and shown, rows read from a script or a source.
 */
#include "fake_inside.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct sluice_rows {
    struct fake_call *call;
    struct fake_rows rows;
};

static struct fake_value value_at(uint32_t type, const void *at)
{
    struct fake_value value = {.null = false};
    int32_t boolean;
    switch (type) {
    case SLUICE_TYPE_INT64:
        memcpy(&value.number, at, sizeof value.number);
        break;
    case SLUICE_TYPE_BOOL:
        memcpy(&boolean, at, sizeof boolean);
        value.number = boolean;
        break;
    case SLUICE_TYPE_DOUBLE:
        memcpy(&value.real, at, sizeof value.real);
        break;
    default:
        memcpy(&value.text, at, sizeof value.text);
        value.null = value.text.at == NULL;
    }
    return value;
}

static size_t size_of(uint32_t type)
{
    switch (type) {
    case SLUICE_TYPE_TEXT:
    case SLUICE_TYPE_JSON:
        return sizeof(struct sluice_text);
    case SLUICE_TYPE_INT64:
        return sizeof(int64_t);
    case SLUICE_TYPE_DOUBLE:
        return sizeof(double);
    case SLUICE_TYPE_BOOL:
        return sizeof(int32_t);
    default:
        return 0;
    }
}

enum { PARAMS_MAX = 64 };

/* False after noting the fault, or why the statement fails. */
static bool param_resolve(struct fake_call *call, const struct sluice_param *from, size_t number,
                          struct fake_param *ret)
{
    bool each = from->form == SLUICE_PARAM_EACH, array = from->form != SLUICE_PARAM_VALUE;
    size_t size = size_of(from->type), step = each ? call->handler->input_size : size;
    const char *at = each ? (const char *)call->head.inputs + from->offset : from->values;
    size_t count = each ? call->head.count : array ? from->count : 1;
    if (size == 0 || from->form < SLUICE_PARAM_EACH || from->form > SLUICE_PARAM_VALUE || (at == NULL && count > 0) ||
        (each && (size > step || from->offset > step - size))) {
        fake_fault_of(call, "called query() with a parameter $%zu that has no valid form and type", number);
        call->failed = call->host->fault;
        return false;
    }
    *ret = (struct fake_param){.type = from->type, .array = array, .count = count};
    ret->values = fake_alloc(call->host, count * sizeof *ret->values);
    for (size_t i = 0; i < count; i++) {
        const struct fake_value *value = &ret->values[i];
        ret->values[i] = value_at(from->type, at + i * step);
        if (from->type == SLUICE_TYPE_JSON && !value->null && !fake_json_valid(value->text))
            call->failed = fake_text(call->host, "query: parameter $%zu is no JSON", number);
        if (from->type == SLUICE_TYPE_TEXT && !value->null && !fake_utf8_valid(value->text))
            call->failed = fake_text(call->host, "query: parameter $%zu is not UTF-8", number);
    }
    return call->failed == NULL;
}

static const char *value_show(struct fake_host *host, uint32_t type, const struct fake_value *value)
{
    if (value->null)
        return "null";
    if (type == SLUICE_TYPE_JSON)
        return fake_copy(host, value->text);
    if (type == SLUICE_TYPE_DOUBLE)
        return fake_text(host, "%.17g", value->real);
    if (type == SLUICE_TYPE_BOOL)
        return value->number != 0 ? "true" : "false";
    if (type == SLUICE_TYPE_INT64)
        return fake_text(host, "%" PRId64, value->number);
    char *json = fake_json_escape(value->text);
    char *copy = fake_text(host, "%s", json);
    free(json);
    return copy;
}

static const char *param_show(struct fake_host *host, const struct fake_param *param)
{
    if (!param->array)
        return value_show(host, param->type, param->values);
    const char *out = "[";
    for (size_t i = 0; i < param->count; i++)
        out = fake_text(host, "%s%s%s", out, i == 0 ? "" : ",", value_show(host, param->type, &param->values[i]));
    return fake_text(host, "%s]", out);
}

static void query_note(struct fake_host *host, const char *sql, size_t count, const struct fake_param *params)
{
    host->queries = realloc(host->queries, (host->query_count + 1) * sizeof *host->queries);
    if (host->queries == NULL)
        fake_die("out of memory");
    const char **shown = fake_alloc(host, count * sizeof *shown);
    for (size_t i = 0; i < count; i++)
        shown[i] = param_show(host, &params[i]);
    host->queries[host->query_count++] = (struct fake_query){sql, count, shown};
}

static struct fake_cell cell_parse(struct fake_host *host, struct sluice_text json)
{
    struct fake_cell cell = {.type = SLUICE_TYPE_INT64};
    size_t length;
    const char *copy = fake_copy(host, json);
    switch (*copy) {
    case 'n':
        cell.type = 0; /* a NULL fits any column */
        cell.value.null = true;
        break;
    case 't':
    case 'f':
        cell.value.number = *copy == 't';
        break;
    case '"': {
        char *plain = fake_json_unescape(json, &length);
        cell.type = SLUICE_TYPE_TEXT;
        cell.value.text = (struct sluice_text){fake_copy(host, (struct sluice_text){plain, length}), length};
        free(plain);
        break;
    }
    case '{':
    case '[':
        cell.type = SLUICE_TYPE_TEXT;
        cell.value.text = (struct sluice_text){copy, json.length};
        break;
    default:
        if (strpbrk(copy, ".eE") != NULL)
            cell.type = SLUICE_TYPE_DOUBLE;
        cell.value.number = strtoll(copy, NULL, 10);
        cell.value.real = strtod(copy, NULL);
    }
    return cell;
}

static void rows_parse(struct fake_host *host, const char *json, struct fake_rows *ret)
{
    struct sluice_text all = {json, strlen(json)}, row, cell, none;
    for (const char *cursor = NULL; fake_json_next(all, &cursor, &none, &row);) {
        size_t columns = 0;
        for (const char *inner = NULL; fake_json_next(row, &inner, &none, &cell);)
            columns++;
        if (*row.at != '[' || (ret->rows > 0 && columns != ret->columns))
            fake_die("rows must be an array of arrays of one length: %s", json);
        ret->columns = columns;
        ret->rows++;
    }
    ret->cells = fake_alloc(host, ret->rows * ret->columns * sizeof *ret->cells);
    size_t at = 0;
    for (const char *cursor = NULL; fake_json_next(all, &cursor, &none, &row);)
        for (const char *inner = NULL; fake_json_next(row, &inner, &none, &cell);)
            ret->cells[at++] = cell_parse(host, cell);
}

static bool query_scripted(struct fake_call *call, const char *sql, struct fake_rows *ret)
{
    for (const struct fake_answer *answer = call->host->answers; answer != NULL; answer = answer->next) {
        if (strstr(sql, answer->part) == NULL)
            continue;
        if (answer->rows == NULL)
            call->failed = fake_text(call->host, "the statement with '%s' fails, as the test asked", answer->part);
        else
            rows_parse(call->host, answer->rows, ret);
        return true;
    }
    return false;
}

const struct sluice_rows *fake_host_query(struct sluice_call *head, const struct sluice_sql *sql, size_t count,
                                          const struct sluice_param *params)
{
    struct fake_call *call = fake_call_of(head);
    struct fake_host *host = call->host;
    if (call->handler->uses_store == 0) {
        fake_fault_of(call, "called query() without having declared uses_store");
        call->failed = "no store";
    }
    if (call->failed != NULL)
        fake_fault_of(call, "called query() again after a statement failed; return at once instead");
    else if (sql == NULL || sql->text == NULL || count > PARAMS_MAX) {
        fake_fault_of(call, "called query() with no statement, or with %zu parameters; the most is %d", count,
                      PARAMS_MAX);
        call->failed = "no statement";
    }
    if (host->fault != NULL) /* the engine rolls back and asks nobody any more */
        call->failed = host->fault;
    if (call->failed != NULL)
        return NULL;
    struct fake_param *resolved = fake_alloc(host, count * sizeof *resolved);
    for (size_t i = 0; i < count; i++)
        if (!param_resolve(call, &params[i], i + 1, &resolved[i]))
            return NULL;
    query_note(host, sql->text, count, resolved);
    struct sluice_rows *rows = fake_alloc(host, sizeof *rows);
    rows->call = call;
    if (query_scripted(call, sql->text, &rows->rows))
        return call->failed == NULL ? rows : NULL;
    if (!host->has_source)
        fake_die("nobody answers this statement, use fake_answer() or fake_database(): %s", sql->text);
    const struct fake_rows *answer = host->source.query(host->source.context, host, sql->text, count, resolved,
                                                        &call->failed);
    if (answer == NULL)
        return NULL;
    rows->rows = *answer;
    return rows;
}

size_t fake_host_row_count(const struct sluice_rows *rows)
{
    return rows == NULL ? 0 : rows->rows.rows;
}

/* The cell, or NULL after noting the fault. type 0: any. */
static const struct fake_cell *cell_of(const struct sluice_rows *rows, size_t row, size_t column, uint32_t type,
                                       const char *function)
{
    if (rows == NULL)
        return NULL; /* of a statement that failed: the call has its verdict */
    if (row >= rows->rows.rows || column >= rows->rows.columns) {
        fake_fault_of(rows->call, "called %s() for row %zu, column %zu of an answer of %zu rows and %zu columns",
                      function, row, column, rows->rows.rows, rows->rows.columns);
        return NULL;
    }
    const struct fake_cell *cell = &rows->rows.cells[row * rows->rows.columns + column];
    bool fits = type == 0 || cell->type == type || (cell->type == 0 && cell->value.null);
    if (!fits)
        fake_fault_of(rows->call, "called %s() for column %zu, which has another type", function, column);
    return !fits || (cell->value.null && type != 0) ? NULL : cell;
}

int fake_host_is_null(const struct sluice_rows *rows, size_t row, size_t column)
{
    const struct fake_cell *cell = cell_of(rows, row, column, 0, "is_null");
    return cell == NULL || cell->value.null;
}

int64_t fake_host_get_int64(const struct sluice_rows *rows, size_t row, size_t column)
{
    const struct fake_cell *cell = cell_of(rows, row, column, SLUICE_TYPE_INT64, "get_int64");
    return cell == NULL ? 0 : cell->value.number;
}

double fake_host_get_double(const struct sluice_rows *rows, size_t row, size_t column)
{
    const struct fake_cell *cell = cell_of(rows, row, column, SLUICE_TYPE_DOUBLE, "get_double");
    return cell == NULL ? 0 : cell->value.real;
}

struct sluice_text fake_host_get_text(const struct sluice_rows *rows, size_t row, size_t column)
{
    const struct fake_cell *cell = cell_of(rows, row, column, SLUICE_TYPE_TEXT, "get_text");
    return cell == NULL ? (struct sluice_text){NULL, 0} : cell->value.text;
}
