/*
 * handler.c - the handlers of the pipeline: what an event's fate says is done with it.
 *
 * One function for all of them, and one statement a call, whose effect on the database stands for what a plugin would
 * write there. What is away outside is looked at first: a handler that says so has done nothing yet.
 */
#include "sim.h"

const struct sluice_sql handler_effect = {"insert into effect select unnest($1)"};

enum deed { DEED_GOOD, DEED_AGAIN, DEED_RETRY, DEED_REJECT };

/* What is to become of an event. */
static enum deed handler_deed(struct world *world, struct event_state *event, const struct sluice_event *given)
{
    if (event->not_before_ms > world->now_ms + 2)
        sim_fail(world, "an event is handled %lld ms too early", (long long)(event->not_before_ms - world->now_ms));
    switch (event->fate) {
    case FATE_TRANSIENT:
        return given->attempt <= event->fate_count ? DEED_RETRY : DEED_GOOD;
    case FATE_FLAKY:
        if (event->fate_count == 0)
            return DEED_GOOD;
        event->fate_count--; /* whoever tries, and whether that try is counted or not */
        return DEED_RETRY;
    case FATE_POISON:
        return DEED_REJECT;
    case FATE_LADDER:
        return event->climbed < event->fate_count ? DEED_AGAIN : DEED_GOOD;
    case FATE_STUCK:
        if (event->resumed >= event->fate_count)
            return DEED_GOOD;
        if (world->pipeline.chains[world->chains[event->chain].config].on_undo_failure == UNDO_RETRY_FOREVER)
            event->resumed++; /* no operator does */
        return DEED_REJECT;
    default:
        return DEED_GOOD;
    }
}

static bool handler_away(struct world *world, struct sluice_call *call, const uint32_t *numbers)
{
    bool away = false;
    for (size_t n = 0; n < call->count; n++) {
        struct event_state *event = &world->events[numbers[n]];
        if (event->fate != FATE_AWAY || event->fate_count == 0)
            continue;
        event->fate_count--; /* the world outside, not the database's */
        away = true;
    }
    if (away)
        call->host->unavailable(call, "somebody does not answer");
    return away;
}

static void handler_answer(struct world *world, struct sluice_call *call, size_t n, uint32_t number, enum deed deed)
{
    const struct event_state *event = &world->events[number];
    bool work = event->kind == KIND_WORK || event->kind == KIND_RETRY;
    switch (deed) {
    case DEED_GOOD:
        call->host->outcome(call, n, !work ? 0 : number % 3 != 0 ? WORK_NEXT : WORK_DROPPED);
        break;
    case DEED_AGAIN:
        call->host->outcome(call, n, WORK_AGAIN);
        break;
    case DEED_RETRY:
        world->count.retries++;
        call->host->retry(call, n, "not now");
        break;
    case DEED_REJECT:
        call->host->reject(call, n, "never");
        break;
    }
}

void handler_run(void *state, struct sluice_call *call)
{
    struct sim_lane *lane = state;
    struct world *world = lane->world;
    const struct handler_input *inputs = call->inputs;
    uint32_t numbers[SIM_BATCH];
    int64_t effects[SIM_BATCH];
    enum deed deeds[SIM_BATCH];
    size_t effect_count = 0;
    for (size_t n = 0; n < call->count; n++) {
        struct span id = {inputs[n].id.at, inputs[n].id.length}, key = {inputs[n].key.at, inputs[n].key.length};
        numbers[n] = event_known(world, event_id_of(id), "handled");
        const struct event_state *event = &world->events[numbers[n]];
        /* An undo has the key of what caused it, and the data of its step. */
        if (event->kind != KIND_UNDO && event->kind != KIND_UNDONE && !span_equal(key, event->record->key))
            sim_fail(world, "event %u is handled with the key of another one", numbers[n]);
    }
    if (handler_away(world, call, numbers))
        return;
    for (size_t n = 0; n < call->count; n++) {
        deeds[n] = handler_deed(world, &world->events[numbers[n]], &call->events[n]);
        if (deeds[n] == DEED_GOOD || deeds[n] == DEED_AGAIN)
            effects[effect_count++] = numbers[n];
    }
    struct sluice_param param = SLUICE_ARRAY_INT64(effects, effect_count);
    if (effect_count > 0 && call->host->query(call, &handler_effect, 1, &param) == NULL)
        return;
    for (size_t n = 0; n < call->count; n++)
        handler_answer(world, call, n, numbers[n], deeds[n]);
}
