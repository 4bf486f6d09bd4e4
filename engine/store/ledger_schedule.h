/*
 * ledger_schedule.h - the slot of each schedule's last tick, in milliseconds since 1970 UTC. As in ledger.h.
 */
#ifndef SLUICE_STORE_LEDGER_SCHEDULE_H
#define SLUICE_STORE_LEDGER_SCHEDULE_H

#include "store/ledger.h"

/* Executed: claims a tick of a schedule for this transaction. With a period, *slot_ms, a multiple of it on this
 * process's clock, becomes that of the server's; with 0, *slot_ms is the tick's time, and is not claimed before the
 * server's clock is there. *ret is false when another process did it, or is doing it. */
enum store_result ledger_tick(struct connection *connection, int16_t schedule, int64_t period_ms, int64_t *slot_ms,
                              bool *ret, struct error *error);
/* On its own: the slot of each schedule's last tick, 0 when it has no row; and what the server's clock says. */
enum store_result ledger_slots(struct connection *connection, const int16_t *schedules, size_t count,
                               int64_t *ret_slots_ms, int64_t *ret_now_ms, struct error *error);
/* On its own: the schedule has no row, and gets one as if it had ticked at that time, so that it ticks from then on. */
enum store_result ledger_schedule_begin(struct connection *connection, int16_t schedule, int64_t slot_ms,
                                        struct error *error);

#endif
