/*
 * watchdog.h - handlers that do not come back.
 */
#ifndef SLUICE_RUN_WATCHDOG_H
#define SLUICE_RUN_WATCHDOG_H

struct engine;

/* Looks at every lane's call and reports one that is far past its deadline. Where a master watches, it has ended this
 * process before. */
void watchdog_look(struct engine *engine);

#endif
