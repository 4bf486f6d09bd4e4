/*
 * inherit.c - what earlier owners of a group's partitions left in the database, taken over before the partitions are
 * read on.
 *
 * Outputs that they committed and did not get out (on buses outside the transaction), so that a key's outputs keep
 * their order; tries that they counted, so that a retry goes on where it was, in whichever process; and parked
 * events that they had taken, which would wait for the end of their hold. All of it is mostly nothing, and a small
 * statement each.
 */
#include "run/outbox.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "store/ledger.h"

#include <stdlib.h>

enum { INHERIT_MS = 10000, INHERIT_AGAIN_MS = 100 };

struct inheritance { /* the reader's own */
    struct connection *connection;
    struct arena *arena;
    /* all there were: a lane may still look at an older one. Few: they are made only when tries are counted */
    struct intmap **maps;
    size_t count;
};

uint64_t attempt_key(int16_t handler, struct event_id id)
{
    return span_hash((struct span){(const char *)id.bytes, sizeof id.bytes}) ^ (uint64_t)handler << 48;
}

bool inherit_prepare(struct group_run *group)
{
    if (group->inheritance != NULL)
        return true;
    group->inheritance = calloc(1, sizeof *group->inheritance);
    if (group->inheritance == NULL)
        return false;
    group->inheritance->connection = connection_create(group->engine->store, "reader");
    group->inheritance->arena = arena_create(64 * 1024, 256 * 1024 * 1024);
    return group->inheritance->connection != NULL && group->inheritance->arena != NULL;
}

static bool inherit_rows(struct group_run *group)
{
    struct engine *engine = group->engine;
    struct inheritance *left = group->inheritance;
    struct rows *rows = NULL;
    struct error error = {0};
    enum store_result result = connection_begin(left->connection, clock_monotonic_ms() + INHERIT_MS, &error);
    if (result == STORE_OK)
        result = ledger_parked_release(left->connection, engine->group_numbers[group->group->index],
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
        keeper_due(engine, clock_wall_ms());
    return result == STORE_OK;
}

void inherit(struct group_run *group)
{
    struct engine *engine = group->engine;
    struct inheritance *left = group->inheritance;
    bool outputs = left == NULL || engine->bus->kind->transactional, rows = left == NULL;
    for (int64_t until = clock_monotonic_ms() + INHERIT_MS;
         clock_monotonic_ms() < until && !atomic_load(&group->stop);) {
        outputs = outputs || outbox_sweep(engine, left->connection, left->arena, 0);
        rows = rows || inherit_rows(group);
        if ((outputs && rows) || !engine_sleep(engine, INHERIT_AGAIN_MS))
            return;
    }
    if (!atomic_load(&group->stop))
        log_warn("reader",
                 "group %s reads on, though what earlier owners left could not all be taken over; the sweeper goes on "
                 "trying",
                 group->group->name);
}

void inherit_forget(struct group_run *group)
{
    struct inheritance *left = group->inheritance;
    if (left == NULL)
        return;
    connection_destroy(left->connection);
    arena_destroy(left->arena);
    for (size_t i = 0; i < left->count; i++)
        intmap_destroy(left->maps[i]);
    free(left->maps);
    free(left);
    group->inheritance = NULL;
}
