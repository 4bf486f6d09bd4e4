/*
 * test_traced.c - which events have a span, what it says, what it is beside; and that what is emitted names it.
 */
#include "lane_test.h"

#include "fake_tracer.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

static const char yaml[] =
    "store: {url: 'postgres://x'}\n"
    "defaults: {retry: {max_retries: 2, backoff: {initial_interval: 100ms, multiplier: 3, jitter: 0}}}\n"
    "topics:\n"
    "  order.new:\n"
    "    handler: work.handle\n"
    "    routes:\n"
    "      done: order.done\n"
    "      later: {retry: order.retry, initial_interval: 1s, multiplier: 2, max_retries: 2, exhausted: order.failed}\n"
    "  order.done: {final: true}\n"
    "  order.failed: {final: true}\n"
    "taps:\n"
    "  audit: {topics: [order.new], handler: work.watch}\n"
    "http:\n"
    "  requests:\n"
    "    'POST /orders': {handler: work.ask, routes: {done: order.new}}\n";

static struct tracer tracer;

static struct lane_test *traced_test(double sample)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    fake_tracer_init(&tracer, sample);
    test->env.tracer = &tracer;
    return test;
}

static void traced_test_end(struct lane_test *test)
{
    lane_test_destroy(test);
    fake_tracer_free(&tracer);
}

/* An event with this traceparent (NULL: none) and another header (NULL: none). */
static struct item *offer(struct lane_test *test, const char *topic, const char *id, const char *traceparent,
                          const char *name, const char *value, const char *data)
{
    char text[512];
    struct header headers[2];
    size_t count = 0;
    if (traceparent != NULL)
        headers[count++] = (struct header){SPAN(HEADER_TRACEPARENT), span_of(traceparent)};
    if (name != NULL)
        headers[count++] = (struct header){span_of(name), span_of(value)};
    snprintf(text, sizeof text, "{\"eventId\":\"%s\",\"eventName\":\"x\",\"data\":%s}", id, data);
    struct record record = {
        .topic = span_of(topic), .key = SPAN("k"), .value = span_of(text), .headers = headers, .header_count = count};
    return lane_test_offer(test, &record);
}

/* The text behind `"key":"` in a span, up to its quote. */
static const char *told(const char *span, const char *key)
{
    static char texts[4][300];
    static int next;
    char *text = texts[next++ % 4], pattern[64];
    snprintf(pattern, sizeof pattern, "\"%s\":\"", key);
    const char *at = strstr(span, pattern);
    if (at == NULL)
        return "";
    at += strlen(pattern);
    snprintf(text, sizeof texts[0], "%.*s", (int)strcspn(at, "\""), at);
    return text;
}

static void assert_told(const char *span, const char *part)
{
    if (strstr(span, part) == NULL)
        fail_msg("no %s in %s", part, span);
}

static void what_a_span_says(void **state)
{
    struct lane_test *test = traced_test(0);
    (void)state;
    offer(test, "order.new", "a", "00-" TRACE "-" PARENT "-01", HEADER_CORRELATION, "c-1", "{}");
    lane_test_run_all(test);
    assert_int_equal(tracer.count, 1);
    const char *span = fake_tracer_take(&tracer);
    assert_string_equal(told(span, "traceId"), TRACE);
    assert_string_equal(told(span, "parentSpanId"), PARENT);
    assert_string_equal(told(span, "name"), "process order.new");
    static const char *const parts[] = {
        "\"kind\":5",
        "{\"key\":\"messaging.system\",\"value\":{\"stringValue\":\"memory\"}}",
        "{\"key\":\"messaging.destination.name\",\"value\":{\"stringValue\":\"order.new\"}}",
        "{\"key\":\"messaging.consumer.group.name\",\"value\":{\"stringValue\":\"test\"}}",
        "{\"key\":\"messaging.message.id\",\"value\":{\"stringValue\":\"a\"}}",
        "{\"key\":\"messaging.message.conversation_id\",\"value\":{\"stringValue\":\"c-1\"}}",
        "{\"key\":\"messaging.destination.partition.id\",\"value\":{\"stringValue\":\"3\"}}",
        "{\"key\":\"sluice.position\",\"value\":{\"intValue\":\"0\"}}",
        "{\"key\":\"sluice.try\",\"value\":{\"intValue\":\"1\"}}",
        "{\"key\":\"sluice.handler\",\"value\":{\"stringValue\":\"work.handle\"}}",
        "{\"key\":\"sluice.outcome\",\"value\":{\"stringValue\":\"done\"}}",
        "\"status\":{}",
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        assert_told(span, parts[i]);
    assert_null(strstr(span, "links"));
    char wanted[TRACEPARENT_TEXT + 1];
    snprintf(wanted, sizeof wanted, "00-" TRACE "-%s-01", told(span, "spanId"));
    assert_header(assert_published(test, "order.done", 0), HEADER_TRACEPARENT, wanted);
    traced_test_end(test);
}

/* A flag that came in is obeyed, whatever the ratio; where a trace begins the ratio decides; what the engine emits
 * begins none. */
static void who_decides(void **state)
{
    static const struct {
        const char *traceparent, *header;
        double sample;
        bool recorded, begins;
    } rows[] = {
        {"00-" TRACE "-" PARENT "-00", NULL, 1, false, false},
        {"00-" TRACE "-" PARENT "-01", NULL, 0, true, false},
        {NULL, NULL, 1, true, true},
        {NULL, NULL, 0, false, false},
        {"garbage", NULL, 1, true, true},
        {NULL, HEADER_PARENT, 1, false, false},
        {NULL, HEADER_HOPS, 1, false, false},
        {NULL, HEADER_REPLAY_OF, 1, false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct lane_test *test = traced_test(rows[i].sample);
        offer(test, "order.new", "a", rows[i].traceparent, rows[i].header, "1", "{}");
        lane_test_run_all(test);
        const struct record *made = assert_published(test, "order.done", 0);
        if (tracer.count != rows[i].recorded)
            fail_msg("row %zu: %zu spans", i, tracer.count);
        const char *span = fake_tracer_take(&tracer);
        assert_int_equal(rows[i].begins, rows[i].recorded && told(span, "parentSpanId")[0] == '\0');
        if (!rows[i].recorded && rows[i].traceparent == NULL)
            assert_header(made, HEADER_TRACEPARENT, NULL);
        traced_test_end(test);
    }
}

static int failures;
static void fail_first(struct lane_test *test, struct sluice_call *call)
{
    (void)test;
    for (uint32_t i = 0; i < call->count; i++)
        if ((int)call->events[i].attempt <= failures)
            call->host->retry(call, i, "locked");
        else
            call->host->outcome(call, i, 0);
}

static void a_retry_in_place_links_to_the_first_try(void **state)
{
    struct lane_test *test = traced_test(1);
    char first[32];
    (void)state;
    failures = 2;
    test->handle = fail_first;
    lane_test_hold_in_memory(test);
    offer(test, "order.new", "a", NULL, NULL, NULL, "{}");
    lane_test_run(test);
    const char *span = fake_tracer_take(&tracer);
    snprintf(first, sizeof first, "%s", told(span, "spanId"));
    assert_told(span, "\"status\":{\"code\":2,\"message\":\"locked\"}");
    assert_told(span, "{\"key\":\"error.type\",\"value\":{\"stringValue\":\"retry\"}}");
    for (int again = 0; again < 2; again++) {
        lane_test_wait(test);
        lane_test_run(test);
        span = fake_tracer_take(&tracer);
        assert_string_not_equal(told(span, "spanId"), first);
        const char *link = strstr(span, "\"links\":[");
        assert_non_null(link);
        assert_string_equal(told(link, "spanId"), first);
        assert_told(link, "\"first_try\"");
    }
    assert_told(span, "\"status\":{}");
    traced_test_end(test);
}

/* Another process counted the first try: the link follows from the number of the try. */
static void a_try_of_another_process(void **state)
{
    struct lane_test *test = traced_test(1);
    (void)state;
    offer(test, "order.new", "a", NULL, NULL, NULL, "{}");
    lane_test_run(test);
    char first[32];
    snprintf(first, sizeof first, "%s", told(fake_tracer_take(&tracer), "spanId"));
    traced_test_end(test);

    test = traced_test(1);
    offer(test, "order.new", "a", NULL, NULL, NULL, "{}")->tries = 2;
    lane_test_run(test);
    const char *span = fake_tracer_take(&tracer);
    assert_told(span, "{\"key\":\"sluice.try\",\"value\":{\"intValue\":\"3\"}}");
    assert_string_equal(told(strstr(span, "\"links\":["), "spanId"), first);
    traced_test_end(test);
}

static void wait_for_others(struct lane_test *test, struct sluice_call *call)
{
    (void)test;
    if (failures-- > 0)
        call->host->unavailable(call, "the peer is down");
    else
        call->host->outcome(call, 0, 0);
}

/* No try is counted, so each wait has an id of its own. */
static void what_was_unavailable(void **state)
{
    struct lane_test *test = traced_test(1);
    char ids[3][32];
    const char *span = "";
    (void)state;
    failures = 2;
    test->handle = wait_for_others;
    lane_test_hold_in_memory(test);
    offer(test, "order.new", "a", NULL, NULL, NULL, "{}");
    for (int i = 0; i < 3; i++) {
        lane_test_run(test);
        span = fake_tracer_take(&tracer);
        snprintf(ids[i], sizeof ids[i], "%s", told(span, "spanId"));
        if (i < 2)
            assert_told(span, "{\"key\":\"sluice.why\",\"value\":{\"stringValue\":\"the peer is down\"}}");
        if (i < 2)
            lane_test_wait(test);
    }
    assert_string_not_equal(ids[0], ids[1]);
    assert_string_not_equal(ids[1], ids[2]);
    assert_string_not_equal(ids[0], ids[2]);
    assert_string_equal(told(strstr(span, "\"links\":["), "spanId"), ids[0]);
    traced_test_end(test);
}

/* The steps of a retry ladder carry the span of the first try on. */
static void a_ladder(void **state)
{
    struct lane_test *test = traced_test(1);
    char first[32], carried[32] = "", count[100];
    const char *span = "";
    (void)state;
    offer(test, "order.new", "a0", NULL, NULL, NULL, "{\"do\":\"later\"}");
    lane_test_run(test);
    snprintf(first, sizeof first, "%s", told(fake_tracer_take(&tracer), "spanId"));
    for (int step = 1; step <= 2; step++) {
        const struct record *made = assert_published(test, "order.retry", (size_t)step - 1);
        struct span header = record_header(made, HEADER_FIRST_TRY);
        snprintf(carried, sizeof carried, "%.*s", (int)header.length, header.at);
        assert_string_equal(carried, first);
        lane_test_parked(test, made);
        lane_test_run(test);
        span = fake_tracer_take(&tracer);
        assert_told(span, "\"name\":\"process order.retry\"");
        snprintf(count, sizeof count, "{\"key\":\"sluice.retry_count\",\"value\":{\"intValue\":\"%d\"}}", step);
        assert_told(span, count);
        const char *link = strstr(span, "\"links\":[");
        assert_non_null(link);
        assert_string_equal(told(link, "spanId"), first);
        assert_null(strstr(link, "delayed"));
    }
    assert_header(assert_published(test, "order.failed", 0), HEADER_FIRST_TRY, NULL);
    traced_test_end(test);
}

static void what_was_delayed(void **state)
{
    struct lane_test *test = traced_test(1);
    struct header header = {SPAN(HEADER_TRACEPARENT), SPAN("00-" TRACE "-" PARENT "-01")};
    struct record record = {.topic = SPAN("order.new"),
                            .key = SPAN("k"),
                            .value = SPAN("{\"eventId\":\"a\",\"eventName\":\"x\",\"data\":{}}"),
                            .headers = &header,
                            .header_count = 1};
    (void)state;
    lane_test_parked(test, &record);
    lane_test_run(test);
    const char *link = strstr(fake_tracer_take(&tracer), "\"links\":[");
    assert_non_null(link);
    assert_string_equal(told(link, "spanId"), PARENT);
    assert_told(link, "\"delayed\"");
    traced_test_end(test);
}

static void a_dead_letter_and_its_replay(void **state)
{
    struct lane_test *test = traced_test(1);
    char dead[32], wanted[TRACEPARENT_TEXT + 1];
    (void)state;
    offer(test, "order.new", "a", NULL, NULL, NULL, "{\"do\":\"reject\"}");
    lane_test_run_all(test);
    assert_int_equal(tracer.count, 1);
    const char *span = fake_tracer_take(&tracer);
    assert_told(span, "\"status\":{\"code\":2");
    assert_told(span, "{\"key\":\"error.type\",\"value\":{\"stringValue\":\"rejected\"}}");
    assert_told(span, "{\"key\":\"sluice.outcome\",\"value\":{\"stringValue\":\"dead\"}}");
    snprintf(dead, sizeof dead, "%s", told(span, "spanId"));
    snprintf(wanted, sizeof wanted, "00-%s-%s-01", told(span, "traceId"), dead);
    assert_header(assert_dead(test, "order.new-dlt", 0, "rejected"), HEADER_TRACEPARENT, wanted);

    offer(test, "order.new", "b", wanted, HEADER_REPLAY_OF, "a", "{}");
    lane_test_run_all(test);
    span = fake_tracer_take(&tracer);
    assert_string_equal(told(span, "parentSpanId"), dead);
    const char *link = strstr(span, "\"links\":[");
    assert_non_null(link);
    assert_string_equal(told(link, "spanId"), dead);
    assert_told(link, "\"replay_of\"");
    traced_test_end(test);
}

/* What was rolled back is not told, what came again neither; what may have been committed is, and poison. */
static void only_what_is_committed(void **state)
{
    struct lane_test *test = traced_test(1);
    (void)state;
    lane_test_offer(test, &(struct record){.topic = SPAN("order.new"), .value = SPAN("no JSON")});
    lane_test_run_all(test);
    assert_told(fake_tracer_take(&tracer), "{\"key\":\"error.type\",\"value\":{\"stringValue\":\"bad_json\"}}");
    fake_store_fail(test->store, "commit", 0, 1, STORE_TRANSIENT, "deadlock");
    offer(test, "order.new", "a", NULL, NULL, NULL, "{}");
    lane_test_run(test);
    assert_int_equal(tracer.count, 0);
    lane_test_wait(test);
    lane_test_run_all(test);
    assert_int_equal(tracer.count, 1);
    offer(test, "order.new", "a", NULL, NULL, NULL, "{}");
    lane_test_run_all(test);
    assert_int_equal(tracer.count, 1);

    test->store->lost = FAKE_COMMIT_APPLIED;
    offer(test, "order.new", "b", NULL, NULL, NULL, "{}");
    lane_test_run_all(test);
    assert_int_equal(tracer.count, 2);
    traced_test_end(test);
}

/* Nothing records what the tap has handled: the event may come again, and has a span each time. */
static void a_tap_that_records_nothing(void **state)
{
    struct lane_test *test = traced_test(1);
    char first[32];
    (void)state;
    lane_test_of_tap(test, 0);
    for (int i = 0; i < 2; i++) {
        offer(test, "order.new", "a", NULL, NULL, NULL, "{}");
        lane_test_run_all(test);
        assert_int_equal(tracer.count, 1);
        const char *span = fake_tracer_take(&tracer);
        assert_told(span, "{\"key\":\"sluice.handler\",\"value\":{\"stringValue\":\"audit/work.watch\"}}");
        if (i == 1)
            assert_string_not_equal(told(span, "spanId"), first);
        snprintf(first, sizeof first, "%s", told(span, "spanId"));
        fake_clock_advance(1);
    }
    offer(test, "order.new", "b", NULL, NULL, NULL, "{}"); /* twice in one batch, as after a rebalance */
    offer(test, "order.new", "b", NULL, NULL, NULL, "{}");
    lane_test_run_all(test);
    assert_int_equal(tracer.count, 2);
    const char *spans = fake_tracer_take(&tracer);
    assert_string_not_equal(told(spans, "spanId"), told(strchr(spans, '\n'), "spanId"));
    traced_test_end(test);
}

static const char chain_yaml[] = "store: {url: 'postgres://x'}\n"
                                 "topics:\n"
                                 "  done.train: {handler: work.handle, routes: {done: drop, later: drop}}\n"
                                 "  undo.train: {handler: work.handle, routes: {done: drop, later: drop}}\n"
                                 "chains:\n"
                                 "  trip:\n"
                                 "    correlate: trip\n"
                                 "    steps: [{name: train, done: done.train, undo: undo.train}]\n"
                                 "    abort_on: [trip.failed]\n"
                                 "    on_undo_failure: pause\n";

/* An undo is beside the step that it undoes, and in its trace, whatever aborts the chain: something of the same trace,
 * of another one, of none that is recorded. */
static void undos(void **state)
{
    static const struct {
        const char *trip, *aborts;
        bool same;
    } rows[] = {{"t-1", "00-" TRACE "-00000000000000aa-01", true},
                {"t-2", "00-ffffffffffffffffffffffffffffffff-00000000000000aa-01", false},
                {"t-3", "00-ffffffffffffffffffffffffffffffff-00000000000000aa-00", false},
                {"t-4", NULL, false}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct lane_test *test = lane_test_create(chain_yaml, LANE_TEST_OUTBOX);
        char data[64], wanted[TRACEPARENT_TEXT + 1];
        fake_tracer_init(&tracer, 0);
        test->env.tracer = &tracer;
        snprintf(data, sizeof data, "{\"trip\":\"%s\"}", rows[i].trip);
        offer(test, "done.train", "a", "00-" TRACE "-" PARENT "-01", "tracestate", "x=y", data);
        lane_test_run_all(test);
        fake_tracer_take(&tracer);
        offer(test, "trip.failed", "b", rows[i].aborts, "tracestate", "x=y", data);
        lane_test_run_all(test);
        const char *abort = fake_tracer_take(&tracer);
        const struct record *undo = assert_published(test, "undo.train", 0);
        assert_header(undo, HEADER_UNDOES, "00-" TRACE "-" PARENT "-01"); /* who emitted done.train did the step */
        snprintf(wanted, sizeof wanted, "00-" TRACE "-%s-01", rows[i].same ? told(abort, "spanId") : PARENT);
        assert_header(undo, HEADER_TRACEPARENT, wanted);
        assert_header(undo, HEADER_TRACESTATE, rows[i].same ? "x=y" : NULL);
        assert_header(undo, HEADER_UNDO, "0.0");
        lane_test_offer(test, undo);
        lane_test_run_all(test);
        const char *link = strstr(fake_tracer_take(&tracer), "\"links\":[");
        assert_non_null(link);
        assert_string_equal(told(link, "spanId"), PARENT);
        assert_told(link, "\"undoes\"");
        traced_test_end(test);
    }
}

/* A step that was not recorded leaves nothing to link to. */
static void an_undo_of_what_was_not_recorded(void **state)
{
    struct lane_test *test = lane_test_create(chain_yaml, LANE_TEST_OUTBOX);
    (void)state;
    fake_tracer_init(&tracer, 0);
    test->env.tracer = &tracer;
    offer(test, "done.train", "a", NULL, NULL, NULL, "{\"trip\":\"t-5\"}");
    lane_test_run_all(test);
    assert_null(strstr(fake_store_calls(test->store), "chain_spans_note"));
    offer(test, "trip.failed", "b", "00-" TRACE "-" PARENT "-01", NULL, NULL, "{\"trip\":\"t-5\"}");
    lane_test_run_all(test);
    const struct record *undo = assert_published(test, "undo.train", 0);
    assert_header(undo, HEADER_UNDOES, NULL);
    assert_memory_equal(record_header(undo, HEADER_TRACEPARENT).at, "00-" TRACE, 35);
    traced_test_end(test);
}

static void accept_all(struct lane_test *test, struct sluice_call *call)
{
    (void)test;
    for (uint32_t i = 0; i < call->count; i++) {
        call->host->reply(call, i, 202, (struct sluice_text){"{}", 2}, 0);
        call->host->outcome(call, i, 0);
    }
}

/* The listener decides about requests: the handler's span stands under its own. */
static void requests(void **state)
{
    struct lane_test *test = traced_test(1);
    (void)state;
    lane_test_of_gateway(test);
    test->handle = accept_all;
    struct lane_test_request without = {.request = {.body = SPAN("{\"seat\":1}")}};
    lane_test_ask(test, &without);
    lane_test_run_all(test);
    assert_int_equal(tracer.count, 0);
    assert_header(assert_published(test, "order.new", 0), HEADER_TRACEPARENT, NULL);

    struct lane_test_request with = {
        .request = {.body = SPAN("{\"seat\":2}"), .traceparent = SPAN("00-" TRACE "-" PARENT "-01")}};
    lane_test_ask(test, &with);
    lane_test_run_all(test);
    const char *span = fake_tracer_take(&tracer);
    assert_string_equal(told(span, "parentSpanId"), PARENT);
    assert_told(span, "\"kind\":1");
    assert_told(span, "sluice.outcome");
    assert_memory_equal(record_header(assert_published(test, "order.new", 1), HEADER_TRACEPARENT).at, "00-" TRACE, 35);
    traced_test_end(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_span_says),
        cmocka_unit_test(who_decides),
        cmocka_unit_test(a_retry_in_place_links_to_the_first_try),
        cmocka_unit_test(a_try_of_another_process),
        cmocka_unit_test(what_was_unavailable),
        cmocka_unit_test(a_ladder),
        cmocka_unit_test(what_was_delayed),
        cmocka_unit_test(a_dead_letter_and_its_replay),
        cmocka_unit_test(only_what_is_committed),
        cmocka_unit_test(a_tap_that_records_nothing),
        cmocka_unit_test(undos),
        cmocka_unit_test(an_undo_of_what_was_not_recorded),
        cmocka_unit_test(requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
