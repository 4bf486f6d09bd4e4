/*
 * fake_store.c - a fake connection: transactions, scripted failures, plugins' statements and the rows of answers. The
 * tables of store/ledger.h are in fake_ledger.c.
 */
#include "fake_store.h"

#include "check.h"
#include "fake_base.h"
#include "fake_ledger.h"

struct rows {
    size_t count, columns;
    enum param_type *types;
    struct fake_cell *cells;
};

struct connection *fake_store_create(void)
{
    struct connection *connection = calloc(1, sizeof *connection);
    assert_non_null(connection);
    connection->arena = arena_create(64 * 1024, 256u << 20);
    connection->next_row = 100;
    return connection;
}

void fake_store_destroy(struct connection *connection)
{
    if (connection == NULL)
        return;
    assert_false(connection->open);
    arena_destroy(connection->arena);
    free(connection);
}

void fake_store_fail(struct connection *connection, const char *function, int skip, int times, enum store_result result,
                     const char *text)
{
    size_t kept = 0; /* those that have not all happened */
    for (size_t i = 0; i < connection->failure_count; i++)
        if (connection->failures[i].times > 0)
            connection->failures[kept++] = connection->failures[i];
    connection->failure_count = kept;
    assert_true(kept < FAKE_FAILURES_MAX);
    connection->failures[connection->failure_count++] = (struct fake_failure){
        .function = function, .skip = skip, .times = times, .result = result, .text = text};
}

const char *fake_store_calls(struct connection *connection)
{
    char *calls = arena_string(connection->arena, (struct span){connection->calls, connection->calls_length});
    if (connection->calls_length > 0)
        calls[connection->calls_length - 1] = '\0'; /* the last space */
    connection->calls_length = 0;
    return calls;
}

void fake_note(struct connection *connection, const char *function, size_t count)
{
    char number[24] = "";
    if (count > 0)
        snprintf(number, sizeof number, ":%zu", count);
    int length = snprintf(connection->calls + connection->calls_length, FAKE_CALLS_MAX - connection->calls_length,
                          "%s%s ", function, number);
    if (connection->calls_length + (size_t)length < FAKE_CALLS_MAX)
        connection->calls_length += (size_t)length;
}

/* The failure that is scripted for this call. */
static const struct fake_failure *scripted(struct connection *connection, const char *function)
{
    for (size_t i = 0; i < connection->failure_count; i++) {
        struct fake_failure *failure = &connection->failures[i];
        if ((failure->function != NULL && strcmp(failure->function, function) != 0) || failure->times == 0)
            continue;
        if (failure->skip > 0) {
            failure->skip--;
            continue;
        }
        failure->times--;
        return failure;
    }
    return NULL;
}

static enum store_result fails(struct connection *connection, enum store_result result, const char *text,
                               struct error *error)
{
    connection->failed = true;
    error_set(error, EIO, "%s", text);
    return result;
}

enum store_result fake_executed(struct connection *connection, const char *function, size_t count, struct error *error)
{
    fake_note(connection, function, count);
    assert_true(connection->open);
    assert_false(connection->failed);
    const struct fake_failure *failure = scripted(connection, function);
    fake_clock_advance(connection->takes_ms);
    connection->queued = 0;
    if (connection->pending != STORE_OK)
        return fails(connection, connection->pending, connection->pending_text, error);
    return failure != NULL ? fails(connection, failure->result, failure->text, error) : STORE_OK;
}

enum store_result fake_alone(struct connection *connection, const char *function, struct error *error)
{
    fake_note(connection, function, 0);
    assert_false(connection->open);
    const struct fake_failure *failure = scripted(connection, function);
    if (failure == NULL)
        return STORE_OK;
    error_set(error, EIO, "%s", failure->text);
    return failure->result;
}

void fake_queued(struct connection *connection, const char *function, size_t count)
{
    fake_note(connection, function, count);
    assert_true(connection->open);
    assert_false(connection->failed);
    const struct fake_failure *failure = scripted(connection, function);
    connection->queued++;
    if (failure != NULL && connection->pending == STORE_OK) {
        connection->pending = failure->result;
        connection->pending_text = failure->text;
    }
}

enum store_result connection_begin(struct connection *connection, int64_t deadline_ms, struct error *error)
{
    assert_false(connection->open);
    connection->open = true;
    connection->failed = connection->tampered = connection->separate = false;
    connection->left = NULL;
    connection->queued = 0;
    connection->pending = STORE_OK;
    connection->deadline_ms = deadline_ms;
    connection->before = connection->tables;
    return fake_executed(connection, "begin", 0, error);
}

void connection_rollback(struct connection *connection)
{
    fake_note(connection, "rollback", 0);
    if (connection->open)
        connection->tables = connection->before;
    connection->open = false;
}

enum store_result connection_commit(struct connection *connection, struct error *error)
{
    enum fake_commit lost = connection->lost;
    enum store_result result = fake_executed(connection, "commit", 0, error);
    if (result != STORE_OK)
        return result;
    connection->lost = FAKE_COMMIT_KEPT;
    if (lost == FAKE_COMMIT_DROPPED)
        connection->tables = connection->before;
    else
        connection->before = connection->tables; /* a rollback changes nothing any more */
    if (lost != FAKE_COMMIT_KEPT)
        return fails(connection, STORE_UNKNOWN, "the reply to COMMIT was lost", error);
    connection->open = false;
    return STORE_OK;
}

enum log_level connection_log_level(const struct connection *connection)
{
    (void)connection;
    return LOG_WARN;
}

uint64_t connection_outages(const struct connection *connection)
{
    return connection->outages;
}

uint64_t connection_crashes(const struct connection *connection)
{
    return connection->crashes;
}

bool connection_crash_elsewhere(const struct connection *connection)
{
    return connection->crash_elsewhere;
}

int connection_socket(const struct connection *connection)
{
    return connection->lost_socket ? -1 : 1;
}

const char *connection_changed(const struct connection *connection)
{
    return connection->changed;
}

void connection_separate(struct connection *connection)
{
    fake_note(connection, "separate", 0);
    connection->separate = true;
}

const char *connection_left(const struct connection *connection)
{
    return connection->left;
}

bool connection_tampered(const struct connection *connection)
{
    return connection->tampered;
}

enum store_result connection_exec(struct connection *connection, const struct statement *statement, size_t param_count,
                                  const struct store_param *params, struct rows **ret, struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    assert_true(statement->plugin);
    assert_true(param_count <= STORE_PARAMS_MAX);
    for (size_t i = 0; i < param_count; i++)
        connection->params[i] = params[i];
    connection->param_count = param_count;
    enum store_result result = fake_executed(connection, "exec", 0, error);
    if (result == STORE_OK && connection->separate && connection->leaves != NULL) {
        connection->left = connection->leaves;
        result = fails(connection, STORE_TRANSIENT, "another handler has left the session changed", error);
    }
    connection->separate = false;
    if (result != STORE_OK)
        return result;
    if (strcmp(statement->text, "commit") == 0)
        connection->tampered = true;
    FAKE_ADD(tables->effects, tables->effect_count, span_of(statement->text));
    *ret = connection->answer_next < connection->answer_count ? connection->answers[connection->answer_next++]
                                                              : fake_rows(connection, 0, NULL, 0, NULL);
    return STORE_OK;
}

const char *store_result_word(enum store_result result)
{
    static const char *const words[] = {"ok",      "transient", "down",   "unknown", "data",
                                        "refused", "deadline",  "deploy", "fenced"};
    return words[result];
}

/* ------------------------------------------------------------------------------------------------------------- rows */

struct rows *fake_rows(struct connection *connection, size_t columns, const enum param_type *types, size_t count,
                       const struct fake_cell *cells)
{
    struct rows *rows = arena_new(connection->arena, struct rows);
    *rows = (struct rows){.count = count, .columns = columns};
    if (columns > 0)
        rows->types = arena_copy(connection->arena, types, columns * sizeof *types);
    if (count > 0)
        rows->cells = arena_copy(connection->arena, cells, count * columns * sizeof *cells);
    return rows;
}

void fake_store_answer(struct connection *connection, size_t columns, const enum param_type *types, size_t rows,
                       const struct fake_cell *cells)
{
    assert_true(connection->answer_count < FAKE_ANSWERS_MAX);
    connection->answers[connection->answer_count++] = fake_rows(connection, columns, types, rows, cells);
}

static const struct fake_cell *cell(const struct rows *rows, size_t row, size_t column)
{
    assert_true(row < rows->count && column < rows->columns);
    return &rows->cells[row * rows->columns + column];
}

size_t rows_count(const struct rows *rows)
{
    return rows->count;
}

size_t rows_columns(const struct rows *rows)
{
    return rows->columns;
}

bool rows_null(const struct rows *rows, size_t row, size_t column)
{
    return cell(rows, row, column)->null;
}

int64_t rows_int64(const struct rows *rows, size_t row, size_t column)
{
    return cell(rows, row, column)->number;
}

double rows_double(const struct rows *rows, size_t row, size_t column)
{
    return cell(rows, row, column)->real;
}

struct span rows_span(const struct rows *rows, size_t row, size_t column)
{
    return cell(rows, row, column)->text;
}

enum param_type rows_type(const struct rows *rows, size_t column)
{
    assert_true(column < rows->columns);
    return rows->types[column];
}

struct rows *rows_detach(struct connection *connection, struct rows *rows)
{
    (void)connection;
    return rows;
}

void rows_free(struct rows *rows)
{
    (void)rows; /* the fake's rows are the connection's */
}
