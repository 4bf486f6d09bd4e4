/*
 * session.c - which handler changed its database session, named once. What it changed, store/connection/session.c puts
 * back.
 *
 * Within a transaction only settings can be put back. What else a handler leaves there fails the batch at the next
 * handler's first statement, and it runs again: once a handler is known for it, no other handler's statement runs
 * behind its own in one transaction.
 */
#include "batch/batch.h"

#include "base/log.h"

void session_queried(struct batch *batch, const struct binding *binding)
{
    struct queried **at = &batch->queried;
    if (*at != NULL && (*at)->binding == binding)
        return;
    if (*at != NULL)
        connection_separate(batch->connection);
    while (*at != NULL && (*at)->binding != binding)
        at = &(*at)->next;
    struct queried *queried = *at;
    if (queried == NULL)
        queried = arena_new(batch->arena, struct queried);
    else
        *at = queried->next;
    *queried = (struct queried){binding, batch->queried};
    batch->queried = queried;
}

bool session_left(const struct batch *batch)
{
    const char *left = connection_left(batch->connection);
    const struct queried *before = batch->queried == NULL ? NULL : batch->queried->next;
    if (left == NULL || before == NULL)
        return false;
    if (!atomic_exchange(&batch->env->bindings[before->binding->index].changes_session, true))
        log_warn(
            "lane",
            "handler %s of plugin %s changes its database session: %s; handlers behind it in one transaction would "
            "meet that, so from now on they get transactions of their own",
            before->binding->handler_name, before->binding->plugin->name, left);
    return true;
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
