/*
 * test_claim.c - which events of a batch are new: claims, duplicates, twins, and one id with two payloads.
 */
#include "lane_test.h"

static void handle_all(struct lane_test *test, struct sluice_call *call)
{
    (void)test;
    for (size_t i = 0; i < call->count; i++)
        call->host->outcome(call, i, 0);
}

static const char yaml[] = "store: {url: 'postgres://x'}\n"
                           "topics:\n"
                           "  order.new: {handler: work.handle, routes: {done: order.done, later: drop}}\n"
                           "  order.done: {final: true}\n"
                           "taps:\n"
                           "  audit: {topics: ['order.*'], handler: work.watch}\n"
                           "  copy: {topics: ['order.*'], handler: work.watch, routes: {done: order.copied}}\n"
                           "chains:\n"
                           "  sale:\n"
                           "    correlate: sale\n"
                           "    steps: [{name: order, done: order.done, undo: none}]\n"
                           "    abort_on: [order.failed]\n"
                           "    uncorrelated: ignore\n";

static void one_statement_for_all(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "order.new", "k1", "zz", "{}");
    lane_test_event(test, "order.new", "k2", "aa", "{\"do\":\"later\"}");
    lane_test_event(test, "order.new", "k3", "mm", "{}");
    assert_int_equal(lane_test_run(test), 3);
    assert_string_equal(fake_store_calls(test->store), "begin claim:3 outcomes:1 outbox_add commit");
    assert_string_equal(lane_test_calls(test), "[zz aa mm]");
    assert_string_equal(lane_test_ends(test), "0 1 2");
    assert_int_equal(test->store->tables.claim_count, 3);
    assert_int_equal(fake_store_claim(test->store, "aa")->outcome, 1);
    assert_int_equal(fake_store_claim(test->store, "zz")->outcome, 0);
    lane_test_destroy(test);
}

static void a_hit_is_a_duplicate(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "order.new", "k", "a", "{\"do\":\"later\"}");
    lane_test_run(test);
    assert_string_equal(lane_test_calls(test), "[a]");
    fake_store_calls(test->store);

    lane_test_event(test, "order.new", "k", "a", "{\"do\":\"later\"}");
    lane_test_event(test, "order.new", "k", "b", "{\"do\":\"later\"}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(fake_store_calls(test->store),
                        "begin claim:2 outbox_of_claims:1 outcomes:1 commit"); /* a's stays as it was */
    assert_string_equal(lane_test_calls(test), "[b]");
    assert_string_equal(lane_test_ends(test), "0 1 2");
    assert_int_equal(fake_store_claim(test->store, "a")->outcome, 1);
    assert_int_equal(series_value(test->env.bindings[0].duplicates), 1);
    assert_int_equal(test->bus.count, 0);
    lane_test_destroy(test);
}

/* Who mended the cause and copies dead letters back wants them handled: once each, however often they are copied. */
static void a_dead_letter_that_comes_again_is_handled(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "order.new", "k", "a", "{\"do\":\"reject\"}");
    lane_test_run(test);
    const struct record *dead = assert_dead(test, "order.new-dlt", 0, "rejected");
    struct record copy = *dead;
    copy.topic = SPAN("order.new");
    size_t header_count = dead->header_count;
    lane_test_calls(test);

    /* What it was made of, delivered twice, is a duplicate as ever. */
    lane_test_event(test, "order.new", "k", "a", "{\"do\":\"reject\"}");
    lane_test_run(test);
    assert_string_equal(lane_test_calls(test), "");
    assert_int_equal(series_value(test->env.bindings[0].duplicates), 1);

    for (size_t round = 1; round <= 33; round++) {
        fake_store_calls(test->store);
        lane_test_offer(test, &copy);
        lane_test_run(test);
        assert_string_equal(
            fake_store_calls(test->store),
            round == 1 ? "begin claim:1 outbox_of_claims:1 claim_dead:1 outcomes:1 outbox_add commit"
                       : "begin claim:1 outbox_of_claims:1 claim_dead:1 outcomes:1 outbox_add outbox_done:1 commit");
        assert_string_equal(lane_test_calls(test), "[a]");
        dead = assert_dead(test, "order.new-dlt", round, "rejected");
        assert_int_equal(dead->header_count, header_count); /* the engine's own are replaced */
        copy = *dead;
        copy.topic = SPAN("order.new");
        assert_int_equal(fake_store_claim(test->store, "a")->outcome, OUTCOME_DEAD);
    }
    assert_int_equal(series_value(test->env.bindings[0].again), 33);

    test->handle = handle_all; /* the cause is mended */
    for (int twice = 0; twice < 2; twice++) {
        lane_test_offer(test, &copy);
        lane_test_run(test);
        assert_string_equal(lane_test_calls(test), twice == 0 ? "[a]" : "");
        assert_int_equal(fake_store_claim(test->store, "a")->outcome, 0);
    }
    assert_published(test, "order.done", 0);
    assert_null(fake_bus_record(&test->bus, "order.done", 1));
    assert_int_equal(series_value(test->env.bindings[0].duplicates), 2);
    lane_test_destroy(test);
}

static void of_two_that_handle_it_again_one_does(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "order.new", "k", "a", "{\"do\":\"reject\"}");
    lane_test_run(test);
    struct record copy = *assert_dead(test, "order.new-dlt", 0, "rejected");
    copy.topic = SPAN("order.new");
    lane_test_calls(test);
    fake_store_fail(test->store, "claim_dead", 0, 1, STORE_TRANSIENT, "handled elsewhere");
    lane_test_offer(test, &copy);
    lane_test_run(test);
    assert_string_equal(lane_test_calls(test), ""); /* no handler sees it before its row is claimed */
    test->store->tables.claims[0].outcome = 0;
    lane_test_wait(test);
    lane_test_run(test);
    assert_string_equal(lane_test_calls(test), "");
    assert_int_equal(series_value(test->env.bindings[0].duplicates), 1);
    lane_test_destroy(test);
}

static void another_payload_is_a_conflict(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "order.new", "k", "a", "{\"price\":1}");
    lane_test_run(test);
    lane_test_calls(test);
    for (int again = 0; again < 2; again++) { /* its dead letter, too, is written once */
        fake_store_calls(test->store);
        lane_test_event(test, "order.new", "k", "a", "{\"price\":2}");
        lane_test_event(test, "order.new", "k2", again == 0 ? "b" : "c", "{}");
        assert_int_equal(lane_test_run(test), 2);
        assert_string_equal(fake_store_calls(test->store), "begin claim:2 outbox_of_claims:1 rollback");
        assert_string_equal(lane_test_calls(test), "");
        assert_int_equal(lane_test_run(test), 2);
        assert_string_equal(lane_test_calls(test), again == 0 ? "[b]" : "[c]");
    }
    assert_string_equal(lane_test_ends(test), "0 1 2 3 4");
    const struct record *dead = assert_dead(test, "order.new-dlt", 0, "id_conflict");
    assert_holds(dead, "{\"price\":2}");
    assert_header(dead, HEADER_DLT_REASON, "event id 'a' came before with another payload");
    assert_null(fake_bus_record(&test->bus, "order.new-dlt", 1));
    assert_int_equal(fake_store_claim(test->store, "a")->outcome, 0);
    assert_int_equal(test->store->tables.claim_count, 4); /* a, b, c, and the conflict under an id of its own */
    lane_test_destroy(test);
}

static void twins_of_one_batch(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "order.new", "k1", "a", "{}");
    lane_test_event(test, "order.new", "k2", "a", "{}");
    lane_test_event(test, "order.new", "k3", "a", "{\"other\":1}");
    lane_test_event(test, "order.new", "k2", "b", "{\"do\":\"reject\"}"); /* behind the twin in its key */
    assert_int_equal(lane_test_run(test), 4);
    assert_string_equal(fake_store_calls(test->store), "begin claim:2 unclaim:1 outbox_add commit");
    assert_string_equal(lane_test_calls(test), "[a]");
    assert_string_equal(lane_test_ends(test), "0");
    assert_int_equal(lane_waiting(test->env.lane), 3);
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[b]");
    assert_string_equal(lane_test_ends(test), "1 3 2");
    assert_dead(test, "order.new-dlt", 0, "rejected");
    assert_dead(test, "order.new-dlt", 1, "id_conflict");
    assert_int_equal(test->bus.count, 3);
    lane_test_destroy(test);
}

static void a_batch_that_fails_claims_nothing(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    fake_store_fail(test->store, "outbox_add", 0, 1, STORE_DOWN, "the server is gone");
    lane_test_event(test, "order.new", "k", "a", "{}");
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 outbox_add commit rollback");
    assert_int_equal(test->store->tables.claim_count, 0);
    assert_int_equal(test->bus.count, 0);
    lane_test_wait(test);
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[a] [a]");
    assert_string_equal(lane_test_ends(test), "0");
    assert_int_equal(test->bus.count, 1);
    lane_test_destroy(test);
}

/* A tap that leaves nothing behind: its position says what is done. */
static void a_tap_that_records_nothing(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_of_tap(test, 0);
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_run(test);
    assert_string_equal(fake_store_calls(test->store), "");
    assert_string_equal(lane_test_calls(test), "[a]");

    for (int again = 0; again < 2; again++) { /* a dead letter is written once, so it is claimed */
        lane_test_event(test, "order.new", "k", "b", "{\"do\":\"reject\"}");
        lane_test_event(test, "order.new", "k2", "c", "{}");
        assert_int_equal(lane_test_run_all(test), 1);
        assert_string_equal(fake_store_calls(test->store),
                            again == 0 ? "begin claim:1 outcomes:1 outbox_add commit"
                                       : "begin claim:1 outbox_of_claims:1 outbox_done:1 commit");
    }
    assert_string_equal(lane_test_ends(test), "0 1 2 3 4");
    assert_int_equal(test->store->tables.claim_count, 1);
    assert_int_equal(fake_store_claim(test->store, "b")->outcome, OUTCOME_DEAD);
    assert_header(assert_dead(test, "order.new-dlt", 0, "rejected"), HEADER_DLT_HANDLER, "audit/work.watch");
    assert_int_equal(test->bus.count, 1);
    lane_test_destroy(test);
}

static void a_tap_that_emits(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_of_tap(test, 1);
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_event(test, "order.new-dlt", "k", "b", "{}"); /* its pattern means no dead letters */
    lane_test_run(test);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 outbox_add commit");
    assert_string_equal(lane_test_calls(test), "[a]");
    assert_string_equal(lane_test_ends(test), "0 1");
    assert_published(test, "order.copied", 0);
    lane_test_destroy(test);
}

/* Nobody handles order.failed, but a chain watches it; nobody cares for order.copied at all. */
static void events_without_a_handler(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "order.failed", "k", "a", "{}");
    lane_test_event(test, "order.copied", "k", "b", "{}");
    lane_test_run(test);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 commit");
    assert_int_equal(fake_store_claim(test->store, "a")->handler, test->numbers.chain_handler);
    assert_string_equal(lane_test_ends(test), "0 1");
    lane_test_destroy(test);
}

static void without_a_store(void **state)
{
    struct lane_test *test = lane_test_create("topics:\n"
                                              "  order.new: {handler: work.handle, routes: {done: order.done, "
                                              "later: drop}}\n"
                                              "  order.done: {final: true}\n",
                                              LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[a] [a]");
    assert_int_equal(test->bus.count, 2);
    assert_string_equal(lane_test_ends(test), "0 1");
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_statement_for_all),
        cmocka_unit_test(a_hit_is_a_duplicate),
        cmocka_unit_test(a_dead_letter_that_comes_again_is_handled),
        cmocka_unit_test(of_two_that_handle_it_again_one_does),
        cmocka_unit_test(another_payload_is_a_conflict),
        cmocka_unit_test(twins_of_one_batch),
        cmocka_unit_test(a_batch_that_fails_claims_nothing),
        cmocka_unit_test(a_tap_that_records_nothing),
        cmocka_unit_test(a_tap_that_emits),
        cmocka_unit_test(events_without_a_handler),
        cmocka_unit_test(without_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
