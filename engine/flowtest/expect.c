/*
 * expect.c - see expect.h.
 */
#include "flowtest/expect.h"

#include "flowtest/database.h"
#include "flowtest/value.h"
#include "operate/chain.h"
#include "operate/timeline.h"
#include "run/gateway.h"

enum { CHAIN_JSON_MAX = 1024 * 1024, METRICS_TEXT_MAX = 16 * 1024 * 1024 };

static bool missed(struct miss *ret, struct place place, const char *what, const char *expected, const char *actual)
{
    *ret = (struct miss){.place = place, .what = what, .expected = expected, .actual = actual};
    return false;
}

static bool missed_value(struct drive *drive, const char *what, const struct difference *difference, struct miss *ret)
{
    const char *path = difference->path;
    return missed(ret, difference->place,
                  path[0] == '\0'  ? what
                  : path[0] == '[' ? arena_format(drive->arena, "%s%s", what, path)
                                   : arena_format(drive->arena, "%s.%s", what, path),
                  difference->expected, difference->actual);
}

static bool reply_holds(struct drive *drive, const struct expectation *expect, const struct reply *reply,
                        struct miss *ret)
{
    struct difference difference = {.path = ""};
    const char *status = arena_format(drive->arena, "%d", reply->status);
    if (expect->status != NULL && !span_is(expect->status->text, status))
        return missed(ret, expect->status->place, "status", value_text(expect->status, drive->arena),
                      arena_format(drive->arena, "%s with %.*s", status, (int)reply->json.length, reply->json.at));
    if (expect->reply == NULL)
        return true;
    if (reply->json.length == 0)
        return missed(ret, expect->reply->place, "reply", value_text(expect->reply, drive->arena), NULL);
    return value_matches(expect->reply, reply->json, drive->arena, &difference) ||
           missed_value(drive, "reply", &difference, ret);
}

/* ---------------------------------------------------------------------------------------------------------- events */

/* Of a dead letter the topic that it was on. */
static struct span seen_topic(const struct seen *seen)
{
    struct span topic = seen->dead_letter ? record_header(seen->record, HEADER_DLT_TOPIC) : seen->record->topic;
    return topic.at == NULL ? seen->record->topic : topic;
}

/* An event as a test may write it: `topic`, `key`, `data`; of a dead letter `handler` and `reason`, too. */
static struct span seen_json(struct drive *drive, const struct seen *seen)
{
    struct buffer json;
    buffer_init(&json, 64 * 1024 * 1024);
    buffer_text(&json, "{\"topic\":");
    buffer_json_string(&json, seen_topic(seen));
    if (seen->key.at != NULL) {
        buffer_text(&json, ",\"key\":");
        buffer_json_string(&json, (struct span){seen->key.at, span_utf8(seen->key)});
    }
    if (seen->dead_letter) {
        buffer_text(&json, ",\"handler\":");
        buffer_json_string(&json, record_header(seen->record, HEADER_DLT_HANDLER));
        buffer_text(&json, ",\"reason\":");
        buffer_json_string(&json, record_header(seen->record, HEADER_DLT_CODE));
    }
    buffer_text(&json, ",\"data\":");
    buffer_span(&json, seen->data);
    buffer_byte(&json, '}');
    struct span text = arena_span(drive->arena, buffer_view(&json));
    buffer_free(&json);
    return text;
}

/* A plain text is a topic. */
static struct span expected_topic(const struct node *node)
{
    const struct node *topic = node->kind == NODE_MAPPING ? node_get(node, "topic") : node;
    return topic == NULL || topic->kind != NODE_SCALAR ? (struct span){NULL, 0} : topic->text;
}

static bool seen_matches(struct drive *drive, const struct node *node, const struct seen *seen, struct difference *ret)
{
    *ret = (struct difference){.path = "", .place = node->place};
    if (node->kind != NODE_SCALAR)
        return value_matches(node, seen_json(drive, seen), drive->arena, ret);
    ret->expected = arena_string(drive->arena, node->text);
    ret->actual = arena_string(drive->arena, seen_topic(seen));
    return span_equal(seen_topic(seen), node->text);
}

static const char *seen_shown(struct drive *drive, const struct seen *seen)
{
    struct span json = seen_json(drive, seen);
    return arena_format(drive->arena, "%.*s", (int)(json.length > 500 ? 500 : json.length), json.at);
}

static const char *node_expected(struct drive *drive, const struct node *node)
{
    return node->kind == NODE_SCALAR ? arena_string(drive->arena, node->text) : value_text(node, drive->arena);
}

struct near {
    size_t at;
    bool exact, topic, spare; /* spare: no other expectation has it */
    size_t distance;
    struct difference difference;
};

static bool is_nearer(const struct near *a, const struct near *b)
{
    if (a->topic != b->topic)
        return a->topic;
    if (a->spare != b->spare)
        return a->spare;
    if (a->exact != b->exact)
        return a->exact;
    return a->difference.same != b->difference.same ? a->difference.same > b->difference.same
                                                    : a->distance < b->distance;
}

/* Of all events the one on the topic with most in common, and where it differs. Those before `own`, the place at which
 * it is expected, are what other expectations have found. */
static const char *nearest(struct drive *drive, const struct node *node, const struct seen *list, size_t count,
                           size_t own)
{
    struct near best = {0};
    for (size_t i = 0; i < count; i++) {
        struct near near = {.at = i, .spare = i >= own, .distance = i >= own ? i - own : own - i};
        near.exact = seen_matches(drive, node, &list[i], &near.difference);
        near.topic = near.exact || span_equal(seen_topic(&list[i]), expected_topic(node));
        if ((near.topic || near.difference.same > 0) && (best.difference.path == NULL || is_nearer(&near, &best)))
            best = near;
    }
    if (best.difference.path == NULL)
        return NULL;
    if (best.exact)
        return arena_format(drive->arena, "it is there, at another place: [%zu]", best.at);
    return arena_format(drive->arena, "[%zu], whose %s is %s", best.at, best.difference.path,
                        best.difference.actual == NULL ? "missing" : best.difference.actual);
}

/* In order, each, and no more. */
static bool list_holds(struct drive *drive, const struct node *expected, const char *what, const struct seen *list,
                       size_t count, struct miss *ret)
{
    for (size_t i = 0; i < expected->count || i < count; i++) {
        const char *at = arena_format(drive->arena, "%s[%zu]", what, i);
        struct difference difference;
        if (i >= expected->count)
            return missed(ret, expected->place, at, "nothing more", seen_shown(drive, &list[i]));
        if (i < count && seen_matches(drive, expected->items[i], &list[i], &difference))
            continue;
        (void)missed(ret, i < count && difference.path[0] != '\0' ? difference.place : expected->items[i]->place, at,
                     node_expected(drive, expected->items[i]), i < count ? seen_shown(drive, &list[i]) : NULL);
        ret->nearest = nearest(drive, expected->items[i], list, count, i);
        return false;
    }
    return true;
}

static bool events_hold(struct drive *drive, const struct expectation *expect, const struct looking *looking,
                        struct looked *looked, struct miss *ret)
{
    struct seen *list, *events, *letters;
    size_t count, event_count = 0, letter_count = 0;
    struct error error = {0};
    if (drive_events(drive, &list, &count, &error) != 0)
        return missed(ret, expect->events != NULL ? expect->events->place : expect->dead_letters->place, "events",
                      "to read the topics", arena_format(drive->arena, "%s", error.text));
    events = arena_array(drive->arena, struct seen, count + 1);
    letters = arena_array(drive->arena, struct seen, count + 1);
    for (size_t i = 0; i < count; i++)
        if (looking->distinct && list[i].again)
            continue;
        else if (list[i].dead_letter)
            letters[letter_count++] = list[i];
        else
            events[event_count++] = list[i];
    bool end = looking->end;
    size_t from = end ? 0 : looked->events, letters_from = end ? 0 : looked->dead_letters;
    if (expect->events != NULL) {
        looked->events = event_count;
        if (!list_holds(drive, expect->events, "events", events + from, event_count - from, ret))
            return false;
    }
    if (expect->dead_letters == NULL)
        return true;
    looked->dead_letters = letter_count;
    return list_holds(drive, expect->dead_letters, "dead_letters", letters + letters_from, letter_count - letters_from,
                      ret);
}

/* --------------------------------------------------------------------------------------------------------- the SQL */

static bool sql_holds(struct drive *drive, const struct node *sql, struct miss *ret)
{
    for (size_t i = 0; i < sql->count; i++) {
        const char *query = arena_string(drive->arena, sql->keys[i]->text);
        struct difference difference = {.path = ""};
        struct error error = {0};
        struct span rows;
        if (drive->connection == NULL)
            return missed(ret, sql->place, "sql", "a pipeline with a store", NULL);
        if (database_rows(drive->connection, query, &rows, &error) != 0)
            return missed(ret, sql->keys[i]->place, query, value_text(sql->items[i], drive->arena),
                          arena_format(drive->arena, "%s", error.text));
        if (value_matches(sql->items[i], rows, drive->arena, &difference))
            continue;
        (void)missed(ret, difference.place, query, value_text(sql->items[i], drive->arena),
                     arena_format(drive->arena, "%.*s", (int)(rows.length > 1000 ? 1000 : rows.length), rows.at));
        return false;
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- chains and metrics */

/* The engine looks for the last steps of a chain only where something depends on them; here their events tell. */
static bool all_steps_done(struct drive *drive, const char *correlation)
{
    struct timeline timeline = {.arena = drive->arena, .pipeline = drive->pipeline, .correlation = correlation};
    struct error error = {0};
    return timeline_read(&timeline, drive->bus, drive->connection, &error) == 0 && timeline.chain_state != NULL &&
           strcmp(timeline.chain_state, "complete") == 0;
}

/* A plain text is the state. */
static bool chain_holds(struct drive *drive, const struct node *expected, const char *correlation, struct miss *ret)
{
    const char *what = arena_format(drive->arena, "chains.%s", correlation);
    struct operation operation = {.pipeline = drive->pipeline, .connection = drive->connection, .arena = drive->arena};
    struct difference difference = {.path = ""};
    struct chain_view view;
    struct error error = {0};
    struct buffer json;
    if (chain_find(&operation, NULL, span_of(correlation), &view, &error) != 0)
        return missed(ret, expected->place, what, node_expected(drive, expected),
                      arena_format(drive->arena, "%s", error.text));
    if (strcmp(view.state, "running") == 0 && all_steps_done(drive, correlation))
        view.state = "complete";
    if (expected->kind == NODE_SCALAR)
        return span_is(expected->text, view.state) ||
               missed(ret, expected->place, what, node_expected(drive, expected), view.state);
    buffer_init(&json, CHAIN_JSON_MAX);
    chain_json(&view, &json);
    struct span text = arena_span(drive->arena, buffer_view(&json));
    buffer_free(&json);
    return value_matches(expected, text, drive->arena, &difference) || missed_value(drive, what, &difference, ret);
}

static bool chains_hold(struct drive *drive, const struct node *chains, struct miss *ret)
{
    for (size_t i = 0; i < chains->count; i++)
        if (!chain_holds(drive, chains->items[i], arena_string(drive->arena, chains->keys[i]->text), ret))
            return false;
    return true;
}

/* What stands behind a series in the text of /metrics; {NULL, 0}: it is not there. */
static struct span metric_value(struct span text, struct span series)
{
    for (const char *at = text.at, *end = text.at + text.length; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline == NULL ? end : newline;
        size_t length = (size_t)(stop - at);
        if (length > series.length && at[series.length] == ' ' && memcmp(at, series.at, series.length) == 0)
            return (struct span){at + series.length + 1, length - series.length - 1};
        at = stop + 1;
    }
    return (struct span){NULL, 0};
}

static bool metrics_hold(struct drive *drive, const struct node *metrics, struct miss *ret)
{
    struct buffer text;
    bool hold = true;
    buffer_init(&text, METRICS_TEXT_MAX);
    metrics_print(engine_metrics(drive->engine), &text);
    for (size_t i = 0; hold && i < metrics->count; i++) {
        struct difference difference = {.path = ""};
        struct span value = metric_value(buffer_view(&text), metrics->keys[i]->text);
        const char *series = arena_string(drive->arena, metrics->keys[i]->text);
        value = value.at == NULL ? value : arena_span(drive->arena, value);
        if (value.at == NULL)
            hold = missed(ret, metrics->keys[i]->place, series, node_expected(drive, metrics->items[i]), NULL);
        else if (!value_matches(metrics->items[i], value, drive->arena, &difference))
            hold = missed_value(drive, series, &difference, ret);
    }
    buffer_free(&text);
    return hold;
}

bool expect_holds(struct drive *drive, const struct expectation *expect, const struct looking *looking,
                  struct looked *looked, struct miss *ret)
{
    if (looking->reply != NULL && !reply_holds(drive, expect, looking->reply, ret))
        return false;
    if ((expect->events != NULL || expect->dead_letters != NULL) && !events_hold(drive, expect, looking, looked, ret))
        return false;
    if (expect->sql != NULL && !sql_holds(drive, expect->sql, ret))
        return false;
    if (expect->chains != NULL && !chains_hold(drive, expect->chains, ret))
        return false;
    return expect->metrics == NULL || metrics_hold(drive, expect->metrics, ret);
}
