/*
 * store_check_waits.c - outbox, parked events, pruning, and values both ways, against a real database.
 */
#include "store_harness.h"

/* ---------------------------------------------------------------------------------------------------- what waits */

static void outbox_rows_stand_until_done(void **state)
{
    (void)state;
    struct connection *connection = open_connection(), *sweeper = open_connection(), *other = open_connection();
    const char bytes[] = "a\0b\xff";
    int64_t ids[100], before;
    struct rows *rows;
    begin(connection);
    before = round_trips();
    for (size_t i = 0; i < 100; i++) {
        OK(ledger_outbox_add(connection, 7, (struct span){bytes, 4}, &ids[i], &error));
        assert_true(i == 0 || ids[i] > ids[i - 1]);
    }
    assert_int_equal(round_trips() - before, 2); /* two blocks of ids */
    OK(connection_commit(connection, &error));
    begin(sweeper);
    OK(ledger_outbox_take(sweeper, 8, 3600 * 1000, 1000, &rows, &error));
    assert_int_equal(rows_count(rows), 0);
    OK(ledger_outbox_take(sweeper, 8, 0, 60, &rows, &error));
    assert_int_equal(rows_count(rows), 60);
    assert_int_equal(rows_int64(rows, 0, 0), ids[0]);
    assert_true(span_equal(rows_span(rows, 0, 1), (struct span){bytes, 4}));
    begin(other); /* locked rows are somebody's already */
    OK(ledger_outbox_take(other, 8, 0, 1000, &rows, &error));
    assert_int_equal(rows_count(rows), 40);
    connection_rollback(other);
    OK(ledger_outbox_done(sweeper, ids, 60, &error));
    OK(connection_commit(sweeper, &error));
    struct ledger_health health;
    OK(ledger_health(other, &health, &error));
    assert_true(health.outbox_age_ms >= 0 && health.outbox_age_ms < 60000);
    begin(connection);
    OK(ledger_outbox_done(connection, ids, 100, &error));
    OK(connection_commit(connection, &error));
    assert_int_equal(number_of("select count(*) from sluice.outbox"), 0);
    connection_destroy(connection);
    connection_destroy(sweeper);
    connection_destroy(other);
}

static void parked_events_come_when_due(void **state)
{
    (void)state;
    int16_t group = next_number++, nobodys = next_number++;
    int64_t now_ms = clock_wall_ms(), next_ms;
    struct parked parked[] = {
        {.group = group, .id = id_of(1), .due_ms = now_ms - 5000, .record = SPAN("one"), .reason = SPAN("later")},
        {.group = group, .id = id_of(2), .due_ms = now_ms + 3600 * 1000, .record = SPAN("two")},
        {.group = group, .state = PARKED_STUCK, .id = id_of(3), .due_ms = now_ms - 5000, .record = SPAN("three")},
        {.group = nobodys, .id = id_of(1), .due_ms = now_ms - 9000, .record = SPAN("four")},
        {.group = group, .id = id_of(1), .due_ms = now_ms - 4000, .record = SPAN("one again")},
    };
    struct connection *connection = open_connection();
    struct rows *rows;
    begin(connection);
    OK(ledger_park(connection, parked, 5, &error));
    OK(connection_commit(connection, &error));
    int64_t before = round_trips();
    OK(ledger_parked_take(connection, 7, &group, 1, 60000, 10, &rows, &next_ms, &error));
    assert_int_equal(round_trips() - before, 1);
    assert_int_equal(rows_count(rows), 1);
    assert_int_equal(rows_int64(rows, 0, 0), group);
    struct event_id id = rows_uuid(rows, 0, 1);
    assert_memory_equal(&id, &parked[0].id, sizeof id);
    assert_true(span_is(rows_span(rows, 0, 2), "one again"));
    assert_in_range(next_ms, now_ms + 55000, now_ms + 70000); /* held, comes again */
    OK(ledger_parked_take(connection, 7, &group, 1, 60000, 10, &rows, &next_ms, &error));
    assert_int_equal(rows_count(rows), 0);
    begin(connection); /* a release of the one who took it changes nothing, another's makes it due */
    OK(ledger_parked_release(connection, group, 7, &error));
    OK(connection_commit(connection, &error));
    OK(ledger_parked_take(connection, 8, &group, 1, 60000, 10, &rows, &next_ms, &error));
    assert_int_equal(rows_count(rows), 0);
    begin(connection);
    OK(ledger_parked_release(connection, group, 8, &error));
    OK(connection_commit(connection, &error));
    OK(ledger_parked_take(connection, 8, &group, 1, 60000, 10, &rows, &next_ms, &error));
    assert_int_equal(rows_count(rows), 1);
    begin(connection); /* parking it again moves its time, handling it ends it */
    parked[0].due_ms = now_ms + 7200 * 1000;
    OK(ledger_park(connection, parked, 1, &error));
    OK(connection_commit(connection, &error));
    OK(ledger_parked_take(connection, 7, &group, 1, 60000, 10, &rows, &next_ms, &error));
    assert_in_range(next_ms, now_ms + 3599 * 1000, now_ms + 3601 * 1000);
    struct event_id both[] = {parked[0].id, parked[1].id};
    begin(connection);
    OK(ledger_unpark(connection, group, both, 2, &error));
    OK(connection_commit(connection, &error));
    OK(ledger_parked_take(connection, 7, &group, 1, 60000, 10, &rows, &next_ms, &error));
    assert_true(next_ms == INT64_MAX);
    struct ledger_health health;
    OK(ledger_health(connection, &health, &error));
    assert_int_equal(health.parked, 2);
    connection_destroy(connection);
}

static void pruning_goes_round(void **state)
{
    (void)state;
    struct connection *connection = open_connection();
    OK(connection_script(connection,
                         "insert into sluice.inbox select 999, 0, case when g % 2 = 0 then 1000 else"
                         " (extract(epoch from now())::int8 - 1577836800)::int4 end, gen_random_uuid(), g"
                         " from generate_series(1, 20000) g",
                         20000, &error));
    size_t total = 0, deleted, most = 0;
    for (int i = 0; i < 40 && total < 10000; i++) {
        OK(ledger_prune(connection, 3600 * 1000, 2000, &deleted, &error));
        most = deleted > most ? deleted : most;
        total += deleted;
    }
    assert_int_equal(total, 10000);
    assert_true(most < 4000);
    assert_int_equal(number_of("select count(*) from sluice.inbox where handler = 999"), 10000);
    connection_destroy(connection);
}

/* ------------------------------------------------------------------------------------------------- values both ways */

static void values_travel_both_ways(void **state)
{
    (void)state;
    static const struct statement statement = {
        "select $1, $2, $3, $4::bool, $5, $6, $7, $8, $9, $10, $11, null::int8, 123456.789::numeric, -70000::numeric,"
        " 0::numeric, 'infinity'::timestamptz, 1.5::float4, '[1]'::json, $12::text",
        false};
    int16_t int2 = -2;
    int32_t int4 = INT32_MIN, yes = 1;
    int64_t int8 = INT64_MIN, xid = 1234567890123, early = -1;
    double real = -0.125;
    struct span text = SPAN("\xc3\xa9"), bytes = {"a\0b", 3}, json = SPAN("{\"a\": 1}"), none = {NULL, 0};
    struct event_id id = id_of(77);
    const struct store_param params[] = {
        STORE_VALUE(PARAM_INT2, &int2),   STORE_VALUE(PARAM_INT4, &int4),       STORE_VALUE(PARAM_INT8, &int8),
        STORE_VALUE(PARAM_BOOL, &yes),    STORE_VALUE(PARAM_DOUBLE, &real),     STORE_VALUE(PARAM_TEXT, &text),
        STORE_VALUE(PARAM_BYTEA, &bytes), STORE_VALUE(PARAM_UUID, &id),         STORE_VALUE(PARAM_JSONB, &json),
        STORE_VALUE(PARAM_XID8, &xid),    STORE_VALUE(PARAM_TIMESTAMP, &early), STORE_VALUE(PARAM_TEXT, &none),
    };
    struct connection *connection = open_connection();
    struct rows *rows;
    OK(connection_once(connection, &statement, 12, params, 5000, &rows, &error));
    assert_int_equal(rows_int64(rows, 0, 0), -2);
    assert_int_equal(rows_int64(rows, 0, 1), INT32_MIN);
    assert_true(rows_int64(rows, 0, 2) == INT64_MIN);
    assert_int_equal(rows_int64(rows, 0, 3), 1);
    assert_true(rows_double(rows, 0, 4) == -0.125);
    assert_true(span_equal(rows_span(rows, 0, 5), text));
    assert_true(span_equal(rows_span(rows, 0, 6), bytes));
    struct event_id back = rows_uuid(rows, 0, 7);
    assert_memory_equal(&back, &id, sizeof id);
    assert_true(span_equal(rows_span(rows, 0, 8), json));
    assert_int_equal(rows_int64(rows, 0, 9), xid);
    assert_int_equal(rows_int64(rows, 0, 10), -1);
    assert_true(rows_null(rows, 0, 11) && rows_int64(rows, 0, 11) == 0);
    assert_true(rows_double(rows, 0, 12) > 123456.7889 && rows_double(rows, 0, 12) < 123456.7891);
    assert_int_equal(rows_int64(rows, 0, 12), 123456);
    assert_int_equal(rows_int64(rows, 0, 13), -70000);
    assert_int_equal(rows_int64(rows, 0, 14), 0);
    assert_true(rows_int64(rows, 0, 15) == INT64_MAX);
    assert_true(rows_double(rows, 0, 16) == 1.5);
    assert_true(span_is(rows_span(rows, 0, 17), "[1]"));
    assert_true(rows_null(rows, 0, 18));
    const enum param_type types[] = {PARAM_INT2,  PARAM_INT4, PARAM_INT8,  PARAM_BOOL, PARAM_DOUBLE,    PARAM_TEXT,
                                     PARAM_BYTEA, PARAM_UUID, PARAM_JSONB, PARAM_XID8, PARAM_TIMESTAMP, PARAM_INT8};
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(rows_type(rows, i), types[i]);
    assert_int_equal(rows_type(rows, 12), 0);    /* numeric: a double is not what it is */
    assert_int_equal(rows_int64(rows, 0, 5), 0); /* asked for as another type: nothing */
    assert_int_equal(rows_int64(rows, 7, 0), 0);
    assert_int_equal(rows_columns(rows), 19);

    struct rows *kept = rows_detach(connection, rows);
    OK(connection_once(connection, &statement, 12, params, 5000, &rows, &error));
    connection_destroy(connection);
    assert_true(span_equal(rows_span(kept, 0, 6), bytes)); /* outlives the connection */
    rows_free(kept);
}

static void arrays_travel_with_stride_and_nulls(void **state)
{
    (void)state;
    struct element {
        int16_t int2;
        int32_t flag;
        struct span text, json;
        int64_t at;
    } elements[] = {
        {1, 1, SPAN("a"), SPAN("1"), 1000}, {-1, 0, {NULL, 0}, SPAN("{}"), -1001}, {3, 7, SPAN(""), SPAN("[]"), 0}};
    static const struct statement statement = {
        "select * from unnest($1, $2, $3, $4, $5) with ordinality u(a, b, c, d, e, place) order by place", false};
    struct connection *connection = open_connection();
    for (size_t count = 0; count <= 3; count += 3) {
        const struct store_param params[] = {
            STORE_COLUMN(PARAM_INT2, &elements[0].int2, count, sizeof elements[0]),
            STORE_COLUMN(PARAM_BOOL, &elements[0].flag, count, sizeof elements[0]),
            STORE_COLUMN(PARAM_TEXT, &elements[0].text, count, sizeof elements[0]),
            STORE_COLUMN(PARAM_JSONB, &elements[0].json, count, sizeof elements[0]),
            STORE_COLUMN(PARAM_TIMESTAMP, &elements[0].at, count, sizeof elements[0]),
        };
        struct rows *rows;
        OK(connection_once(connection, &statement, 5, params, 5000, &rows, &error));
        assert_int_equal(rows_count(rows), count);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(rows_int64(rows, i, 0), elements[i].int2);
            assert_int_equal(rows_int64(rows, i, 1), elements[i].flag != 0);
            assert_int_equal(rows_null(rows, i, 2), elements[i].text.at == NULL);
            assert_true(span_equal(rows_span(rows, i, 2), elements[i].text));
            assert_true(span_equal(rows_span(rows, i, 3), elements[i].json));
            assert_int_equal(rows_int64(rows, i, 4), elements[i].at);
        }
    }
    connection_destroy(connection);
}

/* As many as a plugin may have in one query (sluice/plugin.h); one more is refused before it is sent. */
static void a_statement_has_64_parameters_at_most(void **state)
{
    (void)state;
    static const size_t counts[] = {33, 64, 65};
    static char texts[3][512];
    int32_t values[65];
    struct store_param params[65];
    struct connection *connection = open_connection();
    struct rows *rows;
    for (int32_t i = 0; i < 65; i++) {
        values[i] = i + 1;
        params[i] = (struct store_param)STORE_VALUE(PARAM_INT4, &values[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        size_t count = counts[i], length = (size_t)snprintf(texts[i], sizeof texts[i], "select $1");
        for (size_t n = 2; n <= count; n++)
            length += (size_t)snprintf(texts[i] + length, sizeof texts[i] - length, " + $%zu", n);
        struct statement statement = {texts[i], true};
        if (count > 64) {
            struct error error = {0};
            assert_int_equal(connection_once(connection, &statement, count, params, 5000, &rows, &error), STORE_DATA);
            assert_non_null(strstr(error.text, "a statement may have 64 parameters"));
            continue;
        }
        OK(connection_once(connection, &statement, count, params, 5000, &rows, &error));
        assert_int_equal(rows_int64(rows, 0, 0), count * (count + 1) / 2);
    }
    connection_destroy(connection);
}

static void results_of_queued_statements_come_with_the_commit(void **state)
{
    (void)state;
    static const struct statement one = {"select 1", false}, two = {"select 2", false};
    struct connection *connection = open_connection();
    struct rows *rows[3];
    begin(connection);
    int64_t before = round_trips();
    OK(connection_queue(connection, &one, 0, NULL, &error));
    OK(connection_queue(connection, &two, 0, NULL, &error));
    OK(connection_commit_rows(connection, rows, 3, &error));
    assert_int_equal(round_trips() - before, 1);
    assert_int_equal(rows_int64(rows[0], 0, 0), 1);
    assert_int_equal(rows_int64(rows[1], 0, 0), 2);
    assert_null(rows[2]);
    begin(connection);
    before = round_trips();
    OK(connection_commit(connection, &error)); /* nothing was asked of the server */
    assert_int_equal(round_trips(), before);
    connection_destroy(connection);
}

/* A pipeline of megabytes in both directions: whoever does not read while writing hangs here. */
static void large_pipelines_do_not_lock_up(void **state)
{
    (void)state;
    static const struct statement echo = {"select $1", false};
    size_t size = 4 * 1024 * 1024;
    char *bytes = malloc(size);
    memset(bytes, 'x', size);
    struct span span = {bytes, size};
    const struct store_param params[] = {STORE_VALUE(PARAM_BYTEA, &span)};
    struct connection *connection = open_connection();
    struct rows *rows[12];
    begin(connection);
    for (int i = 0; i < 12; i++)
        OK(connection_queue(connection, &echo, 1, params, &error));
    OK(connection_commit_rows(connection, rows, 12, &error));
    for (int i = 0; i < 12; i++)
        assert_true(span_equal(rows_span(rows[i], 0, 0), span));
    connection_destroy(connection);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outbox_rows_stand_until_done),
        cmocka_unit_test(parked_events_come_when_due),
        cmocka_unit_test(pruning_goes_round),
        cmocka_unit_test(values_travel_both_ways),
        cmocka_unit_test(arrays_travel_with_stride_and_nulls),
        cmocka_unit_test(a_statement_has_64_parameters_at_most),
        cmocka_unit_test(results_of_queued_statements_come_with_the_commit),
        cmocka_unit_test(large_pipelines_do_not_lock_up),
    };
    if (harness_open() != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    harness_close();
    return failed;
}
