/*
 * load_flow.c - topics, routes, chains, taps, schedules and requests.
 *
 * A topic exists when anything names it. Retry topics and dead letter topics are made here, so that they are drawn, tapped and
 * counted like any other.
 */
#include "pipeline/load.h"

#include <stdlib.h>

enum { TOPICS_MAX = 4096, USES_MAX = 4096 };

static void *grown(struct arena *arena, void *list, size_t count, size_t item)
{
    if ((count & (count - 1)) != 0 && count != 0)
        return list;
    void *larger = arena_alloc(arena, item * (count == 0 ? 1 : count * 2));
    if (count > 0)
        memcpy(larger, list, item * count);
    return larger;
}

struct topic *pipeline_topic(const struct pipeline *pipeline, const char *name)
{
    for (size_t i = 0; i < pipeline->topic_count; i++)
        if (strcmp(pipeline->topics[i]->name, name) == 0)
            return pipeline->topics[i];
    return NULL;
}

static struct topic *topic_of(struct load *load, const struct node *node)
{
    struct pipeline *pipeline = load->pipeline;
    const char *name = load_name(load, node, "topic", 249);
    struct topic *topic = pipeline_topic(pipeline, name);
    if (topic != NULL)
        return topic;
    topic = arena_new(load->arena, struct topic);
    topic->name = name;
    topic->place = node->place;
    if (strcmp(name, "?") == 0) /* refused: it stands for no other */
        return topic;
    topic->index = (uint32_t)pipeline->topic_count;
    pipeline->topics = grown(load->arena, pipeline->topics, pipeline->topic_count, sizeof *pipeline->topics);
    pipeline->topics[pipeline->topic_count++] = topic;
    return topic;
}

/* The topic that a key of a mapping names; NULL, with a problem, when it is not there or no text. */
static struct topic *topic_at(struct load *load, struct node *mapping, const char *key, const char *what)
{
    struct node *node = node_get(mapping, key);
    if (node == NULL)
        return NULL; /* said by options_apply() when it is required */
    if (node->kind != NODE_SCALAR) {
        problem_add(load->problems, node->place, "bad_value", "%s.%s: expected a topic", what, key);
        return NULL;
    }
    return topic_of(load, node);
}

/* ---------------------------------------------------------------------------------------------------------- routes */

static bool load_ladder(struct load *load, struct node *node, const char *what, struct route *route)
{
    struct ladder *ladder = &route->ladder;
    options_default(ladder_options, ladder);
    options_apply(ladder_options, node, node->place, what, ladder, load->arena, load->problems);
    route->kind = ROUTE_LADDER;
    ladder->topic = topic_at(load, node, "retry", what);
    ladder->exhausted = topic_at(load, node, "exhausted", what);
    return ladder->topic != NULL && ladder->exhausted != NULL && ladder->max_retries > 0;
}

static bool load_route(struct load *load, struct node *key, struct node *node, const char *what, struct route *route)
{
    *route = (struct route){.place = key->place, .outcome = key->text.at};
    if (node->kind == NODE_MAPPING)
        return load_ladder(load, node, what, route);
    if (node->kind != NODE_SCALAR || node->text.length == 0) {
        problem_add(load->problems, node->place, "bad_value", "%s: expected a topic, drop, or a retry ladder {retry: TOPIC, …}", what);
        return false;
    }
    route->kind = span_is(node->text, "drop") ? ROUTE_DROP : ROUTE_TOPIC;
    if (route->kind == ROUTE_TOPIC)
        route->topic = topic_of(load, node);
    return true;
}

static struct use *load_use(struct load *load, struct node *mapping, struct place place, const char *what)
{
    struct pipeline *pipeline = load->pipeline;
    struct use *use = arena_new(load->arena, struct use);
    struct node *handler = node_get(mapping, "handler"), *routes = node_get(mapping, "routes"), *node;
    const char *name = handler == NULL || handler->kind != NODE_SCALAR ? "" : handler->text.at, *dot = strchr(name, '.');

    use->place = handler != NULL ? handler->place : place;
    use->handler_name = use->id = name;
    use->retry = pipeline->defaults.retry;
    use->timeout_ms = pipeline->defaults.timeout_ms;
    use->max_events = pipeline->engine.max_events;
    use->dead_letter = true;
    use->index = (uint32_t)pipeline->use_count;
    pipeline->uses = grown(load->arena, pipeline->uses, pipeline->use_count, sizeof *pipeline->uses);
    pipeline->uses[pipeline->use_count++] = use;
    if (dot == NULL || dot == name || dot[1] == '\0') {
        if (handler != NULL)
            problem_add(load->problems, handler->place, "bad_value", "%s.handler: expected PLUGIN.HANDLER, like payment.charge, got '%s'", what, name);
    } else {
        const char **names = arena_array(load->arena, const char *, pipeline->plugin_count + 1);
        for (size_t i = 0; i < pipeline->plugin_count; i++) {
            names[i] = pipeline->plugins[i].name;
            if (strlen(names[i]) == (size_t)(dot - name) && strncmp(names[i], name, (size_t)(dot - name)) == 0)
                use->plugin = &pipeline->plugins[i];
        }
        const char *word = arena_string(load->arena, (struct span){name, (size_t)(dot - name)}), *near = nearest_name(word, names);
        if (use->plugin == NULL)
            problem_add(load->problems, handler->place, "unknown_plugin", "%s.handler: '%s' is no plugin of this file%s%s%s", what, word,
                        near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
    }
    load_retry(load, mapping, what, &use->retry);
    if ((node = node_get(mapping, "timeout")) != NULL)
        duration_parse(node->text, &use->timeout_ms); /* checked with the table */
    if (routes != NULL && routes->kind != NODE_MAPPING) {
        problem_add(load->problems, routes->place, "bad_value", "%s.routes: expected a mapping from outcomes", what);
        routes = NULL;
    }
    use->routes = arena_array(load->arena, struct route, routes == NULL ? 1 : routes->count + 1);
    for (size_t i = 0; routes != NULL && i < routes->count; i++)
        if (load_route(load, routes->keys[i], routes->items[i], arena_format(load->arena, "%s.routes.%s", what, routes->keys[i]->text.at),
                       &use->routes[use->route_count]))
            use->route_count++;
    return use;
}

/* ---------------------------------------------------------------------------------------------------------- topics */

static void load_topic(struct load *load, struct node *key, struct node *mapping)
{
    struct topic *topic = topic_of(load, key);
    const char *what = arena_format(load->arena, "topics.%s", topic->name);
    struct error error = {0};

    topic->declared = true;
    topic->place = key->place;
    if (mapping->kind == NODE_SCALAR && mapping->text.length == 0)
        mapping = NULL; /* "payment.failure:" alone */
    options_apply(topic_options, mapping, key->place, what, topic, load->arena, load->problems);
    if (mapping == NULL || mapping->kind != NODE_MAPPING)
        return;
    struct node *template = node_get(mapping, "key");
    if (topic->key_text != NULL && (topic->key = key_template_create(span_of(topic->key_text), load->arena, &error)) == NULL)
        problem_add(load->problems, template->place, "bad_value", "%s.key: %s", what, error.text);
    if (node_get(mapping, "handler") != NULL)
        topic->use = load_use(load, mapping, key->place, what);
    else if (node_get(mapping, "routes") != NULL)
        problem_add(load->problems, node_get(mapping, "routes")->place, "bad_value", "%s.routes: there is no handler whose outcomes these could be", what);
    if (topic->use != NULL && topic->final)
        problem_add(load->problems, key->place, "bad_value", "%s: it is final and has a handler; it can be one of both", what);
    struct node *dead_letter = node_get(mapping, "dead_letter");
    if (dead_letter != NULL && dead_letter->kind == NODE_SCALAR && dead_letter->text.length > 0)
        topic->dead_letter = topic_of(load, dead_letter);
}

/* "{topic}-dlt" for this topic. */
static struct topic *dead_letter_of(struct load *load, const struct topic *topic)
{
    const char *pattern = load->pipeline->defaults.dead_letter, *hole = strstr(pattern, "{topic}");
    const char *name = hole == NULL ? pattern
                                    : arena_format(load->arena, "%.*s%s%s", (int)(hole - pattern), pattern, topic->name, hole + strlen("{topic}"));
    struct node node = {.kind = NODE_SCALAR, .place = topic->place, .text = span_of(name)};
    return topic_of(load, &node);
}

/* A retry topic is handled like the topic whose ladder it belongs to. */
static void join_ladders(struct load *load)
{
    struct pipeline *pipeline = load->pipeline;
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        struct topic *topic = pipeline->topics[i];
        for (size_t r = 0; topic->use != NULL && topic->ladder_of == NULL && r < topic->use->route_count; r++) {
            struct route *route = &topic->use->routes[r];
            if (route->kind != ROUTE_LADDER)
                continue;
            struct topic *retry = route->ladder.topic;
            if (retry->use != NULL || retry == topic) {
                problem_add(load->problems, route->place, "ladder_topic",
                            "the ladder of %s uses topic %s, which has a handler already; a retry topic belongs to one ladder", topic->name, retry->name);
                continue;
            }
            retry->ladder_of = topic;
            retry->ladder = &route->ladder;
            retry->use = topic->use;
            if (retry->key == NULL)
                retry->key = topic->key;
        }
    }
}

static void join_dead_letters(struct load *load)
{
    struct pipeline *pipeline = load->pipeline;
    for (size_t i = 0, count = pipeline->topic_count; i < count; i++) {
        struct topic *topic = pipeline->topics[i];
        if (topic->is_dead_letter)
            continue;
        if (topic->dead_letter == NULL)
            topic->dead_letter = dead_letter_of(load, topic);
        topic->dead_letter->is_dead_letter = true;
        topic->dead_letter->final = topic->dead_letter->use == NULL;
        topic->dead_letter->dead_letter = NULL;
    }
}

/* ---------------------------------------------------------------------------------------------------------- chains */

static void watch(struct load *load, struct topic *topic, struct chain *chain, enum chain_role role, int32_t step)
{
    topic->watches = grown(load->arena, topic->watches, topic->watch_count, sizeof *topic->watches);
    topic->watches[topic->watch_count++] = (struct chain_watch){chain, role, step};
}

static void load_step(struct load *load, struct chain *chain, struct node *node, const char *what)
{
    struct chain_step *step = &chain->steps[chain->step_count];
    struct node *undo = node_get(node, "undo");
    int32_t number = (int32_t)chain->step_count;
    step->place = node->place;
    options_apply(chain_step_options, node, node->place, what, step, load->arena, load->problems);
    step->done = topic_at(load, node, "done", what);
    if (undo != NULL && undo->kind == NODE_SCALAR && !span_is(undo->text, "none"))
        step->undo = topic_of(load, undo);
    step->undone = topic_at(load, node, "undone", what);
    if (step->done == NULL || undo == NULL)
        return;
    chain->step_count++;
    watch(load, step->done, chain, CHAIN_DONE, number);
    if (step->undo != NULL)
        watch(load, step->undo, chain, CHAIN_UNDO, number);
    if (step->undone != NULL)
        watch(load, step->undone, chain, CHAIN_STEP_UNDONE, number);
}

static void load_chain(struct load *load, struct node *key, struct node *node, struct chain *chain)
{
    const char *what = arena_format(load->arena, "chains.%s", chain->name);
    chain->place = key->place;
    options_apply(chain_options, node, key->place, what, chain, load->arena, load->problems);
    struct node *steps = node_get(node, "steps"), *abort_on = node_get(node, "abort_on"), *failure = node_get(node, "on_undo_failure");
    chain->on_undo_failure = failure != NULL && span_is(failure->text, "retry_forever") ? UNDO_RETRY_FOREVER
                             : failure != NULL && span_is(failure->text, "dead_letter") ? UNDO_DEAD_LETTER
                                                                                        : UNDO_PAUSE;
    size_t count = steps != NULL && steps->kind == NODE_SEQUENCE ? steps->count : 0;
    if (steps != NULL && (count == 0 || count > CHAIN_STEPS_MAX)) {
        problem_add(load->problems, steps->place, "bad_value", "%s.steps: expected a list of 1 to %d steps", what, CHAIN_STEPS_MAX);
        count = 0;
    }
    chain->steps = arena_array(load->arena, struct chain_step, count + 1);
    for (size_t i = 0; i < count; i++)
        load_step(load, chain, steps->items[i], arena_format(load->arena, "%s.steps[%zu]", what, i));
    if (abort_on != NULL && (abort_on->kind != NODE_SEQUENCE || abort_on->count == 0)) {
        problem_add(load->problems, abort_on->place, "bad_value", "%s.abort_on: expected a list of topics", what);
        abort_on = NULL;
    }
    chain->abort_on = arena_array(load->arena, struct topic *, abort_on == NULL ? 1 : abort_on->count + 1);
    for (size_t i = 0; abort_on != NULL && i < abort_on->count; i++) {
        struct topic *topic = topic_of(load, abort_on->items[i]);
        chain->abort_on[chain->abort_count++] = topic;
        watch(load, topic, chain, CHAIN_ABORT, -1);
    }
}

static void load_chains(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *chains = NULL;
    if (!load_section(load, root, "chains", &chains))
        return;
    pipeline->chains = arena_array(load->arena, struct chain, chains->count + 1);
    for (size_t i = 0; i < chains->count; i++) {
        struct chain *chain = &pipeline->chains[pipeline->chain_count];
        chain->index = (uint32_t)pipeline->chain_count++;
        chain->name = load_name(load, chains->keys[i], "chain name", 64);
        load_chain(load, chains->keys[i], chains->items[i], chain);
    }
    if (pipeline->chain_count > 0 && !pipeline->store.present)
        problem_add(load->problems, pipeline->chains[0].place, "missing_key", "chains are written down in the database; 'store' is missing");
}

/* -------------------------------------------------------------------------------------- taps, schedules, requests */

static void load_tap(struct load *load, struct node *key, struct node *node, struct tap *tap)
{
    const char *what = arena_format(load->arena, "taps.%s", tap->name);
    struct node *topics = node_get(node, "topics"), *batch = node_get(node, "batch"), *lanes = node_get(node, "lanes"), *value;
    int64_t most = load->pipeline->engine.max_events;

    tap->place = key->place;
    options_apply(tap_options, node, key->place, what, tap, load->arena, load->problems);
    tap->use = load_use(load, node, key->place, what);
    tap->use->id = arena_format(load->arena, "%s/%s", tap->name, tap->use->handler_name);
    tap->lanes = lanes == NULL ? 1 : (uint32_t)strtol(lanes->text.at == NULL ? "1" : lanes->text.at, NULL, 10);
    tap->lanes = tap->lanes < 1 || tap->lanes > 64 ? 1 : tap->lanes;
    if (topics != NULL && (topics->kind != NODE_SEQUENCE || topics->count == 0)) {
        problem_add(load->problems, topics->place, "bad_value", "%s.topics: expected a list of topics, a trailing * allowed", what);
        topics = NULL;
    }
    const char **names = arena_array(load->arena, const char *, topics == NULL ? 1 : topics->count + 1);
    for (size_t i = 0; topics != NULL && i < topics->count; i++) {
        struct span text = topics->items[i]->text;
        if (text.length > 0 && text.at[text.length - 1] == '*') {
            names[tap->topic_count++] = text.at;
            if (memchr(text.at, '*', text.length - 1) != NULL)
                problem_add(load->problems, topics->items[i]->place, "bad_name", "%s.topics '%s': a * may stand at the end only", what, text.at);
        } else {
            names[tap->topic_count++] = topic_of(load, topics->items[i])->name;
        }
    }
    tap->topics = names;
    if (batch == NULL)
        return;
    options_apply(batch_options, batch, batch->place, arena_format(load->arena, "%s.batch", what), NULL, load->arena, load->problems);
    if ((value = node_get(batch, "max_events")) != NULL)
        most = strtoll(value->text.at == NULL ? "0" : value->text.at, NULL, 10);
    tap->use->max_events = most < 1 || most > 10000 ? 500 : (uint32_t)most;
    if ((value = node_get(batch, "max_wait")) != NULL)
        duration_parse(value->text, &tap->use->max_wait_ms);
}

static bool path_segments(struct load *load, const struct node *key, struct request *request)
{
    size_t most = 1;
    for (const char *at = request->path; *at != '\0'; at++)
        most += *at == '/';
    request->segments = arena_array(load->arena, const char *, most + 1);
    const char *at = request->path + 1;
    for (const char *end; *at != '\0'; at = *end == '\0' ? end : end + 1) {
        end = at + strcspn(at, "/");
        struct span segment = {at, (size_t)(end - at)};
        bool brace = memchr(segment.at, '{', segment.length) != NULL || memchr(segment.at, '}', segment.length) != NULL;
        if (segment.length == 0 ||
            (brace && (segment.length < 3 || segment.at[0] != '{' || memchr(segment.at, '}', segment.length) != segment.at + segment.length - 1))) {
            problem_add(load->problems, key->place, "bad_value", "http.requests: '%s': a segment is a word or {name}", key->text.at);
            return false;
        }
        request->segments[request->segment_count++] = arena_string(load->arena, segment);
    }
    return true;
}

static void load_request(struct load *load, struct node *key, struct node *node)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", NULL};
    struct pipeline *pipeline = load->pipeline;
    struct request *request = &pipeline->requests[pipeline->request_count];
    const char *what = arena_format(load->arena, "http.requests.%s", key->text.at), *space = strchr(key->text.at, ' ');
    bool known = false;

    options_apply(request_options, node, key->place, what, request, load->arena, load->problems);
    for (size_t i = 0; space != NULL && methods[i] != NULL; i++)
        known = known || (strlen(methods[i]) == (size_t)(space - key->text.at) && strncmp(methods[i], key->text.at, strlen(methods[i])) == 0);
    if (!known || space[1] != '/') {
        problem_add(load->problems, key->place, "bad_value", "http.requests: expected \"METHOD /path\" like \"POST /payments\", got '%s'", key->text.at);
        return;
    }
    *request = (struct request){.place = key->place,
                                .method = arena_string(load->arena, (struct span){key->text.at, (size_t)(space - key->text.at)}), .path = space + 1};
    if (!path_segments(load, key, request))
        return;
    request->use = load_use(load, node, key->place, what);
    request->use->id = key->text.at;
    pipeline->request_count++;
}

static void load_entries(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *taps = NULL, *schedules = NULL, *http = node_get(root, "http"), *requests = NULL;
    if (load_section(load, root, "taps", &taps))
        pipeline->taps = arena_array(load->arena, struct tap, taps->count + 1);
    for (size_t i = 0; taps != NULL && i < taps->count; i++) {
        struct tap *tap = &pipeline->taps[pipeline->tap_count++];
        tap->name = load_name(load, taps->keys[i], "tap name", 64);
        load_tap(load, taps->keys[i], taps->items[i], tap);
    }
    if (load_section(load, root, "schedules", &schedules))
        pipeline->schedules = arena_array(load->arena, struct schedule, schedules->count + 1);
    for (size_t i = 0; schedules != NULL && i < schedules->count; i++) {
        struct schedule *schedule = &pipeline->schedules[pipeline->schedule_count++];
        schedule->name = load_name(load, schedules->keys[i], "schedule name", 64);
        schedule->place = schedules->keys[i]->place;
        const char *what = arena_format(load->arena, "schedules.%s", schedule->name);
        options_apply(schedule_options, schedules->items[i], schedule->place, what, schedule, load->arena, load->problems);
        schedule->every_ms = schedule->every_ms < 10 ? 1000 : schedule->every_ms;
        schedule->use = load_use(load, schedules->items[i], schedule->place, what);
        schedule->use->id = arena_format(load->arena, "schedule/%s", schedule->name);
    }
    if (http != NULL && http->kind == NODE_MAPPING && load_section(load, http, "requests", &requests))
        pipeline->requests = arena_array(load->arena, struct request, requests->count + 1);
    for (size_t i = 0; requests != NULL && i < requests->count; i++)
        load_request(load, requests->keys[i], requests->items[i]);
}

void load_flow(struct load *load, struct node *root)
{
    struct node *topics = NULL;
    if (load_section(load, root, "topics", &topics))
        for (size_t i = 0; i < topics->count; i++)
            load_topic(load, topics->keys[i], topics->items[i]);
    load_chains(load, root);
    load_entries(load, root);
    join_ladders(load);
    join_dead_letters(load);
}
