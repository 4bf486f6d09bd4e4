/*
 * outbox.c - outputs that are committed and must still be published: one row a batch.
 *
 * A row is deleted when the bus has acknowledged all of it. Rows have an owner, the process whose lane publishes them;
 * the sweeper of any process takes rows of the others once they are old enough.
 */
#include "store/ledger/inner.h"

/* ids that one nextval() reserves: increment by of the sequence */
enum { OUTBOX_ID_BLOCK = 64 };

static const struct statement statement_outbox_id = {"select nextval('sluice.outbox_id')", false};
static const struct statement statement_outbox_add = {
    "insert into sluice.outbox (id, owner, batch) values ($1, $2, $3)", false};

enum store_result ledger_outbox_add(struct connection *connection, int64_t owner, struct span record_batch,
                                    int64_t *ret_id, struct error *error)
{
    struct outbox_ids *ids = &connection->outbox_ids;
    if (ids->next == ids->end) {
        struct rows *rows;
        enum store_result result = connection_exec(connection, &statement_outbox_id, 0, NULL, &rows, error);
        if (result != STORE_OK)
            return result;
        ids->next = rows_int64(rows, 0, 0);
        ids->end = ids->next + OUTBOX_ID_BLOCK;
    }
    int64_t id = ids->next++; /* never used again, also when the transaction fails */
    const struct store_param params[] = {STORE_VALUE(PARAM_INT8, &id), STORE_VALUE(PARAM_INT8, &owner),
                                         STORE_VALUE(PARAM_BYTEA, &record_batch)};
    enum store_result result = connection_queue(connection, &statement_outbox_add, 3, params, error);
    if (result == STORE_OK)
        *ret_id = id;
    return result;
}

static const struct statement statement_outbox_done = {"delete from sluice.outbox where id = any ($1)", false};

enum store_result ledger_outbox_done(struct connection *connection, const int64_t *ids, size_t count,
                                     struct error *error)
{
    if (count == 0)
        return STORE_OK;
    const struct store_param params[] = {STORE_ARRAY(PARAM_INT8, ids, count)};
    return connection_queue(connection, &statement_outbox_done, 1, params, error);
}

static const struct statement statement_outbox_take = {
    "select id, batch from sluice.outbox "
    "where owner <> $1 and created_at <= now() - $2 * interval '1 millisecond'"
    "  and (refused is null or tried_at is null or tried_at <= now() - interval '30 seconds') "
    "order by id limit $3 for update skip locked",
    false,
};

enum store_result ledger_outbox_take(struct connection *connection, int64_t but_owner, int64_t age_ms, int32_t limit,
                                     struct rows **ret, struct error *error)
{
    double age = (double)age_ms;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT8, &but_owner), STORE_VALUE(PARAM_DOUBLE, &age),
                                         STORE_VALUE(PARAM_INT4, &limit)};
    return connection_exec(connection, &statement_outbox_take, 3, params, ret, error);
}

/* A batch's claims and its outbox row are written by one transaction. */
static const struct statement statement_outbox_of_claims = {
    "select o.id from sluice.outbox o "
    "where o.owner <> $1 and o.xmin in"
    "  (select i.xmin from unnest($2, $3) as u(handler, event_id)"
    "   join sluice.inbox i on i.handler = u.handler and i.event_id = u.event_id) "
    "order by o.id",
    false,
};

enum store_result ledger_outbox_of_claims(struct connection *connection, int64_t but_owner, const struct claim *claims,
                                          size_t count, struct rows **ret, struct error *error)
{
    const struct store_param params[] = {
        STORE_VALUE(PARAM_INT8, &but_owner),
        STORE_COLUMN(PARAM_INT2, &claims[0].handler, count, sizeof *claims),
        STORE_COLUMN(PARAM_UUID, &claims[0].id, count, sizeof *claims),
    };
    return connection_exec(connection, &statement_outbox_of_claims, 3, params, ret, error);
}

static const struct statement statement_outbox_owned = {
    "select id, batch from sluice.outbox where owner = $1 order by id limit $2 for update", false};

enum store_result ledger_outbox_owned(struct connection *connection, int64_t owner, int32_t limit, struct rows **ret,
                                      struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT8, &owner), STORE_VALUE(PARAM_INT4, &limit)};
    return connection_exec(connection, &statement_outbox_owned, 2, params, ret, error);
}

static const struct statement statement_outbox_lock = {
    "select id, batch from sluice.outbox where id = any ($1) order by id for update", false};
/* An update would not see the row of a transaction that is not over. This waits for it, and where there is no row it
 * leaves one without records, so that none of that id can come later. */
static const struct statement statement_outbox_release = {
    "insert into sluice.outbox (id, owner, batch) select u.id, 0, $2 from unnest($1) as u(id) order by u.id "
    "on conflict on constraint outbox_pkey do update set owner = 0",
    false,
};

enum store_result ledger_outbox_lock(struct connection *connection, const int64_t *ids, size_t count, struct rows **ret,
                                     struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_INT8, ids, count)};
    return connection_exec(connection, &statement_outbox_lock, 1, params, ret, error);
}

enum store_result ledger_outbox_release(struct connection *connection, const int64_t *ids, size_t count,
                                        struct error *error)
{
    static const struct span nothing = {"\0\1\0\0", 4}; /* a record batch of none */
    const struct store_param params[] = {STORE_ARRAY(PARAM_INT8, ids, count), STORE_VALUE(PARAM_BYTEA, &nothing)};
    return connection_queue(connection, &statement_outbox_release, 2, params, error);
}

static const struct statement statement_outbox_refuse = {
    "update sluice.outbox set owner = 0, batch = $2, refused = $3, tried_at = now() where id = $1", false};

enum store_result ledger_outbox_refuse(struct connection *connection, int64_t id, struct span record_batch,
                                       struct span reason, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT8, &id), STORE_VALUE(PARAM_BYTEA, &record_batch),
                                         STORE_VALUE(PARAM_TEXT, &reason)};
    return connection_queue(connection, &statement_outbox_refuse, 3, params, error);
}
