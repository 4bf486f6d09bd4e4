/*
 * plugin.h - from a path to a plugin that can be called: find, check, look at it in a child, load, fill its settings.
 *
 * Loaded with RTLD_NOW | RTLD_LOCAL and never unloaded. Checked before dlopen: a regular file, ELF of this machine,
 * not writable by everyone, its note, the SHA-256 that the pipeline wants; after it: the function, magic, versions,
 * sizes, every table. Each refusal is a sentence with both sides and what to do.
 */
#ifndef SLUICE_PLUGIN_PLUGIN_H
#define SLUICE_PLUGIN_PLUGIN_H

#include "base/sha256.h"
#include "event/event.h"
#include "pipeline/pipeline.h"

/* What is known of a library before it is loaded. */
struct plugin_look {
    bool note;                      /* it has one, which does not refuse it */
    char name[68];                  /* the plugin's, by the note; "" without one */
    char sha256[SHA256_DIGITS + 1]; /* of the file that is loaded, lower-case */
};
/* Finds what would be loaded for a path, makes the engine's copy of it, and looks at that. Runs nothing of it. 0, or
 * the refusal. */
int plugin_look(const char *path, struct plugin_look *ret, struct error *error);
/* Loads and checks one library in a child process, which may crash or hang: 0, or the refusal. timeout_ms bounds it. */
int plugin_probe(const char *path, int64_t timeout_ms, struct error *error);
/* Loads it here. *ret is a descriptor at this header's sizes, tables copied; it lives until the process ends. */
int plugin_load(const char *path, const struct sluice_plugin **ret, struct error *error);
/* Probe and load every plugin of a pipeline; problems stand at their places; also refuses two of one name, and a
 * descriptor named otherwise than its key in the file. */
void plugin_load_all(struct pipeline *pipeline, bool probe, struct problems *problems);

/* Bounds that sluice/plugin.h promises: outputs of one call beyond its events, and parameters of one query(). */
enum { CALL_ADDS_MAX = 10000, QUERY_PARAMS_MAX = 64 };

struct isolated;

/* One state of a plugin, a lane's. */
struct plugin_state {
    const struct sluice_plugin *plugin;
    void *state; /* NULL when the plugin keeps none */
    bool opened;
    struct isolated *isolated; /* its handlers run in a process of their own: isolate/isolated.h; NULL: they run here */
};
/* Checks `settings` (may be NULL) against the plugin's table; the problems name file, line, column and the nearest
 * setting. */
void plugin_check_settings(const struct plugin_ref *ref, struct problems *problems);
int plugin_open(const struct plugin_ref *ref, uint32_t lane, struct plugin_state *ret, struct error *error);
/* The two halves of it: a state with its settings, and the plugin's open(). A state that did not begin is closed, too.
 */
int plugin_fill(const struct plugin_ref *ref, struct plugin_state *ret, struct error *error);
int plugin_begin(uint32_t lane, struct plugin_state *state, struct error *error);
void plugin_close(struct plugin_state *state); /* a zeroed or half-open one is fine */

/* Fills the input struct of a handler (input_size bytes at ret, zeroed by the caller) from an event. Texts point
 * into the record or the arena. 0, or -EINVAL with "field 'amount' …: expected …, got …". `path` and `query` of
 * requests come as members of `data` too. */
struct input_meta {
    int64_t attempt, retries_left, retry_count;
};
int input_fill(const struct sluice_field *fields, const struct event *event, const struct input_meta *meta,
               struct arena *arena, void *ret, struct error *error);

#endif
