/*
 * tables.c - what reverse.go reads and sets: constants that C points to, which Go does not have.
 */
#include "input.h"

static const struct sluice_field reverse_input[] = {SLUICE_TEXT(struct input, text, .help = "what is reversed"), {0}};
static const struct sluice_field reverse_sets[] = {SLUICE_SETS_TEXT("reversed"), {0}};
static const struct sluice_outcome reverse_outcomes[] = {{"done", "reversed"}, {0}};

static const struct sluice_handler handlers[] = {
    {.name = "reverse",
     .help = "reverse a text",
     .input = reverse_input,
     .input_size = sizeof(struct input),
     .outcomes = reverse_outcomes,
     .sets = reverse_sets,
     .max_events = 100,
     .handle = handleReverse},
    {0},
};

SLUICE_PLUGIN(.name = "reverse", .version = "1.0.0", .help = "reverses texts, in Go", .handlers = handlers)
