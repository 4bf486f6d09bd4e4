/*
 * plugins.c - the plugins of a pipeline, loaded together: each looked at without running it, then loaded in a child
 * process, then here; and no two of one name.
 */
#include "plugin/plugin.h"

#include <strings.h>
#include <sys/stat.h>

enum { PROBE_TIMEOUT_MS = 10000 };

static bool same_library(const struct plugin_ref *a, const struct plugin_ref *b)
{
    struct stat one, other;
    return a->plugin == b->plugin || (stat(a->path, &one) == 0 && stat(b->path, &other) == 0 &&
                                      one.st_dev == other.st_dev && one.st_ino == other.st_ino);
}

/* Whether `ref`, whose plugin has this name, may be called what it is called, given those before it. */
static bool name_check(const struct pipeline *pipeline, const struct plugin_ref *ref, const char *name,
                       struct problems *problems)
{
    for (const struct plugin_ref *other = pipeline->plugins; other < ref; other++) {
        if (other->plugin == NULL)
            continue;
        if (same_library(other, ref)) {
            problem_add(
                problems, ref->place, "plugin_same_library",
                "plugin '%s': %s is the library of plugin '%s' too; a plugin is loaded once, and one entry serves any "
                "number of topics",
                ref->name, ref->path, other->name);
            return false;
        }
        if (strcmp(other->plugin->name, name) == 0) {
            problem_add(problems, ref->place, "plugin_same_name",
                        "plugin '%s': %s and %s both hold a plugin named '%s'; names are unique, remove one of the two",
                        ref->name, other->path, ref->path, name);
            return false;
        }
    }
    if (strcmp(name, ref->name) == 0)
        return true;
    problem_add(problems, ref->place, "plugin_other_name",
                "plugin '%s': the plugin in %s is named '%s'; write '%s:' here", ref->name, ref->path, name, name);
    return false;
}

/* Whether the library is the one that the file names, if it names one. */
static bool hash_check(const struct plugin_ref *ref, const char *sha256, struct problems *problems)
{
    if (ref->sha256 == NULL || strcasecmp(ref->sha256, sha256) == 0)
        return true;
    problem_add(
        problems, ref->sha256_place, "plugin_other_file",
        "plugin '%s': %s has the SHA-256 %s, expected %s; put the library back that was meant, or write here what "
        "it has now when that is meant",
        ref->name, ref->path, sha256, ref->sha256);
    return false;
}

static void refuse(const struct plugin_ref *ref, const struct error *error, struct problems *problems)
{
    problem_add(problems, ref->place, "plugin_refused", "plugin '%s': %s%s%s", ref->name, error->text,
                error->hint[0] == '\0' ? "" : "; ", error->hint);
}

static void load_one(struct pipeline *pipeline, struct plugin_ref *ref, bool probe, struct problems *problems)
{
    struct error error = {0};
    struct plugin_look look;
    const struct sluice_plugin *plugin = NULL;
    if (ref->path == NULL) /* pipeline_load() has reported why */
        return;
    int r = plugin_look(ref->path, &look, &error);
    if (r == 0 &&
        (!hash_check(ref, look.sha256, problems) || (look.note && !name_check(pipeline, ref, look.name, problems))))
        return;
    if (r == 0 && probe)
        r = plugin_probe(ref->path, PROBE_TIMEOUT_MS, &error);
    if (r == 0)
        r = plugin_load(ref->path, &plugin, &error);
    if (r != 0) {
        refuse(ref, &error, problems);
        return;
    }
    ref->plugin = plugin;
    if (!look.note && !name_check(pipeline, ref, plugin->name, problems))
        ref->plugin = NULL;
}

void plugin_load_all(struct pipeline *pipeline, bool probe, struct problems *problems)
{
    for (size_t i = 0; i < pipeline->plugin_count; i++)
        load_one(pipeline, &pipeline->plugins[i], probe, problems);
}
