/*
 * template_store.c - counts how often everybody came, in a table of its own; a plugin with a store to start from.
 *
 * Reads   name   who came
 * Sets    visits how often by now
 * Writes  the table template_store_visits, through the function of its sql/
 * Repeats counted once: the engine hands an event to the handler again only when its transaction was rolled back
 * Threads no state, one call at a time a lane; no globals
 */
#include "sluice/plugin.h"

/* What the handler wants to know of an event. The engine checks it: visit() never sees a bad one. */
struct visit {
    struct sluice_text name;
};

static const struct sluice_field visit_input[] = {
    SLUICE_TEXT(struct visit, name, .min = 1, .max = 64, .help = "who came"),
    {0},
};

/* How it can end; pipeline.yaml says where each outcome goes. The most frequent first. */
enum { AGAIN, FIRST };

static const struct sluice_outcome visit_outcomes[] = {
    [AGAIN] = {"again", "came before"},
    [FIRST] = {"first", "never came before"},
    {0},
};

/* What it adds to the event that goes on. */
static const struct sluice_field visit_sets[] = {
    SLUICE_SETS_INT64("visits", .help = "how often by now"),
    {0},
};

/* One statement for all events of a call: the names go to the server as one array, and a row comes back for each. */
static const struct sluice_sql visit_sql = {"select n, visits from template_store_count($1)"};

static void visit(void *state, struct sluice_call *call)
{
    const struct sluice_host *host = call->host;
    const struct sluice_param names[] = {SLUICE_EACH_TEXT(struct visit, name)};
    const struct sluice_rows *rows = host->query(call, &visit_sql, 1, names);
    (void)state;
    if (rows == NULL)
        return; /* the engine knows why, and gives every event of this call its verdict */
    size_t count = host->row_count(rows);
    for (size_t row = 0; row < count; row++) {
        size_t n = (size_t)host->get_int64(rows, row, 0);
        int64_t visits = host->get_int64(rows, row, 1);
        host->set_int64(call, n, "visits", visits);
        host->outcome(call, n, visits == 1 ? FIRST : AGAIN);
    }
}

static const struct sluice_handler handlers[] = {
    {.name = "visit",
     .help = "count the visit of whoever the event names",
     .input = visit_input,
     .input_size = sizeof(struct visit),
     .outcomes = visit_outcomes,
     .sets = visit_sets,
     .max_events = 500,
     .uses_store = 1,
     .handle = visit},
    {0},
};

SLUICE_PLUGIN(.name = "template_store", .version = "1.0.0", .help = "counts how often everybody came",
              .handlers = handlers)
