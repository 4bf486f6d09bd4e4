/*
 * session.c - which handler changed its database session, named once. What it changed, store/connection/session.c puts
 * back.
 *
 * Within a transaction it cannot be put back: once a handler is known for it, no other handler's statement runs behind
 * its own in one transaction.
 */
#include "batch/batch.h"

#include "base/log.h"

void session_queried(struct batch *batch, const struct binding *binding)
{
    for (const struct queried *queried = batch->queried; queried != NULL; queried = queried->next)
        if (queried->binding == binding)
            return;
    struct queried *queried = arena_new(batch->arena, struct queried);
    *queried = (struct queried){binding, batch->queried};
    batch->queried = queried;
}

bool session_spoilt(const struct batch *batch, const struct binding *binding)
{
    if (!binding->handler->uses_store)
        return false;
    for (const struct queried *queried = batch->queried; queried != NULL; queried = queried->next)
        if (queried->binding != binding && atomic_load(&batch->env->bindings[queried->binding->index].changes_session))
            return true;
    return false;
}

void session_name(const struct batch *batch)
{
    const struct queried *only = batch->queried;
    const char *changed = only == NULL ? NULL : connection_changed(batch->connection);
    if (changed == NULL)
        return;
    if (only->next != NULL) {
        log_rarely(60000, LOG_WARN, "lane", "one of the handlers %s, %s, ... changes its database session: %s",
                   only->binding->handler_name, only->next->binding->handler_name, changed);
        return;
    }
    if (atomic_exchange(&batch->env->bindings[only->binding->index].changes_session, true))
        return;
    log_warn("lane",
             "handler %s of plugin %s changes its database session: %s; it is put back, or the connection replaced, "
             "after each batch: use `set local`, pg_advisory_xact_lock() and temporary tables `on commit drop`",
             only->binding->handler_name, only->binding->plugin->name, changed);
}
