/*
 * descriptor.h - what sluice_plugin() returned is read with mistrust and copied at this header's sizes.
 *
 * Every table is bounded before it is walked, every row is checked, and only the bytes that the declared version has
 * are read. A pointer that points nowhere still crashes: that is what plugin_probe()'s child is for.
 */
#ifndef SLUICE_PLUGIN_DESCRIPTOR_H
#define SLUICE_PLUGIN_DESCRIPTOR_H

#include "base/arena.h"
#include "base/error.h"
#include "sluice/plugin.h"

enum {
    DESCRIPTOR_HANDLERS_MAX = 64,
    DESCRIPTOR_OUTCOMES_MAX = 64,
    DESCRIPTOR_INPUT_MAX = 64 * 1024,        /* bytes of an input struct */
    DESCRIPTOR_STATE_MAX = 64 * 1024 * 1024, /* bytes of a state */
    DESCRIPTOR_EVENTS_MAX = 10000,           /* events a call */
};

/* The versions an engine knows: sizes[m] are those of MAJOR.m, up to its own minor. */
struct abi_sizes {
    uint32_t plugin, handler, field, outcome;
};
struct abi {
    uint16_t major, minor;
    const struct abi_sizes *sizes;
    uint32_t unstable;                /* number of its unstable rows, 0: it has none */
    const char *const *unstable_rows; /* their names: "sluice_host.shout", …, NULL */
};
extern const struct abi abi_current;

/* What must hold before anything else of a descriptor is read: magic, versions and sizes. 0 or -EINVAL; sentences do
 * not say whose they are. */
int descriptor_check_head(const struct sluice_plugin *from, const struct abi *abi, struct error *error);
/* Its name, version and help, of a head that is good. The same. */
int descriptor_check_identity(const struct sluice_plugin *plugin, struct error *error);
/* Checks and copies. `name` is what the sentences begin with: a path. The strings stay where they are, in the
 * library. */
int descriptor_copy(const struct sluice_plugin *from, const struct abi *abi, const char *name, struct arena *arena,
                    const struct sluice_plugin **ret, struct error *error);

#endif
