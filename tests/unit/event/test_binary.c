/*
 * test_binary.c - which form a record has by its headers, CloudEvents in binary mode, and what is wrong with bad ones.
 */
#include "arena_state.h"

#include "event/event.h"

enum { HEADERS = 12 };

#define DATA "{\"userId\":7,\"amount\":100}"
#define OWN "{\"eventId\":\"e-1\",\"data\":" DATA "}"
#define STRUCTURED "{\"specversion\":\"1.0\",\"id\":\"e-1\",\"type\":\"paid\",\"data\":" DATA "}"
#define H(name, value)                                                                                                 \
    {                                                                                                                  \
        SPAN(name), SPAN(value)                                                                                        \
    }
#define VERSION H("ce_specversion", "1.0")
#define EVENT_ID H("ce_id", "e-1")
#define TYPE H("ce_type", "paid")
#define SOURCE H("ce_source", "/shop")
#define JSON_TYPE H("content-type", "application/json")

struct message {
    struct header headers[HEADERS];
    struct span value;
};

static struct record record_of(const struct message *message)
{
    struct record record = {.topic = SPAN("payment.try"),
                            .key = SPAN("u-1"),
                            .value = message->value,
                            .headers = (struct header *)message->headers,
                            .timestamp_ms = 1234};
    while (record.header_count < HEADERS && record.headers[record.header_count].name.at != NULL)
        record.header_count++;
    return record;
}

static struct event parsed(const struct record *record, struct arena *arena)
{
    struct event event;
    enum dead_reason reason;
    struct error error = {0};
    if (event_parse(record, 4000, arena, &event, &reason, &error) != 0)
        fail_msg("%.*s: %s", (int)record->value.length, record->value.at, error.text);
    return event;
}

static void test_binary(void **state)
{
    const struct message message = {{VERSION, EVENT_ID, TYPE, SOURCE, H("ce_time", "2025-01-02T12:04:05.678+09:00"),
                                     H("ce_subject", "seat 42"), H("ce_partitionkey", "u-1"), JSON_TYPE,
                                     H("sluice-hops", "3"), H("sluice-not-before", "1700000000000")},
                                    SPAN(DATA)};
    struct record record = record_of(&message);
    struct event event = parsed(&record, *state);
    struct event_id id = event_id_of(SPAN("e-1"));
    assert_true(event.cloudevent && event.binary);
    assert_ptr_equal(event.record, &record);
    assert_memory_equal(&event.id, &id, sizeof id);
    assert_ptr_equal(event.id_text.at, message.headers[1].value.at);
    assert_int_equal(event.id_text.length, 3);
    assert_true(span_is(event.name, "paid"));
    assert_int_equal(event.timestamp_ms, 1735787045678);
    assert_ptr_equal(event.data.text.at, message.value.at);
    assert_int_equal(event.data.text.length, message.value.length);
    assert_int_equal(event.data.count, 2);
    assert_true(span_is(json_find(&event.data, SPAN("amount"))->value, "100"));
    assert_int_equal(event.hops, 3);
    assert_int_equal(event.not_before_ms, 1700000000000);
}

/* Which form it is, whatever else the headers hold. */
static void test_forms(void **state)
{
    static const struct {
        struct message message;
        bool cloudevent, binary;
    } rows[] = {
        {{{{{NULL, 0}, {NULL, 0}}}, SPAN(OWN)}, false, false},
        {{{JSON_TYPE}, SPAN(OWN)}, false, false},
        {{{JSON_TYPE, JSON_TYPE}, SPAN(OWN)}, false, false}, /* nobody needs them */
        {{{TYPE, SOURCE, H("ce_", "1.0"), H("ce_idx", "x"), H("ce_specversions", "1.0")}, SPAN(OWN)}, false, false},
        {{{H("CE_ID", "x"), H("Ce_Specversion", "1.0")}, SPAN(OWN)}, false, false}, /* Kafka's names have a case */
        {{{H("ce-id", "x"), H("content-typ", "application/cloudevents+json")}, SPAN(OWN)}, false, false},
        {{{H("content-type", "application/cloudevent+json")}, SPAN(OWN)}, false, false},
        {{{H("content-type", "\xff")}, SPAN(OWN)}, false, false},
        {{{{SPAN("content-type"), {NULL, 0}}}, SPAN(OWN)}, false, false},
        {{{JSON_TYPE}, SPAN(STRUCTURED)}, true, false},
        {{{H("content-type", "application/cloudevents+json")}, SPAN(STRUCTURED)}, true, false},
        {{{H("content-type", "Application/CloudEvents+JSON; charset=UTF-8")}, SPAN(STRUCTURED)}, true, false},
        /* Structured mode may repeat attributes in headers; the value counts. */
        {{{VERSION, H("ce_id", "other"), H("content-type", "application/cloudevents+json ;a=b")}, SPAN(STRUCTURED)},
         true,
         false},
        {{{JSON_TYPE, H("content-type", "application/cloudevents+json")}, SPAN(STRUCTURED)}, true, false},
        {{{VERSION, EVENT_ID, TYPE}, SPAN(DATA)}, true, true}, /* without a content-type: JSON */
        {{{VERSION, EVENT_ID, TYPE, H("content-type", "application/vnd.shop+json;v=1")}, SPAN(DATA)}, true, true},
        {{{VERSION, EVENT_ID, TYPE, SOURCE}, SPAN(" {} \n")}, true, true},
        /* By the binding a structured value under these headers alone is data. */
        {{{VERSION, EVENT_ID, TYPE}, SPAN(STRUCTURED)}, true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct record record = record_of(&rows[i].message);
        struct event event = parsed(&record, *state);
        if (event.cloudevent != rows[i].cloudevent || event.binary != rows[i].binary)
            fail_msg("row %zu: cloudevent %d, binary %d", i, event.cloudevent, event.binary);
        assert_true(span_is(event.id_text, "e-1"));
        assert_int_equal(event.timestamp_ms, 1234);
    }
}

struct poison {
    struct message message;
    enum dead_reason reason;
    const char *says;
    bool id_known; /* "e-1" was readable */
};

/* A header without a value is none: some programs write all that they know, also where they know nothing. */
static void test_headers_without_value(void **state)
{
    static const struct span none = {NULL, 0};
    const struct message binary = {{VERSION,
                                    EVENT_ID,
                                    TYPE,
                                    {SPAN("ce_time"), none},
                                    {SPAN("ce_tenant"), none},
                                    {SPAN("content-type"), none},
                                    {SPAN("sluice-hops"), none},
                                    {SPAN("sluice-not-before"), none}},
                                   SPAN(DATA)};
    const struct message own = {{{SPAN("content-type"), none}, {SPAN("ce_id"), none}, {SPAN("sluice-hops"), none}},
                                SPAN(OWN)};
    struct record record = record_of(&binary);
    struct event event = parsed(&record, *state);
    assert_true(event.binary);
    assert_int_equal(event.timestamp_ms, 1234);
    assert_int_equal(event.hops, 0);
    struct span whole = event_whole(&event, *state);
    assert_null(memmem(whole.at, whole.length, "tenant", 6));
    record = record_of(&own);
    event = parsed(&record, *state);
    assert_false(event.binary);
    assert_int_equal(event.not_before_ms, 0);
}

static const struct poison poisons[] = {
    /* the id */
    {{{VERSION, TYPE}, SPAN(DATA)}, DEAD_BAD_ID, "has no header ce_id", false},
    {{{VERSION, TYPE, {SPAN("ce_id"), {NULL, 0}}}, SPAN(DATA)}, DEAD_BAD_ID, "has no header ce_id", false},
    {{{VERSION, TYPE, H("ce_id", "")}, SPAN(DATA)}, DEAD_BAD_ID, "\"ce_id\" has 0 bytes", false},
    {{{VERSION, TYPE, H("ce_id", "e 1")}, SPAN(DATA)}, DEAD_BAD_ID, "byte 1 of \"ce_id\"", false},
    {{{VERSION, TYPE, H("ce_id", "\xff")}, SPAN(DATA)}, DEAD_BAD_ID, "byte 0 of \"ce_id\"", false},
    {{{VERSION, TYPE, H("ce_id", "e\0")}, SPAN(DATA)}, DEAD_BAD_ID, "byte 1 of \"ce_id\"", false},
    {{{VERSION, EVENT_ID, TYPE, H("ce_id", "e-2")}, SPAN(DATA)}, DEAD_BAD_ID, "ce_id stands 2 times", false},
    {{{VERSION, EVENT_ID, EVENT_ID, TYPE}, SPAN(DATA)}, DEAD_BAD_ID, "ce_id stands 2 times", false},
    /* attributes */
    {{{EVENT_ID, TYPE}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "ce_specversion is not 1.0", true},
    {{{H("ce_specversion", "0.3"), EVENT_ID, TYPE}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "ce_specversion is not 1.0", true},
    {{{H("ce_specversion", "1.0 "), EVENT_ID, TYPE}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "ce_specversion", true},
    {{{H("ce_specversion", "1"), EVENT_ID, TYPE}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "ce_specversion", true},
    {{{VERSION, EVENT_ID}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "no header ce_type", true},
    {{{VERSION, EVENT_ID, H("ce_type", "")}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "no header ce_type", true},
    {{{VERSION, EVENT_ID, H("ce_type", "a\xc3")}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "ce_type is not UTF-8", true},
    {{{VERSION, EVENT_ID, H("ce_type", "a\0b")}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "ce_type is not UTF-8", true},
    {{{VERSION, EVENT_ID, TYPE, H("ce_source", "\xc0\xaf")}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "ce_source", true},
    {{{VERSION, EVENT_ID, TYPE, H("ce_anything", "\x7f")}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "ce_anything", true},
    {{{VERSION, EVENT_ID, TYPE, H("ce_\xff", "x")}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "name of a header", true},
    {{{VERSION, EVENT_ID, TYPE, TYPE}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "ce_type stands twice", true},
    {{{VERSION, EVENT_ID, TYPE, VERSION}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "ce_specversion stands twice", true},
    {{{VERSION, EVENT_ID, TYPE, H("ce_x", "1"), H("ce_x", "2")}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "ce_x stands", true},
    {{{VERSION, EVENT_ID, TYPE, H("ce_time", "")}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "ce_time is not", true},
    {{{VERSION, EVENT_ID, TYPE, H("ce_time", "1735787045678")}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "ce_time", true},
    {{{VERSION, EVENT_ID, TYPE, H("ce_time", "2025-02-29T00:00:00Z")}, SPAN("{}")}, DEAD_BAD_ENVELOPE, "ce_time", true},
    {{{VERSION, EVENT_ID, TYPE, H("content-type", "text/xml")}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "content-type", true},
    {{{VERSION, EVENT_ID, TYPE, H("content-type", "")}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "content-type is not", true},
    {{{VERSION, EVENT_ID, TYPE, H("content-type", "application/avro")}, SPAN("Obj\1")},
     DEAD_BAD_ENVELOPE,
     "JSON",
     true},
    {{{VERSION, EVENT_ID, TYPE, JSON_TYPE, JSON_TYPE}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "content-type stands", true},
    {{{VERSION, EVENT_ID, TYPE, H("sluice-hops", "x")}, SPAN(DATA)}, DEAD_BAD_ENVELOPE, "sluice-hops", true},
    /* the value */
    {{{VERSION, EVENT_ID, TYPE}, SPAN("[1]")}, DEAD_NOT_OBJECT, "an object was expected", true},
    {{{VERSION, EVENT_ID, TYPE}, SPAN("\"x\"")}, DEAD_NOT_OBJECT, "an object was expected", true},
    {{{VERSION, EVENT_ID, TYPE}, SPAN("")}, DEAD_NOT_OBJECT, "the value is empty", true},
    {{{VERSION, EVENT_ID, TYPE}, {NULL, 0}}, DEAD_NOT_OBJECT, "no value (a tombstone)", true},
    {{{VERSION, EVENT_ID, TYPE}, SPAN("{\"a\":1,\"a\":2}")}, DEAD_BAD_JSON, "twice", true},
    {{{VERSION, EVENT_ID, TYPE}, SPAN("{\"a\":\"\xff\"}")}, DEAD_BAD_JSON, "UTF-8", true},
    {{{VERSION, EVENT_ID, TYPE}, SPAN("{}{}")}, DEAD_BAD_JSON, "bytes follow", true},
    /* structured mode, by the header */
    {{{H("content-type", "application/cloudevents+json")}, SPAN(OWN)}, DEAD_BAD_ENVELOPE, "no \"specversion\"", false},
    {{{H("content-type", "application/cloudevents+json"), VERSION, EVENT_ID, TYPE}, SPAN(DATA)},
     DEAD_BAD_ENVELOPE,
     "no \"specversion\"",
     false},
    {{{H("content-type", "application/cloudevents+avro")}, SPAN("Obj\1")}, DEAD_BAD_ENVELOPE, "not read", false},
    {{{H("content-type", "Application/CloudEvents+AVRO")}, SPAN(OWN)}, DEAD_BAD_ENVELOPE, "not read", false},
    {{{H("content-type", "application/cloudevents-batch+json")}, SPAN("[]")}, DEAD_BAD_ENVELOPE, "not read", false},
    {{{H("content-type", "application/cloudevents")}, SPAN(STRUCTURED)}, DEAD_BAD_ENVELOPE, "not read", false},
    {{{H("content-type", "application/cloudevents+jsonp")}, SPAN(STRUCTURED)}, DEAD_BAD_ENVELOPE, "not read", false},
};

static void assert_poison(const struct record *record, struct arena *arena, const struct poison *poison)
{
    struct event event = {0}, untouched = {0};
    struct error error = {0};
    enum dead_reason reason = 0;
    int result = event_parse(record, 4000, arena, &event, &reason, &error);
    if (result != -EINVAL || reason != poison->reason || strstr(error.text, poison->says) == NULL ||
        error.code != EINVAL)
        fail_msg("%d, %s, \"%s\"; expected %s, \"%s\"", result, event_dead_word(reason), error.text,
                 event_dead_word(poison->reason), poison->says);
    struct event_id id = event_id_of(SPAN("e-1"));
    if ((memcmp(&event.id, &id, sizeof id) == 0) != poison->id_known)
        fail_msg("\"%s\": the id is%s known", error.text, poison->id_known ? " not" : "");
    event.id = untouched.id;
    event.payload_hash = 0;
    assert_memory_equal(&event, &untouched, sizeof event);
    assert_int_equal(event_parse(record, 4000, arena, &event, &reason, NULL), -EINVAL);
    assert_int_equal(reason, poison->reason);
}

static void test_poison(void **state)
{
    for (size_t i = 0; i < sizeof poisons / sizeof poisons[0]; i++) {
        struct record record = record_of(&poisons[i].message);
        assert_poison(&record, *state, &poisons[i]);
    }
}

static void test_limits(void **state)
{
    static char large[EVENT_ATTRIBUTES_MAX + 1];
    memset(large, 'x', sizeof large);
    struct message message = {{VERSION, EVENT_ID, TYPE, {SPAN("ce_long"), {large, 0}}}, SPAN(DATA)};
    /* ce_specversion 1.0, ce_id e-1, ce_type paid, ce_long */
    size_t rest = 14 + 3 + 5 + 3 + 7 + 4 + 7;
    message.headers[3].value.length = EVENT_ATTRIBUTES_MAX - rest;
    struct record record = record_of(&message);
    parsed(&record, *state);
    message.headers[3].value.length++;
    assert_poison(&record, *state,
                  &(struct poison){.reason = DEAD_TOO_LARGE, .says = "ce_ headers have 8193 bytes", .id_known = true});

    /* Attributes are the producer's headers and count as such; tracestate travels with traceparent and does not. */
    struct header many[EVENT_HEADERS_MAX + 2] = {VERSION, EVENT_ID, TYPE};
    for (size_t i = 3; i < EVENT_HEADERS_MAX + 2; i++)
        many[i] = (struct header)H("x", "y");
    record.headers = many;
    record.header_count = EVENT_HEADERS_MAX;
    parsed(&record, *state);
    record.header_count = EVENT_HEADERS_MAX + 2;
    many[10] = (struct header)H("traceparent", "");
    assert_poison(&record, *state, &(struct poison){.reason = DEAD_TOO_LARGE, .says = "66 headers"});
    many[11] = (struct header)H("tracestate", "");
    parsed(&record, *state);

    /* What is emitted from it has an envelope around the data: one level less. */
    struct buffer value;
    buffer_init(&value, 1000);
    for (int depth = 63; depth <= 64; depth++) {
        buffer_clear(&value);
        buffer_text(&value, "{\"a\":");
        for (int i = 1; i < depth; i++)
            buffer_byte(&value, '[');
        for (int i = 1; i < depth; i++)
            buffer_byte(&value, ']');
        buffer_byte(&value, '}');
        message.value = buffer_view(&value);
        message.headers[3].value.length = 1;
        record = record_of(&message);
        if (depth == 63)
            parsed(&record, *state);
        else
            assert_poison(&record, *state,
                          &(struct poison){.reason = DEAD_TOO_DEEP, .says = "more than 64 deep", .id_known = true});
    }
    buffer_free(&value);
}

/* What makes another event of the same id: the data, and what says which event it is. */
static void test_payload_hash(void **state)
{
    const struct message first = {{VERSION, EVENT_ID, TYPE, SOURCE, H("ce_subject", "42")}, SPAN(DATA)};
    static const struct {
        struct message message;
        bool same;
    } rows[] = {
        {{{SOURCE, H("ce_subject", "42"), TYPE, EVENT_ID, VERSION}, SPAN(DATA)}, true},
        {{{VERSION, EVENT_ID, TYPE, SOURCE, H("ce_subject", "42"), H("ce_time", "2025-01-02T03:04:05Z"),
           H("ce_traceparent", "x"), H("traceparent", "x"), JSON_TYPE},
          SPAN(DATA)},
         true},
        {{{VERSION, EVENT_ID, TYPE, SOURCE, H("ce_subject", "42")}, SPAN("{\"userId\":7,\"amount\":101}")}, false},
        {{{VERSION, EVENT_ID, TYPE, SOURCE, H("ce_subject", "43")}, SPAN(DATA)}, false},
        {{{VERSION, EVENT_ID, TYPE, H("ce_source", "/other"), H("ce_subject", "42")}, SPAN(DATA)}, false},
        {{{VERSION, EVENT_ID, H("ce_type", "paie"), SOURCE, H("ce_subject", "42")}, SPAN(DATA)}, false},
        {{{VERSION, EVENT_ID, TYPE, H("ce_source", "42"), H("ce_subject", "/shop")}, SPAN(DATA)}, false},
        {{{VERSION, EVENT_ID, TYPE, SOURCE}, SPAN(DATA)}, false},
    };
    struct record record = record_of(&first);
    uint64_t hash = parsed(&record, *state).payload_hash;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct record other = record_of(&rows[i].message);
        if ((parsed(&other, *state).payload_hash == hash) != rows[i].same)
            fail_msg("row %zu: the hash is%s the same", i, rows[i].same ? " not" : "");
    }
}

/* Two poisons that differ in their attributes alone are two, whether their id is known or not. */
static void test_poison_identity(void **state)
{
    static const struct message messages[] = {
        {{VERSION, TYPE, H("ce_source", "/a")}, SPAN(DATA)},
        {{VERSION, TYPE, H("ce_source", "/b")}, SPAN(DATA)},
        {{EVENT_ID, TYPE, H("ce_source", "/a")}, SPAN(DATA)},
        {{EVENT_ID, TYPE, H("ce_source", "/b")}, SPAN(DATA)},
    };
    struct event events[4], again;
    enum dead_reason reason;
    for (size_t i = 0; i < 4; i++) {
        struct record record = record_of(&messages[i]);
        assert_int_equal(event_parse(&record, 4000, *state, &events[i], &reason, NULL), -EINVAL);
        assert_int_equal(event_parse(&record, 4000, *state, &again, &reason, NULL), -EINVAL);
        assert_memory_equal(&events[i].id, &again.id, sizeof again.id);
        assert_int_equal(events[i].payload_hash, again.payload_hash);
    }
    assert_memory_not_equal(&events[0].id, &events[1].id, sizeof again.id);
    assert_memory_equal(&events[2].id, &events[3].id, sizeof again.id);
    assert_int_not_equal(events[2].payload_hash, events[3].payload_hash);
}

/* What a plugin is shown is the same event in structured mode. */
static void test_whole(void **state)
{
    const struct message message = {{VERSION, EVENT_ID, TYPE, H("ce_source", "/a\"b\\c\xc3\xa9"), JSON_TYPE,
                                     H("ce_time", "2025-01-02T03:04:05.678Z"), H("ce_", ""), H("ce_data", "1"),
                                     H("ce_data_base64", "e30="), H("ce_datacontenttype", "x"), H("x", "y")},
                                    SPAN(" " DATA " ")};
    struct record record = record_of(&message);
    struct event event = parsed(&record, *state);
    struct span whole = event_whole(&event, *state);
    assert_int_equal(whole.length, strlen("{\"specversion\":\"1.0\",\"id\":\"e-1\",\"type\":\"paid\","
                                          "\"source\":\"/a\\\"b\\\\c\xc3\xa9\",\"time\":\"2025-01-02T03:04:05.678Z\","
                                          "\"\":\"\",\"datacontenttype\":\"application/json\",\"data\":" DATA "}"));
    assert_memory_equal(whole.at,
                        "{\"specversion\":\"1.0\",\"id\":\"e-1\",\"type\":\"paid\","
                        "\"source\":\"/a\\\"b\\\\c\xc3\xa9\",\"time\":\"2025-01-02T03:04:05.678Z\","
                        "\"\":\"\",\"datacontenttype\":\"application/json\",\"data\":" DATA "}",
                        whole.length);

    struct record structured = {.topic = record.topic, .value = whole};
    struct event again = parsed(&structured, *state);
    assert_true(again.cloudevent && !again.binary);
    assert_true(span_equal(again.id_text, event.id_text) && span_equal(again.name, event.name));
    assert_int_equal(again.timestamp_ms, event.timestamp_ms);
    assert_true(span_equal(again.data.text, event.data.text));
    /* The others are whole already. */
    assert_ptr_equal(event_whole(&again, *state).at, whole.at);

    /* Quotes take the most room. */
    static char quotes[EVENT_ATTRIBUTES_MAX / 2];
    memset(quotes, '"', sizeof quotes);
    const struct message large = {{VERSION, EVENT_ID, TYPE, {SPAN("ce_q"), {quotes, sizeof quotes}}}, SPAN(DATA)};
    record = record_of(&large);
    event = parsed(&record, *state);
    whole = event_whole(&event, *state);
    assert_int_equal(whole.at[whole.length - 1], '}');
    assert_true(whole.length > 2 * sizeof quotes);
}

/* Each form of what is emitted from it, without its headers, is read again. */
static void test_emission(void **state)
{
    const struct message message = {{VERSION, EVENT_ID, TYPE, JSON_TYPE}, SPAN(DATA)};
    struct record record = record_of(&message);
    struct event event = parsed(&record, *state);
    for (enum event_format format = FORMAT_SLUICE; format <= FORMAT_BINARY; format++) {
        struct buffer out;
        struct header headers[FORMAT_HEADERS_MAX];
        buffer_init(&out, 1000);
        event_compose(&out, SPAN("e-2"), SPAN("next"), 1735787045678, format, &event.data, NULL, 0);
        struct record emitted = {.topic = SPAN("next"), .value = buffer_view(&out), .headers = headers};
        emitted.header_count = event_headers(format, SPAN("e-2"), SPAN("next"), 1735787045678, *state, headers);
        struct event again = parsed(&emitted, *state);
        assert_int_equal(again.cloudevent, format != FORMAT_SLUICE);
        assert_int_equal(again.binary, format == FORMAT_BINARY);
        assert_true(span_is(again.id_text, "e-2"));
        assert_true(span_is(again.name, "next"));
        assert_int_equal(again.timestamp_ms, 1735787045678);
        assert_true(span_is(again.data.text, DATA));
        buffer_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_binary),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_headers_without_value),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_payload_hash),
        cmocka_unit_test(test_poison_identity),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_emission),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
