/*
 * audit.c - who changed what, in the transaction that changed it.
 */
#include "store/ledger/inner.h"

static const struct statement statement_audit = {
    "insert into sluice.audit (pipeline, actor, act, object, reason) values ($1, $2, $3, $4, nullif($5, ''))",
    false,
};

enum store_result ledger_audit(struct connection *connection, const struct audit *audit, struct error *error)
{
    const struct store_param params[] = {
        STORE_VALUE(PARAM_TEXT, &audit->pipeline), STORE_VALUE(PARAM_TEXT, &audit->actor),
        STORE_VALUE(PARAM_TEXT, &audit->act),      STORE_VALUE(PARAM_TEXT, &audit->object),
        STORE_VALUE(PARAM_TEXT, &audit->reason),
    };
    return connection_queue(connection, &statement_audit, 5, params, error);
}
