/*
 * place.h - what tests of pipelines share: a file of its own for a text, and a pipeline that was read from it.
 */
#ifndef SLUICE_TESTS_PLACE_H
#define SLUICE_TESTS_PLACE_H

#include "pipeline/pipeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct read {
    struct arena *arena;
    struct problems problems;
    struct pipeline *pipeline;
    struct node *root;
};

static inline struct read *read_begin(void)
{
    struct read *read = calloc(1, sizeof *read);
    read->arena = arena_create(64 * 1024, 64 * 1024 * 1024);
    problems_init(&read->problems, read->arena);
    return read;
}

/* Through a real file, as the program does it: "t.yaml" in a folder of its own. */
static inline void read_file(struct read *read, const char *text, bool whole)
{
    char folder[] = "/tmp/sluice-pipeline-XXXXXX";
    assert_non_null(mkdtemp(folder));
    const char *path = arena_format(read->arena, "%s/t.yaml", folder); /* places keep it */
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    if (whole)
        pipeline_load(path, read->arena, &read->problems, &read->pipeline);
    else
        read->root = tree_read(path, read->arena, &read->problems);
    unlink(path);
    rmdir(folder);
}

static inline struct read *read_tree(const char *text)
{
    struct read *read = read_begin();
    read_file(read, text, false);
    return read;
}

static inline struct read *read_pipeline(const char *text)
{
    struct read *read = read_begin();
    read_file(read, text, true);
    return read;
}

static inline void read_end(struct read *read)
{
    arena_destroy(read->arena);
    free(read);
}

/* All problems as "LINE:COLUMN text" lines, sorted. */
static inline const char *said(struct read *read)
{
    const char *text = "";
    problems_sort(&read->problems);
    for (size_t i = 0; i < read->problems.count; i++) {
        const struct problem *problem = &read->problems.list[i];
        text = arena_format(read->arena, "%s%d:%d %s%s\n", text, problem->place.line, problem->place.column,
                            problem->warning ? "warning: " : "", problem->text);
    }
    return text;
}

#endif
