/*
 * test_wait.c - without a store, an event whose time has not come waits in the lane's memory, by itself: its key goes
 * on.
 */
#include "lane_test.h"

#include "base/clock.h"

static const char yaml[] = "topics:\n"
                           "  order.new:\n"
                           "    handler: work.handle\n"
                           "    routes: {done: {topic: order.late, delay: 10m}, later: drop}\n"
                           "  order.late: {handler: work.handle, routes: {done: drop, later: {retry: order.again, "
                           "initial_interval: 5m, max_retries: 1, exhausted: order.end}}}\n"
                           "  order.end: {final: true}\n";

static void offer_late(struct lane_test *test, const char *topic, const char *id, const char *data, int64_t due_ms)
{
    struct header header = {SPAN(HEADER_NOT_BEFORE), span_of(arena_format(test->arena, "%lld", (long long)due_ms))};
    struct record record = {.topic = span_of(topic),
                            .key = SPAN("k"),
                            .value = span_of(arena_format(test->arena, "{\"eventId\":\"%s\",\"data\":%s}", id, data)),
                            .headers = &header,
                            .header_count = 1};
    lane_test_offer(test, &record);
}

static void the_key_goes_on(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    int64_t now_ms = clock_wall_ms();
    offer_late(test, "order.late", "a", "{}", now_ms + 600000);
    offer_late(test, "order.late", "b", "{}", now_ms + 300000);
    lane_test_event(test, "order.new", "k", "c", "{}");
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[c]");
    assert_string_equal(lane_test_ends(test), "2"); /* the others' positions are not complete */
    assert_int_equal(test->waits, 2);
    assert_header(assert_published(test, "order.late", 0), HEADER_NOT_BEFORE,
                  arena_format(test->arena, "%lld", (long long)now_ms + 600000));
    lane_test_wait(test);
    assert_int_equal(clock_wall_ms(), now_ms + 300000);
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[b]");
    lane_test_event(test, "order.late", "k", "d", "{}");
    lane_test_run_all(test);
    lane_test_wait(test);
    assert_int_equal(clock_wall_ms(), now_ms + 600000);
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[d] [a]");
    assert_string_equal(lane_test_ends(test), "1 3 0");
    assert_int_equal(test->waits, 2);
    lane_test_destroy(test);
}

/* It has its key again: a second try in place holds it. */
static void a_try_holds_the_key(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    offer_late(test, "order.late", "a", "{\"do\":\"retry\"}", clock_wall_ms() + 600000);
    lane_test_run_all(test);
    lane_test_wait(test);
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[a]");
    lane_test_event(test, "order.new", "k", "b", "{}");
    lane_test_event(test, "order.new", "other", "c", "{}");
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[c]");
    lane_test_wait(test);
    lane_test_run_all(test);
    assert_int_equal(strncmp(lane_test_calls(test), "[a", 2), 0);
    lane_test_destroy(test);
}

/* Neither a step of a ladder nor a header that lies waits for longer than the file says, and only once. */
static void no_longer_than_the_file_says(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    int64_t now_ms = clock_wall_ms();
    offer_late(test, "order.late", "a", "{}", INT64_MAX / 2);
    offer_late(test, "order.again", "b", "{\"retryCount\":1}", INT64_MAX / 2);
    lane_test_run_all(test);
    lane_test_wait(test);
    lane_test_run_all(test);
    assert_int_equal(clock_wall_ms(), now_ms + 300000);
    assert_string_equal(lane_test_calls(test), "[b]");
    lane_test_wait(test);
    lane_test_run_all(test);
    assert_int_equal(clock_wall_ms(), now_ms + 600000);
    assert_string_equal(lane_test_calls(test), "[a]");
    assert_string_equal(lane_test_ends(test), "1 0");
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_goes_on),
        cmocka_unit_test(a_try_holds_the_key),
        cmocka_unit_test(no_longer_than_the_file_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
