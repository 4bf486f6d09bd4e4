/*
 * store_drive.c - a connection of the store by hand, for tests that kill or freeze the server, or falsify its answers.
 *
 * Reads a command a line from stdin, fields separated by tabs, and answers with one line of JSON: {"result": "ok",
 * "sqlstate": "", "ms": 3, "tampered": false, "error": "…", "rows": [["1"]]}. One connection, on DATABASE_URL.
 *
 *   begin MS                 a transaction with a deadline MS ahead
 *   exec SQL | queue SQL     the engine's; `plugin SQL` executes and `plugin_queue SQL` queues a plugin's
 *   separate                 the next plugin's statement is another handler's
 *   commit | rollback
 *   once SQL | script SQL    outside a transaction
 *   claim HANDLER ID:HASH …  ledger_claim of small numbers; rows: hit, conflict, outcome
 *   listen MS                connection_wait_notify(); rows: the number
 *   check                    store_check()
 *   migrate DIR OWNER … | migrated DIR OWNER …      migrate_apply() (rows: the steps) and migrate_check()
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/map.h"
#include "store/ledger.h"
#include "store/migrate.h"

enum { FIELDS_MAX = 256 };

struct drive {
    struct store *store;
    struct connection *connection;
    struct arena *arena; /* the texts and their statements */
    struct map *texts;   /* SQL → statement: the same text is the same statement */
    struct buffer rows;
};

static const struct statement *drive_statement(struct drive *drive, const char *sql, bool plugin)
{
    char key[8192];
    snprintf(key, sizeof key, "%d%s", plugin, sql);
    struct statement *known = map_get(drive->texts, span_of(key));
    if (known == NULL) {
        char *kept = arena_string(drive->arena, span_of(key));
        known = arena_new(drive->arena, struct statement);
        *known = (struct statement){kept + 1, plugin};
        map_set(drive->texts, span_of(kept), known);
    }
    return known;
}

/* Cells as text: whatever the type, the interesting ones are integers and texts. */
static void drive_rows(struct drive *drive, const struct rows *rows)
{
    buffer_text(&drive->rows, "[");
    for (size_t row = 0; rows != NULL && row < rows_count(rows); row++) {
        buffer_text(&drive->rows, row == 0 ? "[" : ", [");
        for (size_t column = 0; column < rows_columns(rows); column++) {
            enum param_type type = rows_type(rows, column);
            buffer_text(&drive->rows, column == 0 ? "" : ", ");
            if (rows_null(rows, row, column))
                buffer_text(&drive->rows, "null");
            else if (type == PARAM_TEXT || type == PARAM_JSONB)
                buffer_json_string(&drive->rows, rows_span(rows, row, column));
            else
                buffer_int64(&drive->rows, rows_int64(rows, row, column));
        }
        buffer_text(&drive->rows, "]");
    }
    buffer_text(&drive->rows, "]");
}

static enum store_result drive_claim(struct drive *drive, char **fields, size_t count, struct error *error)
{
    struct claim claims[FIELDS_MAX] = {{0}};
    size_t claim_count = count - 2;
    for (size_t i = 0; i < claim_count; i++) {
        unsigned id = 0;
        long long hash = 0;
        sscanf(fields[i + 2], "%u:%lld", &id, &hash);
        claims[i].handler = (int16_t)atoi(fields[1]);
        claims[i].hash = hash;
        for (int byte = 0; byte < 4; byte++)
            claims[i].id.bytes[12 + byte] = (uint8_t)(id >> (24 - 8 * byte));
    }
    enum store_result result = ledger_claim(drive->connection, 0, claims, claim_count, error);
    buffer_text(&drive->rows, "[");
    for (size_t i = 0; i < claim_count; i++)
        buffer_format(&drive->rows, "%s[%d, %d, %d]", i == 0 ? "" : ", ", claims[i].hit, claims[i].conflict,
                      claims[i].outcome);
    buffer_text(&drive->rows, "]");
    return result;
}

static void drive_step(const struct migration_step *step, void *context)
{
    struct drive *drive = context;
    buffer_format(&drive->rows, "%s[\"%s\", %d, \"%s\"]", drive->rows.length == 0 ? "[" : ", ", step->owner,
                  step->number, step->name);
}

static enum store_result drive_migrate(struct drive *drive, char **fields, size_t count, struct error *error)
{
    struct migrations *migrations = NULL;
    struct migrations_of owners[FIELDS_MAX];
    for (size_t i = 2; i < count; i++) {
        static char folders[FIELDS_MAX][4096];
        snprintf(folders[i], sizeof folders[i], "%s/%s", fields[1], fields[i]);
        owners[i - 2] = (struct migrations_of){
            .owner = fields[i],
            .folder = access(folders[i], F_OK) == 0 ? folders[i] : NULL,
            .looked = folders[i],
            .engine = strcmp(fields[i], "engine") == 0,
        };
    }
    if (migrations_read(owners, count - 2, &migrations, error) != 0)
        return STORE_DEPLOY;
    bool check = strcmp(fields[0], "migrated") == 0;
    enum store_result result = check ? migrate_check(drive->store, migrations, error)
                                     : migrate_apply(drive->store, migrations, drive_step, drive, error);
    migrations_free(migrations);
    if (drive->rows.length > 0)
        buffer_text(&drive->rows, "]");
    return result;
}

static enum store_result drive_sql(struct drive *drive, const char *command, const char *sql, struct error *error)
{
    bool plugin = strncmp(command, "plugin", 6) == 0;
    const struct statement *statement = drive_statement(drive, sql, plugin);
    struct rows *rows = NULL;
    enum store_result result;
    if (strstr(command, "queue") != NULL)
        return connection_queue(drive->connection, statement, 0, NULL, error);
    if (strcmp(command, "once") == 0)
        result = connection_once(drive->connection, statement, 0, NULL, 5000, &rows, error);
    else if (strcmp(command, "script") == 0)
        return connection_script(drive->connection, sql, 5000, error);
    else
        result = connection_exec(drive->connection, statement, 0, NULL, &rows, error);
    if (result == STORE_OK)
        drive_rows(drive, rows);
    return result;
}

static enum store_result drive_run(struct drive *drive, char **fields, size_t count, struct error *error)
{
    const char *command = fields[0], *argument = count > 1 ? fields[1] : "";
    if (strcmp(command, "begin") == 0)
        return connection_begin(drive->connection, clock_monotonic_ms() + atoi(argument), error);
    if (strcmp(command, "commit") == 0)
        return connection_commit(drive->connection, error);
    if (strcmp(command, "rollback") == 0) {
        connection_rollback(drive->connection);
        return STORE_OK;
    }
    if (strcmp(command, "separate") == 0) {
        connection_separate(drive->connection);
        return STORE_OK;
    }
    if (strcmp(command, "claim") == 0)
        return drive_claim(drive, fields, count, error);
    if (strcmp(command, "check") == 0)
        return store_check(drive->store, error);
    if (strncmp(command, "migrate", 7) == 0)
        return drive_migrate(drive, fields, count, error);
    if (strcmp(command, "listen") == 0) {
        buffer_format(&drive->rows, "[[%d]]", connection_wait_notify(drive->connection, atoi(argument)));
        return STORE_OK;
    }
    return drive_sql(drive, command, argument, error);
}

/* The SQLSTATE that a message names; "" when the failure was not the server's. */
static const char *drive_sqlstate(const struct error *error)
{
    static char state[6];
    const char *at = strstr(error->text, "(SQLSTATE ");
    snprintf(state, sizeof state, "%s", at == NULL ? "" : at + strlen("(SQLSTATE "));
    return state;
}

static void drive_line(struct drive *drive, char *line)
{
    char *fields[FIELDS_MAX + 1] = {NULL}, *rest = line;
    size_t count = 0;
    for (char *field = strsep(&rest, "\t"); field != NULL && count < FIELDS_MAX; field = strsep(&rest, "\t"))
        fields[count++] = field;
    struct error error = {0};
    buffer_clear(&drive->rows);
    int64_t began_ms = clock_monotonic_ms();
    enum store_result result = drive_run(drive, fields, count, &error);
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_json_string(&text, span_of(error.text));
    printf(
        "{\"result\": \"%s\", \"sqlstate\": \"%s\", \"ms\": %lld, \"tampered\": %s, \"error\": %.*s, \"rows\": %.*s}\n",
        store_result_word(result), drive_sqlstate(&error), (long long)took_ms,
        connection_tampered(drive->connection) ? "true" : "false", (int)text.length, text.at,
        drive->rows.length == 0 ? 2 : (int)drive->rows.length, drive->rows.length == 0 ? "[]" : drive->rows.at);
    fflush(stdout);
    buffer_free(&text);
}

static int64_t drive_setting(const char *name)
{
    const char *text = getenv(name);
    return text == NULL ? 0 : atoi(text);
}

int main(void)
{
    struct drive drive = {0};
    struct error error = {0};
    struct store_options options = {.url = getenv("DATABASE_URL"),
                                    .application = "sluice/drive",
                                    .connect_timeout_ms = drive_setting("CONNECT_TIMEOUT_MS"),
                                    .statement_timeout_ms = drive_setting("STATEMENT_TIMEOUT_MS"),
                                    .allow_unsafe = drive_setting("ALLOW_UNSAFE") != 0};
    buffer_init(&drive.rows, 16 << 20);
    if (options.url == NULL || failpoints_arm(getenv("SLUICE_FAILPOINTS"), 1, &error) != 0 ||
        store_open(&options, &drive.store, &error) != 0) {
        fprintf(stderr, "store_drive: %s %s\n", error.text, error.hint);
        return 1;
    }
    drive.arena = arena_create(64 * 1024, 64 << 20);
    drive.texts = map_create(64);
    drive.connection = connection_create(drive.store, "by hand");
    char *line = NULL;
    size_t size = 0;
    for (ssize_t length = getline(&line, &size, stdin); length > 0; length = getline(&line, &size, stdin)) {
        line[length - 1] = '\0';
        drive_line(&drive, line);
    }
    free(line);
    connection_destroy(drive.connection);
    store_close(drive.store);
    map_destroy(drive.texts);
    arena_destroy(drive.arena);
    buffer_free(&drive.rows);
    return 0;
}
