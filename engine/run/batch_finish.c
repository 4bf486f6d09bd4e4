/*
 * batch_finish.c - the end of a batch: every item goes back to its lane, or its position is complete.
 */
#include "run/intake.h"

#include "base/clock.h"
#include "base/log.h"

enum {
    FINISH_BARE_PAUSE_MS = 50,
    FINISH_TROUBLE_SOLO = 3, /* transient refusals of a whole batch before its events run alone */
    FINISH_STALLS_MAX = 3,   /* deadlines that an event alone may run into */
};

/* `sluice explain CONFIG ID` goes on from here. */
static void say_dead(const struct batch *batch, const struct work *work)
{
    const struct item *item = work->item;
    const struct span id = work->event.id_text; /* empty when that much was not readable */
    char place[300] = "";
    int32_t partition = -1;
    int64_t offset = -1;
    if (item->source == ITEM_BUS && batch->worker->group != NULL)
        bus_describe(batch->engine->bus, batch->worker->group->consumer, item->stream, item->position, place,
                     sizeof place, &partition, &offset);
    log_rarely(1000, LOG_WARN, "lane", "event %.*s%son %s is a dead letter: %s (%.200s)%s%s", (int)id.length,
               id.length == 0 ? "" : id.at, id.length == 0 ? "" : " ", item->topic->name, event_dead_word(work->reason),
               work->why == NULL ? "" : work->why, place[0] == '\0' ? "" : "; it is ", place);
}

static void count_end(struct batch *batch, const struct work *work)
{
    if (work->item->binding == NULL)
        return;
    struct binding_run *run = &batch->engine->bindings[work->item->binding->index];
    if (work->verdict == VERDICT_OUTCOME)
        series_add(run->by_outcome[work->outcome], 1);
    else if (work->verdict == VERDICT_DEAD)
        series_add(run->dead, 1);
    if (work->verdict == VERDICT_DEAD && work->item->topic != NULL) {
        series_add(batch->engine->topic_runs[work->item->topic->index].dead, 1);
        say_dead(batch, work);
    }
}

void batch_finish(struct batch *batch)
{
    struct worker *worker = batch->worker;
    struct item **ended = arena_array(batch->arena, struct item *, batch->count);
    struct lane_entry **back = arena_array(batch->arena, struct lane_entry *, batch->count);
    struct lane_entry **alone = arena_array(batch->arena, struct lane_entry *, batch->count);
    size_t ended_count = 0, back_count = 0, alone_count = 0;
    int64_t parked_due = INT64_MAX;

    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        struct item *item = work->item;
        switch (work->verdict) {
        case VERDICT_RETRY:
            item->tries++;
            lane_retry(worker->lane, &item->entry, work->due_ms);
            break;
        case VERDICT_LATER:
            item->condemned = 0; /* its handler is asked again, whatever was said of it */
            lane_retry(worker->lane, &item->entry, work->due_ms);
            break;
        case VERDICT_BACK:
            back[back_count++] = &item->entry;
            break;
        case VERDICT_ALONE:
            alone[alone_count++] = &item->entry;
            break;
        case VERDICT_PARK:
            if (work->due_ms < parked_due)
                parked_due = work->due_ms;
            /* fall through */
        default:
            if (item->source == ITEM_REQUEST && !intake_answer(batch, work, &work->due_ms)) {
                lane_retry(worker->lane, &item->entry, work->due_ms);
                break;
            }
            count_end(batch, work);
            if (suspects_any(batch->engine->parts.suspects))
                suspects_acquit(batch->engine->parts.suspects, work->event.id);
            lane_done(worker->lane, &item->entry);
            ended[ended_count++] = item;
        }
    }
    if (back_count > 0)
        lane_back(worker->lane, back, back_count);
    if (alone_count > 0)
        lane_solo(worker->lane, alone, alone_count);
    if (ended_count > 0)
        items_finish(worker, ended, ended_count, true);
    if (parked_due != INT64_MAX)
        keeper_due(batch->engine, parked_due);
}

/* Requests do not wait for a database for ever: those past http.timeout are told so. The others go back. */
static size_t give_up_late(struct batch *batch, struct lane_entry **entries)
{
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = batch->works[i].item;
        if (item->source == ITEM_REQUEST && intake_late(batch, item)) {
            lane_done(batch->worker->lane, &item->entry);
            items_finish(batch->worker, &item, 1, false);
        } else if (item->source == ITEM_TICK) {
            lane_done(batch->worker->lane, &item->entry); /* the next tick comes by itself */
            items_finish(batch->worker, &item, 1, false);
        } else {
            entries[count++] = &item->entry;
        }
    }
    return count;
}

/* The transaction did not happen. Why decides what is next; no attempt of any event is counted. */
void batch_fail(struct batch *batch)
{
    struct worker *worker = batch->worker;
    struct lane_entry **entries = arena_array(batch->arena, struct lane_entry *, batch->count);
    bool late = clock_monotonic_ms() >= batch->deadline_ms;
    int64_t pause = 0;

    if (batch->transaction)
        connection_rollback(batch->connection);
    batch->transaction = false;
    if (batch->condemned) {
        bool again = false;
        for (size_t i = 0; i < batch->count; i++)
            again = again || batch->works[i].item->bare;
        if (again) {
            log_rarely(5000, LOG_ERROR, "lane", "a dead letter could not be written as it should be: %s",
                       batch->error.text);
            engine_sleep(batch->engine, FINISH_BARE_PAUSE_MS);
        }
        for (size_t i = 0; i < batch->count; i++)
            entries[i] = &batch->works[i].item->entry;
        lane_back(worker->lane, entries, batch->count);
        return;
    }
    worker->trouble++;
    bool solo = batch->count > 1 && (batch->result == STORE_DATA || worker->trouble >= FINISH_TROUBLE_SOLO);
    switch (batch->result) {
    case STORE_DATA:
        if (batch->count == 1)
            work_condemn(batch, &batch->works[0], DEAD_DATABASE, "%s", batch->error.text);
        break;
    case STORE_TRANSIENT:
        /* Waiting for a claim is nobody's fault: the server may take a second to end the session of a batch that
         * hung. */
        if (batch->count == 1 && late && batch->called && ++batch->works[0].item->stalls >= FINISH_STALLS_MAX)
            work_condemn(batch, &batch->works[0], DEAD_DEADLINE, "ran past its deadline %d times: %s",
                         FINISH_STALLS_MAX, batch->error.text);
        pause = 1 + (int64_t)(20 * worker_random(worker));
        break;
    case STORE_DEPLOY:
        solo = false;
        pause = 1000;
        log_rarely(5000, LOG_ERROR, "lane", "the database does not fit this engine, nothing moves: %s",
                   batch->error.text);
        break;
    default:
        solo = false;
        pause = worker->trouble > 5 ? 1000 : 30ll << worker->trouble;
        log_rarely(5000, LOG_WARN, "lane", "%s: %s; the batch runs again", store_result_word(batch->result),
                   batch->error.text);
    }
    size_t count = give_up_late(batch, entries);
    if (count > 0 && solo)
        lane_solo(worker->lane, entries, count);
    else if (count > 0)
        lane_back(worker->lane, entries, count);
    if (pause > 0)
        engine_sleep(batch->engine, pause);
}
