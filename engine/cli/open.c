/*
 * open.c - see open.h.
 */
#include "cli/open.h"

#include "plugin/plugin.h"

#include <errno.h>

void reading_begin(const char *path, struct arena *arena, struct reading *ret)
{
    *ret = (struct reading){0};
    problems_init(&ret->problems, arena);
    ret->code = pipeline_load(path, arena, &ret->problems, &ret->pipeline);
}

int reading_finish(struct reading *reading, bool probe)
{
    struct pipeline *pipeline = reading->pipeline;
    struct problems *problems = &reading->problems;
    if (reading->code == 0) {
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

void readings_join(struct reading *readings, size_t count)
{
    struct arena *arena = readings[0].pipeline->arena;
    const struct pipeline **pipelines = arena_array(arena, const struct pipeline *, count);
    struct problems *problems = &readings[0].problems;
    bool whole = true;
    for (size_t i = 0; i < count; i++) {
        const struct pipeline *pipeline = pipelines[i] = readings[i].pipeline;
        if (i > 0)
            problems_merge(problems, &readings[i].problems);
        if (!pipeline->whole)
            problem_warn(problems, (struct place){pipeline->file, 1, 1}, "not_together",
                         "with errors in it this file says too little: what is wrong between the files is looked for "
                         "when they are corrected");
        whole = whole && pipeline->whole;
    }
    if (whole)
        pipelines_check(pipelines, count, problems);
    problems_sort(problems);
}
