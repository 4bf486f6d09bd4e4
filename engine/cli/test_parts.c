/*
 * test_parts.c - see test_parts.h.
 */
#include "cli/test_parts.h"

#include "pipeline/difference.h"
#include "store/migrate.h"

#include <errno.h>
#include <string.h>

/* What a test has in place of what the file says: the bus is in memory and keeps everything, a group has one lane, as
 * there is one thread, and nothing is traced. */
static void prepare_pipeline(struct pipeline *pipeline)
{
    pipeline->bus.kind = BUS_CHOICE_MEMORY;
    pipeline->bus.property_count = 0;
    pipeline->bus.retention_ms = INT64_MAX / 4;
    pipeline->engine.lanes = 1;
    for (size_t i = 0; i < pipeline->tap_count; i++)
        pipeline->taps[i].lanes = 1;
    pipeline->tracing.url = NULL;
    pipeline->store.allow_unsafe = true;
}

static bool tap_is_named(const struct flow_file *file, const struct tap *tap)
{
    for (const char **name = file->taps; *name != NULL; name++)
        if (strcmp(*name, tap->name) == 0)
            return true;
    return false;
}

/* Taps take part when the file names them. */
static void keep_taps(struct pipeline *pipeline, const struct flow_file *file)
{
    size_t kept = 0;
    for (size_t i = 0; i < pipeline->group_count; i++) {
        struct group *group = &pipeline->groups[i];
        if (group->tap != NULL && !tap_is_named(file, group->tap))
            continue;
        pipeline->groups[kept] = *group;
        pipeline->groups[kept].index = (uint32_t)kept;
        kept++;
    }
    pipeline->group_count = kept;
}

static void check_taps(const struct test_parts *parts, struct problems *problems)
{
    const struct pipeline *pipeline = parts->parts.pipeline;
    const char **known = arena_array(parts->parts.arena, const char *, pipeline->tap_count + 1);
    for (size_t i = 0; i < pipeline->tap_count; i++)
        known[i] = pipeline->taps[i].name;
    for (const char **name = parts->file->taps; *name != NULL; name++) {
        bool found = false;
        for (size_t i = 0; i < pipeline->tap_count && !found; i++)
            found = strcmp(known[i], *name) == 0;
        const char *near = found ? NULL : nearest_name(*name, known);
        if (!found)
            problem_add(problems, parts->file->place, "unknown_tap", "the pipeline has no tap '%s'%s%s%s", *name,
                        near == NULL ? "" : "; did you mean '", near == NULL ? "" : near, near == NULL ? "" : "'?");
    }
}

static void read_pipeline(struct parts *parts, const char *path, const struct flow_file *file,
                          const struct buses *buses)
{
    parts_read(path, buses, parts);
    prepare_pipeline(parts->pipeline);
    if (reading_finish(&parts->reading, true) == 0)
        keep_taps(parts->pipeline, file);
}

void test_parts_read(struct test_parts *parts, const struct buses *buses, struct problems *problems)
{
    read_pipeline(&parts->parts, parts->file->pipeline, parts->file, buses);
    if (parts->parts.reading.problems.errors == 0)
        check_taps(parts, problems);
}

/* ------------------------------------------------------------------------------------------- in the test's process */

/* What a new process opens of its own. */
static int reopen(struct engine_parts *engine, void *context, struct error *error)
{
    struct parts *parts = &((struct test_parts *)context)->parts;
    parts->store = NULL;
    parts->metrics = NULL;
    int code = parts_attach(parts, PARTS_STORE, error);
    engine->store = parts->store;
    engine->metrics = parts->metrics;
    return code;
}

/* False: a running engine cannot change from one file to the other, with the sentences. What the files say is compared,
 * not what tests have in place of it. */
static bool may_change(const struct parts *before, const struct parts *now, struct buffer *ret_why)
{
    struct difference difference;
    struct parts old, new;
    if (now->reading.problems.errors > 0) {
        problems_print(&now->reading.problems, false, ret_why);
        return false;
    }
    parts_read(before->pipeline->file, before->buses, &old);
    parts_read(now->pipeline->file, now->buses, &new);
    difference_find(old.pipeline, new.pipeline, now->arena, &difference);
    for (size_t i = 0; i < difference.refused_count; i++)
        buffer_format(ret_why, "%s%s", i > 0 ? "\n" : "", difference.refused[i]);
    parts_close(&old);
    parts_close(&new);
    return difference.refused_count == 0;
}

/* Whoever reloads has migrated before. */
static int migrate(struct parts *now, const struct migrations *before, struct error *error)
{
    int code = parts_migrations(now, error);
    if (code != 0 || now->migrations == NULL || migrations_digest(now->migrations) == migrations_digest(before))
        return code;
    return migrate_apply(now->store, now->migrations, NULL, NULL, error) == STORE_OK ? 0 : -EIO;
}

static int reread(struct engine_parts *engine, const char *path, void *context, struct buffer *ret_why,
                  struct error *error)
{
    struct test_parts *parts = context;
    struct parts now;
    read_pipeline(&now, path, parts->file, parts->parts.buses);
    if (!may_change(&parts->parts, &now, ret_why))
        return -EINVAL;
    const struct migrations *before = parts->parts.migrations;
    now.pipeline->store.url = parts->parts.pipeline->store.url;
    now.bus = parts->parts.bus;
    parts->parts = now; /* what was before lives as long as the process */
    int code = reopen(engine, parts, error);
    if (code == 0)
        code = migrate(&parts->parts, before, error);
    engine->pipeline = now.pipeline;
    engine->migrations = parts->parts.migrations;
    return code;
}

int test_parts_open(struct test_parts *parts, const char *url, struct drive_parts *ret, struct error *error)
{
    if (url != NULL)
        parts->parts.pipeline->store.url = url;
    int code = parts_attach(&parts->parts, PARTS_BUS, error);
    *ret = (struct drive_parts){.engine = {.pipeline = parts->parts.pipeline,
                                           .bus = parts->parts.bus,
                                           .store = parts->parts.store,
                                           .metrics = parts->parts.metrics,
                                           .migrations = parts->parts.migrations},
                                .reopen = reopen,
                                .reread = reread,
                                .context = parts};
    return code;
}
