/*
 * bus_groups.c - what every bus must do about the members of a group: epochs, shares, takeover, revocation.
 *
 *   bus_groups memory [TEST]
 *   bus_groups postgres URL [TEST]     the database must have the engine's schema
 *   bus_groups kafka SERVERS [TEST]
 */
#include "bus_harness.h"

#include <poll.h>

static void test_epochs(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "epochs"), *group = name_of("epochs", "group");
    char key[24];
    for (int k = 0; k < 40; k++) {
        snprintf(key, sizeof key, "k%d", k);
        publish(harness->bus, topic, key, 0, 5);
    }
    struct reader old = reader_open(harness->bus, group, topic);
    reader_until(&old, 200);
    bool had[STREAMS];
    memcpy(had, old.assigned, sizeof had);
    struct reader new = reader_open(harness->bus, group, topic);
    readers_until_streams(&old, PARTITIONS / 2, &new, PARTITIONS / 2);
    /* The old owner comes late with what it had: nothing may change. */
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if (!had[p] || old.assigned[p])
            continue;
        uint32_t now = reader_stream(&new, reader_partition(&old, p));
        CHECK(new.epochs[now] > old.epochs[p], "stream %u changed hands and kept its epoch %u", p, new.epochs[now]);
        struct error error = {0};
        struct position end = old.last[p].high == UINT64_MAX ? (struct position){0, 0} : old.last[p];
        CHECK(bus_commit(harness->bus, old.consumer, 1, &p, &old.epochs[p], &end, &error) == 0, "%s", error.text);
        CHECK(bus_commit(harness->bus, new.consumer, 1, &now, &old.epochs[p], &end, &error) == 0, "%s", error.text);
    }
    reader_close(&old);
    reader_close(&new);
    struct reader third = reader_open(harness->bus, group, topic);
    reader_until(&third, 200);
    for (int k = 0; k < 40; k++) {
        snprintf(key, sizeof key, "k%d", k);
        check_key(&third, key, 0, 5);
    }
    reader_close(&third);
}

static void test_share(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "share"), *group = name_of("share", "group");
    struct reader a = reader_open(harness->bus, group, topic), b = reader_open(harness->bus, group, topic);
    a.commits = b.commits = true;
    readers_until_streams(&a, PARTITIONS / 2, &b, PARTITIONS / 2);
    for (uint32_t s = 0; s < PARTITIONS; s++)
        for (uint32_t other = 0; other < PARTITIONS; other++)
            CHECK(!a.assigned[s] || !b.assigned[other] || reader_partition(&a, s) != reader_partition(&b, other),
                  "partition %d has two readers", reader_partition(&a, s));
    char key[24];
    for (int k = 0; k < 64; k++) {
        snprintf(key, sizeof key, "k%d", k);
        publish(harness->bus, topic, key, 0, 3);
    }
    for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS; a.count + b.count < 192;) {
        CHECK(clock_monotonic_ms() < until_ms, "only %zu of 192 came", a.count + b.count);
        reader_poll(&a, 10);
        reader_poll(&b, 10);
    }
    CHECK(a.count > 0 && b.count > 0, "one reader got everything");
    for (int k = 0; k < 64; k++) {
        snprintf(key, sizeof key, "k%d", k);
        check_key(got_times(&a, key, 0) > 0 ? &a : &b, key, 0, 3);
    }
    struct reader c = reader_open(harness->bus, group, topic); /* a third: 3, 3, 2 */
    for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
         reader_streams(&a) > 3 || reader_streams(&b) > 3 || reader_streams(&c) < 2 ||
         reader_streams(&a) + reader_streams(&b) + reader_streams(&c) != PARTITIONS;) {
        CHECK(clock_monotonic_ms() < until_ms, "shares are %d, %d, %d", reader_streams(&a), reader_streams(&b),
              reader_streams(&c));
        reader_poll(&a, 10);
        reader_poll(&b, 10);
        reader_poll(&c, 10);
    }
    reader_close(&b);
    readers_until_streams(&a, PARTITIONS / 2, &c, PARTITIONS / 2);
    reader_close(&a);
    reader_until_streams(&c, PARTITIONS);
    CHECK(c.count == 0, "what was committed came again: %zu", c.count);
    reader_close(&c);
}

static void test_takeover(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "takeover"), *group = name_of("takeover", "group");
    struct reader a = reader_open(harness->bus, group, topic);
    a.commits = true;
    publish(harness->bus, topic, "t", 0, 50);
    reader_until(&a, 50);
    a.commits = false;
    publish(harness->bus, topic, "t", 50, 50);
    reader_until(&a, 100);
    uint32_t epoch = a.got[0].epoch;
    int32_t partition = reader_partition(&a, a.got[0].stream);
    reader_close(&a);
    struct reader b = reader_open(harness->bus, group, topic);
    int64_t began_ms = clock_monotonic_ms();
    reader_until(&b, 50);
    CHECK(clock_monotonic_ms() - began_ms < 1000, "taking over from one that left took %lld ms",
          (long long)(clock_monotonic_ms() - began_ms));
    check_key(&b, "t", 50, 50); /* at least what was not committed, and here not more */
    CHECK(b.epochs[reader_stream(&b, partition)] > epoch, "the epoch did not rise");
    reader_close(&b);
}

static void test_revoked(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "revoked"), *group = name_of("revoked", "group");
    struct reader a = reader_open(harness->bus, group, topic);
    a.keeps_revoked = true;
    reader_until_streams(&a, PARTITIONS);
    struct reader b = reader_open(harness->bus, group, topic);
    for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS; a.revocations == 0;) {
        CHECK(clock_monotonic_ms() < until_ms, "nothing was revoked");
        reader_poll(&a, 10);
        reader_poll(&b, 10);
    }
    for (int i = 0; i < 60; i++) { /* as long as the first has not let go, nobody else may have it */
        reader_poll(&a, 5);
        reader_poll(&b, 5);
    }
    CHECK(reader_streams(&b) == 0, "%d streams changed hands before their reader let go", reader_streams(&b));
    struct error error = {0};
    CHECK(bus_revoked(harness->bus, a.consumer, &error) == 0, "%s", error.text);
    a.keeps_revoked = false;
    readers_until_streams(&a, PARTITIONS / 2, &b, PARTITIONS / 2);
    reader_close(&a);
    reader_close(&b);
}

/* Readers come and go while records are published: duplicates are allowed, losses are not. */
static void test_storm(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "storm"), *group = name_of("storm", "group");
    enum { WRITERS = 3, EACH = 400 };
    struct publisher publishers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        publishers[i] = (struct publisher){.bus = harness->bus, .topic = topic, .count = EACH};
        snprintf(publishers[i].key, sizeof publishers[i].key, "writer%d", i);
        pthread_create(&publishers[i].thread, NULL, publisher_run, &publishers[i]);
    }
    bool seen[WRITERS][EACH] = {{false}};
    int missing = WRITERS * EACH;
    struct reader readers[3] = {{0}};
    unsigned random = 7;
    for (int64_t until_ms = clock_monotonic_ms() + 2 * WAIT_MS; missing > 0;) {
        CHECK(clock_monotonic_ms() < until_ms, "%d records never came", missing);
        int i = (int)(rand_r(&random) % 3);
        if (readers[i].consumer == NULL) {
            readers[i] = reader_open_limited(harness->bus, group, topic, 1 + rand_r(&random) % 50);
            readers[i].commits = true;
        }
        for (int polls = (int)(rand_r(&random) % 12); polls > 0; polls--) {
            size_t before = readers[i].count;
            reader_poll(&readers[i], 5);
            for (size_t g = before; g < readers[i].count; g++) {
                int writer = readers[i].got[g].key[6] - '0';
                missing -= !seen[writer][readers[i].got[g].number];
                seen[writer][readers[i].got[g].number] = true;
            }
        }
        if (rand_r(&random) % 8 == 0)
            reader_close(&readers[i]);
    }
    for (int i = 0; i < 3; i++)
        if (readers[i].consumer != NULL)
            reader_close(&readers[i]);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(publishers[i].thread, NULL);
}

/* The bus goes away and comes back while somebody reads. The one who breaks it waits for our "# break it" and
 * answers with a line. */
static void test_outage(void **state)
{
    struct harness *harness = *state;
    if (getenv("BUS_OUTAGE") == NULL)
        return; /* needs somebody who breaks it */
    const char *topic = topic_of(harness, "outage");
    struct reader reader = reader_open(harness->bus, name_of("outage", "group"), topic);
    reader.commits = true;
    publish(harness->bus, topic, "o", 0, 20);
    reader_until(&reader, 20);
    publish(harness->bus, topic, "o", 20, 20);
    printf("# break it\n");
    fflush(stdout);
    struct pollfd answer = {.fd = STDIN_FILENO, .events = POLLIN};
    for (int64_t until_ms = clock_monotonic_ms() + 2 * WAIT_MS; poll(&answer, 1, 0) == 0;) {
        CHECK(clock_monotonic_ms() < until_ms, "nobody mends it");
        reader_poll(&reader, 50);
    }
    CHECK(reader.faults == 1, "%d faults were told instead of one", reader.faults);
    struct error error = {0};
    for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS; publish_try(harness->bus, topic, "o", 40, 20, &error) != 0;)
        CHECK(clock_monotonic_ms() < until_ms, "publishing never works again: %s", error.text);
    for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS; got_times(&reader, "o", 59) == 0;) {
        CHECK(clock_monotonic_ms() < until_ms, "reading never works again");
        reader_poll(&reader, 50);
    }
    for (int i = 0; i < 60; i++)
        CHECK(got_times(&reader, "o", i) > 0, "o:%d is lost", i);
    reader_close(&reader);
}

static const struct CMUnitTest tests[] = {
    BUS_TEST(epochs), BUS_TEST(share), BUS_TEST(takeover), BUS_TEST(revoked), BUS_TEST(storm), BUS_TEST(outage),
};

int main(int argc, char **argv)
{
    return run_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
