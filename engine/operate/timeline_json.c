/*
 * timeline_json.c - a timeline for programs: one JSON object.
 */
#include "operate/timeline.h"

#include "operate/dead_letter.h"

static void print_event(const struct timeline_event *event, bool first, struct buffer *out)
{
    buffer_text(out, first ? "{\"topic\":" : ",{\"topic\":");
    buffer_json_string(out, span_of(event->topic));
    buffer_text(out, ",\"eventId\":");
    buffer_json_string(out, span_of(event->id));
    buffer_format(out, ",\"timestamp\":%lld", (long long)event->at_ms);
    if (event->parent != NULL) {
        buffer_text(out, ",\"parent\":");
        buffer_json_string(out, span_of(event->parent));
    }
    if (event->due_ms != 0)
        buffer_format(out, ",\"notBefore\":%lld", (long long)event->due_ms);
    if (event->reason != NULL) {
        buffer_text(out, ",\"reason\":");
        buffer_json_string(out, span_of(event->reason));
    }
    if (event->replay_of != NULL) {
        buffer_text(out, ",\"replayOf\":");
        buffer_json_string(out, span_of(event->replay_of));
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
    if (event->why != NULL) {
        buffer_text(out, ",\"why\":");
        buffer_json_string(out, span_of(event->why));
    }
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
    buffer_text(out, "],\"handled\":[");
    for (size_t e = 0; e < event->ended_count; e++) {
        buffer_text(out, e > 0 ? ",{\"handler\":" : "{\"handler\":");
        buffer_json_string(out, span_of(event->ended[e].handler));
        buffer_text(out, ",\"outcome\":");
        buffer_json_string(out, span_of(event->ended[e].outcome));
        buffer_byte(out, '}');
    }
    buffer_text(out, "]}");
}

void timeline_json(const struct timeline *timeline, struct buffer *out)
{
    buffer_text(out, "{\"correlation\":");
    buffer_json_string(out, span_of(timeline->correlation));
    if (timeline->chain != NULL) {
        buffer_text(out, ",\"chain\":");
        buffer_json_string(out, span_of(timeline->chain));
        buffer_text(out, ",\"chainState\":");
        buffer_json_string(out, span_of(timeline->chain_state));
        if (timeline->chain_reason != NULL) {
            buffer_text(out, ",\"chainReason\":");
            buffer_json_string(out, span_of(timeline->chain_reason));
        }
        buffer_format(out, ",\"chainBegun\":%lld,\"chainDoings\":%lld,\"chainUndos\":%lld,\"chainOlderDefinition\":%s",
                      (long long)timeline->chain_begun, (long long)timeline->chain_doings,
                      (long long)timeline->chain_undos, timeline->chain_older_definition ? "true" : "false");
    }
    buffer_text(out, ",\"events\":[");
    for (size_t i = 0; i < timeline->count; i++)
        print_event(&timeline->events[i], i == 0, out);
    buffer_text(out, "]}\n");
}
