/*
 * open.c - load, plugins, resolve, check.
 */
#include "cli/open.h"

#include "plugin/plugin.h"

#include <errno.h>

int pipeline_open(const char *path, bool probe, struct arena *arena, struct problems *problems, struct pipeline **ret)
{
    *ret = NULL;
    if (pipeline_load(path, arena, problems, ret) == 0) {
        struct pipeline *pipeline = *ret;
        plugin_load_all(pipeline, probe, problems);
        for (size_t i = 0; i < pipeline->plugin_count; i++)
            if (pipeline->plugins[i].plugin != NULL)
                plugin_check_settings(&pipeline->plugins[i], problems);
        pipeline_resolve(pipeline, problems);
        if (pipeline->whole)
            pipeline_check(pipeline, problems);
    }
    problems_sort(problems);
    return problems->errors > 0 ? -EINVAL : 0;
}
