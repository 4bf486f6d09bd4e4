/*
 * inner.h - what the files of the ledger share. Each of them is one table of the schema "sluice", or one task on them:
 *
 *   name.c       numbers of names            parked.c     events that are delayed
 *   claim.c      the inbox, and the fence    chain.c      steps done and undone
 *   attempt.c    failed tries                schedule.c   ticks of schedules
 *   outbox.c     outputs to be published     reply.c      answers kept for an Idempotency-Key
 *   known.c      names that a pipeline had, and what waits for them
 *   chain_view.c chains for operators        delayed.c    parked and held events for operators
 *   prune.c      deletes old inbox rows      held.c       events of held keys
 *   health.c     the figures of the health page   audit.c      what operators changed
 *   dead_letter.c  dead letters, and what became of them
 *   chain_span.c  the spans that did steps of chains
 *   pause.c      what operators have paused       breaker.c    breakers of dependencies
 *   limit.c      slots of topics with a limit     suspect.c    in whose calls the worker process ended
 *   outbox_table.c  rows for Debezium's outbox event router
 *   after.c      events that wait for others
 */
#ifndef SLUICE_STORE_LEDGER_INNER_H
#define SLUICE_STORE_LEDGER_INNER_H

#include "store/connection/connection.h"
#include "store/ledger.h"

/* Seconds since 2020-01-01 UTC on the server's clock, computed once a statement. */
#define LEDGER_NOW "(select extract(epoch from now())::int8 - 1577836800)::int4"

/* How long it is until a time, which may be infinite; null of null. */
#define LEDGER_LEFT_MS(time)                                                                                           \
    "(case when " time " is not null then extract(epoch from least(greatest(" time ", now() - interval '1 year'),"     \
    " now() + interval '1 year') - now()) * 1000 end)::int8"

/* A statement found that the member was removed: the transaction fails with STORE_FENCED, which it returns. */
enum store_result ledger_fenced(struct connection *connection, struct error *error);
/* What a failpoint armed with "error" does: the connection is lost. */
enum store_result ledger_failpoint(struct connection *connection, struct error *error);

#endif
