/*
 * reloads.c - see reloads.h.
 */
#include "http/reloads.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "event/json.h"
#include "http/exchange.h"
#include "operate/chain.h"
#include "operate/reload.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    RELOADS_WAITING_MAX = 16,
    RELOADS_LOOK_MS = 20,
    RELOADS_ANSWER_MS = 600000, /* longer than the master takes */
    RELOADS_CHAINS_MS = 5000,
    RELOADS_ARENA_MAX = 16 * 1024 * 1024,
    RELOADS_BODY_MAX = 2 * RELOAD_ANSWER_MAX,
};

struct waiting {
    struct management_request *request; /* NULL: unused */
    uint32_t ticket;
    bool plan;
};

struct reloads {
    const struct pipeline *pipeline;
    struct connection *connection; /* NULL without a store */
    struct arena *arena;           /* of an answer */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t wake;
    struct reload *reload;
    struct waiting waiting[RELOADS_WAITING_MAX];
    bool stop;
};

static void answer_error(struct management_request *request, int status, const char *word, const char *message)
{
    struct buffer body;
    buffer_init(&body, RELOADS_BODY_MAX);
    reply_error_body(&body, word, message, (struct span){0});
    request->gateway->done(request->gateway, status, buffer_view(&body));
    buffer_free(&body);
}

/* ---------------------------------------------------------------------------------------------------- what is asked */

struct asked {
    bool plan;
    struct span file; /* the client's, an absolute path; at NULL: it did not say */
};

static bool read_flag(struct span value, bool *ret)
{
    *ret = value.length == 0 || span_is(value, "true");
    return *ret || span_is(value, "false");
}

/* False: a parameter that would be missed. */
static bool read_asked(const struct gateway_request *request, struct asked *ret)
{
    bool good = true;
    *ret = (struct asked){0};
    for (size_t i = 0; i < request->param_count; i++) {
        const struct gateway_param *param = &request->params[i];
        if (span_is(param->name, "file"))
            ret->file = param->value;
        else
            good = good && span_is(param->name, "plan") && read_flag(param->value, &ret->plan);
    }
    return good;
}

/* Whether this engine runs that file, under whatever name. One that is gone cannot be told apart. */
static bool runs_file(const struct reloads *reloads, struct span file)
{
    char *mine = realpath(reloads->pipeline->file, NULL);
    bool same = file.at == NULL || mine == NULL || span_is(file, mine);
    free(mine);
    return same;
}

static void answer_other_file(const struct reloads *reloads, struct management_request *request, bool plan)
{
    struct buffer body;
    char *mine = realpath(reloads->pipeline->file, NULL);
    struct span file = span_of(mine != NULL ? mine : reloads->pipeline->file);
    buffer_init(&body, RELOADS_BODY_MAX);
    buffer_format(&body, "{\"accepted\":false,\"plan\":%s,\"reason\":\"" RELOAD_OTHER_FILE "\",\"why\":",
                  plan ? "true" : "false");
    buffer_text(&body, "\"this engine runs another file, and an engine reloads the file that it was started with\"");
    buffer_text(&body, ",\"file\":");
    buffer_json_string(&body, file);
    buffer_text(&body, "}\n");
    request->gateway->done(request->gateway, 409, buffer_view(&body));
    buffer_free(&body);
    free(mine);
}

/* ------------------------------------------------------------------------------------------------------- the answer */

static int status_of(bool accepted, struct span json)
{
    struct json_object object;
    struct arena *arena = accepted ? NULL : arena_create(16 * 1024, 16 * 1024 * 1024);
    int status = accepted ? 200 : 422;
    if (arena != NULL && json_scan(json, arena, &object, NULL) == 0) {
        const struct json_member *reason = json_find(&object, SPAN("reason"));
        if (reason != NULL && span_is(reason->value, "\"" RELOAD_NEEDS_RESTART "\""))
            status = 409;
    }
    arena_destroy(arena);
    return status;
}

/* To the answer of a plan: who stays on what. Without a store there is nothing to say. */
static void add_chains(struct reloads *reloads, struct buffer *json)
{
    struct operation operation = {.pipeline = reloads->pipeline,
                                  .connection = reloads->connection,
                                  .arena = reloads->arena,
                                  .deadline_ms = clock_monotonic_ms() + RELOADS_CHAINS_MS};
    struct error error = {0};
    struct buffer chains;
    buffer_init(&chains, RELOADS_BODY_MAX);
    if (reloads->connection == NULL || reloads->pipeline->chain_count == 0)
        return;
    if (chain_counts(&operation, &chains, &error) != 0)
        log_warn("http", "how many chains are in flight cannot be said: %s", error.text);
    while (chains.length > 0 && json->length > 0 && json->at[--json->length] != '}') {
    }
    if (chains.length > 0) {
        buffer_text(json, ",\"chains\":");
        buffer_span(json, buffer_view(&chains));
        buffer_text(json, "}\n");
    }
    buffer_free(&chains);
    arena_reset(reloads->arena);
}

static void answer(struct reloads *reloads, const struct waiting *waiting, bool accepted, struct buffer *json)
{
    if (waiting->plan && accepted)
        add_chains(reloads, json);
    waiting->request->gateway->done(waiting->request->gateway, status_of(accepted, buffer_view(json)),
                                    buffer_view(json));
}

/* With the lock, which is let go while one is answered. */
static void look(struct reloads *reloads, bool last)
{
    int64_t now = clock_monotonic_ms();
    for (size_t i = 0; i < RELOADS_WAITING_MAX; i++) {
        struct waiting waiting = reloads->waiting[i];
        struct buffer json;
        bool accepted = false;
        if (waiting.request == NULL)
            continue;
        buffer_init(&json, RELOADS_BODY_MAX);
        bool there = reload_answered(reloads->reload, waiting.ticket, &accepted, &json);
        bool late = last || now - waiting.request->arrived_ms > RELOADS_ANSWER_MS;
        if (there || late)
            reloads->waiting[i].request = NULL;
        pthread_mutex_unlock(&reloads->lock);
        if (there)
            answer(reloads, &waiting, accepted, &json);
        else if (late)
            answer_error(waiting.request, 503, last ? "handed_over" : "no_answer",
                         last ? "This process ends with another reload, or is stopped, before there was an answer. Ask "
                                "again."
                              : "There was no answer in time: whether the engine reloads is in its log.");
        buffer_free(&json);
        pthread_mutex_lock(&reloads->lock);
    }
}

/* Somebody may have come while one was answered. */
static bool waits(const struct reloads *reloads)
{
    bool any = false;
    for (size_t i = 0; i < RELOADS_WAITING_MAX; i++)
        any = any || reloads->waiting[i].request != NULL;
    return any;
}

static void *run(void *context)
{
    struct reloads *reloads = context;
    pthread_mutex_lock(&reloads->lock);
    while (!reloads->stop) {
        look(reloads, false);
        if (!reloads->stop && !waits(reloads))
            pthread_cond_wait(&reloads->wake, &reloads->lock);
        else if (!reloads->stop)
            cond_timedwait_ms(&reloads->wake, &reloads->lock, clock_monotonic_ms() + RELOADS_LOOK_MS);
    }
    look(reloads, true);
    pthread_mutex_unlock(&reloads->lock);
    return NULL;
}

/* ----------------------------------------------------------------------------------------------------- start, stop */

int reloads_start(const struct pipeline *pipeline, struct store *store, struct reloads **ret, struct error *error)
{
    struct reloads *reloads = calloc(1, sizeof *reloads);
    if (reloads == NULL)
        return error_set(error, ENOMEM, "http: there is no memory for reloads");
    reloads->pipeline = pipeline;
    pthread_mutex_init(&reloads->lock, NULL);
    cond_init_monotonic(&reloads->wake);
    reloads->arena = arena_create(16 * 1024, RELOADS_ARENA_MAX);
    if (store != NULL)
        reloads->connection = connection_create(store, "operator");
    int code = reloads->arena == NULL || (store != NULL && reloads->connection == NULL) ? ENOMEM : 0;
    if (code == 0)
        code = pthread_create(&reloads->thread, NULL, run, reloads);
    reloads->started = code == 0;
    if (code != 0) {
        reloads_stop(reloads);
        return error_set(error, code, "http: no thread for reloads: %s", strerror(code));
    }
    *ret = reloads;
    return 0;
}

void reloads_allow(struct reloads *reloads, struct reload *reload)
{
    pthread_mutex_lock(&reloads->lock);
    reloads->reload = reload;
    pthread_mutex_unlock(&reloads->lock);
}

/* With the lock. */
static int submit(struct reloads *reloads, struct management_request *request, bool plan)
{
    for (size_t i = 0; i < RELOADS_WAITING_MAX && !reloads->stop; i++) {
        if (reloads->waiting[i].request != NULL)
            continue;
        reloads->waiting[i] = (struct waiting){request, reload_ask(reloads->reload, plan), plan};
        pthread_cond_signal(&reloads->wake);
        return 0;
    }
    return -EAGAIN;
}

int reloads_submit(struct reloads *reloads, struct management_request *request)
{
    struct asked asked;
    request->arrived_ms = clock_monotonic_ms();
    if (!read_asked(request->gateway, &asked)) {
        answer_error(request, 400, "bad_query", "What can be said is ?plan, or ?plan=true or false, and file=PATH.");
        return 0;
    }
    if (!runs_file(reloads, asked.file)) {
        answer_other_file(reloads, request, asked.plan);
        return 0;
    }
    log_info("http", "%s asks %s", request->address, asked.plan ? "what a reload would do" : "for a reload");
    pthread_mutex_lock(&reloads->lock);
    bool master = reloads->reload != NULL;
    int code = master ? submit(reloads, request, asked.plan) : 0;
    pthread_mutex_unlock(&reloads->lock);
    if (!master)
        answer_error(request, 501, "not_supported", "This engine runs without its master process: restart it instead.");
    return code;
}

void reloads_end(struct reloads *reloads)
{
    if (!reloads->started)
        return;
    pthread_mutex_lock(&reloads->lock);
    reloads->stop = true;
    pthread_cond_broadcast(&reloads->wake);
    pthread_mutex_unlock(&reloads->lock);
    if (reloads->connection != NULL)
        connection_interrupt(reloads->connection);
    pthread_join(reloads->thread, NULL);
    reloads->started = false;
}

void reloads_stop(struct reloads *reloads)
{
    if (reloads == NULL)
        return;
    reloads_end(reloads);
    connection_destroy(reloads->connection);
    arena_destroy(reloads->arena);
    pthread_cond_destroy(&reloads->wake);
    pthread_mutex_destroy(&reloads->lock);
    free(reloads);
}
