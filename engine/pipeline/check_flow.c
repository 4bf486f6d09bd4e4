/*
 * check_flow.c - where events go round for ever, and where nothing orders them.
 */
#include "pipeline/check.h"

/* ---------------------------------------------------------------------------------------------------------- cycles */

struct walk {
    const struct check *check;
    unsigned char *color; /* by topic's number: 0 new, 1 on the path, 2 done */
    const struct topic **path;
    size_t depth;
};

enum { PATH_SHOWN_MAX = 12, CHECK_INPUTS_MAX = 256, CHECK_WORD_MIN = 4 };

static void report_cycle(const struct walk *walk, const struct route *route, const struct topic *target)
{
    struct arena *arena = walk->check->arena;
    size_t first = 0;
    while (walk->path[first]->number != target->number)
        first++;
    const char *path = "";
    for (size_t i = first; i < walk->depth && i < first + PATH_SHOWN_MAX; i++)
        path = arena_format(arena, "%s%s → ", path, walk->path[i]->name);
    if (walk->depth - first > PATH_SHOWN_MAX)
        path = arena_format(arena, "%s… %zu more … → ", path, walk->depth - first - PATH_SHOWN_MAX);
    problem_add(walk->check->problems, route->place, "cycle",
                "a cycle without a bound: %s%s; break it with a retry ladder, which has max_retries, or end it in "
                "another topic",
                path, target->name);
}

static void visit(struct walk *walk, const struct topic *topic);

static void visit_edge(const struct route *route, struct topic *target, void *context)
{
    struct walk *walk = context;
    if (route->kind == ROUTE_LADDER && target == route->ladder.topic)
        return; /* a ladder is a bound; so is a chain, which undoes each step once */
    if (walk->color[target->number] == 0)
        visit(walk, target);
    else if (walk->color[target->number] == 1)
        report_cycle(walk, route, target);
}

static void visit(struct walk *walk, const struct topic *topic)
{
    const struct shared_topic *shared = &walk->check->topics[topic->number];
    walk->color[topic->number] = 1;
    walk->path[walk->depth++] = topic;
    for (size_t i = 0; i < shared->count; i++) {
        if (shared->list[i]->binding != NULL)
            binding_targets(shared->list[i]->binding, visit_edge, walk);
        timer_targets(shared->list[i], visit_edge, walk);
    }
    walk->depth--;
    walk->color[topic->number] = 2;
}

void check_cycles(const struct check *check)
{
    struct walk walk = {.check = check,
                        .color = arena_array(check->arena, unsigned char, check->topic_count + 1),
                        .path = arena_array(check->arena, const struct topic *, check->topic_count + 1)};
    /* A retry topic comes last: its binding is another topic's, under whose name the cycle is clearer. */
    for (int retry = 0; retry < 2; retry++)
        for (size_t i = 0; i < check->topic_count; i++)
            if (walk.color[i] == 0 && (retry == 1 || check->topics[i].list[0]->ladder_of == NULL))
                visit(&walk, check->topics[i].list[0]);
}

/* ---------------------------------------------------------------------------------------------------------- fan-out */

enum { FAN_OUT_MAX = 10000 };

struct fan {
    const struct check *check;
    size_t *events; /* by number: what one event on the topic becomes, itself included; 0: not known yet */
    size_t targets; /* of the outcome that is looked at */
    const struct route *route;
    size_t most; /* of an outcome */
};

static size_t fan_visit(struct fan *fan, const struct topic *topic);

static void fan_target(const struct route *route, struct topic *target, void *context)
{
    struct fan *fan = context;
    size_t before = route == fan->route ? fan->targets : 0;
    if (route->kind == ROUTE_LADDER && target == route->ladder.topic)
        return;
    size_t events = fan_visit(fan, target);
    fan->route = route;
    fan->targets = before + events > FAN_OUT_MAX ? FAN_OUT_MAX + 1 : before + events;
    if (fan->targets > fan->most)
        fan->most = fan->targets;
}

/* What one event of it becomes when each handler takes the outcome that makes most of it. */
static size_t fan_visit(struct fan *fan, const struct topic *topic)
{
    const struct shared_topic *shared = &fan->check->topics[topic->number];
    size_t events = 1;
    if (fan->events[topic->number] != 0)
        return fan->events[topic->number];
    fan->events[topic->number] = 1; /* of a cycle, which is a problem of its own */
    for (size_t i = 0; i < shared->count; i++) {
        struct fan here = {.check = fan->check, .events = fan->events};
        if (shared->list[i]->binding != NULL)
            binding_targets(shared->list[i]->binding, fan_target, &here);
        events = events + here.most > FAN_OUT_MAX ? FAN_OUT_MAX + 1 : events + here.most;
    }
    fan->events[topic->number] = events;
    return events;
}

struct fan_report {
    const size_t *events;
    bool below; /* a topic to which it leads has too many already */
};

static void fan_below(const struct route *route, struct topic *target, void *context)
{
    struct fan_report *report = context;
    (void)route;
    report->below = report->below || report->events[target->number] > FAN_OUT_MAX;
}

/* Lists of topics multiply where their ways meet again and again. */
void check_fan_out(const struct check *check)
{
    struct fan fan = {.check = check, .events = arena_array(check->arena, size_t, check->topic_count + 1)};
    for (size_t i = 0; i < check->topic_count; i++)
        (void)fan_visit(&fan, check->topics[i].list[0]);
    for (size_t i = 0; i < check->topic_count; i++) {
        const struct shared_topic *shared = &check->topics[i];
        struct fan_report report = {.events = fan.events};
        for (size_t t = 0; t < shared->count; t++)
            if (shared->list[t]->binding != NULL)
                binding_targets(shared->list[t]->binding, fan_below, &report);
        if (fan.events[i] > FAN_OUT_MAX && !report.below)
            problem_warn(check->problems, shared->list[0]->place, "fan_out",
                         "one event on topic '%s' may become more than %d: routes to lists of topics multiply where "
                         "their ways meet again; let the ways end in topics of their own",
                         shared->list[0]->name, FAN_OUT_MAX);
    }
}

/* ------------------------------------------------------------------------------------------------------------ keys */

/* Whether a file has a handler for the topic. */
static bool has_handler(const struct check *check, const struct topic *topic)
{
    const struct shared_topic *shared = &check->topics[topic->number];
    for (size_t i = 0; i < shared->count; i++)
        if (shared->list[i]->binding != NULL)
            return true;
    return false;
}

static void require_key(const struct route *route, struct topic *target, void *context)
{
    const struct check *check = context;
    if (target->key == NULL && has_handler(check, target))
        problem_add(check->problems, route->place, "no_key",
                    "events that start here go to topic '%s', which has no key, so nothing orders them; say topics: "
                    "{%s: {key: \"{field}\"}}",
                    target->name, target->name);
}

static bool reads_inside(const struct sluice_field *input, const char *path)
{
    for (; input != NULL && input->name != NULL; input++)
        if (input->nested != 0 && strcmp(input->name, path) == 0)
            return true;
    return false;
}

static bool reads(const char *const *inputs, const char *name)
{
    for (; *inputs != NULL; inputs++)
        if (strcmp(*inputs, name) == 0)
            return true;
    return false;
}

/* A key that is most likely not what was meant: one text for all events, a field in an object, or a mistyped name. */
static void check_key_words(const struct check *check, const struct topic *topic)
{
    const struct span *names;
    const char *inputs[CHECK_INPUTS_MAX + 1] = {NULL};
    size_t count = topic->key == NULL || topic->ladder_of != NULL ? SIZE_MAX : key_template_fields(topic->key, &names);
    const struct sluice_field *input = topic->binding == NULL ? NULL : topic->binding->input;
    for (size_t i = 0; input != NULL && input->name != NULL && i < CHECK_INPUTS_MAX; input++)
        if (input->nested == 0)
            inputs[i++] = input->name;
    if (count == 0)
        problem_warn(
            check->problems, topic->place, "constant_key",
            "the key of topic '%s', '%s', is the same for all events, so they are handled one after the other; "
            "a field is written \"{field}\"",
            topic->name, topic->key_text);
    for (size_t i = 0; count != SIZE_MAX && i < count; i++) {
        const char *name = arena_string(check->arena, names[i]);
        const char *near = nearest_name(name, inputs);
        if (topic->binding != NULL && reads_inside(topic->binding->input, name))
            problem_warn(
                check->problems, topic->place, "key_field",
                "the key of topic '%s' is made of the field '%s', which %s reads inside of an object; a key is "
                "made of members of the data itself, so an event needs a member of it that has this name",
                topic->name, name, topic->binding->id);
        else if (topic->binding != NULL && near != NULL && names[i].length >= CHECK_WORD_MIN && !reads(inputs, name))
            problem_warn(check->problems, topic->place, "key_field",
                         "the key of topic '%s' is made of the field '%s', which %s does not read; did you mean '%s'?",
                         topic->name, name, topic->binding->id, near);
    }
}

/* Whose `key:` the events of a topic carry: by its number, the topic that declares it. */
struct key_origin {
    const struct topic **by_topic;
    const struct topic *from; /* of what is emitted now */
    const struct check *check;
    bool *mixed; /* by number: reported */
    bool changed;
};

static void propagate_key(const struct route *route, struct topic *target, void *context)
{
    struct key_origin *origin = context;
    const struct topic *had = origin->by_topic[target->number];
    (void)route;
    if (target->key != NULL || !has_handler(origin->check, target) || origin->mixed[target->number])
        return;
    if (had == NULL) {
        origin->by_topic[target->number] = origin->from;
        origin->changed = true;
    } else if (strcmp(had->key_text, origin->from->key_text) != 0) {
        origin->mixed[target->number] = true;
        problem_add(origin->check->problems, target->place, "mixed_keys",
                    "events come to topic '%s' with the key of '%s' (%s) and with that of '%s' (%s), so nothing orders "
                    "them; say topics: {%s: {key: …}}",
                    target->name, had->name, had->key_text, origin->from->name, origin->from->key_text, target->name);
    }
}

/* A topic has one key, whichever file's handler emits to it. */
static void declared_keys(struct key_origin *origin, const struct shared_topic *shared)
{
    const struct topic **declared = &origin->by_topic[shared->list[0]->number];
    for (size_t i = 0; i < shared->count; i++) {
        const struct topic *topic = shared->list[i];
        if (topic->key_text == NULL)
            continue;
        if (*declared == NULL)
            *declared = topic;
        else if (strcmp((*declared)->key_text, topic->key_text) != 0)
            problem_add(origin->check->problems, topic->place, "other_key",
                        "the key of topic '%s' is %s here and %s in %s, so events of one key have two, and nothing "
                        "orders them; say the same key in both files",
                        topic->name, topic->key_text, (*declared)->key_text,
                        check_place(origin->check, (*declared)->place));
    }
}

static void check_file_keys(const struct check *check, const struct pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->request_count; i++)
        binding_targets(pipeline->requests[i].binding, require_key, (void *)check);
    for (size_t i = 0; i < pipeline->schedule_count; i++)
        binding_targets(pipeline->schedules[i].binding, require_key, (void *)check);
    for (size_t i = 0; i < pipeline->topic_count; i++)
        check_key_words(check, pipeline->topics[i]);
}

void check_keys(const struct check *check)
{
    struct key_origin origin = {.by_topic = arena_array(check->arena, const struct topic *, check->topic_count + 1),
                                .mixed = arena_array(check->arena, bool, check->topic_count + 1),
                                .check = check};
    for (size_t p = 0; p < check->count; p++)
        check_file_keys(check, check->pipelines[p]);
    for (size_t i = 0; i < check->topic_count; i++)
        declared_keys(&origin, &check->topics[i]);
    do {
        origin.changed = false;
        for (size_t i = 0; i < check->topic_count; i++) {
            const struct shared_topic *shared = &check->topics[i];
            origin.from = origin.by_topic[i];
            for (size_t t = 0; origin.from != NULL && t < shared->count; t++) {
                if (shared->list[t]->binding != NULL && shared->list[t]->ladder_of == NULL)
                    binding_targets(shared->list[t]->binding, propagate_key, &origin);
                timer_targets(shared->list[t], propagate_key, &origin);
            }
        }
    } while (origin.changed);
}
