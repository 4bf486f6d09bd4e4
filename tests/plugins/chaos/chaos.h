/*
 * chaos.h - what the files of chaos share.
 */
#ifndef SLUICE_TESTS_CHAOS_H
#define SLUICE_TESTS_CHAOS_H

#include "sluice/plugin.h"

struct act {
    struct sluice_text mode, path;
    int64_t n, attempt;
};

enum { OK, OTHER };

struct mode {
    const char *name;
    void (*act)(struct sluice_call *call, size_t n, const struct act *act);
};

/* True once for the path of an act: who makes the file. */
__attribute__((visibility("hidden"))) int chaos_is_first(const struct act *act);
__attribute__((visibility("hidden"))) void chaos_sleep(int64_t ms);

/* Each does it when the mode is one of its own; 0 when it is none. */
__attribute__((visibility("hidden"))) int chaos_process(struct sluice_call *call, size_t n, const struct act *act);
__attribute__((visibility("hidden"))) int chaos_sql(struct sluice_call *call, size_t n, const struct act *act);
__attribute__((visibility("hidden"))) int chaos_read(struct sluice_call *call, size_t n, const struct act *act);
__attribute__((visibility("hidden"))) int chaos_types(struct sluice_call *call, size_t n, const struct act *act);
__attribute__((visibility("hidden"))) int chaos_contract(struct sluice_call *call, size_t n, const struct act *act);

#endif
