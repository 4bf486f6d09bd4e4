/*
 * test_server_clock.c - which words of SQL tell the server's time, and which only look so.
 */
#include "check.h"

#include "flowtest/server_clock.h"

static const struct {
    const char *sql, *outside, *inside; /* what is found without and with the bodies in dollar quotes; NULL: nothing */
} cases[] = {
    {"select now()", NULL, NULL},
    {"", NULL, NULL},
    {"select current_timestamp", "current_timestamp", "current_timestamp"},
    {"select CURRENT_TIMESTAMP(3)", "CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP"},
    {"select localtimestamp, 1", "localtimestamp", "localtimestamp"},
    {"select current_date+1", "current_date", "current_date"},
    {"select localtime", "localtime", "localtime"},
    {"select timeofday()", "timeofday", "timeofday"},
    {"select pg_catalog.now()", "now", "now"},
    {"select PG_CATALOG.clock_timestamp()", "clock_timestamp", "clock_timestamp"},
    {"select my.now(), pg_catalog.length(now()::text)", NULL, NULL},
    {"select pg_catalog, now()", NULL, NULL},
    {"select 'current_timestamp'", NULL, NULL},
    {"select 'it''s current_timestamp'", NULL, NULL},
    {"select '\\', current_timestamp", "current_timestamp", "current_timestamp"},
    {"select E'\\', current_timestamp'", NULL, NULL},
    {"select e'\\'' || current_timestamp", "current_timestamp", "current_timestamp"},
    {"select \"current_timestamp\" from t", NULL, NULL},
    {"select t.current_timestamp_of, xcurrent_timestamp from t", NULL, NULL},
    {"-- current_timestamp\nselect 1", NULL, NULL},
    {"-- it's\nselect current_timestamp", "current_timestamp", "current_timestamp"},
    {"/* current_timestamp /* nested */ localtime */ select 1", NULL, NULL},
    {"/* a */ select localtime /* b */", "localtime", "localtime"},
    {"/* never closed: current_timestamp", NULL, NULL},
    {"select 'never closed: current_timestamp", NULL, NULL},
    {"select $1, current_timestamp", "current_timestamp", "current_timestamp"},
    {"select $$current_timestamp$$", NULL, "current_timestamp"},
    {"as $f$ begin return current_timestamp; end $f$ language plpgsql", NULL, "current_timestamp"},
    {"as $f$ select $g$ $f$; select localtime", "localtime", "localtime"},
    {"select $a, current_timestamp", "current_timestamp", "current_timestamp"},
    {"select $$never closed: current_timestamp", NULL, "current_timestamp"},
};

static void check_found(const char *sql, bool bodies, const char *wanted)
{
    struct span found = server_clock_find(span_of(sql), bodies);
    if (wanted == NULL ? found.at == NULL : span_is(found, wanted))
        return;
    fail_msg("in \"%s\": wanted %s, found %.*s", sql, wanted == NULL ? "nothing" : wanted, (int)found.length,
             found.at == NULL ? "" : found.at);
}

static void test_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_found(cases[i].sql, false, cases[i].outside);
        check_found(cases[i].sql, true, cases[i].inside);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
