/*
 * load_after.c - `after:` of a topic: its events wait for one of another topic.
 */
#include "pipeline/load.h"

void load_after(struct load *load, struct node *mapping, const char *what, struct topic *topic)
{
    struct node *node = node_get(mapping, "after"), *then;
    if (node == NULL)
        return;
    struct after *after = arena_new(load->arena, struct after);
    what = arena_format(load->arena, "%s.after", what);
    size_t before = load->problems->errors;
    options_apply(after_options, node, node->place, what, after, load->arena, load->problems);
    if (load->problems->errors != before || node->kind != NODE_MAPPING)
        return;
    after->place = node->place;
    after->topic = load_topic_at(load, node, "topic", what);
    then = node_get(node, "then");
    after->handle = then != NULL && span_is(then->text, "handle");
    if (after->topic == NULL || load->problems->errors != before)
        return;
    if (topic->binding == NULL)
        problem_add(load->problems, node->place, "bad_value", "%s: there is no handler whose events could wait", what);
    else if (!load->pipeline->store.present)
        problem_add(load->problems, node->place, "missing_key",
                    "%s: what waits, and what it waits for, is kept in the database; 'store:' is missing", what);
    else
        topic->after = after;
}

/* The topic notes each of its events by this name and field, once. */
static void note(struct load *load, struct topic *topic, const char *name, const char *field)
{
    for (size_t i = 0; i < topic->noted_count; i++)
        if (strcmp(topic->noted[i].topic, name) == 0 && strcmp(topic->noted[i].field, field) == 0)
            return;
    topic->noted = arena_grown(load->arena, topic->noted, topic->noted_count, sizeof *topic->noted);
    topic->noted[topic->noted_count++] = (struct needed_by){name, field};
}

/* An old name of the topic, by which its events were noted before and other processes of the group note them still;
 * else its name. */
static const char *noted_as(const struct pipeline *pipeline, const struct topic *topic)
{
    for (size_t i = 0; i < pipeline->answer_count; i++) {
        const struct name_answer *answer = &pipeline->answers[i];
        if (answer->new_name != NULL && strcmp(answer->new_name, topic->name) == 0)
            return answer->old;
    }
    return topic->name;
}

static void need(struct load *load, const struct topic *topic, struct after *after)
{
    struct pipeline *pipeline = load->pipeline;
    char most_text[32];
    after->noted_as = noted_as(pipeline, after->topic);
    after->rule = arena_format(load->arena, "%s after %s by %s within %s, then %s", topic->name, after->noted_as,
                               after->correlate, duration_text(after->at_most_ms, most_text),
                               after->handle ? "handle" : "dead_letter");
    pipeline->after_rules = arena_grown(load->arena, pipeline->after_rules, pipeline->after_count,
                                        sizeof *pipeline->after_rules);
    pipeline->after_rules[pipeline->after_count++] = span_of(after->rule);
    note(load, after->topic, after->noted_as, after->correlate);
    note(load, after->topic, after->topic->name, after->correlate);
}

static bool waits_for_itself(const struct topic *topic, size_t topic_count)
{
    const struct topic *at = topic->after->topic;
    for (size_t i = 0; i < topic_count && at != topic && at->after != NULL; i++)
        at = at->after->topic;
    return at == topic;
}

/* What an event waits for is handled in this group, or the group would not know of it. */
static void join_after(struct load *load, const struct topic *topic)
{
    struct after *after = topic->after;
    struct topic *needed = after->topic;
    const int64_t kept_ms = load->pipeline->store.inbox_retention_ms;
    char most_text[32], kept_text[32];
    if (waits_for_itself(topic, load->pipeline->topic_count))
        problem_add(load->problems, after->place, "after_cycle",
                    "topics.%s.after: its events wait for those of '%s', which wait for those of '%s' in the end; none "
                    "would be handled",
                    topic->name, needed->name, topic->name);
    else if (needed->ladder_of != NULL)
        problem_add(load->problems, after->place, "after_topic",
                    "topics.%s.after.topic: '%s' has the retries of '%s'; say topic: %s, whose retries count too",
                    topic->name, needed->name, needed->ladder_of->name, needed->ladder_of->name);
    else if (needed->binding == NULL)
        problem_add(load->problems, after->place, "after_topic",
                    "topics.%s.after.topic: '%s' %s; expected a topic with a handler in this file: the group knows of "
                    "what it has handled itself",
                    topic->name, needed->name,
                    needed->elsewhere ? "is handled elsewhere"
                    : needed->final   ? "is final"
                                      : "has no handler");
    else if (after->at_most_ms > kept_ms)
        problem_add(load->problems, after->place, "bad_value",
                    "topics.%s.after.at_most: expected at most %s, store.inbox_retention, for which it is known what "
                    "was handled; got %s",
                    topic->name, duration_text(kept_ms, kept_text), duration_text(after->at_most_ms, most_text));
    else
        need(load, topic, after);
}

void load_afters(struct load *load)
{
    struct pipeline *pipeline = load->pipeline;
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        const struct topic *topic = pipeline->topics[i];
        if (topic->ladder_of != NULL && topic->after != NULL)
            problem_add(load->problems, topic->after->place, "after_topic",
                        "topics.%s.after: it has the retries of '%s', which do not wait; say it of that topic",
                        topic->name, topic->ladder_of->name);
        else if (topic->after != NULL && strcmp(topic->after->topic->name, "?") != 0)
            join_after(load, topic);
    }
}
