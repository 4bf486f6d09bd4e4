/*
 * takeover.c - what earlier owners of a group's partitions left in the database, taken over before the partitions are
 * read on.
 *
 * Outputs that they committed and did not get out (on buses outside the transaction), so that a key's outputs keep
 * their order; tries that they counted, so that a retry goes on where it was, in whichever process; and parked
 * events that they had taken, which would wait for the end of their hold. All of it is mostly nothing, and a small
 * statement each.
 *
 * A process that was killed may leave a COMMIT behind that the server is still at. Where the bus does not fence it, it
 * is awaited first, for a while: what the events brought that come again is seen whenever it ends (batch/outbox.h).
 */
#include "run/takeover.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "run/state.h"
#include "run/sweep.h"
#include "store/ledger.h"

#include <stdlib.h>

enum {
    TAKEOVER_MS = 10000,
    TAKEOVER_AGAIN_MS = 100,
    TAKEOVER_CLAIMS_MS = 2000, /* the longest wait for transactions of earlier owners, */
    TAKEOVER_LOOK_MS = 20,     /* and how often they are looked at */
};

struct takeover { /* the reader's own */
    struct connection *connection;
    struct arena *arena;
    struct rows *claiming; /* what earlier owners may have begun; NULL: not asked yet */
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

void takeover_warm(struct group_run *group)
{
    struct connection *connection = group->takeover->connection;
    struct rows *rows = NULL;
    if (connection_begin(connection, clock_monotonic_ms() + TAKEOVER_MS, NULL) == STORE_OK)
        (void)ledger_attempts_load(connection, &rows, NULL);
    connection_rollback(connection);
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

/* Whether the transactions are over in which lanes of this group, of any process, had claimed something when this was
 * first asked. */
static bool takeover_claims_over(struct group_run *group, bool late)
{
    struct takeover *left = group->takeover;
    struct rows *rows = NULL;
    size_t count = left->claiming == NULL ? 0 : rows_count(left->claiming);
    struct span *among = left->claiming == NULL ? NULL : arena_array(left->arena, struct span, count + 1);
    for (size_t i = 0; i < count; i++)
        among[i] = rows_span(left->claiming, i, 0);
    char *sessions = arena_format(left->arena, "%s lane ", group->config->name);
    enum store_result result = ledger_claiming(left->connection, sessions, among, count, &rows, NULL);
    count = result == STORE_OK ? rows_count(rows) : 0;
    if (result == STORE_OK && left->claiming == NULL)
        left->claiming = rows_detach(left->connection, rows);
    arena_reset(left->arena);
    if (late && count > 0)
        log_warn("reader",
                 "group %s reads on, though the database has not ended %zu transactions of its lanes for %d s; what "
                 "they commit is seen when their events come again, else by the sweeper",
                 group->config->name, count, TAKEOVER_CLAIMS_MS / 1000);
    return result == STORE_OK && (late || count == 0);
}

void takeover_run(struct group_run *group)
{
    struct engine *engine = group->engine;
    struct takeover *left = group->takeover;
    bool over = left == NULL || engine->bus->kind->transactional, outputs = over, rows = left == NULL;
    int64_t began_ms = clock_monotonic_ms();
    while (!(outputs && rows) && !atomic_load(&group->stop)) {
        int64_t waited_ms = clock_monotonic_ms() - began_ms;
        if (waited_ms > TAKEOVER_MS) {
            log_warn("reader",
                     "group %s reads on, though what earlier owners left could not all be taken over; the sweeper goes "
                     "on trying",
                     group->config->name);
            break;
        }
        over = over || takeover_claims_over(group, waited_ms >= TAKEOVER_CLAIMS_MS);
        outputs = outputs || (over && sweep_outbox(engine, left->connection, left->arena, 0));
        rows = rows || (over && takeover_rows(group));
        if (!(outputs && rows) && !life_sleep(&engine->life, over ? TAKEOVER_AGAIN_MS : TAKEOVER_LOOK_MS))
            break;
    }
    if (left != NULL) {
        rows_free(left->claiming);
        left->claiming = NULL;
    }
}

void takeover_destroy(struct group_run *group)
{
    struct takeover *left = group->takeover;
    if (left == NULL)
        return;
    rows_free(left->claiming);
    connection_destroy(left->connection);
    arena_destroy(left->arena);
    for (size_t i = 0; i < left->count; i++)
        intmap_destroy(left->maps[i]);
    free(left->maps);
    free(left);
    group->takeover = NULL;
}
