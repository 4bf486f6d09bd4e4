/*
 * migrate.c - forward-only numbered SQL files.
 *
 * The checksum is sha256 of the file's bytes, computed by the server: `sha256sum` shows the same. Every step takes the
 * advisory lock, reads what is applied by now, and applies one file: two migrators that run at the same time share the
 * work between them. Nothing is ever undone; a file that fails leaves nothing behind.
 */
#include "store/migrate.h"

#include "base/clock.h"
#include "store/connection/connection.h"
#include "store/ledger_outbox_table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIGRATION_MAX = 1000, MIGRATION_FILE_MAX = 16 * 1024 * 1024, MIGRATE_MS = 60 * 60 * 1000 };

struct migration_file {
    const char *owner;
    int64_t number;
    char *name;
    char *text;
    struct span bytes, owner_span, name_span;
};

struct migrations {
    const struct migrations_of *owners;
    size_t owner_count;
    struct migration_file *files;
    size_t count;
    const char *outbox_table; /* NULL: none */
};

uint64_t migrations_digest(const struct migrations *set)
{
    uint64_t digest = 0;
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        const struct migration_file *file = &set->files[i];
        const uint64_t parts[] = {digest, span_hash(file->owner_span), span_hash(file->name_span),
                                  span_hash(file->bytes)};
        digest = span_hash((struct span){(const char *)parts, sizeof parts});
    }
    return digest;
}

void migrations_outbox_table(struct migrations *set, const char *table)
{
    set->outbox_table = table;
}

void migrations_free(struct migrations *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; i < set->count; i++) {
        free(set->files[i].name);
        free(set->files[i].text);
    }
    free(set->files);
    free(set);
}

/* ------------------------------------------------------------------------------------------------------------ files */

/* "0001_words.sql" → 1; 0 for any other file. */
static int migration_number(const char *name)
{
    size_t length = strlen(name);
    if (length < 10 || strcmp(name + length - 4, ".sql") != 0 || name[4] != '_')
        return 0;
    int number = 0;
    for (int i = 0; i < 4; i++) {
        if (name[i] < '0' || name[i] > '9')
            return 0;
        number = number * 10 + (name[i] - '0');
    }
    return number;
}

static int migration_read(const char *path, char **ret, size_t *ret_length, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0 || status.st_size > MIGRATION_FILE_MAX) {
        int code = fd < 0 ? errno : EFBIG;
        if (fd >= 0)
            close(fd);
        return error_set(error, code, "cannot read the migration %s: %s", path, strerror(code));
    }
    size_t size = (size_t)status.st_size, length = 0;
    char *text = malloc(size + 1);
    ssize_t got = text == NULL ? -1 : 1;
    while (got > 0 && length < size) {
        got = read(fd, text + length, size - length);
        length += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    if (got < 0 || memchr(text, '\0', length) != NULL) {
        free(text);
        return error_set(error, EIO, "cannot read the migration %s: it cannot be read to its end, or holds a NUL byte",
                         path);
    }
    text[length] = '\0';
    *ret = text;
    *ret_length = length;
    return 0;
}

static int migration_add(struct migrations *set, const struct migrations_of *of, const char *name, struct error *error)
{
    char path[4096], *text = NULL;
    size_t length = 0;
    if (set->count == MIGRATION_MAX)
        return error_set(error, E2BIG, "there are more than %d migrations; the last is in %s", (int)MIGRATION_MAX,
                         of->folder);
    if ((size_t)snprintf(path, sizeof path, "%s/%s", of->folder, name) >= sizeof path)
        return error_set(error, ENAMETOOLONG, "the path of the migration %s is too long", name);
    int code = migration_read(path, &text, &length, error);
    if (code != 0)
        return code;
    struct migration_file *file = &set->files[set->count++];
    *file = (struct migration_file){
        .owner = of->owner, .number = migration_number(name), .name = strdup(name), .text = text};
    if (file->name == NULL)
        return error_set(error, ENOMEM, "out of memory while reading the migrations in %s", of->folder);
    file->bytes = (struct span){text, length};
    file->owner_span = span_of(of->owner);
    file->name_span = span_of(file->name);
    return 0;
}

static int migration_filter(const struct dirent *entry)
{
    return migration_number(entry->d_name) > 0;
}

/* An owner's files, 1, 2, 3 … without a gap or a number twice. No folder: none. */
static int migration_scan(struct migrations *set, const struct migrations_of *of, struct error *error)
{
    struct dirent **entries;
    int count = of->folder == NULL ? 0 : scandir(of->folder, &entries, migration_filter, alphasort);
    if (count < 0)
        return errno == ENOENT
                   ? 0
                   : error_set(error, errno, "cannot read the migrations in %s: %s", of->folder, strerror(errno));
    if (of->folder == NULL)
        return 0;
    int code = 0;
    for (int i = 0; i < count; i++) {
        int number = migration_number(entries[i]->d_name);
        if (code == 0 && number != i + 1) {
            code = error_set(error, EINVAL,
                             "%s/%s: expected the migration %04d here: they count from 0001 without a gap", of->folder,
                             entries[i]->d_name, i + 1);
        }
        if (code == 0)
            code = migration_add(set, of, entries[i]->d_name, error);
        free(entries[i]);
    }
    free(entries);
    return code;
}

int migrations_read(const struct migrations_of *owners, size_t count, struct migrations **ret, struct error *error)
{
    struct migrations *set = calloc(1, sizeof *set);
    if (set == NULL || (set->files = calloc(MIGRATION_MAX, sizeof *set->files)) == NULL) {
        free(set);
        return error_set(error, ENOMEM, "out of memory");
    }
    set->owners = owners;
    set->owner_count = count;
    int code = 0;
    for (size_t i = 0; code == 0 && i < count; i++)
        code = migration_scan(set, &owners[i], error);
    if (code == 0)
        *ret = set;
    else
        migrations_free(set);
    return code;
}

/* --------------------------------------------------------------------------------------------------------- database */

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
        if (place < 0) {
            error_set(error, ENOEXEC,
                      "the database has the migration %.*s/%.*s, which has no file here: it belongs to a newer program",
                      (int)owner.length, owner.at, (int)name.length, name.at);
            error_hint(error, "run the newer program; migrations are never undone");
            return STORE_DEPLOY;
        }
        const struct migration_file *file = &set->files[place];
        if (applied && rows_int64(rows, i, 3) == 0) {
            error_set(error, ENOEXEC, "the migration %s/%s has changed since it was applied", file->owner, file->name);
            error_hint(error, "restore the file, and put the change into a new one");
            return STORE_DEPLOY;
        }
        bool gap = applied && *ret >= 0 && strcmp(set->files[*ret].owner, file->owner) == 0;
        if (gap) {
            error_set(error, ENOEXEC, "the migration %s/%s is applied, but %s before it is not", file->owner,
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
    enum store_result result = connection_script(connection, file->text, MIGRATE_MS, error);
    if (result == STORE_OK)
        result = connection_queue(connection, &statement_record, 4, params, error);
    if (result == STORE_OK)
        result = connection_commit(connection, error);
    if (result == STORE_OK)
        return STORE_OK;
    error_prefix(error, "migration %s/%s", file->owner, file->name);
    if (result == STORE_DATA || result == STORE_DEPLOY)
        error_hint(error, "nothing of this file was applied: mend it, or the database, and run sluice migrate again");
    return result == STORE_DATA ? STORE_DEPLOY : result;
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

static struct connection *migrate_connect(struct store *store, struct error *error)
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
            each(&(struct migration_step){file->owner, (int)file->number, file->name}, context);
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

enum store_result migrate_check(struct store *store, const struct migrations *set, struct error *error)
{
    struct connection *connection = migrate_connect(store, error);
    enum store_result result = connection == NULL ? STORE_DOWN : STORE_OK;
    int64_t missing = 0;
    struct rows *rows = NULL;
    if (result == STORE_OK)
        result = connection_once(connection, &statement_exists, 0, NULL, store->statement_timeout_ms, &rows, error);
    bool exists = result == STORE_OK && rows_int64(rows, 0, 0) != 0;
    if (exists)
        result = migrate_compare(connection, set, false, &missing, error);
    if (result == STORE_OK && set->count > 0 && missing >= 0) {
        error_set(error, ENOEXEC, "the database lacks the migration %s/%s", set->files[missing].owner,
                  set->files[missing].name);
        error_hint(error, "`sluice migrate CONFIG` makes what is missing");
        result = STORE_DEPLOY;
    }
    if (result == STORE_OK && set->outbox_table != NULL)
        result = outbox_table_check(connection, set->outbox_table, error);
    connection_destroy(connection);
    return result;
}

/* --------------------------------------------------------------------------------------------- what the files made */

/* By their comments, since everything in schema sluice has one. Of a table that is not there its columns are not named.
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
