/*
 * chains.c - the chains that watch a batch's topics.
 *
 * A step that is done, an abort, or an undo that was handled is written down in the transaction of its event.
 * flow/chain.h decides; instance.c reads and writes the rows and emits the undos. One statement notes all steps of a
 * batch (steps.c); aborts and undone steps, which are rare, go one by one. The chain's row is locked while it is
 * decided on: of a step and an abort in two transactions, the second sees what the first did.
 */
#include "batch/batch.h"

#include "base/log.h"
#include "batch/instance.h"
#include "batch/steps.h"
#include "batch/timers.h"
#include "event/correlation.h"

#include <stdlib.h>

/* Whether the event must be tied to the chain: else a step could not be undone, an abort would undo nothing, and an
 * undone step would be waited for. */
static bool watch_ties(const struct chain_watch *watch, enum correlation_kind kind)
{
    switch (watch->role) {
    case CHAIN_DONE:
        return watch_notes(watch);
    case CHAIN_ABORT:
        return kind != CORRELATION_MISSING || !watch->chain->ignore_uncorrelated;
    case CHAIN_STEP_UNDONE:
        return true;
    case CHAIN_UNDO: /* of somebody else: this chain's own have one */
    case CHAIN_DONE_BEFORE:
    case CHAIN_ABORT_BEFORE: /* only an instance that there is */
        break;
    }
    return false;
}

const char *chain_refusal(const struct topic *topic, const struct json_object *data, struct arena *arena)
{
    for (size_t w = 0; w < topic->watch_count; w++) {
        const struct chain_watch *watch = &topic->watches[w];
        struct span correlation;
        const char *got = NULL;
        enum correlation_kind kind = correlation_read(data, span_of(watch->chain->correlate), arena, &correlation,
                                                      &got);
        if (kind != CORRELATION_USABLE && watch_ties(watch, kind))
            return arena_format(
                arena, "field '%s' ties it to chain '%s': expected a text of 1 to %d bytes or a whole number, got %s",
                watch->chain->correlate, watch->chain->name, EVENT_ID_MAX, got);
    }
    return NULL;
}

bool chain_refuses(struct batch *batch, struct work *work)
{
    const struct topic *topic = work->item->topic;
    if (topic == NULL || !item_is_event(work->item) || batch->connection == NULL || batch->env->group == NULL ||
        batch->env->group->tap != NULL)
        return false;
    const char *refusal = chain_refusal(topic, &work->event.data, batch->arena);
    if (refusal != NULL)
        work_dead(batch, work, DEAD_BAD_CORRELATION, "%s", refusal);
    return refusal != NULL;
}

bool chains_noted(const struct batch *batch, const struct work *work)
{
    return batch->env->group->tap == NULL && work->reason != DEAD_BAD_CORRELATION &&
           (work_noted_before(work) || works_on_chains(work));
}

/* Why the chain is undone, for people: the event's own words, else the topic it came on. */
static struct span abort_reason(struct batch *batch, const struct work *work)
{
    const struct json_member *member = json_find(&work->event.data, SPAN("reason"));
    if (member != NULL && member->kind == JSON_KIND_STRING)
        return json_unescape(member->value, member->value_escaped, batch->arena);
    return span_of(work->item->topic->name);
}

/* ------------------------------------------------------------------------------------------ aborts and undone steps */

/* Which doing an undo event is of, by its header: false when it has none, as one of somebody else. */
static bool undo_header(const struct work *work, int32_t *ret_generation, int32_t *ret_doing)
{
    struct span text = work->event.record == NULL ? (struct span){NULL, 0}
                                                  : record_header(work->event.record, HEADER_UNDO);
    char local[32], *end;
    if (text.length == 0 || text.length >= sizeof local)
        return false;
    memcpy(local, text.at, text.length);
    local[text.length] = '\0';
    *ret_generation = (int32_t)strtol(local, &end, 10);
    if (*end != '.')
        return false;
    *ret_doing = (int32_t)strtol(end + 1, &end, 10);
    return *end == '\0';
}

/* The step that the event undid, by its topic; -1: the chain began with a definition that has no such step. */
static int32_t step_undone_by(const struct instance *instance, const struct work *work, enum chain_role role)
{
    for (size_t i = 0; i < instance->chain->step_count; i++) {
        const struct chain_step *step = &instance->chain->steps[i];
        if (role == CHAIN_UNDO ? step->undo == work->item->topic && step->undone == NULL
                               : step->undone == work->item->topic)
            return (int32_t)i;
    }
    return -1;
}

/* An undo that was handled is undone, unless an `undone` topic is to say so. */
static void step_undone(struct batch *batch, struct work *work, struct instance *instance, enum chain_role role)
{
    struct chain_facts *facts = &instance->row.facts;
    int32_t step = step_undone_by(instance, work, role), generation, doing;
    bool known = undo_header(work, &generation, &doing);
    if (step < 0 || (known && generation != facts->generation))
        return;
    uint64_t undos = known ? chain_undone(&instance->shape, facts, doing)
                           : chain_step_undone(&instance->shape, facts, step);
    instance_apply(batch, work, instance, undos);
}

/* Whether the chain of the correlation runs, and a step is missing unless `complete` will do. generation: -1 is any. */
static bool chain_goes_on(struct batch *batch, const struct chain *chain, struct span correlation, int64_t generation,
                          bool complete)
{
    struct chain_row row = {.chain = -1};
    batch->result = ledger_chain_lock(batch->connection, chain_number(batch, chain), event_id_of(correlation), &row,
                                      &batch->error);
    return batch->result == STORE_OK && row.chain >= 0 && row.facts.state == CHAIN_RUNNING &&
           (row.missing != 0 || complete) && (generation < 0 || generation == row.facts.generation);
}

static void instance_abort(struct batch *batch, struct work *work, const struct chain *chain, struct span correlation,
                           struct span reason)
{
    struct chain_row row = {0};
    struct instance instance;
    batch->result = ledger_chain_abort(batch->connection, chain_number(batch, chain),
                                       batch->env->numbers->definitions[chain->index], event_id_of(correlation),
                                       correlation, reason, &row, &batch->error);
    if (batch->result != STORE_OK || !instance_open(batch, work, chain, &row, correlation, &instance))
        return;
    timers_over(batch, &instance);
    instance_apply(batch, work, &instance, chain_abort(&instance.shape, &instance.row.facts));
}

/* The timeout of a running chain is over: that aborts it unless it is complete. An operator aborts such, too. */
static void chain_timed_out(struct batch *batch, struct work *work)
{
    const struct chain *chain = work->item->timed_out->chain;
    const struct json_member *generation = json_find(&work->event.data, SPAN("generation"));
    bool asked = json_find(&work->event.data, SPAN("asked")) != NULL;
    struct span correlation;
    int64_t nth = -1;
    if (generation == NULL || json_int64(generation->value, &nth) != 0 ||
        !chain_correlation(batch, work, chain, &correlation) || !chain_goes_on(batch, chain, correlation, nth, asked))
        return;
    log_rarely(1000, LOG_WARN, "chain", "chain %s of %.*s is aborted: %s", chain->name, (int)correlation.length,
               correlation.at, asked ? "an operator asked for it" : "not all of its steps were done in time");
    instance_abort(batch, work, chain, correlation, abort_reason(batch, work));
}

/* A dead letter aborts the chain of its correlation, if that goes on, where the chain says so. */
static void chain_dead_letter(struct batch *batch, struct work *work)
{
    const struct pipeline *config = batch->env->config;
    const struct item *item = work->item;
    struct span correlation;
    /* One whose id another event has is not claimed. An undo that cannot be composed comes back as minimal. */
    if (work->verdict != VERDICT_DEAD || (!work->claimed && item->condemned != DEAD_ID_CONFLICT) || item->minimal ||
        item->timer != 0 || work->event.data.text.length == 0)
        return;
    for (size_t c = 0; c < config->chain_count && batch->result == STORE_OK && !batch->condemned; c++)
        if (config->chains[c].abort_on_dead_letter &&
            chain_correlation(batch, work, &config->chains[c], &correlation) &&
            chain_goes_on(batch, &config->chains[c], correlation, -1, false))
            instance_abort(batch, work, &config->chains[c], correlation,
                           span_of(arena_format(batch->arena, "dead letter on %s: %s", item->topic->name,
                                                work->why == NULL ? "" : work->why)));
}

static bool aborts_on(const struct chain *chain, const struct topic *topic)
{
    for (size_t i = 0; i < chain->abort_count; i++)
        if (chain->abort_on[i] == topic)
            return true;
    return false;
}

static void chain_event(struct batch *batch, struct work *work, const struct chain_watch *watch)
{
    const struct chain *chain = watch->chain;
    struct span correlation;
    struct chain_row row = {0};
    struct instance instance;
    if (!chain_correlation(batch, work, chain, &correlation))
        return; /* a dead letter, or an event that belongs to no chain: a hold that ended without a payment, say */
    if (watch->role == CHAIN_ABORT) {
        instance_abort(batch, work, chain, correlation, abort_reason(batch, work));
        return;
    }
    if (watch->role == CHAIN_UNDO && work->verdict == VERDICT_DEAD)
        return;
    batch->result = ledger_chain_lock(batch->connection, chain_number(batch, chain), event_id_of(correlation), &row,
                                      &batch->error);
    if (batch->result != STORE_OK || row.chain < 0 || !instance_open(batch, work, chain, &row, correlation, &instance))
        return;
    if (watch->role == CHAIN_DONE_BEFORE)
        step_done_before(batch, work, &instance);
    else if (watch->role != CHAIN_ABORT_BEFORE)
        step_undone(batch, work, &instance, watch->role);
    else if (aborts_on(instance.chain, work->item->topic))
        instance_abort(batch, work, chain, correlation, abort_reason(batch, work));
}

/* -------------------------------------------------------------------------------------------------------- the batch */

/* The correlation of a work in the chain, if one of its watches has, or (not `done`) has not, the role of a step that
 * was done. */
static bool has_role(struct batch *batch, const struct work *work, const struct chain *chain, bool done,
                     struct span *ret)
{
    for (size_t w = 0; notes_steps(work) && w < work->item->topic->watch_count; w++) {
        const struct chain_watch *watch = &work->item->topic->watches[w];
        if (watch->chain == chain && (watch->role == CHAIN_DONE) == done)
            return chain_correlation(batch, work, chain, ret);
    }
    return false;
}

/* Whether the work does a step of a chain after another event of works [first, at) that concerns the same chain in
 * another way: then it must not be noted before that one. */
static bool comes_after(struct batch *batch, size_t first, size_t at)
{
    const struct work *work = &batch->works[at];
    for (size_t w = 0; notes_steps(work) && w < work->item->topic->watch_count; w++) {
        const struct chain *chain = work->item->topic->watches[w].chain;
        struct span mine, other;
        if (!has_role(batch, work, chain, true, &mine))
            continue;
        for (size_t i = first; i < at; i++)
            if (has_role(batch, &batch->works[i], chain, false, &other) && span_equal(mine, other))
                return true;
    }
    return false;
}

/* The end of the works from `first` on whose steps may be noted before their aborts. */
static size_t part_end(struct batch *batch, size_t first)
{
    bool others = false;
    for (size_t i = first; i < batch->count; i++) {
        const struct work *work = &batch->works[i];
        if (others && comes_after(batch, first, i))
            return i;
        for (size_t w = 0; !others && notes_steps(work) && w < work->item->topic->watch_count; w++)
            others = work->item->topic->watches[w].role != CHAIN_DONE;
    }
    return batch->count;
}

static void chain_events(struct batch *batch, struct work *work)
{
    size_t count;
    const struct chain_watch *watches = item_watches(work->item, &count);
    if (work->item->timed_out != NULL) {
        chain_timed_out(batch, work);
        return;
    }
    /* A dead letter of an undo was told to no chain. */
    bool noted = work_noted_before(work);
    for (size_t w = 0; w < count && batch->result == STORE_OK && !batch->condemned; w++)
        if (watches[w].role == CHAIN_UNDO || (watches[w].role != CHAIN_DONE && !noted))
            chain_event(batch, work, &watches[w]);
}

static void chains_of_batch(struct batch *batch)
{
    if (batch->connection == NULL || !batch->transaction || batch->env->group == NULL || batch->env->group->tap != NULL)
        return;
    for (size_t first = 0, last; first < batch->count && batch->result == STORE_OK && !batch->condemned; first = last) {
        last = part_end(batch, first);
        chain_steps(batch, first, last);
        for (size_t i = first; i < last && batch->result == STORE_OK && !batch->condemned; i++) {
            if (works_on_chains(&batch->works[i]))
                chain_events(batch, &batch->works[i]);
            if (batch->result == STORE_OK && !batch->condemned)
                chain_dead_letter(batch, &batch->works[i]);
        }
    }
}

void batch_chains(struct batch *batch)
{
    chains_of_batch(batch);
    if (batch->result == STORE_OK && !batch->condemned)
        timers_due(batch);
}

/* The undo of this chain failed for good: its row says so, unless the chain has begun again since. *ret_chain is the
 * definition that it began with. False: batch->result, or the work is condemned. */
static bool undo_stuck(struct batch *batch, struct work *work, const struct chain *current,
                       const struct chain **ret_chain)
{
    struct span correlation;
    struct chain_row row = {.chain = -1};
    struct instance instance;
    int32_t generation, doing;
    *ret_chain = current;
    if (!chain_correlation(batch, work, current, &correlation))
        return true;
    batch->result = ledger_chain_lock(batch->connection, chain_number(batch, current), event_id_of(correlation), &row,
                                      &batch->error);
    if (batch->result != STORE_OK)
        return false;
    if (row.chain < 0 || (undo_header(work, &generation, &doing) && generation != row.facts.generation))
        return true;
    if (!instance_open(batch, work, current, &row, correlation, &instance))
        return false;
    *ret_chain = instance.chain;
    if (instance.chain->on_undo_failure != UNDO_PAUSE)
        return true;
    chain_stuck(&instance.row.facts);
    batch->result = ledger_chain_update(batch->connection, &instance.row, &batch->error);
    return batch->result == STORE_OK;
}

/* The step that is undone on the topic, for people. */
static const char *undone_step(const struct chain *chain, const struct topic *topic)
{
    for (size_t i = 0; i < chain->step_count; i++)
        if (chain->steps[i].undo == topic)
            return chain->steps[i].name;
    return "?";
}

enum verdict chain_undo_failed(struct batch *batch, struct work *work)
{
    const struct item *item = work->item;
    for (size_t w = 0; item->topic != NULL && w < item->topic->watch_count; w++) {
        const struct chain *chain = item->topic->watches[w].chain;
        if (item->topic->watches[w].role != CHAIN_UNDO)
            continue;
        if (batch->transaction && !undo_stuck(batch, work, chain, &chain))
            return VERDICT_DEAD;
        if (chain->on_undo_failure == UNDO_RETRY_FOREVER)
            return VERDICT_DELAY;
        struct span correlation;
        if (chain->on_undo_failure != UNDO_PAUSE || !batch->transaction ||
            !chain_correlation(batch, work, chain, &correlation))
            return VERDICT_DEAD;
        log_line(LOG_ERROR, "chain", "chain %s is stuck: undo '%s' failed for good (%s); it waits for an operator",
                 chain->name, undone_step(chain, item->topic), work->why == NULL ? "" : work->why);
        return VERDICT_STUCK;
    }
    return VERDICT_DEAD;
}
