/*
 * bad.h - a plugin that would load. Each file of this folder breaks one thing of it, and its first comment says after
 * "expect:" what `sluice inspect` must answer: PATH stands for the library, the words after ';' are the advice.
 * tests/process/test_plugin_refusals.py builds and reads them.
 */
#ifndef SLUICE_TESTS_BAD_H
#define SLUICE_TESTS_BAD_H

#include "sluice/plugin.h"

struct input {
    struct sluice_text name;
    int64_t amount;
    double ratio;
    int32_t yes;
};

static inline void work(void *state, struct sluice_call *call)
{
    (void)state;
    (void)call;
}

static const struct sluice_outcome good_outcomes[] = {{"done", "it is done"}, {0}};

/* A handler row; what is given last counts. */
#define HANDLER(...)                                                                                                   \
    {                                                                                                                  \
        .name = "work", .help = "works", .outcomes = good_outcomes, .max_events = 1, .handle = work, __VA_ARGS__       \
    }

static const struct sluice_handler good_handlers[] = {HANDLER(.help = "works"), {0}};

#define PLUGIN(...)                                                                                                    \
    SLUICE_PLUGIN(.name = "bad", .version = "1", .help = "breaks one thing", .handlers = good_handlers, __VA_ARGS__)

/* A plugin whose handler has this table of fields, or whose handler this is, or with these settings. */
#define PLUGIN_WITH_FIELDS(...)                                                                                        \
    static const struct sluice_field fields[] = {__VA_ARGS__, {0}};                                                    \
    static const struct sluice_handler handlers[] = {HANDLER(.input = fields, .input_size = sizeof(struct input)),     \
                                                     {0}};                                                             \
    PLUGIN(.handlers = handlers)
#define PLUGIN_WITH_HANDLER(...)                                                                                       \
    static const struct sluice_handler handlers[] = {HANDLER(__VA_ARGS__), {0}};                                       \
    PLUGIN(.handlers = handlers)
#define PLUGIN_WITH_SETTINGS(...)                                                                                      \
    static const struct sluice_field settings[] = {__VA_ARGS__, {0}};                                                  \
    PLUGIN(.settings = settings, .state_size = sizeof(struct input))

#endif
