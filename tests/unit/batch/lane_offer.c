/*
 * lane_offer.c - what a test gives to its lane, and what it looks at afterwards.
 */
#include "lane_test.h"

#include "base/clock.h"
#include "bus/chunk.h"

static struct item *item_add(struct lane_test *test)
{
    struct item_block *block = item_block_create(1, NULL);
    assert_non_null(block);
    struct item *item = item_block_items(block);
    item->position.high = test->offered++;
    item->stream = LANE_TEST_STREAM;
    return item;
}

static struct item *record_add(struct lane_test *test, const struct record *record, enum item_source source)
{
    struct record copy = *record;
    struct item *item = item_add(test);
    copy.topic = arena_span(test->arena, record->topic);
    copy.value = arena_span(test->arena, record->value);
    copy.key = record->key.at == NULL ? record->key : arena_span(test->arena, record->key);
    item_of_record(item, source, &copy, record_key_hash(&copy, item->position),
                   pipeline_topic(test->config, arena_string(test->arena, copy.topic)), test->env.group);
    assert_int_equal(item_own_headers(item), 0);
    lane_offer(test->env.lane, &item->entry);
    return item;
}

struct item *lane_test_offer(struct lane_test *test, const struct record *record)
{
    return record_add(test, record, ITEM_BUS);
}

struct item *lane_test_parked(struct lane_test *test, const struct record *record)
{
    return record_add(test, record, ITEM_PARKED);
}

struct item *lane_test_event(struct lane_test *test, const char *topic, const char *key, const char *id,
                             const char *data)
{
    struct record record = {.topic = span_of(topic),
                            .key = span_of(key),
                            .value = span_of(arena_format(test->arena,
                                                          "{\"eventId\":\"%s\",\"eventName\":\"%s\",\"timestamp\":"
                                                          "\"2025-01-02T03:04:05.678Z\",\"data\":%s}",
                                                          id, topic, data)),
                            .timestamp_ms = 1699999999000};
    return lane_test_offer(test, &record);
}

struct item *lane_test_tick(struct lane_test *test, size_t schedule, int64_t slot_ms)
{
    struct item *item = item_add(test);
    item->source = ITEM_TICK;
    item->schedule = &test->config->schedules[schedule];
    item->binding = item->schedule->binding;
    item->slot_ms = slot_ms;
    item->entry.key_hash = item->position.high;
    lane_offer(test->env.lane, &item->entry);
    return item;
}

static void request_done(struct gateway_request *request, int status, struct span json)
{
    struct lane_test_request *mine = (struct lane_test_request *)request;
    mine->status = status;
    mine->answers++;
    snprintf(mine->json, sizeof mine->json, "%.*s", (int)json.length, json.at == NULL ? "" : json.at);
}

void lane_test_ask(struct lane_test *test, struct lane_test_request *request)
{
    struct item *item = item_add(test);
    request->request.done = request_done;
    request->request.waiting = &test->waiting;
    if (request->request.arrived_ms == 0)
        request->request.arrived_ms = clock_monotonic_ms();
    atomic_fetch_add(&test->waiting, 1);
    item->source = ITEM_REQUEST;
    item->request = &request->request;
    item->binding = test->config->requests[request->request.route].binding;
    item->entry.key_hash = item->position.high;
    lane_offer(test->env.lane, &item->entry);
}

const char *lane_test_calls(struct lane_test *test)
{
    char *calls = arena_string(test->arena, span_of(test->calls));
    if (calls[0] != '\0')
        calls[strlen(calls) - 1] = '\0'; /* the last space */
    test->calls[0] = '\0';
    return calls;
}

const char *lane_test_ends(struct lane_test *test)
{
    char text[LANE_TEST_ENDS_MAX * 6] = "";
    size_t length = 0;
    for (size_t i = 0; i < test->end_count; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%llu%s", i == 0 ? "" : " ",
                                   (unsigned long long)test->ends[i].number, test->ends[i].complete ? "" : "!");
    test->end_count = 0;
    return arena_string(test->arena, span_of(text));
}

const struct record *assert_published(struct lane_test *test, const char *topic, size_t n)
{
    const struct record *record = fake_bus_record(&test->bus, topic, n);
    if (record == NULL)
        fail_msg("record %zu of topic %s was not published", n, topic);
    return record;
}

void assert_holds(const struct record *record, const char *text)
{
    if (memmem(record->value.at, record->value.length, text, strlen(text)) == NULL)
        fail_msg("'%s' is not in %.*s", text, (int)record->value.length, record->value.at);
}

void assert_header(const struct record *record, const char *name, const char *value)
{
    struct span found = record_header(record, name);
    if (value == NULL ? found.at != NULL : found.at == NULL || !span_is(found, value))
        fail_msg("header %s is '%.*s', expected '%s'", name, (int)found.length, found.at == NULL ? "" : found.at,
                 value == NULL ? "(none)" : value);
}

const struct record *assert_dead(struct lane_test *test, const char *topic, size_t n, const char *word)
{
    const struct record *record = assert_published(test, topic, n);
    assert_header(record, HEADER_DLT_CODE, word);
    return record;
}
