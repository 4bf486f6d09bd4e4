/*
 * chain_timers.h - the timers of one chain's correlation that wait, as people see them.
 */
#ifndef SLUICE_OPERATE_CHAIN_TIMERS_H
#define SLUICE_OPERATE_CHAIN_TIMERS_H

#include "store/store.h"

struct chain_timer_view {
    const char *id;    /* by which `sluice delayed` knows it */
    const char *emit;  /* the topic */
    const char *words; /* whose it is and what ends it */
    int64_t due_ms;    /* since 1970 UTC */
};

/* On its own: those of the chain of this number in sluice.name, the one that is due next first. In the arena. */
enum store_result chain_timers_read(struct connection *connection, int16_t chain, struct event_id correlation,
                                    int64_t timeout_ms, struct arena *arena, struct chain_timer_view **ret,
                                    size_t *ret_count, struct error *error);

#endif
