/*
 * ledger_span.h - the spans that did the steps of chains, where their traces are recorded: a table of their own, so
 * that other chains pay nothing. See ledger.h for who executes when.
 */
#ifndef SLUICE_STORE_LEDGER_SPAN_H
#define SLUICE_STORE_LEDGER_SPAN_H

#include "store/ledger.h"

struct chain_span {
    int16_t chain, step;
    struct event_id correlation;
    struct span traceparent;
};
/* Executed, behind ledger_chain_done(), which locks the chains' rows: keeps these, in place of those that the steps had
 * before, and deletes some that are older than 30 days. */
enum store_result ledger_chain_spans_note(struct connection *connection, const struct chain_span *spans, size_t count,
                                          struct error *error);
/* Executed: fills span->traceparent ({NULL, 0}: none is known), which is valid until the next statement. */
enum store_result ledger_chain_span_find(struct connection *connection, struct chain_span *span, struct error *error);

#endif
