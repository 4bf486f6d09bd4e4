/*
 * fake_ledger.c - the tables of store/ledger.h in memory.
 */
#include "fake_ledger.h"

#include "store/ledger_schedule.h"

#include "check.h"

struct span fake_kept(struct connection *connection, struct span text)
{
    return text.at == NULL ? text : arena_span(connection->arena, text);
}

static bool same_id(struct event_id a, struct event_id b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

/* ------------------------------------------------------------------------------------------------------------ inbox */

static struct claim *claim_find(struct fake_tables *tables, int16_t handler, struct event_id id)
{
    for (size_t i = 0; i < tables->claim_count; i++)
        if (tables->claims[i].handler == handler && same_id(tables->claims[i].id, id))
            return &tables->claims[i];
    return NULL;
}

const struct claim *fake_store_claim(const struct connection *connection, const char *id_text)
{
    struct event_id id = event_id_of(span_of(id_text));
    for (size_t i = 0; i < connection->tables.claim_count; i++)
        if (same_id(connection->tables.claims[i].id, id))
            return &connection->tables.claims[i];
    return NULL;
}

enum store_result ledger_claim(struct connection *connection, int64_t member, struct claim *claims, size_t count,
                               struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    assert_int_equal(connection->queued, 0);
    assert_true(count > 0);
    enum store_result result = fake_executed(connection, "claim", count, error);
    if (result == STORE_OK && connection->fenced && member != 0) {
        connection->failed = true;
        error_set(error, ESTALE, "member %lld is removed", (long long)member);
        return STORE_FENCED;
    }
    for (size_t i = 0; result == STORE_OK && i < count; i++) {
        struct claim *claim = &claims[i];
        if (i > 0) {
            int order = claims[i - 1].handler - claim->handler;
            assert_true((order != 0 ? order : memcmp(claims[i - 1].id.bytes, claim->id.bytes, 16)) < 0);
        }
        const struct claim *row = claim_find(tables, claim->handler, claim->id);
        claim->hit = row != NULL;
        claim->conflict = row != NULL && row->hash != claim->hash;
        if (row != NULL)
            claim->outcome = row->outcome;
        else
            FAKE_ADD(tables->claims, tables->claim_count, *claim);
    }
    return result;
}

enum store_result ledger_claim_dead(struct connection *connection, const struct claim *claims, size_t count,
                                    struct error *error)
{
    enum store_result result = fake_executed(connection, "claim_dead", count, error);
    for (size_t i = 0; result == STORE_OK && i < count; i++) {
        struct claim *row = claim_find(&connection->tables, claims[i].handler, claims[i].id);
        assert_non_null(row);
        assert_int_equal(row->outcome, OUTCOME_DEAD);
        row->outcome = 0;
    }
    return result;
}

/* A claim that this transaction made, of a new event or of a dead letter that came again. */
static struct claim *claim_own(struct connection *connection, const struct claim *claim)
{
    struct claim *row = claim_find(&connection->tables, claim->handler, claim->id);
    assert_non_null(row);
    const struct claim *before = claim_find(&connection->before, claim->handler, claim->id);
    assert_true(before == NULL || before->outcome == OUTCOME_DEAD);
    return row;
}

enum store_result ledger_outcomes(struct connection *connection, const struct claim *claims, size_t count,
                                  struct error *error)
{
    size_t changed = 0;
    (void)error;
    for (size_t i = 0; i < count; i++)
        if (claims[i].outcome != 0) {
            claim_own(connection, &claims[i])->outcome = claims[i].outcome;
            changed++;
        }
    fake_queued(connection, "outcomes", changed);
    return STORE_OK;
}

enum store_result ledger_unclaim(struct connection *connection, const struct claim *claims, size_t count,
                                 struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    (void)error;
    fake_queued(connection, "unclaim", count);
    for (size_t i = 0; i < count; i++) {
        struct claim *row = claim_own(connection, &claims[i]);
        *row = tables->claims[--tables->claim_count];
    }
    return STORE_OK;
}

/* --------------------------------------------------------------------------------------------------------- attempts */

struct attempt *fake_attempt(struct fake_tables *tables, const struct attempt *attempt)
{
    for (size_t i = 0; i < tables->attempt_count; i++)
        if (tables->attempts[i].handler == attempt->handler && same_id(tables->attempts[i].id, attempt->id))
            return &tables->attempts[i];
    return NULL;
}

enum store_result ledger_attempts_save(struct connection *connection, const struct attempt *attempts, size_t count,
                                       struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    (void)error;
    fake_queued(connection, "attempts_save", count);
    for (size_t i = 0; i < count; i++) {
        struct attempt *row = fake_attempt(tables, &attempts[i]), made = attempts[i];
        made.reason = fake_kept(connection, made.reason);
        if (row != NULL)
            *row = made;
        else
            FAKE_ADD(tables->attempts, tables->attempt_count, made);
    }
    return STORE_OK;
}

enum store_result ledger_attempts_clear(struct connection *connection, const struct attempt *attempts, size_t count,
                                        struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    (void)error;
    fake_queued(connection, "attempts_clear", count);
    for (size_t i = 0; i < count; i++) {
        struct attempt *row = fake_attempt(tables, &attempts[i]);
        if (row != NULL)
            *row = tables->attempts[--tables->attempt_count];
    }
    return STORE_OK;
}

/* ----------------------------------------------------------------------------------------------------------- outbox */

static struct fake_outbox *outbox_find(struct fake_tables *tables, int64_t id)
{
    for (size_t i = 0; i < tables->outbox_count; i++)
        if (tables->outbox[i].id == id)
            return &tables->outbox[i];
    return NULL;
}

enum store_result ledger_outbox_add(struct connection *connection, int64_t owner, struct span record_batch,
                                    int64_t *ret_id, struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    (void)error;
    fake_queued(connection, "outbox_add", 0);
    *ret_id = connection->next_row++; /* a sequence: a rollback gives none back */
    FAKE_ADD(tables->outbox, tables->outbox_count,
             (struct fake_outbox){.id = *ret_id, .owner = owner, .batch = fake_kept(connection, record_batch)});
    return STORE_OK;
}

enum store_result ledger_outbox_done(struct connection *connection, const int64_t *ids, size_t count,
                                     struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    (void)error;
    fake_queued(connection, "outbox_done", count);
    for (size_t i = 0; i < count; i++) {
        struct fake_outbox *row = outbox_find(tables, ids[i]);
        if (row != NULL)
            *row = tables->outbox[--tables->outbox_count];
    }
    return STORE_OK;
}

/* Whatever rows others have here are of the transaction that made the claims; one that was released was written again
 * by another. */
enum store_result ledger_outbox_of_claims(struct connection *connection, int64_t but_owner, const struct claim *claims,
                                          size_t count, struct rows **ret, struct error *error)
{
    static const enum param_type type = PARAM_INT8;
    struct fake_cell cells[FAKE_TABLE_MAX];
    const struct fake_tables *tables = &connection->tables;
    size_t found = 0;
    enum store_result result = fake_executed(connection, "outbox_of_claims", count, error);
    for (size_t i = 0; i < count; i++)
        assert_true(claims[i].hit);
    for (size_t i = 0; i < tables->outbox_count; i++)
        if (tables->outbox[i].owner != but_owner && tables->outbox[i].owner != 0)
            cells[found++] = (struct fake_cell){.number = tables->outbox[i].id};
    *ret = fake_rows(connection, 1, &type, found, cells);
    return result;
}

enum store_result ledger_outbox_lock(struct connection *connection, const int64_t *ids, size_t count, struct rows **ret,
                                     struct error *error)
{
    static const enum param_type types[] = {PARAM_INT8, PARAM_BYTEA};
    struct fake_cell cells[2 * FAKE_TABLE_MAX];
    size_t found = 0;
    enum store_result result = fake_executed(connection, "outbox_lock", count, error);
    for (size_t i = 0; result == STORE_OK && i < count; i++) {
        const struct fake_outbox *row = outbox_find(&connection->tables, ids[i]);
        if (row == NULL)
            continue;
        cells[2 * found] = (struct fake_cell){.number = row->id};
        cells[2 * found++ + 1] = (struct fake_cell){.text = row->batch};
    }
    *ret = fake_rows(connection, 2, types, found, cells);
    return result;
}

enum store_result ledger_outbox_release(struct connection *connection, const int64_t *ids, size_t count,
                                        struct error *error)
{
    (void)error;
    fake_queued(connection, "outbox_release", count);
    for (size_t i = 0; i < count; i++) {
        struct fake_outbox *row = outbox_find(&connection->tables, ids[i]);
        if (row != NULL)
            row->owner = 0;
    }
    return STORE_OK;
}

enum store_result ledger_outbox_refuse(struct connection *connection, int64_t id, struct span record_batch,
                                       struct span reason, struct error *error)
{
    (void)error;
    fake_queued(connection, "outbox_refuse", 0);
    struct fake_outbox *row = outbox_find(&connection->tables, id);
    if (row != NULL)
        *row = (struct fake_outbox){.id = id,
                                    .batch = fake_kept(connection, record_batch),
                                    .refused = true,
                                    .reason = fake_kept(connection, reason)};
    return STORE_OK;
}

enum store_result fake_store_log(struct connection *connection, struct span batch, struct error *error)
{
    (void)error;
    fake_queued(connection, "append", 0);
    FAKE_ADD(connection->tables.log, connection->tables.log_count, fake_kept(connection, batch));
    return STORE_OK;
}

/* ----------------------------------------------------------------------------------------------------------- parked */

static struct parked *parked_find(struct fake_tables *tables, int16_t group, struct event_id id)
{
    for (size_t i = 0; i < tables->parked_count; i++)
        if (tables->parked[i].group == group && same_id(tables->parked[i].id, id))
            return &tables->parked[i];
    return NULL;
}

enum store_result ledger_park(struct connection *connection, const struct parked *parked, size_t count,
                              struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    (void)error;
    if (count == 0)
        return STORE_OK;
    fake_queued(connection, "park", count);
    for (size_t i = 0; i < count; i++) {
        struct parked made = parked[i];
        made.record = fake_kept(connection, made.record);
        made.reason = fake_kept(connection, made.reason);
        made.paused = fake_kept(connection, made.paused);
        struct parked *row = parked_find(tables, made.group, made.id);
        if (row != NULL)
            *row = made;
        else
            FAKE_ADD(tables->parked, tables->parked_count, made);
    }
    return STORE_OK;
}

enum store_result ledger_unpark(struct connection *connection, int16_t group, const struct event_id *ids, size_t count,
                                struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    (void)error;
    fake_queued(connection, "unpark", count);
    for (size_t i = 0; i < count; i++) {
        struct parked *row = parked_find(tables, group, ids[i]);
        if (row != NULL)
            *row = tables->parked[--tables->parked_count];
    }
    return STORE_OK;
}

/* ----------------------------------------------------------------------------------------------------------- chains */

static struct fake_chain *chain_find(struct fake_tables *tables, int16_t chain, struct event_id correlation)
{
    for (size_t i = 0; i < tables->chain_count; i++)
        if (tables->chains[i].row.chain == chain && same_id(tables->chains[i].row.correlation, correlation))
            return &tables->chains[i];
    return NULL;
}

const struct fake_chain *fake_store_chain(const struct connection *connection, const char *correlation)
{
    struct event_id id = event_id_of(span_of(correlation));
    for (size_t i = 0; i < connection->tables.chain_count; i++)
        if (same_id(connection->tables.chains[i].row.correlation, id))
            return &connection->tables.chains[i];
    return NULL;
}

static struct fake_chain *chain_made(struct connection *connection, int16_t chain, int32_t definition,
                                     struct event_id correlation, struct span text)
{
    struct fake_tables *tables = &connection->tables;
    struct fake_chain *row = chain_find(tables, chain, correlation);
    if (row != NULL)
        return row;
    FAKE_ADD(tables->chains, tables->chain_count,
             (struct fake_chain){.row = {.chain = chain, .correlation = correlation, .definition = definition},
                                 .correlation = fake_kept(connection, text)});
    return &tables->chains[tables->chain_count - 1];
}

enum store_result ledger_chain_done(struct connection *connection, const struct chain_done *done, size_t count,
                                    struct chain_noted *ret, size_t *ret_count, struct error *error)
{
    bool too_many[FAKE_TABLE_MAX] = {false};
    enum store_result result = fake_executed(connection, "chain_done", count, error);
    *ret_count = 0;
    for (size_t i = 0; result == STORE_OK && i < count; i++) {
        struct fake_chain *row = chain_made(connection, done[i].chain, done[i].definition, done[i].correlation,
                                            done[i].correlation_text);
        bool made = row->row.facts.count == 0 && row->row.missing == 0 && row->row.facts.state == CHAIN_RUNNING;
        row->row.missing = made ? done[i].missing : row->row.missing & done[i].missing;
        uint8_t steps[FAKE_TABLE_MAX];
        size_t places[FAKE_TABLE_MAX];
        int32_t notes = 0;
        bool earlier = false;
        for (size_t j = 0; j < count; j++) {
            if (done[j].chain != done[i].chain || !same_id(done[j].correlation, done[i].correlation))
                continue;
            if (done[j].data.at == NULL)
                continue;
            earlier = earlier || j < i;
            places[notes] = j;
            steps[notes++] = (uint8_t)done[j].step;
        }
        too_many[i] = row->row.facts.count + notes > CHAIN_DOINGS_MAX;
        if (earlier || too_many[i] || row->row.definition != done[i].definition || done[i].data.at == NULL)
            continue;
        chain_note(&row->row.facts, steps, notes);
        for (int32_t n = 0; n < notes; n++)
            row->data[row->row.facts.count - notes + n] = fake_kept(connection, done[places[n]].data);
    }
    for (size_t i = 0; result == STORE_OK && i < count; i++) {
        const struct fake_chain *row = chain_find(&connection->tables, done[i].chain, done[i].correlation);
        bool same = row->row.definition == done[i].definition;
        if (row->row.facts.state != CHAIN_RUNNING || !same || too_many[i] || done[i].timed)
            ret[(*ret_count)++] = (struct chain_noted){i, same, too_many[i], row->row};
    }
    return result;
}

enum store_result ledger_chain_abort(struct connection *connection, int16_t chain, int32_t definition,
                                     struct event_id correlation, struct span correlation_text, struct span reason,
                                     struct chain_row *ret, struct error *error)
{
    enum store_result result = fake_executed(connection, "chain_abort", 0, error);
    if (result != STORE_OK)
        return result;
    struct fake_chain *row = chain_made(connection, chain, definition, correlation, correlation_text);
    *ret = row->row;
    if (row->row.facts.state == CHAIN_RUNNING) {
        row->row.facts.state = CHAIN_ABORTED;
        row->reason = fake_kept(connection, reason);
    }
    return STORE_OK;
}

enum store_result ledger_chain_data(struct connection *connection, int16_t chain, struct event_id correlation,
                                    int32_t doing, struct span *ret_data, struct span *ret_reason, struct error *error)
{
    enum store_result result = fake_executed(connection, "chain_data", 0, error);
    const struct fake_chain *row = chain_find(&connection->tables, chain, correlation);
    if (result == STORE_OK && row != NULL) {
        *ret_data = row->data[doing];
        *ret_reason = row->reason;
    }
    return result;
}

enum store_result ledger_chain_lock(struct connection *connection, int16_t chain, struct event_id correlation,
                                    struct chain_row *ret, struct error *error)
{
    enum store_result result = fake_executed(connection, "chain_lock", 0, error);
    const struct fake_chain *row = chain_find(&connection->tables, chain, correlation);
    *ret = row == NULL ? (struct chain_row){.chain = -1} : row->row;
    return result;
}

enum store_result ledger_chain_note(struct connection *connection, const struct chain_row *row,
                                    const struct chain_done *done, bool begins, struct error *error)
{
    (void)error;
    (void)begins;
    fake_queued(connection, "chain_note", 0);
    struct fake_chain *kept_row = chain_find(&connection->tables, row->chain, row->correlation);
    assert_non_null(kept_row);
    kept_row->row = *row;
    if (done->data.at != NULL)
        kept_row->data[row->facts.count - 1] = fake_kept(connection, done->data);
    return STORE_OK;
}

enum store_result ledger_chain_update(struct connection *connection, const struct chain_row *row, struct error *error)
{
    (void)error;
    fake_queued(connection, "chain_update", 0);
    struct fake_chain *kept_row = chain_find(&connection->tables, row->chain, row->correlation);
    assert_non_null(kept_row);
    kept_row->row.facts = row->facts;
    return STORE_OK;
}

enum store_result ledger_chain_definition(struct connection *connection, int32_t number, struct span *ret,
                                          struct error *error)
{
    enum store_result result = fake_executed(connection, "chain_definition", 0, error);
    *ret = number > 0 && (size_t)number <= connection->tables.definition_count
               ? connection->tables.definitions[number - 1]
               : (struct span){NULL, 0};
    return result;
}

/* ------------------------------------------------------------------------------------------ schedules and replies */

enum store_result ledger_tick(struct connection *connection, int16_t schedule, int64_t period_ms, int64_t *slot_ms,
                              bool *ret, struct error *error)
{
    (void)period_ms;
    struct fake_tables *tables = &connection->tables;
    enum store_result result = fake_executed(connection, "tick", 0, error);
    *ret = true;
    for (size_t i = 0; i < tables->tick_count; i++)
        if (tables->ticks[i].schedule == schedule && tables->ticks[i].slot_ms >= *slot_ms)
            *ret = false;
    if (result == STORE_OK && *ret)
        FAKE_ADD(tables->ticks, tables->tick_count, (struct fake_tick){schedule, *slot_ms});
    return result;
}

enum store_result ledger_replies_save(struct connection *connection, const struct kept_reply *replies, size_t count,
                                      struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    (void)error;
    if (count == 0)
        return STORE_OK;
    fake_queued(connection, "replies_save", count);
    for (size_t i = 0; i < count; i++) {
        struct kept_reply made = replies[i];
        made.body = fake_kept(connection, made.body);
        FAKE_ADD(tables->replies, tables->reply_count, made);
    }
    return STORE_OK;
}

enum store_result ledger_reply_get(struct connection *connection, struct kept_reply *reply, struct error *error)
{
    const struct fake_tables *tables = &connection->tables;
    enum store_result result = fake_executed(connection, "reply_get", 0, error);
    reply->status = 0;
    for (size_t i = 0; i < tables->reply_count; i++)
        if (tables->replies[i].handler == reply->handler && same_id(tables->replies[i].id, reply->id))
            *reply = tables->replies[i];
    return result;
}
