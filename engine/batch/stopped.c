/*
 * stopped.c - see stopped.h.
 */
#include "batch/stopped.h"

#include "base/log.h"

#include <stdio.h>

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

/* Before anybody can find that it has stopped. */
static void stopped_describe(const struct batch *batch, struct handler_stop *stop)
{
    const struct binding *binding = batch->failed_binding;
    pthread_mutex_lock(&stop->lock);
    snprintf(stop->sentence, sizeof stop->sentence, "handler %s of plugin %s has stopped: %.450s",
             binding->handler_name, binding->plugin->name, batch->error.text);
    pthread_mutex_unlock(&stop->lock);
}

static void stopped_alarm(const struct batch *batch, struct handler_stop *stop)
{
    const struct binding *binding = batch->failed_binding;
    series_set(stop->series, 1);
    log_line(LOG_ERROR, "lane",
             "handler %s of plugin %s has stopped: %s; its events wait and are tried again every %d s%s%s",
             binding->handler_name, binding->plugin->name, batch->error.text, STOPPED_AGAIN_MS / 1000,
             batch->error.hint[0] != '\0' ? ": " : "", batch->error.hint);
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
    stopped_describe(batch, stop);
    const char *before = atomic_exchange(&stop->statement, batch->failed_sql);
    uint64_t other = atomic_exchange(&stop->event, event);
    if (before == batch->failed_sql && other != event)
        atomic_store(&stop->until_ms, batch->now_ms + STOPPED_AGAIN_MS);
    if (before == NULL)
        stopped_alarm(batch, stop);
    return true;
}

const char *stopped_why(struct handler_stop *stop, struct arena *arena)
{
    pthread_mutex_lock(&stop->lock);
    const char *why = text_clean(arena_string(arena, span_of(stop->sentence)));
    pthread_mutex_unlock(&stop->lock);
    return why;
}

bool stopped_print(struct handler_stop *stop, struct buffer *out)
{
    if (atomic_load(&stop->statement) == NULL)
        return false;
    pthread_mutex_lock(&stop->lock);
    buffer_format(out, "%s\n", stop->sentence);
    pthread_mutex_unlock(&stop->lock);
    return true;
}

int64_t stopped_until_ms(const struct batch_env *env, const struct binding *binding)
{
    return atomic_load_explicit(&env->bindings[binding->index].stop.until_ms, memory_order_relaxed);
}
