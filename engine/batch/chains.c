/*
 * chains.c - the chains that watch a batch's topics.
 *
 * A step that is done, an abort, or an undo that was handled is written down in the transaction of its event.
 * flow/chain.h decides; this file reads and writes the rows and emits the undos. One statement marks all steps of a
 * batch; aborts and undone steps, which are rare, go one by one. The chain's row is locked while it is decided on: of a
 * step and an abort in two transactions, the second sees what the first did.
 */
#include "batch/batch.h"

#include "base/log.h"
#include "event/correlation.h"
#include "flow/chain.h"

/* What flow/chain.h has to know of a chain. */
static struct chain_shape chain_shape_of(const struct chain *chain)
{
    struct chain_shape shape = {.step_count = (int32_t)chain->step_count};
    for (size_t i = 0; i < chain->step_count; i++) {
        if (chain->steps[i].undo == NULL)
            continue;
        shape.has_undo |= 1u << i;
        if (chain->steps[i].undone != NULL)
            shape.waits |= 1u << i;
    }
    return shape;
}

static bool chain_correlation(struct batch *batch, const struct work *work, const struct chain *chain, struct span *ret)
{
    return correlation_read(&work->event.data, span_of(chain->correlate), batch->arena, ret, NULL) ==
           CORRELATION_USABLE;
}

/* Whether the event must be tied to the chain: else a step could not be undone, an abort would undo nothing, and an
 * undone step would be waited for. */
static bool watch_ties(const struct chain_watch *watch, enum correlation_kind kind)
{
    switch (watch->role) {
    case CHAIN_DONE:
        return watch->chain->steps[watch->step].undo != NULL;
    case CHAIN_ABORT:
        return kind != CORRELATION_MISSING || !watch->chain->ignore_uncorrelated;
    case CHAIN_STEP_UNDONE:
        return true;
    case CHAIN_UNDO: /* of somebody else: this chain's own have one */
        break;
    }
    return false;
}

bool chain_refuses(struct batch *batch, struct work *work)
{
    const struct topic *topic = work->item->topic;
    if (topic == NULL || batch->connection == NULL || batch->env->group == NULL || batch->env->group->tap != NULL)
        return false;
    for (size_t w = 0; w < topic->watch_count; w++) {
        const struct chain_watch *watch = &topic->watches[w];
        struct span correlation;
        const char *got = NULL;
        enum correlation_kind kind = correlation_read(&work->event.data, span_of(watch->chain->correlate), batch->arena,
                                                      &correlation, &got);
        if (kind == CORRELATION_USABLE || !watch_ties(watch, kind))
            continue;
        work_dead(batch, work, DEAD_BAD_CORRELATION,
                  "field '%s' ties it to chain '%s': expected a text of 1 to %d bytes or a whole number, got %s",
                  watch->chain->correlate, watch->chain->name, EVENT_ID_MAX, got);
        return true;
    }
    return false;
}

/* Whether chains are told of the work: not when it is tried again, or is a duplicate. */
static bool works_on_chains(const struct work *work)
{
    const struct item *item = work->item;
    if (item->topic == NULL || item->topic->watch_count == 0)
        return false;
    if (item->condemned == DEAD_BAD_OUTPUT || item->minimal)
        return false; /* an undo of it could not be composed: it is a dead letter that says so, once */
    if (work->again && !span_is(record_header(&item->record, HEADER_DLT_CODE), event_dead_word(DEAD_BAD_OUTPUT)))
        return false; /* they were told when it became a dead letter */
    return work_row(work)->chains && work->claimed && work->event.data.text.length > 0;
}

static int16_t chain_number(const struct batch *batch, const struct chain *chain)
{
    return batch->env->numbers->chains[chain->index];
}

/* Writes the decided row and emits the undos, newest step first. */
static void chain_apply(struct batch *batch, struct work *work, const struct chain *chain, struct span correlation,
                        struct event_id id, const struct chain_facts *facts, uint32_t undo)
{
    struct chain_row row = {.chain = chain_number(batch, chain),
                            .state = facts->state,
                            .correlation = id,
                            .done = (int32_t)facts->done,
                            .undoing = (int32_t)facts->undoing,
                            .undone = (int32_t)facts->undone};
    for (int32_t step = (int32_t)chain->step_count - 1; step >= 0 && batch->result == STORE_OK; step--) {
        if (!(undo & 1u << step))
            continue;
        struct span data = {0}, reason = {0};
        batch->result = ledger_chain_data(batch->connection, row.chain, id, (int16_t)step, &data, &reason,
                                          &batch->error);
        if (batch->result == STORE_OK)
            outputs_undo(batch, work, chain, step, data, correlation, reason);
    }
    if (batch->result == STORE_OK)
        batch->result = ledger_chain_update(batch->connection, &row, &batch->error);
}

static struct chain_facts facts_of(const struct chain_row *row)
{
    return (struct chain_facts){.state = row->state,
                                .done = (uint32_t)row->done,
                                .undoing = (uint32_t)row->undoing,
                                .undone = (uint32_t)row->undone};
}

/* Why the chain is undone, for people: the event's own words, else the topic it came on. */
static struct span abort_reason(struct batch *batch, const struct work *work)
{
    const struct json_member *member = json_find(&work->event.data, SPAN("reason"));
    if (member != NULL && member->kind == JSON_KIND_STRING)
        return json_unescape(member->value, member->value_escaped, batch->arena);
    return span_of(work->item->topic->name);
}

static void chain_event(struct batch *batch, struct work *work, const struct chain_watch *watch)
{
    const struct chain *chain = watch->chain;
    struct chain_shape shape = chain_shape_of(chain);
    struct span correlation;
    struct chain_row row = {0};
    uint32_t undo = 0;

    if (!chain_correlation(batch, work, chain, &correlation)) {
        return; /* a dead letter, or an event that belongs to no chain: a hold that ended without a payment, say */
    }
    struct event_id id = event_id_of(correlation);
    struct chain_facts facts;
    if (watch->role == CHAIN_ABORT) {
        batch->result = ledger_chain_abort(batch->connection, chain_number(batch, chain), id, correlation,
                                           abort_reason(batch, work), &row, &batch->error);
        if (batch->result != STORE_OK)
            return;
        facts = facts_of(&row);
        undo = chain_abort(&shape, &facts);
    } else {
        /* An undo that was handled is undone, unless an `undone` topic is to say so. */
        if (watch->role == CHAIN_UNDO && (chain->steps[watch->step].undone != NULL || work->verdict == VERDICT_DEAD))
            return;
        batch->result = ledger_chain_lock(batch->connection, chain_number(batch, chain), id, &row, &batch->error);
        if (batch->result != STORE_OK || row.chain < 0)
            return;
        facts = facts_of(&row);
        undo = chain_step_undone(&shape, &facts, watch->step);
    }
    chain_apply(batch, work, chain, correlation, id, &facts, undo);
}

/* The rows of one statement all say what was before it: of several steps of a correlation, the second one goes on from
 * what the first has left, or it would emit the same undos again. */
static void facts_of_earlier(const struct chain_done *done, const size_t *indexes, size_t row,
                             const struct chain_facts *earlier, struct chain_facts *facts)
{
    const struct chain_done *this = &done[indexes[row]];
    for (size_t r = row; r > 0; r--) {
        const struct chain_done *other = &done[indexes[r - 1]];
        if (other->chain == this->chain &&
            memcmp(&other->correlation, &this->correlation, sizeof this->correlation) == 0) {
            *facts = earlier[r - 1];
            return;
        }
    }
}

/* All steps that were done in this batch, in one statement; those whose chain was aborted before are undone at once. */
static void chain_steps(struct batch *batch)
{
    size_t most = 0, count = 0;
    for (size_t i = 0; i < batch->count; i++)
        if (works_on_chains(&batch->works[i]))
            most += batch->works[i].item->topic->watch_count;
    if (most == 0)
        return;
    struct chain_done *done = arena_array(batch->arena, struct chain_done, most);
    struct work **of = arena_array(batch->arena, struct work *, most);
    const struct chain **chains = arena_array(batch->arena, const struct chain *, most);
    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        for (size_t w = 0; works_on_chains(work) && w < work->item->topic->watch_count; w++) {
            const struct chain_watch *watch = &work->item->topic->watches[w];
            struct span correlation;
            if (watch->role != CHAIN_DONE || watch->chain->steps[watch->step].undo == NULL ||
                !chain_correlation(batch, work, watch->chain, &correlation))
                continue;
            done[count] = (struct chain_done){.chain = chain_number(batch, watch->chain),
                                              .step = (int16_t)watch->step,
                                              .correlation = event_id_of(correlation),
                                              .correlation_text = correlation,
                                              .data = work->event.data.text};
            of[count] = work;
            chains[count++] = watch->chain;
        }
    }
    struct rows *rows = NULL;
    if (count == 0)
        return;
    batch->result = ledger_chain_done(batch->connection, done, count, &rows, &batch->error);
    size_t row_count = batch->result == STORE_OK ? rows_count(rows) : 0;
    struct chain_facts *facts = arena_array(batch->arena, struct chain_facts, row_count + 1);
    size_t *indexes = arena_array(batch->arena, size_t, row_count + 1);
    for (size_t r = 0; batch->result == STORE_OK && r < row_count; r++) {
        size_t index = (size_t)rows_int64(rows, r, 0);
        if (index >= count)
            return;
        indexes[r] = index;
        facts[r] = (struct chain_facts){.state = (int16_t)rows_int64(rows, r, 1),
                                        .done = (uint32_t)rows_int64(rows, r, 2),
                                        .undoing = (uint32_t)rows_int64(rows, r, 3),
                                        .undone = (uint32_t)rows_int64(rows, r, 4)};
        facts_of_earlier(done, indexes, r, facts, &facts[r]);
        struct chain_shape shape = chain_shape_of(chains[index]);
        uint32_t undo = chain_step_done(&shape, &facts[r], done[index].step);
        chain_apply(batch, of[index], chains[index], done[index].correlation_text, done[index].correlation, &facts[r],
                    undo);
    }
}

void batch_chains(struct batch *batch)
{
    if (batch->connection == NULL || !batch->transaction || batch->env->group == NULL ||
        batch->env->group->tap != NULL || batch->env->group->retired != NULL)
        return;
    chain_steps(batch);
    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        for (size_t w = 0; works_on_chains(work) && w < work->item->topic->watch_count && batch->result == STORE_OK;
             w++)
            if (work->item->topic->watches[w].role != CHAIN_DONE)
                chain_event(batch, work, &work->item->topic->watches[w]);
    }
}

enum verdict chain_undo_failed(struct batch *batch, struct work *work)
{
    const struct item *item = work->item;
    for (size_t w = 0; item->topic != NULL && w < item->topic->watch_count; w++) {
        const struct chain *chain = item->topic->watches[w].chain;
        if (item->topic->watches[w].role != CHAIN_UNDO)
            continue;
        if (chain->on_undo_failure == UNDO_RETRY_FOREVER)
            return VERDICT_DELAY;
        if (chain->on_undo_failure != UNDO_PAUSE || !batch->transaction)
            return VERDICT_DEAD;
        struct span correlation;
        struct chain_row row = {0};
        if (!chain_correlation(batch, work, chain, &correlation))
            return VERDICT_DEAD;
        batch->result = ledger_chain_lock(batch->connection, chain_number(batch, chain), event_id_of(correlation), &row,
                                          &batch->error);
        if (batch->result == STORE_OK && row.chain >= 0) {
            struct chain_facts facts = facts_of(&row);
            chain_stuck(&facts);
            row.state = facts.state;
            batch->result = ledger_chain_update(batch->connection, &row, &batch->error);
        }
        log_line(LOG_ERROR, "chain", "chain %s is stuck: undo '%s' failed for good (%s); it waits for an operator",
                 chain->name, chain->steps[item->topic->watches[w].step].name, work->why == NULL ? "" : work->why);
        return VERDICT_STUCK;
    }
    return VERDICT_DEAD;
}
