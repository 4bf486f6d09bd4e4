/*
 * coverage.c - see coverage.h. A line of the notes is "reached", the path of the file and words for what, tabs between.
 */
#include "flowtest/coverage.h"

#include "base/map.h"
#include "run/gateway.h"

#include <limits.h>
#include <stdlib.h>

static const char LINE_BEGIN[] = "reached\t";

enum { COVERAGE_ARENA_MAX = 64 * 1024 * 1024, COVERAGE_ITEM_MAX = 600 };

struct coverage {
    struct arena *arena;
    struct map *reached;
};

/* What a test may reach: by `topic`, an event is on it; else its binding's handler was called and, with an outcome, has
 * ended so. */
struct reachable {
    struct place place;
    char words[COVERAGE_ITEM_MAX];
    const struct topic *topic;
    const struct binding *binding;
    const char *outcome;
};

struct walk {
    void (*each)(struct walk *walk, const struct reachable *item);
    const struct pipeline *pipeline;
    /* of coverage_note() */
    struct drive *drive;
    const struct seen *list;
    size_t count;
    FILE *out;
    char path[PATH_MAX];
    /* of coverage_print() */
    const struct coverage *coverage;
    size_t reached, total;
};

static void walk_called(struct walk *walk, struct place place, const char *kind, const char *name, const char *more,
                        const struct binding *binding)
{
    struct reachable item = {.place = place, .binding = binding};
    snprintf(item.words, sizeof item.words, "%s %s%s%s", kind, name, more[0] == '\0' ? "" : " ", more);
    walk->each(walk, &item);
}

static void walk_outcomes(struct walk *walk, const struct binding *binding)
{
    for (size_t o = 0; o < binding->outcome_count; o++) {
        struct reachable item = {.binding = binding, .outcome = binding->outcomes[o].name};
        if (binding->by_outcome[o] == NULL)
            continue;
        item.place = binding->by_outcome[o]->place;
        if (item.place.file == NULL) /* it is not written */
            item.place = binding->place;
        snprintf(item.words, sizeof item.words, "outcome %s of %s", item.outcome, binding->id);
        walk->each(walk, &item);
    }
}

/* Dead letter topics are no part of what a flow means to do. What a schedule emits shows on its routes' topics. */
static void walk_items(struct walk *walk)
{
    const struct pipeline *pipeline = walk->pipeline;
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        struct reachable item = {.place = pipeline->topics[i]->place, .topic = pipeline->topics[i]};
        snprintf(item.words, sizeof item.words, "topic %s", item.topic->name);
        if (!item.topic->is_dead_letter)
            walk->each(walk, &item);
    }
    for (size_t i = 0; i < pipeline->binding_count; i++)
        if (pipeline->bindings[i]->handler->kind != SLUICE_SCHEDULE)
            walk_outcomes(walk, pipeline->bindings[i]);
    for (size_t i = 0; i < pipeline->request_count; i++)
        walk_called(walk, pipeline->requests[i].place, "request", pipeline->requests[i].method,
                    pipeline->requests[i].path, pipeline->requests[i].binding);
    for (size_t i = 0; i < pipeline->schedule_count; i++)
        walk_called(walk, pipeline->schedules[i].place, "schedule", pipeline->schedules[i].name, "",
                    pipeline->schedules[i].binding);
    for (size_t i = 0; i < pipeline->tap_count; i++)
        walk_called(walk, pipeline->taps[i].place, "tap", pipeline->taps[i].name, "", pipeline->taps[i].binding);
}

/* ------------------------------------------------------------------------------------------- in the test's process */

static bool is_reached(const struct walk *walk, const struct reachable *item)
{
    struct metrics *metrics = engine_metrics(walk->drive->engine);
    for (size_t i = 0; item->topic != NULL && i < walk->count; i++)
        if (span_is(walk->list[i].record->topic, item->topic->name))
            return true;
    if (item->topic != NULL)
        return false;
    const struct series *series = item->outcome != NULL
                                      ? metrics_series(metrics, METRIC_EVENTS, item->binding->id, item->outcome)
                                      : metrics_series(metrics, METRIC_HANDLER_SECONDS, item->binding->id, NULL);
    return series_value(series) > 0;
}

static void note(struct walk *walk, const struct reachable *item)
{
    if (is_reached(walk, item))
        fprintf(walk->out, "%s%s\t%s\n", LINE_BEGIN, walk->path, item->words);
}

void coverage_note(struct drive *drive, FILE *notes)
{
    struct seen *list;
    struct walk walk = {.each = note, .pipeline = drive->pipeline, .drive = drive, .out = notes};
    if (drive->engine == NULL || realpath(drive->pipeline->file, walk.path) == NULL ||
        drive_events(drive, &list, &walk.count, NULL) != 0)
        return;
    walk.list = list;
    walk_items(&walk);
}

/* ------------------------------------------------------------------------------------------------ of all the tests */

struct coverage *coverage_create(void)
{
    struct coverage *coverage = calloc(1, sizeof *coverage);
    if (coverage == NULL)
        return NULL;
    coverage->arena = arena_create(64 * 1024, COVERAGE_ARENA_MAX);
    coverage->reached = map_create(256);
    if (coverage->arena != NULL && coverage->reached != NULL)
        return coverage;
    coverage_destroy(coverage);
    return NULL;
}

void coverage_destroy(struct coverage *coverage)
{
    if (coverage == NULL)
        return;
    map_destroy(coverage->reached);
    arena_destroy(coverage->arena);
    free(coverage);
}

void coverage_read(struct coverage *coverage, const char *line)
{
    if (strncmp(line, LINE_BEGIN, strlen(LINE_BEGIN)) != 0)
        return;
    struct span words = {line + strlen(LINE_BEGIN), strcspn(line + strlen(LINE_BEGIN), "\n")};
    if (map_get(coverage->reached, words) == NULL)
        map_set(coverage->reached, arena_span(coverage->arena, words), coverage);
}

static bool was_reached(const struct walk *walk, const struct reachable *item)
{
    char words[PATH_MAX + COVERAGE_ITEM_MAX];
    snprintf(words, sizeof words, "%s\t%s", walk->path, item->words);
    return map_get(walk->coverage->reached, span_of(words)) != NULL;
}

static void count(struct walk *walk, const struct reachable *item)
{
    walk->total++;
    walk->reached += was_reached(walk, item);
}

static void print_missing(struct walk *walk, const struct reachable *item)
{
    if (!was_reached(walk, item))
        fprintf(walk->out, "    %s:%d:%d: not reached: %s\n", item->place.file, item->place.line, item->place.column,
                item->words);
}

void coverage_print(const struct coverage *coverage, const struct pipeline *pipeline, FILE *out)
{
    struct walk walk = {.each = count, .pipeline = pipeline, .coverage = coverage, .out = out};
    if (realpath(pipeline->file, walk.path) == NULL)
        return;
    walk_items(&walk);
    fprintf(out, "%s: %zu of %zu reached\n", pipeline->file, walk.reached, walk.total);
    walk.each = print_missing;
    walk_items(&walk);
}
