/*
 * store.c - the description of a database.
 *
 * The session's settings travel as connection options, so a new connection needs no statement of its own and a pooler
 * that resets sessions does not lose them. Nothing here ever prints the url: it may hold a password.
 */
#include "store/connection/connection.h"

#include <errno.h>
#include <stdlib.h>

enum { STORE_IDLE_MARGIN_MS = 3000 /* for what the engine does itself between two statements */ };

/* Whether a part of a password may stand where libpq sees a host or a port, which it would name in its errors: an '@'
 * or '/' in it that is not percent-encoded, or no host behind it. */
static bool may_show_password(const char *url, const PQconninfoOption *options)
{
    bool uri = strncmp(url, "postgresql://", 13) == 0 || strncmp(url, "postgres://", 11) == 0;
    const char *rest = uri ? strstr(url, "//") + 2 : "", *at = strchr(rest, '@'), *path = rest + strcspn(rest, "/");
    bool password = at != NULL && at < path; /* as libpq sees it: up to the first '@', when no '/' is before it */
    const char *behind = password ? at + 1 : path;
    if (memchr(behind, '@', strcspn(behind, "?")) != NULL)
        return true;
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++)
        if (strcmp(option->keyword, "port") == 0 && option->val != NULL &&
            option->val[strspn(option->val, "0123456789, ")] != '\0')
            return true;
    return false;
}

/* The options that the url itself names; the engine's come after them and override them. NULL: the url cannot be
 * understood. */
static char *store_url_options(const char *url)
{
    char *message = NULL; /* may quote the url: never shown */
    PQconninfoOption *options = PQconninfoParse(url, &message);
    PQfreemem(message);
    if (options == NULL || may_show_password(url, options)) {
        PQconninfoFree(options);
        return NULL;
    }
    const char *found = "";
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
        if (strcmp(option->keyword, "options") == 0 && option->val != NULL)
            found = option->val;
    }
    char *copy = strdup(found);
    PQconninfoFree(options);
    return copy;
}

/*
 * lock_timeout is half of statement_timeout, so that waiting for a lock is told apart from working too long. An idle
 * transaction ends when no handler's call can be behind it any more: a frozen process must not hold its claims against
 * its successor. A statement whose client has disconnected is cancelled within a second. Just-in-time compilation never
 * pays for statements as short as the engine's.
 */
static char *store_session(const char *url_options, int64_t statement_timeout_ms, int64_t idle_ms)
{
    char *session;
    int64_t idle_limit_ms = idle_ms > 0 ? idle_ms + STORE_IDLE_MARGIN_MS : 0;
    if (idle_limit_ms < statement_timeout_ms)
        idle_limit_ms = statement_timeout_ms;
    int length = asprintf(
        &session,
        "%s -c statement_timeout=%lld -c lock_timeout=%lld -c idle_in_transaction_session_timeout=%lld"
        " -c client_connection_check_interval=1000 -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5"
        " -c tcp_keepalives_count=3 -c jit=off",
        url_options, (long long)statement_timeout_ms, (long long)(statement_timeout_ms + 1) / 2,
        (long long)idle_limit_ms);
    return length < 0 ? NULL : session;
}

int store_open(const struct store_options *options, struct store **ret, struct error *error)
{
    char *url_options = store_url_options(options->url);
    if (url_options == NULL) {
        error_set(error, EINVAL, "the database url cannot be understood (it is not shown: it may hold a password)");
        return error_hint(error,
                          "it looks like postgresql://user:password@host:5432/database, with %%40 for @ and %%2F for "
                          "/ in a password, or like host=… dbname=…");
    }
    struct store *store = calloc(1, sizeof *store);
    if (store != NULL) {
        store->connect_timeout_ms = options->connect_timeout_ms > 0 ? options->connect_timeout_ms : 5000;
        store->statement_timeout_ms = options->statement_timeout_ms > 0 ? options->statement_timeout_ms : 10000;
        store->allow_unsafe = options->allow_unsafe;
        store->announce = options->announce;
        store->url = strdup(options->url);
        store->application = strdup(options->application == NULL ? "sluice" : options->application);
        store->session = store_session(url_options, store->statement_timeout_ms, options->idle_ms);
    }
    free(url_options);
    if (store == NULL || store->url == NULL || store->application == NULL || store->session == NULL) {
        store_close(store);
        return error_set(error, ENOMEM, "out of memory while opening the store");
    }
    if (options->metrics != NULL) {
        store->round_trips = metrics_series(options->metrics, METRIC_ROUND_TRIPS, NULL, NULL);
        store->up = metrics_series(options->metrics, METRIC_STORE_UP, NULL, NULL);
    }
    *ret = store;
    return 0;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    store->shares_session = false;
    connection_destroy(store->spare);
    if (store->url != NULL)
        explicit_bzero(store->url, strlen(store->url));
    free(store->url);
    free(store->application);
    free(store->session);
    free(store);
}
