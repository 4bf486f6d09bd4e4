/*
 * bus_conformance.c - what every bus must do, whatever carries it. What it must do about members of a group is in
 * bus_groups.c.
 *
 *   bus_conformance memory [TEST]
 *   bus_conformance postgres URL [TEST]     the database must have the engine's schema
 *   bus_conformance kafka SERVERS [TEST]
 */
#include "bus_harness.h"

static void test_order(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "order");
    char key[24];
    for (int round = 0; round < 20; round++) {
        for (int k = 0; k < 10; k++) {
            snprintf(key, sizeof key, "k%d", k);
            publish(harness->bus, topic, key, round * 7, 7);
        }
    }
    struct reader reader = reader_open(harness->bus, name_of("order", "group"), topic);
    reader_until(&reader, 20 * 7 * 10);
    for (int k = 0; k < 10; k++) {
        snprintf(key, sizeof key, "k%d", k);
        check_key(&reader, key, 0, 140);
    }
    for (int k = 0; k < 10; k++) { /* and what comes while it reads */
        snprintf(key, sizeof key, "k%d", k);
        publish(harness->bus, topic, key, 140, 30);
    }
    reader_until(&reader, 1700);
    for (int k = 0; k < 10; k++) {
        snprintf(key, sizeof key, "k%d", k);
        check_key(&reader, key, 0, 170);
    }
    reader_close(&reader);
}

static void test_parallel(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "parallel");
    struct publisher publishers[6];
    struct reader reader = reader_open(harness->bus, name_of("parallel", "group"), topic);
    for (int i = 0; i < 6; i++) {
        publishers[i] = (struct publisher){.bus = harness->bus, .topic = topic, .count = 300};
        snprintf(publishers[i].key, sizeof publishers[i].key, "writer%d", i);
        pthread_create(&publishers[i].thread, NULL, publisher_run, &publishers[i]);
    }
    reader_until(&reader, 6 * 300);
    for (int i = 0; i < 6; i++) {
        pthread_join(publishers[i].thread, NULL);
        check_key(&reader, publishers[i].key, 0, 300);
    }
    reader_close(&reader);
}

static void test_groups(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "groups");
    struct reader a = reader_open(harness->bus, name_of("groups", "a"), topic);
    struct reader b = reader_open(harness->bus, name_of("groups", "b"), topic);
    publish(harness->bus, topic, "x", 0, 100);
    reader_until(&a, 100);
    reader_until(&b, 100);
    check_key(&a, "x", 0, 100);
    check_key(&b, "x", 0, 100);
    struct reader late = reader_open(harness->bus, name_of("groups", "late"), topic);
    reader_until(&late, 100); /* a new group begins at the beginning */
    check_key(&late, "x", 0, 100);
    reader_close(&a);
    reader_close(&b);
    reader_close(&late);
}

static void test_topics(void **state)
{
    struct harness *harness = *state;
    char topic[96], other[96], pattern[96];
    snprintf(topic, sizeof topic, "topics.%d.mine", (int)getpid());
    snprintf(other, sizeof other, "topics.%d.other", (int)getpid());
    snprintf(pattern, sizeof pattern, "topics.%d.*", (int)getpid());
    const char *group = name_of("topics", "one");
    harness->topics[0] = (struct bus_topic){.name = topic};
    harness->topics[1] = (struct bus_topic){.name = other};
    harness->topic_count = 2;
    harness_topics(harness);
    struct reader one = reader_open(harness->bus, group, topic);
    struct reader all = reader_open(harness->bus, name_of("topics", "all"), pattern);
    one.commits = all.commits = true;
    publish(harness->bus, topic, "m", 0, 10);
    publish(harness->bus, other, "o", 0, 400);
    reader_until(&all, 410);
    reader_until(&one, 10);
    check_key(&one, "m", 0, 10);
    check_key(&all, "m", 0, 10);
    check_key(&all, "o", 0, 400);
    /* What was for others must not count as undone for ever. */
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    while (bus_lag(harness->bus, group) != 0) {
        CHECK(clock_monotonic_ms() < until_ms, "the lag stays at %lld", (long long)bus_lag(harness->bus, group));
        reader_poll(&one, 50);
    }
    CHECK(one.count == 10, "got %zu records of another topic", one.count - 10);
    /* A new group goes through a long log that is not its own without a pause. */
    for (int i = 0; i < 60; i++)
        publish(harness->bus, other, "o", 400 + i, 1);
    publish(harness->bus, topic, "m", 10, 1);
    struct reader late = reader_open_limited(harness->bus, name_of("topics", "late"), topic, 1);
    int64_t began_ms = clock_monotonic_ms();
    reader_until(&late, 11);
    CHECK(clock_monotonic_ms() - began_ms < 1500, "reading past others' records took %lld ms",
          (long long)(clock_monotonic_ms() - began_ms));
    reader_close(&late);
    reader_close(&one);
    reader_close(&all);
}

static void test_bytes(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "bytes");
    size_t large = 1024 * 1024;
    char *value = malloc(large);
    for (size_t i = 0; i < large; i++)
        value[i] = (char)(i * 7);
    int64_t time_ms = clock_wall_ms() - 1234; /* of one that is years old retention would make short work */
    struct header headers[] = {
        {SPAN("a"), SPAN("\0b\xff")}, {SPAN("empty"), SPAN("")}, {SPAN("a"), SPAN("again")}, {SPAN("none"), {NULL, 0}}};
    struct record records[] = {
        {.topic = span_of(topic),
         .key = SPAN("k\0\xfe"),
         .value = {value, large},
         .headers = headers,
         .header_count = 4,
         .timestamp_ms = time_ms},
        {.topic = span_of(topic), .key = {NULL, 0}, .value = SPAN("no key")},
        {.topic = span_of(topic), .key = SPAN("x"), .value = SPAN("")},
    };
    struct error error = {0};
    size_t failed = 99;
    const struct bus_kind *kind = harness->bus->kind;
    CHECK(bus_publish(harness->bus, records, 3, clock_monotonic_ms() + 5000, &failed, &error) == 0, "%s", error.text);

    const char *topics[] = {topic};
    struct bus_subscription subscription = {.group = name_of("bytes", "group"), .topics = topics, .topic_count = 1};
    struct bus_consumer *consumer;
    CHECK(bus_subscribe(harness->bus, &subscription, &consumer, &error) == 0, "%s", error.text);
    int seen = 0;
    for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS; seen != 7;) {
        CHECK(clock_monotonic_ms() < until_ms, "only %d of 7 came", seen);
        struct bus_event event;
        if (kind->poll(consumer, 50, &event, &error) != 0 || event.kind != BUS_RECORDS)
            continue;
        for (size_t i = 0; i < event.record_count; i++) {
            const struct record *record = &event.records[i].record;
            CHECK(span_is(record->topic, topic), "the topic changed");
            if (record->value.length == large) {
                CHECK(memcmp(record->value.at, value, large) == 0 && span_equal(record->key, SPAN("k\0\xfe")),
                      "bytes changed");
                CHECK(record->header_count == 4 && record->timestamp_ms == time_ms, "headers or time are gone");
                for (int h = 0; h < 4; h++)
                    CHECK(span_equal(record->headers[h].name, headers[h].name) &&
                              span_equal(record->headers[h].value, headers[h].value) &&
                              (record->headers[h].value.at == NULL) == (headers[h].value.at == NULL),
                          "header %d changed", h);
                CHECK(event.records[i].key_hash == span_hash(record->key), "the key hash is not that of the key");
                seen |= 1;
            } else if (span_is(record->value, "no key")) {
                CHECK(record->key.at == NULL, "a key came from nowhere");
                CHECK(llabs((long long)(record->timestamp_ms - clock_wall_ms())) < 60000, "the record has no time");
                seen |= 2;
            } else {
                CHECK(record->value.length == 0 && span_is(record->key, "x"), "something else came");
                seen |= 4;
            }
            bus_chunk_release(event.records[i].chunk, 1);
        }
    }
    kind->unsubscribe(consumer);
    free(value);
}

static void test_replay(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "replay"), *group = name_of("replay", "group");
    char key[24];
    for (int k = 0; k < 12; k++) {
        snprintf(key, sizeof key, "k%d", k);
        publish(harness->bus, topic, key, 0, 20);
    }
    struct reader first = reader_open(harness->bus, group, topic);
    reader_until(&first, 240);
    /* In each stream, commit the record in the middle of what came. */
    uint32_t streams[PARTITIONS], epochs[PARTITIONS];
    struct position middle[PARTITIONS];
    size_t count = 0, rest = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        size_t total = 0, at = 0;
        for (size_t i = 0; i < first.count; i++)
            total += first.got[i].stream == p;
        if (total == 0)
            continue;
        for (size_t i = 0; i < first.count; i++)
            if (first.got[i].stream == p && at++ == total / 2)
                middle[count] = first.got[i].position;
        streams[count] = p;
        epochs[count++] = first.epochs[p];
        rest += total - total / 2 - 1;
    }
    struct error error = {0};
    CHECK(bus_commit(harness->bus, first.consumer, count, streams, epochs, middle, &error) == 0, "%s", error.text);
    struct got *before = first.got;
    size_t before_count = first.count;
    first.got = NULL;
    reader_close(&first);

    struct reader second = reader_open(harness->bus, group, topic);
    reader_until(&second, rest);
    for (int i = 0; i < 3; i++)
        reader_poll(&second, 20);
    CHECK(second.count == rest, "%zu records came again instead of %zu", second.count, rest);
    for (size_t i = 0; i < before_count; i++) {
        bool done = false;
        for (size_t s = 0; s < count; s++)
            done = done || (streams[s] == before[i].stream && position_compare(before[i].position, middle[s]) <= 0);
        CHECK(got_times(&second, before[i].key, before[i].number) == (done ? 0 : 1), "%s:%d came %d times",
              before[i].key, before[i].number, got_times(&second, before[i].key, before[i].number));
    }
    free(before);
    reader_close(&second);
}

static void test_pause(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "pause");
    struct reader reader = reader_open_limited(harness->bus, name_of("pause", "group"), topic, 16);
    reader_until_streams(&reader, PARTITIONS);
    bus_pause(harness->bus, reader.consumer, true);
    publish(harness->bus, topic, "p", 0, 300);
    for (int i = 0; i < 20; i++)
        reader_poll(&reader, 10);
    CHECK(reader.count == 0, "%zu records came while paused", reader.count);
    bus_pause(harness->bus, reader.consumer, false);
    reader_until(&reader, 100);
    bus_pause(harness->bus, reader.consumer, true); /* also in the middle of what was read ahead */
    size_t count = reader.count;
    for (int i = 0; i < 20; i++)
        reader_poll(&reader, 10);
    CHECK(reader.count == count, "%zu records came while paused", reader.count - count);
    bus_pause(harness->bus, reader.consumer, false);
    reader_until(&reader, 300);
    check_key(&reader, "p", 0, 300);
    CHECK(reader.largest <= 16, "a poll brought %zu records instead of at most 16", reader.largest);
    reader_close(&reader);
}

struct scanned {
    int count, stop_after;
    int last;
    pthread_t thread;
    struct harness *harness;
    const char *topic;
    volatile int stop;
};

static bool scan_each(const struct record *record, int32_t partition, struct position position, void *context)
{
    struct scanned *scanned = context;
    (void)position;
    CHECK(partition >= 0 && partition < PARTITIONS, "partition %d", partition);
    const char *colon = memchr(record->value.at, ':', record->value.length);
    scanned->last = 0; /* a value ends with its length, not with a NUL */
    for (const char *at = colon + 1; at < record->value.at + record->value.length && *at >= '0' && *at <= '9'; at++)
        scanned->last = scanned->last * 10 + (*at - '0');
    __atomic_add_fetch(&scanned->count, 1, __ATOMIC_SEQ_CST);
    return scanned->count != scanned->stop_after;
}

static void *scan_follow(void *context)
{
    struct scanned *scanned = context;
    struct error error = {0};
    struct bus_scan scan = {.topics = &scanned->topic,
                            .topic_count = 1,
                            .follow = true,
                            .stop = &scanned->stop,
                            .each = scan_each,
                            .context = scanned};
    CHECK(bus_scan(scanned->harness->bus, &scan, &error) == 0, "%s", error.text);
    return NULL;
}

static void test_scan(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "scan");
    struct bus *bus = harness->bus;
    char key[24];
    for (int k = 0; k < 30; k++) {
        snprintf(key, sizeof key, "s%d", k);
        publish(bus, topic, key, k * 10, 10);
    }
    struct error error = {0};
    struct bus_scan scan = {.topics = &topic, .topic_count = 1, .each = scan_each};
    struct scanned all = {.stop_after = -1}, some = {.stop_after = -1}, five = {.stop_after = 5},
                   follow = {.stop_after = -1};
    scan.context = &all;
    CHECK(bus_scan(bus, &scan, &error) == 0, "%s", error.text);
    CHECK(all.count == 300, "%d instead of 300", all.count);
    CHECK(all.last == 299, "the last published is not the last read, but %d", all.last);
    scan.context = &some;
    scan.contains = SPAN("s7:7");
    CHECK(bus_scan(bus, &scan, &error) == 0, "%s", error.text);
    CHECK(some.count == 10, "%d hold s7:7 instead of 10", some.count);
    scan.context = &five;
    scan.contains = SPAN("");
    CHECK(bus_scan(bus, &scan, &error) == 0, "%s", error.text);
    CHECK(five.count == 5, "%d came after it said stop", five.count);

    scan.deadline_ms = clock_monotonic_ms() + WAIT_MS;
    five = (struct scanned){.stop_after = 5};
    CHECK(bus_scan(bus, &scan, &error) == 0, "in time: %s", error.text);
    scan.deadline_ms = clock_monotonic_ms() + 200;
    scan.follow = true;
    five = (struct scanned){.stop_after = -1};
    CHECK(bus_scan(bus, &scan, &error) == -ETIMEDOUT, "a scan that follows did not end at its deadline: %s",
          error.text);
    CHECK(strstr(error.text, "in time") != NULL, "%s", error.text);

    follow.harness = harness;
    follow.topic = topic;
    pthread_create(&follow.thread, NULL, scan_follow, &follow);
    publish(bus, topic, "late", 1000, 5);
    for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS; __atomic_load_n(&follow.count, __ATOMIC_SEQ_CST) < 305;) {
        CHECK(clock_monotonic_ms() < until_ms, "only %d of 305 came", follow.count);
        usleep(2000);
    }
    __atomic_store_n(&follow.stop, 1, __ATOMIC_RELAXED);
    pthread_join(follow.thread, NULL);
    CHECK(follow.count == 305, "%d instead of 305", follow.count);
}

static void *wake_later(void *context)
{
    struct reader *reader = context;
    usleep(100000);
    bus_wake(reader->bus, reader->consumer);
    return NULL;
}

static void test_wake(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "wake");
    struct reader reader = reader_open(harness->bus, name_of("wake", "group"), topic);
    reader_until_streams(&reader, PARTITIONS);
    while (reader_poll(&reader, 0) != 0)
        ;
    pthread_t thread;
    pthread_create(&thread, NULL, wake_later, &reader);
    int64_t began_ms = clock_monotonic_ms();
    CHECK(reader_poll(&reader, 10000) == 0, "something came");
    CHECK(clock_monotonic_ms() - began_ms < 3000, "wake() did not end the poll");
    pthread_join(thread, NULL);

    struct publisher publisher = {.bus = harness->bus, .topic = topic, .key = "w", .count = 5};
    int64_t worst_ms = 0;
    for (int i = 0; i < 10; i++) { /* the delay until a waiting reader has what is published */
        size_t count = reader.count;
        began_ms = clock_monotonic_ms();
        pthread_create(&publisher.thread, NULL, publisher_run, &publisher);
        reader_until(&reader, count + 5);
        int64_t took_ms = clock_monotonic_ms() - began_ms;
        worst_ms = took_ms > worst_ms ? took_ms : worst_ms;
        pthread_join(publisher.thread, NULL);
    }
    CHECK(worst_ms < 400, "a waiting reader got its records after %lld ms", (long long)worst_ms);
    reader_close(&reader);
}

static void test_refused(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "refused");
    char *key = calloc(1, 70000);
    memset(key, 'k', 69999);
    struct record records[] = {{.topic = span_of(topic), .key = SPAN("a"), .value = SPAN("a:0")},
                               {.topic = span_of(topic), .key = span_of(key), .value = SPAN("b:0")}};
    struct error error = {0};
    size_t failed = 99;
    int result = bus_publish(harness->bus, records, 2, clock_monotonic_ms() + 1000, &failed, &error);
    CHECK(result == -EMSGSIZE && failed == 1, "gave %d, record %zu", result, failed);
    CHECK(strstr(error.text, topic) != NULL, "the sentence names no topic: %s", error.text);
    free(key);
}

static const struct CMUnitTest tests[] = {
    BUS_TEST(order),  BUS_TEST(parallel), BUS_TEST(groups), BUS_TEST(topics), BUS_TEST(bytes),
    BUS_TEST(replay), BUS_TEST(pause),    BUS_TEST(scan),   BUS_TEST(wake),   BUS_TEST(refused),
};

int main(int argc, char **argv)
{
    return run_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
