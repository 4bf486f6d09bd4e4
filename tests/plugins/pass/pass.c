/*
 * pass.c - lets events go on as they are: what is left of a pipeline is the engine's own work. For the bench.
 *
 * Reads    number
 * Repeats  harmless
 */
#include "sluice/plugin.h"

struct pass {
    int64_t number;
};

static const struct sluice_field pass_input[] = {
    SLUICE_INT64(struct pass, number, .min = 0, .max = INT64_MAX, .help = "of the event"),
    {0},
};

enum { PASSED };

static const struct sluice_outcome pass_outcomes[] = {
    [PASSED] = {"passed", "goes on"},
    {0},
};

static void pass(void *state, struct sluice_call *call)
{
    (void)state;
    for (uint32_t n = 0; n < call->count; n++)
        call->host->outcome(call, n, PASSED);
}

static const struct sluice_handler handlers[] = {
    {.name = "pass",
     .help = "let every event go on",
     .input = pass_input,
     .input_size = sizeof(struct pass),
     .outcomes = pass_outcomes,
     .max_events = 500,
     .handle = pass},
    {0},
};

SLUICE_PLUGIN(.name = "pass", .version = "1.0.0", .help = "lets events go on as they are", .handlers = handlers)
