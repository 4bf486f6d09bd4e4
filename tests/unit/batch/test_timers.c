/*
 * test_timers.c - timers of chains in a batch: they begin and end with the chain's events; what is due is emitted by
 * whoever can delete its row.
 */
#include "lane_test.h"

#include "base/clock.h"
#include "event/record_batch.h"

static const char yaml[] = "store: {url: 'postgres://x'}\n"
                           "engine: {hop_limit: 2}\n"
                           "topics:\n"
                           "  late: {final: true, key: '{seat}'}\n"
                           "chains:\n"
                           "  trip:\n"
                           "    correlate: trip\n"
                           "    steps:\n"
                           "      - {name: train, done: done.train, undo: undo.train}\n"
                           "      - {name: map, done: done.map, undo: none}\n"
                           "      - {name: hotel, done: done.hotel, undo: none}\n"
                           "    abort_on: [trip.failed]\n"
                           "    timers:\n"
                           "      - {after: 5m, from: done.train, emit: late, cancel_on: [done.map]}\n"
                           "      - {after: 1h, from: done.train, emit: later}\n";

static struct lane_test *create(void)
{
    return lane_test_create(yaml, LANE_TEST_OUTBOX);
}

/* One chain, t1, whose event `a` began its timers. */
static struct lane_test *begun(const char *data)
{
    struct lane_test *test = create();
    lane_test_event(test, "done.train", "k", "a", data);
    assert_int_equal(lane_test_run_all(test), 1);
    return test;
}

static const struct parked *timer(struct lane_test *test, int32_t number, const char *correlation)
{
    struct event_id id = event_id_timer(test->numbers.chains[0], number, event_id_of(span_of(correlation)));
    for (size_t i = 0; i < test->store->tables.parked_count; i++)
        if (memcmp(&test->store->tables.parked[i].id, &id, sizeof id) == 0)
            return &test->store->tables.parked[i];
    return NULL;
}

/* As run/parked.c does it. */
static struct item *due(struct lane_test *test, int32_t number, const char *correlation)
{
    struct record *records;
    size_t count = 0;
    const struct parked *row = timer(test, number, correlation);
    assert_non_null(row);
    assert_int_equal(record_batch_read(row->record, test->arena, &records, &count, NULL), 0);
    assert_int_equal(count, 1);
    struct item *item = lane_test_parked(test, &records[0]);
    item->timer = row->chain;
    item->timer_id = row->id;
    item->timer_record = row->record;
    item->binding = NULL;
    return item;
}

static void they_begin_and_end(void **state)
{
    struct lane_test *test = create();
    (void)state;
    lane_test_event(test, "done.train", "k", "a", "{\"trip\":\"t1\",\"seat\":7}");
    lane_test_event(test, "done.train", "k", "b", "{\"trip\":\"t2\",\"seat\":8}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin claim:2 chain_done:2 park:4 commit");
    const struct parked *row = timer(test, 0, "t1");
    assert_int_equal(row->due_ms, clock_wall_ms() + 300000);
    assert_int_equal(row->chain, test->numbers.chains[0]);
    assert_true(span_is(row->reason, "timer of chain trip, until done.map"));
    assert_true(span_is(timer(test, 1, "t1")->reason, "timer of chain trip, until it is over"));
    assert_int_equal(test->parked_ms, clock_wall_ms() + 300000);

    lane_test_event(test, "done.map", "k", "c", "{\"trip\":\"t1\"}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 chain_done:1 timers_cancel:1 commit");
    assert_null(timer(test, 0, "t1"));
    assert_non_null(timer(test, 1, "t1"));

    /* It is complete. */
    lane_test_event(test, "done.hotel", "k", "d", "{\"trip\":\"t1\"}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_null(timer(test, 1, "t1"));

    lane_test_event(test, "trip.failed", "k", "e", "{\"trip\":\"t2\"}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_int_equal(test->store->tables.parked_count, 0);
    lane_test_destroy(test);
}

/* In whatever order they are met, and in one batch. */
static void what_ends_it_comes_first(void **state)
{
    struct lane_test *test = create();
    (void)state;
    lane_test_event(test, "done.map", "k", "a", "{\"trip\":\"t1\"}");
    assert_int_equal(lane_test_run_all(test), 1);
    lane_test_event(test, "done.train", "k", "b", "{\"trip\":\"t1\"}");
    lane_test_event(test, "done.train", "k", "c", "{\"trip\":\"t2\"}");
    lane_test_event(test, "done.map", "k", "d", "{\"trip\":\"t2\"}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_null(timer(test, 0, "t1"));
    assert_null(timer(test, 0, "t2"));
    assert_non_null(timer(test, 1, "t1"));
    assert_non_null(timer(test, 1, "t2"));
    lane_test_destroy(test);
}

static void one_that_is_due_is_emitted(void **state)
{
    struct lane_test *test = begun("{\"trip\":\"t1\",\"seat\":7}");
    struct record *records;
    size_t count;
    (void)state;
    assert_int_equal(record_batch_read(timer(test, 0, "t1")->record, test->arena, &records, &count, NULL), 0);
    due(test, 0, "t1");
    due(test, 0, "t1"); /* taken again, because the first one took its time */
    fake_store_calls(test->store);
    size_t before = test->bus.count;
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin timers_end:2 outbox_add commit");
    assert_null(timer(test, 0, "t1"));
    assert_int_equal(test->bus.count, before + 1);
    const struct record *record = &test->bus.records[before];
    assert_true(span_is(record->topic, "late"));
    assert_true(span_is(record->key, "7"));
    assert_true(span_is(record_header(record, HEADER_PARENT), "a"));
    assert_true(span_is(record_header(record, HEADER_HOPS), "1"));
    assert_true(span_is(record_header(record, HEADER_CORRELATION), "t1"));
    lane_test_destroy(test);
}

static void one_that_was_ended_meanwhile_is_not(void **state)
{
    struct lane_test *test = begun("{\"trip\":\"t1\",\"seat\":7}");
    (void)state;
    due(test, 0, "t1");
    test->store->tables.parked_count = 0;
    size_t before = test->bus.count;
    assert_int_equal(lane_test_run_all(test), 1);
    assert_int_equal(test->bus.count, before);
    assert_int_equal(test->store->tables.claim_count, 1);
    lane_test_destroy(test);
}

static void one_that_began_again_meanwhile_is_emitted_as_it_is_now(void **state)
{
    struct lane_test *test = begun("{\"trip\":\"t1\",\"seat\":7}");
    (void)state;
    due(test, 0, "t1");
    lane_test_event(test, "done.train", "other", "b", "{\"trip\":\"t1\",\"seat\":8}");
    size_t before = test->bus.count;
    assert_int_equal(lane_test_run_all(test), 1);
    assert_int_equal(test->bus.count, before);
    due(test, 0, "t1");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_int_equal(test->bus.count, before + 1);
    assert_true(span_is(record_header(&test->bus.records[before], HEADER_PARENT), "b"));
    assert_null(timer(test, 0, "t1"));
    lane_test_destroy(test);
}

/* Without the field of the topic's key, or after too many hops: a dead letter, whose row ends the timer. */
static void one_that_cannot_be_emitted(void **state)
{
    struct lane_test *test = begun("{\"trip\":\"t1\"}");
    (void)state;
    due(test, 0, "t1");
    size_t before = test->bus.count;
    lane_test_run_all(test);
    assert_int_equal(test->bus.count, before + 1);
    assert_true(span_is(test->bus.records[before].topic, "late-dlt"));
    assert_true(span_is(record_header(&test->bus.records[before], "sluice-dlt-reason"), "bad_output"));
    assert_null(timer(test, 0, "t1"));
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_begin_and_end),
        cmocka_unit_test(what_ends_it_comes_first),
        cmocka_unit_test(one_that_is_due_is_emitted),
        cmocka_unit_test(one_that_was_ended_meanwhile_is_not),
        cmocka_unit_test(one_that_began_again_meanwhile_is_emitted_as_it_is_now),
        cmocka_unit_test(one_that_cannot_be_emitted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
