/*
 * check_fields.c - does every handler get what it needs?
 *
 * A request's event carries the fields that its handler takes and sets; what is emitted from it carries the same and what the next
 * handler sets. So for every topic that only known sources feed, the set of fields that surely arrive is the intersection over its
 * routes, found by iterating to a fixed point. A topic that is declared may also be fed from outside, with fields that nobody
 * knows; still, each route that leads to it must carry what its handler needs.
 */
#include "pipeline/check.h"

enum { FIELDS_MAX = 256 };

/* Fields as bits of a dense numbering. */
struct field_set {
    uint64_t bits[FIELDS_MAX / 64];
    bool known; /* reached by a known source */
};

struct fields {
    const struct pipeline *pipeline;
    struct problems *problems;
    const char *names[FIELDS_MAX];
    size_t count;
    struct field_set *by_topic;
    bool changed;
};

static size_t number_of(struct fields *fields, const char *name)
{
    for (size_t i = 0; i < fields->count; i++)
        if (strcmp(fields->names[i], name) == 0)
            return i;
    if (fields->count == FIELDS_MAX)
        return FIELDS_MAX - 1;
    fields->names[fields->count] = name;
    return fields->count++;
}

static bool has(const struct field_set *set, size_t number)
{
    return set->bits[number / 64] >> (number % 64) & 1;
}

static void add(struct field_set *set, size_t number)
{
    set->bits[number / 64] |= 1ull << (number % 64);
}

static bool is_meta(const struct sluice_field *field)
{
    return field->type == SLUICE_TYPE_META_TEXT || field->type == SLUICE_TYPE_META_INT64;
}

static void add_all(struct fields *fields, struct field_set *set, const struct sluice_field *list, bool required_only)
{
    for (; list != NULL && list->name != NULL; list++)
        if (!is_meta(list) && (!required_only || !(list->flags & SLUICE_OPTIONAL)))
            add(set, number_of(fields, list->name));
}

/* Another source with these fields: what surely arrives is what all sources bring. */
static void arrive(struct fields *fields, const struct topic *topic, const struct field_set *from)
{
    struct field_set *set = &fields->by_topic[topic->index];
    for (size_t i = 0; i < FIELDS_MAX / 64; i++) {
        uint64_t both = set->known ? set->bits[i] & from->bits[i] : from->bits[i];
        fields->changed = fields->changed || both != set->bits[i];
        set->bits[i] = both;
    }
    fields->changed = fields->changed || !set->known;
    set->known = true;
}

struct emission {
    struct fields *fields;
    struct field_set set;
    const struct use *use;
    bool report;
};

static void check_needs(struct emission *emission, const struct route *route, const struct topic *target)
{
    for (const struct sluice_field *field = target->use == NULL ? NULL : target->use->input; field != NULL && field->name != NULL; field++) {
        if (is_meta(field) || (field->flags & SLUICE_OPTIONAL) || has(&emission->set, number_of(emission->fields, field->name)))
            continue;
        problem_add(emission->fields->problems, route->place, "missing_field",
                    "route %s of %s leads to topic '%s', whose handler %s needs the field '%s'; nothing on the way carries it", route->outcome,
                    emission->use->handler_name, target->name, target->use->handler_name, field->name);
    }
}

static void emission_edge(const struct route *route, struct topic *target, void *context)
{
    struct emission *emission = context;
    struct field_set kept = emission->set;
    if (route->kind == ROUTE_LADDER && target == route->ladder.topic)
        add(&emission->set, number_of(emission->fields, route->ladder.counter));
    if (emission->report)
        check_needs(emission, route, target);
    else
        arrive(emission->fields, target, &emission->set);
    emission->set = kept;
}

/* What leaves a use whose events carry `from`. */
static void emit_from(struct fields *fields, const struct use *use, const struct field_set *from, bool report)
{
    struct emission emission = {.fields = fields, .set = *from, .use = use, .report = report};
    add_all(fields, &emission.set, use->sets, false);
    if (use->handler != NULL && use->handler->kind == SLUICE_EVENT)
        add_all(fields, &emission.set, use->input, true); /* it would not have been handled without */
    use_targets(use, emission_edge, &emission);
}

static void undo_edges(struct fields *fields, bool report)
{
    const struct pipeline *pipeline = fields->pipeline;
    for (size_t c = 0; c < pipeline->chain_count; c++)
        for (size_t s = 0; s < pipeline->chains[c].step_count; s++) {
            const struct chain_step *step = &pipeline->chains[c].steps[s];
            if (step->undo == NULL || !fields->by_topic[step->done->index].known)
                continue;
            struct route route = {.place = step->place, .outcome = "undo", .kind = ROUTE_TOPIC, .topic = step->undo};
            struct use chain = {.handler_name = pipeline->chains[c].name};
            struct emission emission = {.fields = fields, .set = fields->by_topic[step->done->index], .use = &chain, .report = report};
            add(&emission.set, number_of(fields, "reason"));
            emission_edge(&route, step->undo, &emission);
        }
}

static void pass(struct fields *fields, bool report)
{
    const struct pipeline *pipeline = fields->pipeline;
    for (size_t i = 0; i < pipeline->request_count; i++) {
        struct field_set from = {0};
        add_all(fields, &from, pipeline->requests[i].use->input, true);
        emit_from(fields, pipeline->requests[i].use, &from, report);
    }
    for (size_t i = 0; i < pipeline->schedule_count; i++) {
        struct field_set from = {0};
        emit_from(fields, pipeline->schedules[i].use, &from, report);
    }
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        const struct topic *topic = pipeline->topics[i];
        if (topic->use != NULL && topic->ladder_of == NULL && fields->by_topic[i].known)
            emit_from(fields, topic->use, &fields->by_topic[i], report);
    }
    undo_edges(fields, report);
}

void check_fields(const struct pipeline *pipeline, struct problems *problems)
{
    struct fields fields = {.pipeline = pipeline, .problems = problems, .by_topic = arena_array(pipeline->arena, struct field_set, pipeline->topic_count + 1)};
    do {
        fields.changed = false;
        pass(&fields, false);
    } while (fields.changed);
    pass(&fields, true);
}

/* ----------------------------------------------------------------------------------------------------------- holds */

/* The plugin's duration setting called `hold`, as the file says it or by default; -1 when it has none. */
static int64_t hold_of(const struct plugin_ref *ref, struct place *ret_place)
{
    int64_t hold = -1;
    for (const struct sluice_field *field = ref->plugin == NULL ? NULL : ref->plugin->settings; field != NULL && field->name != NULL; field++)
        if (strcmp(field->name, "hold") == 0 && field->type == SLUICE_TYPE_DURATION && field->fallback != NULL)
            duration_parse(span_of(field->fallback), &hold);
    struct node *node = ref->settings == NULL ? NULL : node_get(ref->settings, "hold");
    *ret_place = ref->place;
    if (node != NULL && node->kind == NODE_SCALAR && duration_parse(node->text, &hold) == 0)
        *ret_place = node->place;
    return hold;
}

static int64_t delays_of(const struct ladder *ladder)
{
    double delay = (double)ladder->initial_interval_ms, total = 0;
    for (int32_t i = 0; i < ladder->max_retries && total < 1e15; i++) {
        total += delay < (double)ladder->max_interval_ms ? delay : (double)ladder->max_interval_ms;
        delay *= ladder->multiplier;
    }
    return (int64_t)total;
}

void check_holds(const struct pipeline *pipeline, struct problems *problems)
{
    for (size_t s = 0; s < pipeline->schedule_count; s++) {
        const struct use *use = pipeline->schedules[s].use;
        struct place place;
        int64_t hold = use->plugin == NULL ? -1 : hold_of(use->plugin, &place);
        bool aborts = false;
        for (size_t r = 0; r < use->route_count; r++)
            for (size_t w = 0; use->routes[r].kind == ROUTE_TOPIC && w < use->routes[r].topic->watch_count; w++)
                aborts = aborts || use->routes[r].topic->watches[w].role == CHAIN_ABORT;
        for (size_t i = 0; hold >= 0 && aborts && i < pipeline->use_count; i++) {
            const struct ladder *ladder = pipeline->uses[i]->ladder;
            if (ladder != NULL && delays_of(ladder) >= hold)
                problem_add(problems, place, "hold_too_short",
                            "the retry ladder to '%s' takes %lld ms in all, and '%s' gives up after a hold of %lld ms: it would abort what is still being retried",
                            ladder->topic->name, (long long)delays_of(ladder), pipeline->schedules[s].name, (long long)hold);
        }
    }
}
