/*
 * isolated.c - see isolated.h.
 */
#include "batch/isolated.h"

#include "base/clock.h"
#include "base/log.h"
#include "isolate/area.h"
#include "isolate/isolated.h"

#include <errno.h>

/* ---------------------------------------------------------------------------------------------------------- answers */

static struct area_cell pack_cell(struct pack *pack, const struct rows *rows, size_t row, size_t column,
                                  uint32_t getter)
{
    struct area_cell cell = {0};
    if (rows_null(rows, row, column)) {
        cell.length = AREA_NONE;
    } else if (getter == AREA_INT64) {
        cell.value = (uint64_t)rows_int64(rows, row, column);
    } else if (getter == AREA_DOUBLE) {
        double value = rows_double(rows, row, column);
        memcpy(&cell.value, &value, sizeof value);
    } else if (getter == AREA_TEXT) {
        struct span text = rows_span(rows, row, column);
        cell = (struct area_cell){pack_bytes(pack, text.at, text.length), text.length};
    }
    return cell;
}

/* The answer's place; 0: it does not fit. */
static uint64_t pack_rows(struct pack *pack, const struct rows *rows, uint64_t index)
{
    size_t count = rows_count(rows), columns = rows_columns(rows);
    uint64_t place;
    struct area_rows *head = pack_room(pack, sizeof *head, &place);
    if (head == NULL)
        return 0;
    *head = (struct area_rows){.index = index, .row_count = count, .column_count = columns};
    uint32_t *getters = pack_room(pack, columns * sizeof *getters, &head->getters);
    struct area_cell *cells = pack_room(pack, count * columns * sizeof *cells, &head->cells);
    for (size_t column = 0; !pack->full && column < columns; column++)
        getters[column] = host_getter(rows_type(rows, column));
    for (size_t i = 0; !pack->full && i < count * columns; i++)
        cells[i] = pack_cell(pack, rows, i / columns, i % columns, host_getter(rows_type(rows, i % columns)));
    return pack->full ? 0 : place;
}

static uint64_t answer(struct replay *replay, struct isolated *isolated)
{
    if (replay->last == NULL)
        return 0;
    uint64_t place = pack_rows(isolated_pack(isolated), host_rows_behind(replay->last), replay->answer_count - 1);
    if (place == 0) {
        call_fault_alone(replay->call, "got answers of more than %zu MiB in one call", AREA_LANE >> 20);
        replay->call->failed = true; /* and from now on it gets none */
    }
    return place;
}

/* --------------------------------------------------------------------------------------------- the end of a process */

static void blame(struct call *call, const struct process_ending *ending, const char *words)
{
    struct batch *batch = call->batch;
    log_rarely(1000, LOG_ERROR, "lane",
               "the process of plugin '%s' ended in a call of handler %s with %zu event%s: %s; another one begins",
               call->binding->plugin->name, call->binding->handler_name, call->count, call->count == 1 ? "" : "s",
               words);
    for (size_t i = 0; i < call->count; i++) {
        struct work *work = call->works[i];
        if (suspects_blame(batch->env->suspects, work_suspect_id(work), ending, batch->count == 1))
            continue;
        work->item->isolate = true;
        if (batch->count == 1)
            work_condemn(batch, work, DEAD_CRASHED, "its handler ended the process of its plugin, alone: %s", words);
    }
}

static void process_ended_in(struct call *call, const struct process_ending *ending)
{
    struct batch *batch = call->batch;
    char words[ENDING_WORDS_MAX];
    ending_text(ending, words);
    if (ending->kind == ENDING_INTERRUPTED)
        log_warn("lane",
                 "engine.drain_timeout is over: the process of plugin '%s' is ended in a call of handler %s; what it "
                 "had done is rolled back",
                 call->binding->plugin->name, call->binding->handler_name);
    else
        blame(call, ending, words);
    batch->plugin_ended = true;
    batch->result = STORE_DATA;
    error_set(&batch->error, EPROTO, "handler %s ended the process of its plugin: %s", call->binding->handler_name,
              words);
}

/* ------------------------------------------------------------------------------------------------------------ calls */

/* What was not done yet of the acts so far. */
static bool replay_more(struct replay *replay, struct span acts, size_t *done)
{
    if (acts.length < *done)
        return false;
    struct span more = {acts.at + *done, acts.length - *done};
    *done = acts.length;
    return replay_acts(replay, arena_span(replay->call->batch->arena, more));
}

static void broken(struct call *call, struct isolated *isolated)
{
    isolated_end(isolated);
    call_fault_alone(call, "wrote over the memory that its process shares with the engine");
}

static bool call_begin(struct call *call, struct isolated *isolated, int64_t deadline_ms)
{
    struct error error = {0};
    int64_t batch_ms = call->batch->deadline_ms;
    struct isolated_call from = {.handler = call->binding->handler,
                                 .call = &call->shared,
                                 .deadline_ms = deadline_ms < batch_ms ? deadline_ms : batch_ms,
                                 .interrupted = &call->batch->env->interrupted};
    int r = isolated_call(isolated, &from, &error);
    if (r == -EAGAIN)
        host_functions.unavailable(&call->shared, error.text);
    else if (r != 0)
        call_fault_alone(call, "is called with more than %zu MiB", AREA_LANE >> 20);
    return r == 0;
}

void call_isolated(struct call *call, int64_t deadline_ms)
{
    struct isolated *isolated = call->batch->env->plugins[call->binding->plugin->index].isolated;
    struct replay replay = {.call = call};
    struct process_ending ending;
    struct span acts;
    size_t done = 0;
    bool late = false;
    int64_t until_ms = deadline_ms + ISOLATED_GRACE_MS;
    if (!call_begin(call, isolated, deadline_ms))
        return;
    for (;;) {
        enum isolated_said said = isolated_wait(isolated, until_ms, &acts, &ending);
        if (said == ISOLATED_ENDED) {
            process_ended_in(call, &ending);
            return;
        }
        if (!replay_more(&replay, acts, &done)) {
            broken(call, isolated);
            return;
        }
        if (said == ISOLATED_RETURNED)
            return;
        isolated_answer(isolated, answer(&replay, isolated));
        int64_t now_ms = clock_monotonic_ms();
        if (!late && now_ms > deadline_ms) { /* the statement itself may have taken long: now, once, it may return */
            late = true;
            until_ms = now_ms + ISOLATED_GRACE_MS;
        }
    }
}
