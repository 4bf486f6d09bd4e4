/*
 * made.c - whether what the engine's migrations made is still there.
 *
 * By their comments, since everything in schema sluice has one.
 */
#include "store/migrate/set.h"

#include <errno.h>

/* Of a table that is not there its columns are not named.
 * The first that is missing, with its file, and how many are. */
static const struct statement statement_made = {
    "with file as (select u.owner || '/' || u.name as name, u.place, convert_from(u.bytes, 'UTF8') as text"
    "   from unnest($1, $2, $3) with ordinality as u(owner, name, bytes, place)),"
    " made as (select f.name as file, f.place, m[1] as kind, m[2] as thing, m[3] as part from file f,"
    "   regexp_matches(f.text, 'comment on (table|column|index|function) sluice[.](\\w+)(?:[.](\\w+))?', 'g') as m),"
    " dropped as (select m[1] as thing, m[2] as part from file f,"
    "   regexp_matches(f.text, 'alter table sluice[.](\\w+)[^;]*?drop column (\\w+)', 'g') as m)"
    "select kind, thing, coalesce(part, ''), file, count(*) over () from made m"
    " where not exists (select from dropped d where d.thing = m.thing and d.part = m.part)"
    "   and case kind when 'function' then not exists (select from pg_proc p join pg_namespace n"
    "       on n.oid = p.pronamespace where n.nspname = 'sluice' and p.proname = thing)"
    "     when 'column' then to_regclass('sluice.' || thing) is not null and not exists (select from pg_attribute a"
    "       where a.attrelid = to_regclass('sluice.' || thing) and a.attname = part and not a.attisdropped)"
    "     else to_regclass('sluice.' || thing) is null end"
    " order by place, kind desc, thing, part limit 1",
    false,
};

enum store_result migrate_check_made(struct store *store, const struct migrations *set, struct error *error)
{
    const struct migration_file *files = set->files;
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_TEXT, &files[0].owner_span, set->count, sizeof *files),
        STORE_COLUMN(PARAM_TEXT, &files[0].name_span, set->count, sizeof *files),
        STORE_COLUMN(PARAM_BYTEA, &files[0].bytes, set->count, sizeof *files),
    };
    struct connection *connection = migrate_connect(store, error);
    struct rows *rows;
    enum store_result result = connection == NULL ? STORE_DOWN
                                                  : connection_once(connection, &statement_made, 3, params,
                                                                    store->statement_timeout_ms, &rows, error);
    if (result == STORE_OK && rows_count(rows) > 0) {
        struct span kind = rows_span(rows, 0, 0), thing = rows_span(rows, 0, 1), part = rows_span(rows, 0, 2),
                    file = rows_span(rows, 0, 3);
        char further[64] = "";
        if (rows_int64(rows, 0, 4) > 1)
            snprintf(further, sizeof further, " (and %lld more of the like)", (long long)rows_int64(rows, 0, 4) - 1);
        error_set(error, ENOEXEC,
                  "the database has the %.*s sluice.%.*s%s%.*s no more, which the migration %.*s made%s",
                  (int)kind.length, kind.at, (int)thing.length, thing.at, part.length > 0 ? "." : "", (int)part.length,
                  part.at, (int)file.length, file.at, further);
        error_hint(error, "stop the engine and make it again as that file does, or restore the database: `sluice "
                          "migrate` applies each file once");
        result = STORE_DEPLOY;
    }
    connection_destroy(connection);
    return result;
}
