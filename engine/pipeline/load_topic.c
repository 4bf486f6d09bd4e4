/*
 * load_topic.c - topics by name. A topic exists when anything in the file names it.
 */
#include "pipeline/load.h"

#include <ctype.h>

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

/* A pattern ends in '*'; before it stands the beginning of a topic's name, or nothing. */
static bool pattern_fits(struct span pattern)
{
    if (pattern.length > TOPIC_NAME_MAX)
        return false;
    for (size_t i = 0; i + 1 < pattern.length; i++)
        if (!isalnum((unsigned char)pattern.at[i]) && strchr("._-", pattern.at[i]) == NULL)
            return false;
    return true;
}

const char *const *load_topic_list(struct load *load, struct node *topics, const char *what, size_t *ret_count)
{
    size_t count = 0;
    if (topics != NULL && (topics->kind != NODE_SEQUENCE || topics->count == 0)) {
        problem_add(load->problems, topics->place, "bad_value",
                    "%s.topics: expected a list of topics, a trailing * allowed, got %s", what,
                    topics->kind == NODE_SEQUENCE ? "an empty one" : node_shown(topics, load->arena));
        topics = NULL;
    }
    const char **names = arena_array(load->arena, const char *, topics == NULL ? 1 : topics->count + 1);
    const char *item_what = arena_format(load->arena, "%s.topics", what);
    for (size_t i = 0; topics != NULL && i < topics->count; i++) {
        const struct node *item = topics->items[i];
        struct span text = item->text;
        if (item->kind == NODE_SCALAR && text.length > 0 && text.at[text.length - 1] == '*') {
            names[count++] = text.at;
            if (!pattern_fits(text))
                problem_add(load->problems, item->place, "bad_name",
                            "%s: expected a topic, or the beginning of names with one * at its end, got %s", item_what,
                            node_shown(item, load->arena));
        } else {
            names[count++] = load_topic_named(load, item, item_what)->name;
        }
    }
    *ret_count = count;
    return names;
}
