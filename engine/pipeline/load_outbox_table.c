/*
 * load_outbox_table.c - `outbox_table:` and the topics whose events it gets.
 */
#include "pipeline/load.h"

enum { SQL_NAME_MAX = 63 };

static bool sql_name_fits(struct span name)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz_", letters[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
    if (name.length == 0 || name.length > SQL_NAME_MAX || strchr(first, name.at[0]) == NULL)
        return false;
    for (size_t i = 0; i < name.length; i++)
        if (strchr(letters, name.at[i]) == NULL)
            return false;
    return true;
}

static bool table_name_fits(struct span name)
{
    const char *point = memchr(name.at, '.', name.length);
    if (point == NULL)
        return sql_name_fits(name);
    struct span schema = {name.at, (size_t)(point - name.at)};
    return sql_name_fits(schema) && sql_name_fits((struct span){point + 1, name.length - schema.length - 1});
}

void load_outbox_table(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *section = NULL, *name;
    if (!load_section(load, root, "outbox_table", &section))
        return;
    pipeline->outbox_table.place = section->place;
    options_apply(outbox_table_options, section, section->place, "outbox_table", pipeline, load->arena, load->problems);
    pipeline->outbox_table.topics = load_topic_list(load, node_get(section, "topics"), "outbox_table",
                                                    &pipeline->outbox_table.topic_count);
    name = node_get(section, "name");
    if (name != NULL && name->kind == NODE_SCALAR && !name->broken && name->text.length > 0 &&
        !table_name_fits(name->text)) {
        problem_add(load->problems, name->place, "bad_value",
                    "outbox_table.name: expected TABLE or SCHEMA.TABLE, each of at most %d lower case letters, digits "
                    "and '_', got %s",
                    SQL_NAME_MAX, node_shown(name, load->arena));
        pipeline->outbox_table.name = NULL;
    }
    if (!pipeline->store.present)
        problem_add(load->problems, section->place, "missing_key",
                    "outbox_table lives in the database of 'store:', which is missing");
}

void join_outbox_table(struct load *load)
{
    struct pipeline *pipeline = load->pipeline;
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        struct topic *topic = pipeline->topics[i];
        topic->in_outbox_table = topics_have(pipeline->outbox_table.topics, pipeline->outbox_table.topic_count, topic);
        if (topic->in_outbox_table && topic->is_dead_letter)
            problem_add(load->problems, pipeline->outbox_table.place, "dead_letter",
                        "outbox_table has topic '%s', which is for dead letters; they are no events that a handler "
                        "emits, and are not written there",
                        topic->name);
    }
}
