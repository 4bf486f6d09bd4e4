/*
 * load_names.c - `renamed:` and `retired:`, which say what becomes of events that wait for names that left the file,
 * and `from:`, which says where a group begins that has no position.
 *
 * The old name is not in the file any more, so nothing here tells whether it was a topic or a tap: the database does
 * (run/names.h). pipeline_check() looks at the new names once all of them are known.
 */
#include "pipeline/load.h"

#include "event/timestamp.h"

void load_start(struct load *load, struct node *mapping, const char *what, struct start *ret)
{
    struct node *node = node_get(mapping, "from");
    *ret = (struct start){.from = START_NOT_ASKED};
    if (node == NULL || node->broken)
        return;
    if (node->kind == NODE_SCALAR && span_is(node->text, "earliest"))
        ret->from = START_EARLIEST;
    else if (node->kind == NODE_SCALAR && span_is(node->text, "latest"))
        ret->from = START_LATEST;
    else if (node->kind == NODE_SCALAR && timestamp_parse(node->text, &ret->at_ms) == 0)
        ret->from = START_TIME;
    else
        problem_add(load->problems, node->place, "bad_value",
                    "%s.from: expected earliest, latest, or a time like 2026-01-31T08:00:00Z, got %s", what,
                    node_shown(node, load->arena));
}

/* The topic that events of a retired name are read from; it stands beside the pipeline's own. */
static struct topic *retired_topic(struct load *load, const char *name, struct place place)
{
    struct topic *topic = arena_new(load->arena, struct topic);
    topic->name = name;
    topic->place = place;
    return topic;
}

static void load_answer(struct load *load, const struct node *key, const struct node *value, bool retired)
{
    struct pipeline *pipeline = load->pipeline;
    const char *section = retired ? "retired" : "renamed";
    struct name_answer answer = {.place = key->place, .old = load_name(load, key, section, TOPIC_NAME_MAX)};
    const char *what = arena_format(load->arena, "%s.%s", section, answer.old);
    if (strcmp(answer.old, "?") == 0 || value->broken)
        return;
    if (retired && !(value->kind == NODE_SCALAR && span_is(value->text, "dead_letter"))) {
        problem_add(load->problems, value->place, "bad_value", "%s: expected dead_letter, got %s", what,
                    node_shown(value, load->arena));
        return;
    }
    if (!retired && strcmp(answer.new_name = load_name(load, value, what, TOPIC_NAME_MAX), "?") == 0)
        return;
    for (size_t i = 0; i < pipeline->answer_count; i++)
        if (strcmp(pipeline->answers[i].old, answer.old) == 0) {
            problem_add(load->problems, key->place, "bad_value",
                        "%s: '%s' stands under 'renamed' too, on line %d; it can be one of both", what, answer.old,
                        pipeline->answers[i].place.line);
            return;
        }
    pipeline->answers = arena_grown(load->arena, pipeline->answers, pipeline->answer_count, sizeof *pipeline->answers);
    pipeline->answers[pipeline->answer_count++] = answer;
}

void load_answers(struct load *load, struct node *root)
{
    static const char *const sections[] = {"renamed", "retired"};
    for (size_t s = 0; s < 2; s++) {
        struct node *section = NULL;
        if (load_section(load, root, sections[s], &section))
            for (size_t i = 0; i < section->count; i++)
                load_answer(load, section->keys[i], section->items[i], s == 1);
    }
    struct pipeline *pipeline = load->pipeline;
    if (pipeline->answer_count > 0 && !pipeline->store.present && pipeline->bus.kind == BUS_CHOICE_MEMORY)
        problem_warn(load->problems, pipeline->answers[0].place, "no_effect",
                     "on a memory bus without 'store' nothing waits for names of an earlier file; 'renamed' and "
                     "'retired' do nothing");
}

void load_retired_topics(struct load *load)
{
    struct pipeline *pipeline = load->pipeline;
    for (size_t i = 0; i < pipeline->answer_count; i++) {
        struct name_answer *answer = &pipeline->answers[i];
        if (answer->new_name != NULL)
            continue;
        answer->topic = retired_topic(load, answer->old, answer->place);
        answer->topic->retired = answer;
        answer->topic->dead_letter = load_dead_letter_of(load, answer->topic);
        answer->topic->dead_letter->is_dead_letter = answer->topic->dead_letter->final = true;
        answer->topic->dead_letter->dead_letter = NULL;
    }
    /* the dead letter topics are known now: what comes after them in tables by topic.index */
    for (size_t i = 0; i < pipeline->answer_count; i++)
        if (pipeline->answers[i].topic != NULL)
            pipeline->answers[i].topic->index = (uint32_t)(pipeline->topic_count + pipeline->retired_count++);
}
