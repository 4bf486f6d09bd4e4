/*
 * test_difference.c - what changes from one file to another, and what only looks as if it did.
 */
#include "place.h"

#include "pipeline/difference.h"

#include <string.h>

#define BASE "pipeline: p\nbus: {kind: memory}\nplugins: {a: {library: /a.so}}\n"
#define KAFKA(rest) "pipeline: p\nbus: {kind: kafka, properties: {" rest "}}\nplugins: {a: {library: /a.so}}\n"
#define STORE(url) "pipeline: p\nbus: {kind: postgres}\nstore: {url: \"" url "\"}\nplugins: {a: {library: /a.so}}\n"
#define MANY "start another process with the new file, then stop this one, which finishes what it has"

static const struct row {
    const char *before, *now, *expected;
} rows[] = {
    /* the same, written otherwise */
    {BASE, BASE, ""},
    {BASE, "# a comment\nplugins: {a: {library: /a.so}}\n\n\nbus: {kind: memory}\npipeline: p\n", ""},
    {BASE, BASE "engine: {lanes: 4, drain_timeout: 10000ms, max_event_size: 1048576B, group: p}\n", ""},
    {BASE, BASE "defaults: {timeout: 10s, retry: {max_retries: 5, backoff: {multiplier: 2.0, jitter: 0.20}}}\n", ""},
    {BASE "engine:\n", BASE "engine: {batch: {max_events: 500}}\n", ""},
    {BASE "topics: {t: {handler: a.x}}\n",
     BASE "topics: {t: {handler: a.x, timeout: 10s, dead_letter: t-dlt, final: false, retry: {max_retries: 5, backoff: "
          "{initial_interval: 200ms}}}}\n",
     ""},
    {BASE "topics: {t: {handler: a.x, routes: {o: u}}}\n",
     BASE "topics: {t: {handler: a.x, routes: {o: [{topic: u}]}}}\n", ""},
    {BASE "topics: {t: {handler: a.x, routes: {o: {retry: r, max_retries: 3, exhausted: e}}}}\n",
     BASE "topics: {t: {handler: a.x, routes: {o: {retry: r, max_retries: 3, exhausted: e, initial_interval: 1000ms, "
          "counter: retryCount}}}}\n",
     ""},
    {BASE "defaults: {timeout: 3s, dead_letter: \"{topic}.dead\"}\ntopics: {t: {handler: a.x}}\n",
     BASE "defaults: {timeout: 3s, dead_letter: \"{topic}.dead\"}\n"
          "topics: {t: {handler: a.x, timeout: 3000ms, dead_letter: t.dead}}\n",
     ""},
    {BASE "engine: {batch: {max_events: 7}}\ntaps: {w: {topics: [t], handler: a.x}}\n",
     BASE "engine: {batch: {max_events: 7}}\ntaps: {w: {topics: [t], handler: a.x, batch: {max_events: 7}}}\n", ""},
    {KAFKA("bootstrap.servers: \"a:1,b:2\""), KAFKA("bootstrap.servers: [\"a:1\", \"b:2\"]"), ""},
    /* one value */
    {BASE, BASE "engine: {lanes: 8}\n", "changed engine lanes: 4 -> 8\n"},
    {BASE "engine: {lanes: 8, sweep_after: 90s}\n", BASE "engine: {sweep_after: 2m}\n",
     "changed engine lanes: 8 -> 4\nchanged engine sweep_after: 90s -> 2m\n"},
    {BASE "topics: {t: {handler: a.x}}\n", BASE "topics: {t: {handler: a.y, key: \"{id}\"}}\n",
     "changed topic t handler: a.x -> a.y\nchanged topic t key: - -> {id}\n"},
    {BASE "topics: {t: {handler: a.x}}\n", BASE "topics: {t: {handler: a.x, retry: {max_retries: 9}}}\n",
     "changed topic t retry.max_retries: 5 -> 9\n"},
    {BASE "topics: {t: {handler: a.x}}\n", BASE "defaults: {retry: {max_retries: 9}}\ntopics: {t: {handler: a.x}}\n",
     "changed defaults retry.max_retries: 5 -> 9\n"},
    {BASE "topics: {t: {handler: a.x, routes: {o: u}}}\n",
     BASE "topics: {t: {handler: a.x, routes: {o: [u, {topic: v, delay: 120s}]}}}\n",
     "changed topic t routes.o: u -> u, v after 2m\n"},
    {BASE "topics: {t: {handler: a.x, routes: {o: drop}}}\n",
     BASE "topics: {t: {handler: a.x, routes: {o: drop, n: u}}}\n", "changed topic t routes.n: - -> u\n"},
    {BASE "topics: {t: {handler: a.x, routes: {o: {retry: r, max_retries: 3, exhausted: e}}}}\n",
     BASE "topics: {t: {handler: a.x, routes: {o: {retry: r, max_retries: 4, exhausted: e}}}}\n",
     "changed topic t routes.o.max_retries: 3 -> 4\n"},
    {BASE "topics: {t: {handler: a.x}}\n", BASE "topics: {t: {handler: a.x, limit: {rate: 5/s}}}\n",
     "changed topic t limit.rate: - -> 5/s\n"},
    {BASE "chains: {c: {correlate: i, steps: [{name: s, done: d, undo: u}], abort_on: [f]}}\n",
     BASE "chains: {c: {correlate: i, steps: [{name: s, done: d, undo: none}, {name: r, done: e, undo: v}], abort_on: "
          "[f], timeout: 1h}}\n",
     "changed chain c steps: [s] -> [s, r]\nchanged chain c steps.r.done: - -> e\nchanged chain c steps.r.name: - -> "
     "r\nchanged chain c steps.r.undo: - -> v\nchanged chain c steps.s.undo: u -> none\nchanged chain c timeout: - -> "
     "1h\n"},
    {BASE "schedules: {s: {every: 1s, handler: a.x}}\n", BASE "schedules: {s: {cron: \"@daily\", handler: a.x}}\n",
     "changed schedule s cron: - -> @daily\nchanged schedule s every: 1s -> -\n"},
    {"pipeline: p\nbus: {kind: memory}\nplugins: {a: {library: /a.so, settings: {rate: 1, more: {deep: [a, b]}}}}\n",
     "pipeline: p\nbus: {kind: memory}\nplugins: {a: {library: /b.so, settings: {rate: 2, more: {deep: [a]}}}}\n",
     "changed plugin a library: /a.so -> /b.so\nchanged plugin a settings.more.deep: [a, b] -> [a]\nchanged plugin a "
     "settings.rate: 1 -> 2\n"},
    /* all of something */
    {BASE, BASE "topics: {t: {handler: a.x, key: \"{id}\"}}\ndependencies: {bank: {failures: 3}}\n",
     "added dependency bank\nadded topic t\n"},
    {BASE "http: {listen: \"127.0.0.1:1\", requests: {\"POST /p\": {handler: a.x}}}\n", BASE,
     "removed http\nremoved request POST /p\n"},
    {BASE "http:\n  requests: {\"POST /p\": {handler: a.x}}\n",
     BASE
     "http:\n  max_body: 1KiB\n  requests: {\"POST /p\": {handler: a.x, timeout: 1s}, \"GET /q\": {handler: a.x}}\n",
     "changed http max_body: 64KiB -> 1KiB\nadded request GET /q\nchanged request POST /p timeout: 10s -> 1s\n"},
    {BASE "renamed: {t: u}\n", BASE "renamed: {t: v}\nretired: {w: dead_letter}\n",
     "changed renamed t to: u -> v\nadded retired w\n"},
    /* secrets */
    {BASE "http: {token: one}\n", BASE "http: {token: two}\n", "changed http token: *** -> ***\n"},
    {STORE("postgresql://me:one@h/d"), STORE("postgresql://me:two@h/d"), "changed store url: *** -> ***\n"},
    {KAFKA("bootstrap.servers: \"a:1\", sasl.password: one"), KAFKA("bootstrap.servers: \"a:1\", sasl.password: two"),
     "changed bus properties.sasl.password: *** -> ***\n"},
    {BASE "engine: {plugin_dir: \"${TEST_WORD:-one}\"}\n", BASE "engine: {plugin_dir: two}\n",
     "changed engine plugin_dir: *** -> ***\n"},
    {BASE "tracing: {otlp: \"http://h:1\", headers: {x: one}}\n",
     BASE "tracing: {otlp: \"http://h:1\", headers: {x: two}}\n", "changed tracing headers.x: *** -> ***\n"},
    {"pipeline: p\nbus: {kind: memory}\nplugins: {a: {library: /a.so, settings: {api_key: one, url: "
     "\"x://u:one@h\"}}}\n",
     "pipeline: p\nbus: {kind: memory}\nplugins: {a: {library: /a.so, settings: {api_key: two, url: "
     "\"x://u:two@h\"}}}\n",
     "changed plugin a settings.api_key: *** -> ***\nchanged plugin a settings.url: *** -> ***\n"},
    /* what a running engine cannot change */
    {BASE, KAFKA("bootstrap.servers: \"a:1\""),
     "changed bus kind: memory -> kafka\nchanged bus properties.bootstrap.servers: - -> a:1\nrefused: bus.kind: events "
     "and positions are on the bus of now and do not move to another one; " MANY "\n"},
    {KAFKA("bootstrap.servers: \"a:1,b:2\""), KAFKA("bootstrap.servers: \"b:2,c:3\""),
     "changed bus properties.bootstrap.servers: a:1,b:2 -> b:2,c:3\n"},
    {KAFKA("bootstrap.servers: \"a:1,b:2\""), KAFKA("bootstrap.servers: \"a:11,c:3\""),
     "changed bus properties.bootstrap.servers: a:1,b:2 -> a:11,c:3\nrefused: bus.properties: 'bootstrap.servers' "
     "names none of the brokers of now, so it may be another cluster, where events and positions do not move to; keep "
     "one of them in the list, or " MANY "\n"},
    {BASE, "pipeline: p\nbus: {kind: memory, partitions: 3}\nplugins: {a: {library: /a.so}}\n",
     "changed bus partitions: 16 -> 3\nrefused: bus.partitions: the log has the number that it was made with; keep "
     "it\n"},
    {BASE, BASE "engine: {group: q}\n",
     "changed engine group: p -> q\nrefused: engine.group: 'p' has the positions, and a worker of 'q' beside it would "
     "handle the same events; stop this process, then start one with the new file (`renamed` takes the positions "
     "along), or keep the group\n"},
    {BASE, BASE "store: {url: \"postgresql:///d\"}\n",
     "added store\nrefused: store: what was handled before there was a database is not in it; " MANY "\n"},
    {BASE "store: {url: \"postgresql:///d\"}\n", BASE,
     "removed store\nrefused: store: what waits, and what was handled, is in the database, and would be left "
     "there; " MANY "\n"},
    {STORE("postgresql://me@h/d?sslmode=require"), STORE("postgresql://you:x@h/d?connect_timeout=3"),
     "changed store url: *** -> ***\n"},
    {STORE("host=h user=me dbname=d"), STORE("user=you host=h dbname=d password=x"), "changed store url: *** -> ***\n"},
    {STORE("postgresql://me@h/d"), STORE("postgresql://me@h/e"),
     "changed store url: *** -> ***\nrefused: store.url: it names another database, where what waits and what was "
     "handled is not; " MANY "\n"},
    {STORE("postgresql:///d?host=/a"), STORE("postgresql:///d?host=/b"),
     "changed store url: *** -> ***\nrefused: store.url: it names another database, where what waits and what was "
     "handled is not; " MANY "\n"},
};

static const char *found(const struct read *before, const struct read *now)
{
    struct difference difference;
    const char *text = "";
    difference_find(before->pipeline, now->pipeline, now->arena, &difference);
    for (size_t i = 0; i < difference.count; i++) {
        const struct change *change = &difference.changes[i];
        text = arena_format(now->arena, "%s%s %s%s%s", text, change_word(change->kind), change->of,
                            change->name[0] == '\0' ? "" : " ", change->name);
        text = change->field == NULL ? arena_format(now->arena, "%s\n", text)
                                     : arena_format(now->arena, "%s %s: %s -> %s\n", text, change->field,
                                                    change->before == NULL ? "-" : change->before,
                                                    change->now == NULL ? "-" : change->now);
    }
    for (size_t i = 0; i < difference.refused_count; i++)
        text = arena_format(now->arena, "%srefused: %s\n", text, difference.refused[i]);
    return text;
}

static void each_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct read *before = read_pipeline(rows[i].before), *now = read_pipeline(rows[i].now);
        const char *text = found(before, now);
        char old[HASH_TEXT], new[HASH_TEXT];
        if (strcmp(text, rows[i].expected) != 0)
            fail_msg("row %zu:\n%s---- to\n%s---- is\n%s---- not\n%s", i, rows[i].before, rows[i].now, text,
                     rows[i].expected);
        pipeline_hash(before->pipeline, old);
        pipeline_hash(now->pipeline, new);
        bool secrets = strstr(text, "***") != NULL;
        if (!secrets && (strcmp(old, new) == 0) != (text[0] == '\0'))
            fail_msg("row %zu: hashes %s and %s\n%s---- to\n%s", i, old, new, rows[i].before, rows[i].now);
        assert_int_equal(strlen(new), 12);
        read_end(before);
        read_end(now);
    }
}

static const struct sluice_field settings[] = {{.name = "pin", .type = SLUICE_TYPE_TEXT, .flags = SLUICE_SECRET},
                                               {.name = "token_count", .type = SLUICE_TYPE_INT64},
                                               {0}};
static const struct sluice_plugin plugin = {.name = "a", .version = "1", .settings = settings};

static void a_plugin_says_what_is_secret(void **state)
{
    (void)state;
    struct read *before = read_pipeline(
                    "pipeline: p\nbus: {kind: memory}\nplugins: {a: {library: /a.so, settings: {pin: "
                    "1111, token_count: 1}}}\n"),
                *now = read_pipeline("pipeline: p\nbus: {kind: memory}\nplugins: {a: {library: /a.so, settings: {pin: "
                                     "2222, token_count: 2}}}\n");
    now->pipeline->plugins[0].plugin = &plugin;
    assert_string_equal(found(before, now), "changed plugin a settings.pin: *** -> ***\n"
                                            "changed plugin a settings.token_count: *** -> ***\n");
    before->pipeline->plugins[0].plugin = &plugin;
    assert_string_equal(found(before, now), "changed plugin a settings.pin: *** -> ***\n"
                                            "changed plugin a settings.token_count: 1 -> 2\n");
    read_end(before);
    read_end(now);
}

static void a_secret_is_not_in_the_hash(void **state)
{
    (void)state;
    char one[HASH_TEXT], two[HASH_TEXT], none[HASH_TEXT];
    struct read *first = read_pipeline(BASE "http: {token: one}\n"),
                *second = read_pipeline(BASE "http: {token: two}\n"),
                *without = read_pipeline(BASE "http: {listen: \"127.0.0.1:8080\"}\n");
    pipeline_hash(first->pipeline, one);
    pipeline_hash(second->pipeline, two);
    pipeline_hash(without->pipeline, none);
    assert_string_equal(one, two);
    assert_string_not_equal(one, none);
    read_end(first);
    read_end(second);
    read_end(without);
}

static void a_file_that_cannot_be_read(void **state)
{
    (void)state;
    struct read *before = read_pipeline(BASE), *now = read_pipeline("pipeline: [\n");
    char hash[HASH_TEXT];
    assert_null(now->pipeline->root);
    (void)found(before, now);
    pipeline_hash(now->pipeline, hash);
    read_end(before);
    read_end(now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_row), cmocka_unit_test(a_plugin_says_what_is_secret),
                                       cmocka_unit_test(a_secret_is_not_in_the_hash),
                                       cmocka_unit_test(a_file_that_cannot_be_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
