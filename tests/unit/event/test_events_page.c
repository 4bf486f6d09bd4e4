/*
 * test_events_page.c - docs/events.md by its word: its examples are read, what it shows as emitted is what is
 * emitted, and its tables name every reason and limit.
 */
#include "check.h"

#include "event/event.h"

enum { VALUE_MAX = 1024 * 1024 };

#define PAGE "docs/events.md"
#define PARENT "0199c1a2-7b3c-7d4e-9f50-123456789abc"

struct page {
    struct arena *arena;
    char *text;
};

static int setup(void **state)
{
    static struct page page;
    FILE *file = fopen(PAGE, "r");
    if (file == NULL)
        return -1;
    page.arena = arena_create(64 * 1024, 64 * 1024 * 1024);
    page.text = arena_alloc(page.arena, 1 << 20);
    size_t length = fread(page.text, 1, (1 << 20) - 1, file);
    fclose(file);
    *state = &page;
    return length == 0;
}

static int teardown(void **state)
{
    arena_destroy(((struct page *)*state)->arena);
    return 0;
}

/* What stands between the fence that *at is behind of and the next one; false at the end of the page. */
static bool next_block(const char **at, bool *ret_headers, struct span *ret)
{
    const char *json = strstr(*at, "\n```json\n"), *text = strstr(*at, "\n```text\n");
    *ret_headers = json == NULL || (text != NULL && text < json);
    const char *begin = *ret_headers ? text : json;
    if (begin == NULL)
        return false;
    begin += strlen("\n```json\n");
    const char *end = strstr(begin, "\n```\n");
    assert_non_null(end);
    *ret = (struct span){begin, (size_t)(end - begin)};
    *at = end + 1;
    return true;
}

/* A block as a record: lines `name: value` up to an empty one, then the value. */
static struct record record_of(struct page *page, struct span block, bool headers)
{
    struct record record = {.topic = SPAN("t"), .headers = arena_array(page->arena, struct header, 16)};
    while (headers && block.at[0] != '\n') {
        const char *colon = memchr(block.at, ':', block.length), *end = memchr(block.at, '\n', block.length);
        assert_true(colon != NULL && end != NULL && colon < end && record.header_count < 16);
        record.headers[record.header_count++] = (struct header){{block.at, (size_t)(colon - block.at)},
                                                                {colon + 2, (size_t)(end - colon - 2)}};
        block.length -= (size_t)(end + 1 - block.at);
        block.at = end + 1;
    }
    record.value = headers ? (struct span){block.at + 1, block.length - 1} : block;
    return record;
}

static struct event example(struct page *page, size_t index)
{
    const char *at = page->text;
    struct span block;
    bool headers;
    for (size_t i = 0; next_block(&at, &headers, &block); i++) {
        if (i < index)
            continue;
        struct record *record = arena_new(page->arena, struct record);
        struct event event;
        enum dead_reason reason;
        struct error error = {0};
        *record = record_of(page, block, headers);
        if (event_parse(record, VALUE_MAX, page->arena, &event, &reason, &error) != 0)
            fail_msg(PAGE ", example %zu: %s", index + 1, error.text);
        return event;
    }
    fail_msg(PAGE " has no example %zu", index + 1);
    return (struct event){0};
}

enum { OWN, STRUCTURED, BINARY, EMITTED, EMITTED_STRUCTURED, EMITTED_BINARY, EXAMPLES };

/* The three forms say the same event. */
static void test_forms(void **state)
{
    struct page *page = *state;
    struct event own = example(page, OWN);
    for (size_t i = OWN; i <= BINARY; i++) {
        struct event event = example(page, i);
        assert_true(span_is(event.id_text, PARENT));
        assert_true(span_is(event.name, "payment.try"));
        assert_int_equal(event.timestamp_ms, own.timestamp_ms);
        assert_true(span_equal(event.data.text, own.data.text));
        assert_int_equal(event.cloudevent, i != OWN);
        assert_int_equal(event.binary, i == BINARY);
    }
    const char *at = page->text;
    struct span block;
    bool headers;
    size_t count = 0;
    while (next_block(&at, &headers, &block))
        count++;
    assert_int_equal(count, EXAMPLES); /* and example() reads all of them below and above */
}

/* What the page shows is, byte for byte, what is emitted from the examples. */
static void test_emitted(void **state)
{
    struct page *page = *state;
    struct event binary = example(page, BINARY);
    char id[37], trace[TRACEPARENT_TEXT + 1];
    event_id_derive(binary.id_text, SPAN("payment.charge"), SPAN("success"), 0, id);
    assert_true(traceparent_derive(record_header(binary.record, HEADER_TRACEPARENT), span_of(id), trace));
    for (size_t i = EMITTED; i <= EMITTED_BINARY; i++) {
        struct event event = example(page, i);
        enum event_format format = (enum event_format)(i - EMITTED);
        struct header headers[FORMAT_HEADERS_MAX];
        struct buffer out;
        size_t count = event_headers(format, span_of(id), SPAN("payment.success"), event.timestamp_ms, page->arena,
                                     headers);
        for (size_t h = 0; h < count; h++)
            if (!span_equal(record_header(event.record, headers[h].name.at), headers[h].value))
                fail_msg(PAGE ", example %zu has not the header %s: %.*s", i + 1, headers[h].name.at,
                         (int)headers[h].value.length, headers[h].value.at);
        buffer_init(&out, 4096);
        event_compose(&out, span_of(id), SPAN("payment.success"), event.timestamp_ms, format, &binary.data, NULL, 0);
        buffer_byte(&out, '\0');
        if (!span_is(event.record->value, out.at))
            fail_msg(PAGE ", example %zu is not what is emitted:\n%s", i + 1, out.at);
        buffer_free(&out);
    }
    for (size_t i = EMITTED_STRUCTURED; i <= EMITTED_BINARY; i++) {
        struct event emitted = example(page, i);
        if (!span_is(record_header(emitted.record, HEADER_TRACEPARENT), trace))
            fail_msg(PAGE ": the traceparent emitted is %s", trace);
        assert_int_equal(emitted.binary, i == EMITTED_BINARY);
        assert_true(span_is(record_header(emitted.record, HEADER_PARENT), PARENT));
        assert_int_equal(emitted.hops, 1);
    }
}

/* Every reason has its row; a row's example is refused for it. */
static void test_reasons(void **state)
{
    struct page *page = *state;
    for (int i = 1; i < DEAD_REASON_COUNT; i++) {
        const char *word = event_dead_word((enum dead_reason)i);
        const char *row = strstr(page->text, arena_format(page->arena, "\n| `%s` | ", word));
        if (row == NULL)
            fail_msg(PAGE " has no row for the reason %s", word);
        const char *end = strchr(row + 1, '\n'), *example = NULL;
        for (const char *at = row; (at = strstr(at, " | `")) != NULL && at < end; at++)
            example = at + strlen(" | `");
        if (example == NULL)
            continue;
        struct record record = {.topic = SPAN("t"), .value = {example, (size_t)(strchr(example, '`') - example)}};
        struct event event;
        enum dead_reason reason = 0;
        assert_int_equal(event_parse(&record, VALUE_MAX, page->arena, &event, &reason, NULL), -EINVAL);
        assert_string_equal(event_dead_word(reason), word);
    }
}

static void test_names_and_limits(void **state)
{
    struct page *page = *state;
    static const char *const names[] = {
        HEADER_TRACEPARENT,   HEADER_TRACESTATE, HEADER_CONTENT_TYPE, HEADER_HOPS,        HEADER_CORRELATION,
        HEADER_NOT_BEFORE,    HEADER_PARENT,     HEADER_DLT_TOPIC,    HEADER_DLT_OFFSET,  HEADER_DLT_PARTITION,
        HEADER_DLT_TIMESTAMP, HEADER_DLT_REASON, HEADER_DLT_CODE,     HEADER_DLT_HANDLER, HEADER_ATTEMPTS};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strstr(page->text, arena_format(page->arena, "| `%s`", names[i])) == NULL &&
            strstr(page->text, arena_format(page->arena, ", `%s` |", names[i])) == NULL)
            fail_msg(PAGE " has no row for the header %s", names[i]);
    static const struct {
        const char *what;
        int most;
    } limits[] = {{"| key | %d bytes |", EVENT_KEY_MAX},
                  {"| id | %d bytes |", EVENT_ID_MAX},
                  {" do not count | %d |", EVENT_HEADERS_MAX},
                  {"binary mode | %d bytes |", EVENT_ATTRIBUTES_MAX},
                  {"the envelope | %d |", JSON_DEPTH_MAX},
                  {"of an event | %d |", JSON_MEMBERS_MAX},
                  {"| 1 to %d bytes of printable ASCII |", TRACESTATE_MAX}};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        char text[200];
        const char *mark = strstr(limits[i].what, "%d");
        snprintf(text, sizeof text, "%.*s%d%s", (int)(mark - limits[i].what), limits[i].what, limits[i].most, mark + 2);
        if (strstr(page->text, text) == NULL)
            fail_msg(PAGE " does not say \"%s\"", text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_emitted),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_names_and_limits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
