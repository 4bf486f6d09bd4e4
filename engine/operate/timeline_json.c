/*
 * timeline_json.c - a timeline for programs: one JSON object.
 */
#include "operate/timeline.h"

#include "operate/dead_letter.h"
#include "operate/json.h"

static void print_event(const struct timeline_event *event, bool first, struct buffer *out)
{
    buffer_text(out, first ? "{\"topic\":" : ",{\"topic\":");
    buffer_json_string(out, span_of(event->topic));
    json_text(out, ",", "eventId", event->id);
    buffer_format(out, ",\"timestamp\":%lld", (long long)event->at_ms);
    if (event->parent != NULL)
        json_text(out, ",", "parent", event->parent);
    if (event->due_ms != 0)
        buffer_format(out, ",\"notBefore\":%lld", (long long)event->due_ms);
    if (event->reason != NULL)
        json_text(out, ",", "reason", event->reason);
    if (event->replay_of != NULL) {
        json_text(out, ",", "replayOf", event->replay_of);
        buffer_format(out, ",\"replayedLetter\":%lld,\"replays\":%lld", (long long)event->replayed_letter,
                      (long long)event->replays);
    }
    buffer_text(out, ",\"deadLetters\":[");
    for (size_t i = 0; i < event->letter_count; i++)
        buffer_format(out, "%s{\"id\":%lld,\"state\":\"%s\"}", i > 0 ? "," : "", (long long)event->letters[i].id,
                      dead_letter_state_word((enum dead_letter_state)event->letters[i].state));
    buffer_text(out, "]");
    if (event->held && !event->stuck)
        buffer_format(out, ",\"held\":{\"before\":%lld,\"until\":%lld}", (long long)event->held_before,
                      (long long)event->delayed_until_ms);
    else if (event->delayed_until_ms != 0 && !event->stuck)
        buffer_format(out, ",\"parkedUntil\":%lld", (long long)event->delayed_until_ms);
    if (event->why != NULL)
        json_text(out, ",", "why", event->why);
    if (event->tries > 0)
        buffer_format(out, ",\"tries\":%lld", (long long)event->tries);
    buffer_format(out, ",\"copies\":%zu,\"stuck\":%s,\"deadLetter\":%s,\"elsewhere\":[", event->copies,
                  event->stuck ? "true" : "false", event->dead_letter ? "true" : "false");
    for (size_t e = 0; e < event->elsewhere_count; e++) {
        buffer_text(out, e > 0 ? "," : "");
        buffer_json_string(out, span_of(event->elsewhere[e]));
    }
    buffer_text(out, "],\"paused\":[");
    for (size_t p = 0; p < event->paused_count; p++) {
        buffer_text(out, p > 0 ? "," : "");
        pause_print_json(event->paused[p], out);
    }
    buffer_text(out, "],\"waits\":");
    waits_json(&event->waits, out);
    buffer_text(out, ",\"handled\":[");
    for (size_t e = 0; e < event->ended_count; e++) {
        buffer_text(out, e > 0 ? ",{\"handler\":" : "{\"handler\":");
        buffer_json_string(out, span_of(event->ended[e].handler));
        json_text(out, ",", "outcome", event->ended[e].outcome);
        buffer_byte(out, '}');
    }
    buffer_text(out, "]}");
}

void timeline_json(const struct timeline *timeline, struct buffer *out)
{
    json_text(out, "{", "correlation", timeline->correlation);
    if (timeline->chain != NULL) {
        json_text(out, ",", "chain", timeline->chain);
        json_text(out, ",", "chainState", timeline->chain_state);
        if (timeline->chain_reason != NULL)
            json_text(out, ",", "chainReason", timeline->chain_reason);
        buffer_format(out, ",\"chainBegun\":%lld,\"chainDoings\":%lld,\"chainUndos\":%lld,\"chainOlderDefinition\":%s",
                      (long long)timeline->chain_begun, (long long)timeline->chain_doings,
                      (long long)timeline->chain_undos, timeline->chain_older_definition ? "true" : "false");
    }
    buffer_text(out, ",\"incomplete\":");
    if (timeline->incomplete == NULL)
        buffer_text(out, "null");
    else
        buffer_json_string(out, span_of(timeline->incomplete));
    buffer_text(out, ",\"waits\":");
    waits_json(&timeline->waits, out);
    buffer_text(out, ",\"events\":[");
    for (size_t i = 0; i < timeline->count; i++)
        print_event(&timeline->events[i], i == 0, out);
    buffer_text(out, "]}\n");
}
