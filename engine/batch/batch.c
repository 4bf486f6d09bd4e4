/*
 * batch.c - the life of a batch, step by step; delivery.md in code.
 *
 *   prepare   every item is parsed and judged: unreadable, not due yet, over a limit, or to be handled
 *   claim     one statement; hits are duplicates, another payload under the same id is a dead letter
 *   handle    handlers run for the claimed events only, as many a call as they take, keys in order
 *   hold      what must wait for longer than a moment leaves memory, with its key
 *   record    outcomes, attempts, chains, parked and held events and all outputs go into the same transaction
 *   commit    done only if the server said COMMIT; anything else is rolled back, classified and run again
 *   emit      buses that are not part of the transaction get the outputs now; the outbox row stands until they have
 *             them
 *   finish    every item goes back to its lane, or its position is complete
 */
#include "batch/batch.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "batch/after.h"
#include "batch/breaker.h"
#include "batch/limit.h"
#include "batch/outbox.h"
#include "batch/pause.h"
#include "batch/traced.h"

static void batch_begin(struct batch *batch, struct lane_entry **entries)
{
    struct batch_env *env = batch->env;
    int64_t timeout = 0;
    batch->works = arena_array(batch->arena, struct work, batch->count);
    buffer_clear(&env->bytes);
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = (struct item *)entries[i];
        batch->works[i].item = item;
        if (item->binding != NULL && item->binding->timeout_ms > timeout)
            timeout = item->binding->timeout_ms;
    }
    batch->now_ms = clock_monotonic_ms();
    batch->wall_ms = clock_wall_ms();
    batch->deadline_ms = batch->now_ms + (timeout > 0 ? timeout : env->config->defaults.timeout_ms);
    batch_prepare(batch);
    batch_suspects(batch);
    traced_begin(batch);
    batch_behind(batch, false);
    batch_limit(batch);
    if (env->group == NULL && batch->connection != NULL) {
        batch->result = connection_begin(batch->connection, batch->deadline_ms, &batch->error);
        batch->transaction = true;
    }
}

static void batch_claim_first(struct batch *batch)
{
    (void)FAILPOINT("lane.claim.before");
    batch_claim(batch);
    (void)FAILPOINT("lane.claim.after");
    batch_behind(batch, true);
    batch_pause(batch);
    batch_after(batch);
    batch_limit_claimed(batch);
}

/* The steps of the transaction; each runs while nothing failed and no work was condemned. */
static const struct {
    const char *what; /* for the watchdog */
    void (*run)(struct batch *batch);
} steps[] = {
    {"the claim", batch_claim_first}, {"the handlers", batch_handle},
    {"holding keys", batch_hold},     {"the claim of dead letters", batch_claim_dead},
    {"the chains", batch_chains},     {"recording", batch_record},
    {"the outputs", batch_outputs},   {"the COMMIT", batch_commit},
};

static bool batch_transact(struct batch *batch)
{
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && batch->result == STORE_OK && !batch->condemned; i++) {
        batch_env_at(batch->env, steps[i].what);
        steps[i].run(batch);
    }
    return batch->result == STORE_OK && !batch->condemned;
}

/* After COMMIT. False: nothing is committed (there is no store) and nothing was published. */
static bool batch_emit(struct batch *batch)
{
    batch_env_at(batch->env, "publishing and finishing");
    if (batch->env->outbox.uncertain_count > 0) {
        outbox_resolve_uncertain(batch);
        if (batch->outbox_row != 0)
            outbox_reload(batch);
    }
    if (batch->outbox_row != 0 && batch->env->group == NULL) {
        /* Who asked is answered first: what is committed will be published. */
        outbox_reload(batch);
        traced_end(batch);
        batch_finish(batch);
        (void)outbox_emit(batch);
        return true;
    }
    if (outbox_emit(batch) != 0 && batch->connection == NULL) {
        batch->result = STORE_DOWN;
        return false;
    }
    (void)FAILPOINT("lane.finish.before");
    traced_end(batch);
    batch_finish(batch);
    return true;
}

static void fail(struct batch *batch)
{
    batch_env_at(batch->env, "what follows a failure");
    batch_fail(batch);
    breaker_over(batch, false);
}

static void batch_walk(struct batch_env *env, struct lane_entry **entries, size_t count)
{
    struct batch batch = {.env = env, .arena = env->arena, .connection = env->connection, .count = count};
    int64_t began = clock_monotonic_ns();

    batch_env_at(env, "preparing the batch");
    batch_begin(&batch, entries);
    if (!batch_transact(&batch)) {
        if (batch.result == STORE_UNKNOWN)
            traced_end(&batch);
        if (batch.result == STORE_UNKNOWN && batch.outbox_row != 0)
            outbox_mark_uncertain(&batch);
        fail(&batch);
        return;
    }
    env->store_failures = 0;
    if (!batch_emit(&batch)) {
        fail(&batch);
        return;
    }
    breaker_over(&batch, true);
    if (env->group != NULL) {
        series_add(env->batches, 1);
        series_observe(env->batch_events, (double)count);
        series_observe(env->batch_seconds, (double)(clock_monotonic_ns() - began) / 1e9);
    }
}

void batch_run(struct batch_env *env, struct lane_entry **entries, size_t count)
{
    /* While a suspect runs, no other lane does, so that the end of the process names the right one. */
    if (count == 1 && ((struct item *)entries[0])->quarantined)
        pthread_rwlock_wrlock(env->quarantine);
    else
        pthread_rwlock_rdlock(env->quarantine);
    batch_walk(env, entries, count);
    suspects_over(env->suspects, env->lane_number);
    pthread_rwlock_unlock(env->quarantine);
}
