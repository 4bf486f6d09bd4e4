/*
 * ledger_suspect.h - events in whose handler's call its process ended, for whoever asks why they wait: what the
 * master knows of them is in the memory of its own processes. See ledger.h for who executes when.
 */
#ifndef SLUICE_STORE_LEDGER_SUSPECT_H
#define SLUICE_STORE_LEDGER_SUSPECT_H

#include "store/ledger.h"

struct noted_suspect {
    int16_t handler;
    struct event_id id;
    int32_t times; /* the process ended */
    struct span reason;
};
/* On its own, so that the next end of the process does not undo it: keeps these, in place of what was known of them,
 * and deletes what is older than a day. */
enum store_result ledger_suspects_note(struct connection *connection, const struct noted_suspect *suspects,
                                       size_t count, struct error *error);
/* Queued: these are no suspects any more, or are convicted. */
enum store_result ledger_suspects_clear(struct connection *connection, const struct noted_suspect *suspects,
                                        size_t count, struct error *error);

#endif
