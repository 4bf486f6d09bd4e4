/*
 * name.c - numbers of names, so that other tables store a smallint instead of a handler's, chain's, group's or
 * schedule's name.
 */
#include "store/ledger/inner.h"

#include <errno.h>

/* A name that another transaction inserts at this moment is in neither of the joined tables: the caller asks again. */
static const struct statement statement_names = {
    "with input as (select u.name, u.place from unnest($2) with ordinality as u(name, place)),"
    "     made as (insert into sluice.name (kind, name)"
    "              select distinct $1::\"char\", i.name from input i"
    "              where not exists (select from sluice.name n where n.kind = $1::\"char\" and n.name = i.name)"
    "              order by i.name"
    "              on conflict (kind, name) do nothing returning name, number) "
    "select coalesce(n.number, m.number) from input i"
    "  left join sluice.name n on n.kind = $1::\"char\" and n.name = i.name"
    "  left join made m on m.name = i.name "
    "order by i.place",
    false,
};

enum store_result ledger_names(struct connection *connection, char kind, size_t count, const struct span *names,
                               int16_t *ret_numbers, struct error *error)
{
    struct span kind_text = {&kind, 1};
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &kind_text), STORE_ARRAY(PARAM_TEXT, names, count)};
    for (int tries = 0; tries < 3; tries++) {
        struct rows *rows;
        enum store_result result = connection_run(connection, &statement_names, 2, params, &rows, error);
        if (result != STORE_OK)
            return result;
        size_t known = 0;
        while (known < rows_count(rows) && !rows_null(rows, known, 0))
            known++;
        if (known < count)
            continue;
        for (size_t i = 0; i < count; i++)
            ret_numbers[i] = (int16_t)rows_int64(rows, i, 0);
        return STORE_OK;
    }
    error_set(error, EAGAIN, "another process is inserting the same names at this moment");
    return STORE_TRANSIENT;
}
