/*
 * timeline_reading.c - events of a timeline that a group has not read: the pipeline's own, which hands them to their
 * topics' handlers, and those of taps.
 *
 * An event that a group's handler has had waits for nothing there. One that waits in a row, or for a pause to end, has
 * its cause already; but nothing moves it while no process runs. A tap that leaves nothing in the database has had what
 * is below its position.
 */
#include "operate/timeline.h"

#include "pipeline/pausable.h"

#include <errno.h>

/* A group, for the time in which its events are looked at. */
struct reader {
    struct timeline *timeline;
    const struct group *group;
    struct bus_place *places;
    struct bus_reading *readings;
    struct timeline_event **events; /* that have not ended there */
    size_t count;
};

static bool is_handled(const struct timeline_event *event, const struct binding *binding, bool own)
{
    for (size_t e = 0; e < event->ended_count; e++)
        if (strcmp(event->ended[e].handler, binding->id) == 0)
            return true;
    return own && event->letter_count > 0;
}

/* The binding that the event waits for in the group; NULL: for none. */
static const struct binding *binding_of(const struct reader *reader, const struct timeline_event *event)
{
    const struct topic *topic = pipeline_topic(reader->timeline->pipeline, event->topic);
    const struct tap *tap = reader->group->tap;
    if (topic == NULL || event->poison || (tap == NULL ? event->dead_letter : !tap_sees(tap, topic)))
        return NULL;
    const struct binding *binding = tap == NULL ? topic->binding : tap->binding;
    return binding == NULL || is_handled(event, binding, tap == NULL) ? NULL : binding;
}

static bool is_of_tap(const struct wait *wait, const struct group *group)
{
    return group->tap != NULL && wait->name != NULL &&
           (strcmp(wait->name, group->tap->binding->id) == 0 || strcmp(wait->name, group->name) == 0);
}

/* Whether it says why the event waits in the reader's group: a cause is the pipeline's own unless it names a tap. */
static bool is_ours(const struct reader *reader, const struct binding *binding, const struct wait *wait)
{
    const struct pipeline *pipeline = reader->timeline->pipeline;
    bool ours = reader->group->tap == NULL ? true : is_of_tap(wait, reader->group);
    if (wait->cause == WAIT_PAUSED || wait->cause == WAIT_BREAKER)
        return false; /* the pause itself says whom it holds */
    for (size_t g = 0; reader->group->tap == NULL && g < pipeline->group_count && ours; g++)
        ours = !is_of_tap(wait, &pipeline->groups[g]) || strcmp(wait->name, binding->id) == 0;
    return ours;
}

/* Whether it is said already why the event waits in this group. */
static bool is_explained(const struct reader *reader, const struct timeline_event *event)
{
    const struct group *group = reader->group;
    const struct binding *binding = binding_of(reader, event);
    const struct topic *topic = pipeline_topic(reader->timeline->pipeline, event->topic);
    bool explained = binding == NULL; /* a chain's timer, a name that left the file */
    for (size_t i = 0; i < event->waits.count && !explained; i++)
        explained = is_ours(reader, binding, &event->waits.list[i]);
    for (size_t i = 0; i < event->paused_count && !explained; i++)
        explained = group->tap == NULL ? pause_covers_topic(event->paused[i], topic)
                                       : pause_covers_tap(event->paused[i], group->tap);
    return explained;
}

/* "", or which tap it is that waits. */
static const char *prefix_of(const struct reader *reader)
{
    return reader->group->tap == NULL
               ? ""
               : arena_format(reader->timeline->arena, "tap %s has not read it: ", reader->group->tap->name);
}

static void add(const struct reader *reader, struct timeline_event *event, struct wait wait, const char *sentence)
{
    const struct tap *tap = reader->group->tap;
    wait.name = tap == NULL ? reader->group->name : tap->name;
    wait.cause = tap == NULL ? wait.cause : WAIT_TAP;
    wait.sentence = arena_format(reader->timeline->arena, "%s%s", prefix_of(reader), sentence);
    wait_add(&event->waits, reader->timeline->arena, wait);
}

static void add_engine(const struct reader *reader, struct timeline_event *event)
{
    add(reader, event, (struct wait){.cause = WAIT_ENGINE, .command = "sluice run CONFIG"},
        arena_format(reader->timeline->arena, "no process of group %s runs", reader->group->name));
}

static void add_transaction(const struct reader *reader, struct timeline_event *event,
                            const struct bus_reading *reading)
{
    struct arena *arena = reader->timeline->arena;
    long long pid = (long long)reading->transaction_pid;
    struct wait wait = {.cause = WAIT_TRANSACTION, .pid = pid};
    if (waits_have(&event->waits, WAIT_TRANSACTION))
        return; /* of another group: it is the same one */
    if (reading->transaction[0] == '\0')
        wait.sentence = "a transaction of an engine was open, behind which nothing is read";
    else if (pid == 0)
        wait.sentence = arena_format(arena, "a transaction of an engine is open, and nothing behind it is read: %s",
                                     reading->transaction);
    else {
        wait.sentence = arena_format(arena,
                                     "a transaction of an engine is open, and nothing behind it is read: pid %lld, %s",
                                     pid, reading->transaction);
        wait.command = arena_format(arena, "psql \"$DATABASE_URL\" -c \"select pg_terminate_backend(%lld)\"", pid);
    }
    wait_add(&event->waits, arena, wait);
}

static void add_no_leader(const struct reader *reader, struct timeline_event *event)
{
    struct arena *arena = reader->timeline->arena;
    if (waits_have(&event->waits, WAIT_NO_LEADER))
        return;
    wait_add(&event->waits, arena,
             (struct wait){
                 .cause = WAIT_NO_LEADER,
                 .name = event->topic,
                 .sentence = arena_format(arena, "partition %d of %s has no leader", event->partition, event->topic)});
}

static const char *turn_text(const struct reader *reader, const struct bus_reading *reading)
{
    return reading->before == 0
               ? "it is next in its partition: a handler has it, or tries it again within a second"
               : arena_format(reader->timeline->arena, "its turn: at most %lld record%s of its partition before it",
                              (long long)reading->before, reading->before == 1 ? "" : "s");
}

static void add_reading(const struct reader *reader, struct timeline_event *event, const struct bus_reading *reading)
{
    bool explained = is_explained(reader, event), tap = reader->group->tap != NULL;
    if (reading->members == 0 && (tap ? !explained && !reading->consumed : true))
        add_engine(reader, event);
    if (explained || reading->consumed)
        return;
    if (reading->hidden)
        add_transaction(reader, event, reading);
    else if (reading->members > 0 && reading->no_leader)
        add_no_leader(reader, event);
    else if (reading->members > 0 && !reading->has_reader)
        add(reader, event, (struct wait){.cause = WAIT_NO_READER, .command = "sluice validate --connect CONFIG"},
            arena_format(reader->timeline->arena, "no process of group %s reads its partition, %d", reader->group->name,
                         event->partition));
    else if (reading->members > 0)
        add(reader, event,
            (struct wait){
                .cause = WAIT_QUEUE, .count = reading->before, .command = tap ? "sluice doctor CONFIG" : NULL},
            turn_text(reader, reading));
}

static int find_group(struct reader *reader, struct bus *bus, struct error *error)
{
    struct timeline *timeline = reader->timeline;
    bool own = reader->group->tap == NULL;
    reader->count = 0;
    for (size_t i = 0; i < timeline->count; i++) {
        struct timeline_event *event = &timeline->events[i];
        if (own ? event->waits.count == 0 && binding_of(reader, event) == NULL : is_explained(reader, event))
            continue;
        reader->events[reader->count] = event;
        reader->places[reader->count++] = (struct bus_place){event->topic, event->partition, event->position};
    }
    int code = reader->count == 0
                   ? 0
                   : bus_reading(bus, reader->group->name, reader->places, reader->count, reader->readings, error);
    for (size_t i = 0; i < reader->count && code == 0; i++)
        add_reading(reader, reader->events[i], &reader->readings[i]);
    return code;
}

void timeline_find_reading(struct timeline *timeline, struct bus *bus, struct error *error)
{
    const struct pipeline *pipeline = timeline->pipeline;
    struct reader reader = {.timeline = timeline,
                            .places = arena_array(timeline->arena, struct bus_place, timeline->count + 1),
                            .readings = arena_array(timeline->arena, struct bus_reading, timeline->count + 1),
                            .events = arena_array(timeline->arena, struct timeline_event *, timeline->count + 1)};
    int code = 0;
    for (size_t g = 0; g < pipeline->group_count && code == 0; g++) {
        reader.group = &pipeline->groups[g];
        if (reader.group->retired == NULL)
            code = find_group(&reader, bus, error);
    }
    if (code != 0 && code != -ENOTSUP && timeline->incomplete == NULL)
        timeline->incomplete = arena_string(timeline->arena, span_of(error->text));
}

bool timeline_find_leaderless(struct timeline *timeline, struct bus *bus)
{
    const struct pipeline *pipeline = timeline->pipeline;
    struct arena *arena = timeline->arena;
    struct bus_place *places = arena_array(arena, struct bus_place, pipeline->topic_count + 1);
    struct bus_reading *readings = arena_array(arena, struct bus_reading, pipeline->topic_count + 1);
    struct error error;
    for (size_t i = 0; i < pipeline->topic_count; i++)
        places[i] = (struct bus_place){pipeline->topics[i]->name, -1, {0, 0}};
    if (bus_reading(bus, pipeline->engine.group, places, pipeline->topic_count, readings, &error) != 0)
        return false;
    size_t first = pipeline->topic_count, others = 0;
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        if (!readings[i].no_leader)
            continue;
        others += first < pipeline->topic_count;
        first = first == pipeline->topic_count ? i : first;
    }
    if (first == pipeline->topic_count)
        return false;
    const char *more = others == 0 ? ""
                                   : arena_format(arena, ", nor do partitions of %zu other topic%s have one", others,
                                                  others == 1 ? "" : "s");
    wait_add(&timeline->waits, arena,
             (struct wait){.cause = WAIT_NO_LEADER,
                           .name = places[first].topic,
                           .sentence = arena_format(arena,
                                                    "partition %d of %s has no leader%s: an event there is neither "
                                                    "handled nor seen from here",
                                                    readings[first].leaderless, places[first].topic, more)});
    return true;
}
