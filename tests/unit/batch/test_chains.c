/*
 * test_chains.c - chains of a batch: steps are recorded, an abort undoes them newest first, and an undo that fails for
 * good does what its chain says.
 */
#include "lane_test.h"

#include "base/clock.h"
#include "event/record_batch.h"

#define YAML(failure)                                                                                                  \
    "store: {url: 'postgres://x'}\n"                                                                                   \
    "engine: {max_event_size: 2KiB}\n"                                                                                 \
    "defaults: {retry: {max_retries: 0}}\n"                                                                            \
    "topics:\n"                                                                                                        \
    "  undo.hotel: {handler: work.handle, routes: {done: drop, later: drop}}\n"                                        \
    "  undo.train: {handler: work.handle, routes: {done: drop, later: drop}, key: '{seat}'}\n"                         \
    "  undone.car: {handler: work.handle, routes: {done: drop, later: drop}}\n"                                        \
    "  trip.failed: {handler: work.handle, routes: {done: drop, later: drop}}\n"                                       \
    "chains:\n"                                                                                                        \
    "  trip:\n"                                                                                                        \
    "    correlate: trip\n"                                                                                            \
    "    steps:\n"                                                                                                     \
    "      - {name: train, done: done.train, undo: undo.train}\n"                                                      \
    "      - {name: map, done: done.map, undo: none}\n"                                                                \
    "      - {name: hotel, done: done.hotel, undo: undo.hotel}\n"                                                      \
    "      - {name: car, done: done.car, undo: undo.car, undone: undone.car}\n"                                        \
    "    abort_on: [trip.failed, trip.cancelled]\n"                                                                    \
    "    on_undo_failure: " failure "\n"

/* "thc": the doings of a train, a hotel and a car, a capital where the undo was emitted; then what is known to be
 * undone of them. */
static void facts_are(struct lane_test *test, const char *correlation, int state, const char *doings,
                      const char *undone)
{
    const struct fake_chain *chain = fake_store_chain(test->store, correlation);
    char seen[2][CHAIN_DOINGS_MAX + 1] = {"", ""};
    assert_non_null(chain);
    const struct chain_facts *facts = &chain->row.facts;
    for (int i = 0, n = 0; i < facts->count; i++) {
        char letter = "tmhc"[facts->steps[i]];
        seen[0][i] = facts->undoing >> i & 1 ? (char)(letter - 'a' + 'A') : letter;
        if (facts->undone >> i & 1)
            seen[1][n++] = letter;
    }
    if (facts->state != state || strcmp(seen[0], doings) != 0 || strcmp(seen[1], undone) != 0)
        fail_msg("%s: state %d, doings %s, undone %s", correlation, facts->state, seen[0], seen[1]);
}

/* The topics of what was published from `from` on: "undo.car undo.hotel". */
static const char *topics_from(struct lane_test *test, size_t from)
{
    const char *text = "";
    for (size_t i = from; i < test->bus.count; i++)
        text = arena_format(test->arena, "%s%s%.*s", text, i == from ? "" : " ", (int)test->bus.records[i].topic.length,
                            test->bus.records[i].topic.at);
    return text;
}

static void a_step_is_recorded(void **state)
{
    struct lane_test *test = lane_test_create(YAML("pause"), LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "done.train", "k", "a", "{\"trip\":\"t1\",\"seat\":7}");
    lane_test_event(test, "done.hotel", "k", "b", "{\"trip\":17,\"room\":9}");
    lane_test_event(test, "done.map", "k", "c", "{\"trip\":\"t1\"}"); /* has no undo: nothing to remember */
    lane_test_event(test, "done.map", "k", "d", "{\"room\":9}");
    lane_test_event(test, "undo.hotel", "k", "e", "{\"room\":9}"); /* somebody else's */
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin claim:5 chain_done:2 commit");
    facts_are(test, "t1", CHAIN_RUNNING, "t", "");
    facts_are(test, "17", CHAIN_RUNNING, "h", "");
    assert_int_equal(test->store->tables.chain_count, 2);
    assert_true(span_is(fake_store_chain(test->store, "t1")->data[0], "{\"trip\":\"t1\",\"seat\":7}"));
    assert_int_equal(fake_store_chain(test->store, "t1")->row.chain, test->numbers.chains[0]);
    assert_string_equal(lane_test_ends(test), "0 1 2 3 4");
    lane_test_destroy(test);
}

/* Without a correlation a step could not be undone, and an abort would undo nothing: a dead letter that says so, before
 * any handler. 7772, 7772.0 and "7772" are the same trip. */
static void a_correlation_that_is_none(void **state)
{
    static const char *const topics[] = {"done.hotel", "trip.failed", "undone.car"};
    static const struct {
        const char *data, *got;
    } bad[] = {{"{\"room\":9}", "got nothing"},
               {"{\"trip\":null}", "got null"},
               {"{\"trip\":\"\"}", "got an empty text"},
               {"{\"trip\":{\"id\":1}}", "got an object"},
               {"{\"trip\":[\"t1\"]}", "got a list"},
               {"{\"trip\":true}", "got true"},
               {"{\"trip\":7772.5}", "got a number with a fraction"}};
    (void)state;
    for (size_t t = 0; t < sizeof topics / sizeof topics[0]; t++)
        for (size_t b = 0; b < sizeof bad / sizeof bad[0]; b++) {
            struct lane_test *test = lane_test_create(YAML("pause"), LANE_TEST_OUTBOX);
            lane_test_event(test, topics[t], "k", "a", bad[b].data);
            assert_int_equal(lane_test_run_all(test), 1);
            assert_dead(test, arena_format(test->arena, "%s-dlt", topics[t]), 0, "bad_correlation");
            assert_string_equal(test->calls, "");
            assert_int_equal(test->store->tables.chain_count, 0);
            const struct record *letter = &test->bus.records[0];
            struct span sentence = record_header(letter, HEADER_DLT_REASON);
            if (memmem(sentence.at, sentence.length, bad[b].got, strlen(bad[b].got)) == NULL)
                fail_msg("%s %s: %.*s", topics[t], bad[b].data, (int)sentence.length, sentence.at);
            lane_test_destroy(test);
        }
}

static void one_number_however_it_is_written(void **state)
{
    struct lane_test *test = lane_test_create(YAML("pause"), LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "done.train", "k", "a", "{\"trip\":7772,\"seat\":1}");
    lane_test_event(test, "done.hotel", "k", "b", "{\"trip\":7.772e3}");
    lane_test_run_all(test);
    lane_test_event(test, "trip.failed", "k", "f", "{\"trip\":7772.0}");
    lane_test_run_all(test);
    assert_string_equal(topics_from(test, 0), "undo.hotel undo.train");
    assert_header(assert_published(test, "undo.hotel", 0), HEADER_CORRELATION, "7772");
    assert_int_equal(test->store->tables.chain_count, 1);
    lane_test_destroy(test);
}

/* uncorrelated: ignore is about what is not there: a value that is none is a dead letter all the same. */
static void an_abort_that_may_lack_its_correlation(void **state)
{
    struct lane_test *test = lane_test_create(YAML("pause\n    uncorrelated: ignore"), LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "trip.failed", "k", "a", "{\"room\":9}");
    lane_test_event(test, "trip.failed", "k", "b", "{\"trip\":null}");
    lane_test_run_all(test);
    assert_string_equal(test->calls, "[a] [b] ");
    assert_int_equal(test->bus.count, 0);
    lane_test_event(test, "trip.failed", "k", "c", "{\"trip\":\"\"}");
    lane_test_event(test, "done.hotel", "k", "d", "{\"room\":9}");
    lane_test_run_all(test);
    assert_dead(test, "trip.failed-dlt", 0, "bad_correlation");
    assert_dead(test, "done.hotel-dlt", 0, "bad_correlation");
    lane_test_destroy(test);
}

static void steps_done(struct lane_test *test, const char *trip)
{
    static const char *const topics[] = {"done.train", "done.map", "done.hotel", "done.car"};
    for (int i = 0; i < 4; i++)
        lane_test_event(test, topics[i], "k", arena_format(test->arena, "%s-%d", trip, i),
                        arena_format(test->arena, "{\"trip\":\"%s\",\"seat\":%d}", trip, i));
    lane_test_run_all(test);
}

static void an_abort_undoes_newest_first(void **state)
{
    struct lane_test *test = lane_test_create(YAML("pause"), LANE_TEST_OUTBOX);
    (void)state;
    steps_done(test, "t1");
    fake_store_calls(test->store);
    lane_test_event(test, "trip.failed", "k", "f", "{\"trip\":\"t1\",\"reason\":\"no \\\"room\\\"\"}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(fake_store_calls(test->store),
                        "begin claim:1 chain_abort chain_data chain_update outbox_add commit");
    /* The car's `undone` is to come before what is older. */
    assert_string_equal(topics_from(test, 0), "undo.car");
    const struct record *undo = assert_published(test, "undo.car", 0);
    assert_holds(undo, "\"data\":{\"trip\":\"t1\",\"seat\":3,\"reason\":\"no \\\"room\\\"\"}");
    assert_header(undo, HEADER_CORRELATION, "t1");
    assert_header(undo, HEADER_PARENT, "f");
    assert_header(undo, HEADER_HOPS, "1");
    facts_are(test, "t1", CHAIN_ABORTED, "thC", "");

    lane_test_event(test, "undone.car", "k", "u", "{\"trip\":\"t1\"}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(topics_from(test, 1), "undo.hotel undo.train");
    assert_holds(assert_published(test, "undo.hotel", 0), "\"seat\":2,\"reason\":\"no \\\"room\\\"\"");
    assert_true(span_is(assert_published(test, "undo.train", 0)->key, "0")); /* the template, on the step's data */
    facts_are(test, "t1", CHAIN_UNDONE, "THC", "c");

    /* Said again, under other ids: nothing new. */
    lane_test_event(test, "trip.cancelled", "k", "g", "{\"trip\":\"t1\"}");
    lane_test_event(test, "undone.car", "k", "v", "{\"trip\":\"t1\"}");
    lane_test_run_all(test);
    assert_int_equal(test->bus.count, 3);
    lane_test_destroy(test);
}

/* Without a reason of its own the abort's is its topic; a step that comes after it is undone at once. */
static void a_step_after_the_abort(void **state)
{
    struct lane_test *test = lane_test_create(YAML("pause"), LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "trip.cancelled", "k", "f", "{\"trip\":\"t1\"}");
    lane_test_run_all(test);
    assert_int_equal(test->bus.count, 0);
    facts_are(test, "t1", CHAIN_UNDONE, "", "");
    fake_store_calls(test->store);
    lane_test_event(test, "done.hotel", "k", "a", "{\"trip\":\"t1\",\"room\":9}");
    lane_test_event(test, "done.train", "k", "b", "{\"trip\":\"t2\",\"seat\":1}"); /* another trip's: goes on */
    lane_test_run_all(test);
    assert_string_equal(fake_store_calls(test->store),
                        "begin claim:2 chain_done:2 chain_data chain_update outbox_add commit");
    assert_string_equal(topics_from(test, 0), "undo.hotel");
    const struct record *undo = assert_published(test, "undo.hotel", 0);
    assert_holds(undo, "\"data\":{\"trip\":\"t1\",\"room\":9,\"reason\":\"trip.cancelled\"}");
    facts_are(test, "t1", CHAIN_UNDONE, "H", "");
    facts_are(test, "t2", CHAIN_RUNNING, "t", "");
    lane_test_destroy(test);
}

/* Steps and abort in one batch: the steps are recorded first. */
static void all_in_one_batch(void **state)
{
    struct lane_test *test = lane_test_create(YAML("pause"), LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "trip.failed", "k0", "f", "{\"trip\":\"t1\"}");
    lane_test_event(test, "done.train", "k1", "a", "{\"trip\":\"t1\",\"seat\":1}");
    lane_test_event(test, "done.hotel", "k2", "b", "{\"trip\":\"t1\"}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(topics_from(test, 0), "undo.hotel undo.train");
    assert_int_equal(fake_store_chain(test->store, "t1")->row.facts.state, CHAIN_UNDONE);
    lane_test_destroy(test);
}

/* However long the way of an event was, and whatever handler its dead letter has: what is done must be undone. */
static void an_abort_that_is_a_dead_letter(void **state)
{
    struct lane_test *test = lane_test_create(YAML("pause"), LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "done.train", "k", "a", "{\"trip\":\"t1\",\"seat\":7}");
    lane_test_run_all(test);
    lane_test_event(test, "trip.failed", "k", "f", "{\"trip\":\"t1\",\"do\":\"fault\"}");
    assert_int_equal(lane_test_run(test), 1);
    facts_are(test, "t1", CHAIN_RUNNING, "t", ""); /* rolled back */
    assert_int_equal(lane_test_run_all(test), 1);
    assert_dead(test, "trip.failed-dlt", 0, "plugin_fault");
    assert_holds(assert_published(test, "undo.train", 0), "\"seat\":7");
    assert_int_equal(fake_store_chain(test->store, "t1")->row.facts.state, CHAIN_UNDONE);
    lane_test_destroy(test);
}

/* An undo whose key is not in the step's data: the abort is a dead letter that says so, once, and without chains. */
static void an_undo_that_cannot_be_composed(void **state)
{
    struct lane_test *test = lane_test_create(YAML("pause"), LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "done.train", "k", "a", "{\"trip\":\"t1\"}");
    lane_test_run_all(test);
    lane_test_event(test, "trip.failed", "k", "f", "{\"trip\":\"t1\"}");
    assert_int_equal(lane_test_run_all(test), 2);
    assert_dead(test, "trip.failed-dlt", 0, "bad_output");
    facts_are(test, "t1", CHAIN_RUNNING, "t", "");
    assert_int_equal(test->bus.count, 1);
    lane_test_destroy(test);
}

/* A duplicate and an event that comes again say nothing to chains. */
static void only_what_was_claimed(void **state)
{
    struct lane_test *test = lane_test_create(YAML("pause"), LANE_TEST_OUTBOX);
    (void)state;
    steps_done(test, "t1");
    lane_test_event(test, "trip.failed", "k", "f", "{\"trip\":\"t1\"}");
    lane_test_run_all(test);
    fake_store_calls(test->store);
    lane_test_event(test, "trip.failed", "k", "f", "{\"trip\":\"t1\"}");
    lane_test_event(test, "done.train", "k", "t1-0", "{\"trip\":\"t1\",\"seat\":0}");
    lane_test_run_all(test);
    assert_string_equal(fake_store_calls(test->store), "begin claim:2 outbox_of_claims:2 outbox_done:1 commit");
    assert_int_equal(test->bus.count, 1);
    lane_test_destroy(test);
}

/* The handler of an undo has rejected it. */
static void abort_and_fail(struct lane_test *test)
{
    lane_test_event(test, "done.hotel", "k", "a", "{\"trip\":\"t1\",\"do\":\"reject\"}");
    lane_test_run_all(test);
    lane_test_event(test, "done.car", "k", "c", "{\"trip\":\"t1\"}");
    lane_test_run_all(test);
    lane_test_event(test, "trip.failed", "k", "f", "{\"trip\":\"t1\",\"reason\":\"rain\"}");
    lane_test_event(test, "undone.car", "k", "u", "{\"trip\":\"t1\"}");
    lane_test_run_all(test);
    facts_are(test, "t1", CHAIN_UNDONE, "HC", "c");
    lane_test_ends(test);
    fake_store_calls(test->store);
    lane_test_offer(test, assert_published(test, "undo.hotel", 0));
    lane_test_event(test, "undo.hotel", "k", "behind", "{\"trip\":\"t2\"}");
    assert_int_equal(lane_test_run(test), 2);
}

static void a_failed_undo_pauses(void **state)
{
    struct lane_test *test = lane_test_create(YAML("pause"), LANE_TEST_OUTBOX);
    struct record *records;
    size_t count;
    (void)state;
    abort_and_fail(test);
    facts_are(test, "t1", CHAIN_STUCK, "HC", "c");
    assert_int_equal(test->store->tables.parked_count, 1);
    const struct parked *parked = &test->store->tables.parked[0];
    assert_int_equal(parked->state, PARKED_STUCK);
    assert_int_equal(parked->group, test->numbers.groups[0]);
    assert_true(span_is(parked->reason, "never"));
    assert_int_equal(record_batch_read(parked->record, test->arena, &records, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_holds(&records[0], "\"reason\":\"rain\"");
    assert_null(fake_bus_record(&test->bus, "undo.hotel-dlt", 0));
    assert_true(fake_log_has("chain trip is stuck: undo 'hotel' failed for good (never)"));
    assert_string_equal(lane_test_ends(test), "4 5");     /* an operator has it: what is behind it goes on */
    assert_int_equal(test->store->tables.claim_count, 5); /* its claim is not kept: it is to come again */
    lane_test_destroy(test);
}

static void a_failed_undo_comes_again(void **state)
{
    struct lane_test *test = lane_test_create(YAML("retry_forever"), LANE_TEST_OUTBOX);
    (void)state;
    abort_and_fail(test);
    facts_are(test, "t1", CHAIN_UNDONE, "HC", "c");
    assert_string_equal(lane_test_ends(test), "4 5"); /* its key waits, in the database */
    assert_int_equal(test->store->tables.held_count, 2);
    assert_int_equal(lane_test_run(test), 0);
    fake_clock_advance(29999);
    assert_int_equal(lane_test_run(test), 0);
    fake_clock_advance(1);
    assert_int_equal(lane_test_run(test), 1); /* by itself: it may have to wait again */
    assert_int_equal(test->store->tables.held_count, 2);
    assert_int_equal(test->store->tables.held_keys[0].due_ms, clock_wall_ms() + 30000);
    assert_int_equal(test->store->tables.attempt_count, 0); /* and no try is counted */
    assert_int_equal(test->store->tables.parked_count, 0);
    assert_null(fake_bus_record(&test->bus, "undo.hotel-dlt", 0));
    lane_test_destroy(test);
}

static void a_failed_undo_is_a_dead_letter(void **state)
{
    struct lane_test *test = lane_test_create(YAML("dead_letter"), LANE_TEST_OUTBOX);
    (void)state;
    abort_and_fail(test);
    assert_dead(test, "undo.hotel-dlt", 0, "rejected");
    facts_are(test, "t1", CHAIN_UNDONE, "HC", "c");
    assert_string_equal(lane_test_ends(test), "4 5");
    assert_int_equal(test->store->tables.parked_count, 0);
    lane_test_destroy(test);
}

/* An undo that was handled is undone, but where an `undone` topic is to say so. */
static void an_undo_that_was_handled(void **state)
{
    struct lane_test *test = lane_test_create(YAML("pause"), LANE_TEST_OUTBOX);
    (void)state;
    steps_done(test, "t1");
    lane_test_event(test, "trip.failed", "k", "f", "{\"trip\":\"t1\"}");
    lane_test_run_all(test);
    lane_test_event(test, "undo.car", "k", "w", "{\"trip\":\"t1\"}");
    lane_test_run_all(test);
    facts_are(test, "t1", CHAIN_ABORTED, "thC", "");
    lane_test_event(test, "undone.car", "k", "u", "{\"trip\":\"t1\"}");
    lane_test_run_all(test);
    for (size_t i = 0; i < 2; i++)
        lane_test_offer(test, assert_published(test, i == 0 ? "undo.hotel" : "undo.train", 0));
    lane_test_run_all(test);
    facts_are(test, "t1", CHAIN_UNDONE, "THC", "thc");
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_recorded),
        cmocka_unit_test(a_correlation_that_is_none),
        cmocka_unit_test(one_number_however_it_is_written),
        cmocka_unit_test(an_abort_that_may_lack_its_correlation),
        cmocka_unit_test(an_abort_undoes_newest_first),
        cmocka_unit_test(a_step_after_the_abort),
        cmocka_unit_test(all_in_one_batch),
        cmocka_unit_test(an_abort_that_is_a_dead_letter),
        cmocka_unit_test(an_undo_that_cannot_be_composed),
        cmocka_unit_test(only_what_was_claimed),
        cmocka_unit_test(a_failed_undo_pauses),
        cmocka_unit_test(a_failed_undo_comes_again),
        cmocka_unit_test(a_failed_undo_is_a_dead_letter),
        cmocka_unit_test(an_undo_that_was_handled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
