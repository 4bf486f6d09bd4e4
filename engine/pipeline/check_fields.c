/*
 * check_fields.c - does every handler, tap, key, limit and chain get the fields that it needs?
 *
 * A request's event carries the fields that its handler takes and sets; what is emitted from it carries the same and
 * what the next handler sets. So for every topic that only known sources feed, the set of fields that surely arrive
 * is the intersection over its routes, found by iterating to a fixed point. A topic that is declared may also be fed
 * from outside, with unknown fields; still, each route that leads to it must carry what its handler needs. Of several
 * files, a topic is one in all of them, and its event must have what each handler of it needs.
 *
 * A nested field, "address.country", comes with its own name, or with the whole `address`; where any of it comes, so
 * does an `address`.
 */
#include "pipeline/check.h"

enum { FIELDS_MAX = 256 };

/* Fields as bits of a dense numbering. */
struct field_set {
    uint64_t bits[FIELDS_MAX / 64];
    bool known; /* reached by a known source */
};

struct name {
    struct span text;
    bool nested; /* a path: its '.' stand between names */
};

struct fields {
    const struct check *check;
    struct name names[FIELDS_MAX];
    size_t count;
    struct field_set *by_topic; /* by number */
    bool changed;
};

static size_t number_of_name(struct fields *fields, struct name name)
{
    for (size_t i = 0; i < fields->count; i++)
        if (fields->names[i].nested == name.nested && span_equal(fields->names[i].text, name.text))
            return i;
    if (fields->count == FIELDS_MAX)
        return FIELDS_MAX - 1;
    fields->names[fields->count] = name;
    return fields->count++;
}

static size_t number_of(struct fields *fields, const char *name)
{
    return number_of_name(fields, (struct name){span_of(name), false});
}

static bool has(const struct field_set *set, size_t number)
{
    return set->bits[number / 64] >> (number % 64) & 1;
}

static void add(struct field_set *set, size_t number)
{
    set->bits[number / 64] |= 1ull << (number % 64);
}

static struct name name_of(const struct sluice_field *field)
{
    return (struct name){span_of(field->name), field->nested != 0 && strchr(field->name, '.') != NULL};
}

/* Whether it comes, or the whole of an object that it is inside of. */
static bool carries(struct fields *fields, const struct field_set *set, struct name name)
{
    while (!has(set, number_of_name(fields, name))) {
        const char *dot = name.nested ? memrchr(name.text.at, '.', name.text.length) : NULL;
        if (dot == NULL)
            return false;
        name.text.length = (size_t)(dot - name.text.at);
        name.nested = memchr(name.text.at, '.', name.text.length) != NULL;
    }
    return true;
}

static bool comes(struct fields *fields, const struct field_set *set, size_t number)
{
    return has(set, number) || (fields->names[number].nested && carries(fields, set, fields->names[number]));
}

/* Whether something inside of it comes. */
static bool carries_part(const struct fields *fields, const struct field_set *set, struct span whole)
{
    for (size_t i = 0; i < fields->count; i++) {
        const struct name *name = &fields->names[i];
        if (has(set, i) && name->nested && name->text.length > whole.length && name->text.at[whole.length] == '.' &&
            memcmp(name->text.at, whole.at, whole.length) == 0)
            return true;
    }
    return false;
}

static bool is_meta(const struct sluice_field *field)
{
    return field->type == SLUICE_TYPE_META_TEXT || field->type == SLUICE_TYPE_META_INT64;
}

static void add_all(struct fields *fields, struct field_set *set, const struct sluice_field *list, bool required_only)
{
    for (; list != NULL && list->name != NULL; list++)
        if (!is_meta(list) && (!required_only || !(list->flags & SLUICE_OPTIONAL)))
            add(set, number_of_name(fields, name_of(list)));
}

/* Another source emits these fields to the topic: only those that all of its sources emit surely come there. */
static void merge_into_topic(struct fields *fields, const struct topic *topic, const struct field_set *from)
{
    struct field_set *set = &fields->by_topic[topic->number], both = *from;
    if (set->known) {
        memset(both.bits, 0, sizeof both.bits);
        for (size_t i = 0; i < fields->count; i++)
            if (comes(fields, set, i) && comes(fields, from, i))
                add(&both, i);
    }
    fields->changed = fields->changed || !set->known || memcmp(both.bits, set->bits, sizeof both.bits) != 0;
    both.known = true;
    *set = both;
}

struct emission {
    struct fields *fields;
    struct field_set set;
    const struct binding *binding;
    bool report;
};

static bool is_missing(struct fields *fields, const struct field_set *set, const struct sluice_field *field)
{
    return !is_meta(field) && !(field->flags & SLUICE_OPTIONAL) && !carries(fields, set, name_of(field)) &&
           !carries_part(fields, set, span_of(field->name));
}

static void check_handler_needs(struct emission *emission, const struct route *route, const struct topic *target)
{
    struct fields *fields = emission->fields;
    const struct binding *handler = target->binding;
    for (const struct sluice_field *field = handler == NULL ? NULL : handler->input;
         field != NULL && field->name != NULL; field++)
        if (is_missing(fields, &emission->set, field))
            problem_add(fields->check->problems, route->place, "missing_field",
                        "'%s' of %s leads to topic '%s', whose handler %s%s needs the field '%s'; nothing on the way "
                        "carries it",
                        route->outcome, emission->binding->handler_name, target->name, handler->handler_name,
                        check_other_file(fields->check, route->place, handler->place), field->name);
}

/* `what` of the target is made of fields. */
static void check_template(struct emission *emission, const struct route *route, const struct topic *target,
                           const struct key_template *template, const char *what)
{
    struct fields *fields = emission->fields;
    const struct span *names = NULL;
    size_t count = template == NULL ? 0 : key_template_fields(template, &names);
    for (size_t i = 0; i < count; i++) {
        const char *name = arena_string(fields->check->arena, names[i]);
        if (!has(&emission->set, number_of(fields, name)))
            problem_add(fields->check->problems, route->place, "missing_field",
                        "'%s' of %s leads to topic '%s', whose %s needs the field '%s'; nothing on the way carries it",
                        route->outcome, emission->binding->handler_name, target->name, what, name);
    }
}

static void check_needs(struct emission *emission, const struct route *route, const struct topic *target)
{
    const struct check *check = emission->fields->check;
    const struct shared_topic *shared = &check->topics[target->number];
    for (size_t i = 0; i < shared->count; i++)
        check_handler_needs(emission, route, shared->list[i]);
    if (target->ladder_of != NULL)
        return;
    check_template(emission, route, target, target->key, arena_format(check->arena, "key %s", target->key_text));
    for (size_t i = 0; i < shared->count; i++) {
        const struct binding *handler = shared->list[i]->binding;
        const struct limit *limit = handler == NULL ? NULL : handler->limit;
        if (limit != NULL)
            check_template(emission, route, target, limit->per,
                           arena_format(check->arena, "limit for each %s%s", limit->per_text,
                                        check_other_file(check, route->place, limit->place)));
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
        merge_into_topic(emission->fields, target, &emission->set);
    emission->set = kept;
}

/* The emissions of a binding whose events carry `from`. */
static void emit_from(struct fields *fields, const struct binding *binding, const struct field_set *from, bool report)
{
    struct emission emission = {.fields = fields, .set = *from, .binding = binding, .report = report};
    add_all(fields, &emission.set, binding->sets, false);
    if (binding->handler != NULL && binding->handler->kind == SLUICE_EVENT)
        add_all(fields, &emission.set, binding->input, true); /* it would not have been handled without */
    binding_targets(binding, emission_edge, &emission);
}

/* What a request emits without a handler has what its topic's handler and key need: else it would have been refused. */
static void emitted_edges(struct fields *fields, const struct binding *binding)
{
    for (size_t r = 0; r < binding->route_count; r++) {
        const struct topic *topic = binding->routes[r].targets[0].topic;
        struct field_set set = {0};
        const struct span *names = NULL;
        size_t count = topic->key == NULL ? 0 : key_template_fields(topic->key, &names);
        for (size_t i = 0; i < count; i++)
            add(&set, number_of(fields, arena_string(fields->check->arena, names[i])));
        if (topic->binding != NULL)
            add_all(fields, &set, topic->binding->input, true);
        merge_into_topic(fields, topic, &set);
    }
}

static void undo_edges(struct fields *fields, const struct pipeline *pipeline, bool report)
{
    for (size_t c = 0; c < pipeline->chain_count; c++)
        for (size_t s = 0; s < pipeline->chains[c].step_count; s++) {
            const struct chain_step *step = &pipeline->chains[c].steps[s];
            if (step->undo == NULL || !fields->by_topic[step->done->number].known)
                continue;
            struct route route = {.place = step->place, .outcome = "undo", .kind = ROUTE_TOPIC};
            struct binding chain = {.handler_name = arena_format(fields->check->arena, "step '%s'", step->name)};
            struct emission emission = {
                .fields = fields, .set = fields->by_topic[step->done->number], .binding = &chain, .report = report};
            add(&emission.set, number_of(fields, "reason"));
            emission_edge(&route, step->undo, &emission);
        }
}

/* A timer emits the data of the event that began it. */
static void timer_edges(struct fields *fields, const struct topic *topic, bool report)
{
    struct binding timer = {.handler_name = arena_format(fields->check->arena, "topic '%s'", topic->name)};
    struct emission emission = {
        .fields = fields, .set = fields->by_topic[topic->number], .binding = &timer, .report = report};
    timer_targets(topic, emission_edge, &emission);
}

/* Every edge once: the fields of its source are merged into its target, or with `report` what is missing there is. */
static void propagate_file(struct fields *fields, const struct pipeline *pipeline, bool report)
{
    for (size_t i = 0; i < pipeline->request_count; i++) {
        struct field_set from = {0};
        if (pipeline->requests[i].binding->emits) {
            emitted_edges(fields, pipeline->requests[i].binding);
            continue;
        }
        add_all(fields, &from, pipeline->requests[i].binding->input, true);
        emit_from(fields, pipeline->requests[i].binding, &from, report);
    }
    for (size_t i = 0; i < pipeline->schedule_count; i++) {
        struct field_set from = {0};
        emit_from(fields, pipeline->schedules[i].binding, &from, report);
    }
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        const struct topic *topic = pipeline->topics[i];
        if (topic->binding != NULL && topic->ladder_of == NULL && fields->by_topic[topic->number].known)
            emit_from(fields, topic->binding, &fields->by_topic[topic->number], report);
        if (fields->by_topic[topic->number].known)
            timer_edges(fields, topic, report);
    }
    undo_edges(fields, pipeline, report);
}

static void propagate_once(struct fields *fields, bool report)
{
    for (size_t p = 0; p < fields->check->count; p++)
        propagate_file(fields, fields->check->pipelines[p], report);
}

/* By which field an event is found that waits for others, or is waited for. */
static void check_after_fields(struct fields *fields, const struct field_set *set, const struct topic *topic)
{
    const struct after *after = topic->ladder_of == NULL ? topic->after : NULL;
    if (after == NULL)
        return;
    const struct topic *both[] = {topic, after->topic};
    const struct field_set *sets[] = {set, &fields->by_topic[after->topic->number]};
    for (size_t i = 0; i < 2; i++)
        if (sets[i]->known && !has(sets[i], number_of(fields, after->correlate)))
            problem_add(fields->check->problems, after->place, "missing_field",
                        "topics.%s.after: the field '%s' does not come to topic '%s' on every route", topic->name,
                        after->correlate, both[i]->name);
}

/* What watches a topic needs fields of everything that comes there. */
static void check_watchers(struct fields *fields, const struct pipeline *pipeline, const struct topic *topic)
{
    const struct field_set *set = &fields->by_topic[topic->number];
    for (size_t i = 0; i < pipeline->tap_count; i++) {
        const struct tap *tap = &pipeline->taps[i];
        const struct sluice_field *field = tap_sees(tap, topic) ? tap->binding->input : NULL;
        for (; field != NULL && field->name != NULL; field++)
            if (is_missing(fields, set, field))
                problem_add(fields->check->problems, tap->binding->place, "missing_field",
                            "tap '%s' watches topic '%s', and its handler %s needs the field '%s', which does not come "
                            "there on every route",
                            tap->name, topic->name, tap->binding->handler_name, field->name);
    }
    check_after_fields(fields, set, topic);
    for (size_t w = 0; w < topic->watch_count; w++) {
        const struct chain_watch *watch = &topic->watches[w];
        if (!has(set, number_of(fields, watch->chain->correlate)))
            problem_add(
                fields->check->problems,
                watch->step >= 0 ? watch->chain->steps[watch->step].place : watch->chain->place, "missing_field",
                "chain '%s' knows its events by the field '%s', which does not come to topic '%s' on every route",
                watch->chain->name, watch->chain->correlate, topic->name);
    }
}

void check_fields(const struct check *check)
{
    struct fields fields = {.check = check,
                            .by_topic = arena_array(check->arena, struct field_set, check->topic_count + 1)};
    do {
        fields.changed = false;
        propagate_once(&fields, false);
    } while (fields.changed);
    propagate_once(&fields, true);
    for (size_t p = 0; p < check->count; p++)
        for (size_t i = 0; i < check->pipelines[p]->topic_count; i++) {
            const struct topic *topic = check->pipelines[p]->topics[i];
            if (fields.by_topic[topic->number].known && !topic->is_dead_letter)
                check_watchers(&fields, check->pipelines[p], topic);
        }
}
