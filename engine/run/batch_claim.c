/*
 * batch_claim.c - the inbox: which events of a batch are new.
 *
 * One statement for all of them, sorted, first in the transaction: whoever claims first handles, everybody else sees a
 * duplicate. The same id with another payload is never dropped silently: it is a dead letter of its own.
 */
#include "run/intake.h"

#include "base/log.h"

#include <stdlib.h>

static bool wants_claim(const struct batch *batch, const struct work *work)
{
    const struct item *item = work->item;
    if (item->source == ITEM_REQUEST)
        return batch->connection != NULL && !work->claimed && work->verdict == VERDICT_NONE &&
               item->request->idempotency_key.length > 0;
    if (batch->connection == NULL || work->claimed || item->source == ITEM_TICK)
        return false;
    if (work->verdict == VERDICT_DEAD)
        return true;
    if (work->verdict == VERDICT_PASSED)
        return item->topic != NULL && item->topic->watch_count > 0;
    return work->verdict == VERDICT_NONE && batch->engine->bindings[item->binding->index].records;
}

static int16_t work_number(const struct batch *batch, const struct work *work)
{
    return work->item->binding == NULL ? batch->engine->chain_handler
                                       : batch->engine->bindings[work->item->binding->index].number;
}

struct claim_order {
    struct claim claim;
    struct work *work;
};

static int claim_compare(const void *left, const void *right)
{
    const struct claim *a = &((const struct claim_order *)left)->claim,
                       *b = &((const struct claim_order *)right)->claim;
    return a->handler != b->handler ? (a->handler < b->handler ? -1 : 1)
                                    : memcmp(a->id.bytes, b->id.bytes, sizeof a->id.bytes);
}

/* Twins in the order they came: the first is the one that claims. */
static int order_compare(const void *left, const void *right)
{
    int order = claim_compare(left, right);
    const struct work *a = ((const struct claim_order *)left)->work, *b = ((const struct claim_order *)right)->work;
    return order != 0 ? order : a < b ? -1 : a > b;
}

/* An id that was used for another payload: the newcomer is dead under an id of its own, so that it too is recorded
 * once. */
static struct event_id conflict_id(struct batch *batch, const struct work *work)
{
    char id[37];
    event_id_format(&work->event.id, id); /* a poison has no id_text */
    return event_id_of(
        span_of(arena_format(batch->arena, "conflict:%s:%llx", id, (unsigned long long)work->event.payload_hash)));
}

/* The answers to batch->claims[first …], in the order of `orders`. */
static void claim_answers(struct batch *batch, struct claim_order *orders, size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct work *work = orders[i].work;
        struct claim *claim = &batch->claims[first + i];
        if (!claim->hit) {
            work->claimed = true;
            work->claim = first + i;
        } else if (work->item->source == ITEM_REQUEST) {
            intake_repeated(batch, work, claim);
        } else if (claim->conflict && work->item->condemned != DEAD_ID_CONFLICT) {
            work_condemn(batch, work, DEAD_ID_CONFLICT, "event id '%.*s' came before with another payload",
                         (int)work->event.id_text.length, work->event.id_text.at);
        } else {
            work->verdict = VERDICT_DUPLICATE;
            if (work->item->binding != NULL)
                series_add(batch->engine->bindings[work->item->binding->index].duplicates, 1);
        }
        if (claim->hit)
            claim->outcome = 0; /* what is recorded there stays as it is: nothing of this transaction's to write */
    }
}

void batch_claim(struct batch *batch)
{
    size_t wanted = 0, count = 0;
    for (size_t i = 0; i < batch->count; i++)
        wanted += wants_claim(batch, &batch->works[i]);
    if (wanted == 0)
        return;
    struct claim_order *orders = arena_array(batch->arena, struct claim_order, wanted);
    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        if (!wants_claim(batch, work))
            continue;
        struct event_id id = work->item->condemned == DEAD_ID_CONFLICT ? conflict_id(batch, work) : work->event.id;
        orders[count++] = (struct claim_order){
            .claim = {.handler = work_number(batch, work), .id = id, .hash = (int64_t)work->event.payload_hash},
            .work = work};
    }
    qsort(orders, count, sizeof *orders, order_compare);
    /* A twin in the same batch waits for the first one's end. */
    size_t kept = 0, first = batch->claim_count;
    if (batch->claims == NULL)
        batch->claims = arena_array(batch->arena, struct claim, batch->count);
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && claim_compare(&orders[kept - 1], &orders[i]) == 0) {
            orders[i].work->verdict = VERDICT_BACK;
            continue;
        }
        orders[kept] = orders[i];
        batch->claims[first + kept++] = orders[i].claim;
    }
    batch->claim_count = first + kept;
    if (!batch->transaction) {
        batch->result = connection_begin(batch->connection, batch->deadline_ms, &batch->error);
        batch->transaction = true;
    }
    int64_t member = batch->worker->group == NULL ? 0 : atomic_load(&batch->worker->group->member);
    if (batch->result == STORE_OK)
        batch->result = ledger_claim(batch->connection, member, batch->claims + first, kept, &batch->error);
    if (batch->result == STORE_OK)
        claim_answers(batch, orders, first, kept);
}
