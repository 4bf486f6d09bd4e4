/*
 * template.c - greets whoever an event names; a plugin to start from.
 *
 * Reads   name   who is greeted
 * Sets    greeting
 * Repeats harmless: the same event is given the same greeting
 * Threads one state for each lane, one call at a time; no globals
 */
#include "sluice/plugin.h"

#include <stdio.h>

/* What an operator may set under `settings:`; the engine has filled it in before any call. */
struct template_state {
    struct sluice_text word;
};

static const struct sluice_field settings[] = {
    SLUICE_TEXT(struct template_state, word, .min = 1, .max = 32, .flags = SLUICE_OPTIONAL, .fallback = "Hello",
                .help = "the word that greets"),
    {0},
};

/* What the handler wants to know of an event. The engine checks it: greet() never sees a bad one. */
struct greet {
    struct sluice_text name;
};

static const struct sluice_field greet_input[] = {
    SLUICE_TEXT(struct greet, name, .min = 1, .max = 64, .help = "who is greeted"),
    {0},
};

/* How it can end; pipeline.yaml says where each outcome goes. */
enum { DONE };

static const struct sluice_outcome greet_outcomes[] = {
    [DONE] = {"done", "greeted"},
    {0},
};

/* What it may add to the event that goes on. */
static const struct sluice_field greet_sets[] = {
    SLUICE_SETS_TEXT("greeting", .help = "the greeting"),
    {0},
};

static void greet(void *state, struct sluice_call *call)
{
    const struct template_state *self = state;
    const struct greet *inputs = call->inputs;
    for (uint32_t n = 0; n < call->count; n++) {
        char text[128];
        int length = snprintf(text, sizeof text, "%.*s, %.*s!", (int)self->word.length, self->word.at,
                              (int)inputs[n].name.length, inputs[n].name.at);
        call->host->set_text(call, n, "greeting", (struct sluice_text){text, (size_t)length});
        call->host->outcome(call, n, DONE);
    }
}

static const struct sluice_handler handlers[] = {
    {.name = "greet",
     .help = "greet whoever the event names",
     .input = greet_input,
     .input_size = sizeof(struct greet),
     .outcomes = greet_outcomes,
     .sets = greet_sets,
     .max_events = 100,
     .handle = greet},
    {0},
};

SLUICE_PLUGIN(.name = "template", .version = "1.0.0", .help = "greets whoever an event names", .settings = settings,
              .state_size = sizeof(struct template_state), .handlers = handlers)
