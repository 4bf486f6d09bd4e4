/*
 * timeline_paused.c - which pauses an event of a timeline waits for: those of a handler or tap that has not had it.
 *
 * The inbox tells who had an event. A tap that records nothing has had what came before it was paused.
 */
#include "operate/timeline.h"

#include "pipeline/pausable.h"

enum { PAUSED_TEXT_MAX = 4096 };

static bool had(const struct timeline_event *event, const struct binding *binding, const struct pause *pause)
{
    for (size_t e = 0; e < event->ended_count; e++)
        if (strcmp(event->ended[e].handler, binding->id) == 0)
            return true;
    return !binding_is_recorded(binding) && event->at_ms < pause->since_ms;
}

static bool waits_for(const struct pipeline *pipeline, const struct timeline_event *event, const struct topic *topic,
                      const struct pause *pause)
{
    bool waits = pause_covers_topic(pause, topic) && !had(event, topic->binding, pause);
    for (size_t t = 0; t < pipeline->tap_count && !waits; t++) {
        const struct tap *tap = &pipeline->taps[t];
        waits = tap_sees(tap, topic) && pause_covers_tap(pause, tap) && !had(event, tap->binding, pause);
    }
    return waits;
}

static void add_wait(const struct timeline *timeline, struct timeline_event *event, const struct pause *pause)
{
    const char *kind = pause_kind_word(pause->kind);
    struct buffer text;
    buffer_init(&text, PAUSED_TEXT_MAX);
    pause_print_text(pause, &text);
    wait_add(
        &event->waits, timeline->arena,
        (struct wait){
            .cause = pause->kind == PAUSE_BREAKER ? WAIT_BREAKER : WAIT_PAUSED,
            .name = pause->name,
            .until_ms = pause->until_ms == INT64_MAX ? 0 : pause->until_ms,
            .sentence = arena_format(timeline->arena, "%s %s is %.*s", kind, pause->name, (int)text.length, text.at),
            .command = arena_format(timeline->arena, "sluice resume CONFIG %s:%s", kind, pause->name),
        });
    buffer_free(&text);
}

void timeline_find_paused(struct timeline *timeline, const struct pause *pauses, size_t count)
{
    for (size_t i = 0; i < timeline->count; i++) {
        struct timeline_event *event = &timeline->events[i];
        const struct topic *topic = pipeline_topic(timeline->pipeline, event->topic);
        event->paused = arena_array(timeline->arena, const struct pause *, count + 1);
        for (size_t p = 0; p < count && topic != NULL && !event->dead_letter; p++)
            if (waits_for(timeline->pipeline, event, topic, &pauses[p])) {
                event->paused[event->paused_count++] = &pauses[p];
                add_wait(timeline, event, &pauses[p]);
            }
    }
}
