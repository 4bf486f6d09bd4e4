/*
 * database.c - see database.h.
 */
#include "flowtest/database.h"

#include "flowtest/clock_users.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SCRIPT_MS = 60000, NAME_MAX_BYTES = 64, SQL_MAX = 1024, TEMPLATES_MAX = 8 };

/* A statement is planned once: five plans for the values of each cost more than they save on a few rows. */
static const char session_options[] = "-c search_path=public,pg_catalog -c synchronous_commit=off"
                                      " -c plan_cache_mode=force_generic_plan";

static const char clock_sql[] =
    "create schema sluice_clock;"
    "create table sluice_clock.now (at timestamptz not null);"
    "create function public.now() returns timestamptz stable language sql as 'select at from sluice_clock.now';"
    "create function public.transaction_timestamp() returns timestamptz stable language sql"
    "  as 'select at from sluice_clock.now';"
    "create function public.statement_timestamp() returns timestamptz stable language sql"
    "  as 'select at from sluice_clock.now';"
    "create function public.clock_timestamp() returns timestamptz volatile language sql"
    "  as 'select at from sluice_clock.now';"
    "insert into sluice_clock.now values ('epoch');";

struct original {
    char name[NAME_MAX_BYTES];
    uint64_t digest; /* of its migrations */
};

struct databases {
    char *url, *url_now; /* of the server; of the present test's */
    struct store *server;
    struct connection *connection;
    const char *strategy; /* of a copy, as SQL; NULL: not asked yet */
    struct original templates[TEMPLATES_MAX];
    size_t template_count, template; /* the one that is copied */
    unsigned made;                   /* of both, for their names */
    /* Copies: the present test's; the next one's, of templates[next_of]; the last one's. "": there is none */
    char now[NAME_MAX_BYTES], next[NAME_MAX_BYTES], last[NAME_MAX_BYTES];
    size_t next_of;
};

static int failed(enum store_result result, struct error *error)
{
    if (result == STORE_OK)
        return 0;
    return error->code != 0 ? -error->code
                            : error_set(error, EIO, "the database refused: %s", store_result_word(result));
}

static int store_of(const char *url, struct store **ret, struct error *error)
{
    const struct store_options options = {
        .url = url, .application = "sluice test", .statement_timeout_ms = SCRIPT_MS, .allow_unsafe = true};
    return store_open(&options, ret, error);
}

int databases_open(const char *url, struct databases **ret, struct error *error)
{
    struct databases *databases = calloc(1, sizeof *databases);
    if (databases == NULL)
        return error_set(error, ENOMEM, "out of memory");
    int code = store_of(url, &databases->server, error);
    if (code == 0) {
        databases->url = strdup(url);
        databases->connection = connection_create(databases->server, NULL);
        if (databases->url == NULL || databases->connection == NULL)
            code = error_set(error, ENOMEM, "out of memory");
    }
    if (code != 0) {
        databases_close(databases);
        return code;
    }
    *ret = databases;
    return 0;
}

static int server_run(struct databases *databases, struct error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int server_run(struct databases *databases, struct error *error, const char *format, ...)
{
    char sql[SQL_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sql, sizeof sql, format, arguments);
    va_end(arguments);
    return failed(connection_script(databases->connection, sql, SCRIPT_MS, error), error);
}

static void drop(struct databases *databases, char *name)
{
    struct error ignored = {0};
    if (name[0] != '\0')
        (void)server_run(databases, &ignored, "drop database if exists %s with (force)", name);
    name[0] = '\0';
}

static void forget_url(struct databases *databases)
{
    if (databases->url_now != NULL)
        explicit_bzero(databases->url_now, strlen(databases->url_now));
    free(databases->url_now);
    databases->url_now = NULL;
}

void databases_close(struct databases *databases)
{
    if (databases == NULL)
        return;
    if (databases->connection != NULL) {
        drop(databases, databases->now);
        drop(databases, databases->next);
        drop(databases, databases->last);
        for (size_t i = 0; i < databases->template_count; i++)
            drop(databases, databases->templates[i].name);
    }
    connection_destroy(databases->connection);
    store_close(databases->server);
    forget_url(databases);
    if (databases->url != NULL)
        explicit_bzero(databases->url, strlen(databases->url));
    free(databases->url);
    free(databases);
}

static int migrate(const char *url, const struct migrations *migrations, int64_t wall_ms, FILE *warnings,
                   struct error *error)
{
    struct store *store = NULL;
    int code = store_of(url, &store, error);
    struct connection *connection = code == 0 ? connection_create(store, "template") : NULL;
    if (code == 0 && connection == NULL)
        code = error_set(error, ENOMEM, "out of memory");
    if (code == 0)
        code = failed(connection_script(connection, clock_sql, SCRIPT_MS, error), error);
    if (code == 0)
        code = database_set_clock(connection, wall_ms, error);
    if (code == 0 && migrations != NULL)
        code = failed(migrate_apply(store, migrations, NULL, NULL, error), error);
    if (code == 0)
        code = failed(clock_users_made(connection, migrations, warnings, error), error);
    connection_destroy(connection); /* a template that somebody uses cannot be copied */
    store_close(store);
    return code;
}

/* How a copy is made; a server of version 14 knows one way. Where nothing waits for the disk, files are copied faster
 * than pages are logged, and what a first connection looks up is in them. */
static int find_strategy(struct databases *databases, struct error *error)
{
    static const struct statement ask = {
        "select current_setting('server_version_num')::int4 >= 150000 and current_setting('fsync') = 'off'", false};
    struct rows *rows;
    int code = failed(connection_once(databases->connection, &ask, 0, NULL, SCRIPT_MS, &rows, error), error);
    if (code == 0)
        databases->strategy = rows_int64(rows, 0, 0) != 0 ? " strategy file_copy" : "";
    return code;
}

static bool find_template(struct databases *databases, uint64_t digest)
{
    for (size_t i = 0; i < databases->template_count; i++) {
        databases->template = i;
        if (databases->templates[i].digest == digest)
            return true;
    }
    return false;
}

/* Room for one more; the oldest one goes. */
static void forget_template(struct databases *databases)
{
    if (databases->template_count < TEMPLATES_MAX)
        return;
    drop(databases, databases->next);
    drop(databases, databases->templates[0].name);
    databases->template_count--;
    memmove(databases->templates, databases->templates + 1, databases->template_count * sizeof *databases->templates);
}

int databases_template(struct databases *databases, const struct migrations *migrations, int64_t wall_ms,
                       FILE *warnings, struct error *error)
{
    uint64_t digest = migrations_digest(migrations);
    if (find_template(databases, digest))
        return 0;
    int code = databases->strategy == NULL ? find_strategy(databases, error) : 0;
    if (code != 0)
        return code;
    forget_template(databases);
    struct original *original = &databases->templates[databases->template_count];
    *original = (struct original){.digest = digest};
    snprintf(original->name, sizeof original->name, "sluice_test_%d_%u", (int)getpid(), databases->made++);
    code = server_run(databases, error, "create database %s template template0 encoding 'UTF8'%s", original->name,
                      databases->strategy);
    if (code != 0)
        return code;
    char *url = store_url_of(databases->url, original->name, session_options);
    code = url == NULL ? error_set(error, EINVAL, "the database url cannot be understood")
                       : migrate(url, migrations, wall_ms, warnings, error);
    free(url);
    if (code != 0)
        drop(databases, original->name);
    else
        databases->template = databases->template_count++;
    return code;
}

static int copy(struct databases *databases, char name[NAME_MAX_BYTES], struct error *error)
{
    snprintf(name, NAME_MAX_BYTES, "sluice_test_%d_%u", (int)getpid(), databases->made++);
    int code = server_run(databases, error, "create database %s template %s%s", name,
                          databases->templates[databases->template].name, databases->strategy);
    if (code != 0)
        name[0] = '\0';
    return code;
}

int databases_fresh(struct databases *databases, const char **ret_url, struct error *error)
{
    drop(databases, databases->last);
    memcpy(databases->last, databases->now, sizeof databases->last);
    databases->now[0] = '\0';
    forget_url(databases);
    if (databases->next[0] != '\0' && databases->next_of != databases->template)
        drop(databases, databases->next);
    int code = databases->next[0] == '\0' ? copy(databases, databases->next, error) : 0;
    if (code != 0)
        return code;
    memcpy(databases->now, databases->next, sizeof databases->now);
    databases->next[0] = '\0';
    databases->url_now = store_url_of(databases->url, databases->now, session_options);
    if (databases->url_now == NULL)
        return error_set(error, ENOMEM, "out of memory");
    *ret_url = databases->url_now;
    return 0;
}

void databases_ahead(struct databases *databases, bool more)
{
    struct error ignored = {0};
    drop(databases, databases->last);
    databases->next_of = databases->template;
    if (more)
        (void)copy(databases, databases->next, &ignored); /* else the next test says why */
}

/* ---------------------------------------------------------------------------------------------------- inside a test */

static const struct statement statement_clock = {"update sluice_clock.now set at = $1", false};

int database_set_clock(struct connection *connection, int64_t wall_ms, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_TIMESTAMP, &wall_ms)};
    struct rows *rows;
    return failed(connection_once(connection, &statement_clock, 1, params, SCRIPT_MS, &rows, error), error);
}

int database_rows(struct connection *connection, const char *query, struct span *ret, struct error *error)
{
    struct rows *rows;
    char *text;
    /* The names of columns may be the same: json, unlike jsonb, keeps both. */
    if (asprintf(
            &text,
            "select coalesce(json_agg((select coalesce(json_agg(c.value), '[]') from json_each(row_to_json(q)) c)),"
            " '[]')::text from (%s) q",
            query) < 0)
        return error_set(error, ENOMEM, "out of memory");
    const struct statement statement = {text, true};
    int code = failed(connection_once(connection, &statement, 0, NULL, SCRIPT_MS, &rows, error), error);
    if (code == 0)
        *ret = rows_span(rows, 0, 0);
    return code; /* the text is the statement's identity: it stays, as the test's process soon ends */
}
