/*
 * management.c - see management.h.
 */
#include "http/management.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "http/call.h"
#include "http/exchange.h"
#include "http/reloads.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MANAGEMENT_ARENA_MAX = 256 * 1024 * 1024,
    MANAGEMENT_ANSWER_MAX = 32 * 1024 * 1024,
    MANAGEMENT_STOP_MS = 1000, /* what runs at the end has so long before its connection is interrupted */
};

static const struct management_route {
    const char *method, *path;
    call_function *answer;
    bool reads_the_bus;
} table[] = {
    {"GET", "/chains", chains_list},
    {"GET", "/chains/{chain}/{correlation}", chains_show},
    {"POST", "/chains/{chain}/{correlation}/resume", chains_resume},
    {"POST", "/chains/{chain}/{correlation}/abort", chains_abort},
    {"POST", "/chains/{chain}/{correlation}/close", chains_close},
    {"GET", "/correlations/{correlation}", correlations_show, true},
    {"GET", "/dead-letters", letters_list},
    {"POST", "/dead-letters/replay", letters_replay},
    {"POST", "/dead-letters/drop", letters_drop},
    {"GET", "/dead-letters/{id}", letters_show},
    {"POST", "/dead-letters/{id}/replay", letter_replay},
    {"POST", "/dead-letters/{id}/drop", letter_drop},
    {"POST", "/dead-letters/{id}/edit", letters_edit},
    {"GET", "/delayed", waiting_list},
    {"GET", "/delayed/{id}", waiting_show},
    {"POST", "/delayed/{id}/release", waiting_release},
    {"POST", "/delayed/{id}/cancel", waiting_cancel},
    {"GET", "/pauses", pauses_list},
    {"POST", "/pauses", pauses_make},
    {"DELETE", "/pauses", pauses_end_all},
    {"DELETE", "/pauses/{name}", pauses_end},
    {"POST", "/reload"}, /* reloads.h */
};
enum { ROUTE_COUNT = sizeof table / sizeof table[0] };

/* A thread, and what waits for it. */
struct desk {
    struct management *management;
    struct connection *connection; /* NULL without a store */
    struct arena *arena;           /* of a call */
    pthread_t thread;
    bool started;
    struct management_request *first, *last;
    size_t count;
    bool running;
};

enum { DESK_DATABASE, DESK_BUS, DESK_COUNT };

struct management {
    const struct pipeline *pipeline;
    struct bus *bus;
    struct reloads *reloads;
    struct arena *routes_arena;
    struct request *routes;

    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t wake;  /* the threads'; and management_stop()'s, for what runs */
    struct desk desks[DESK_COUNT];
    int stop; /* set atomically: a scan looks at it without the lock */
};

const struct request *management_routes(const struct management *management, size_t *ret_count)
{
    *ret_count = ROUTE_COUNT;
    return management->routes;
}

bool management_finds(const struct management *management, const struct target *target)
{
    for (size_t i = 0; i < ROUTE_COUNT && target->segment_count > 0; i++)
        if (span_is(target->segments[0], management->routes[i].segments[0]))
            return true;
    return false;
}

static void routes_make(struct management *management)
{
    struct arena *arena = management->routes_arena;
    management->routes = arena_array(arena, struct request, ROUTE_COUNT);
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        struct request *route = &management->routes[i];
        *route = (struct request){.method = table[i].method, .path = table[i].path};
        for (const char *at = route->path + 1, *end; at != NULL; at = *end == '\0' ? NULL : end + 1) {
            end = at + strcspn(at, "/");
            route->segments = arena_grown(arena, route->segments, route->segment_count, sizeof *route->segments);
            route->segments[route->segment_count++] = arena_string(arena, (struct span){at, (size_t)(end - at)});
        }
    }
}

/* ------------------------------------------------------------------------------------------------------- the thread */

static void answer_error(struct management_request *request, int status, const char *word, const struct error *error)
{
    struct buffer body;
    char message[ERROR_TEXT_MAX + ERROR_HINT_MAX + 8];
    snprintf(message, sizeof message, "%s%s%s", error->text, error->hint[0] != '\0' ? "; " : "", error->hint);
    buffer_init(&body, MANAGEMENT_ANSWER_MAX);
    reply_error_body(&body, word, message, (struct span){0});
    request->gateway->done(request->gateway, status, buffer_view(&body));
    buffer_free(&body);
}

static size_t path_params(const struct request *route)
{
    size_t count = 0;
    for (size_t i = 0; i < route->segment_count; i++)
        count += route->segments[i][0] == '{';
    return count;
}

static void answer(struct desk *desk, struct management_request *request)
{
    struct management *management = desk->management;
    struct gateway_request *gateway = request->gateway;
    int64_t deadline_ms = request->arrived_ms + management->pipeline->http.timeout_ms;
    struct error error = {0};
    struct buffer json;
    const char *word = NULL;
    if (atomic_load(&gateway->left) || clock_monotonic_ms() >= deadline_ms) {
        error_set(&error, ETIMEDOUT, "The calls before this one took too long. Nothing was done; try again.");
        answer_error(request, 503, "busy", &error);
        return;
    }
    buffer_init(&json, MANAGEMENT_ANSWER_MAX);
    struct call call = {
        .operation = {.pipeline = management->pipeline,
                      .bus = management->bus,
                      .connection = desk->connection,
                      .arena = desk->arena,
                      .actor = span_of(arena_format(desk->arena, "http %s", request->address)),
                      .deadline_ms = deadline_ms},
        .params = gateway->params,
        .param_count = gateway->param_count,
        .path_count = path_params(&management->routes[gateway->route]),
        .stop = &management->stop,
        .answer = &json,
        .error = &error,
    };
    int code = call_read(&call, gateway->body);
    if (code == 0)
        code = table[gateway->route].answer(&call);
    if (code == 0 && json.failed)
        code = error_set(&error, ENOMEM, "The answer is larger than this listener sends.");
    int status = code == 0 ? 200 : call_status(code, &word);
    if (code != 0)
        answer_error(request, status, word, &error);
    else
        gateway->done(gateway, status, buffer_view(&json));
    buffer_free(&json);
    arena_reset(desk->arena);
}

static struct management_request *take(struct desk *desk) /* with the lock */
{
    struct management_request *request = desk->first;
    desk->first = request->next;
    if (desk->first == NULL)
        desk->last = NULL;
    desk->count--;
    return request;
}

static void *desk_run(void *context)
{
    struct desk *desk = context;
    struct management *management = desk->management;
    pthread_mutex_lock(&management->lock);
    while (!management->stop) {
        if (desk->first == NULL) {
            pthread_cond_wait(&management->wake, &management->lock);
            continue;
        }
        struct management_request *request = take(desk);
        desk->running = true;
        pthread_mutex_unlock(&management->lock);
        answer(desk, request);
        pthread_mutex_lock(&management->lock);
        desk->running = false;
        pthread_cond_broadcast(&management->wake);
    }
    pthread_mutex_unlock(&management->lock);
    return NULL;
}

/* ------------------------------------------------------------------------------------------------------ start, stop */

static int desk_start(struct management *management, struct desk *desk, struct store *store)
{
    desk->management = management;
    desk->arena = arena_create(64 * 1024, MANAGEMENT_ARENA_MAX);
    if (store != NULL)
        desk->connection = connection_create(store, "operator");
    if (desk->arena == NULL || (store != NULL && desk->connection == NULL))
        return ENOMEM;
    int code = pthread_create(&desk->thread, NULL, desk_run, desk);
    desk->started = code == 0;
    return code;
}

/* What runs has a moment to end; with the lock. */
static void wait_for_calls(struct management *management)
{
    int64_t until_ms = clock_monotonic_ms() + MANAGEMENT_STOP_MS;
    for (size_t i = 0; i < DESK_COUNT; i++)
        while (management->desks[i].running && clock_monotonic_ms() < until_ms)
            cond_timedwait_ms(&management->wake, &management->lock, until_ms);
}

static void desk_stop(struct desk *desk)
{
    struct error stopping = {.text = "The engine is stopping. Nothing was done."};
    if (desk->started && desk->connection != NULL)
        connection_interrupt(desk->connection);
    if (desk->started)
        pthread_join(desk->thread, NULL);
    while (desk->first != NULL)
        answer_error(take(desk), 503, "stopping", &stopping);
    connection_destroy(desk->connection);
    arena_destroy(desk->arena);
}

int management_start(const struct pipeline *pipeline, struct bus *bus, struct store *store, struct management **ret,
                     struct error *error)
{
    struct management *management = calloc(1, sizeof *management);
    if (management == NULL)
        return error_set(error, ENOMEM, "http: there is no memory for what operators ask");
    pthread_mutex_init(&management->lock, NULL);
    cond_init_monotonic(&management->wake);
    management->pipeline = pipeline;
    management->bus = bus;
    management->routes_arena = arena_create(4096, 1024 * 1024);
    int code = management->routes_arena == NULL ? ENOMEM : 0;
    if (code == 0)
        routes_make(management);
    for (size_t i = 0; code == 0 && i < DESK_COUNT; i++)
        code = desk_start(management, &management->desks[i], store);
    if (code == 0 && reloads_start(pipeline, store, &management->reloads, error) != 0) {
        management_stop(management);
        return -error->code;
    }
    if (code != 0) {
        management_stop(management);
        return error_set(error, code, "http: no thread for what operators ask: %s", strerror(code));
    }
    *ret = management;
    return 0;
}

void management_reload(struct management *management, struct reload *reload)
{
    reloads_allow(management->reloads, reload);
}

void management_answer(struct management *management)
{
    reloads_end(management->reloads);
}

int management_submit(struct management *management, struct management_request *request)
{
    if (table[request->gateway->route].answer == NULL)
        return reloads_submit(management->reloads, request);
    struct desk *desk = &management->desks[table[request->gateway->route].reads_the_bus ? DESK_BUS : DESK_DATABASE];
    request->arrived_ms = clock_monotonic_ms();
    request->next = NULL;
    pthread_mutex_lock(&management->lock);
    bool taken = !management->stop && desk->count < MANAGEMENT_WAITING_MAX;
    if (taken) {
        if (desk->last != NULL)
            desk->last->next = request;
        else
            desk->first = request;
        desk->last = request;
        desk->count++;
        pthread_cond_broadcast(&management->wake);
    }
    pthread_mutex_unlock(&management->lock);
    return taken ? 0 : -EAGAIN;
}

void management_stop(struct management *management)
{
    if (management == NULL)
        return;
    pthread_mutex_lock(&management->lock);
    __atomic_store_n(&management->stop, 1, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&management->wake);
    wait_for_calls(management);
    pthread_mutex_unlock(&management->lock);
    for (size_t i = 0; i < DESK_COUNT; i++)
        desk_stop(&management->desks[i]);
    reloads_stop(management->reloads);
    pthread_cond_destroy(&management->wake);
    pthread_mutex_destroy(&management->lock);
    arena_destroy(management->routes_arena);
    free(management);
}
