/*
 * chaos_read.c - the modes sql_* of chaos that read an answer, and those whose statement must leave something, or
 * nothing: each inserts a row into the table `kept`, which the test makes.
 */
#include "chaos.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum reader { INT64, DOUBLE, TEXT, IS_NULL };

/* What is read of one row with one column, and from where. */
static const struct reading {
    const char *mode;
    struct sluice_sql sql;
    enum reader reader;
    size_t row, column;
} readings[] = {
#define KEEP(value)                                                                                                    \
    {                                                                                                                  \
        "insert into kept default values returning " value                                                             \
    }
    {"sql_int_as_int", KEEP("1::int"), INT64, 0, 0},
    {"sql_time_as_int", KEEP("now()"), INT64, 0, 0},
    {"sql_real_as_double", KEEP("1::real"), DOUBLE, 0, 0},
    {"sql_char_as_text", KEEP("'x'::char(3)"), TEXT, 0, 0},
    {"sql_null", KEEP("null::int"), IS_NULL, 0, 0},
    {"sql_int_as_text", KEEP("1::int"), TEXT, 0, 0},
    {"sql_null_int_as_text", KEEP("null::int"), TEXT, 0, 0},
    {"sql_name_as_text", KEEP("'x'::name"), TEXT, 0, 0},
    {"sql_uuid_as_text", KEEP("gen_random_uuid()"), TEXT, 0, 0},
    {"sql_int_as_double", KEEP("1::int"), DOUBLE, 0, 0},
    {"sql_numeric_as_double", KEEP("1.5::numeric"), DOUBLE, 0, 0},
    {"sql_numeric_as_int", KEEP("1.5::numeric"), INT64, 0, 0},
    {"sql_text_as_int", KEEP("'1'::text"), INT64, 0, 0},
    {"sql_local_time_as_int", KEEP("now()::timestamp"), INT64, 0, 0},
    {"sql_xid_as_int", KEEP("pg_current_xact_id()"), INT64, 0, 0},
    {"sql_row_too_far", KEEP("1::int"), INT64, 1, 0},
    {"sql_column_too_far", KEEP("1::int"), INT64, 0, 1},
    {"sql_null_too_far", KEEP("1::int"), IS_NULL, 1, 0},
    {"sql_text_too_far", KEEP("'x'::text"), TEXT, 0, 1},
};

static void do_reading(struct sluice_call *call, size_t n, const struct reading *reading)
{
    const struct sluice_host *host = call->host;
    const struct sluice_rows *rows = host->query(call, &reading->sql, 0, NULL);
    int good = 0;
    if (rows == NULL)
        return;
    switch (reading->reader) {
    case INT64:
        good = host->get_int64(rows, reading->row, reading->column) > 0;
        break;
    case DOUBLE:
        good = host->get_double(rows, reading->row, reading->column) > 0;
        break;
    case TEXT:
        good = host->get_text(rows, reading->row, reading->column).length > 0;
        break;
    case IS_NULL:
        good = host->is_null(rows, reading->row, reading->column);
    }
    host->outcome(call, n, good ? OK : OTHER);
}

/* ------------------------------------------------------------------------------------------- what is kept, what not */

static const struct sluice_sql keep = {"insert into kept default values"};

static void do_sql_keep(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    if (call->host->query(call, &keep, 0, NULL) != NULL)
        call->host->outcome(call, n, OK);
}

static void do_sql_keep_retry(struct sluice_call *call, size_t n, const struct act *act)
{
    do_sql_keep(call, n, act);
    if (act->attempt == 1)
        call->host->retry(call, n, "not yet");
}

static void do_sql_keep_reject(struct sluice_call *call, size_t n, const struct act *act)
{
    do_sql_keep(call, n, act);
    call->host->reject(call, n, "never");
}

/* `path` remembers that it was called before. */
static void do_sql_keep_unavailable(struct sluice_call *call, size_t n, const struct act *act)
{
    char path[1100];
    do_sql_keep(call, n, act);
    snprintf(path, sizeof path, "%.*s", (int)act->path.length, act->path.at);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return;
    close(file);
    call->host->unavailable(call, "away on demand");
}

/* ------------------------------------------------------------------------------------------------------- statements */

/* The sum of n parameters. Not for two lanes at once. */
static void do_sql_params(struct sluice_call *call, size_t n, const struct act *act)
{
    enum { MOST = 99 };
    static char texts[MOST + 1][MOST * 16];
    struct sluice_param params[MOST] = {0};
    int64_t numbers[MOST];
    size_t count = act->n < 1 ? 1 : act->n > MOST ? MOST : (size_t)act->n, length = 0;
    char *text = texts[count];
    for (size_t i = 0; i < count; i++) {
        length += (size_t)snprintf(text + length, sizeof texts[0] - length, "%s$%zu::bigint",
                                   i == 0 ? "select " : " + ", i + 1);
        numbers[i] = (int64_t)i + 1;
        params[i] = (struct sluice_param)SLUICE_VALUE_INT64(&numbers[i]);
    }
    const struct sluice_sql sql = {text};
    const struct sluice_rows *rows = call->host->query(call, &sql, count, params);
    if (rows != NULL)
        call->host->outcome(call, n,
                            call->host->get_int64(rows, 0, 0) == (int64_t)(count * (count + 1) / 2) ? OK : OTHER);
}

/* The first answer is read when there is a second one. */
static void do_sql_two_answers(struct sluice_call *call, size_t n, const struct act *act)
{
    static const struct sluice_sql first = {"select 'first'::text, ''::text, null::text"},
                                   second = {"select 2::bigint"};
    const struct sluice_host *host = call->host;
    const struct sluice_rows *rows = host->query(call, &first, 0, NULL);
    (void)act;
    if (rows == NULL || host->query(call, &second, 0, NULL) == NULL)
        return;
    struct sluice_text text = host->get_text(rows, 0, 0), empty = host->get_text(rows, 0, 1),
                       null = host->get_text(rows, 0, 2);
    host->outcome(call, n,
                  text.length == 5 && memcmp(text.at, "first", 5) == 0 && empty.at != NULL && empty.length == 0 &&
                          null.at == NULL && null.length == 0
                      ? OK
                      : OTHER);
}

/* A column of the inputs that ends behind their struct. */
static void do_sql_bad_offset(struct sluice_call *call, size_t n, const struct act *act)
{
    static const struct sluice_sql sql = {"select $1::bigint[]"};
    const struct sluice_param param = {
        .form = SLUICE_PARAM_EACH, .type = SLUICE_TYPE_INT64, .offset = sizeof(struct act) - sizeof(int32_t)};
    (void)act;
    if (call->host->query(call, &sql, 1, &param) != NULL)
        call->host->outcome(call, n, OK);
}

static void do_sql_no_value(struct sluice_call *call, size_t n, const struct act *act)
{
    static const struct sluice_sql sql = {"select $1::bigint"};
    const struct sluice_param param = {.form = SLUICE_PARAM_VALUE, .type = SLUICE_TYPE_INT64};
    (void)act;
    if (call->host->query(call, &sql, 1, &param) != NULL)
        call->host->outcome(call, n, OK);
}

/* Fewer parameters than the statement has. */
static void do_sql_params_few(struct sluice_call *call, size_t n, const struct act *act)
{
    static const struct sluice_sql sql = {"select $1::bigint + $2::bigint"};
    const struct sluice_param param = SLUICE_VALUE_INT64(&act->n);
    if (call->host->query(call, &sql, 1, &param) != NULL)
        call->host->outcome(call, n, OK);
}

static void do_sql_no_statement(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    if (call->host->query(call, NULL, 0, NULL) != NULL)
        call->host->outcome(call, n, OK);
}

#define MODE(name)                                                                                                     \
    {                                                                                                                  \
#name, do_##name                                                                                               \
    }

static const struct mode modes[] = {
    MODE(sql_keep),         MODE(sql_keep_retry),  MODE(sql_keep_reject), MODE(sql_keep_unavailable),
    MODE(sql_params),       MODE(sql_two_answers), MODE(sql_bad_offset),  MODE(sql_no_value),
    MODE(sql_no_statement), MODE(sql_params_few),
};

static int is(struct sluice_text text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.at, word, text.length) == 0;
}

int chaos_read(struct sluice_call *call, size_t n, const struct act *act)
{
    for (size_t i = 0; i < sizeof readings / sizeof readings[0]; i++) {
        if (is(act->mode, readings[i].mode)) {
            do_reading(call, n, &readings[i]);
            return 1;
        }
    }
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (is(act->mode, modes[i].name)) {
            modes[i].act(call, n, act);
            return 1;
        }
    }
    return 0;
}
