/*
 * effects.c - a handler whose every effect can be counted: one row for each event, in a table without any unique
 * constraint.
 *
 * Reads    k, seq     the key, and the event's place among those of its key
 *          origin     what the generator calls the event, carried through every retry
 *          climb      outcome `again` on the first `climb` steps of a ladder
 *          flaky      transient failures before it works, in place
 *          divide     0 makes the statement of the whole call fail
 *          refuse     1: rejected
 * Writes   the tables `effects` and (`undo`) `undone`, which the test makes
 * Promises nothing of its own: what is done twice is seen twice
 */
#include "sluice/plugin.h"

struct record {
    struct sluice_text k, origin, event_id;
    int64_t seq, climb, flaky, divide, refuse, attempt, retry_count;
};

static const struct sluice_field record_input[] = {
    SLUICE_TEXT(struct record, k, .min = 1, .max = 64, .help = "the key"),
    SLUICE_TEXT(struct record, origin, .min = 1, .max = 64, .help = "the generator's name of the event"),
    SLUICE_INT64(struct record, seq, .min = 1, .max = INT64_MAX, .help = "place among the events of the key"),
    SLUICE_INT64(struct record, climb, .min = 0, .max = 100, .flags = SLUICE_OPTIONAL, .fallback = "0",
                 .help = "steps to climb"),
    SLUICE_INT64(struct record, flaky, .min = 0, .max = 100, .flags = SLUICE_OPTIONAL, .fallback = "0",
                 .help = "failures in place"),
    SLUICE_INT64(struct record, divide, .min = 0, .max = 100, .flags = SLUICE_OPTIONAL, .fallback = "1",
                 .help = "0 breaks the call"),
    SLUICE_INT64(struct record, refuse, .min = 0, .max = 1, .flags = SLUICE_OPTIONAL, .fallback = "0",
                 .help = "1: rejected"),
    SLUICE_META_TEXT(struct record, event_id, SLUICE_META_EVENT_ID),
    SLUICE_META_INT64(struct record, attempt, SLUICE_META_ATTEMPT),
    SLUICE_META_INT64(struct record, retry_count, SLUICE_META_RETRY_COUNT),
    {0},
};

enum { DONE, AGAIN };

static const struct sluice_outcome record_outcomes[] = {
    [DONE] = {"done", "a row was written"},
    [AGAIN] = {"again", "not yet: nothing was written"},
    {0},
};

/* The rows of those that neither climb, fail nor are refused; the numbers of a table's rows show in which order they
 * came. */
static const struct sluice_sql record_sql = {
    "INSERT INTO effects (event_id, k, origin, seq, climb, unity)"
    " SELECT e.event_id, e.k, e.origin, e.seq, e.climb, 1 / e.divide"
    "   FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], "
    "$8::bigint[],"
    "               $9::bigint[]) WITH ORDINALITY"
    "        AS e (event_id, k, origin, seq, climb, divide, waits, refuse, retry_count, place)"
    "  WHERE e.waits <= 0 AND e.refuse = 0 AND e.retry_count >= e.climb"
    "  ORDER BY e.place"};

static void record(void *state, struct sluice_call *call)
{
    enum { CALL_MAX = 200 };
    const struct record *inputs = call->inputs;
    const struct sluice_host *host = call->host;
    int64_t waits[CALL_MAX];
    (void)state;

    for (uint32_t n = 0; n < call->count; n++)
        waits[n] = inputs[n].flaky + 1 - inputs[n].attempt;
    const struct sluice_param columns[] = {
        SLUICE_EACH_TEXT(struct record, event_id),    SLUICE_EACH_TEXT(struct record, k),
        SLUICE_EACH_TEXT(struct record, origin),      SLUICE_EACH_INT64(struct record, seq),
        SLUICE_EACH_INT64(struct record, climb),      SLUICE_EACH_INT64(struct record, divide),
        SLUICE_ARRAY_INT64(waits, call->count),       SLUICE_EACH_INT64(struct record, refuse),
        SLUICE_EACH_INT64(struct record, retry_count)};
    if (host->query(call, &record_sql, 9, columns) == NULL)
        return;
    for (uint32_t n = 0; n < call->count; n++) {
        if (inputs[n].refuse != 0)
            host->reject(call, n, "refused on demand");
        else if (waits[n] > 0)
            host->retry(call, n, "flaky on demand");
        else
            host->outcome(call, n, inputs[n].retry_count < inputs[n].climb ? AGAIN : DONE);
    }
}

/* Undoes what `record` or nobody did: the fields are those of the event that did it. */
static const struct sluice_field undo_input[] = {
    SLUICE_TEXT(struct record, origin, .min = 1, .max = 64, .help = "the generator's name of what is undone"),
    SLUICE_INT64(struct record, flaky, .min = 0, .max = 100, .flags = SLUICE_OPTIONAL, .fallback = "0",
                 .help = "failures in place"),
    SLUICE_META_TEXT(struct record, event_id, SLUICE_META_EVENT_ID),
    SLUICE_META_INT64(struct record, attempt, SLUICE_META_ATTEMPT),
    {0},
};

static const struct sluice_outcome undo_outcomes[] = {
    {"undone", "a row was written"},
    {0},
};

static const struct sluice_sql undo_sql = {"INSERT INTO undone (event_id, origin)"
                                           " SELECT e.event_id, e.origin"
                                           "   FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY"
                                           "        AS e (event_id, origin, waits, place)"
                                           "  WHERE e.waits <= 0 ORDER BY e.place"};

static void undo(void *state, struct sluice_call *call)
{
    enum { CALL_MAX = 200 };
    const struct record *inputs = call->inputs;
    int64_t waits[CALL_MAX];
    (void)state;

    for (uint32_t n = 0; n < call->count; n++)
        waits[n] = inputs[n].flaky + 1 - inputs[n].attempt;
    const struct sluice_param columns[] = {SLUICE_EACH_TEXT(struct record, event_id),
                                           SLUICE_EACH_TEXT(struct record, origin),
                                           SLUICE_ARRAY_INT64(waits, call->count)};
    if (call->host->query(call, &undo_sql, 3, columns) == NULL)
        return;
    for (uint32_t n = 0; n < call->count; n++) {
        if (waits[n] > 0)
            call->host->retry(call, n, "flaky on demand");
        else
            call->host->outcome(call, n, DONE);
    }
}

/* The body of a request becomes an event for `record`. */
static const struct sluice_field post_input[] = {
    SLUICE_TEXT(struct record, k, .min = 1, .max = 64, .help = "the key"),
    SLUICE_TEXT(struct record, origin, .min = 1, .max = 64, .help = "the generator's name of the event"),
    SLUICE_INT64(struct record, seq, .min = 1, .max = INT64_MAX, .help = "place among the events of the key"),
    {0},
};

static void post(void *state, struct sluice_call *call)
{
    (void)state;
    for (uint32_t n = 0; n < call->count; n++) {
        call->host->reply(call, n, 200, (struct sluice_text){"{}", 2}, 0);
        call->host->outcome(call, n, DONE);
    }
}

static const struct sluice_handler handlers[] = {
    {.name = "record",
     .help = "one row for each event",
     .input = record_input,
     .input_size = sizeof(struct record),
     .outcomes = record_outcomes,
     .max_events = 200,
     .uses_store = 1,
     .handle = record},
    {.name = "undo",
     .help = "one row for each event that undoes another",
     .input = undo_input,
     .input_size = sizeof(struct record),
     .outcomes = undo_outcomes,
     .max_events = 200,
     .uses_store = 1,
     .handle = undo},
    {.name = "post",
     .help = "an event of each request",
     .kind = SLUICE_REQUEST,
     .input = post_input,
     .input_size = sizeof(struct record),
     .outcomes = record_outcomes,
     .max_events = 100,
     .handle = post},
    {0},
};

SLUICE_PLUGIN(.name = "effects", .version = "1.0.0", .help = "effects that can be counted", .handlers = handlers)
