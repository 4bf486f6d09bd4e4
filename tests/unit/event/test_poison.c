/*
 * test_poison.c - every way in which an event is poison, by the list of bad events that the engine promises to
 * recognise; with the reason, the sentence and the id that its dead letter gets.
 */
#include "record.h"

enum { VALUE_MAX = 1024 * 1024 };

struct poison {
    struct span value;
    enum dead_reason reason;
    const char *says;
    bool id_known; /* "e-1" was readable */
};

#define POISON(value, reason, says)                                                                                    \
    {                                                                                                                  \
        SPAN(value), reason, says, false                                                                               \
    }
#define POISON_ID(value, reason, says)                                                                                 \
    {                                                                                                                  \
        SPAN(value), reason, says, true                                                                                \
    }

static const struct poison poisons[] = {
    /* empty value / tombstone / white space / null / 42 / [] */
    {{NULL, 0}, DEAD_NOT_OBJECT, "no value (a tombstone)", false},
    POISON("", DEAD_NOT_OBJECT, "the value is empty"),
    POISON(" \r\n\t ", DEAD_NOT_OBJECT, "nothing but white space"),
    POISON("null", DEAD_NOT_OBJECT, "an object was expected"),
    POISON("42", DEAD_NOT_OBJECT, "an object was expected"),
    POISON("[]", DEAD_NOT_OBJECT, "an object was expected"),
    POISON("\"{}\"", DEAD_NOT_OBJECT, "an object was expected"),
    POISON("true", DEAD_NOT_OBJECT, "an object was expected"),
    /* truncated, trailing bytes, BOM, comments, NaN, single quotes; with the place */
    POISON("{" ID "," DATA, DEAD_BAD_JSON, ", at byte 38"),
    POISON("{" ID "," DATA "}x", DEAD_BAD_JSON, "bytes follow behind the value, at byte 39"),
    POISON("{" ID "," DATA "}\0", DEAD_BAD_JSON, "at byte 39"),
    POISON("\xef\xbb\xbf{" ID "," DATA "}", DEAD_BAD_JSON, "begins with a UTF-8 byte order mark"),
    /* what other programs write, named as what it is */
    POISON("\0\0\0\x01\x02{" ID "," DATA "}", DEAD_BAD_JSON, "a schema registry's prefix (the byte 0, schema 258)"),
    POISON("\0\xff\xff\xff\xff\x02"
           "avro",
           DEAD_BAD_JSON, "(the byte 0, schema 4294967295)"),
    POISON("\0\0\0\0", DEAD_BAD_JSON, "at byte 0"),
    POISON("\xff\xfe{\0", DEAD_BAD_JSON, "is UTF-16 (little endian)"),
    POISON("\xfe\xff\0{", DEAD_BAD_JSON, "is UTF-16 (big endian)"),
    POISON("\xff\xfe\0\0{\0\0\0", DEAD_BAD_JSON, "is UTF-32 (little endian)"),
    POISON("\0\0\xfe\xff\0\0\0{", DEAD_BAD_JSON, "is UTF-32 (big endian)"),
    POISON("{\0\0\0\"\0\0\0", DEAD_BAD_JSON, "is UTF-32 (little endian)"),
    POISON("{\0\"\0", DEAD_BAD_JSON, "is UTF-16 (little endian)"),
    POISON("\0{\0\"", DEAD_BAD_JSON, "is UTF-16 (big endian)"),
    POISON("\x1f\x8b\x08\0", DEAD_BAD_JSON, "is gzip"),
    POISON("\x28\xb5\x2f\xfd\x04", DEAD_BAD_JSON, "is zstd"),
    POISON("\xac\xed\0\x05t", DEAD_BAD_JSON, "is a serialized Java object"),
    POISON("Obj\x01\x04", DEAD_BAD_JSON, "is an Avro container"),
    POISON("{" ID "," DATA "/**/}", DEAD_BAD_JSON, "at byte 38"),
    POISON("{" ID ",\"data\":{\"amount\":NaN}}", DEAD_BAD_JSON, "a value was expected, at byte 34"),
    POISON("{'eventId':'e-1'}", DEAD_BAD_JSON, "at byte 1"),
    POISON("{" ID ",\"data\":{\"a\":\"\xff\"}}", DEAD_BAD_JSON, "not UTF-8"),
    POISON("{" ID ",\"data\":{\"a\":\"\\ud800\"}}", DEAD_BAD_JSON, "surrogate"),
    POISON("{" ID ",\"data\":{\"a\":\"\\u0000\"}}", DEAD_BAD_JSON, "\\u0000"),
    /* duplicate keys, at any level and in any spelling */
    POISON("{" ID ",\"data\":{\"amount\":1,\"amount\":2}}", DEAD_BAD_JSON, "stands twice"),
    POISON("{" ID ",\"data\":{\"amount\":1,\"\\u0061mount\":2}}", DEAD_BAD_JSON, "stands twice"),
    POISON("{" ID "," DATA "," ID "}", DEAD_BAD_JSON, "stands twice"),
    POISON("{" ID ",\"data\":{\"a\":[{\"b\":{\"c\":1,\"c\":1}}]}}", DEAD_BAD_JSON, "stands twice"),
    /* ids */
    POISON("{" DATA "}", DEAD_BAD_ID, "has no \"eventId\""),
    POISON("{\"id\":\"e-1\"," DATA "}", DEAD_BAD_ID, "has no \"eventId\""),
    POISON("{\"EventId\":\"e-1\"," DATA "}", DEAD_BAD_ID, "has no \"eventId\""),
    POISON("{\"eventId\":\"\"," DATA "}", DEAD_BAD_ID, "has 0 bytes"),
    POISON("{\"eventId\":17," DATA "}", DEAD_BAD_ID, "is not a string"),
    POISON("{\"eventId\":null," DATA "}", DEAD_BAD_ID, "is not a string"),
    POISON("{\"eventId\":[\"e-1\"]," DATA "}", DEAD_BAD_ID, "is not a string"),
    POISON("{\"eventId\":\" e-1\"," DATA "}", DEAD_BAD_ID, "byte 0 of \"eventId\""),
    POISON("{\"eventId\":\"e-1 \"," DATA "}", DEAD_BAD_ID, "byte 3 of \"eventId\""),
    POISON("{\"eventId\":\"e 1\"," DATA "}", DEAD_BAD_ID, "byte 1 of \"eventId\""),
    POISON("{\"eventId\":\"e\\n1\"," DATA "}", DEAD_BAD_ID, "byte 1 of \"eventId\""),
    POISON("{\"eventId\":\"e\x7f\"," DATA "}", DEAD_BAD_ID, "byte 1 of \"eventId\""),
    POISON("{\"eventId\":\"e\\u0000\"," DATA "}", DEAD_BAD_JSON, "\\u0000"),
    POISON("{\"eventId\":\"\xd0\xb5-1\"," DATA "}", DEAD_BAD_ID, "byte 0 of \"eventId\""), /* a Cyrillic е */
    POISON("{\"eventId\":\"\\u0435-1\"," DATA "}", DEAD_BAD_ID, "byte 0 of \"eventId\""),
    POISON("{\"eventId\":\"\xef\xbd\x85-1\"," DATA "}", DEAD_BAD_ID, "byte 0 of \"eventId\""), /* a full-width e */
    POISON("{\"specversion\":\"1.0\",\"eventId\":\"e-1\",\"type\":\"t\"," DATA "}", DEAD_BAD_ID, "has no \"id\""),
    /* envelopes */
    POISON_ID("{" ID "," NAME "}", DEAD_BAD_ENVELOPE, "has no \"data\""),
    POISON_ID("{" ID ",\"data\":null}", DEAD_BAD_ENVELOPE, "\"data\" is not an object"),
    POISON_ID("{" ID ",\"data\":[]}", DEAD_BAD_ENVELOPE, "\"data\" is not an object"),
    POISON_ID("{" ID ",\"data\":\"{}\"}", DEAD_BAD_ENVELOPE, "\"data\" is not an object"),
    POISON_ID("{" ID ",\"eventName\":5," DATA "}", DEAD_BAD_ENVELOPE, "\"eventName\""),
    POISON_ID("{" ID ",\"eventName\":\"\"," DATA "}", DEAD_BAD_ENVELOPE, "\"eventName\""),
    POISON_ID("{" ID ",\"eventName\":null," DATA "}", DEAD_BAD_ENVELOPE, "\"eventName\""),
    POISON_ID("{" ID ",\"timestamp\":\"\"," DATA "}", DEAD_BAD_ENVELOPE, "\"timestamp\""),
    POISON_ID("{" ID ",\"timestamp\":\"yesterday, at noon, about\"," DATA "}", DEAD_BAD_ENVELOPE, "\"timestamp\""),
    POISON_ID("{" ID ",\"timestamp\":\"2025-02-29T00:00:00Z\"," DATA "}", DEAD_BAD_ENVELOPE, "\"timestamp\""),
    POISON_ID("{" ID ",\"timestamp\":1.5," DATA "}", DEAD_BAD_ENVELOPE, "\"timestamp\""),
    POISON_ID("{" ID ",\"timestamp\":1e3," DATA "}", DEAD_BAD_ENVELOPE, "\"timestamp\""),
    POISON_ID("{" ID ",\"timestamp\":9223372036854775808," DATA "}", DEAD_BAD_ENVELOPE, "\"timestamp\""),
    POISON_ID("{" ID ",\"timestamp\":253402300800000," DATA "}", DEAD_BAD_ENVELOPE, "\"timestamp\""),
    POISON_ID("{" ID ",\"timestamp\":true," DATA "}", DEAD_BAD_ENVELOPE, "\"timestamp\""),
    POISON_ID("{" ID ",\"timestamp\":{}," DATA "}", DEAD_BAD_ENVELOPE, "\"timestamp\""),
    /* CloudEvents: another version, no type, no JSON */
    POISON_ID("{\"specversion\":\"2.0\",\"id\":\"e-1\",\"type\":\"t\"," DATA "}", DEAD_BAD_ENVELOPE, "\"specversion\""),
    POISON_ID("{\"specversion\":1.0,\"id\":\"e-1\",\"type\":\"t\"," DATA "}", DEAD_BAD_ENVELOPE, "\"specversion\""),
    POISON("{\"specversion\":\"0.3\",\"type\":\"t\"," DATA "}", DEAD_BAD_ENVELOPE, "\"specversion\""),
    POISON_ID("{\"specversion\":\"1.0\",\"id\":\"e-1\"," DATA "}", DEAD_BAD_ENVELOPE, "has no \"type\""),
    POISON_ID("{\"specversion\":\"1.0\",\"id\":\"e-1\",\"type\":\"\"," DATA "}", DEAD_BAD_ENVELOPE, "\"type\""),
    POISON_ID("{\"specversion\":\"1.0\",\"id\":\"e-1\",\"type\":\"t\",\"time\":5.5," DATA "}", DEAD_BAD_ENVELOPE,
              "\"time\""),
    POISON_ID("{\"specversion\":\"1.0\",\"id\":\"e-1\",\"type\":\"t\",\"data_base64\":\"e30=\"}", DEAD_BAD_ENVELOPE,
              "has no \"data\""),
    POISON_ID("{\"specversion\":\"1.0\",\"id\":\"e-1\",\"type\":\"t\",\"datacontenttype\":\"text/xml\"," DATA "}",
              DEAD_BAD_ENVELOPE, "\"datacontenttype\""),
    POISON_ID("{\"specversion\":\"1.0\",\"id\":\"e-1\",\"type\":\"t\",\"datacontenttype\":\"json\"," DATA "}",
              DEAD_BAD_ENVELOPE, "\"datacontenttype\""),
    POISON_ID("{\"specversion\":\"1.0\",\"id\":\"e-1\",\"type\":\"t\",\"datacontenttype\":\"text/notjson\"," DATA "}",
              DEAD_BAD_ENVELOPE, "\"datacontenttype\""),
    POISON_ID("{\"specversion\":\"1.0\",\"id\":\"e-1\",\"type\":\"t\",\"datacontenttype\":7," DATA "}",
              DEAD_BAD_ENVELOPE, "\"datacontenttype\""),
};

static void assert_poison(const struct record *record, size_t max_size, struct arena *arena, enum dead_reason expected,
                          const char *says, bool id_known)
{
    struct event event, untouched;
    struct error error = {0};
    enum dead_reason reason = 0;
    memset(&event, 0x5a, sizeof event);
    memset(&untouched, 0x5a, sizeof untouched);
    int result = event_parse(record, max_size, arena, &event, &reason, &error);
    if (result != -EINVAL || reason != expected || strstr(error.text, says) == NULL || error.code != EINVAL)
        fail_msg("%.*s: %d, %s, \"%s\"; expected %s, \"%s\"",
                 (int)(record->value.length < 200 ? record->value.length : 200), record->value.at, result,
                 event_dead_word(reason), error.text, event_dead_word(expected), says);

    struct event_id id = event_id_of(SPAN("e-1"));
    assert_int_equal(memcmp(&event.id, &id, sizeof id) == 0, id_known);
    assert_memory_not_equal(&event.id, &untouched.id, sizeof id);
    assert_int_equal(event.payload_hash, span_hash(record->value));
    event.id = untouched.id;
    event.payload_hash = untouched.payload_hash;
    assert_memory_equal(&event, &untouched, sizeof event);
    /* Nobody has to want the sentence. */
    assert_int_equal(event_parse(record, max_size, arena, &event, &reason, NULL), -EINVAL);
    assert_int_equal(reason, expected);
}

static void test_poison(void **state)
{
    for (size_t i = 0; i < sizeof poisons / sizeof poisons[0]; i++) {
        struct record record = record_of(poisons[i].value);
        assert_poison(&record, 1000, *state, poisons[i].reason, poisons[i].says, poisons[i].id_known);
    }
}

/* Too large is known before anything is read: the bytes need not even be JSON. */
static void test_size(void **state)
{
    struct record record = record_of(SPAN("{" ID "," DATA "}"));
    struct event event;
    enum dead_reason reason;
    assert_int_equal(event_parse(&record, record.value.length, *state, &event, &reason, NULL), 0);
    assert_poison(&record, record.value.length - 1, *state, DEAD_TOO_LARGE, "39 bytes; the most is 38", false);

    size_t size = VALUE_MAX + 1;
    char *large = malloc(size);
    assert_non_null(large);
    memset(large, '{', size);
    record.value = (struct span){large, size};
    assert_poison(&record, VALUE_MAX, *state, DEAD_TOO_LARGE, "1048577 bytes", false);

    /* A name of nearly a mebibyte is within the size and is read. */
    int head = snprintf(large, size, "{" ID "," DATA ",\"");
    memset(large + head, 'k', size - 1 - (size_t)head);
    memcpy(large + size - 6, "\":1}", 4);
    record.value.length = size - 2;
    assert_int_equal(event_parse(&record, VALUE_MAX, *state, &event, &reason, NULL), 0);

    /* An id of 10 KB is within the size as well, and no id. */
    for (size_t length = 127; length <= 10240; length = length == 129 ? 10240 : length + 1) {
        head = snprintf(large, size, "{\"eventId\":\"");
        memset(large + head, 'i', length);
        strcpy(large + (size_t)head + length, "\"," DATA "}");
        record.value = span_of(large);
        if (length <= EVENT_ID_MAX) {
            assert_int_equal(event_parse(&record, VALUE_MAX, *state, &event, &reason, NULL), 0);
            assert_int_equal(event.id_text.length, length);
        } else {
            assert_poison(&record, VALUE_MAX, *state, DEAD_BAD_ID, "an id has 1 to 128", false);
        }
    }
    free(large);
}

static void test_depth_and_members(void **state)
{
    struct buffer value;
    buffer_init(&value, 1 << 20);
    struct event event;
    enum dead_reason reason;
    /* "data" is the second level. */
    for (int depth = 64; depth <= 65; depth++) {
        buffer_clear(&value);
        buffer_text(&value, "{" ID ",\"data\":{\"a\":");
        for (int i = 2; i < depth; i++)
            buffer_byte(&value, '[');
        for (int i = 2; i < depth; i++)
            buffer_byte(&value, ']');
        buffer_text(&value, "}}");
        struct record record = record_of(buffer_view(&value));
        if (depth == 64)
            assert_int_equal(event_parse(&record, VALUE_MAX, *state, &event, &reason, NULL), 0);
        else
            assert_poison(&record, VALUE_MAX, *state, DEAD_TOO_DEEP, "more than 64 deep", false);
    }
    for (int members = JSON_MEMBERS_MAX; members <= JSON_MEMBERS_MAX + 1; members++) {
        buffer_clear(&value);
        buffer_text(&value, "{" ID ",\"data\":{\"a\":1");
        for (int i = 3; i < members; i++)
            buffer_format(&value, ",\"k%d\":1", i);
        buffer_text(&value, "}}");
        struct record record = record_of(buffer_view(&value));
        if (members == JSON_MEMBERS_MAX)
            assert_int_equal(event_parse(&record, VALUE_MAX, *state, &event, &reason, NULL), 0);
        else
            assert_poison(&record, VALUE_MAX, *state, DEAD_TOO_LARGE, "more than 10000 members", false);
    }
    buffer_free(&value);
}

/* key NULL, empty, binary with NUL, 1 MiB */
static void test_keys(void **state)
{
    static char large[1 << 20];
    static const struct {
        struct span key;
        bool fine;
    } rows[] = {{{NULL, 0}, true},
                {SPAN(""), true},
                {SPAN("a\0b\xff"), true},
                {{large, EVENT_KEY_MAX}, true},
                {{large, EVENT_KEY_MAX + 1}, false},
                {{large, sizeof large}, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct record record = record_of(SPAN("{" ID "," DATA "}"));
        struct event event;
        enum dead_reason reason;
        record.key = rows[i].key;
        if (rows[i].fine)
            assert_int_equal(event_parse(&record, 1000, *state, &event, &reason, NULL), 0);
        else
            assert_poison(&record, 1000, *state, DEAD_TOO_LARGE, "key has", false);
    }
}

/* headers 10 000, duplicate names, invalid UTF-8 */
static void test_header_limits(void **state)
{
    static struct header headers[10000];
    struct record record = record_of(SPAN("{" ID "," DATA "}"));
    struct event event;
    enum dead_reason reason;
    record.headers = headers;
    for (size_t i = 0; i < 10000; i++)
        headers[i] = (struct header){SPAN("x\xff"), SPAN("\0\xff")};
    record.header_count = EVENT_HEADERS_MAX;
    assert_int_equal(event_parse(&record, 1000, *state, &event, &reason, NULL), 0);
    record.header_count = EVENT_HEADERS_MAX + 1;
    assert_poison(&record, 1000, *state, DEAD_TOO_LARGE, "65 headers", false);
    record.header_count = 10000;
    assert_poison(&record, 1000, *state, DEAD_TOO_LARGE, "10000 headers", false);
    /* What the engine adds on the way is not held against the event. */
    record.header_count = EVENT_HEADERS_MAX + 4;
    headers[0].name = SPAN(HEADER_PARENT);
    headers[1].name = SPAN(HEADER_DLT_TOPIC);
    headers[2].name = SPAN(HEADER_ATTEMPTS);
    assert_poison(&record, 1000, *state, DEAD_TOO_LARGE, "68 headers", false);
    headers[3].name = SPAN(HEADER_TRACEPARENT);
    assert_int_equal(event_parse(&record, 1000, *state, &event, &reason, NULL), 0);
}

/* not_before past / far future / text / negative; hops 10^9, garbage, negative */
static void test_header_numbers(void **state)
{
    static const struct {
        const char *name;
        struct span value;
        int64_t number; /* -1: poison */
    } rows[] = {
        {HEADER_HOPS, SPAN("0"), 0},
        {HEADER_HOPS, SPAN("007"), 7},
        {HEADER_HOPS, SPAN("1000000000"), 1000000000},
        {HEADER_HOPS, SPAN("1000000001"), 1000000000},
        {HEADER_HOPS, SPAN("99999999999999999999999999"), 1000000000},
        {HEADER_HOPS, SPAN(""), -1},
        {HEADER_HOPS, SPAN("-1"), -1},
        {HEADER_HOPS, SPAN("-99999999999999999999999999"), -1},
        {HEADER_HOPS, SPAN("+1"), -1},
        {HEADER_HOPS, SPAN(" 1"), -1},
        {HEADER_HOPS, SPAN("1 "), -1},
        {HEADER_HOPS, SPAN("1.0"), -1},
        {HEADER_HOPS, SPAN("many"), -1},
        {HEADER_HOPS, SPAN("1\0"), -1},
        {HEADER_NOT_BEFORE, SPAN("0"), 0},
        {HEADER_NOT_BEFORE, SPAN("1"), 1},
        {HEADER_NOT_BEFORE, SPAN("1700000000000"), 1700000000000},
        {HEADER_NOT_BEFORE, SPAN("9223372036854775807"), 253402300799999},
        {HEADER_NOT_BEFORE, SPAN("99999999999999999999999999"), 253402300799999},
        {HEADER_NOT_BEFORE, SPAN("-1"), -1},
        {HEADER_NOT_BEFORE, SPAN(""), -1},
        {HEADER_NOT_BEFORE, SPAN("tomorrow"), -1},
        {HEADER_NOT_BEFORE, SPAN("2025-01-02T03:04:05Z"), -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct header header = {span_of(rows[i].name), rows[i].value};
        struct record record = record_of(SPAN("{" ID "," DATA "}"));
        record.headers = &header;
        record.header_count = 1;
        if (rows[i].number < 0) {
            assert_poison(&record, 1000, *state, DEAD_BAD_ENVELOPE, rows[i].name, true);
            continue;
        }
        struct event event;
        enum dead_reason reason;
        assert_int_equal(event_parse(&record, 1000, *state, &event, &reason, NULL), 0);
        assert_int_equal(strcmp(rows[i].name, HEADER_HOPS) == 0 ? event.hops : event.not_before_ms, rows[i].number);
    }
}

/* The id of a record that has none: the same for the same bytes, another as soon as anything differs. */
static struct event_id poison_id(struct record record, struct arena *arena)
{
    struct event event;
    enum dead_reason reason;
    assert_int_equal(event_parse(&record, 1000, arena, &event, &reason, NULL), -EINVAL);
    return event.id;
}

static void test_poison_id(void **state)
{
    struct record records[6];
    for (size_t i = 0; i < 6; i++)
        records[i] = record_of(SPAN("{]"));
    records[1].topic = SPAN("payment.tr");
    records[2].key = SPAN("u-2");
    records[3].value = SPAN("{}}");
    records[4].timestamp_ms++;
    records[5].topic = SPAN("payment.tryu");
    records[5].key = SPAN("-1"); /* the same bytes cut elsewhere */
    for (size_t i = 0; i < 6; i++) {
        struct event_id id = poison_id(records[i], *state), again = poison_id(records[i], *state);
        assert_memory_equal(&id, &again, sizeof id);
        for (size_t j = 0; j < i; j++) {
            again = poison_id(records[j], *state);
            assert_memory_not_equal(&id, &again, sizeof id);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_depth_and_members),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_header_limits),
        cmocka_unit_test(test_header_numbers),
        cmocka_unit_test(test_poison_id),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
