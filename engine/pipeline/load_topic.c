/*
 * load_topic.c - topics by name. A topic exists when anything in the file names it.
 */
#include "pipeline/load.h"

struct topic *pipeline_topic(const struct pipeline *pipeline, const char *name)
{
    for (size_t i = 0; i < pipeline->topic_count; i++)
        if (strcmp(pipeline->topics[i]->name, name) == 0)
            return pipeline->topics[i];
    return NULL;
}

/* The topic of that name, made when nothing has named it before. One called "?", a name that was refused, stands for no
 * other and is not among the pipeline's. */
static struct topic *topic_add(struct load *load, const char *name, struct place place)
{
    struct pipeline *pipeline = load->pipeline;
    struct topic *topic = pipeline_topic(pipeline, name);
    if (topic != NULL)
        return topic;
    topic = arena_new(load->arena, struct topic);
    topic->name = name;
    topic->place = place;
    if (strcmp(name, "?") == 0) /* a name that was refused: it is not listed, so that two of them stay two */
        return topic;
    topic->index = (uint32_t)pipeline->topic_count;
    pipeline->topics = arena_grown(load->arena, pipeline->topics, pipeline->topic_count, sizeof *pipeline->topics);
    pipeline->topics[pipeline->topic_count++] = topic;
    return topic;
}

struct topic *load_topic_named(struct load *load, const struct node *node, const char *what)
{
    const char *name = load_name(load, node, what, TOPIC_NAME_MAX);
    return topic_add(load, name, node->place);
}

struct topic *load_topic_at(struct load *load, struct node *mapping, const char *key, const char *what)
{
    struct node *node = node_get(mapping, key);
    if (node == NULL || node->kind != NODE_SCALAR)
        return NULL; /* options_apply() has reported it */
    return load_topic_named(load, node, arena_format(load->arena, "%s.%s", what, key));
}

struct topic *load_dead_letter_of(struct load *load, const struct topic *topic)
{
    const char *pattern = load->pipeline->defaults.dead_letter, *hole = strstr(pattern, "{topic}"), *name = pattern;
    if (hole != NULL)
        name = arena_format(load->arena, "%.*s%s%s", (int)(hole - pattern), pattern, topic->name,
                            hole + strlen("{topic}"));
    if (strlen(name) > (size_t)TOPIC_NAME_MAX) {
        problem_add(load->problems, topic->place, "bad_name",
                    "topic '%.40s…': the name of its dead letter topic has %zu characters, the most is %d; say "
                    "dead_letter: TOPIC",
                    topic->name, strlen(name), TOPIC_NAME_MAX);
        name = "?";
    }
    return topic_add(load, name, topic->place);
}
