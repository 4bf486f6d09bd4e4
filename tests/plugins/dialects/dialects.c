/*
 * dialects.c - each macro of sluice/plugin.h once, in a file that is C11 to C23 and C++17 to C++23 alike;
 * tests/process/test_plugin_languages.py compiles it as each, with all warnings as errors, and compares what is
 * described.
 *
 * What holds for a field is named where the language has names for it, and told by its place in C++17.
 */
#include "sluice/plugin.h"

#ifdef __cplusplus
#define END                                                                                                            \
    {                                                                                                                  \
    }
#else
#define END                                                                                                            \
    {                                                                                                                  \
        0                                                                                                              \
    }
#endif
#if defined(__cplusplus) && __cplusplus < 202002L
#define BOUNDS(from, to, words) from, to, 0, NULL, NULL, words
#define FALLBACK(text) 0, 0, SLUICE_OPTIONAL, text
#define WORDS(of, at, table) of, "1.0.0", "every macro", at, sizeof(struct settings), NULL, NULL, table
#else
#define BOUNDS(from, to, words) .min = from, .max = to, .help = words
#define FALLBACK(text) .flags = SLUICE_OPTIONAL, .fallback = text
#define WORDS(of, at, table)                                                                                           \
    .name = of, .version = "1.0.0", .help = "every macro", .settings = at, .state_size = sizeof(struct settings),      \
    .handlers = table
#endif

struct settings {
    int64_t pause, room;
    struct sluice_text word;
};

static const struct sluice_field settings_table[] = {
    SLUICE_DURATION(struct settings, pause, FALLBACK("5m")),
    SLUICE_SIZE(struct settings, room, FALLBACK("64KiB")),
    SLUICE_TEXT(struct settings, word),
    END,
};

struct input {
    struct sluice_text name, body, id, street, place;
    int64_t count, tries, house;
    double price, height;
    int32_t known, open;
};

static const struct sluice_field input_table[] = {
    SLUICE_TEXT(struct input, name, BOUNDS(1, 64, "who")),
    SLUICE_JSON(struct input, body),
    SLUICE_INT64(struct input, count, BOUNDS(-1, INT64_MAX, "how many")),
    SLUICE_DOUBLE(struct input, price),
    SLUICE_BOOL(struct input, known),
    SLUICE_META_TEXT(struct input, id, SLUICE_META_EVENT_ID),
    SLUICE_META_INT64(struct input, tries, SLUICE_META_ATTEMPT),
    SLUICE_TEXT_AT(struct input, street, "address.street", BOUNDS(1, 64, "where")),
    SLUICE_JSON_AT(struct input, place, "address.place"),
    SLUICE_INT64_AT(struct input, house, "address.house"),
    SLUICE_DOUBLE_AT(struct input, height, "address.height"),
    SLUICE_BOOL_AT(struct input, open, "address.open"),
    END,
};

static const struct sluice_field sets_table[] = {
    SLUICE_SETS_TEXT("text"), SLUICE_SETS_INT64("number"), SLUICE_SETS_DOUBLE("real"),
    SLUICE_SETS_BOOL("yes"),  SLUICE_SETS_JSON("any"),     END,
};

static const struct sluice_outcome outcomes_table[] = {{"done", "all of it"}, END};

static const struct sluice_sql nothing = {"select"};

static void handle(void *state, struct sluice_call *call)
{
    const struct settings *self = (const struct settings *)state;
    const struct input *in = (const struct input *)call->inputs;
    const struct sluice_param params[] = {SLUICE_EACH_TEXT(struct input, name),
                                          SLUICE_EACH_INT64(struct input, count),
                                          SLUICE_EACH_DOUBLE(struct input, price),
                                          SLUICE_EACH_BOOL(struct input, known),
                                          SLUICE_EACH_JSON(struct input, body),
                                          SLUICE_ARRAY_TEXT(&self->word, 1),
                                          SLUICE_ARRAY_INT64(&self->room, 1),
                                          SLUICE_ARRAY_DOUBLE(&in->price, 1),
                                          SLUICE_ARRAY_BOOL(&in->known, 1),
                                          SLUICE_ARRAY_JSON(&in->body, 1),
                                          SLUICE_VALUE_TEXT(&self->word),
                                          SLUICE_VALUE_INT64(&self->pause),
                                          SLUICE_VALUE_DOUBLE(&in->price),
                                          SLUICE_VALUE_BOOL(&in->known),
                                          SLUICE_VALUE_JSON(&in->body)};
    (void)call->host->query(call, &nothing, sizeof params / sizeof params[0], params);
}

static const struct sluice_handler handlers_table[] = {
    {"all", "every macro", input_table, outcomes_table, sets_table, sizeof(struct input), handle, 10, SLUICE_EVENT, 1,
     0},
    END,
};

SLUICE_PLUGIN(WORDS("dialects", settings_table, handlers_table))
