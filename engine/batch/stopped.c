/*
 * stopped.c - see stopped.h.
 */
#include "batch/stopped.h"

#include "base/log.h"

void stopped_passed(const struct batch_env *env, const struct binding *binding, const char *statement)
{
    struct handler_stop *stop = &env->bindings[binding->index].stop;
    if (atomic_load_explicit(&stop->statement, memory_order_relaxed) != statement)
        return; /* always, while nothing was refused */
    atomic_fetch_add(&stop->passed, 1);
    atomic_store(&stop->until_ms, 0);
    if (atomic_exchange(&stop->statement, NULL) == NULL)
        return; /* another lane was first */
    series_set(stop->series, 0);
    log_info("lane", "handler %s runs again", binding->handler_name);
}

static void stopped_alarm(const struct batch *batch, struct handler_stop *stop)
{
    const struct binding *binding = batch->failed_binding;
    series_set(stop->series, 1);
    log_line(LOG_ERROR, "lane",
             "handler %s of plugin %s has stopped: %s; its events wait and are tried again every %d s: bring what is "
             "missing (`sluice migrate CONFIG` for the plugin's tables and functions, `grant` for its rights)",
             binding->handler_name, binding->plugin->name, batch->error.text, STOPPED_AGAIN_MS / 1000);
}

bool stopped_refused(struct batch *batch, struct work *work)
{
    struct handler_stop *stop = &batch->env->bindings[batch->failed_binding->index].stop;
    struct item *item = work->item;
    uint64_t event = span_hash((struct span){(const char *)work->event.id.bytes, sizeof work->event.id.bytes});
    unsigned passed = atomic_load(&stop->passed);
    if (item->refused_sql == batch->failed_sql && item->refused_passed != passed)
        return false;
    item->refused_sql = batch->failed_sql;
    item->refused_passed = passed;
    const char *before = atomic_exchange(&stop->statement, batch->failed_sql);
    uint64_t other = atomic_exchange(&stop->event, event);
    if (before == batch->failed_sql && other != event)
        atomic_store(&stop->until_ms, batch->now_ms + STOPPED_AGAIN_MS);
    if (before == NULL)
        stopped_alarm(batch, stop);
    return true;
}

int64_t stopped_until_ms(const struct batch_env *env, const struct binding *binding)
{
    return atomic_load_explicit(&env->bindings[binding->index].stop.until_ms, memory_order_relaxed);
}
