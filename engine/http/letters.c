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

static int letter_id(struct call *call, int64_t *ret)
{
    struct span text = call_param(call, "id");
    if (dead_letter_id_of(text, ret))
        return 0;
    return error_set(call->error, EINVAL, "'%.*s' is no number of a dead letter",
                     text.length > 40 ? 40 : (int)text.length, text.at);
}

static int needs_store(struct call *call)
{
    return operation_needs_store(&call->operation, "dead letters are", call->error);
}

/* The answer is one dead letter, whole. */
static int answer_letter(struct call *call, int64_t id)
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
    struct dead_letter_filter filter = {0};
    struct dead_letter_page page;
    int64_t limit = LETTERS_LIMIT, below = 0;
    int code = needs_store(call);
    for (size_t i = call->path_count; code == 0 && i < call->param_count; i++) {
        struct span name = call->params[i].name, value = call->params[i].value;
        int64_t *number = span_is(name, "limit") ? &limit : span_is(name, "below") ? &below : NULL;
        if (number == NULL)
            code = dead_letter_filter_set(&filter, name, value, call->operation.arena, call->error);
        else if (!dead_letter_id_of(value, number))
            code = error_set(call->error, EINVAL, "%.*s: expected a whole number of 1 or more", (int)name.length,
                             name.at);
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
    int64_t id = 0;
    int code = needs_store(call);
    if (code == 0)
        code = letter_id(call, &id);
    return code == 0 ? answer_letter(call, id) : code;
}

int letters_edit(struct call *call)
{
    const struct json_member *data = json_find(&call->body, SPAN("data"));
    int64_t id = 0;
    int code = needs_store(call);
    if (code == 0)
        code = letter_id(call, &id);
    if (code == 0)
        code = data == NULL ? error_set(call->error, EINVAL, "expected {\"data\": {...}}, the event's data from now on")
                            : dead_letter_edit(&call->operation, id, data->value, call->operation.arena, call->error);
    return code == 0 ? answer_letter(call, id) : code;
}

/* ----------------------------------------------------------------------------------------------------------- moving */

static int take_ids(struct call *call, const struct json_member *member, struct dead_letter_filter *filter)
{
    int64_t *ids = arena_array(call->operation.arena, int64_t, LETTERS_IDS_MAX);
    struct span text = member->value;
    size_t count = 0;
    for (size_t i = 1; member->kind == JSON_KIND_ARRAY && i < text.length; i++) {
        size_t length = 0;
        while (i + length < text.length && text.at[i + length] >= '0' && text.at[i + length] <= '9')
            length++;
        bool between = strchr(", \t\r\n]", text.at[i]) != NULL;
        if (length == 0 && between)
            continue;
        if (count == LETTERS_IDS_MAX || !dead_letter_id_of((struct span){text.at + i, length}, &ids[count]))
            return error_set(call->error, EINVAL, "ids: expected at most %d numbers of dead letters", LETTERS_IDS_MAX);
        count++;
        i += length - 1;
    }
    if (count == 0)
        return error_set(call->error, EINVAL, "ids: expected a list of numbers of dead letters");
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
        return dead_letter_id_of(member->value, &moved->replay.limit)
                   ? 0
                   : error_set(call->error, EINVAL, "limit: expected a whole number of 1 or more");
    if (span_is(name, "state") || member->kind != JSON_KIND_STRING)
        return error_set(call->error, EINVAL,
                         "'%.*s': expected ids, topic, handler, reason, correlation, since, all, force, limit or why",
                         name.length > 40 ? 40 : (int)name.length, name.at);
    moved->filtered = true;
    return dead_letter_filter_set(&moved->replay.filter, name,
                                  json_unescape(member->value, member->value_escaped, call->operation.arena),
                                  call->operation.arena, call->error);
}

static int answer_moved(struct call *call, struct moved *moved, bool drops)
{
    struct replay_progress progress = {0};
    moved->replay.chosen = dead_letter_filter_words(&moved->replay.filter, call->operation.arena);
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
    int code = needs_store(call);
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
    int64_t id = 0;
    int code = needs_store(call);
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
        code = error_set(call->error, EBUSY, "dead letter %lld is %s already", (long long)id,
                         dead_letter_state_word(letter.state));
    if (code == 0 && !drops && letter.rounds >= DEAD_LETTER_ROUNDS_MAX && !moved.replay.force)
        code = error_set(call->error, EBUSY,
                         "dead letter %lld was replayed %d times before; \"force\": true replays it", (long long)id,
                         letter.rounds);
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
