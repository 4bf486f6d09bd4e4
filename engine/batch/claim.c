/*
 * claim.c - the inbox: which events of a batch are new.
 *
 * One statement for all of them, sorted, first in the transaction: whoever claims first handles, everybody else sees a
 * duplicate. The same id with another payload is never dropped silently: it is a dead letter of its own.
 *
 * A dead letter had no effect. When one is sent to its topic again, with the headers that say so, its row is claimed
 * again, by an update that only one transaction can win, and it is handled as if it were new.
 */
#include "batch/batch.h"

#include "base/log.h"
#include "batch/outbox.h"
#include "batch/request.h"

#include <stdlib.h>

static bool is_recorded(const struct batch *batch, const struct item *item)
{
    return item->source == ITEM_REQUEST ? request_has_idempotency_key(item)
                                        : batch->env->bindings[item->binding->index].records;
}

static bool wants_claim(const struct batch *batch, const struct work *work)
{
    const struct item *item = work->item;
    enum verdict_claim claim = work_row(work)->claim;
    size_t watches;
    if (work->claimed || item->source == ITEM_TICK)
        return false;
    switch (claim) {
    case CLAIM_IF_RECORDED:
        return is_recorded(batch, item);
    case CLAIM_IF_WATCHED:
        return item_watches(item, &watches) != NULL && watches > 0;
    case CLAIM_ALWAYS:
        return item->source != ITEM_REQUEST; /* a request that failed is answered, and recorded nowhere */
    default:
        return false;
    }
}

static int16_t work_number(const struct batch *batch, const struct work *work)
{
    const struct batch_numbers *numbers = batch->env->numbers;
    const struct topic *topic = work->item->topic;
    int16_t retired = 0;
    if (work->item->binding != NULL)
        return batch->env->bindings[work->item->binding->index].number;
    if (batch->env->group != NULL && batch->env->group->retired != NULL)
        retired = numbers->retired_taps[batch->env->group->retired - batch->env->config->answers];
    else if (topic != NULL && topic->retired != NULL)
        retired = numbers->retired_topics[topic->retired - batch->env->config->answers];
    return retired != 0 ? retired : numbers->chain_handler;
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

/* A dead letter that somebody sent to its topic again; not the event that it was made of, delivered twice. */
static bool is_dead_letter(const struct work *work)
{
    return work->item->source != ITEM_REQUEST && record_header(&work->item->record, HEADER_DLT_CODE).length > 0;
}

static void take_hit(struct batch *batch, struct work *work, const struct claim *claim)
{
    const struct item *item = work->item;
    work->verdict = VERDICT_DUPLICATE;
    if (item->binding != NULL)
        series_add(batch->env->bindings[item->binding->index].duplicates, 1);
    if (claim->outcome == OUTCOME_DEAD)
        log_rarely(1000, LOG_WARN, "lane",
                   "event %.*s on %.*s became a dead letter before and is not handled: to handle it again, send the "
                   "dead letter with its headers, or the event under a new id",
                   (int)work->event.id_text.length, work->event.id_text.length == 0 ? "" : work->event.id_text.at,
                   (int)item->record.topic.length, item->record.topic.at);
}

/* The answers to batch->claims[first …], in the order of `orders`. */
static void claim_answers(struct batch *batch, struct claim_order *orders, size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct work *work = orders[i].work;
        struct claim *claim = &batch->claims[first + i];
        work->again = claim->hit && claim->outcome == OUTCOME_DEAD && !claim->conflict && is_dead_letter(work);
        if (!claim->hit || work->again) {
            work->claimed = true;
            work->claim = first + i;
        } else if (work->item->source == ITEM_REQUEST) {
            request_repeated(batch, work, claim);
        } else if (claim->conflict && work->item->condemned != DEAD_ID_CONFLICT) {
            work_condemn(batch, work, DEAD_ID_CONFLICT, "event id '%.*s' came before with another payload",
                         (int)work->event.id_text.length, work->event.id_text.at);
        } else {
            take_hit(batch, work, claim);
        }
        if (claim->hit)
            claim->outcome = 0; /* what is recorded there stays as it is: nothing of this transaction's to write */
    }
}

/* Their rows are claimed again before a handler sees them. */
static void claim_again(struct batch *batch, const struct claim_order *orders, size_t count)
{
    struct claim *again = arena_array(batch->arena, struct claim, count);
    size_t again_count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct work *work = orders[i].work;
        if (!work->again)
            continue;
        again[again_count++] = orders[i].claim;
        if (work->item->binding != NULL)
            series_add(batch->env->bindings[work->item->binding->index].again, 1);
        log_rarely(1000, LOG_INFO, "lane", "event %.*s on %.*s was a dead letter and is handled again",
                   (int)work->event.id_text.length, work->event.id_text.length == 0 ? "" : work->event.id_text.at,
                   (int)work->item->record.topic.length, work->item->record.topic.at);
    }
    if (again_count == 0)
        return;
    batch->result = ledger_claim_dead(batch->connection, again, again_count, &batch->error);
    if (batch->result == STORE_OK && batch->env->group != NULL)
        batch->result = ledger_dead_letters_again(batch->connection,
                                                  batch->env->numbers->groups[batch->env->group->index], again,
                                                  again_count, &batch->error);
}

/* Sorted, with the twins of the batch sent back: the second of one id waits for the first one's end. Returns how many
 * are left. */
static size_t claim_sort(struct claim_order *orders, size_t count)
{
    size_t kept = 0;
    qsort(orders, count, sizeof *orders, order_compare);
    for (size_t i = 0; i < count; i++)
        if (kept > 0 && claim_compare(&orders[kept - 1], &orders[i]) == 0)
            orders[i].work->verdict = VERDICT_REQUEUE;
        else
            orders[kept++] = orders[i];
    return kept;
}

void batch_claim(struct batch *batch)
{
    size_t count = 0;
    if (batch->connection == NULL)
        return;
    struct claim_order *orders = arena_alloc_raw(batch->arena, batch->count * sizeof *orders);
    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        if (!wants_claim(batch, work))
            continue;
        struct event_id id = work->item->condemned == DEAD_ID_CONFLICT ? conflict_id(batch, work) : work->event.id;
        orders[count++] = (struct claim_order){
            .claim = {.handler = work_number(batch, work), .id = id, .hash = (int64_t)work->event.payload_hash},
            .work = work};
    }
    if (count == 0)
        return;
    size_t kept = claim_sort(orders, count), first = batch->claim_count;
    if (batch->claims == NULL)
        batch->claims = arena_array(batch->arena, struct claim, batch->count);
    for (size_t i = 0; i < kept; i++)
        batch->claims[first + i] = orders[i].claim;
    batch->claim_count = first + kept;
    if (!batch->transaction) {
        batch->result = connection_begin(batch->connection, batch->deadline_ms, &batch->error);
        batch->transaction = true;
    }
    int64_t member = batch->env->member == NULL ? 0 : atomic_load(batch->env->member);
    if (batch->result == STORE_OK)
        batch->result = ledger_claim(batch->connection, member, batch->claims + first, kept, &batch->error);
    if (batch->result == STORE_OK)
        outbox_find_left(batch, batch->claims + first, kept);
    if (batch->result == STORE_OK) {
        claim_answers(batch, orders, first, kept);
        claim_again(batch, orders, kept);
    }
}

void batch_claim_dead(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (batch->works[i].verdict == VERDICT_DEAD && !batch->works[i].claimed) {
            batch_claim(batch); /* nothing else is unclaimed by now: what was to be handled is handled */
            return;
        }
}
