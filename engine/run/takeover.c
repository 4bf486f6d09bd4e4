/*
 * takeover.c - what earlier owners of a group's partitions left in the database, taken over before the partitions are
 * read on.
 *
 * Outputs that they committed and did not get out (on buses outside the transaction), so that a key's outputs keep
 * their order; tries that they counted, so that a retry goes on where it was, in whichever process; and parked
 * events that they had taken, which would wait for the end of their hold. All of it is mostly nothing, and a small
 * statement each.
 */
#include "run/takeover.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "run/state.h"
#include "run/sweep.h"
#include "store/ledger.h"

#include <stdlib.h>

enum { TAKEOVER_MS = 10000, TAKEOVER_AGAIN_MS = 100 };

struct takeover { /* the reader's own */
    struct connection *connection;
    struct arena *arena;
    /* Every map of tries that group->attempts ever pointed to: a lane may still read an earlier one. They are few,
     * since one is made only when the database has counted tries. */
    struct intmap **maps;
    size_t count;
};

bool takeover_prepare(struct group_run *group)
{
    if (group->takeover != NULL)
        return true;
    group->takeover = calloc(1, sizeof *group->takeover);
    if (group->takeover == NULL)
        return false;
    group->takeover->connection = connection_create(group->engine->store, "reader");
    group->takeover->arena = arena_create(64 * 1024, 256 * 1024 * 1024);
    if (group->takeover->connection != NULL && group->takeover->arena != NULL)
        return true;
    takeover_destroy(group);
    return false;
}

static bool takeover_rows(struct group_run *group)
{
    struct engine *engine = group->engine;
    struct takeover *left = group->takeover;
    struct rows *rows = NULL;
    struct error error = {0};
    enum store_result result = connection_begin(left->connection, clock_monotonic_ms() + TAKEOVER_MS, &error);
    if (result == STORE_OK)
        result = ledger_parked_release(left->connection, engine->numbers.groups[group->config->index],
                                       engine->incarnation, &error);
    if (result == STORE_OK)
        result = ledger_attempts_load(left->connection, &rows, &error);
    size_t count = result == STORE_OK ? rows_count(rows) : 0;
    struct intmap *map = count == 0 ? NULL : intmap_create(count);
    struct intmap **grown = map == NULL ? NULL : reallocarray(left->maps, left->count + 1, sizeof *grown);
    for (size_t i = 0; grown != NULL && i < count; i++)
        intmap_set(map, attempt_key((int16_t)rows_int64(rows, i, 0), rows_uuid(rows, i, 1)),
                   (void *)(uintptr_t)rows_int64(rows, i, 2));
    if (grown != NULL) {
        left->maps = grown;
        left->maps[left->count++] = map;
        atomic_store(&group->attempts, map);
    } else {
        intmap_destroy(map);
        atomic_store(&group->attempts, NULL);
    }
    if (result == STORE_OK)
        result = connection_commit(left->connection, &error);
    if (result != STORE_OK)
        connection_rollback(left->connection);
    else
        timer_advance(&engine->parked_timer, clock_wall_ms());
    return result == STORE_OK;
}

void takeover_run(struct group_run *group)
{
    struct engine *engine = group->engine;
    struct takeover *left = group->takeover;
    bool outputs = left == NULL || engine->bus->kind->transactional, rows = left == NULL;
    for (int64_t until = clock_monotonic_ms() + TAKEOVER_MS;
         clock_monotonic_ms() < until && !atomic_load(&group->stop);) {
        outputs = outputs || sweep_outbox(engine, left->connection, left->arena, 0);
        rows = rows || takeover_rows(group);
        if ((outputs && rows) || !life_sleep(&engine->life, TAKEOVER_AGAIN_MS))
            return;
    }
    if (!atomic_load(&group->stop))
        log_warn("reader",
                 "group %s reads on, though what earlier owners left could not all be taken over; the sweeper goes on "
                 "trying",
                 group->config->name);
}

void takeover_destroy(struct group_run *group)
{
    struct takeover *left = group->takeover;
    if (left == NULL)
        return;
    connection_destroy(left->connection);
    arena_destroy(left->arena);
    for (size_t i = 0; i < left->count; i++)
        intmap_destroy(left->maps[i]);
    free(left->maps);
    free(left);
    group->takeover = NULL;
}
