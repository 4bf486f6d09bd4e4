/*
 * fake_ledger.h - what fake_store.c and fake_ledger.c share.
 */
#ifndef SLUICE_TESTS_FAKE_LEDGER_H
#define SLUICE_TESTS_FAKE_LEDGER_H

#include "fake_store.h"

#define FAKE_ADD(table, count, ...)                                                                                    \
    do {                                                                                                               \
        assert_true((count) < sizeof(table) / sizeof(table)[0]);                                                       \
        (table)[(count)++] = __VA_ARGS__;                                                                              \
    } while (0)

struct span fake_kept(struct connection *connection, struct span text); /* lives as long as the connection */
struct attempt *fake_attempt(struct fake_tables *tables, const struct attempt *attempt); /* the row, or NULL */
/* For connection->calls. */
void fake_note(struct connection *connection, const char *function, size_t count);
/* A statement that is executed: checks that it may be, and gives the result that is scripted. */
enum store_result fake_executed(struct connection *connection, const char *function, size_t count, struct error *error);
/* One that is executed on its own, outside a transaction. */
enum store_result fake_alone(struct connection *connection, const char *function, struct error *error);
/* One that is queued: its failure is kept for the next that is executed. */
void fake_queued(struct connection *connection, const char *function, size_t count);
struct rows *fake_rows(struct connection *connection, size_t columns, const enum param_type *types, size_t count,
                       const struct fake_cell *cells);

#endif
