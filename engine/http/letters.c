/*
 * letters.c - /dead-letters: what operate/dead_letter.h, replay.h and edit.h do, over HTTP.
 *
 * A call that moves many stops after a part of its time and says so ("stopped"): called again, it goes on.
 */
#include "http/call.h"

#include "base/clock.h"
#include "operate/edit.h"
#include "operate/replay.h"

#include <errno.h>

enum { LETTERS_LIMIT = 100, LETTERS_IDS_MAX = 10000 };

static int letter_id(struct call *call, struct span *ret)
{
    struct span text = call_param(call, "id");
    *ret = text;
    if (letter_id_valid(text))
        return 0;
    return error_set(call->error, EINVAL, "'%.*s' is no id of a dead letter", text.length > 40 ? 40 : (int)text.length,
                     text.at);
}

/* The answer is one dead letter, whole. */
static int answer_letter(struct call *call, struct span id)
{
    struct dead_letter letter;
    int code = dead_letter_read(&call->operation, id, call->operation.arena, &letter, call->error);
    if (code != 0)
        return code;
    dead_letter_json(&letter, true, call->answer);
    buffer_byte(call->answer, '\n');
    return 0;
}

int letters_list(struct call *call)
{
    struct letter_filter filter = {0};
    struct dead_letter_page page;
    int64_t limit = LETTERS_LIMIT;
    struct span below = {NULL, 0};
    int code = 0;
    for (size_t i = call->path_count; code == 0 && i < call->param_count; i++) {
        struct span name = call->params[i].name, value = call->params[i].value;
        if (span_is(name, "below") && letter_id_valid(value))
            below = value;
        else if (span_is(name, "below"))
            code = error_set(call->error, EINVAL, "below: expected the \"next\" of a page before");
        else if (!span_is(name, "limit"))
            code = letter_filter_set(&filter, name, value, call->operation.arena, call->error);
        else if (!letter_number_of(value, &limit))
            code = error_set(call->error, EINVAL, "limit: expected a whole number of 1 or more");
    }
    if (code == 0)
        code = dead_letters_read(&call->operation, &filter, below, limit, call->operation.arena, &page, call->error);
    if (code != 0)
        return code;
    dead_letters_json(&page, call->answer);
    buffer_byte(call->answer, '\n');
    return 0;
}

int letters_show(struct call *call)
{
    struct span id;
    int code = letter_id(call, &id);
    return code == 0 ? answer_letter(call, id) : code;
}

int letters_edit(struct call *call)
{
    const struct json_member *data = json_find(&call->body, SPAN("data"));
    struct span id;
    int code = letter_id(call, &id);
    if (code == 0)
        code = data == NULL ? error_set(call->error, EINVAL, "expected {\"data\": {...}}, the event's data from now on")
                            : dead_letter_edit(&call->operation, id, data->value, call->operation.arena, call->error);
    return code == 0 ? answer_letter(call, id) : code;
}

/* ----------------------------------------------------------------------------------------------------------- moving */

/* A list of numbers, or of places as texts. */
static int take_ids(struct call *call, const struct json_member *member, struct letter_filter *filter)
{
    struct span *ids = arena_array(call->operation.arena, struct span, LETTERS_IDS_MAX);
    struct span text = member->value;
    size_t count = 0;
    for (size_t i = 1; member->kind == JSON_KIND_ARRAY && i + 1 < text.length; i++) {
        size_t length = strcspn(text.at + i, ", \t\r\n]");
        if (length == 0)
            continue;
        struct span id = {text.at + i, length};
        struct letter_place place;
        int64_t number;
        bool quoted = length >= 2 && id.at[0] == '"' && id.at[length - 1] == '"';
        if (quoted)
            id = (struct span){id.at + 1, length - 2};
        if (count == LETTERS_IDS_MAX || !(quoted ? letter_place_of(id, &place) : letter_number_of(id, &number)))
            return error_set(call->error, EINVAL, "ids: expected at most %d ids of dead letters", LETTERS_IDS_MAX);
        ids[count++] = id;
        i += length - 1;
    }
    if (count == 0)
        return error_set(call->error, EINVAL, "ids: expected a list of ids of dead letters");
    filter->ids = ids;
    filter->id_count = count;
    return 0;
}

static int take_flag(struct call *call, const struct json_member *member, bool *ret)
{
    if (member->kind != JSON_KIND_TRUE && member->kind != JSON_KIND_FALSE)
        return error_set(call->error, EINVAL, "%.*s: expected true or false", (int)member->name.length,
                         member->name.at);
    *ret = member->kind == JSON_KIND_TRUE;
    return 0;
}

struct moved { /* what the body says */
    struct replay replay;
    bool all, filtered;
};

static int take_member(struct call *call, const struct json_member *member, struct moved *moved)
{
    struct span name = member->name;
    if (span_is(name, "why"))
        return 0;
    if (span_is(name, "all"))
        return take_flag(call, member, &moved->all);
    if (span_is(name, "force"))
        return take_flag(call, member, &moved->replay.force);
    if (span_is(name, "ids"))
        return take_ids(call, member, &moved->replay.filter);
    if (span_is(name, "limit"))
        return letter_number_of(member->value, &moved->replay.limit)
                   ? 0
                   : error_set(call->error, EINVAL, "limit: expected a whole number of 1 or more");
    if (span_is(name, "state") || member->kind != JSON_KIND_STRING)
        return error_set(call->error, EINVAL,
                         "'%.*s': expected ids, topic, handler, reason, correlation, since, all, force, limit or why",
                         name.length > 40 ? 40 : (int)name.length, name.at);
    moved->filtered = true;
    return letter_filter_set(&moved->replay.filter, name,
                             json_unescape(member->value, member->value_escaped, call->operation.arena),
                             call->operation.arena, call->error);
}

static int answer_moved(struct call *call, struct moved *moved, bool drops)
{
    struct replay_progress progress = {0};
    moved->replay.chosen = letter_filter_words(&moved->replay.filter, call->operation.arena);
    moved->replay.until_ms = clock_monotonic_ms() + operation_timeout_ms(&call->operation) / 2;
    int code = drops ? dead_letters_drop(&call->operation, &moved->replay, &progress, call->error)
                     : dead_letters_replay(&call->operation, &moved->replay, &progress, call->error);
    if (code == 0)
        replay_progress_json(&progress, drops ? "dropped" : "replayed", call->answer);
    return code;
}

static int move_many(struct call *call, bool drops)
{
    struct moved moved = {0};
    int code = 0;
    for (size_t i = 0; code == 0 && i < call->body.count; i++)
        code = take_member(call, &call->body.members[i], &moved);
    size_t ways = (size_t)moved.all + moved.filtered + (moved.replay.filter.id_count > 0);
    if (code == 0 && ways != 1)
        code = error_set(
            call->error, EINVAL,
            "expected one of ids, a filter (topic, handler, reason, correlation, since) and \"all\": true");
    return code == 0 ? answer_moved(call, &moved, drops) : code;
}

/* One: 409 when it is not open, or was replayed too often. */
static int move_one(struct call *call, bool drops)
{
    struct moved moved = {0};
    struct dead_letter letter = {0};
    struct span id = {NULL, 0};
    int code = 0;
    for (size_t i = 0; code == 0 && i < call->body.count; i++) {
        const struct json_member *member = &call->body.members[i];
        code = span_is(member->name, "why") || span_is(member->name, "force")
                   ? take_member(call, member, &moved)
                   : error_set(call->error, EINVAL, "'%.*s': expected force or why",
                               member->name.length > 40 ? 40 : (int)member->name.length, member->name.at);
    }
    if (code == 0)
        code = letter_id(call, &id);
    if (code == 0)
        code = dead_letter_read(&call->operation, id, call->operation.arena, &letter, call->error);
    if (code == 0 && letter.state != DEAD_LETTER_OPEN)
        code = error_set(call->error, EBUSY, "dead letter %s is %s already", letter.id,
                         dead_letter_state_word(letter.state));
    if (code == 0 && !drops && letter.rounds >= DEAD_LETTER_ROUNDS_MAX && !moved.replay.force)
        code = error_set(call->error, EBUSY, "dead letter %s was replayed %d times before; \"force\": true replays it",
                         letter.id, letter.rounds);
    moved.replay.filter.ids = &id;
    moved.replay.filter.id_count = 1;
    return code == 0 ? answer_moved(call, &moved, drops) : code;
}

int letters_replay(struct call *call)
{
    return move_many(call, false);
}

int letters_drop(struct call *call)
{
    return move_many(call, true);
}

int letter_replay(struct call *call)
{
    return move_one(call, false);
}

int letter_drop(struct call *call)
{
    return move_one(call, true);
}
