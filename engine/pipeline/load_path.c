/*
 * load_path.c - where a plugin's file is.
 *
 * A path with a slash is taken relative to the configuration's folder. A plain name is looked for in engine.plugin_dir, or
 * else in the folder "plugins" beside the program, then in the installed one.
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

const char *load_plugin_path(struct load *load, const char *library)
{
    char self[PATH_MAX];
    struct span here = folder_of(load->pipeline->file);
    if (library[0] == '/')
        return library;
    if (strchr(library, '/') != NULL)
        return arena_format(load->arena, "%.*s/%s", (int)here.length, here.at, library);
    const char *dir = load->pipeline->engine.plugin_dir;
    if (dir != NULL && dir[0] == '/')
        return arena_format(load->arena, "%s/%s", dir, library);
    if (dir != NULL)
        return arena_format(load->arena, "%.*s/%s/%s", (int)here.length, here.at, dir, library);
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length > 0) {
        self[length] = '\0';
        struct span beside = folder_of(self);
        const char *path = arena_format(load->arena, "%.*s/plugins/%s", (int)beside.length, beside.at, library);
        if (access(path, F_OK) == 0)
            return path;
    }
    return arena_format(load->arena, "%s/lib/sluice/plugins/%s", SLUICE_PREFIX, library);
}
