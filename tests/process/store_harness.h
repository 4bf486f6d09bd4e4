/*
 * store_harness.h - what the C programs that test the store share: a store on DATABASE_URL, and short ways to use it.
 *
 * Started by test_store_ledger.py with an empty, migrated database. Each test uses handlers, groups and ids of its own,
 * so they run in any order.
 */
#ifndef STORE_HARNESS_H
#define STORE_HARNESS_H

#include "check.h"

#include "base/clock.h"
#include "base/error.h"
#include "store/ledger.h"

#include <pthread.h>

static struct store *store;
static struct metrics *metrics;
static int16_t next_number __attribute__((unused)) = 1000; /* a handler, group, chain or schedule that nobody has */

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct error error = {0};                                                                                      \
        enum store_result result_ = (call);                                                                            \
        if (result_ != STORE_OK)                                                                                       \
            fail_msg("%s: %s: %s", #call, store_result_word(result_), error.text);                                     \
    } while (0)
#define GIVES(expected, call)                                                                                          \
    do {                                                                                                               \
        struct error error = {0};                                                                                      \
        assert_string_equal(store_result_word(call), store_result_word(expected));                                     \
        assert_true(error.code > 0 && error.text[0] != '\0');                                                          \
    } while (0)

static inline int64_t round_trips(void)
{
    return series_value(metrics_series(metrics, METRIC_ROUND_TRIPS, NULL, NULL));
}

static inline struct connection *open_connection(void)
{
    struct connection *connection = connection_create(store, "check");
    assert_non_null(connection);
    return connection;
}

static inline void begin(struct connection *connection)
{
    OK(connection_begin(connection, clock_monotonic_ms() + 20000, &error));
}

static inline struct event_id id_of(uint32_t number)
{
    struct event_id id = {{0x01, 0x90}};
    for (int i = 0; i < 4; i++)
        id.bytes[12 + i] = (uint8_t)(number >> (24 - 8 * i));
    return id;
}

static inline void fill(struct claim *claims, size_t count, int16_t handler, uint32_t first)
{
    for (size_t i = 0; i < count; i++)
        claims[i] = (struct claim){
            .handler = handler, .id = id_of(first + (uint32_t)i), .hash = (int64_t)(first + i) * 77};
}

static inline int64_t number_of(const char *sql)
{
    struct connection *connection = open_connection();
    const struct statement statement = {sql, false};
    struct rows *rows;
    OK(connection_once(connection, &statement, 0, NULL, 5000, &rows, &error));
    int64_t value = rows_int64(rows, 0, 0);
    connection_destroy(connection);
    return value;
}

/* Until a session is in a state that a condition on pg_stat_activity tells. */
static inline void wait_for(const char *condition)
{
    char sql[256];
    snprintf(sql, sizeof sql, "select count(*) from pg_stat_activity where %s", condition);
    for (int64_t until = clock_monotonic_ms() + 10000; clock_monotonic_ms() < until; usleep(5000)) {
        if (number_of(sql) > 0)
            return;
    }
    fail_msg("never: %s", condition);
}

static inline void wait_for_lock(void)
{
    wait_for("wait_event_type = 'Lock'");
}

static inline int harness_open(void)
{
    metrics = metrics_create();
    struct store_options options = {.url = getenv("DATABASE_URL"), .application = "sluice/check", .metrics = metrics};
    struct error error = {0};
    if (options.url == NULL || store_open(&options, &store, &error) != 0 || store_check(store, &error) != STORE_OK) {
        fprintf(stderr, "cannot use DATABASE_URL: %s\n", error.text);
        return -1;
    }
    return 0;
}

static inline void harness_close(void)
{
    store_close(store);
    metrics_destroy(metrics);
}

#endif
