/*
 * ledger_outbox_table.h - a table of the shape that Debezium's outbox event router reads, for consumers who have that:
 * a row for each event of chosen topics, in the transaction that emits it. See ledger.h for who executes when.
 *
 * The row is deleted in the same transaction: the write-ahead log has both, whoever decodes it gets the row, and the
 * table stays empty. Columns: id uuid · aggregatetype, type: the topic · aggregateid: the key, or the id of an event
 * without one · payload: the data · timestamp: when it was emitted, UTC · tracingspancontext: null, or the traceparent
 * as a line of Java's properties.
 *
 * Names of tables are `outbox_table.name` of pipeline.yaml, which the loader has checked: [SCHEMA.]TABLE of lower case
 * letters, digits and '_'.
 */
#ifndef SLUICE_STORE_LEDGER_OUTBOX_TABLE_H
#define SLUICE_STORE_LEDGER_OUTBOX_TABLE_H

#include "store/store.h"

struct outbox_table_row {
    struct event_id id;
    struct span topic, key, data; /* key: without one the id's text; data: a JSON object */
    struct span tracing;          /* {NULL, 0}: none */
    int64_t at_ms;
};

/* Queued: writes the rows in this order, and deletes them. A connection is given one name of a table in its life. */
enum store_result ledger_outbox_table_add(struct connection *connection, const char *table,
                                          const struct outbox_table_row *rows, size_t count, struct error *error);

/* Executed: makes the table unless something of its name is there; *ret_made: it was not. */
enum store_result outbox_table_make(struct connection *connection, const char *table, bool *ret_made,
                                    struct error *error);
/* On its own: whether the rows can be written into it. STORE_DEPLOY with the sentence and the cure when not. */
enum store_result outbox_table_check(struct connection *connection, const char *table, struct error *error);
/* Whether nobody reads what is written there, so that it is lost: STORE_OK, and then *ret_unread with the sentence and
 * the cure in `error`. */
enum store_result outbox_table_unread(struct store *store, const char *table, bool *ret_unread, struct error *error);

#endif
