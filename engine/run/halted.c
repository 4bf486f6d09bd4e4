/*
 * halted.c - see halted.h.
 */
#include "run/halted.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus/bus.h"
#include "run/state.h"

#include <stdlib.h>
#include <string.h>

enum {
    HALTED_LOOK_MS = 1000,
    HALTED_LOG_MS = 60000,
    HALTED_TEXT_MAX = 8192 /* of so many the first ones say enough */
};

struct look { /* one round of questions */
    struct group_run *group;
    struct buffer text;
};

/* The gauge of a partition; NULL: out of memory. */
static struct series *series_of(struct group_run *group, const char *place)
{
    struct halted *halted = &group->halted;
    for (size_t i = 0; i < halted->place_count; i++)
        if (strcmp(halted->places[i].name, place) == 0)
            return halted->places[i].series;
    struct halted_place *grown = reallocarray(halted->places, halted->place_count + 1, sizeof *grown);
    char *name = strdup(place);
    halted->places = grown == NULL ? halted->places : grown;
    if (grown == NULL || name == NULL) {
        free(name);
        return NULL;
    }
    struct halted_place *made = &grown[halted->place_count++];
    made->name = name;
    made->series = metrics_series(group->engine->metrics, METRIC_HALTED, group->config->name, place);
    return made->series;
}

static void take(const char *what, const char *place, const char *why, void *context)
{
    struct look *look = context;
    const char *group = look->group->config->name;
    struct series *series = place == NULL ? NULL : series_of(look->group, place);
    if (series != NULL)
        series_set(series, 1);
    if (what == NULL)
        buffer_format(&look->text, "group %s reads nothing: %s\n", group, why);
    else if (place == NULL)
        buffer_format(&look->text, "group %s does not read %s: %s\n", group, what, why);
    else
        buffer_format(&look->text, "group %s does not read %s %s: %s\n", group, what, place, why);
}

void halted_look(struct group_run *group)
{
    struct halted *halted = &group->halted;
    struct look look = {.group = group};
    int64_t now = clock_monotonic_ms();
    if (now < halted->look_ms)
        return;
    halted->look_ms = now + HALTED_LOOK_MS;
    for (size_t i = 0; i < halted->place_count; i++)
        series_set(halted->places[i].series, 0);
    buffer_init(&look.text, HALTED_TEXT_MAX);
    bus_halted(group->engine->bus, group->consumer, take, &look);
    if (look.text.length > 0)
        log_rarely(HALTED_LOG_MS, LOG_WARN, "reader", "%.*s",
                   (int)((const char *)memchr(look.text.at, '\n', look.text.length) - look.text.at), look.text.at);
    pthread_mutex_lock(&group->lock);
    struct buffer before = halted->text;
    halted->text = look.text;
    pthread_mutex_unlock(&group->lock);
    buffer_free(&before);
}

bool halted_print(struct group_run *group, struct buffer *out)
{
    pthread_mutex_lock(&group->lock);
    bool any = group->halted.text.length > 0;
    if (any)
        buffer_span(out, buffer_view(&group->halted.text));
    pthread_mutex_unlock(&group->lock);
    return any;
}

void halted_destroy(struct halted *halted)
{
    for (size_t i = 0; i < halted->place_count; i++)
        free(halted->places[i].name);
    free(halted->places);
    buffer_free(&halted->text);
}
