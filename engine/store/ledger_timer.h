/*
 * ledger_timer.h - timers of chains: rows of sluice.parked whose ids are made by event_id_timer(). They begin with
 * ledger_park(). See ledger.h for who executes when.
 */
#ifndef SLUICE_STORE_LEDGER_TIMER_H
#define SLUICE_STORE_LEDGER_TIMER_H

#include "store/ledger.h"

enum store_result ledger_timers_cancel(struct connection *connection, int16_t group, const struct event_id *ids,
                                       size_t count, struct error *error); /* queued: those that wait do no more */
enum store_result ledger_timers_close(struct connection *connection, const struct span *groups, size_t group_count,
                                      const struct event_id *ids, size_t count,
                                      struct error *error); /* queued: likewise, by the groups' names */
/* Executed: these timers, which `owner` has taken, end in this transaction. `ids` and *count become those that did,
 * sorted by their bytes; the others were cancelled, began again, or are another process's. */
enum store_result ledger_timers_end(struct connection *connection, int64_t owner, int16_t group, struct event_id *ids,
                                    size_t *count, struct error *error);

#endif
