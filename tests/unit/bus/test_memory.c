/*
 * test_memory.c - what only the memory bus does: it forgets, and it has a bound. The rest is in
 * tests/process/bus_*.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/clock.h"
#include "bus/memory/memory.h"
#include "bus/open.h"

static struct bus *open_bus(int64_t retention_ms)
{
    struct bus_options options = {.name = "test", .partitions = 4, .retention_ms = retention_ms};
    struct bus *bus;
    assert_int_equal(bus_memory_open(&options, &bus, NULL), 0);
    return bus;
}

static int publish(struct bus *bus, const char *key, size_t bytes, int64_t wait_ms)
{
    static char value[100000];
    struct record record = {.topic = SPAN("t"), .key = span_of(key), .value = {value, bytes}};
    size_t failed;
    return bus_publish(bus, &record, 1, clock_monotonic_ms() + wait_ms, &failed, NULL);
}

static struct bus_consumer *subscribe(struct bus *bus)
{
    const char *topics[] = {"t"};
    struct bus_subscription subscription = {.group = "g", .topics = topics, .topic_count = 1};
    struct bus_consumer *consumer;
    struct bus_event event;
    assert_int_equal(bus_subscribe(bus, &subscription, &consumer, NULL), 0);
    assert_int_equal(bus_poll(bus, consumer, 0, &event, NULL), 0);
    assert_int_equal(event.kind, BUS_ASSIGNED);
    assert_int_equal(event.stream_count, 4);
    return consumer;
}

/* Takes what is there; keeps the last chunk when asked to. Commits when asked to. */
static size_t drain(struct bus *bus, struct bus_consumer *consumer, bool commits, struct bus_record *kept)
{
    struct bus_event event;
    size_t count = 0;
    while (bus_poll(bus, consumer, 0, &event, NULL) == 0) {
        assert_int_equal(event.kind, BUS_RECORDS);
        for (size_t i = 0; i < event.record_count; i++) {
            struct bus_record *record = &event.records[i];
            if (commits)
                assert_int_equal(bus_commit(bus, consumer, 1, &record->stream, &record->epoch, &record->position, NULL),
                                 0);
            if (kept != NULL && kept->chunk == NULL)
                *kept = *record;
            else
                bus_chunk_release(record->chunk, 1);
            count++;
        }
    }
    return count;
}

static bool count_each(const struct record *record, int32_t partition, struct position position, void *context)
{
    (void)record, (void)partition, (void)position;
    ++*(int *)context;
    return true;
}

static int scan_count(struct bus *bus)
{
    const char *topics[] = {"*"};
    int count = 0;
    struct bus_scan scan = {.topics = topics, .topic_count = 1, .each = count_each, .context = &count};
    assert_int_equal(bus_scan(bus, &scan, NULL), 0);
    return count;
}

static void what_every_group_completed_goes_after_retention(void **state)
{
    (void)state;
    struct bus *bus = open_bus(0), *keeps = open_bus(3600 * 1000);
    assert_int_equal(publish(bus, "k", 10, 0), 0);
    bus_maintain(bus);
    assert_int_equal(scan_count(bus), 1); /* no group yet: one that comes begins here */
    struct bus_consumer *consumer = subscribe(bus);
    struct bus_record kept = {0};
    assert_int_equal(drain(bus, consumer, false, NULL), 1);
    bus_maintain(bus);
    assert_int_equal(scan_count(bus), 1); /* not committed */
    assert_int_equal(bus_lag(bus, "g"), 1);
    bus_unsubscribe(bus, consumer);
    consumer = subscribe(bus);
    assert_int_equal(drain(bus, consumer, true, &kept), 1);
    assert_int_equal(bus_lag(bus, "g"), 0);
    bus_maintain(bus);
    assert_int_equal(scan_count(bus), 0);
    assert_int_equal(kept.record.value.length, 10); /* what somebody still holds outlives the log */
    assert_true(span_is(kept.record.key, "k"));
    bus_chunk_release(kept.chunk, 1);
    bus_unsubscribe(bus, consumer);
    bus_close(bus);

    assert_int_equal(publish(keeps, "k", 10, 0), 0);
    consumer = subscribe(keeps);
    assert_int_equal(drain(keeps, consumer, true, NULL), 1);
    bus_maintain(keeps);
    assert_int_equal(scan_count(keeps), 1); /* retention is not over */
    bus_unsubscribe(keeps, consumer);
    bus_close(keeps);
}

static void a_full_log_takes_no_more_until_something_is_completed(void **state)
{
    (void)state;
    struct bus *bus = open_bus(3600 * 1000);
    ((struct memory_bus *)bus)->bytes_max = 50000;
    struct bus_consumer *consumer = subscribe(bus);
    int published = 0;
    while (publish(bus, "k", 10000, 0) == 0)
        assert_in_range(++published, 1, 10);
    int64_t began_ms = clock_monotonic_ms();
    assert_int_equal(publish(bus, "k", 10, 30), -ENOBUFS);
    assert_in_range(clock_monotonic_ms() - began_ms, 29, 5000); /* it waited for room */
    assert_int_equal(drain(bus, consumer, true, NULL), published);
    assert_int_equal(publish(bus, "k", 10, 0), 0); /* what is completed goes early */
    assert_int_equal(drain(bus, consumer, true, NULL), 1);
    bus_unsubscribe(bus, consumer);
    bus_close(bus);
}

static void impossible_numbers_of_partitions_are_refused(void **state)
{
    (void)state;
    struct bus_options options = {.partitions = 0};
    struct bus *bus;
    assert_int_equal(bus_memory_open(&options, &bus, NULL), -EINVAL);
    options.partitions = MEMORY_PARTITIONS_MAX + 1;
    assert_int_equal(bus_memory_open(&options, &bus, NULL), -EINVAL);
}

static void positions_read_well(void **state)
{
    (void)state;
    struct bus *bus = open_bus(0);
    struct bus_consumer *consumer = subscribe(bus);
    char text[32], tiny[6];
    int32_t partition;
    int64_t offset;
    bus_describe(bus, consumer, 3, (struct position){17, 0}, text, sizeof text, &partition, &offset);
    assert_string_equal(text, "partition 3 at 17");
    assert_int_equal(partition, 3);
    assert_int_equal(offset, 17);
    bus_describe(bus, consumer, 3, (struct position){17, 0}, tiny, sizeof tiny, &partition, &offset);
    assert_string_equal(tiny, "parti");
    bus_unsubscribe(bus, consumer);
    bus_close(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_every_group_completed_goes_after_retention),
        cmocka_unit_test(a_full_log_takes_no_more_until_something_is_completed),
        cmocka_unit_test(impossible_numbers_of_partitions_are_refused),
        cmocka_unit_test(positions_read_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
