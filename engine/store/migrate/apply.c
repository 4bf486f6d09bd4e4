/*
 * apply.c - numbered SQL files, compared with what the database has, and applied.
 *
 * The checksum is sha256 of the file's bytes, computed by the server: `sha256sum` shows the same. Every step takes the
 * advisory lock, reads what is applied by now, and applies one file: two migrators that run at the same time share the
 * work between them. Nothing is ever undone; a file that fails leaves nothing behind.
 */
#include "store/migrate/set.h"

#include "base/clock.h"
#include "store/ledger_outbox_table.h"
#include "store/script.h"

#include <errno.h>

enum { MIGRATE_MS = 60 * 60 * 1000 };

/* The advisory lock of migrations, "sluice" in ASCII: no two steps run at the same time. The other advisory locks of
 * the engine are named in sql/engine/0002_bus.sql. */
#define MIGRATE_LOCK "126909663503205"

/* The limits of a lane's statements do not apply to a migration. */
static const char migrate_prologue[] = "set local statement_timeout = 0; set local lock_timeout = 0;"
                                       "set local idle_in_transaction_session_timeout = 0;"
                                       "select pg_advisory_xact_lock(" MIGRATE_LOCK ");";

static const char migrate_table[] =
    "create schema if not exists sluice;"
    "create table sluice.migration ("
    " owner text not null, number integer not null, name text not null, checksum text not null,"
    " applied_at timestamptz not null default now(), primary key (owner, number));"
    "comment on table sluice.migration is 'Numbered SQL files that were applied; written by sluice migrate';"
    "comment on column sluice.migration.owner is 'engine, or the plugin';"
    "comment on column sluice.migration.number is 'From 1, without a gap';"
    "comment on column sluice.migration.name is 'Name of the file';"
    "comment on column sluice.migration.checksum is 'sha256 of the file: an applied file must never change';"
    "comment on column sluice.migration.applied_at is 'When it was applied';";

static const struct statement statement_exists = {"select to_regclass('sluice.migration') is not null", false};

/* Every file, and every applied row of the same owners, side by side. */
static const struct statement statement_compare = {
    "select f.place::int4, m.number, m.name, f.checksum = m.checksum, coalesce(f.owner, m.owner) "
    "from (select u.owner, u.number, encode(sha256(u.bytes), 'hex') as checksum, u.place"
    "      from unnest($2, $3, $4) with ordinality as u(owner, number, bytes, place)) f "
    "full join (select * from sluice.migration where owner = any ($1)) m on m.owner = f.owner and m.number = f.number "
    "order by f.place, m.number",
    false,
};
static const struct statement statement_record = {
    "insert into sluice.migration (owner, number, name, checksum) values ($1, $2::int8::int4, $3, encode(sha256($4), "
    "'hex'))",
    false,
};

/* An owner whose migration `name` the database has, and nobody here. */
static enum store_result migrate_unknown(const struct migrations *set, struct span owner, struct span name,
                                         struct error *error)
{
    const struct migrations_of *of = set->owners;
    while (!span_is(owner, of->owner)) /* its rows were asked for */
        of++;
    bool inside = of->folder == NULL && of->engine;
    if (inside || of->folder != NULL) {
        error_set(error, ENOEXEC,
                  "the database has the migration %s/%.*s, which has no file %s%s: it belongs to a newer %s", of->owner,
                  (int)name.length, name.at, inside ? "in this program" : "in ", inside ? "" : of->folder,
                  inside ? "program" : "plugin");
        error_hint(error, "run the newer one; migrations are never undone");
    } else {
        error_set(error, ENOEXEC,
                  "the database has the migration %s/%.*s, but the plugin '%s' has no folder of them: "
                  "there is neither %s",
                  of->owner, (int)name.length, name.at, of->owner, of->looked);
        error_hint(error, "put its folder there, or say in plugins.%s.migrations where it is", of->owner);
    }
    return STORE_DEPLOY;
}

/* STORE_OK with *ret the first file that is not applied, or -1; STORE_DEPLOY when database and files contradict each
 * other. */
static enum store_result migrate_judge(const struct rows *rows, const struct migrations *set, int64_t *ret,
                                       struct error *error)
{
    *ret = -1;
    for (size_t i = 0; i < rows_count(rows); i++) {
        int64_t place = rows_null(rows, i, 0) ? -1 : rows_int64(rows, i, 0) - 1;
        struct span owner = rows_span(rows, i, 4), name = rows_span(rows, i, 2);
        bool applied = !rows_null(rows, i, 1);
        if (place < 0)
            return migrate_unknown(set, owner, name, error);
        const struct migration_file *file = &set->files[place];
        if (applied && rows_int64(rows, i, 3) == 0) {
            error_set(error, ENOEXEC, "the migration %s/%s has changed since it was applied", file->of->owner,
                      file->name);
            error_hint(error, "restore the file, and put the change into a new one");
            return STORE_DEPLOY;
        }
        bool gap = applied && *ret >= 0 && strcmp(set->files[*ret].of->owner, file->of->owner) == 0;
        if (gap) {
            error_set(error, ENOEXEC, "the migration %s/%s is applied, but %s before it is not", file->of->owner,
                      file->name, set->files[*ret].name);
            return STORE_DEPLOY;
        }
        if (!applied && *ret < 0)
            *ret = place;
    }
    return STORE_OK;
}

static enum store_result migrate_compare(struct connection *connection, const struct migrations *set, bool transaction,
                                         int64_t *ret, struct error *error)
{
    struct span owner_spans[256];
    size_t owner_count = 0;
    while (owner_count < sizeof owner_spans / sizeof owner_spans[0] && owner_count < set->owner_count) {
        owner_spans[owner_count] = span_of(set->owners[owner_count].owner);
        owner_count++;
    }
    const struct migration_file *files = set->files;
    const struct store_param params[] = {
        STORE_ARRAY(PARAM_TEXT, owner_spans, owner_count),
        STORE_COLUMN(PARAM_TEXT, &files[0].owner_span, set->count, sizeof *files),
        STORE_COLUMN(PARAM_INT8, &files[0].number, set->count, sizeof *files),
        STORE_COLUMN(PARAM_BYTEA, &files[0].bytes, set->count, sizeof *files),
    };
    struct rows *rows;
    enum store_result result = transaction ? connection_exec(connection, &statement_compare, 4, params, &rows, error)
                                           : connection_once(connection, &statement_compare, 4, params,
                                                             connection->store->statement_timeout_ms, &rows, error);
    return result == STORE_OK ? migrate_judge(rows, set, ret, error) : result;
}

/* A file is one transaction together with its row: none of its statements may end it. */
static enum store_result migrate_words(const struct migration_file *file, int *ret_line, struct error *error)
{
    struct script_part part;
    for (size_t offset = 0; script_next(file->text, &offset, &part);) {
        if (!script_is_transaction(part.text))
            continue;
        *ret_line = part.line;
        error_set(error, EPERM,
                  "it may not have the statement \"%.*s\": a file is one transaction, which ends behind it",
                  part.text.length > 80 ? 80 : (int)part.text.length, part.text.at);
        return STORE_DEPLOY;
    }
    return STORE_OK;
}

/* The file, in the transaction that is open. */
static enum store_result migrate_run(struct connection *connection, const struct migration_file *file, int *ret_line,
                                     struct guard *guard, struct error *error)
{
    enum store_result result = migrate_words(file, ret_line, error);
    if (result == STORE_OK)
        result = guard_begin(connection, !file->of->engine, guard, error);
    if (result == STORE_OK) {
        result = connection_script(connection, file->text, MIGRATE_MS, error);
        *ret_line = connection->script_line;
        guard->ended = connection->tampered || connection->script_committed;
    }
    return result == STORE_OK ? guard_end(connection, guard, error) : result;
}

/* Says which file, where, and what there is of it. */
static void migrate_failed(const struct migration_file *file, int line, bool ended, enum store_result result,
                           struct error *error)
{
    if (ended)
        error_prefix(error, "it ended its transaction, what of it stays is unknown");
    if (line > 0)
        error_prefix(error, "migration %s/%s, line %d", file->of->owner, file->name, line);
    else
        error_prefix(error, "migration %s/%s", file->of->owner, file->name);
    if (ended)
        error_hint(error,
                   "look what there is of it in the database, mend that and the file, and run sluice migrate again");
    else if (result == STORE_DEPLOY)
        error_hint(error, "nothing of this file was applied: mend it, or the database, and run sluice migrate again");
}

/* The file and its row, in the transaction that is open. */
static enum store_result migrate_file(struct connection *connection, const struct migration_file *file,
                                      struct error *error)
{
    const struct store_param params[] = {
        STORE_VALUE(PARAM_TEXT, &file->owner_span),
        STORE_VALUE(PARAM_INT8, &file->number),
        STORE_VALUE(PARAM_TEXT, &file->name_span),
        STORE_VALUE(PARAM_BYTEA, &file->bytes),
    };
    int line = 0;
    struct guard guard = {0};
    enum store_result result = migrate_run(connection, file, &line, &guard, error);
    if (result == STORE_OK)
        result = connection_queue(connection, &statement_record, 4, params, error);
    if (result == STORE_OK)
        result = connection_commit(connection, error);
    if (result == STORE_DATA || (result == STORE_DOWN && connection->refused))
        result = STORE_DEPLOY; /* whatever the server has against the file */
    if (result != STORE_OK) {
        migrate_failed(file, line, guard.ended, result, error);
        guard_undo(connection, &guard, error);
    }
    guard_free(&guard);
    return result;
}

/* One transaction: lock, compare, apply one. *ret -1: nothing was missing. */
static enum store_result migrate_step(struct connection *connection, const struct migrations *set, int64_t *ret,
                                      struct error *error)
{
    struct rows *rows;
    enum store_result result = connection_begin(connection, clock_monotonic_ms() + MIGRATE_MS, error);
    if (result == STORE_OK)
        result = connection_script(connection, migrate_prologue, MIGRATE_MS, error);
    if (result == STORE_OK)
        result = connection_exec(connection, &statement_exists, 0, NULL, &rows, error);
    if (result == STORE_OK && rows_int64(rows, 0, 0) == 0)
        result = connection_script(connection, migrate_table, MIGRATE_MS, error);
    if (result == STORE_OK)
        result = migrate_compare(connection, set, true, ret, error);
    if (result == STORE_OK && *ret >= 0)
        result = migrate_file(connection, &set->files[*ret], error);
    connection_rollback(connection);
    return result;
}

/* One transaction: lock, and the outbox table unless it is there. */
static enum store_result migrate_outbox_table(struct connection *connection, const char *table, bool *ret_made,
                                              struct error *error)
{
    bool made = false;
    enum store_result result = connection_begin(connection, clock_monotonic_ms() + MIGRATE_MS, error);
    if (result == STORE_OK)
        result = connection_script(connection, migrate_prologue, MIGRATE_MS, error);
    if (result == STORE_OK)
        result = outbox_table_make(connection, table, &made, error);
    if (result == STORE_OK && made)
        result = connection_commit(connection, error);
    connection_rollback(connection);
    if (result == STORE_OK)
        *ret_made = made;
    else
        error_prefix(error, "outbox_table %s", table);
    return result;
}

struct connection *migrate_connect(struct store *store, struct error *error)
{
    struct connection *connection = connection_create(store, "migrate");
    if (connection == NULL)
        error_set(error, ENOMEM, "out of memory while looking at the migrations");
    return connection;
}

enum store_result migrate_apply(struct store *store, const struct migrations *set,
                                void (*each)(const struct migration_step *step, void *context), void *context,
                                struct error *error)
{
    struct connection *connection = migrate_connect(store, error);
    enum store_result result = connection == NULL ? STORE_DOWN : STORE_OK;
    for (int64_t place = 0; result == STORE_OK && place >= 0;) {
        result = migrate_step(connection, set, &place, error);
        if (result == STORE_OK && place >= 0 && each != NULL) {
            const struct migration_file *file = &set->files[place];
            each(&(struct migration_step){file->of->owner, (int)file->number, file->name}, context);
        }
    }
    bool made = false;
    if (result == STORE_OK && set->outbox_table != NULL)
        result = migrate_outbox_table(connection, set->outbox_table, &made, error);
    if (made && each != NULL)
        each(&(struct migration_step){"engine", 0, set->outbox_table}, context);
    if (result == STORE_OK && set->outbox_table != NULL)
        result = outbox_table_check(connection, set->outbox_table, error);
    connection_destroy(connection);
    return result;
}

enum store_result migrate_check_by(struct connection *connection, const struct migrations *set, struct error *error)
{
    int64_t missing = 0, statement_ms = connection->store->statement_timeout_ms;
    struct rows *rows = NULL;
    enum store_result result = connection_once(connection, &statement_exists, 0, NULL, statement_ms, &rows, error);
    bool exists = result == STORE_OK && rows_int64(rows, 0, 0) != 0;
    if (exists)
        result = migrate_compare(connection, set, false, &missing, error);
    if (result == STORE_OK && set->count > 0 && missing >= 0) {
        error_set(error, ENOEXEC, "the database lacks the migration %s/%s", set->files[missing].of->owner,
                  set->files[missing].name);
        error_hint(error, "`sluice migrate CONFIG` makes what is missing");
        result = STORE_DEPLOY;
    }
    if (result == STORE_OK && set->outbox_table != NULL)
        result = outbox_table_check(connection, set->outbox_table, error);
    return result;
}

enum store_result migrate_check(struct store *store, const struct migrations *set, struct error *error)
{
    struct connection *connection = migrate_connect(store, error);
    enum store_result result = connection == NULL ? STORE_DOWN : migrate_check_by(connection, set, error);
    connection_destroy(connection);
    return result;
}
