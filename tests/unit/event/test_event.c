/*
 * test_event.c - from a record to an event: both envelopes, what they may leave out, headers.
 */
#include "record.h"

static void test_own_envelope(void **state)
{
    static const char value[] =
        "{" ID "," NAME
        ",\"timestamp\":\"2025-01-02T03:04:05.678Z\",\"data\":{\"amount\":100,\"u\":\"x\"},\"more\":[1]}";
    struct header headers[] = {
        {SPAN("sluice-hops"), SPAN("3")}, {SPAN("sluice-not-before"), SPAN("1700000000000")}, {SPAN("x"), SPAN("y")}};
    struct record record = record_of(span_of(value));
    record.headers = headers;
    record.header_count = 3;
    struct event event;
    enum dead_reason reason = 0;
    struct error error = {0};
    assert_int_equal(event_parse(&record, 1000, *state, &event, &reason, &error), 0);
    assert_ptr_equal(event.record, &record);
    assert_true(span_is(event.id_text, "e-1"));
    struct event_id id = event_id_of(SPAN("e-1"));
    assert_memory_equal(&event.id, &id, sizeof id);
    assert_true(span_is(event.name, "payment.try"));
    assert_int_equal(event.timestamp_ms, 1735787045678);
    assert_int_equal(event.payload_hash, span_hash(span_of(value)));
    assert_int_equal(event.data.count, 2);
    assert_true(span_is(event.data.text, "{\"amount\":100,\"u\":\"x\"}"));
    assert_false(event.cloudevent);
    assert_int_equal(event.hops, 3);
    assert_int_equal(event.not_before_ms, 1700000000000);
    assert_int_equal(reason, 0);
    assert_int_equal(error.code, 0);
}

static void test_cloudevent(void **state)
{
    struct record record = record_of(
        SPAN("{\"specversion\":\"1.0\",\"id\":\"ce-1\",\"source\":\"/shop\",\"type\":\"payment.try\","
             "\"time\":\"2025-01-02T12:04:05.678+09:00\",\"datacontenttype\":\"application/json\","
             "\"eventId\":\"ignored\",\"data\":{\"amount\":100}}"));
    struct event event;
    enum dead_reason reason;
    assert_int_equal(event_parse(&record, 1000, *state, &event, &reason, NULL), 0);
    assert_true(event.cloudevent);
    assert_true(span_is(event.id_text, "ce-1"));
    assert_true(span_is(event.name, "payment.try"));
    assert_int_equal(event.timestamp_ms, 1735787045678);
    assert_int_equal(event.data.count, 1);
    assert_int_equal(event.hops, 0);
    assert_int_equal(event.not_before_ms, 0);
}

/* What an envelope may leave out or write in another way. */
static void test_lenient(void **state)
{
    static const struct {
        const char *value, *name;
        int64_t timestamp_ms;
    } rows[] = {
        {"{" ID "," DATA "}", "payment.try", 1234},
        {" \n{" ID ",\"eventName\":\"other\"," DATA "} ", "other", 1234},
        {"{" DATA "," ID ",\"timestamp\":1735787045678}", "payment.try", 1735787045678},
        {"{" ID "," DATA ",\"timestamp\":-1}", "payment.try", -1},
        {"{" ID "," DATA ",\"timestamp\":0}", "payment.try", 0},
        {"{" ID "," DATA ",\"timestamp\":null}", "payment.try", 1234},
        {"{" ID "," DATA ",\"timestamp\":\"2025-01-02T03:04:05\\u005a\"}", "payment.try", 1735787045000},
        {"{" ID ",\"data\":{}}", "payment.try", 1234},
        {"{\"event\\u0049d\":\"e-\\u0031\",\"d\\u0061ta\":{\"amount\":100}}", "payment.try", 1234},
        {"{" ID "," DATA ",\"eventid\":\"x\",\"Data\":5,\"type\":7,\"id\":9}", "payment.try", 1234},
        {"{\"specversion\":\"1.0\",\"id\":\"e-1\",\"type\":\"t\",\"datacontenttype\":\"application/vnd.shop+JSON; "
         "charset=utf-8\"," DATA "}",
         "t", 1234},
        {"{\"specversion\":\"1.0\",\"id\":\"e-1\",\"type\":\"t\",\"datacontenttype\":null," DATA "}", "t", 1234},
        {"{\"specversion\":\"1.0\",\"id\":\"e-1\",\"type\":\"t\",\"datacontenttype\":\"text/json ;a=b\"," DATA "}", "t",
         1234},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct record record = record_of(span_of(rows[i].value));
        struct event event;
        enum dead_reason reason;
        struct error error = {0};
        if (event_parse(&record, 1000, *state, &event, &reason, &error) != 0)
            fail_msg("%s: %s", rows[i].value, error.text);
        assert_true(span_is(event.id_text, "e-1"));
        assert_true(span_is(event.name, rows[i].name));
        assert_int_equal(event.timestamp_ms, rows[i].timestamp_ms);
        assert_true(json_find(&event.data, SPAN("amount")) != NULL || event.data.count == 0);
        assert_true(event.data.text.at != NULL);
    }
}

static void test_payload_hash(void **state)
{
    struct record one = record_of(SPAN("{" ID "," DATA "}")),
                  two = record_of(SPAN("{" ID ",\"data\":{\"amount\":101}}"));
    struct event first, second;
    enum dead_reason reason;
    assert_int_equal(event_parse(&one, 1000, *state, &first, &reason, NULL), 0);
    assert_int_equal(event_parse(&two, 1000, *state, &second, &reason, NULL), 0);
    assert_memory_equal(&first.id, &second.id, sizeof first.id);
    assert_int_not_equal(first.payload_hash, second.payload_hash);
}

static void test_record_header(void **state)
{
    (void)state;
    struct header headers[] = {
        {SPAN("a"), SPAN("1")}, {SPAN("b"), {NULL, 0}}, {SPAN("a"), SPAN("2")}, {SPAN("A"), SPAN("3")}};
    struct record record = {.headers = headers, .header_count = 4};
    assert_true(span_is(record_header(&record, "a"), "2"));
    assert_null(record_header(&record, "b").at); /* without a value it says nothing */
    assert_null(record_header(&record, "c").at);
    assert_null(record_header(&record, "").at);
    record.header_count = 1;
    assert_true(span_is(record_header(&record, "a"), "1"));
}

static void test_dead_words(void **state)
{
    (void)state;
    for (int i = 1; i < DEAD_REASON_COUNT; i++) {
        const char *word = event_dead_word((enum dead_reason)i);
        assert_non_null(word);
        assert_string_not_equal(word, "unknown");
        for (int j = 1; j < i; j++)
            assert_string_not_equal(word, event_dead_word((enum dead_reason)j));
    }
    assert_string_equal(event_dead_word(DEAD_BAD_JSON), "bad_json");
    assert_string_equal(event_dead_word(DEAD_BAD_OUTPUT), "bad_output");
    assert_string_equal(event_dead_word(DEAD_BAD_CORRELATION), "bad_correlation");
    assert_string_equal(event_dead_word((enum dead_reason)0), "unknown");
    assert_string_equal(event_dead_word(DEAD_REASON_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_envelope), cmocka_unit_test(test_cloudevent),    cmocka_unit_test(test_lenient),
        cmocka_unit_test(test_payload_hash), cmocka_unit_test(test_record_header), cmocka_unit_test(test_dead_words),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
