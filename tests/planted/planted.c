/*
 * planted.c - bugs that tests/planted/test_checker.py plants through failpoints, to see that the checker finds
 * them.
 *
 * Both are mistakes that were made before, elsewhere: effects before the claim, so that a duplicate that loses the
 * claim has acted already; and positions that are complete before their transaction is. Never reached unless a
 * failpoint is armed.
 */
#include "run/batch.h"

#include "flow/tracker.h"

void planted_effects_first(struct batch *batch, void (*handle)(struct batch *batch))
{
    enum verdict *said = arena_array(batch->arena, enum verdict, batch->count);
    if (batch->result == STORE_OK && !batch->transaction) {
        batch->result = connection_begin(batch->connection, batch->deadline_ms, &batch->error);
        batch->transaction = true;
    }
    if (batch->result == STORE_OK)
        handle(batch);
    for (size_t i = 0; i < batch->count; i++) {
        said[i] = batch->works[i].verdict;
        if (said[i] == VERDICT_OUTCOME)
            batch->works[i].verdict = VERDICT_NONE;
    }
    if (batch->result == STORE_OK && !batch->condemned)
        batch_claim(batch);
    for (size_t i = 0; i < batch->count; i++)
        if (batch->works[i].verdict == VERDICT_NONE)
            batch->works[i].verdict = said[i];
}

void planted_complete_early(struct batch *batch)
{
    struct group_run *group = batch->worker->group;
    if (group == NULL)
        return;
    pthread_mutex_lock(&group->lock);
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = batch->works[i].item;
        if (item->source == ITEM_BUS && item->stream < group->tracker_count && group->trackers[item->stream] != NULL)
            tracker_complete(group->trackers[item->stream], item->epoch, item->ticket);
        item->epoch = UINT32_MAX; /* of no assignment: what completes it later is ignored */
    }
    pthread_mutex_unlock(&group->lock);
}
