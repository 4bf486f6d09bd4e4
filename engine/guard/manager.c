/*
 * manager.c - see manager.h.
 */
#include "guard/manager.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

int manager_tell_reloading(struct manager *manager, bool plan)
{
    return plan ? 0 : notify_reloading(manager->notify);
}

void manager_tell(struct manager *manager, const struct suspects *suspects, bool reloads, bool plan)
{
    int r = 0;
    unsigned lives = suspects_lives(suspects);
    if (suspects_asked(suspects) > 0)
        r = notify_stopping(manager->notify, manager->stop_ms);
    else if (reloads)
        r = manager_tell_reloading(manager, plan);
    else if (suspects_ready(suspects))
        r = notify_ready(manager->notify);
    if (r == 0 && lives != manager->lives)
        r = notify_alive(manager->notify, clock_monotonic_ms());
    manager->lives = lives;
    if (r != 0)
        log_rarely(60000, LOG_WARN, "master", "the service manager cannot be told: %s", strerror(-r));
}
