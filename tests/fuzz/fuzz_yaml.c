/*
 * fuzz_yaml.c - any bytes as pipeline.yaml: read, interpolated, loaded, resolved, checked and drawn; nothing may
 * crash, leak or hang.
 *
 *   make fuzz T=yaml
 *
 * The plugins that the file names are taken to hold the handlers below, so that the checks have something to look at.
 */
#include "pipeline/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FUZZ_ARENA_BLOCK = 64 * 1024, FUZZ_ARENA_MAX = 256 * 1024 * 1024, FUZZ_OUT_MAX = 64 * 1024 * 1024 };

static const struct sluice_field input[] = {{.name = "userId", .type = SLUICE_TYPE_INT64},
                                            {.name = "note", .type = SLUICE_TYPE_TEXT, .flags = SLUICE_OPTIONAL},
                                            {0}};
static const struct sluice_field sets[] = {{.name = "amount", .type = SLUICE_TYPE_INT64}, {0}};
static const struct sluice_field settings[] = {
    {.name = "hold", .type = SLUICE_TYPE_DURATION, .flags = SLUICE_OPTIONAL, .fallback = "5m"}, {0}};
static const struct sluice_outcome outcomes[] = {{"success", "it went well"}, {"declined", "it did not"}, {0}};
static const struct sluice_handler handlers[] = {
    {.name = "charge",
     .input = input,
     .outcomes = outcomes,
     .sets = sets,
     .max_events = 10,
     .kind = SLUICE_EVENT,
     .uses_store = 1},
    {.name = "accept", .input = input, .outcomes = outcomes, .sets = sets, .max_events = 1, .kind = SLUICE_REQUEST},
    {.name = "status", .max_events = 1, .kind = SLUICE_REQUEST},
    {.name = "expire", .outcomes = outcomes, .sets = sets, .max_events = 1, .kind = SLUICE_SCHEDULE},
    {.name = "send", .max_events = 10, .kind = SLUICE_EVENT},
    {0},
};
static const struct sluice_plugin plugin = {
    .name = "payment", .version = "1", .settings = settings, .handlers = handlers};

static void draw(const struct pipeline *pipeline)
{
    static const enum graph_format formats[] = {GRAPH_TEXT, GRAPH_MERMAID, GRAPH_DOT, GRAPH_SVG, GRAPH_JSON};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct buffer out;
        buffer_init(&out, FUZZ_OUT_MAX);
        pipelines_graph(&pipeline, 1, formats[i], &out);
        buffer_free(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct problems problems;
    struct pipeline *pipeline = NULL;
    struct buffer out;
    char path[64];
    /* Files of this machine are not to be read (a terminal among them would wait). */
    if (length > 0 && memmem(bytes, length, "file:", 5) != NULL)
        return -1;
    int fd = memfd_create("pipeline.yaml", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct arena *arena = arena_create(FUZZ_ARENA_BLOCK, FUZZ_ARENA_MAX);
    problems_init(&problems, arena);
    if (pipeline_load(path, arena, &problems, &pipeline) == 0) {
        for (size_t i = 0; i < pipeline->plugin_count; i++)
            pipeline->plugins[i].plugin = &plugin;
        pipeline_resolve(pipeline, &problems);
        if (pipeline->whole)
            pipeline_check(pipeline, &problems);
        if (problems.errors == 0)
            draw(pipeline);
    } else if (problems.errors == 0) {
        abort(); /* refused without a word */
    }
    buffer_init(&out, FUZZ_OUT_MAX);
    problems_sort(&problems);
    problems_print(&problems, true, &out);
    buffer_free(&out);
    arena_destroy(arena);
    close(fd);
    return 0;
}
