/*
 * work.c - a plugin built for ever against the sluice/plugin.h of 1.1: a nested field, an open bound, numbers and
 * truths set as such.
 */
#include "sluice/plugin.h"

#include <stdio.h>

struct state {
    struct sluice_text word;
    int64_t pause;
    int32_t opened;
};

static const struct sluice_field settings[] = {
    SLUICE_TEXT(struct state, word, .min = 1, .max = 8, .flags = SLUICE_OPTIONAL, .fallback = "hello"),
    SLUICE_DURATION(struct state, pause, .flags = SLUICE_OPTIONAL, .fallback = "5s"),
    {0},
};

struct work {
    struct sluice_text name, list, topic;
    int64_t number, attempt;
    double ratio;
    int32_t yes;
};

static const struct sluice_field input[] = {
    SLUICE_TEXT(struct work, name, .min = 1, .max = 64),
    SLUICE_INT64(struct work, number, .min = SLUICE_NO_MIN, .max = 5),
    SLUICE_DOUBLE(struct work, ratio),
    SLUICE_BOOL(struct work, yes, .flags = SLUICE_OPTIONAL, .fallback = "true"),
    SLUICE_JSON_AT(struct work, list, "inside.list"),
    SLUICE_META_TEXT(struct work, topic, SLUICE_META_TOPIC),
    SLUICE_META_INT64(struct work, attempt, SLUICE_META_ATTEMPT),
    {0},
};

static const struct sluice_outcome outcomes[] = {{"done", "it is done"}, {"other", NULL}, {0}};
static const struct sluice_field sets[] = {SLUICE_SETS_TEXT("said"),  SLUICE_SETS_INT64("total"),
                                           SLUICE_SETS_JSON("seen"),  SLUICE_SETS_DOUBLE("half"),
                                           SLUICE_SETS_BOOL("truth"), {0}};

static int open_state(void *state, struct sluice_opening *opening)
{
    ((struct state *)state)->opened = opening->size >= sizeof *opening;
    return 0;
}

static void work(void *state, struct sluice_call *call)
{
    const struct state *self = state;
    const struct work *inputs = call->inputs;
    for (uint32_t n = 0; n < call->count; n++) {
        const struct work *in = &inputs[n];
        const struct sluice_event *event = (const struct sluice_event *)(const void *)((const char *)call->events +
                                                                                       n * call->events[0].size);
        char said[128];
        int length = snprintf(said, sizeof said, "%.*s %.*s %d %d %.*s", (int)self->word.length, self->word.at,
                              (int)in->name.length, in->name.at, (int)in->yes, (int)self->opened, (int)in->topic.length,
                              in->topic.at);
        if (in->number == 5) {
            call->host->reject(call, n, "five is too much");
            continue;
        }
        call->host->set_text(call, n, "said", (struct sluice_text){said, (size_t)length});
        call->host->set_int64(call, n, "total", in->number + in->attempt + (int64_t)in->ratio + event->retry_count);
        call->host->set_json(call, n, "seen", in->list);
        call->host->set_double(call, n, "half", in->ratio / 2);
        call->host->set_bool(call, n, "truth", in->yes);
        call->host->outcome(call, n, 0);
    }
}

static const struct sluice_handler handlers[] = {
    {.name = "work",
     .input = input,
     .input_size = sizeof(struct work),
     .outcomes = outcomes,
     .sets = sets,
     .max_events = 10,
     .handle = work},
    {0},
};

SLUICE_PLUGIN(.name = "kept", .version = "1.1", .help = "built against an older header", .settings = settings,
              .state_size = sizeof(struct state), .open = open_state, .handlers = handlers)
