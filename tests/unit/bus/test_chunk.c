/*
 * test_chunk.c - what all buses share: topic patterns, what a record may be, partitions, shares, references.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "bus/chunk.h"

static void patterns_are_exact_or_end_in_a_star(void **state)
{
    (void)state;
    const char *const topics[] = {"payment.try", "reservation.*"};
    assert_true(topics_match(topics, 2, SPAN("payment.try")));
    assert_true(topics_match(topics, 2, SPAN("reservation.success")));
    assert_true(topics_match(topics, 2, SPAN("reservation.")));
    assert_false(topics_match(topics, 2, SPAN("payment.try2")));
    assert_false(topics_match(topics, 2, SPAN("payment.tr")));
    assert_false(topics_match(topics, 2, SPAN("reservation")));
    assert_false(topics_match(topics, 0, SPAN("payment.try")));
    const char *const all[] = {"*"};
    assert_true(topics_match(all, 1, SPAN("anything")));
}

static void a_record_that_no_bus_could_carry_is_refused(void **state)
{
    (void)state;
    static char bytes[70000];
    struct header header = {{bytes, 255}, {bytes, 65534}};
    struct record good = {.topic = {bytes, 249}, .key = {bytes, 65534}, .headers = &header, .header_count = 1};
    assert_int_equal(record_check(&good, NULL), 0);
    struct record bad = good;
    bad.topic.length = 250;
    assert_int_equal(record_check(&bad, NULL), -EINVAL);
    bad.topic.length = 0;
    assert_int_equal(record_check(&bad, NULL), -EINVAL);
    bad = good;
    bad.key.length++; /* 65535 means "no key" in a record batch */
    assert_int_equal(record_check(&bad, NULL), -EMSGSIZE);
    bad = good;
    bad.value = (struct span){bytes, 64 * 1024 * 1024 + 1};
    assert_int_equal(record_check(&bad, NULL), -EMSGSIZE);
    header.name.length = 256;
    assert_int_equal(record_check(&good, NULL), -EMSGSIZE);
    header = (struct header){{bytes, 255}, {bytes, 65535}};
    assert_int_equal(record_check(&good, NULL), -EMSGSIZE);
    bad = good;
    bad.header_count = 256;
    bad.headers = calloc(256, sizeof *bad.headers);
    assert_int_equal(record_check(&bad, NULL), -EMSGSIZE);
    free(bad.headers);
}

static void a_key_chooses_the_partition_and_its_absence_the_value(void **state)
{
    (void)state;
    struct record a = {.topic = SPAN("t"), .key = SPAN("seat 7"), .value = SPAN("x")}, b = a;
    b.value = SPAN("y");
    b.topic = SPAN("u");
    for (uint32_t n = 1; n < 50; n++) {
        assert_int_equal(record_partition(&a, n), record_partition(&b, n));
        assert_true(record_partition(&a, n) < n);
    }
    bool used[8] = {false};
    for (char c = 'a'; c <= 'z'; c++)
        used[record_partition(&(struct record){.value = {&c, 1}}, 8)] = true;
    for (int i = 0; i < 8; i++)
        assert_true(used[i]);
    struct position here = {1, 2}, there = {1, 3};
    assert_int_equal(record_key_hash(&a, here), record_key_hash(&b, there));
    struct record none = {.value = SPAN("x")};
    assert_int_not_equal(record_key_hash(&none, here), record_key_hash(&none, there));
}

static void shares_add_up_and_differ_by_one_at_most(void **state)
{
    (void)state;
    for (uint32_t partitions = 0; partitions < 40; partitions++) {
        for (uint32_t members = 1; members < 12; members++) {
            uint32_t sum = 0;
            for (uint32_t rank = 0; rank < members; rank++) {
                sum += share_of(partitions, members, rank);
                assert_true(share_of(partitions, members, 0) - share_of(partitions, members, rank) <= 1);
            }
            assert_int_equal(sum, partitions);
        }
    }
}

static int destroyed;

static void destroy(struct bus_chunk *chunk)
{
    (void)chunk;
    destroyed++;
}

static void the_last_reference_destroys(void **state)
{
    (void)state;
    struct bus_chunk chunk = {.destroy = destroy};
    atomic_init(&chunk.references, 1);
    destroyed = 0;
    bus_chunk_hold(&chunk, 3);
    bus_chunk_release(&chunk, 1);
    bus_chunk_release(&chunk, 0);
    bus_chunk_release(NULL, 1);
    bus_chunk_release(&chunk, 2);
    assert_int_equal(destroyed, 0);
    bus_chunk_release(&chunk, 1);
    assert_int_equal(destroyed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_are_exact_or_end_in_a_star),
        cmocka_unit_test(a_record_that_no_bus_could_carry_is_refused),
        cmocka_unit_test(a_key_chooses_the_partition_and_its_absence_the_value),
        cmocka_unit_test(shares_add_up_and_differ_by_one_at_most),
        cmocka_unit_test(the_last_reference_destroys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
