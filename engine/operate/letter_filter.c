/*
 * letter_filter.c - see letter_filter.h.
 */
#include "operate/letter_filter.h"

#include "base/clock.h"
#include "base/error.h"
#include "event/json.h"
#include "event/timestamp.h"
#include "pipeline/tree.h"

#include <errno.h>

static const char *const state_words[] = {"open", "replayed", "dropped"};
enum { STATE_COUNT = sizeof state_words / sizeof state_words[0] };

const char *dead_letter_state_word(enum dead_letter_state state)
{
    return (size_t)state < STATE_COUNT ? state_words[state] : "?";
}

/* False when there is no such word. */
static bool dead_letter_state_of(const char *word, enum dead_letter_state *ret)
{
    for (size_t i = 0; i < STATE_COUNT; i++)
        if (strcmp(word, state_words[i]) == 0) {
            *ret = (enum dead_letter_state)i;
            return true;
        }
    return false;
}

bool letter_number_of(struct span text, int64_t *ret)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
    int64_t id = 0;
    if (text.length == 0 || (text.length > 1 && text.at[0] == '0') || json_int64(text, &id) != 0 || id <= 0)
        return false;
    *ret = id;
    return true;
}

static bool since_of(struct span text, int64_t *ret_ms)
{
    int64_t ms;
    if (duration_parse(text, &ms) == 0 && ms > 0)
        *ret_ms = clock_wall_ms() - ms;
    else if (timestamp_parse(text, &ms) == 0)
        *ret_ms = ms;
    else
        return false;
    return true;
}

bool letter_place_of(struct span id, struct letter_place *ret)
{
    size_t colons[2] = {0}, found = 0;
    for (size_t i = id.length; i > 0 && found < 2; i--)
        if (id.at[i - 1] == ':')
            colons[found++] = i - 1;
    if (found < 2 || colons[1] == 0)
        return false;
    struct span partition = {id.at + colons[1] + 1, colons[0] - colons[1] - 1},
                offset = {id.at + colons[0] + 1, id.length - colons[0] - 1};
    int64_t numbers[2] = {0};
    if ((!span_is(partition, "0") && !letter_number_of(partition, &numbers[0])) || numbers[0] > INT32_MAX ||
        (!span_is(offset, "0") && !letter_number_of(offset, &numbers[1])))
        return false;
    *ret = (struct letter_place){{id.at, colons[1]}, (int32_t)numbers[0], numbers[1]};
    return true;
}

bool letter_id_valid(struct span text)
{
    struct letter_place place;
    int64_t number;
    return letter_number_of(text, &number) || letter_place_of(text, &place);
}

int letter_filter_set(struct letter_filter *filter, struct span name, struct span value, struct arena *arena,
                      struct error *error)
{
    struct span *text = span_is(name, "topic")         ? &filter->topic
                        : span_is(name, "handler")     ? &filter->handler
                        : span_is(name, "reason")      ? &filter->reason
                        : span_is(name, "correlation") ? &filter->correlation
                                                       : NULL;
    int shown = value.length > 100 ? 100 : (int)value.length;
    if (text != NULL) {
        *text = value;
        bool good = value.length > 0 && memchr(value.at, '\0', value.length) == NULL;
        return good ? 0
                    : error_set(error, EINVAL, "%.*s: expected a text; without it any will do", (int)name.length,
                                name.at);
    }
    if (span_is(name, "since"))
        return since_of(value, &filter->since_ms)
                   ? 0
                   : error_set(error, EINVAL, "since %.*s: expected a duration (15m) or a time (2026-01-02T03:04:05Z)",
                               shown, value.at);
    if (!span_is(name, "state"))
        return error_set(error, EINVAL, "'%.*s': expected topic, handler, reason, correlation, since or state",
                         name.length > 40 ? 40 : (int)name.length, name.at);
    filter->state = DEAD_LETTER_OPEN;
    filter->state_to = DEAD_LETTER_DROPPED;
    if (span_is(value, "all"))
        return 0;
    if (!dead_letter_state_of(arena_string(arena, value), &filter->state))
        return error_set(error, EINVAL, "state %.*s: expected open, replayed, dropped or all", shown, value.at);
    filter->state_to = filter->state;
    return 0;
}

const char *letter_filter_words(const struct letter_filter *filter, struct arena *arena)
{
    const struct {
        const char *name;
        struct span text;
    } words[] = {{"topic", filter->topic},
                 {"handler", filter->handler},
                 {"reason", filter->reason},
                 {"correlation", filter->correlation}};
    const char *text = filter->id_count > 0 ? "ids" : "";
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (words[i].text.length > 0)
            text = arena_format(arena, "%s%s%s %.*s", text, text[0] != '\0' ? ", " : "", words[i].name,
                                (int)words[i].text.length, words[i].text.at);
    if (filter->since_ms != 0) {
        char since[TIMESTAMP_TEXT + 1];
        timestamp_format(filter->since_ms, since);
        text = arena_format(arena, "%s%ssince %s", text, text[0] != '\0' ? ", " : "", since);
    }
    return text[0] != '\0' ? text : "all";
}
