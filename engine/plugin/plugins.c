/*
 * plugins.c - the plugins of a pipeline, loaded together: each in a child process first, and no two of one name.
 */
#include "plugin/plugin.h"

enum { PROBE_TIMEOUT_MS = 10000 };

/* Whether `ref` may be called what it is called, given those before it. */
static bool name_check(const struct pipeline *pipeline, const struct plugin_ref *ref, struct problems *problems)
{
    for (const struct plugin_ref *other = pipeline->plugins; other < ref; other++) {
        if (other->plugin == NULL)
            continue;
        if (other->plugin == ref->plugin) {
            problem_add(
                problems, ref->place, "plugin_same_library",
                "plugin '%s': %s is the library of plugin '%s' too; a plugin is loaded once, and one entry serves any "
                "number of topics",
                ref->name, ref->path, other->name);
            return false;
        }
        if (strcmp(other->plugin->name, ref->plugin->name) == 0) {
            problem_add(problems, ref->place, "plugin_same_name",
                        "plugin '%s': %s and %s both hold a plugin named '%s'; names are unique, remove one of the two",
                        ref->name, other->path, ref->path, ref->plugin->name);
            return false;
        }
    }
    if (strcmp(ref->plugin->name, ref->name) == 0)
        return true;
    problem_add(problems, ref->place, "plugin_other_name",
                "plugin '%s': the plugin in %s is named '%s'; write '%s:' here", ref->name, ref->path,
                ref->plugin->name, ref->plugin->name);
    return false;
}

static void load_one(struct pipeline *pipeline, struct plugin_ref *ref, bool probe, struct problems *problems)
{
    struct error error = {0};
    const struct sluice_plugin *plugin = NULL;
    if (ref->path == NULL) /* pipeline_load() has reported why */
        return;
    int r = probe ? plugin_probe(ref->path, PROBE_TIMEOUT_MS, &error) : 0;
    if (r == 0)
        r = plugin_load(ref->path, &plugin, &error);
    if (r != 0) {
        problem_add(problems, ref->place, "plugin_refused", "plugin '%s': %s%s%s", ref->name, error.text,
                    error.hint[0] == '\0' ? "" : "; ", error.hint);
        return;
    }
    ref->plugin = plugin;
    if (!name_check(pipeline, ref, problems))
        ref->plugin = NULL;
}

void plugin_load_all(struct pipeline *pipeline, bool probe, struct problems *problems)
{
    for (size_t i = 0; i < pipeline->plugin_count; i++)
        load_one(pipeline, &pipeline->plugins[i], probe, problems);
}
