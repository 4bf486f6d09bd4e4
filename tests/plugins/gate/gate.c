/*
 * gate.c - a handler that rejects every event while a gate is closed, and leaves one row for each once it is open: what
 * an operator mends, before the dead letters are replayed.
 *
 * Reads    k, seq     the key, and the event's place among those of its key
 * Writes   the table `effects` (number bigserial, event_id text, k text, seq bigint), which the test makes
 * Asks     the table `gate`: a row with the handler's name closes it; "wait": what it needs is unavailable
 */
#include "sluice/plugin.h"

struct pass {
    struct sluice_text k, event_id;
    int64_t seq;
};

static const struct sluice_field pass_input[] = {
    SLUICE_TEXT(struct pass, k, .min = 1, .max = 64, .help = "the key"),
    SLUICE_INT64(struct pass, seq, .min = 1, .max = INT64_MAX, .help = "place among the events of the key"),
    SLUICE_META_TEXT(struct pass, event_id, SLUICE_META_EVENT_ID),
    {0},
};

static const struct sluice_outcome outcomes[] = {{"done", "a row was written"}, {0}};

/* The numbers of the rows show in which order they came. */
static const struct sluice_sql sql_pass = {
    "with shut as (select count(*) as rows from gate where name = 'pass'),"
    " done as (insert into effects (event_id, k, seq)"
    "  select e.event_id, e.k, e.seq from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality"
    "         as e(event_id, k, seq, place) where (select rows from shut) = 0 and"
    "   not exists (select from gate where name = 'wait') order by e.place)"
    " select rows, (select count(*) from gate where name = 'wait') from shut"};
static const struct sluice_sql sql_watch = {
    "with shut as (select count(*) as rows from gate where name = 'watch'),"
    " done as (insert into watched (event_id, k, seq)"
    "  select e.event_id, e.k, e.seq from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality"
    "         as e(event_id, k, seq, place) where (select rows from shut) = 0 order by e.place)"
    " select rows, 0::bigint from shut"};

static void go(struct sluice_call *call, const struct sluice_sql *sql)
{
    const struct sluice_host *host = call->host;
    const struct sluice_param columns[] = {SLUICE_EACH_TEXT(struct pass, event_id), SLUICE_EACH_TEXT(struct pass, k),
                                           SLUICE_EACH_INT64(struct pass, seq)};
    const struct sluice_rows *rows = host->query(call, sql, 3, columns);
    if (rows == NULL)
        return;
    int64_t closed = host->get_int64(rows, 0, 0);
    if (host->get_int64(rows, 0, 1) > 0) {
        host->unavailable(call, "waits on demand");
        return;
    }
    for (uint32_t n = 0; n < call->count; n++) {
        if (closed > 0)
            host->reject(call, n, "the gate is closed");
        else
            host->outcome(call, n, 0);
    }
}

static void pass(void *state, struct sluice_call *call)
{
    (void)state;
    go(call, &sql_pass);
}

static void watch(void *state, struct sluice_call *call)
{
    (void)state;
    go(call, &sql_watch);
}

/* The body of a request becomes an event for `pass`. */
static void post(void *state, struct sluice_call *call)
{
    (void)state;
    for (uint32_t n = 0; n < call->count; n++) {
        call->host->reply(call, n, 202, (struct sluice_text){"{}", 2}, 0);
        call->host->outcome(call, n, 0);
    }
}

static const struct sluice_field post_input[] = {
    SLUICE_TEXT(struct pass, k, .min = 1, .max = 64, .help = "the key"),
    SLUICE_INT64(struct pass, seq, .min = 1, .max = INT64_MAX, .help = "place among the events of the key"),
    {0},
};

static const struct sluice_handler handlers[] = {
    {.name = "pass",
     .help = "one row for each event, in `effects`",
     .input = pass_input,
     .input_size = sizeof(struct pass),
     .outcomes = outcomes,
     .max_events = 500,
     .uses_store = 1,
     .handle = pass},
    {.name = "watch",
     .help = "one row for each event, in `watched`",
     .input = pass_input,
     .input_size = sizeof(struct pass),
     .outcomes = outcomes,
     .max_events = 500,
     .uses_store = 1,
     .handle = watch},
    {.name = "post",
     .help = "an event of each request",
     .kind = SLUICE_REQUEST,
     .input = post_input,
     .input_size = sizeof(struct pass),
     .outcomes = outcomes,
     .max_events = 100,
     .handle = post},
    {0},
};

SLUICE_PLUGIN(.name = "gate", .version = "1.0.0", .help = "rejects while it is closed", .handlers = handlers)
