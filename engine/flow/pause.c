/*
 * pause.c - see pause.h.
 */
#include "flow/pause.h"

#include "event/timestamp.h"

static const char *const words[PAUSE_KIND_COUNT] = {
    [PAUSE_TOPIC] = "topic",       [PAUSE_HANDLER] = "handler",       [PAUSE_TAP] = "tap",
    [PAUSE_SCHEDULE] = "schedule", [PAUSE_DEPENDENCY] = "dependency", [PAUSE_BREAKER] = "breaker"};

const char *pause_kind_word(enum pause_kind kind)
{
    return words[kind];
}

bool pause_kind_of(struct span word, enum pause_kind *ret)
{
    for (int kind = 0; kind < PAUSE_KIND_COUNT; kind++)
        if (span_is(word, words[kind])) {
            *ret = (enum pause_kind)kind;
            return true;
        }
    return false;
}

void pause_print_text(const struct pause *pause, struct buffer *out)
{
    char since[TIMESTAMP_TEXT + 1], until[TIMESTAMP_TEXT + 1] = "";
    timestamp_format(pause->since_ms, since);
    if (pause->until_ms != INT64_MAX)
        timestamp_format(pause->until_ms, until);
    if (pause->half_open)
        buffer_format(out, "half-open since %s, one event is let through; it opened %s", until, since);
    else if (pause->kind == PAUSE_BREAKER)
        buffer_format(out, "open since %s, until %s", since, until);
    else
        buffer_format(out, "paused by %s since %s, until %s", pause->actor, since,
                      pause->until_ms == INT64_MAX ? "it is resumed" : until);
    if (pause->reason != NULL)
        buffer_format(out, ": %s", pause->reason);
}

void pause_print_json(const struct pause *pause, struct buffer *out)
{
    char time[TIMESTAMP_TEXT + 1];
    buffer_format(out, "{\"kind\":\"%s\",\"name\":", words[pause->kind]);
    buffer_json_string(out, span_of(pause->name));
    buffer_text(out, ",\"actor\":");
    buffer_json_string(out, span_of(pause->actor));
    timestamp_format(pause->since_ms, time);
    buffer_format(out, ",\"since\":\"%s\",\"until\":", time);
    if (pause->until_ms != INT64_MAX) {
        timestamp_format(pause->until_ms, time);
        buffer_format(out, "\"%s\"", time);
    } else {
        buffer_text(out, "null");
    }
    if (pause->kind == PAUSE_BREAKER)
        buffer_format(out, ",\"state\":\"%s\"", pause->half_open ? "half-open" : "open");
    buffer_text(out, ",\"reason\":");
    if (pause->reason != NULL)
        buffer_json_string(out, span_of(pause->reason));
    else
        buffer_text(out, "null");
    buffer_byte(out, '}');
}
