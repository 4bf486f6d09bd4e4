/*
 * test_cron.c - what an expression means, when clocks change too, and what is said of one that means nothing. Thousands
 * of times beside another implementation: tests/process/test_cron.py.
 */
#include "check.h"

#include "flow/cron.h"

#include <stdio.h>

static const struct {
    const char *zone, *text, *after, *expected[3]; /* as the zone's clocks show them */
} rows[] = {
    {"UTC", "*/15 * * * *", "2026-01-01T00:00:00", {"01-01T00:15:00", "01-01T00:30:00", "01-01T00:45:00"}},
    {"UTC", "5/20 9-17/4 * * *", "2026-01-01T17:26:00", {"01-01T17:45:00", "01-02T09:05:00", "01-02T09:25:00"}},
    {"UTC", "0 0 1,15 * MON", "2026-06-01T00:00:00", {"06-08T00:00:00", "06-15T00:00:00", "06-22T00:00:00"}},
    {"UTC", "0 0 */2 * mon", "2026-06-01T00:00:00", {"06-15T00:00:00", "06-29T00:00:00", "07-13T00:00:00"}},
    {"UTC", "0 12 * jun-aug sat,7", "2026-08-29T12:00:00", {"08-30T12:00:00", "06-05T12:00:00", "06-06T12:00:00"}},
    {"UTC", "0 0 31 * *", "2026-01-31T00:00:00", {"03-31T00:00:00", "05-31T00:00:00", "07-31T00:00:00"}},
    {"UTC", "0 0 29 2 *", "2096-02-29T00:00:00", {"02-29T00:00:00", "02-29T00:00:00", "02-29T00:00:00"}},
    {"UTC", "@monthly", "2026-12-01T00:00:00", {"01-01T00:00:00", "02-01T00:00:00", "03-01T00:00:00"}},
    /* 23 hours: 02:30 is skipped */
    {"Europe/Berlin", "30 2 * * *", "2026-03-28T02:30:00", {"03-29T03:00:00", "03-30T02:30:00", "03-31T02:30:00"}},
    {"Europe/Berlin", "30 2,3 * * *", "2026-03-28T03:30:00", {"03-29T03:00:00", "03-29T03:30:00", "03-30T02:30:00"}},
    {"Europe/Berlin", "30 * * * *", "2026-03-29T01:00:00", {"03-29T01:30:00", "03-29T03:30:00", "03-29T04:30:00"}},
    /* 25 hours: 02:30 comes twice */
    {"Europe/Berlin", "30 2 * * *", "2026-10-25T02:00:00", {"10-25T02:30:00", "10-26T02:30:00", "10-27T02:30:00"}},
    {"Europe/Berlin", "30 * * * *", "2026-10-25T02:00:00", {"10-25T02:30:00", "10-25T02:30:00", "10-25T03:30:00"}},
    /* half an hour forward and back, in the other half of the year; years behind the last change in the file */
    {"Australia/Lord_Howe",
     "15 2 * * *",
     "2026-10-03T02:15:00",
     {"10-04T02:30:00", "10-05T02:15:00", "10-06T02:15:00"}},
    {"Australia/Lord_Howe",
     "45 1 * * *",
     "2026-04-05T01:00:00",
     {"04-05T01:45:00", "04-06T01:45:00", "04-07T01:45:00"}},
    {"America/New_York", "30 2 * * *", "2090-03-11T02:30:00", {"03-12T03:00:00", "03-13T02:30:00", "03-14T02:30:00"}},
    /* the day that Samoa left out */
    {"Pacific/Apia", "0 12 30 12 *", "2011-12-29T23:00:00", {"12-31T00:00:00", "12-30T12:00:00", "12-30T12:00:00"}},
    {"Asia/Kathmandu", "0 0 * * *", "2026-01-01T00:00:00", {"01-02T00:00:00", "01-03T00:00:00", "01-04T00:00:00"}},
};

/* The first moment at which the zone's clocks show that. */
static int64_t moment_ms(const struct zone *zone, const char *shown)
{
    int year, month, day, hour, minute;
    assert_int_equal(sscanf(shown, "%d-%d-%dT%d:%d", &year, &month, &day, &hour, &minute), 5);
    char text[32], found[ZONE_TEXT_MAX];
    struct cron cron;
    snprintf(text, sizeof text, "%d %d %d %d *", minute, hour, day, month);
    assert_int_equal(cron_parse(span_of(text), &cron, NULL), 0);
    int64_t at_ms = (int64_t)(year - 1971) * 31556952 * 1000;
    do {
        at_ms = cron_next_ms(&cron, zone, at_ms);
        zone_text(zone, at_ms / 1000, found);
    } while (strncmp(found, shown, 4) < 0);
    assert_memory_equal(found, shown, 16);
    return at_ms;
}

static void the_next_ticks(void **state)
{
    (void)state;
    struct arena *arena = arena_create(64 * 1024, 16 * 1024 * 1024);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error error = {0};
        struct cron cron;
        const struct zone *zone = zone_read(rows[i].zone, arena, &error);
        assert_non_null(zone);
        assert_int_equal(cron_parse(span_of(rows[i].text), &cron, &error), 0);
        int64_t at_ms = moment_ms(zone, rows[i].after);
        for (size_t t = 0; t < 3; t++) {
            char text[ZONE_TEXT_MAX];
            int64_t next_ms = cron_next_ms(&cron, zone, at_ms);
            zone_text(zone, next_ms / 1000, text);
            if (strncmp(text + 5, rows[i].expected[t], 14) != 0)
                fail_msg("'%s' in %s: tick %zu is %s, expected %s", rows[i].text, rows[i].zone, t, text,
                         rows[i].expected[t]);
            assert_int_equal(cron_last_ms(&cron, zone, next_ms), next_ms);
            assert_true(cron_last_ms(&cron, zone, next_ms - 1) <= at_ms);
            at_ms = next_ms;
        }
    }
    arena_destroy(arena);
}

static void a_leap_day_that_a_century_leaves_out(void **state)
{
    (void)state;
    struct arena *arena = arena_create(4096, 1024 * 1024);
    const struct zone *utc = zone_read("UTC", arena, NULL);
    struct cron cron;
    char text[ZONE_TEXT_MAX];
    assert_int_equal(cron_parse(SPAN("0 0 29 2 *"), &cron, NULL), 0);
    int64_t at_ms = cron_next_ms(&cron, utc, moment_ms(utc, "2096-02-29T00:00:00"));
    assert_string_equal(zone_text(utc, at_ms / 1000, text), "2104-02-29T00:00:00+00:00");
    at_ms = cron_last_ms(&cron, utc, at_ms - 1);
    assert_string_equal(zone_text(utc, at_ms / 1000, text), "2096-02-29T00:00:00+00:00");
    arena_destroy(arena);
}

/* 02:15 for the second time, a quarter of an hour before the clocks show 02:30 again. */
static void a_time_that_has_come_does_not_come_again(void **state)
{
    (void)state;
    struct arena *arena = arena_create(64 * 1024, 1024 * 1024);
    const struct zone *zone = zone_read("Europe/Berlin", arena, NULL);
    struct cron cron;
    char text[ZONE_TEXT_MAX];
    assert_non_null(zone);
    assert_int_equal(cron_parse(SPAN("30 2 * * *"), &cron, NULL), 0);
    int64_t first_ms = moment_ms(zone, "2026-10-25T02:30:00"), second_ms = first_ms + 45 * 60000;
    assert_string_equal(zone_text(zone, second_ms / 1000, text), "2026-10-25T02:15:00+01:00");
    assert_string_equal(zone_text(zone, cron_next_ms(&cron, zone, second_ms) / 1000, text),
                        "2026-10-26T02:30:00+01:00");
    assert_int_equal(cron_last_ms(&cron, zone, second_ms + 3600000), first_ms);
    arena_destroy(arena);
}

static void what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *sentence;
    } bad[] = {
        {"", "column 1: expected a minute: the fields are minute hour day month weekday, got nothing"},
        {"0 3 * *", "column 8: expected a day of the week: the fields are minute hour day month weekday, got nothing"},
        {"0 3 * * * *", "column 11: expected nothing more: the fields are minute hour day month weekday, got '*'"},
        {"60 3 * * *", "column 1: expected a minute from 0 to 59, got '60'"},
        {"0 24 * * *", "column 3: expected an hour from 0 to 23, got '24'"},
        {"0 3 0 * *", "column 5: expected a day of the month from 1 to 31, got '0'"},
        {"0 3 * juni *", "column 7: expected a month from 1 to 12, or a name like jan, got 'juni'"},
        {"0 3 * * mon-fro", "column 13: expected a day of the week from 0 to 7, or a name like sun, got 'fro'"},
        {"0,,5 3 * * *", "column 3: expected a minute from 0 to 59, got ',5'"},
        {"30-10 3 * * *", "column 1: expected a range whose end is not before its beginning, got '30-10'"},
        {"*/0 3 * * *",
         "column 3: expected a step of at least 1 that is not larger than the field's largest value, got '0'"},
        {"*/ 3 * * *",
         "column 3: expected a step of at least 1 that is not larger than the field's largest value, got nothing"},
        {"*5 3 * * *", "column 2: expected ',', '-', '/' or a space, got '5'"},
        {"-5 3 * * *", "column 1: expected a minute from 0 to 59, got '-5'"},
        {"0 0 30 2 *", "column 1: no month of it has such a day, so it never ticks"},
        {"0 0 31 4,6 *", "column 1: no month of it has such a day, so it never ticks"},
        {"@often", "column 1: expected @hourly, @daily, @weekly, @monthly, @yearly or five fields, got '@often'"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error error = {0};
        struct cron cron;
        assert_int_not_equal(cron_parse(span_of(bad[i].text), &cron, &error), 0);
        assert_string_equal(error.text, bad[i].sentence);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_ticks),
        cmocka_unit_test(a_leap_day_that_a_century_leaves_out),
        cmocka_unit_test(a_time_that_has_come_does_not_come_again),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
