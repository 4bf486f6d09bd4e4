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
/* One that was taken. When it begins again its row's id is the same, and its record is not: the event in it follows
 * from the one that began it. */
struct timer_taken {
    struct event_id id;
    struct span record; /* of its row */
    bool ended;         /* answered */
};
/* Executed: these timers end in this transaction; `ended` of those that did, each once. The others were cancelled,
 * began again, or were ended by another process. */
enum store_result ledger_timers_end(struct connection *connection, int16_t group, struct timer_taken *timers,
                                    size_t count, struct error *error);

#endif
