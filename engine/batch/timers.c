/*
 * timers.c - see timers.h.
 */
#include "batch/timers.h"

#include "batch/traced.h"
#include "store/ledger_timer.h"

enum { TIMER_HEADERS_MAX = 5 };

static struct event_id timer_id(const struct instance *instance, size_t number)
{
    return event_id_timer(instance->row.chain, (int32_t)number, instance->row.correlation);
}

/* For people: whose it is, and what ends it. */
static const char *timer_reason(const struct batch *batch, const struct instance *instance,
                                const struct chain_timer *timer)
{
    const char *names = NULL;
    for (size_t s = 0; s < instance->chain->step_count; s++)
        if ((timer->cancel_steps >> s & 1) != 0 && instance->chain->steps[s].done != NULL)
            names = names == NULL ? instance->chain->steps[s].done->name
                                  : arena_format(batch->arena, "%s or %s", names, instance->chain->steps[s].done->name);
    return arena_format(batch->arena, "timer of chain %s, until %s", instance->chain->name,
                        names == NULL ? "it is over" : names);
}

static void add_header(struct record *record, const char *name, struct span value)
{
    if (value.length > 0)
        record->headers[record->header_count++] = (struct header){span_of(name), value};
}

/* The event as it will be emitted, but for its time and key: its id follows from the event that began the timer, so
 * that a timer that begins again emits another event. */
static struct span timer_record(struct batch *batch, const struct instance *instance, const struct chain_timer *timer,
                                size_t number, const struct work *work)
{
    const struct record *source = work->event.record;
    const char *own = traced_parent(batch, work);
    char *id = arena_alloc_raw(batch->arena, 37);
    struct buffer value;
    event_id_derive(work->event.id_text, span_of(arena_format(batch->arena, "chain/%s", instance->chain->name)),
                    SPAN("timer"), (uint32_t)number, id);
    buffer_init(&value, SIZE_MAX / 2);
    event_compose(&value, (struct span){id, 36}, span_of(timer->emit_name), batch->wall_ms, FORMAT_SLUICE,
                  &work->event.data, NULL, 0);
    struct record record = {.topic = span_of(timer->emit_name),
                            .key = source->key,
                            .value = buffer_view(&value),
                            .timestamp_ms = batch->wall_ms,
                            .headers = arena_array(batch->arena, struct header, TIMER_HEADERS_MAX)};
    add_header(&record, HEADER_HOPS, span_of(arena_format(batch->arena, "%d", work->event.hops + 1)));
    add_header(&record, HEADER_PARENT, work->event.id_text);
    add_header(&record, HEADER_CORRELATION, instance->correlation);
    add_header(&record, HEADER_TRACEPARENT,
               own != NULL ? (struct span){own, TRACEPARENT_TEXT} : record_header(source, HEADER_TRACEPARENT));
    add_header(&record, HEADER_TRACESTATE, record_header(source, HEADER_TRACESTATE));
    struct span packed = batch_pack(batch, &record);
    buffer_free(&value);
    return packed;
}

static void timer_begin(struct batch *batch, struct timers *timers, const struct instance *instance, size_t number,
                        const struct work *work)
{
    const struct chain_timer *timer = &instance->chain->timers[number];
    timers->begun = arena_grown(batch->arena, timers->begun, timers->begun_count, sizeof *timers->begun);
    timers->begun[timers->begun_count++] = (struct parked){
        .group = batch->env->numbers->groups[batch->env->group->index],
        .state = PARKED_WAITING,
        .chain = instance->row.chain,
        .id = timer_id(instance, number),
        .due_ms = batch->wall_ms + timer->after_ms,
        .record = timer_record(batch, instance, timer, number, work),
        .reason = span_of(timer_reason(batch, instance, timer))};
    if (batch->timer_due_ms == 0 || batch->wall_ms + timer->after_ms < batch->timer_due_ms)
        batch->timer_due_ms = batch->wall_ms + timer->after_ms;
}

static void timer_end(struct batch *batch, struct timers *timers, const struct instance *instance, size_t number)
{
    timers->over = arena_grown(batch->arena, timers->over, timers->over_count, sizeof *timers->over);
    timers->over[timers->over_count++] = timer_id(instance, number);
}

/* What the row says is true whatever the order in which two events were met: a timer whose step of cancel_on was done
 * before does not begin. */
void timers_step(struct batch *batch, struct timers *timers, const struct instance *instance, int step,
                 const struct work *work)
{
    const struct chain *chain = instance->chain;
    const uint32_t missing = (uint32_t)instance->row.missing;
    bool running = instance->row.facts.state == CHAIN_RUNNING, complete = missing == 0;
    for (size_t n = 0; running && step >= 0 && n < chain->timer_count; n++) {
        const struct chain_timer *timer = &chain->timers[n];
        if (complete || (timer->cancel_steps & ~missing) != 0)
            timer_end(batch, timers, instance, n);
        else if (timer->from_step == step)
            timer_begin(batch, timers, instance, n, work);
    }
}

/* One that is in both lists began first: what was done cancels it, and steps stay done until the chain is over. */
void timers_write(struct batch *batch, const struct timers *timers)
{
    int16_t group = batch->env->numbers->groups[batch->env->group->index];
    if (batch->result == STORE_OK)
        batch->result = ledger_park(batch->connection, timers->begun, timers->begun_count, &batch->error);
    if (batch->result == STORE_OK)
        batch->result = ledger_timers_cancel(batch->connection, group, timers->over, timers->over_count, &batch->error);
}

void timers_over(struct batch *batch, const struct instance *instance)
{
    struct timers timers = {0};
    for (size_t n = 0; n < instance->chain->timer_count; n++)
        timer_end(batch, &timers, instance, n);
    timers_write(batch, &timers);
}

/* ---------------------------------------------------------------------------------------------------- what is due */

/* Whether the end of the work ends its timer: not when it comes again. */
static bool timer_ends(const struct work *work)
{
    return work->item->timer != 0 && work_row(work)->way == WAY_DONE;
}

/* Those of the timers whose rows this transaction deletes: one may be here twice, when it was taken again because the
 * first time lasted. */
static void timers_emit(struct batch *batch, const struct timer_taken *timers)
{
    for (size_t i = 0; i < batch->count && !batch->condemned; i++) {
        struct work *work = &batch->works[i];
        if (!timer_ends(work))
            continue;
        if (!(timers++)->ended)
            work->verdict = VERDICT_DUPLICATE;
        else if (work->verdict == VERDICT_NO_HANDLER)
            outputs_timer(batch, work);
    }
}

/* Deleting the row is what one transaction can do once: another process that had taken it too, or an event that ended
 * it or began it again, was faster then, and nothing is emitted. */
void timers_due(struct batch *batch)
{
    struct timer_taken *timers = arena_array(batch->arena, struct timer_taken, batch->count);
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++)
        if (timer_ends(&batch->works[i])) {
            const struct item *item = batch->works[i].item;
            timers[count++] = (struct timer_taken){.id = item->timer_id, .record = item->timer_record};
        }
    if (count == 0)
        return;
    if (!batch->transaction) {
        batch->result = connection_begin(batch->connection, batch->deadline_ms, &batch->error);
        batch->transaction = batch->result == STORE_OK;
    }
    if (batch->result == STORE_OK)
        batch->result = ledger_timers_end(batch->connection, batch->env->numbers->groups[batch->env->group->index],
                                          timers, count, &batch->error);
    if (batch->result == STORE_OK)
        timers_emit(batch, timers);
}
