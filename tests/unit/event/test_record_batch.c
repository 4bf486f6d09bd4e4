/*
 * test_record_batch.c - records packed and read again, the layout byte by byte, and bytes that are no batch.
 */
#include "check.h"

#include "event/record_batch.h"

static int setup(void **state)
{
    *state = arena_create(64 * 1024, 256 * 1024 * 1024);
    return *state == NULL;
}

static int teardown(void **state)
{
    arena_destroy(*state);
    return 0;
}

/* The layout is stored in databases: these bytes must stay readable for ever. */
static const char golden[] = "\x00\x01\x00\x02"
                             "\x00\x00\x01\x02\x03\x04\x05\x06"
                             "\x01t"
                             "\x00\x02k\x00"
                             "\x03\x01h\x00\x02v\xff\x00\x00\x00\x01n\xff\xff"
                             "\x00\x00\x00\x02{}"
                             "\xff\xff\xff\xff\xff\xff\xff\xff"
                             "\x00"
                             "\xff\xff"
                             "\x00"
                             "\x00\x00\x00\x00";

static struct header golden_headers[] = {{SPAN("h"), SPAN("v\xff")}, {SPAN(""), SPAN("")}, {SPAN("n"), {NULL, 0}}};
static const struct record golden_records[] = {
    {.topic = {"t", 1},
     .key = {"k\0", 2},
     .value = {"{}", 2},
     .headers = golden_headers,
     .header_count = 3,
     .timestamp_ms = 0x010203040506},
    {.timestamp_ms = -1},
};

static void test_layout(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, 10000);
    buffer_text(&out, "xyz");
    size_t begin = out.length;
    record_batch_begin(&out);
    for (size_t i = 0; i < 2; i++) {
        size_t before = out.length;
        record_batch_append(&out, begin, &golden_records[i]);
        assert_int_equal(out.length - before, record_size(&golden_records[i]));
    }
    assert_true(
        span_equal((struct span){out.at + begin, out.length - begin}, ((struct span){golden, sizeof golden - 1})));
    buffer_free(&out);
}

static void assert_same(const struct record *a, const struct record *b)
{
    assert_true(span_equal(a->topic, b->topic));
    assert_true(span_equal(a->key, b->key));
    assert_int_equal(a->key.at == NULL, b->key.at == NULL);
    assert_true(span_equal(a->value, b->value));
    assert_int_equal(a->timestamp_ms, b->timestamp_ms);
    assert_int_equal(a->header_count, b->header_count);
    for (size_t i = 0; i < a->header_count; i++) {
        assert_true(span_equal(a->headers[i].name, b->headers[i].name));
        assert_true(span_equal(a->headers[i].value, b->headers[i].value));
        assert_int_equal(a->headers[i].value.at == NULL, b->headers[i].value.at == NULL);
    }
}

static void test_read(void **state)
{
    struct record *records;
    size_t count;
    assert_int_equal(record_batch_read(((struct span){golden, sizeof golden - 1}), *state, &records, &count, NULL), 0);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_same(&records[i], &golden_records[i]);
    assert_int_equal(record_batch_read(SPAN("\0\1\0\0"), *state, &records, &count, NULL), 0);
    assert_int_equal(count, 0);

    /* An empty key is a key; none is none. */
    struct record empty = {.key = SPAN("")};
    struct buffer out;
    buffer_init(&out, 1000);
    record_batch_begin(&out);
    record_batch_append(&out, 0, &empty);
    assert_int_equal(record_batch_read(buffer_view(&out), *state, &records, &count, NULL), 0);
    assert_non_null(records[0].key.at);
    assert_int_equal(records[0].key.length, 0);
    buffer_free(&out);
}

/* Every length at its largest, and one more. */
static void test_limits(void **state)
{
    static char bytes[70000];
    static struct header headers[300];
    struct buffer out;
    struct record *records;
    size_t count;
    memset(bytes, 'b', sizeof bytes);
    for (size_t i = 0; i < 300; i++)
        headers[i] = (struct header){{bytes, i == 0 ? 255 : 1}, {bytes, i == 0 ? 65534 : 0}};
    struct record largest = {.topic = {bytes, 255},
                             .key = {bytes, 65534},
                             .headers = headers,
                             .header_count = 255,
                             .value = {bytes, sizeof bytes}};
    buffer_init(&out, 1 << 20);
    record_batch_begin(&out);
    record_batch_append(&out, 0, &largest);
    assert_false(out.failed);
    assert_int_equal(record_batch_read(buffer_view(&out), *state, &records, &count, NULL), 0);
    assert_same(&records[0], &largest);

    struct record rows[5] = {largest, largest, largest, largest, largest};
    struct header longer[2] = {{{bytes, 256}, {bytes, 1}}, {{bytes, 1}, {bytes, 65535}}};
    rows[0].topic.length = 256;
    rows[1].key.length = 65535;
    rows[2].header_count = 256;
    rows[3].headers = &longer[0];
    rows[4].headers = &longer[1];
    rows[3].header_count = rows[4].header_count = 1;
    for (size_t i = 0; i < 5; i++) {
        buffer_clear(&out);
        record_batch_begin(&out);
        record_batch_append(&out, 0, &rows[i]);
        assert_true(out.failed);
        assert_int_equal(out.length, 4);
    }
    buffer_free(&out);
}

/* A record that does not fit the buffer leaves the batch as it was. */
static void test_full_buffer(void **state)
{
    struct buffer out;
    struct record *records;
    size_t count;
    buffer_init(&out, 4 + record_size(&golden_records[0]) + record_size(&golden_records[1]) - 1);
    record_batch_begin(&out);
    record_batch_append(&out, 0, &golden_records[0]);
    record_batch_append(&out, 0, &golden_records[1]);
    assert_true(out.failed);
    assert_int_equal(record_batch_read(buffer_view(&out), *state, &records, &count, NULL), 0);
    assert_int_equal(count, 1);
    buffer_free(&out);
}

static void test_count_max(void **state)
{
    struct buffer out;
    struct record *records;
    size_t count;
    buffer_init(&out, 64 << 20);
    record_batch_begin(&out);
    for (size_t i = 0; i < RECORD_BATCH_COUNT_MAX; i++) {
        struct record record = {.timestamp_ms = (int64_t)i};
        record_batch_append(&out, 0, &record);
    }
    assert_false(out.failed);
    assert_int_equal(record_batch_read(buffer_view(&out), *state, &records, &count, NULL), 0);
    assert_int_equal(count, RECORD_BATCH_COUNT_MAX);
    assert_int_equal(records[65534].timestamp_ms, 65534);
    record_batch_append(&out, 0, &golden_records[1]);
    assert_true(out.failed);
    buffer_free(&out);
}

static void assert_bad(struct span bytes, struct arena *arena, const char *says)
{
    char *copy = malloc(bytes.length + (bytes.length == 0));
    assert_non_null(copy);
    if (bytes.length > 0)
        memcpy(copy, bytes.at, bytes.length);
    struct record *records = NULL;
    size_t count = 77;
    struct error error = {0};
    assert_int_equal(record_batch_read((struct span){copy, bytes.length}, arena, &records, &count, &error), -EBADMSG);
    assert_null(records);
    assert_int_equal(count, 77);
    if (says != NULL && strstr(error.text, says) == NULL)
        fail_msg("%s", error.text);
    free(copy);
}

static void test_bad(void **state)
{
    assert_bad((struct span){NULL, 0}, *state, "not a batch");
    assert_bad(SPAN("\0\0\0\0"), *state, "version 1 was expected");
    assert_bad(SPAN("\0\2\0\0"), *state, "version 1 was expected");
    assert_bad(SPAN("\0\1\0\0x"), *state, "1 bytes too much");
    assert_bad(SPAN("\0\1\xff\xff"), *state, "cannot hold 65535 records");
    /* Torn anywhere; and with any one length changed it is torn, too long or other bytes, but never read past. */
    for (size_t length = 0; length < sizeof golden - 1; length++)
        assert_bad((struct span){golden, length}, *state, NULL);
    for (size_t at = 0; at < sizeof golden - 1; at++) {
        for (int bit = 0; bit < 8; bit++) {
            char *copy = malloc(sizeof golden - 1);
            assert_non_null(copy);
            memcpy(copy, golden, sizeof golden - 1);
            copy[at] = (char)(copy[at] ^ 1 << bit);
            struct record *records;
            size_t count;
            int result = record_batch_read((struct span){copy, sizeof golden - 1}, *state, &records, &count, NULL);
            assert_true(result == 0 || result == -EBADMSG);
            free(copy);
        }
    }
    /* A few bytes do not ask for megabytes. */
    struct arena *small = arena_create(256, 1000);
    assert_bad(SPAN("\0\1\xff\xff 16 bytes and more of it"), small, "torn");
    arena_destroy(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),      cmocka_unit_test(test_read),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_full_buffer), cmocka_unit_test(test_count_max), cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
