/*
 * opener.c - see opener.h.
 */
#include "run/opener.h"

#include "base/clock.h"
#include "base/log.h"
#include "guard/handover.h"
#include "pipeline/chain_definition.h"
#include "run/names.h"
#include "run/reader.h"
#include "run/state.h"
#include "store/ledger.h"
#include "store/ledger_outbox_table.h"
#include "store/migrate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    OPENER_BEGIN_MS = 2,
    OPENER_TURN_MS = 20,
    OPENER_RETRY_MS = 100,
    OPENER_RETRY_MAX_MS = 2000,
    OPENER_NUMBERS_MS = 10000
};

/* The numbers of names of one kind; `id` of the i-th one of `count`. */
static enum store_result numbers_of(struct connection *connection, char kind, const struct pipeline *config,
                                    size_t count, const char *(*name)(const struct pipeline *config, size_t i),
                                    int16_t *ret_numbers, struct error *error)
{
    struct span *names = calloc(count + 1, sizeof *names);
    enum store_result result = names == NULL ? STORE_DOWN : STORE_OK;
    for (size_t i = 0; names != NULL && i < count; i++)
        names[i] = span_of(name(config, i));
    if (result == STORE_OK && count > 0)
        result = ledger_names(connection, kind, count, names, ret_numbers, error);
    free(names);
    return result;
}

static const char *handler_name(const struct pipeline *config, size_t i)
{
    return i < config->binding_count ? config->bindings[i]->id : "chain";
}

static const char *group_name(const struct pipeline *config, size_t i)
{
    return config->groups[i].name;
}

static const char *chain_name(const struct pipeline *config, size_t i)
{
    return config->chains[i].name;
}

static const char *schedule_name(const struct pipeline *config, size_t i)
{
    return config->schedules[i].name;
}

static enum store_result engine_numbers(struct engine *engine, struct error *error)
{
    const struct pipeline *config = engine->config;
    struct batch_numbers *numbers = &engine->numbers;
    int16_t *handlers = calloc(config->binding_count + 1, sizeof *handlers); /* and "chain" */
    struct connection *connection = engine->opening;
    enum store_result result = handlers != NULL ? STORE_OK : STORE_DOWN;

    if (result == STORE_OK)
        result = connection_begin(connection, clock_monotonic_ms() + OPENER_NUMBERS_MS, error);
    if (result == STORE_OK)
        result = numbers_of(connection, 'h', config, config->binding_count + 1, handler_name, handlers, error);
    if (result == STORE_OK)
        result = numbers_of(connection, 'g', config, config->group_count, group_name, numbers->groups, error);
    if (result == STORE_OK)
        result = numbers_of(connection, 'c', config, config->chain_count, chain_name, numbers->chains, error);
    for (size_t i = 0; result == STORE_OK && i < config->chain_count; i++)
        result = ledger_chain_define(connection, numbers->chains[i], config->chains[i].definition,
                                     &numbers->definitions[i], error);
    if (result == STORE_OK)
        result = numbers_of(connection, 's', config, config->schedule_count, schedule_name, numbers->schedules, error);
    if (result == STORE_OK)
        result = connection_commit(connection, error);
    for (size_t i = 0; result == STORE_OK && i < config->binding_count; i++)
        engine->bindings[i].number = handlers[i];
    if (result == STORE_OK)
        numbers->chain_handler = handlers[config->binding_count];
    else
        connection_rollback(connection);
    free(handlers);
    return result;
}

/* ----------------------------------------------------------------------------------------------------------- names */

static void log_missing(void *context, struct place place, const char *code, const char *text)
{
    const struct engine *engine = context;
    char sentence[2048];
    (void)code;
    snprintf(sentence, sizeof sentence, "%s:%d:%d: %s", place.file == NULL ? "" : place.file, place.line, place.column,
             text);
    log_line(LOG_ERROR, "names", "%s", sentence);
    handover_refuse(engine->parts.suspects, sentence);
}

/* Under which handlers events of retired names were recorded. */
static enum store_result retired_numbers(struct engine *engine, struct connection *connection,
                                         const char *const *handlers, int16_t *ret, struct error *error)
{
    enum store_result result = STORE_OK;
    for (size_t i = 0; i < engine->config->answer_count && result == STORE_OK; i++) {
        struct span name = span_of(handlers[i] == NULL ? "" : handlers[i]);
        if (name.length > 0)
            result = ledger_names(connection, 'h', 1, &name, &ret[i], error);
    }
    return result;
}

/* 0, -EAGAIN, -ENOKEY: the file must say more; or what cannot be helped. `change`: as in names.h; without it, only
 * whether it says enough. */
static int engine_names(struct engine *engine, bool change, struct error *error)
{
    struct connection *connection = engine->opening;
    struct arena *arena = arena_create(64 * 1024, 1024 * 1024 * 1024);
    struct names names = {.config = engine->config,
                          .connection = connection,
                          .bus = engine->bus,
                          .arena = arena,
                          .change = change,
                          .error = error,
                          .each = log_missing,
                          .context = engine};
    int code = arena == NULL ? error_set(error, EAGAIN, "no memory") : names_check(&names);
    if (code == 0 && change && connection != NULL) {
        enum store_result result = retired_numbers(engine, connection, names.retired_topics,
                                                   engine->numbers.retired_topics, error);
        if (result == STORE_OK)
            result = retired_numbers(engine, connection, names.retired_taps, engine->numbers.retired_taps, error);
        code = result == STORE_OK ? 0 : -EAGAIN;
    }
    for (size_t i = 0; code == 0 && names.others != NULL && i < engine->group_count; i++) {
        engine->groups[i].others = names.others[i];
        engine->groups[i].elsewhere = names_elsewhere(&names, i);
        if (change)
            continue;
        reader_prepare(&engine->groups[i]);
        engine->groups[i].others = engine->groups[i].elsewhere = NULL; /* until they are asked for again */
    }
    if (code == -ENOKEY) {
        error_set(error, ENOKEY, "nothing is started: the file does not say what becomes of %s",
                  names.findings == 1 ? "this" : "these");
        error_hint(error, "`sluice validate --connect` lists the same; docs/running.md");
    }
    if (code == 0 && change)
        engine->names = arena;
    else
        arena_destroy(arena);
    return code;
}

/* A topic that is watched for chains of an earlier definition is read, too. */
static void read_also(void *context, const struct topic *topic)
{
    struct engine *engine = context;
    struct group_run *own = &engine->groups[0];
    size_t count = 0;
    for (size_t i = 0; i < own->config->topic_count; i++)
        if (strcmp(own->config->topics[i], topic->name) == 0)
            return;
    for (; own->others != NULL && own->others[count] != NULL; count++)
        if (strcmp(own->others[count], topic->name) == 0)
            return;
    const char **others = arena_array(engine->names, const char *, count + 2);
    for (size_t i = 0; i < count; i++)
        others[i] = own->others[i];
    others[count] = topic->name;
    own->others = others;
}

/* Chains are undone by the definition that they began with. */
static enum store_result engine_definitions(struct engine *engine, struct error *error)
{
    const struct pipeline *config = engine->config;
    struct connection *connection = engine->opening;
    enum store_result result = STORE_OK;
    for (size_t c = 0; c < config->chain_count && result == STORE_OK; c++) {
        struct rows *rows = NULL;
        result = ledger_chain_definitions(connection, span_of(config->chains[c].name), &rows, error);
        for (size_t r = 0; result == STORE_OK && r < rows_count(rows); r++)
            if (!span_equal(rows_span(rows, r, 0), config->chains[c].definition))
                chain_definition_watch(config, &config->chains[c], rows_span(rows, r, 0), engine->names, read_also,
                                       engine);
    }
    return result;
}

/* The database is good, and nothing waits that the file says nothing of. `change`: what it says is done. 0, -EAGAIN, or
 * what waiting does not help. */
static int engine_look(struct engine *engine, bool change, struct error *error)
{
    bool check = engine->store != NULL && !engine->checked;
    enum store_result result = check ? store_check(engine->store, error) : STORE_OK;
    if (result == STORE_OK && check && engine->parts.migrations != NULL)
        result = migrate_check_by(engine->opening, engine->parts.migrations, error);
    int code = result == STORE_OK ? 0 : result == STORE_DEPLOY ? -EPROTO : -EAGAIN;
    atomic_store(&engine->store_open, code == 0);
    if (code == 0)
        code = engine_names(engine, change, error);
    engine->checked = code == 0 && !change;
    return code;
}

/* And names have numbers. */
static int engine_open_store(struct engine *engine, struct error *error)
{
    enum store_result result = STORE_OK;
    int code = engine_look(engine, true, error);
    if (code == 0 && engine->store != NULL && (result = engine_numbers(engine, error)) != STORE_OK)
        code = result == STORE_DEPLOY ? -EPROTO : -EAGAIN;
    if (code == 0 && engine->store != NULL)
        code = pauses_look(engine, engine->opening, error); /* nothing that is paused may begin */
    if (code == 0 && engine->store != NULL && (result = engine_definitions(engine, error)) != STORE_OK)
        code = result == STORE_DEPLOY ? -EPROTO : -EAGAIN;
    return code;
}

/* What is written there is lost when nobody decodes it. */
static void warn_unread(struct engine *engine)
{
    struct error error = {0};
    const char *table = engine->config->outbox_table.name;
    bool unread = false;
    if (table != NULL && !engine->parts.stepped &&
        outbox_table_unread(engine->store, table, &unread, &error) == STORE_OK && unread)
        log_line(LOG_WARN, "run", "%s; %s", error.text, error.hint);
}

static void opener_done(struct engine *engine)
{
    warn_unread(engine);
    connection_destroy(engine->opening);
    engine->opening = NULL;
    atomic_store(&engine->open, true);
    if (engine->store != NULL)
        timer_advance(&engine->parked_timer, clock_wall_ms());
}

static void prepare_lanes(struct engine *engine)
{
    for (size_t i = 0; i < engine->group_count; i++)
        for (size_t w = 0; w < engine->groups[i].worker_count; w++)
            worker_prepare(engine->groups[i].workers[w]);
    for (size_t w = 0; w < engine->request_worker_count; w++)
        worker_prepare(engine->requests[w]);
    if (engine->scheduler != NULL)
        worker_prepare(engine->scheduler);
}

/* The one connection that opening needs. False: no memory. */
static bool opener_connects(struct engine *engine)
{
    if (engine->store != NULL && engine->opening == NULL)
        engine->opening = connection_create(engine->store, "start");
    return engine->store == NULL || engine->opening != NULL;
}

int opener_step(struct engine *engine, struct error *error)
{
    if (!opener_connects(engine))
        return error_set(error, ENOMEM, "out of memory");
    if (!atomic_load(&engine->begun)) {
        int looked = engine_look(engine, false, error);
        if (looked == 0)
            prepare_lanes(engine);
        return looked != 0 ? looked : life_fault(&engine->life, error);
    }
    int code = engine_open_store(engine, error);
    for (size_t i = 0; i < engine->group_count && code == 0; i++)
        if (reader_has_topics(&engine->groups[i]))
            code = reader_start(&engine->groups[i], error);
    if (code == 0)
        opener_done(engine);
    return code;
}

/* Until `open` has it; false: it cannot, and the engine has the fault, or stops. */
static bool opener_try(struct engine *engine, int (*open)(struct engine *engine, struct error *error))
{
    int64_t pause = OPENER_RETRY_MS;
    bool refused = false;

    while (!atomic_load(&engine->life.stop)) {
        struct error error = {0};
        int code = open(engine, &error);
        if (code == 0)
            return true;
        if (code == -EPROTO || code == -EINVAL || code == -ESTALE || code == -ENOKEY) {
            life_set_fault(&engine->life, &error);
            return false;
        }
        const char *what = atomic_load(&engine->store_open) ? "bus" : "database";
        if (code == -EACCES && !refused)
            log_line(LOG_ERROR, "engine", "waiting for the %s: %s", what, error.text);
        else if (engine->store == NULL || !store_unreachable(engine->store))
            log_rarely(5000, LOG_WARN, "engine", "waiting for the %s: %s", what, error.text);
        refused = refused || code == -EACCES;
        if (!life_sleep(&engine->life, pause))
            return false;
        pause = pause * 2 > OPENER_RETRY_MAX_MS ? OPENER_RETRY_MAX_MS : pause * 2;
    }
    return false;
}

static int only_look(struct engine *engine, struct error *error)
{
    return engine_look(engine, false, error);
}

bool engine_prepared(struct engine *engine)
{
    size_t lanes = engine->request_worker_count + (engine->scheduler != NULL);
    for (size_t i = 0; i < engine->group_count; i++)
        lanes += engine->groups[i].worker_count;
    return atomic_load(&engine->looked) && atomic_load(&engine->lanes_open) == lanes;
}

bool engine_has_turn(struct engine *engine)
{
    return atomic_load(&engine->has_turn);
}

void engine_begin(struct engine *engine)
{
    atomic_store(&engine->begun, true);
}

/* Whether nobody else of the group hands over. The lock is the session's: it ends with `opening`. */
static bool take_turn(struct engine *engine, bool *waits)
{
    const char *group = engine->config->engine.group;
    bool taken = engine->store == NULL;
    if (!taken)
        (void)ledger_turn(engine->opening, span_of(group), &taken, NULL);
    if (!taken && !*waits)
        log_info("run", "waits for its turn: another process of group %s hands over", group);
    *waits = !taken;
    return taken;
}

/* For engine_begin(). False: the engine stops, or cannot begin. */
static bool opener_wait(struct engine *engine)
{
    if (atomic_load(&engine->begun))
        return true;
    if (!opener_try(engine, only_look))
        return false;
    atomic_store(&engine->looked, true);
    for (bool waits = false; !atomic_load(&engine->begun);) {
        bool trying = engine_prepared(engine) && !atomic_load(&engine->has_turn);
        if (trying && take_turn(engine, &waits))
            atomic_store(&engine->has_turn, true);
        if (!life_sleep(&engine->life, waits ? OPENER_TURN_MS : OPENER_BEGIN_MS))
            return false;
    }
    return true;
}

void *opener_main(void *context)
{
    struct engine *engine = context;
    struct error none = {0};
    if (!opener_connects(engine)) {
        error_set(&none, ENOMEM, "out of memory");
        life_set_fault(&engine->life, &none);
        return NULL;
    }
    if (!opener_wait(engine) || !opener_try(engine, engine_open_store))
        return NULL;
    for (size_t i = 0; i < engine->group_count && !atomic_load(&engine->life.stop);) {
        struct error error = {0};
        int code = !reader_has_topics(&engine->groups[i]) ? 0 : reader_start(&engine->groups[i], &error);
        if (code == 0) {
            i++;
            continue;
        }
        if (code == -EINVAL || code == -ESTALE || code == -EPROTO) {
            life_set_fault(&engine->life, &error); /* the bus is not as the configuration says: waiting does not help */
            return NULL;
        }
        log_rarely(5000, LOG_WARN, "engine", "waiting for the bus: %s", error.text);
        if (!life_sleep(&engine->life, OPENER_RETRY_MS))
            return NULL;
    }
    opener_done(engine);
    return NULL;
}
