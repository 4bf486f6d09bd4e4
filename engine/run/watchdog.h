/*
 * watchdog.h - handlers that do not come back.
 */
#ifndef SLUICE_RUN_WATCHDOG_H
#define SLUICE_RUN_WATCHDOG_H

struct engine;

/* Looks at every lane's call. One that is far past its deadline is reported; where a master watches, it also ends this
 * process, as a fault of that call. */
void watchdog_look(struct engine *engine);

#endif
