/*
 * told.c - see told.h.
 */
#include "flowtest/told.h"

#include "operate/timeline.h"

enum { TOLD_LINE_MAX = 240 };

static void print_time(FILE *out, int64_t ms)
{
    fprintf(out, "      %8lld.%03lld s  ", (long long)(ms / 1000), (long long)(ms % 1000));
}

static void print_line(FILE *out, const char *before, struct span text)
{
    size_t length = text.length > TOLD_LINE_MAX ? span_utf8((struct span){text.at, TOLD_LINE_MAX}) : text.length;
    fprintf(out, "%s%.*s%s\n", before, (int)length, text.at, length < text.length ? "…" : "");
}

/* What the store knows of it; NULL: nothing. */
static const struct timeline_event *find_event(const struct timeline *timeline, const struct seen *seen)
{
    for (size_t i = 0; i < timeline->count && !seen->again; i++)
        if (!timeline->events[i].poison && span_is(seen->record->topic, timeline->events[i].topic) &&
            span_is(seen->id, timeline->events[i].id))
            return &timeline->events[i];
    return NULL;
}

static void print_event(const struct timeline *timeline, const struct seen *seen, FILE *out)
{
    const struct record *record = seen->record;
    const struct timeline_event *event = find_event(timeline, seen);
    struct span reason = record_header(record, HEADER_DLT_REASON);
    print_time(out, record->timestamp_ms - FLOW_BEGINS_MS);
    fprintf(out, "    %.*s%s  key %.*s", (int)record->topic.length, record->topic.at, seen->again ? " again" : "",
            (int)record->key.length, record->key.at == NULL ? "" : record->key.at);
    for (size_t i = 0; event != NULL && i < event->ended_count; i++)
        fprintf(out, "  %s → %s", event->ended[i].handler, event->ended[i].outcome);
    if (seen->dead_letter)
        fprintf(out, "  because %.*s", (int)reason.length, reason.at == NULL ? "" : reason.at);
    print_line(out, "  ", seen->data);
    for (size_t i = 0; event != NULL && i < event->waits.count; i++)
        fprintf(out, "                          waits: %s\n", event->waits.list[i].sentence);
}

void told_print(struct drive *drive, const struct told *steps, size_t step_count, FILE *out)
{
    struct timeline timeline = {.arena = drive->arena, .pipeline = drive->pipeline};
    struct error error = {0};
    struct seen *list;
    size_t count = 0, step = 0;
    if (drive_events(drive, &list, &count, NULL) != 0)
        return;
    if (timeline_read_all(&timeline, drive->bus, drive->connection, &error) != 0)
        timeline.count = 0; /* a database that is not there: events are shown without */
    fputs("    timeline\n", out);
    for (size_t i = 0; i <= count; i++) {
        for (; step < step_count && steps[step].events <= i; step++) {
            print_time(out, steps[step].at_ms);
            print_line(out, "", span_of(steps[step].text));
        }
        if (i < count)
            print_event(&timeline, &list[i], out);
    }
}
