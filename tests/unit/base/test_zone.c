/*
 * test_zone.c - time zones: names and files that are none, files that are cut off, and the rules at their ends.
 */
#include "check.h"

#include "base/zone.h"
#include "base/zone_rule.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *text;
    bool good;
    int64_t at_s, until_s; /* asked for, and when it changes next; 0: not looked at */
    int32_t offset_s;
} rules[] = {
    {"CET-1CEST,M3.5.0,M10.5.0/3", true, 1774745999, 1774746000, 3600}, /* 2026-03-29T00:59:59Z */
    {"CET-1CEST,M3.5.0,M10.5.0/3", true, 1774746000, 1792890000, 7200},
    {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", true, 1767225600, 1775314800, 39600},
    {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", true, 1774745999, 1774746000, -7200}, /* before midnight */
    {"IST-5:30", true, 0, INT64_MAX, 19800},
    {"EST5EDT,0/0,J365/25", true, 1767225600 + 86400, 0, -14400},      /* summer all year */
    {"XXX3YYY,J60/2,300", true, 1709258400 + 3 * 3600 - 1, 0, -10800}, /* March 1 in a leap year, too: 2024 */
    {"XXX3YYY,J60/2,300", true, 1709258400 + 3 * 3600, 0, -7200},
    {"", false},
    {"CE-1", false},
    {"CET", false},
    {"CET-1CEST", false},
    {"CET-1CEST,M3.5.0", false},
    {"CET-1CEST,M13.5.0,M10.5.0", false},
    {"CET-1CEST,M3.6.0,M10.5.0", false},
    {"CET-1CEST,M3.5.0,M10.5.0x", false},
    {"<CET-1", false},
    {"CET-26", false},
};

static void test_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        struct zone_rule rule;
        int64_t until_s;
        if ((zone_rule_parse(span_of(rules[i].text), &rule) == 0) != rules[i].good)
            fail_msg("'%s' is a rule: %d", rules[i].text, !rules[i].good);
        if (!rules[i].good)
            continue;
        int32_t offset_s = zone_rule_offset(&rule, rules[i].at_s, &until_s);
        if (offset_s != rules[i].offset_s)
            fail_msg("'%s' at %lld: %d", rules[i].text, (long long)rules[i].at_s, offset_s);
        if (rules[i].until_s != 0)
            assert_int_equal(until_s, rules[i].until_s);
    }
}

static void test_names(void **state)
{
    (void)state;
    struct arena *arena = arena_create(4096, 16 * 1024 * 1024);
    static const char *const bad[] = {"",         "/etc/passwd",    "../../../etc/passwd", "Europe/../UTC",
                                      "Europe",   "europe/berlin ", "Europe/Atlantis",     "Europe//Berlin",
                                      "zone.tab", "Europe/"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error error = {0};
        if (zone_read(bad[i], arena, &error) != NULL)
            fail_msg("'%s' is a zone", bad[i]);
        assert_true(error.text[0] != '\0' && error.hint[0] != '\0');
    }
    arena_destroy(arena);
}

static size_t file_read(const char *path, char *bytes, size_t size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t length = fread(bytes, 1, size, file);
    fclose(file);
    return length;
}

static void file_write(const char *path, const char *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

/* A file that ends early, or has one wrong byte, is refused or read; nothing behind its end is. */
static void test_files(void **state)
{
    (void)state;
    static char bytes[64 * 1024];
    char folder[] = "/tmp/zone-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/Cut", folder);
    size_t length = file_read("/usr/share/zoneinfo/Europe/Berlin", bytes, sizeof bytes);
    setenv("TZDIR", folder, 1);
    struct arena *arena = arena_create(64 * 1024, 64 * 1024 * 1024);
    for (size_t cut = 0; cut < length; cut++) {
        struct error error = {0};
        file_write(path, bytes, cut);
        assert_null(zone_read("Cut", arena, &error));
        arena_reset(arena);
    }
    for (size_t at = 0; at < length; at++) {
        int64_t until_s;
        bytes[at] ^= (char)0xff;
        file_write(path, bytes, length);
        const struct zone *zone = zone_read("Cut", arena, NULL);
        if (zone != NULL)
            (void)zone_offset(zone, 1774746000, &until_s);
        bytes[at] ^= (char)0xff;
        arena_reset(arena);
    }
    file_write(path, bytes, length);
    const struct zone *zone = zone_read("Cut", arena, NULL);
    char text[ZONE_TEXT_MAX];
    assert_non_null(zone);
    assert_string_equal(zone_text(zone, 1774745999, text), "2026-03-29T01:59:59+01:00");
    assert_string_equal(zone_text(zone, 1774746000, text), "2026-03-29T03:00:00+02:00");
    assert_string_equal(zone_text(zone, -3000000000, text), "1874-12-07T19:33:28+00:53"); /* local mean time */
    assert_string_equal(zone_text(zone, 4118082480, text), "2100-07-01T01:48:00+02:00");
    unsetenv("TZDIR");
    arena_destroy(arena);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
