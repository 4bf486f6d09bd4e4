/*
 * child_host.c - struct sluice_host in the process of an isolated plugin: what needs no answer is written down, and
 * done by the lane in that order when the handler has returned or asks for something.
 *
 * Nothing is checked here: the lane does that, with the host that plugins without isolation have.
 */
#define SLUICE_UNSTABLE /* the engine has all of the header */
#include "isolate/child.h"

#include "base/clock.h"
#include "plugin/plugin.h"

#include <stdlib.h>

static const struct sluice_text none = {NULL, 0};

struct child_rows { /* what the plugin's struct sluice_rows * points to */
    struct child_rows *before;
    struct child *child;
    const struct area_rows *rows;
};

static struct child *child_of(struct sluice_call *shared)
{
    return ((struct child_call *)shared)->child;
}

static void add_act(struct sluice_call *shared, struct act act, const char *name, struct sluice_text text)
{
    acts_add(&child_of(shared)->acts, act, name, text);
}

static void outcome(struct sluice_call *shared, size_t n, size_t index)
{
    add_act(shared, (struct act){.kind = ACT_OUTCOME, .n = n, .value = index}, NULL, none);
}

static void retry(struct sluice_call *shared, size_t n, const char *why)
{
    add_act(shared, (struct act){.kind = ACT_RETRY, .n = n}, why, none);
}

static void reject(struct sluice_call *shared, size_t n, const char *why)
{
    add_act(shared, (struct act){.kind = ACT_REJECT, .n = n}, why, none);
}

static void unavailable(struct sluice_call *shared, const char *why)
{
    add_act(shared, (struct act){.kind = ACT_UNAVAILABLE}, why, none);
}

static void fault(struct sluice_call *shared, const char *why)
{
    add_act(shared, (struct act){.kind = ACT_FAULT}, why, none);
}

static void set_text(struct sluice_call *shared, size_t n, const char *name, struct sluice_text value)
{
    add_act(shared, (struct act){.kind = ACT_SET_TEXT, .n = n}, name, value);
}

static void set_json(struct sluice_call *shared, size_t n, const char *name, struct sluice_text json)
{
    add_act(shared, (struct act){.kind = ACT_SET_JSON, .n = n}, name, json);
}

static void set_int64(struct sluice_call *shared, size_t n, const char *name, int64_t value)
{
    add_act(shared, (struct act){.kind = ACT_SET_INT64, .n = n, .value = (uint64_t)value}, name, none);
}

static void set_double(struct sluice_call *shared, size_t n, const char *name, double value)
{
    struct act act = {.kind = ACT_SET_DOUBLE, .n = n};
    memcpy(&act.value, &value, sizeof value);
    add_act(shared, act, name, none);
}

static void set_bool(struct sluice_call *shared, size_t n, const char *name, int32_t value)
{
    add_act(shared, (struct act){.kind = ACT_SET_BOOL, .n = n, .value = (uint32_t)value}, name, none);
}

static size_t add(struct sluice_call *shared, size_t index)
{
    struct child_call *call = (struct child_call *)shared;
    add_act(shared, (struct act){.kind = ACT_ADD, .value = index}, NULL, none);
    return index >= call->outcome_count || call->added >= CALL_ADDS_MAX ? SIZE_MAX : shared->count + call->added++;
}

static void reply(struct sluice_call *shared, size_t n, uint32_t status, struct sluice_text json, uint32_t flags)
{
    add_act(shared, (struct act){.kind = ACT_REPLY, .n = n, .value = status, .more = flags}, NULL, json);
}

static const struct sluice_rows *query(struct sluice_call *shared, const struct sluice_sql *sql, size_t count,
                                       const struct sluice_param *params)
{
    struct child *child = child_of(shared);
    acts_add_query(&child->acts, sql, count, params);
    uint64_t place = child_ask(child);
    struct child_rows *rows = place == 0 ? NULL : malloc(sizeof *rows);
    if (rows == NULL)
        return NULL;
    *rows = (struct child_rows){child->rows, child, (const struct area_rows *)(const void *)(child->area + place)};
    child->rows = rows;
    return (const struct sluice_rows *)rows;
}

void child_forget(struct child *child)
{
    while (child->rows != NULL) {
        struct child_rows *rows = child->rows;
        child->rows = rows->before;
        free(rows);
    }
}

static size_t row_count(const struct sluice_rows *shared)
{
    const struct child_rows *rows = (const struct child_rows *)shared;
    return rows == NULL ? 0 : rows->rows->row_count;
}

/* NULL when there is no such place, or it has another type (`getter` 0: any): the lane says so. */
static const struct area_cell *cell(const struct sluice_rows *shared, size_t row, size_t column,
                                    enum area_getter getter, enum act_kind kind)
{
    const struct child_rows *mine = (const struct child_rows *)shared;
    if (mine == NULL)
        return NULL;
    const struct area_rows *rows = mine->rows;
    const uint32_t *getters = (const void *)(mine->child->area + rows->getters);
    const struct area_cell *cells = (const void *)(mine->child->area + rows->cells);
    if (row < rows->row_count && column < rows->column_count && (getter == 0 || getters[column] == getter))
        return &cells[row * rows->column_count + column];
    struct act act = {.kind = kind, .n = row, .value = column, .more = (uint32_t)rows->index};
    acts_add(&mine->child->acts, act, NULL, none);
    return NULL;
}

static int is_null(const struct sluice_rows *rows, size_t row, size_t column)
{
    const struct area_cell *at = cell(rows, row, column, 0, ACT_IS_NULL);
    return at == NULL || at->length == AREA_NONE;
}

static int64_t get_int64(const struct sluice_rows *rows, size_t row, size_t column)
{
    const struct area_cell *at = cell(rows, row, column, AREA_INT64, ACT_GET_INT64);
    return at == NULL ? 0 : (int64_t)at->value;
}

static double get_double(const struct sluice_rows *rows, size_t row, size_t column)
{
    const struct area_cell *at = cell(rows, row, column, AREA_DOUBLE, ACT_GET_DOUBLE);
    double value = 0;
    if (at != NULL)
        memcpy(&value, &at->value, sizeof value);
    return value;
}

static struct sluice_text get_text(const struct sluice_rows *rows, size_t row, size_t column)
{
    const struct area_cell *at = cell(rows, row, column, AREA_TEXT, ACT_GET_TEXT);
    if (at == NULL || at->length == AREA_NONE)
        return none;
    return (struct sluice_text){((const struct child_rows *)rows)->child->area + at->value, at->length};
}

/* At once: a line that comes before a crash is the one that is wanted. */
static void log_message(struct sluice_call *shared, uint32_t level, const char *message)
{
    add_act(shared, (struct act){.kind = ACT_LOG, .value = level}, message, none);
    (void)child_ask(child_of(shared));
}

static int64_t now_ms(struct sluice_call *shared)
{
    (void)shared;
    return clock_wall_ms();
}

static int64_t time_left_ms(struct sluice_call *shared)
{
    int64_t left = ((struct child_call *)shared)->deadline_ms - clock_monotonic_ms();
    return left > 0 ? left : 0;
}

const struct sluice_host child_host = {
    .size = sizeof child_host,
    .outcome = outcome,
    .retry = retry,
    .reject = reject,
    .set_text = set_text,
    .set_int64 = set_int64,
    .set_json = set_json,
    .add = add,
    .reply = reply,
    .query = query,
    .row_count = row_count,
    .is_null = is_null,
    .get_int64 = get_int64,
    .get_double = get_double,
    .get_text = get_text,
    .log = log_message,
    .now_ms = now_ms,
    .time_left_ms = time_left_ms,
    .unavailable = unavailable,
    .set_double = set_double,
    .set_bool = set_bool,
    .fault = fault,
};
