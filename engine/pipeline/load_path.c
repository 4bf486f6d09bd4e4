/*
 * load_path.c - where a plugin's file is.
 *
 * A path with a slash is taken relative to the configuration's folder. A plain name is looked for in
 * engine.plugin_dir, or else in the folder "plugins" beside the program (a source tree), then in
 * ../lib/sluice/plugins (a tree that was installed, in any folder).
 */
#include "pipeline/load.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static struct span folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? SPAN(".") : (struct span){path, slash == path ? 1 : (size_t)(slash - path)};
}

const char *load_beside(struct load *load, const char *path)
{
    struct span here = folder_of(load->pipeline->file);
    return path[0] == '/' ? path : arena_format(load->arena, "%.*s/%s", (int)here.length, here.at, path);
}

const char *load_plugin_path(struct load *load, const struct plugin_ref *ref)
{
    const char *library = ref->library;
    char self[PATH_MAX] = "";
    const char *dir = load->pipeline->engine.plugin_dir;
    if (strchr(library, '/') != NULL)
        return load_beside(load, library);
    if (dir != NULL)
        return arena_format(load->arena, "%s/%s", load_beside(load, dir), library);
    (void)!readlink("/proc/self/exe", self, sizeof self - 1);
    struct span folder = folder_of(self);
    const char *beside = arena_format(load->arena, "%.*s/plugins/%s", (int)folder.length, folder.at, library);
    if (access(beside, F_OK) == 0)
        return beside;
    const char *installed = arena_format(load->arena, "%.*s/../lib/sluice/plugins/%s", (int)folder.length, folder.at,
                                         library);
    if (access(installed, F_OK) == 0)
        return installed;
    problem_add(load->problems, ref->place, "plugin_refused",
                "plugin '%s': there is neither %s nor %s; write a path, or name the folder with engine.plugin_dir",
                ref->name, beside, installed);
    return NULL;
}
