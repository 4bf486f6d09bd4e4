/*
 * test_dead_letter.c - what a dead letter says: the event as it came, where it came from and why it is dead.
 */
#include "lane_test.h"

#include "event/record_batch.h"

static const char yaml[] =
    "store: {url: 'postgres://x'}\n"
    "engine: {max_event_size: 64KiB}\n"
    "defaults: {dead_letter: 'dead.{topic}'}\n"
    "topics:\n"
    "  order.new: {handler: work.handle, routes: {done: drop, later: drop}, dead_letter: graves}\n"
    "  order.old: {handler: work.handle, routes: {done: drop, later: drop}}\n"
    "taps:\n"
    "  audit: {topics: [graves], handler: work.watch}\n";

static const char rejected[] = " { \"eventId\":\"a\",\"eventName\":\"x\",\"timestamp\":\"2025-01-02T03:04:05Z\","
                               "\"data\":{ \"do\":\"reject\",\"do_\":\"do\"} } ";

static void reject(struct lane_test *test, struct sluice_call *call)
{
    (void)test;
    for (uint32_t i = 0; i < call->count; i++)
        call->host->reject(call, i, "never");
}

static void the_event_as_it_came(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    struct header headers[] = {{SPAN("traceparent"), SPAN("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
                               {SPAN("x-mine"), SPAN("1")},
                               {SPAN("x-empty"), SPAN("")}};
    struct record record = {.topic = SPAN("order.new"),
                            .key = SPAN("k\0k"),
                            .value = span_of(rejected),
                            .headers = headers,
                            .header_count = 3,
                            .timestamp_ms = 1699999999123};
    (void)state;
    test->handle = reject;
    lane_test_offer(test, &record);
    struct item *tried = lane_test_offer(test, &(struct record){.topic = SPAN("order.old"), .value = SPAN("{}")});
    tried->tries = 4;
    assert_int_equal(lane_test_run_all(test), 1);

    const struct record *dead = assert_dead(test, "graves", 0, "rejected");
    assert_true(span_equal(dead->key, record.key));
    assert_true(span_equal(dead->value, record.value));
    assert_header(dead, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_header(dead, "x-mine", "1");
    assert_header(dead, "x-empty", "");
    assert_header(dead, HEADER_DLT_TOPIC, "order.new");
    assert_header(dead, HEADER_DLT_PARTITION, "3");
    assert_header(dead, HEADER_DLT_OFFSET, "0");
    assert_header(dead, HEADER_DLT_TIMESTAMP, "1699999999123");
    assert_header(dead, HEADER_DLT_REASON, "never");
    assert_header(dead, HEADER_DLT_HANDLER, "work.handle");
    assert_header(dead, HEADER_ATTEMPTS, "1");
    assert_header(dead, HEADER_HOPS, NULL); /* it is no event that we made */
    assert_header(dead, HEADER_DLT_GROUP, "test");
    assert_int_equal(dead->header_count, 3 + 9);

    dead = assert_dead(test, "dead.order.old", 0, "bad_id");
    assert_header(dead, HEADER_DLT_OFFSET, "1");
    assert_header(dead, HEADER_ATTEMPTS, "5");
    assert_header(dead, HEADER_DLT_REASON, "the event has no \"eventId\"");
    assert_true(fake_log_has("event a on order.new is a dead letter: rejected (never); it is partition 3 at 0"));
    assert_int_equal(series_value(test->env.topics[pipeline_topic(test->config, "order.new")->index].dead), 1);
    lane_test_destroy(test);
}

/* What waited in the database has no partition any more; requests have no dead letter at all. */
static void of_a_delayed_event(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    struct record record = {.topic = SPAN("order.new"), .value = span_of(rejected)};
    (void)state;
    test->handle = reject;
    lane_test_parked(test, &record);
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 unpark:1 outcomes:1 outbox_add commit");
    const struct record *dead = assert_dead(test, "graves", 0, "rejected");
    assert_header(dead, HEADER_DLT_PARTITION, NULL);
    assert_header(dead, HEADER_DLT_OFFSET, NULL);
    assert_header(dead, HEADER_DLT_TOPIC, "order.new");
    lane_test_destroy(test);
}

static void only_what_a_batch_of_records_holds(void **state)
{
    enum { MANY = 260, KEY = 40000 };
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    struct header headers[MANY];
    char *key = arena_alloc(test->arena, KEY), *huge = arena_alloc(test->arena, 70000);
    (void)state;
    memset(key, 'k', KEY);
    memset(huge, 'h', 70000);
    for (size_t i = 0; i < MANY; i++)
        headers[i] = (struct header){span_of(arena_format(test->arena, "h%zu", i)), SPAN("v")};
    headers[0].value = (struct span){huge, 70000};
    headers[1].name = (struct span){huge, 256};
    struct record record = {.topic = SPAN("order.new"),
                            .key = {key, KEY},
                            .value = {huge, 66000},
                            .headers = headers,
                            .header_count = MANY};
    lane_test_offer(test, &record);
    assert_int_equal(lane_test_run_all(test), 1);
    const struct record *dead = assert_dead(test, "graves", 0, "too_large");
    assert_int_equal(dead->key.length, 32768);
    assert_int_equal(dead->value.length, 66000);
    assert_true(dead->header_count <= 255);
    assert_header(dead, "h0", NULL); /* longer than a record batch can hold */
    assert_header(dead, "h2", "v");
    assert_header(dead, "h246", "v"); /* the first 245 that fit; our own ones are never left out */
    assert_header(dead, "h247", NULL);
    assert_header(dead, HEADER_ATTEMPTS, "1");
    assert_int_equal(test->store->tables.claim_count, 1);
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_destroy(test);
}

static void long_words(struct lane_test *test, struct sluice_call *call)
{
    char text[600];
    (void)test;
    memset(text, 'w', sizeof text);
    memcpy(text + 499, "\xc3\xa9", 2);
    text[3] = '\n';
    text[599] = '\0';
    call->host->reject(call, 0, call->events[0].id.at[0] == 'n' ? NULL : text);
}

/* A sentence is bounded, of one line, and never cut inside a letter: a plugin's where it comes in, any other here. */
static void the_sentence(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = long_words;
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_run(test);
    lane_test_event(test, "order.new", "k", "none", "{}");
    lane_test_run(test);
    struct span reason = record_header(assert_published(test, "graves", 0), HEADER_DLT_REASON);
    assert_int_equal(reason.length, 500);
    assert_int_equal(span_utf8(reason), 500);
    assert_memory_equal(reason.at, "www www", 7);
    assert_int_equal(reason.at[499], '?');
    assert_header(assert_published(test, "graves", 1), HEADER_DLT_REASON, "no reason given");

    char text[600];
    memset(text, 'd', sizeof text);
    memcpy(text + 499, "\xc3\xa9", 2);
    text[599] = '\0';
    test->handle = lane_test_obey;
    fake_store_fail(test->store, "commit", 0, 1, STORE_DATA, text);
    lane_test_event(test, "order.new", "k", "c", "{}")->tries = 99; /* the last one */
    assert_int_equal(lane_test_run_all(test), 2);
    reason = record_header(assert_dead(test, "graves", 2, "database"), HEADER_DLT_REASON);
    assert_int_equal(reason.length, 499);
    assert_int_equal(span_utf8(reason), 499);
    lane_test_destroy(test);
}

/* A dead letter topic has none of its own: a tap on it whose handler rejects the letter just ends. */
static void of_a_dead_letter(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_of_tap(test, 0);
    lane_test_event(test, "graves", "k", "a", "{\"do\":\"reject\"}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(lane_test_calls(test), "[a]"); /* its tap names it */
    assert_string_equal(lane_test_ends(test), "0");
    assert_int_equal(test->bus.count, 0);
    lane_test_destroy(test);
}

/* On a bus that is part of the transaction, it is there with COMMIT. */
static void on_a_transactional_bus(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_TRANSACTIONAL);
    struct record *records;
    size_t count;
    (void)state;
    lane_test_event(test, "order.new", "k", "a", "{\"do\":\"reject\"}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 outcomes:1 append commit");
    assert_int_equal(test->store->tables.log_count, 1);
    assert_int_equal(record_batch_read(test->store->tables.log[0], test->arena, &records, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_header(&records[0], HEADER_DLT_CODE, "rejected");
    assert_int_equal(test->bus.woken, 1);
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_event_as_it_came),
        cmocka_unit_test(of_a_delayed_event),
        cmocka_unit_test(only_what_a_batch_of_records_holds),
        cmocka_unit_test(the_sentence),
        cmocka_unit_test(of_a_dead_letter),
        cmocka_unit_test(on_a_transactional_bus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
