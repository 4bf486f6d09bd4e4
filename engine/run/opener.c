/*
 * opener.c - see opener.h.
 */
#include "run/opener.h"

#include "base/clock.h"
#include "base/log.h"
#include "run/reader.h"
#include "run/state.h"
#include "store/ledger.h"
#include "store/migrate.h"

#include <errno.h>
#include <stdlib.h>

enum { OPENER_RETRY_MS = 100, OPENER_RETRY_MAX_MS = 2000, OPENER_NUMBERS_MS = 10000 };

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
    struct connection *connection = connection_create(engine->store, "start");
    enum store_result result = handlers != NULL && connection != NULL ? STORE_OK : STORE_DOWN;

    if (result == STORE_OK)
        result = connection_begin(connection, clock_monotonic_ms() + OPENER_NUMBERS_MS, error);
    if (result == STORE_OK)
        result = numbers_of(connection, 'h', config, config->binding_count + 1, handler_name, handlers, error);
    if (result == STORE_OK)
        result = numbers_of(connection, 'g', config, config->group_count, group_name, numbers->groups, error);
    if (result == STORE_OK)
        result = numbers_of(connection, 'c', config, config->chain_count, chain_name, numbers->chains, error);
    if (result == STORE_OK)
        result = numbers_of(connection, 's', config, config->schedule_count, schedule_name, numbers->schedules, error);
    if (result == STORE_OK)
        result = connection_commit(connection, error);
    for (size_t i = 0; result == STORE_OK && i < config->binding_count; i++)
        engine->bindings[i].number = handlers[i];
    if (result == STORE_OK)
        numbers->chain_handler = handlers[config->binding_count];
    connection_destroy(connection);
    free(handlers);
    return result;
}

static enum store_result engine_open_store(struct engine *engine, struct error *error)
{
    enum store_result result = store_check(engine->store, error);
    if (result == STORE_OK && engine->parts.migrations != NULL)
        result = migrate_check(engine->store, engine->parts.migrations, engine->parts.owners, error);
    if (result == STORE_OK)
        result = engine_numbers(engine, error);
    return result;
}

void *opener_main(void *context)
{
    struct engine *engine = context;
    int64_t pause = OPENER_RETRY_MS;

    while (engine->store != NULL && !atomic_load(&engine->life.stop)) {
        struct error error = {0};
        enum store_result result = engine_open_store(engine, &error);
        if (result == STORE_OK)
            break;
        if (result == STORE_DEPLOY) {
            life_set_fault(&engine->life, &error);
            return NULL;
        }
        log_rarely(5000, LOG_WARN, "engine", "waiting for the database: %s", error.text);
        if (!life_sleep(&engine->life, pause))
            return NULL;
        pause = pause * 2 > OPENER_RETRY_MAX_MS ? OPENER_RETRY_MAX_MS : pause * 2;
    }
    atomic_store(&engine->store_open, true);
    for (size_t i = 0; i < engine->group_count && !atomic_load(&engine->life.stop);) {
        struct error error = {0};
        int code = engine->groups[i].config->topic_count == 0 ? 0 : reader_start(&engine->groups[i], &error);
        if (code == 0) {
            i++;
            continue;
        }
        if (code == -EINVAL || code == -ESTALE || code == -EPROTO) {
            life_set_fault(&engine->life, &error); /* the bus is not as the configuration says: waiting does not help */
            return NULL;
        }
        log_rarely(5000, LOG_WARN, "engine", "waiting for the bus: %s", error.text);
        if (!life_sleep(&engine->life, pause))
            return NULL;
    }
    atomic_store(&engine->open, true);
    if (engine->store != NULL)
        timer_advance(&engine->parked_timer, clock_wall_ms());
    return NULL;
}
