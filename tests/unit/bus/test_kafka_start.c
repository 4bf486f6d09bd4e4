/*
 * Where a partition is read from: every order of what Kafka, the store and the partition itself say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus/kafka/start.h"

struct row {
    const char *what;
    struct kafka_offsets offsets;
    enum kafka_start start;
    int64_t offset;
};

static const struct row rows[] = {
    {"nobody ever read it", {-1, -1, 0, 0, 100}, KAFKA_START_NEW, 0},
    {"nobody ever read it, and its first records were deleted", {-1, -1, 0, 40, 100}, KAFKA_START_NEW, 40},
    {"no store: where the group stopped", {70, -1, 0, 40, 100}, KAFKA_START_CONTINUE, 70},
    {"both agree", {70, 70, 0, 40, 100}, KAFKA_START_CONTINUE, 70},
    {"the row was written, the offset not yet", {65, 70, 0, 40, 100}, KAFKA_START_CONTINUE, 65},
    {"an operator moved the offset back", {41, 70, 0, 40, 100}, KAFKA_START_CONTINUE, 41},
    {"everything is read", {100, 100, 0, 40, 100}, KAFKA_START_CONTINUE, 100},
    {"everything is read and deleted", {100, 100, 0, 100, 100}, KAFKA_START_CONTINUE, 100},
    {"Kafka lost the offset", {-1, 70, 0, 40, 100}, KAFKA_START_STORE_ONLY, 70},
    {"the database is older, or an operator moved the offset ahead",
     {90, 70, 0, 40, 100},
     KAFKA_START_STORE_BEHIND,
     70},
    {"the topic was recreated: it ends before both", {70, 70, 0, 0, 10}, KAFKA_START_RECREATED, 0},
    {"recreated, and Kafka deleted the offset with it", {-1, 70, 0, 3, 10}, KAFKA_START_RECREATED, 3},
    {"recreated while the group had members, and longer than before",
     {-1, 70, 0, 0, 100, true},
     KAFKA_START_RECREATED,
     0},
    {"records were deleted unread", {30, 30, 0, 40, 100}, KAFKA_START_DELETED, 40},
    {"deleted unread, by the lower of the two", {60, 30, 0, 40, 100}, KAFKA_START_DELETED, 40},
    {"deleted unread, without a store", {30, -1, 0, 40, 100}, KAFKA_START_DELETED, 40},
    {"deleted unread, and given up", {30, 40, 40, 40, 100}, KAFKA_START_CONTINUE, 40},
    {"given up further than need be", {30, 50, 50, 40, 100}, KAFKA_START_CONTINUE, 50},
    {"given up, but not enough", {30, 35, 35, 40, 100}, KAFKA_START_DELETED, 40},
    {"given up long ago", {70, 70, 40, 45, 100}, KAFKA_START_CONTINUE, 70},
};

static void each_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t offset = -7;
        enum kafka_start start = kafka_start_decide(&rows[i].offsets, &offset);
        if (start != rows[i].start || offset != rows[i].offset)
            print_error("%s: gave %d at %lld instead of %d at %lld\n", rows[i].what, start, (long long)offset,
                        rows[i].start, (long long)rows[i].offset);
        assert_int_equal(start, rows[i].start);
        assert_int_equal(offset, rows[i].offset);
    }
}

/* Whatever is known: the start is never above what is known to be done, never outside the partition, and no record that
 * is kept is skipped unless an operator gave it up. */
static void nothing_is_skipped(void **state)
{
    (void)state;
    for (int64_t committed = -1; committed < 8; committed++)
        for (int64_t recorded = -1; recorded < 8; recorded++)
            for (int64_t skipped = 0; skipped < 8; skipped++)
                for (int64_t low = 0; low < 8; low++)
                    for (int64_t high = low; high < 8; high++) {
                        struct kafka_offsets offsets = {committed, recorded, skipped, low, high};
                        int64_t offset = -7;
                        enum kafka_start start = kafka_start_decide(&offsets, &offset);
                        assert_true(offset >= low && offset <= high);
                        if (start == KAFKA_START_NEW || start == KAFKA_START_RECREATED ||
                            start == KAFKA_START_DELETED) {
                            assert_int_equal(offset, low);
                            continue;
                        }
                        assert_true(offset <= skipped || committed < 0 || offset <= committed);
                        assert_true(offset <= skipped || recorded < 0 || offset <= recorded);
                    }
}

/* One answer without an offset is no sign that its topic was recreated; the same answer a second later is. */
static void an_offset_that_is_not_there_any_more(void **state)
{
    int64_t doubted = 0;
    (void)state;
    assert_int_equal(kafka_start_weigh(-1, false, 5, &doubted), KAFKA_ANSWER_TAKEN);
    assert_int_equal(kafka_start_weigh(7, true, 5, &doubted), KAFKA_ANSWER_TAKEN);
    assert_int_equal(doubted, 0);
    assert_int_equal(kafka_start_weigh(-1, true, 5, &doubted), KAFKA_ANSWER_DOUBTED);
    assert_int_equal(kafka_start_weigh(-1, true, 4 + KAFKA_DOUBT_MS, &doubted), KAFKA_ANSWER_DOUBTED);
    assert_int_equal(kafka_start_weigh(-1, true, 5 + KAFKA_DOUBT_MS, &doubted), KAFKA_ANSWER_CONFIRMED);
    assert_int_equal(kafka_start_weigh(-1, true, 6 + KAFKA_DOUBT_MS, &doubted), KAFKA_ANSWER_CONFIRMED);
    assert_int_equal(kafka_start_weigh(7, true, 7 + KAFKA_DOUBT_MS, &doubted), KAFKA_ANSWER_TAKEN);
    assert_int_equal(kafka_start_weigh(-1, true, 8 + KAFKA_DOUBT_MS, &doubted), KAFKA_ANSWER_DOUBTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_row), cmocka_unit_test(nothing_is_skipped),
                                       cmocka_unit_test(an_offset_that_is_not_there_any_more)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
