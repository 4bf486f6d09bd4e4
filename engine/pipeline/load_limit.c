/*
 * load_limit.c - how often the handler of a topic may be called, and for how many events at once.
 */
#include "pipeline/load.h"

#include <stdlib.h>

enum { LIMIT_RATE_MAX = 1000000 /* in one unit of time */ };

/* "100/s" as nanoseconds from one event to the next; 0: it is nothing of the kind. */
static int64_t step_of(struct span rate)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {{"/s", 1000000000}, {"/m", 60000000000}, {"/h", 3600000000000}};
    size_t digits = 0;
    while (digits < rate.length && rate.at[digits] >= '0' && rate.at[digits] <= '9')
        digits++;
    if (digits == 0 || digits > 7)
        return 0;
    int64_t count = strtoll(rate.at, NULL, 10);
    for (size_t i = 0; i < sizeof units / sizeof units[0] && count >= 1 && count <= LIMIT_RATE_MAX; i++)
        if (span_is((struct span){rate.at + digits, rate.length - digits}, units[i].name))
            return units[i].ns / count;
    return 0;
}

static const char *limit_text(const struct limit *limit, struct arena *arena)
{
    const char *at_once = limit->places == 0 ? "" : arena_format(arena, "%d at once", limit->places);
    return arena_format(arena, "%s%s%s%s%s", limit->rate_text == NULL ? "" : limit->rate_text,
                        limit->rate_text != NULL && limit->places > 0 ? " and " : "", at_once,
                        limit->per_text == NULL ? "" : " for each ", limit->per_text == NULL ? "" : limit->per_text);
}

void load_limit(struct load *load, struct node *mapping, const char *what, const struct topic *topic)
{
    struct node *node = node_get(mapping, "limit"), *rate, *per;
    struct limit *limit = arena_new(load->arena, struct limit);
    struct error error = {0};
    if (node == NULL)
        return;
    what = arena_format(load->arena, "%s.limit", what);
    size_t before = load->problems->errors;
    options_apply(limit_options, node, node->place, what, limit, load->arena, load->problems);
    if (load->problems->errors != before || node->kind != NODE_MAPPING)
        return;
    limit->place = node->place;
    limit->topic = topic->name;
    rate = node_get(node, "rate");
    per = node_get(node, "per");
    if (rate == NULL && limit->places == 0)
        problem_add(load->problems, node->place, "missing_key",
                    "%s: expected 'rate', 'concurrency' or both, like {rate: 100/s, concurrency: 8}", what);
    if (rate != NULL && (limit->step_ns = step_of(rate->text)) == 0)
        problem_add(load->problems, rate->place, "bad_value",
                    "%s.rate: expected a number up to %d and its unit of time, like 100/s, 20/m or 5/h, got %s", what,
                    LIMIT_RATE_MAX, node_shown(rate, load->arena));
    if (per != NULL && (limit->per = key_template_create(per->text, load->arena, &error)) == NULL)
        problem_add(load->problems, per->place, "bad_value", "%s.per: %s", what,
                    per->interpolated ? "expected a template like \"{tenantId}\", got ***" : error.text);
    limit->text = limit_text(limit, load->arena);
    if (topic->binding == NULL)
        problem_add(load->problems, node->place, "bad_value", "%s: there is no handler whose calls it could limit",
                    what);
    else if (!load->pipeline->store.present)
        problem_add(load->problems, node->place, "missing_key",
                    "%s: it is kept in the database, for all processes; 'store:' is missing", what);
    else
        topic->binding->limit = limit;
    load->pipeline->limit_count++;
}
