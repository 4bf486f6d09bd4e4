/*
 * known.c - the names that a pipeline had, and what waits for those that left its file.
 *
 * Counting reads whole tables, so it is done only for names that left, which a start finds by comparing two short
 * lists.
 */
#include "store/ledger/inner.h"
#include "store/ledger_known.h"

#include <stdio.h>

static const struct statement statement_long = {
    "select set_config('statement_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $1, true),"
    " set_config('lock_timeout', '5s', true)",
    false,
};

enum store_result ledger_begin_long(struct connection *connection, int64_t deadline_ms, int64_t timeout_ms,
                                    struct error *error)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)timeout_ms);
    struct span timeout = span_of(text);
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &timeout)};
    struct rows *rows;
    enum store_result result = connection_begin(connection, deadline_ms, error);
    return result == STORE_OK ? connection_exec(connection, &statement_long, 1, params, &rows, error) : result;
}

/* Beside the classes of locks that sql/engine/ names. */
static const struct statement statement_turn = {"select pg_try_advisory_lock(1398491702, hashtext($1))", false};

enum store_result ledger_turn(struct connection *connection, struct span group, bool *ret, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &group)};
    struct rows *rows = NULL;
    enum store_result result = connection_run(connection, &statement_turn, 1, params, &rows, error);
    *ret = result == STORE_OK && rows_int64(rows, 0, 0) != 0;
    return result;
}

static const struct statement statement_lock = {"lock table sluice.pipeline_name in share row exclusive mode", false};
static const struct statement statement_known = {
    "select kind::text, consumer_group, name, handler, file from sluice.pipeline_name where pipeline = any ($1) "
    "order by kind, consumer_group, name",
    false,
};

enum store_result ledger_known(struct connection *connection, const struct span *pipelines, size_t count, bool lock,
                               struct rows **ret, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_TEXT, pipelines, count)};
    enum store_result result = lock ? connection_queue(connection, &statement_lock, 0, NULL, error) : STORE_OK;
    return result == STORE_OK ? connection_exec(connection, &statement_known, 1, params, ret, error) : result;
}

static const struct statement statement_save = {
    "insert into sluice.pipeline_name as p (pipeline, kind, consumer_group, name, handler, file)"
    " select distinct $1::text, u.kind::\"char\", u.consumer_group, u.name, u.handler, u.file"
    " from unnest($2, $3, $4, $5, $6) u(kind, consumer_group, name, handler, file)"
    " on conflict on constraint pipeline_name_pkey do update set handler = excluded.handler"
    " where p.handler <> excluded.handler",
    false,
};

enum store_result ledger_known_save(struct connection *connection, struct span pipeline, const struct known_name *names,
                                    size_t count, struct error *error)
{
    const struct store_param params[] = {
        STORE_VALUE(PARAM_TEXT, &pipeline),
        STORE_COLUMN(PARAM_TEXT, &names[0].kind, count, sizeof *names),
        STORE_COLUMN(PARAM_TEXT, &names[0].group, count, sizeof *names),
        STORE_COLUMN(PARAM_TEXT, &names[0].name, count, sizeof *names),
        STORE_COLUMN(PARAM_TEXT, &names[0].handler, count, sizeof *names),
        STORE_COLUMN(PARAM_TEXT, &names[0].file, count, sizeof *names),
    };
    return connection_queue(connection, &statement_save, 6, params, error);
}

static const struct statement statement_forget = {
    "delete from sluice.pipeline_name p using unnest($2, $3, $4, $5) u(kind, consumer_group, name, file)"
    " where p.pipeline = $1 and p.file = u.file and p.kind = u.kind::\"char\" and p.consumer_group = u.consumer_group"
    " and p.name = u.name",
    false,
};

enum store_result ledger_known_forget(struct connection *connection, struct span pipeline,
                                      const struct known_name *names, size_t count, struct error *error)
{
    const struct store_param params[] = {
        STORE_VALUE(PARAM_TEXT, &pipeline),
        STORE_COLUMN(PARAM_TEXT, &names[0].kind, count, sizeof *names),
        STORE_COLUMN(PARAM_TEXT, &names[0].group, count, sizeof *names),
        STORE_COLUMN(PARAM_TEXT, &names[0].name, count, sizeof *names),
        STORE_COLUMN(PARAM_TEXT, &names[0].file, count, sizeof *names),
    };
    return count == 0 ? STORE_OK : connection_queue(connection, &statement_forget, 5, params, error);
}

/* Other groups of pipelines, but for those of taps: who reads which of these topics. */
static const struct statement statement_readers = {
    "select p.name, min(p.consumer_group) from sluice.pipeline_name p"
    " where p.kind = 't' and p.name = any ($1) and p.consumer_group = p.pipeline and p.consumer_group <> $2"
    " group by p.name order by p.name",
    false,
};

enum store_result ledger_known_readers(struct connection *connection, const struct span *topics, size_t count,
                                       struct span but_group, struct rows **ret, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_TEXT, topics, count), STORE_VALUE(PARAM_TEXT, &but_group)};
    return connection_exec(connection, &statement_readers, 2, params, ret, error);
}

/* --------------------------------------------------------------------------------------------------------- renaming */

/* A number whose name changes stays the number of every row. Where both names have one, what waits moves. */
static const struct statement statement_rename = {
    "update sluice.name n set name = $3 where n.kind = $1::\"char\" and n.name = $2"
    " and not exists (select from sluice.name o where o.kind = n.kind and o.name = $3)",
    false,
};
static const struct statement statement_move_parked = {
    "update sluice.parked p set consumer_group = n.number from sluice.name o, sluice.name n"
    " where o.kind = 'g' and o.name = $1 and n.kind = 'g' and n.name = $2 and p.consumer_group = o.number"
    " and not exists (select from sluice.parked q where q.consumer_group = n.number and q.event_id = p.event_id)",
    false,
};
static const struct statement statement_move_held = {
    "with names as (select o.number as old, n.number as new from sluice.name o, sluice.name n"
    "   where o.kind = 'g' and o.name = $1 and n.kind = 'g' and n.name = $2),"
    " noted as (insert into sluice.needed as s (consumer_group, id, at, handled)"
    "   select n.new, d.id, d.at, d.handled from names n join sluice.needed d on d.consumer_group = n.old"
    "   on conflict on constraint needed_pkey do update set handled = s.handled or excluded.handled),"
    " moved as (update sluice.held h set consumer_group = n.new from names n where h.consumer_group = n.old),"
    " gone as (delete from sluice.held_key k using names n where k.consumer_group = n.old"
    "   returning n.new, k.stream, k.key_hash, k.events, k.due, k.held_at, k.reason, k.paused) "
    "insert into sluice.held_key as k (consumer_group, stream, key_hash, events, due, held_at, reason, paused)"
    " select * from gone on conflict on constraint held_key_pkey do update set events = k.events + excluded.events",
    false,
};
static const struct statement statement_move_dead_letters = {
    "update sluice.dead_letter d set consumer_group = n.number from sluice.name o, sluice.name n"
    " where o.kind = 'g' and o.name = $1 and n.kind = 'g' and n.name = $2 and d.consumer_group = o.number",
    false,
};
static const struct statement statement_move_chains = {
    "update sluice.chain c set chain = n.number from sluice.name o, sluice.name n"
    " where o.kind = 'c' and o.name = $1 and n.kind = 'c' and n.name = $2 and c.chain = o.number"
    " and not exists (select from sluice.chain q where q.chain = n.number and q.correlation = c.correlation)",
    false,
};
static const struct statement statement_move_attempts = {
    "update sluice.attempt a set handler = n.number from sluice.name o, sluice.name n"
    " where o.kind = 'h' and o.name = $1 and n.kind = 'h' and n.name = $2 and a.handler = o.number"
    " and not exists (select from sluice.attempt q where q.handler = n.number and q.event_id = a.event_id)",
    false,
};

enum store_result ledger_rename(struct connection *connection, char kind, struct span old, struct span new_name,
                                struct error *error)
{
    struct span kind_text = {&kind, 1};
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &kind_text), STORE_VALUE(PARAM_TEXT, &old),
                                         STORE_VALUE(PARAM_TEXT, &new_name)};
    const struct store_param names[] = {STORE_VALUE(PARAM_TEXT, &old), STORE_VALUE(PARAM_TEXT, &new_name)};
    const struct statement *move = kind == 'g'   ? &statement_move_parked
                                   : kind == 'c' ? &statement_move_chains
                                   : kind == 'h' ? &statement_move_attempts
                                                 : NULL;
    enum store_result result = connection_queue(connection, &statement_rename, 3, params, error);
    if (result == STORE_OK && kind == 'g')
        result = connection_queue(connection, &statement_move_held, 2, names, error);
    if (result == STORE_OK && kind == 'g')
        result = connection_queue(connection, &statement_move_dead_letters, 2, names, error);
    return result == STORE_OK && move != NULL ? connection_queue(connection, move, 2, names, error) : result;
}

static const struct statement statement_rename_pipeline = {
    "update sluice.pipeline_name p set pipeline = $2,"
    " consumer_group = case when p.consumer_group = '' then '' else $2 || substr(p.consumer_group, length($1) + 1) end,"
    " name = case when p.kind = 'g' then $2 || substr(p.name, length($1) + 1) else p.name end"
    " where p.pipeline = $1 and not exists (select from sluice.pipeline_name q where q.pipeline = $2)",
    false,
};

enum store_result ledger_known_rename(struct connection *connection, struct span old, struct span new_name,
                                      struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &old), STORE_VALUE(PARAM_TEXT, &new_name)};
    enum store_result result = connection_queue(connection, &statement_rename_pipeline, 2, params, error);
    return result == STORE_OK ? ledger_pauses_rename(connection, old, new_name, error) : result;
}

static const struct statement statement_known_twice = {
    "delete from sluice.pipeline_name p using sluice.pipeline_name q where p.pipeline = $1 and p.file = $2"
    " and q.pipeline = $1 and q.file = $3 and q.kind = p.kind and q.consumer_group = p.consumer_group"
    " and q.name = p.name",
    false,
};
static const struct statement statement_known_file = {
    "update sluice.pipeline_name set file = $3 where pipeline = $1 and file = $2",
    false,
};

enum store_result ledger_known_file(struct connection *connection, struct span pipeline, struct span old,
                                    struct span new_name, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &pipeline), STORE_VALUE(PARAM_TEXT, &old),
                                         STORE_VALUE(PARAM_TEXT, &new_name)};
    enum store_result result = connection_queue(connection, &statement_known_twice, 3, params, error);
    return result == STORE_OK ? connection_queue(connection, &statement_known_file, 3, params, error) : result;
}

/* --------------------------------------------------------------------------------------------------------- counting */

#define OF_GROUPS "consumer_group in (select g.number from sluice.name g where g.kind = 'g' and g.name = any ($1))"

static const struct statement statement_parked_topics = {
    "select n.name, w.topic, sum(w.parked)::int8, sum(w.held)::int8, sum(w.timers)::int8 from ("
    "  select p.consumer_group, sluice.record_topic(p.record) as topic,"
    "    count(*) filter (where p.chain is null) as parked, 0 as held, count(p.chain) as timers"
    "  from sluice.parked p where p." OF_GROUPS " group by 1, 2"
    "  union all select h.consumer_group, sluice.record_topic(h.record), 0, count(*), 0"
    "  from sluice.held h where h." OF_GROUPS " group by 1, 2) w"
    " join sluice.name n on n.number = w.consumer_group group by 1, 2",
    false,
};

enum store_result ledger_parked_topics(struct connection *connection, const struct span *groups, size_t count,
                                       struct rows **ret, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_TEXT, groups, count)};
    return connection_exec(connection, &statement_parked_topics, 1, params, ret, error);
}

static const struct statement statement_parked_unknown = {
    "select exists (select from sluice.parked p join sluice.name n on n.number = p.consumer_group"
    " where p.state = 2 and n.kind = 'g' and n.name = any ($1))::int4",
    false,
};

enum store_result ledger_parked_unknown(struct connection *connection, const struct span *groups, size_t count,
                                        bool *ret, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_TEXT, groups, count)};
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_parked_unknown, 1, params, &rows, error);
    if (result == STORE_OK)
        *ret = rows_int64(rows, 0, 0) != 0;
    return result;
}

static const struct statement statement_parked_again = {
    "update sluice.parked set state = 0, due = now(), taken_by = null where state = 2"
    " and consumer_group in (select n.number from sluice.name n where n.kind = 'g' and n.name = any ($1))",
    false,
};

enum store_result ledger_parked_again(struct connection *connection, const struct span *groups, size_t count,
                                      struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_TEXT, groups, count)};
    return connection_queue(connection, &statement_parked_again, 1, params, error);
}

static const struct statement statement_attempt_counts = {
    "select n.name, count(*) from sluice.attempt a join sluice.name n on n.number = a.handler"
    " where n.kind = 'h' and n.name = any ($1) group by 1",
    false,
};
static const struct statement statement_chain_counts = {
    "select n.name, count(*) from sluice.chain c join sluice.name n on n.number = c.chain"
    " where n.kind = 'c' and n.name = any ($1) and c.state in (0, 1, 3) group by 1",
    false,
};

enum store_result ledger_waiting(struct connection *connection, char kind, const struct span *names, size_t count,
                                 struct rows **ret, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_TEXT, names, count)};
    return connection_exec(connection, kind == 'c' ? &statement_chain_counts : &statement_attempt_counts, 1, params,
                           ret, error);
}

static const struct statement statement_chains_close = {
    "with timers as (delete from sluice.parked p using sluice.name n"
    "   where n.number = p.chain and n.kind = 'c' and n.name = $1) "
    "update sluice.chain c set state = 4, asked = null, at = " LEDGER_NOW ", over = " LEDGER_NOW
    ", due = null, reason = $2 from sluice.name n"
    " where n.number = c.chain and n.kind = 'c' and n.name = $1 and c.state in (0, 1, 3)",
    false,
};

enum store_result ledger_chains_close(struct connection *connection, struct span chain, struct span reason,
                                      struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &chain), STORE_VALUE(PARAM_TEXT, &reason)};
    return connection_queue(connection, &statement_chains_close, 2, params, error);
}

static const struct statement statement_outbox_all = {"select batch from sluice.outbox order by id limit $1", false};

enum store_result ledger_outbox_all(struct connection *connection, int32_t limit, struct rows **ret,
                                    struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT4, &limit)};
    return connection_exec(connection, &statement_outbox_all, 1, params, ret, error);
}
