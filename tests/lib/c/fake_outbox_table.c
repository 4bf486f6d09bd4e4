/*
 * fake_outbox_table.c - the table of store/ledger_outbox_table.h in memory: what was written to it, though a
 * transaction deletes its rows again.
 */
#include "fake_ledger.h"

#include "check.h"
#include "store/ledger_outbox_table.h"

enum store_result ledger_outbox_table_add(struct connection *connection, const char *table,
                                          const struct outbox_table_row *rows, size_t count, struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    (void)error;
    assert_true(count > 0);
    assert_string_equal(table, "outgoing");
    fake_queued(connection, "outbox_table_add", count);
    for (size_t i = 0; i < count; i++) {
        char id[37];
        event_id_format(&rows[i].id, id);
        FAKE_ADD(tables->outgoing, tables->outgoing_count,
                 fake_kept(connection,
                           span_of(arena_format(connection->arena, "%s %.*s %.*s %.*s %lld %.*s", id,
                                                (int)rows[i].topic.length, rows[i].topic.at, (int)rows[i].key.length,
                                                rows[i].key.at, (int)rows[i].data.length, rows[i].data.at,
                                                (long long)rows[i].at_ms, (int)rows[i].tracing.length,
                                                rows[i].tracing.at == NULL ? "" : rows[i].tracing.at))));
    }
    return STORE_OK;
}
