/*
 * bus_harness.h - what the bus suites share: opening a bus, publishing, and readers that remember what they got.
 *
 * The suites are cmocka programs that tests/process/test_bus.py runs. Nothing sleeps for a fixed time: everything is
 * polled for, with a bound. Every test uses topics and groups of its own, so that tests can share a log.
 */
#ifndef TESTS_BUS_HARNESS_H
#define TESTS_BUS_HARNESS_H

#include "bus_check.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "bus/open.h"
#include "store/store.h"

enum { PARTITIONS = 8, STREAMS = 2 * PARTITIONS /* of a reader: kafka has one for each topic-partition */ };
#define WAIT_MS wait_ms()
static inline int64_t wait_ms(void) /* BUS_WAIT_MS: less, when a planted mistake is expected to make it end */
{
    const char *text = getenv("BUS_WAIT_MS");
    return text == NULL ? 20000 : atoi(text);
}

struct harness {
    const char *kind, *url, *self;
    struct metrics *metrics;
    struct store *store; /* postgres */
    struct bus *bus;
    struct bus_property properties[2]; /* kafka: its servers, and BUS_PROPERTY=NAME=VALUE */
    char property[128];
    struct bus_topic topics[2]; /* kafka: what patterns are matched with */
    size_t topic_count;
};

static inline struct bus *harness_bus(struct harness *harness, int64_t retention_ms)
{
    struct bus_options options = {.name = "suite",
                                  .partitions = PARTITIONS,
                                  .retention_ms = retention_ms,
                                  .store = harness->store,
                                  .properties = harness->properties,
                                  .property_count = 1,
                                  .topics = harness->topics,
                                  .topic_count = harness->topic_count,
                                  .max_event_size = 1024 * 1024};
    const char *more = getenv("BUS_PROPERTY");
    harness->properties[0] = (struct bus_property){"bootstrap.servers", harness->url};
    if (more != NULL) {
        snprintf(harness->property, sizeof harness->property, "%s", more);
        char *value = strchr(harness->property, '=');
        *value = '\0';
        harness->properties[options.property_count++] = (struct bus_property){harness->property, value + 1};
    }
    struct error error = {0};
    struct bus *bus = NULL;
    int result = strcmp(harness->kind, "memory") == 0  ? bus_memory_open(&options, &bus, &error)
                 : strcmp(harness->kind, "kafka") == 0 ? bus_kafka_open(&options, &bus, &error)
                                                       : bus_postgres_open(&options, &bus, &error);
    CHECK(result == 0, "%s (%s)", error.text, error.hint);
    return bus;
}

static inline void harness_open(struct harness *harness)
{
    harness->metrics = metrics_create();
    if (strcmp(harness->kind, "postgres") == 0) {
        struct store_options options = {.url = harness->url,
                                        .application = "bus-suite",
                                        .connect_timeout_ms = 5000,
                                        .statement_timeout_ms = 20000,
                                        .allow_unsafe = true,
                                        .metrics = harness->metrics};
        struct error error = {0};
        CHECK(store_open(&options, &harness->store, &error) == 0, "%s", error.text);
    }
    harness->bus = harness_bus(harness, 3600 * 1000);
}

static inline void harness_close(struct harness *harness)
{
    bus_close(harness->bus);
    store_close(harness->store);
    metrics_destroy(harness->metrics);
}

/* A name no other test or run uses. */
static inline const char *name_of(const char *test, const char *what)
{
    static _Thread_local char names[8][96];
    static _Thread_local unsigned next;
    char *name = names[next++ % 8];
    snprintf(name, sizeof names[0], "%s.%s.%d", test, what, (int)getpid());
    return name;
}

static inline void topic_made(const struct bus_finding *finding, void *context)
{
    (void)context;
    CHECK(finding->kind == BUS_FINDING_MADE, "%s", finding->text);
}

/* The topics of the harness are there, and its bus knows them. */
static inline void harness_topics(struct harness *harness)
{
    struct error error = {0};
    if (harness->bus->kind->topics == NULL)
        return;
    bus_close(harness->bus);
    harness->bus = harness_bus(harness, 3600 * 1000);
    CHECK(bus_topics(harness->bus, true, topic_made, NULL, &error) == 0, "%s", error.text);
}

/* A topic that is there and that no other test or run uses. */
static inline const char *topic_of(struct harness *harness, const char *test)
{
    const char *name = name_of(test, "topic");
    harness->topics[0] = (struct bus_topic){.name = name};
    harness->topic_count = 1;
    harness_topics(harness);
    return name;
}

/* ------------------------------------------------------------------------------------------------------- publishing */

/* Milliseconds, each later than the last: partitions without a common order are merged by time. */
static inline int64_t next_time(void)
{
    static int64_t last;
    int64_t now = clock_wall_ms(), before = __atomic_load_n(&last, __ATOMIC_SEQ_CST), next;
    do
        next = now > before ? now : before + 1;
    while (!__atomic_compare_exchange_n(&last, &before, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    return next;
}

/* `count` records of a key with the values KEY:FROM, KEY:FROM+1, … */
static inline int publish_try(struct bus *bus, const char *topic, const char *key, int from, int count,
                              struct error *error)
{
    struct record *records = calloc((size_t)count, sizeof *records);
    char(*values)[64] = calloc((size_t)count, sizeof *values);
    for (int i = 0; i < count; i++) {
        snprintf(values[i], sizeof values[i], "%s:%d", key, from + i);
        records[i] = (struct record){
            .topic = span_of(topic), .key = span_of(key), .value = span_of(values[i]), .timestamp_ms = next_time()};
    }
    size_t failed = 0;
    int result = bus_publish(bus, records, (size_t)count, clock_monotonic_ms() + 5000, &failed, error);
    free(records);
    free(values);
    return result;
}

static inline void publish(struct bus *bus, const char *topic, const char *key, int from, int count)
{
    struct error error = {0};
    CHECK(publish_try(bus, topic, key, from, count, &error) == 0, "%s", error.text);
}

/* The same, five at a time, from a thread. */
struct publisher {
    pthread_t thread;
    struct bus *bus;
    const char *topic;
    char key[24];
    int count;
};

static inline void *publisher_run(void *context)
{
    struct publisher *publisher = context;
    for (int i = 0; i < publisher->count; i += 5)
        publish(publisher->bus, publisher->topic, publisher->key, i, 5);
    return NULL;
}

/* ---------------------------------------------------------------------------------------------------------- reading */

struct got {
    char key[32];
    int number;
    uint32_t stream, epoch;
    struct position position;
};

struct reader {
    struct bus *bus;
    struct bus_consumer *consumer;
    struct got *got;
    size_t count, size;
    size_t largest; /* records of one poll */
    bool assigned[STREAMS];
    uint32_t epochs[STREAMS];
    struct position last[STREAMS]; /* delivered; high UINT64_MAX: nothing yet */
    bool commits;                  /* after each delivery, and before revoked() */
    bool keeps_revoked;            /* does not call revoked() */
    int assignments, revocations, losses, faults;
};

static inline struct reader reader_open_limited(struct bus *bus, const char *group, const char *topic,
                                                uint32_t poll_records)
{
    struct reader reader = {.bus = bus};
    const char *topics[] = {topic};
    struct bus_subscription subscription = {
        .group = group, .topics = topics, .topic_count = 1, .poll_records = poll_records, .poll_bytes = 1024 * 1024};
    struct error error = {0};
    CHECK(bus_subscribe(bus, &subscription, &reader.consumer, &error) == 0, "%s", error.text);
    for (int p = 0; p < STREAMS; p++)
        reader.last[p].high = UINT64_MAX;
    return reader;
}

static inline struct reader reader_open(struct bus *bus, const char *group, const char *topic)
{
    return reader_open_limited(bus, group, topic, 500);
}

static inline void reader_close(struct reader *reader)
{
    bus_unsubscribe(reader->bus, reader->consumer);
    free(reader->got);
    *reader = (struct reader){0};
}

static inline void reader_take(struct reader *reader, const struct bus_record *record)
{
    if (reader->count == reader->size) {
        reader->size = reader->size == 0 ? 1024 : reader->size * 2;
        reader->got = reallocarray(reader->got, reader->size, sizeof *reader->got);
    }
    struct got *got = &reader->got[reader->count++];
    *got = (struct got){.stream = record->stream, .epoch = record->epoch, .position = record->position};
    const struct span value = record->record.value;
    const char *colon = memchr(value.at, ':', value.length);
    if (colon != NULL && (size_t)(colon - value.at) < sizeof got->key) {
        char number[16] = "";
        memcpy(got->key, value.at, (size_t)(colon - value.at));
        size_t digits = value.length - (size_t)(colon + 1 - value.at);
        memcpy(number, colon + 1, digits < sizeof number - 1 ? digits : sizeof number - 1);
        got->number = atoi(number);
    }
    CHECK(reader->assigned[record->stream], "a record came for stream %u, which is not assigned", record->stream);
    CHECK(record->epoch == reader->epochs[record->stream], "a record of stream %u has epoch %u instead of %u",
          record->stream, record->epoch, reader->epochs[record->stream]);
    CHECK(reader->last[record->stream].high == UINT64_MAX ||
              position_compare(record->position, reader->last[record->stream]) > 0,
          "positions of stream %u do not rise", record->stream);
    reader->last[record->stream] = record->position;
    bus_chunk_release(record->chunk, 1);
}

/* Commits all that was delivered. */
static inline int reader_commit(struct reader *reader)
{
    uint32_t streams[STREAMS], epochs[STREAMS];
    struct position positions[STREAMS];
    size_t count = 0;
    for (uint32_t p = 0; p < STREAMS; p++) {
        if (!reader->assigned[p] || reader->last[p].high == UINT64_MAX)
            continue;
        streams[count] = p;
        epochs[count] = reader->epochs[p];
        positions[count++] = reader->last[p];
    }
    struct error error = {0};
    return bus_commit(reader->bus, reader->consumer, count, streams, epochs, positions, &error);
}

/* One poll. Returns the kind of what came, 0 for nothing. */
static inline int reader_poll(struct reader *reader, int timeout_ms)
{
    struct bus_event event;
    struct error error = {0};
    int result = bus_poll(reader->bus, reader->consumer, timeout_ms, &event, &error);
    if (result == -EAGAIN)
        return 0;
    CHECK(result == 0, "poll gave %d: %s", result, error.text);
    switch (event.kind) {
    case BUS_RECORDS:
        reader->largest = event.record_count > reader->largest ? event.record_count : reader->largest;
        for (size_t i = 0; i < event.record_count; i++)
            reader_take(reader, &event.records[i]);
        if (reader->commits)
            (void)reader_commit(reader);
        break;
    case BUS_ASSIGNED:
        reader->assignments++;
        for (size_t i = 0; i < event.stream_count; i++) {
            CHECK(!reader->assigned[event.streams[i]], "stream %u was assigned twice", event.streams[i]);
            CHECK(event.epochs[i] > 0, "an epoch is 0");
            reader->assigned[event.streams[i]] = true;
            reader->epochs[event.streams[i]] = event.epochs[i];
            reader->last[event.streams[i]].high = UINT64_MAX;
        }
        break;
    case BUS_REVOKED:
    case BUS_LOST:
        if (event.kind == BUS_REVOKED && reader->commits)
            (void)reader_commit(reader);
        for (size_t i = 0; i < event.stream_count; i++) {
            CHECK(reader->assigned[event.streams[i]], "stream %u was taken and never assigned", event.streams[i]);
            reader->assigned[event.streams[i]] = false;
        }
        if (event.kind == BUS_LOST)
            reader->losses++;
        else
            reader->revocations++;
        if (event.kind == BUS_REVOKED && !reader->keeps_revoked)
            CHECK(bus_revoked(reader->bus, reader->consumer, &error) == 0, "%s", error.text);
        break;
    case BUS_CONSUMED:
        break;
    case BUS_FAULT:
        reader->faults++;
        break;
    }
    return (int)event.kind;
}

static inline int reader_streams(const struct reader *reader)
{
    int count = 0;
    for (int p = 0; p < STREAMS; p++)
        count += reader->assigned[p];
    return count;
}

/* Readers number their streams each for itself. */
static inline int32_t reader_partition(const struct reader *reader, uint32_t stream)
{
    char place[96];
    int32_t partition = -1;
    int64_t offset;
    bus_describe(reader->bus, reader->consumer, stream, (struct position){0, 0}, place, sizeof place, &partition,
                 &offset);
    return partition;
}

static inline uint32_t reader_stream(const struct reader *reader, int32_t partition)
{
    for (uint32_t s = 0; s < STREAMS; s++)
        if (reader->assigned[s] && reader_partition(reader, s) == partition)
            return s;
    CHECK(false, "partition %d has no reader", partition);
}

static inline void reader_until_streams(struct reader *reader, int streams)
{
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    while (reader_streams(reader) != streams) {
        CHECK(clock_monotonic_ms() < until_ms, "has %d streams instead of %d", reader_streams(reader), streams);
        reader_poll(reader, 20);
    }
}

static inline void reader_until(struct reader *reader, size_t count)
{
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    while (reader->count < count) {
        CHECK(clock_monotonic_ms() < until_ms, "got %zu records instead of %zu", reader->count, count);
        reader_poll(reader, 50);
    }
}

/* Polls two readers until their streams are as wanted. */
static inline void readers_until_streams(struct reader *a, int a_streams, struct reader *b, int b_streams)
{
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    while (reader_streams(a) != a_streams || reader_streams(b) != b_streams) {
        CHECK(clock_monotonic_ms() < until_ms, "have %d and %d streams", reader_streams(a), reader_streams(b));
        reader_poll(a, 10);
        reader_poll(b, 10);
    }
}

/* How often KEY:NUMBER was received. */
static inline int got_times(const struct reader *reader, const char *key, int number)
{
    int times = 0;
    for (size_t i = 0; i < reader->count; i++)
        times += reader->got[i].number == number && strcmp(reader->got[i].key, key) == 0;
    return times;
}

/* KEY:FROM … KEY:FROM+COUNT-1 came, each once, in order, in one stream. */
static inline void check_key(const struct reader *reader, const char *key, int from, int count)
{
    int next = from;
    uint32_t stream = UINT32_MAX;
    for (size_t i = 0; i < reader->count; i++) {
        const struct got *got = &reader->got[i];
        if (strcmp(got->key, key) != 0)
            continue;
        CHECK(got->number == next, "key %s: %d came instead of %d", key, got->number, next);
        CHECK(stream == UINT32_MAX || got->stream == stream, "key %s is in two streams", key);
        stream = got->stream;
        next++;
    }
    CHECK(next == from + count, "key %s: %d came last, %d was published last", key, next - 1, from + count - 1);
}

/* -------------------------------------------------------------------------------------------------------------- SQL */

static inline struct connection *sql_open(struct harness *harness)
{
    struct connection *connection = connection_create(harness->store, "sql");
    CHECK(connection != NULL, "out of memory");
    return connection;
}

/* A statement by its text, which must live for ever. Returns the first value, or 0. */
static inline int64_t sql(struct connection *connection, const char *text)
{
    struct statement statement = {.text = text};
    struct rows *rows;
    struct error error = {0};
    CHECK(connection_once(connection, &statement, 0, NULL, 20000, &rows, &error) == STORE_OK, "%s: %s", text,
          error.text);
    return rows_count(rows) > 0 && rows_columns(rows) > 0 && rows_type(rows, 0) != 0 && !rows_null(rows, 0, 0)
               ? rows_int64(rows, 0, 0)
               : 0;
}

static inline int64_t sql_group(struct connection *connection, const char *text, const char *group)
{
    struct statement statement = {.text = text};
    struct span name = span_of(group);
    struct store_param param = STORE_VALUE(PARAM_TEXT, &name);
    struct rows *rows;
    struct error error = {0};
    CHECK(connection_once(connection, &statement, 1, &param, 20000, &rows, &error) == STORE_OK, "%s: %s", text,
          error.text);
    return rows_count(rows) > 0 && rows_type(rows, 0) != 0 && !rows_null(rows, 0, 0) ? rows_int64(rows, 0, 0) : 0;
}

/* --------------------------------------------------------------------------------------------------------- programs */

static struct harness harness_of_suite __attribute__((unused));

/* The name of a test is that of its function without "test_". */
#define BUS_TEST(name)                                                                                                 \
    {                                                                                                                  \
#name, test_##name, harness_setup, harness_teardown, &harness_of_suite                                         \
    }

static inline int harness_setup(void **state)
{
    if (suite.failed)
        return -1;
    suite.thread = pthread_self();
    suite.running = true;
    harness_open(*state);
    return 0;
}

static inline int harness_teardown(void **state)
{
    suite.running = false;
    if (!suite.failed)
        harness_close(*state);
    return 0;
}

/* PROGRAM memory [TEST] | PROGRAM postgres URL [TEST] | PROGRAM kafka SERVERS [TEST] */
static inline int run_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count)
{
    bool elsewhere = argc > 2 && (strcmp(argv[1], "postgres") == 0 || strcmp(argv[1], "kafka") == 0);
    if (!elsewhere && !(argc > 1 && strcmp(argv[1], "memory") == 0)) {
        fprintf(stderr, "usage: %s memory [TEST] | postgres URL [TEST] | kafka SERVERS [TEST]\n", argv[0]);
        return 2;
    }
    const char *filter = argv[elsewhere ? 3 : 2];
    size_t matching = 0;
    for (size_t i = 0; i < count; i++)
        matching += filter == NULL || strcmp(filter, tests[i].name) == 0;
    struct error error = {0};
    CHECK(matching > 0, "no test is called \"%s\"", filter);
    CHECK(failpoints_arm(getenv("SLUICE_FAILPOINTS"), 1, &error) == 0, "%s", error.text);
    cmocka_set_test_filter(filter);
    harness_of_suite = (struct harness){.kind = argv[1], .url = elsewhere ? argv[2] : NULL, .self = argv[0]};
    return _cmocka_run_group_tests(argv[1], tests, count, NULL, NULL);
}

#endif
