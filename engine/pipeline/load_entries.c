/*
 * load_entries.c - what stands beside the topics: taps, schedules and requests.
 */
#include "pipeline/load.h"

#include <ctype.h>
#include <stdlib.h>

static void load_tap(struct load *load, struct node *key, struct node *node, struct tap *tap)
{
    const char *what = arena_format(load->arena, "taps.%s", tap->name);
    struct node *batch = node_get(node, "batch"), *wait;

    tap->place = key->place;
    options_apply(tap_options, node, key->place, what, tap, load->arena, load->problems);
    tap->binding = load_binding(load, node, key->place, what);
    tap->binding->id = arena_format(load->arena, "%s/%s", tap->name, tap->binding->handler_name);
    tap->lanes = (uint32_t)load_number(node_get(node, "lanes"), 1, 64, 1);
    tap->topics = load_topic_list(load, node_get(node, "topics"), what, &tap->topic_count);
    load_start(load, node, what, &tap->start);
    if (batch == NULL)
        return;
    options_apply(batch_options, batch, batch->place, arena_format(load->arena, "%s.batch", what), NULL, load->arena,
                  load->problems);
    tap->binding->max_events = (uint32_t)load_number(node_get(batch, "max_events"), 1, 10000, tap->binding->max_events);
    if ((wait = node_get(batch, "max_wait")) != NULL && wait->kind == NODE_SCALAR)
        duration_parse(wait->text, &tap->binding->max_wait_ms);
}

void load_taps(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *taps = NULL;
    if (!load_section(load, root, "taps", &taps))
        return;
    pipeline->taps = arena_array(load->arena, struct tap, taps->count + 1);
    for (size_t i = 0; i < taps->count; i++) {
        struct tap *tap = &pipeline->taps[pipeline->tap_count++];
        tap->name = load_name(load, taps->keys[i], "tap name", 64);
        load_tap(load, taps->keys[i], taps->items[i], tap);
    }
}

/* A schedule that cannot be read ticks by the hour in UTC, so that nothing else asks about it. */
static void load_cron(struct load *load, struct node *mapping, const char *what, struct schedule *schedule)
{
    const struct node *every = node_get(mapping, "every"), *cron = node_get(mapping, "cron"),
                      *timezone = node_get(mapping, "timezone");
    struct error error = {0};
    schedule->zone = zone_read("UTC", load->arena, NULL);
    cron_parse(SPAN("@hourly"), &schedule->cron, NULL);
    if (mapping->kind == NODE_MAPPING && (every != NULL) == (cron != NULL))
        problem_add(load->problems, schedule->place, every == NULL ? "missing_key" : "bad_value",
                    "%s: %s; say when it ticks, with 'every: 5m' or 'cron: \"0 3 * * *\"'", what,
                    every == NULL ? "'every' is missing, and so is 'cron'" : "it has 'every' and 'cron'");
    if (timezone != NULL && cron == NULL)
        problem_add(load->problems, timezone->place, "bad_value", "%s.timezone: it is of 'cron', which is missing",
                    what);
    if (schedule->cron_text == NULL || cron == NULL)
        return;
    schedule->every_ms = 0;
    if (cron_parse(span_of(schedule->cron_text), &schedule->cron, &error) != 0)
        problem_add(load->problems, cron->place, "bad_value", "%s.cron: %s", what,
                    cron->interpolated ? "expected five fields, minute hour day month weekday, got ***" : error.text);
    const struct zone *zone = timezone == NULL ? schedule->zone : zone_read(schedule->timezone, load->arena, &error);
    if (zone == NULL && timezone != NULL)
        problem_add(load->problems, timezone->place, "bad_value", "%s.timezone: %s; %s", what,
                    timezone->interpolated ? "the time zone *** cannot be read" : error.text, error.hint);
    else
        schedule->zone = zone;
}

void load_schedules(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *schedules = NULL;
    if (!load_section(load, root, "schedules", &schedules))
        return;
    pipeline->schedules = arena_array(load->arena, struct schedule, schedules->count + 1);
    for (size_t i = 0; i < schedules->count; i++) {
        struct schedule *schedule = &pipeline->schedules[pipeline->schedule_count++];
        schedule->name = load_name(load, schedules->keys[i], "schedule name", 64);
        schedule->place = schedules->keys[i]->place;
        schedule->every_ms = 1000;
        const char *what = arena_format(load->arena, "schedules.%s", schedule->name);
        options_apply(schedule_options, schedules->items[i], schedule->place, what, schedule, load->arena,
                      load->problems);
        load_cron(load, schedules->items[i], what, schedule);
        schedule->binding = load_binding(load, schedules->items[i], schedule->place, what);
        schedule->binding->id = arena_format(load->arena, "schedule/%s", schedule->name);
    }
}

/* -------------------------------------------------------------------------------------------------------- requests */

static bool is_parameter(const char *segment)
{
    return segment[0] == '{';
}

static bool segment_fits(struct span segment)
{
    struct span word = segment;
    if (segment.length > 0 && segment.at[0] == '{') {
        if (segment.length < 3 || segment.at[segment.length - 1] != '}')
            return false;
        word = (struct span){segment.at + 1, segment.length - 2};
    }
    for (size_t i = 0; i < word.length; i++)
        if (!isalnum((unsigned char)word.at[i]) && strchr("._-~", word.at[i]) == NULL)
            return false;
    return word.length > 0 && !span_is(word, ".") && !span_is(word, "..");
}

static bool load_segments(struct load *load, const struct node *key, struct request *request)
{
    size_t most = 1;
    for (const char *at = request->path; *at != '\0'; at++)
        most += *at == '/';
    request->segments = arena_array(load->arena, const char *, most + 1);
    const char *at = request->path + 1;
    for (const char *end; at != NULL; at = *end == '\0' ? NULL : end + 1) {
        end = at + strcspn(at, "/");
        struct span segment = {at, (size_t)(end - at)};
        if (!segment_fits(segment)) {
            problem_add(
                load->problems, key->place, "bad_value",
                "http.requests: \"%s\": between slashes stands a word (letters, digits, '.', '_', '-', '~') or {name}",
                key->text.at);
            return false;
        }
        request->segments[request->segment_count] = arena_string(load->arena, segment);
        for (size_t i = 0; i < request->segment_count && is_parameter(request->segments[i]); i++)
            if (strcmp(request->segments[i], request->segments[request->segment_count]) == 0) {
                problem_add(load->problems, key->place, "bad_value", "http.requests: \"%s\": %s stands in it twice",
                            key->text.at, request->segments[i]);
                return false;
            }
        request->segment_count++;
    }
    return true;
}

/* Two requests that the same path would fit, with nothing to choose by. */
static bool same_shape(const struct request *a, const struct request *b)
{
    bool same = strcmp(a->method, b->method) == 0 && a->segment_count == b->segment_count;
    for (size_t i = 0; i < a->segment_count && same; i++)
        same = is_parameter(a->segments[i]) ? is_parameter(b->segments[i])
                                            : strcmp(a->segments[i], b->segments[i]) == 0;
    return same;
}

static bool load_target(struct load *load, const struct node *key, struct request *request)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", NULL};
    static const char *const taken[] = {"healthz",      "readyz",       "metrics", "pipeline", "ui",     "chains",
                                        "correlations", "dead-letters", "delayed", "pauses",   "reload", NULL};
    struct pipeline *pipeline = load->pipeline;
    const char *space = strchr(key->text.at, ' ');
    size_t length = space == NULL ? 0 : (size_t)(space - key->text.at);
    for (size_t i = 0; space != NULL && methods[i] != NULL; i++)
        if (strlen(methods[i]) == length && strncmp(methods[i], key->text.at, length) == 0)
            request->method = methods[i];
    if (request->method == NULL || space[1] != '/') {
        problem_add(load->problems, key->place, "bad_value",
                    "http.requests: expected \"METHOD /path\", like \"POST /payments\", got %s",
                    node_shown(key, load->arena));
        return false;
    }
    request->path = space + 1;
    if (!load_segments(load, key, request))
        return false;
    for (size_t i = 0; taken[i] != NULL; i++)
        if (strcmp(request->segments[0], taken[i]) == 0) {
            problem_add(load->problems, key->place, "bad_value", "http.requests: \"%s\": /%s is the engine's own",
                        key->text.at, taken[i]);
            return false;
        }
    for (size_t i = 0; i < pipeline->request_count; i++)
        if (same_shape(&pipeline->requests[i], request)) {
            problem_add(load->problems, key->place, "bad_value",
                        "http.requests: \"%s\" takes the same paths as \"%s %s\" on line %d", key->text.at,
                        pipeline->requests[i].method, pipeline->requests[i].path, pipeline->requests[i].place.line);
            return false;
        }
    return true;
}

static void load_request(struct load *load, struct node *key, struct node *node)
{
    struct pipeline *pipeline = load->pipeline;
    struct request *request = &pipeline->requests[pipeline->request_count];
    const char *what = arena_format(load->arena, "http.requests.\"%s\"", key->text.at);

    *request = (struct request){.place = key->place};
    options_apply(request_options, node, key->place, what, request, load->arena, load->problems);
    if (!load_target(load, key, request))
        return;
    request->binding = load_binding(load, node, key->place, what);
    request->binding->id = key->text.at;
    load_emit(load, node, what, request);
    pipeline->request_count++;
}

void load_requests(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *http = node_get(root, "http"), *requests = NULL;
    if (http == NULL || http->kind != NODE_MAPPING || !load_section(load, http, "requests", &requests))
        return;
    pipeline->requests = arena_array(load->arena, struct request, requests->count + 1);
    for (size_t i = 0; i < requests->count; i++)
        load_request(load, requests->keys[i], requests->items[i]);
}
