/*
 * guard.c - a plugin's migration leaves the schema "sluice" alone: it is the engine's.
 *
 * What is in the schema is compared before and after a file, in the file's own transaction. A table that was read only
 * is locked with AccessShareLock; whatever writes to a table, alters, makes or drops one holds another lock until the
 * transaction ends, and the server shows to everybody which locks a session has: nothing needs a superuser, and a
 * running engine that makes partitions of its log meanwhile is not mistaken for the migration. Locks of a savepoint
 * that was rolled back are gone, and so is what it did. Functions and the rest have no such locks: their rows in the
 * catalogs are compared, which only migrations change; and the values of sequences, which outlive a rollback. The id of
 * the transaction, not a word, tells whether a file, the engine's too, has ended it. Temporary tables hide others of
 * their name: so names are whole.
 */
#include "store/migrate/set.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

enum { GUARD_MS = 60 * 1000, GUARD_UNDO_MS = 10 * 1000 };

/* Of the sequence c: which value was taken last. pg_sequence_last_value() would take the lock of a writer. */
#define GUARD_VALUE                                                                                                    \
    "pg_catalog.substring(pg_catalog.query_to_xml(pg_catalog.format("                                                  \
    "'select last_value - (not is_called)::pg_catalog.int4 as v from sluice.%I', c.relname), false, true, '')::text,"  \
    " '<v>(-?[0-9]+)</v>')::pg_catalog.int8"

/* kind, thing, oid; state: what is different when it was changed; locks: how many of them a reader does not take. */
#define GUARD_THINGS                                                                                                   \
    "mine as (select l.relation as id, count(*) as locks from pg_catalog.pg_locks l"                                   \
    "  where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.mode <> 'AccessShareLock'"          \
    "  group by l.relation),"                                                                                          \
    "home as (select n.oid, n.xmin from pg_catalog.pg_namespace n where n.nspname = 'sluice'),"                        \
    "now as ("                                                                                                         \
    "  select true as is_relation, case c.relkind when 'i' then 'index' when 'I' then 'index' when 'S' then "          \
    "'sequence'"                                                                                                       \
    "      when 'v' then 'view' else 'table' end as kind, 'sluice.' || c.relname as thing, c.oid as id,"               \
    "      pg_catalog.concat(c.relowner, c.relacl::text, (select pg_catalog.string_agg("                               \
    "          pg_catalog.concat(a.attnum, a.attacl::text), ' ' order by a.attnum) from pg_catalog.pg_attribute a"     \
    "          where a.attrelid = c.oid and a.attacl is not null), (select pg_catalog.string_agg("                     \
    "          pg_catalog.concat(t.oid, t.tgenabled, t.tgfoid), ' ' order by t.oid) from pg_catalog.pg_trigger t"      \
    "          where t.tgrelid = c.oid)) as state, coalesce(m.locks, 0) as locks,"                                     \
    "      case c.relkind when 'S' then " GUARD_VALUE " end as last"                                                   \
    "    from home h join pg_catalog.pg_class c on c.relnamespace = h.oid left join mine m on m.id = c.oid"            \
    "    where c.relkind <> 'c'"                                                                                       \
    "  union all select false, 'function', 'sluice.' || p.proname, p.oid, p.xmin::text, 0, null::int8"                 \
    "    from home h join pg_catalog.pg_proc p on p.pronamespace = h.oid"                                              \
    "  union all select false, 'schema', 'sluice', h.oid, h.xmin::text, 0, null::int8 from home h"                     \
    "  union all select distinct false, pg_catalog.split_part(s.text, ' ', 1),"                                        \
    "      pg_catalog.substr(s.text, pg_catalog.strpos(s.text, ' ') + 1), d.objid, '', 0, null::int8"                  \
    "    from home h join pg_catalog.pg_depend d on d.refobjid = h.oid"                                                \
    "      cross join lateral pg_catalog.pg_describe_object(d.classid, d.objid, 0) as s(text)"                         \
    "    where d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass"                                          \
    "      and d.classid not in ('pg_catalog.pg_class'::pg_catalog.regclass, "                                         \
    "'pg_catalog.pg_proc'::pg_catalog.regclass))"

static const struct statement statement_before = {
    "with " GUARD_THINGS " select pg_catalog.jsonb_agg(pg_catalog.to_jsonb(n))::text from now n", false};
static const struct statement statement_after = {
    "with was as (select * from pg_catalog.jsonb_to_recordset($1::jsonb) as w(is_relation boolean, kind text,"
    "  thing text, id oid, state text, locks int8, last int8)), " GUARD_THINGS
    "select coalesce(n.kind, w.kind), coalesce(n.thing, w.thing), (n.id is null)::int4"
    " from was w full join now n on n.kind = w.kind and n.id = w.id left join mine m on m.id = coalesce(n.id, w.id)"
    " where w.state <> n.state or n.last < w.last"
    "   or case when coalesce(n.is_relation, w.is_relation) then coalesce(m.locks, 0) > coalesce(w.locks, 0)"
    "      else w.id is null or n.id is null end"
    " order by n.id is not null, coalesce(n.is_relation, w.is_relation) desc, coalesce(n.kind, w.kind) <> 'table',"
    "   coalesce(n.thing, w.thing) limit 1",
    false,
};
/* Those of the engine count upwards: one that is behind by now is not the work of an engine, which takes values. */
static const struct statement statement_sequences = {
    "select pg_catalog.setval(c.oid::pg_catalog.regclass, w.last)"
    " from pg_catalog.jsonb_to_recordset($1::jsonb) as w(id oid, last int8)"
    " join pg_catalog.pg_class c on c.oid = w.id"
    " where case when c.relkind = 'S' then " GUARD_VALUE " < w.last end",
    false,
};
static const struct statement statement_transaction = {"select pg_catalog.pg_current_xact_id()", false};

/* What is deferred is done before it is looked what was done, as is what its triggers defer in turn: nothing tells
 * whether something is left. What follows is done as whoever connected, who may have become another role in the file;
 * and the next file does not find this one's temporary things. */
#define IMMEDIATE "set constraints all immediate;"
#define ROLE_AND_SETTINGS "reset session authorization; reset role; reset all; discard temp"
static const char back_to_normal[] = IMMEDIATE IMMEDIATE IMMEDIATE IMMEDIATE ROLE_AND_SETTINGS;

static enum store_result guard_transaction(struct connection *connection, int64_t *ret, struct error *error)
{
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_transaction, 0, NULL, &rows, error);
    if (result == STORE_OK)
        *ret = rows_int64(rows, 0, 0);
    return result;
}

enum store_result guard_begin(struct connection *connection, bool whole, struct guard *ret, struct error *error)
{
    struct rows *rows;
    *ret = (struct guard){0};
    enum store_result result = guard_transaction(connection, &ret->transaction, error);
    if (result == STORE_OK && whole)
        result = connection_exec(connection, &statement_before, 0, NULL, &rows, error);
    if (result != STORE_OK || !whole)
        return result;
    struct span text = rows_span(rows, 0, 0);
    ret->before = strndup(text.length > 0 ? text.at : "[]", text.length > 0 ? text.length : 2);
    if (ret->before != NULL)
        return STORE_OK;
    error_set(error, ENOMEM, "out of memory");
    return STORE_TRANSIENT;
}

static enum store_result guard_compare(struct connection *connection, const struct guard *guard, struct error *error)
{
    const struct span before = span_of(guard->before);
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &before)};
    struct rows *rows = NULL;
    enum store_result result = connection_script(connection, back_to_normal, GUARD_MS, error);
    if (result == STORE_OK)
        result = connection_exec(connection, &statement_after, 1, params, &rows, error);
    if (result != STORE_OK || rows_count(rows) == 0)
        return result;
    struct span kind = rows_span(rows, 0, 0), thing = rows_span(rows, 0, 1);
    error_set(error, EPERM,
              "it %s the %.*s %.*s: the schema sluice is the engine's, and a plugin's migration may only "
              "read there%s",
              rows_int64(rows, 0, 2) != 0 ? "drops or moves" : "changes or makes", (int)kind.length, kind.at,
              (int)thing.length, thing.at,
              span_is(kind, "sequence") ? "; the values that it took from the sequence stay taken" : "");
    return connection_fail(connection, STORE_DEPLOY);
}

enum store_result guard_end(struct connection *connection, struct guard *guard, struct error *error)
{
    int64_t transaction = 0;
    enum store_result result = guard_transaction(connection, &transaction, error);
    guard->ended = result == STORE_OK && transaction != guard->transaction;
    if (guard->ended) {
        error_set(error, EPERM, "a file is one transaction, which ends behind it");
        return connection_fail(connection, STORE_DEPLOY);
    }
    return result == STORE_OK && guard->before != NULL ? guard_compare(connection, guard, error) : result;
}

void guard_undo(struct connection *connection, const struct guard *guard, struct error *error)
{
    if (guard->before == NULL)
        return;
    const struct span before = span_of(guard->before);
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &before)};
    struct error why = {0};
    enum store_result result = connection_begin(connection, clock_monotonic_ms() + GUARD_UNDO_MS, &why);
    if (result == STORE_OK)
        result = connection_script(connection, ROLE_AND_SETTINGS, GUARD_UNDO_MS, &why);
    if (result == STORE_OK)
        result = connection_exec(connection, &statement_sequences, 1, params, NULL, &why);
    if (result == STORE_OK)
        result = connection_commit(connection, &why);
    if (result != STORE_OK)
        error_hint(error,
                   "see that the file has set no sequence of the schema sluice back; the look at them failed: %s",
                   why.text);
}

void guard_free(struct guard *guard)
{
    free(guard->before);
    *guard = (struct guard){0};
}
