/*
 * breaker.c - see breaker.h.
 */
#include "batch/breaker.h"

#include <stdio.h>

enum { BREAKER_WAIT_MS = 50 /* at least, between tries of one event while it is closed */ };

struct breaker breaker_of(const struct pipeline *config, const struct dependency *dependency)
{
    return (struct breaker){.pipeline = span_of(config->engine.group),
                            .name = span_of(dependency->name),
                            .failures = dependency->failures,
                            .window_ms = dependency->window_ms,
                            .open_ms = dependency->open_ms};
}

static const struct dependency *needed_by(const struct work *work)
{
    return work->item->binding == NULL ? NULL : work->item->binding->dependency;
}

bool breaker_wanted(const struct batch_env *env, struct work *work)
{
    const struct item *item = work->item;
    bool trying = false;
    if (env->dependencies == NULL || needed_by(work) == NULL || item->topic == NULL || env->connection == NULL ||
        !atomic_load_explicit(&env->topics[item->topic->index].half_open, memory_order_relaxed) ||
        !atomic_compare_exchange_strong(&env->dependencies[needed_by(work)->index].trying, &trying, true))
        return false;
    work->try = TRY_WANTED;
    work->tried = needed_by(work);
    return true;
}

/* It is not the one: another lane of the process may be. */
static void give_up(const struct batch *batch, struct work *work)
{
    work->try = TRY_NONE;
    atomic_store(&batch->env->dependencies[work->tried->index].trying, false);
}

bool breaker_lets_through(struct batch *batch, struct work *work)
{
    struct breaker breaker = breaker_of(batch->env->config, work->tried);
    bool alone = false;
    if (batch->result == STORE_OK && !batch->transaction) {
        batch->result = connection_begin(batch->connection, batch->deadline_ms, &batch->error);
        batch->transaction = true;
    }
    if (batch->result == STORE_OK)
        batch->result = ledger_breaker_try(batch->connection, &breaker, &alone, &batch->error);
    if (!alone)
        give_up(batch, work);
    return alone;
}

/* They become a reason in sluice.pause: text, also where a letter did not fit. */
static void note_words(struct dependency_run *run, const char *why)
{
    pthread_mutex_lock(&run->lock);
    snprintf(run->words, sizeof run->words, "%s", why);
    text_clean(run->words);
    pthread_mutex_unlock(&run->lock);
}

void breaker_called(const struct batch *batch, struct binding *binding, struct work **works, size_t count,
                    const char *why)
{
    bool tried = false;
    if (binding->dependency == NULL || batch->env->dependencies == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        if (works[i]->try != TRY_NONE) {
            works[i]->try = why == NULL ? TRY_PASSED : TRY_FAILED;
            tried = true;
        }
    if (why == NULL || tried)
        return;
    struct dependency_run *run = &batch->env->dependencies[binding->dependency->index];
    note_words(run, why);
    atomic_fetch_add(&run->failures, 1);
}

void breaker_late(const struct batch *batch, struct work *work)
{
    if (needed_by(work) != NULL)
        breaker_called(batch, work->item->binding, &work, 1, batch->error.text);
}

void breaker_record(struct batch *batch)
{
    for (size_t i = 0; i < batch->count && batch->result == STORE_OK; i++) {
        const struct work *work = &batch->works[i];
        if (work->try != TRY_PASSED && work->try != TRY_FAILED)
            continue;
        struct breaker breaker = breaker_of(batch->env->config, work->tried);
        struct span why = span_of(work->why == NULL ? "" : work->why);
        batch->result = work->try == TRY_PASSED
                            ? ledger_breaker_close(batch->connection, &breaker, &batch->error)
                            : ledger_breaker_reopen(batch->connection, &breaker, why, &batch->error);
    }
}

/* The items may be gone. */
void breaker_over(struct batch *batch, bool committed)
{
    for (size_t i = 0; batch->env->dependencies != NULL && i < batch->count; i++) {
        struct work *work = &batch->works[i];
        if (work->try == TRY_NONE)
            continue;
        if (work->try == TRY_FAILED && !committed) {
            struct breaker breaker = breaker_of(batch->env->config, work->tried);
            const char *why = text_clean(arena_string(batch->arena, span_of(batch->error.text)));
            (void)ledger_breaker_reopen(batch->connection, &breaker, span_of(why), NULL);
        }
        give_up(batch, work);
    }
}

int64_t breaker_wait_ms(const struct dependency *dependency, int64_t wait_ms)
{
    int64_t most = dependency->window_ms / dependency->failures / 2;
    most = most < BREAKER_WAIT_MS ? BREAKER_WAIT_MS : most;
    return wait_ms < most ? wait_ms : most;
}
