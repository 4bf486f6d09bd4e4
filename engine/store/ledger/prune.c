/*
 * prune.c - deletes inbox rows that are older than the inbox has to keep.
 *
 * The inbox has no index on its time, because every event would pay for it. Rows lie in about the order in which they
 * came, so reading the table in windows of blocks, round and round, finds the old ones. Where the next window begins is
 * a row, locked while a step runs, so that two processes take turns.
 */
#include "store/ledger/inner.h"

enum { PRUNE_ROWS_PER_BLOCK = 100 /* about: 8 KiB of inbox rows with their line pointers hold 136 */ };

static const struct statement statement_prune = {
    "with here as (select p.block, least(p.block + $2, size.blocks) as stop, size.blocks"
    "              from sluice.prune p, (select pg_relation_size('sluice.inbox') / current_setting('block_size')::int8"
    "                                    as blocks) size for update of p),"
    "     moved as (update sluice.prune p set block = case when h.stop >= h.blocks then 0 else h.stop end from here h) "
    "delete from sluice.inbox i "
    "where i.ctid >= (select format('(%s,0)', block)::tid from here) and i.ctid < (select format('(%s,0)', stop)::tid "
    "from here)"
    "  and i.at < " LEDGER_NOW " - $1",
    false,
};

enum store_result ledger_prune(struct connection *connection, int64_t keep_ms, size_t limit, size_t *ret,
                               struct error *error)
{
    int64_t keep_s = keep_ms / 1000, blocks = (int64_t)(limit / PRUNE_ROWS_PER_BLOCK) + 1;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT8, &keep_s), STORE_VALUE(PARAM_INT8, &blocks)};
    struct rows *rows;
    enum store_result result = connection_run(connection, &statement_prune, 2, params, &rows, error);
    if (result == STORE_OK)
        *ret = rows_affected(rows);
    return result;
}
