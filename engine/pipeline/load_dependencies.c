/*
 * load_dependencies.c - what handlers need outside, and which topics depend on it.
 */
#include "pipeline/load.h"

void load_dependencies(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *dependencies = NULL;
    if (!load_section(load, root, "dependencies", &dependencies))
        return;
    pipeline->dependencies = arena_array(load->arena, struct dependency, dependencies->count + 1);
    for (size_t i = 0; i < dependencies->count; i++) {
        struct dependency *dependency = &pipeline->dependencies[pipeline->dependency_count];
        struct node *key = dependencies->keys[i], *node = dependencies->items[i];
        dependency->index = (uint32_t)pipeline->dependency_count++;
        dependency->place = key->place;
        dependency->name = load_name(load, key, "dependency name", 64);
        options_default(dependency_options, dependency);
        if (node->kind != NODE_SCALAR || node->text.length > 0 || node->quoted) /* "card-gateway:" alone */
            options_apply(dependency_options, node, key->place,
                          arena_format(load->arena, "dependencies.%s", dependency->name), dependency, load->arena,
                          load->problems);
    }
    if (!pipeline->store.present && pipeline->dependency_count > 0)
        problem_add(load->problems, pipeline->dependencies[0].place, "missing_key",
                    "dependencies: the state of a breaker is kept in the database, for all processes; 'store:' is "
                    "missing");
}

void load_dependency_of(struct load *load, struct node *topic, const char *what, struct binding *binding)
{
    const struct pipeline *pipeline = load->pipeline;
    struct node *node = node_get(topic, "dependency");
    if (node == NULL || node->kind != NODE_SCALAR || node->broken || node->text.length == 0)
        return; /* options_apply() has reported it */
    if (binding == NULL) {
        problem_add(load->problems, node->place, "bad_value", "%s.dependency: there is no handler that could need it",
                    what);
        return;
    }
    const char **names = arena_array(load->arena, const char *, pipeline->dependency_count + 1);
    for (size_t i = 0; i < pipeline->dependency_count; i++) {
        names[i] = pipeline->dependencies[i].name;
        if (strcmp(names[i], node->text.at) == 0)
            binding->dependency = &pipeline->dependencies[i];
    }
    if (binding->dependency != NULL)
        return;
    const char *near = nearest_name(node->text.at, names);
    problem_add(load->problems, node->place, "unknown_dependency",
                "%s.dependency: %s does not stand under 'dependencies'%s%s%s", what, node_shown(node, load->arena),
                near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
}
