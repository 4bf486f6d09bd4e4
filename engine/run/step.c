/*
 * step.c - what the threads of an engine do, one after the other in the caller's thread.
 */
#include "base/clock.h"
#include "run/keeper.h"
#include "run/opener.h"
#include "run/reader.h"
#include "run/state.h"

#include <errno.h>

enum { STEP_ROUNDS_MAX = 100000 /* far more than any flow of a few events needs */ };

/* Readers before lanes: a lane finds what was published before. False when nobody had anything to do. */
static bool step_round(struct engine *engine)
{
    bool some = false;
    for (size_t i = 0; i < engine->group_count; i++)
        some = reader_step(&engine->groups[i]) || some;
    for (size_t i = 0; i < engine->request_worker_count; i++)
        some = worker_step(engine->requests[i]) || some;
    if (engine->scheduler != NULL)
        some = worker_step(engine->scheduler) || some;
    for (size_t i = 0; i < engine->group_count; i++)
        for (size_t w = 0; w < engine->groups[i].worker_count; w++)
            some = worker_step(engine->groups[i].workers[w]) || some;
    return some;
}

int engine_step(struct engine *engine, bool looks, struct error *error)
{
    int64_t tick_ms;
    int code = atomic_load(&engine->open) ? 0 : opener_step(engine, error);
    if (code != 0 || !atomic_load(&engine->begun))
        return code;
    for (int rounds = 0; rounds < STEP_ROUNDS_MAX; rounds++) {
        keeper_step(engine, looks && rounds == 0);
        while (step_round(engine))
            if (life_fault(&engine->life, error) != 0 || ++rounds >= STEP_ROUNDS_MAX)
                break;
        if (life_fault(&engine->life, error) != 0)
            return -error->code;
        int64_t now = clock_monotonic_ms();
        if (engine_due_ms(engine, &tick_ms) > now && tick_ms > now)
            return 0;
    }
    return error_set(error, ELOOP, "there is no end of what is due at once: is there a cycle of events?");
}

void engine_abandon(struct engine *engine)
{
    for (size_t i = 0; i < engine->group_count; i++)
        if (engine->groups[i].consumer != NULL)
            bus_unsubscribe(engine->bus, engine->groups[i].consumer);
}

int64_t engine_due_ms(struct engine *engine, int64_t *ret_tick_ms)
{
    int64_t due_ms = keeper_due_ms(engine, ret_tick_ms);
    for (size_t i = 0; i < engine->group_count; i++)
        for (size_t w = 0; w < engine->groups[i].worker_count; w++) {
            int64_t of_lane = worker_due_ms(engine->groups[i].workers[w]);
            due_ms = of_lane < due_ms ? of_lane : due_ms;
        }
    for (size_t i = 0; i < engine->request_worker_count; i++) {
        int64_t of_lane = worker_due_ms(engine->requests[i]);
        due_ms = of_lane < due_ms ? of_lane : due_ms;
    }
    int64_t of_scheduler = engine->scheduler == NULL ? INT64_MAX : worker_due_ms(engine->scheduler);
    return of_scheduler < due_ms ? of_scheduler : due_ms;
}
