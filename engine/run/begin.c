/*
 * begin.c - see begin.h.
 *
 * A group that was started before is left alone, whatever became of its positions: only a new name begins. A tap that
 * is added to a pipeline which has run is behind all events of its topics. A pipeline's own group repeats something
 * when another pipeline of this database has read its topics, which may be the same one under its old name. Without a
 * store nobody knows of others, and any event counts.
 */
#include "run/begin.h"

#include "run/renames.h"
#include "run/waiting.h"

/* The topics that the group has work on or watches, each by its name. */
static size_t topics_of(const struct names *names, const struct group *group, struct bus_standing *ret)
{
    const struct pipeline *config = names->config;
    size_t count = 0;
    for (size_t i = 0; group->tap == NULL && i < group->topic_count; i++)
        ret[count++].topic = group->topics[i];
    for (size_t i = 0; group->tap != NULL && i < config->topic_count; i++)
        if (tap_sees(group->tap, config->topics[i]))
            ret[count++].topic = config->topics[i]->name;
    return count;
}

static bool was_started(const struct names *names, const struct group *group)
{
    for (size_t i = 0; i < names->known_count; i++)
        if (names_kind(&names->known[i]) == 'g' && span_is(names->known[i].row.name, group->name))
            return true;
    return false;
}

/* Whether the group has a position in one of the topics. */
static int has_position(struct names *names, const char *group, struct bus_standing *topics, size_t count, bool *ret)
{
    int code = count == 0 ? 0 : bus_standing(names->bus, group, topics, count, 0, names->error);
    for (size_t i = 0; i < count && code == 0; i++)
        *ret = *ret || topics[i].known;
    return code;
}

/* The first of the topics in which there are events, or NULL. */
static int find_events(struct names *names, const struct group *group, struct bus_standing *topics, size_t count,
                       const char **ret)
{
    int code = count == 0 ? 0 : bus_standing(names->bus, group->name, topics, count, 1, names->error);
    for (size_t i = 0; i < count && code == 0 && *ret == NULL; i++)
        if (topics[i].unread > 0)
            *ret = topics[i].topic;
    return code;
}

/* Another pipeline's own group that has read one of the topics, and the topic, in which there are events. */
static int find_reader(struct names *names, const struct group *group, const struct bus_standing *topics, size_t count,
                       const char **ret_reader, const char **ret_topic)
{
    struct span *spans = arena_array(names->arena, struct span, count + 1);
    struct rows *rows = NULL;
    for (size_t i = 0; i < count; i++)
        spans[i] = span_of(topics[i].topic);
    int code = names_code(
        ledger_known_readers(names->connection, spans, count, span_of(group->name), &rows, names->error));
    for (size_t r = 0; code == 0 && r < rows_count(rows) && *ret_topic == NULL; r++) {
        struct bus_standing topic = {.topic = arena_string(names->arena, rows_span(rows, r, 0))};
        bool known = false;
        *ret_reader = arena_string(names->arena, rows_span(rows, r, 1));
        code = has_position(names, *ret_reader, &topic, 1, &known);
        if (code == 0 && known)
            code = find_events(names, group, &topic, 1, ret_topic);
    }
    return code;
}

/* reader NULL: the events are older than the tap, or nobody can know who has read them. */
static void say(struct names *names, const struct group *group, const char *reader, const char *topic)
{
    struct arena *arena = names->arena;
    bool tap = group->tap != NULL;
    const char *renamed = tap || reader == NULL
                              ? ""
                              : arena_format(arena, "; or, if it is '%s' under a new name, 'renamed: {%s: %s}'", reader,
                                             reader, group->name);
    names->findings++;
    names->each(
        names->context, tap ? group->tap->place : names->config->bus.place, "start_position",
        arena_format(arena,
                     "%s '%s' is new, and topic '%s' has events%s%s%s; say %s%s%s: earliest (all of them come again), "
                     "latest (only what comes from now on) or a time%s",
                     tap ? "tap" : "group", tap ? group->tap->name : group->name, topic,
                     reader == NULL ? "" : " that group '", reader == NULL ? "" : reader,
                     reader == NULL ? "" : "' has read", tap ? "taps." : "engine", tap ? group->tap->name : "", ".from",
                     renamed));
}

/* A group without a position that was not told where to begin. */
static int look(struct names *names, const struct group *group, bool ran, struct bus_standing *topics, size_t count)
{
    const char *reader = NULL, *topic = NULL;
    bool old = names->connection == NULL ? group->tap == NULL || ran : group->tap != NULL && ran;
    int code = old ? find_events(names, group, topics, count, &topic) : 0;
    if (code == 0 && topic == NULL && names->connection != NULL)
        code = find_reader(names, group, topics, count, &reader, &topic);
    if (code == 0 && topic != NULL)
        say(names, group, reader, topic);
    return code;
}

static int begin_group(struct names *names, const struct group *group, bool ran)
{
    static const struct start earliest = {.from = START_EARLIEST};
    const struct start *start = group->tap != NULL ? &group->tap->start : &names->config->engine.start;
    struct bus_standing *topics = arena_array(names->arena, struct bus_standing, names->config->topic_count + 1);
    size_t count = topics_of(names, group, topics), there = 0, before = names->findings;
    const char **names_there = arena_array(names->arena, const char *, count + 1);
    bool known = false;
    int code = has_position(names, group->name, topics, count, &known);
    if (code != 0 || count == 0 || known)
        return code;
    for (size_t i = 0; i < count; i++)
        if (topics[i].exists)
            names_there[there++] = topics[i].topic;
    if (start->from == START_NOT_ASKED) {
        code = look(names, group, ran, topics, count);
        start = &earliest;
    }
    bool recorded = names->connection != NULL && (group->tap == NULL || binding_is_recorded(group->tap->binding));
    return code == 0 && names->change && names->findings == before
               ? bus_begin(names->bus, group->name, names_there, there, start, recorded, names->error)
               : code;
}

/* The pipeline's own group comes last: that it has a position tells that the pipeline has run. */
int begin_groups(struct names *names)
{
    const struct pipeline *config = names->config;
    struct bus_standing *topics = arena_array(names->arena, struct bus_standing, config->topic_count + 1);
    struct span *pipelines = arena_array(names->arena, struct span, config->answer_count + 2);
    bool ran = names->remembered;
    if (!names->change && !ran && renames_pipelines(names, pipelines) > 1)
        return 0; /* its groups have the positions of the old name as soon as it starts */
    int code = ran ? 0
                   : has_position(names, config->engine.group, topics, topics_of(names, &config->groups[0], topics),
                                  &ran);
    for (size_t i = config->group_count; i > 0 && code == 0; i--) {
        const struct group *group = &config->groups[i - 1];
        if (group->retired == NULL && !was_started(names, group))
            code = begin_group(names, group, ran);
    }
    return code;
}
