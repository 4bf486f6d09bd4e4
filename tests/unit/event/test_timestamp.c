/*
 * test_timestamp.c - RFC 3339 both ways, against the C library's own calendar.
 */
#include "check.h"

#include "event/timestamp.h"

#include <time.h>

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.001Z", 1},
        {"1969-12-31T23:59:59.999Z", -1},
        {"2025-01-02T03:04:05.678Z", 1735787045678},
        {"2025-01-02t03:04:05.678z", 1735787045678},
        {"2025-01-02 03:04:05.678Z", 1735787045678},
        {"2025-01-02T03:04:05.678", 1735787045678},
        {"2025-01-02T03:04:05,678Z", 1735787045678},
        {"2025-01-02T03:04:05.6789999999999999999999Z", 1735787045678},
        {"2025-01-02T03:04:05.6Z", 1735787045600},
        {"2025-01-02T03:04:05.67Z", 1735787045670},
        {"2025-01-02T03:04:05Z", 1735787045000},
        {"2025-01-02T12:04:05.678+09:00", 1735787045678},
        {"2025-01-02T12:04:05.678+0900", 1735787045678},
        {"2025-01-02T12:04:05.678+09", 1735787045678},
        {"2025-01-01T22:34:05.678-04:30", 1735787045678},
        {"2025-01-02T03:04:05.678-00:00", 1735787045678},
        {"2024-02-29T00:00:00Z", 1709164800000},
        {"2000-02-29T00:00:00Z", 951782400000},
        {"2016-12-31T23:59:60Z", 1483228800000},
        {"0000-01-01T00:00:00Z", TIMESTAMP_MIN_MS},
        {"9999-12-31T23:59:59.999Z", TIMESTAMP_MAX_MS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t ms = 77;
        if (timestamp_parse(span_of(rows[i].text), &ms) != 0 || ms != rows[i].ms)
            fail_msg("%s became %lld", rows[i].text, (long long)ms);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "now",
        "2025-01-02",
        "2025-01-02T03:04",
        "2025-01-02T03:04Z",
        "2025-01-02T03:04:5Z",
        "20250102T030405Z",
        "2025-1-02T03:04:05Z",
        "2025-13-02T03:04:05Z",
        "2025-00-02T03:04:05Z",
        "2025-01-00T03:04:05Z",
        "2025-01-32T03:04:05Z",
        "2025-04-31T03:04:05Z",
        "2025-02-29T03:04:05Z",
        "1900-02-29T03:04:05Z",
        "2025-01-02T24:00:00Z",
        "2025-01-02T03:60:05Z",
        "2025-01-02T03:04:61Z",
        "2025-01-02T03:04:05.Z",
        "2025-01-02T03:04:05.",
        "2025-01-02T03:04:05.5ZZ",
        "2025-01-02T03:04:05+",
        "2025-01-02T03:04:05+9",
        "2025-01-02T03:04:05+24:00",
        "2025-01-02T03:04:05+09:60",
        "2025-01-02T03:04:05+09:",
        "2025-01-02T03:04:05+09:0",
        "2025-01-02T03:04:05+09:000",
        "2025-01-02T03:04:05Z ",
        " 2025-01-02T03:04:05Z",
        "2025-01-02X03:04:05Z",
        "2025/01/02T03:04:05Z",
        "+2025-01-02T03:04:05Z",
        "-025-01-02T03:04:05Z",
        "2025-01-02T-3:04:05Z",
        "0000-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59.999-00:01",
        "\xd9\xa2\xd9\xa0\xd9\xa2\xd9\xa5-01-02T03:04:05Z",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int64_t ms = 77;
        if (timestamp_parse(span_of(texts[i]), &ms) != -EINVAL)
            fail_msg("\"%s\" was accepted", texts[i]);
        assert_int_equal(ms, 77);
    }
    int64_t ms;
    assert_int_equal(timestamp_parse((struct span){NULL, 0}, &ms), -EINVAL);
}

/* A time every few days over ten thousand years, and every day of the centuries around us. */
static void test_both_ways(void **state)
{
    (void)state;
    for (int64_t ms = TIMESTAMP_MIN_MS; ms <= TIMESTAMP_MAX_MS;
         ms += ms > -2208988800000 && ms < 4133980800000 ? 86399993 : 86400000ll * 11 + 12345) {
        char text[TIMESTAMP_TEXT + 1], expected[80];
        time_t seconds = (time_t)((ms - (ms % 1000 + 1000) % 1000) / 1000);
        struct tm parts;
        assert_non_null(gmtime_r(&seconds, &parts));
        snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900,
                 parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                 (int)((ms % 1000 + 1000) % 1000));
        timestamp_format(ms, text);
        if (strcmp(text, expected) != 0)
            fail_msg("%lld became %s, not %s", (long long)ms, text, expected);
        int64_t again = 0;
        assert_int_equal(timestamp_parse(span_of(text), &again), 0);
        assert_int_equal(again, ms);
    }
}

static void test_format_range(void **state)
{
    (void)state;
    char text[TIMESTAMP_TEXT + 1];
    timestamp_format(INT64_MIN, text);
    assert_string_equal(text, "0000-01-01T00:00:00.000Z");
    timestamp_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_format_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
