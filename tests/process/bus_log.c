/*
 * bus_log.c - the log of the postgres bus: made once, trimmed, restored.
 *
 *   bus_log postgres URL [TEST]     the database must have the engine's schema and be nobody else's
 */
#include "bus_harness.h"

static void test_trim(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "trim"), *group = name_of("trim", "group");
    struct connection *connection = sql_open(harness);
    struct bus *bus = harness_bus(harness, 0);
    sql(connection, "delete from sluice.bus_lease"); /* groups of tests before */
    struct reader reader = reader_open(bus, group, topic);
    reader.commits = true;
    publish(bus, topic, "t", 0, 100);
    reader_until(&reader, 100);
    int64_t first = sql(connection, "select min(start) from sluice.bus_segment where start >= 0");
    int64_t end = sql(connection, "select min(stop) from sluice.bus_segment where start >= 0");
    struct error error = {0};
    /* Use the segment up. */
    CHECK(connection_script(connection,
                            "create or replace procedure sluice.burn(upto int8) language plpgsql as $$ begin"
                            " while pg_current_xact_id()::text::int8 < upto loop commit; end loop; end $$",
                            20000, &error) == STORE_OK,
          "%s", error.text);
    char call[64];
    snprintf(call, sizeof call, "call sluice.burn(%lld)", (long long)end + 1100);
    CHECK(connection_script(connection, call, 60000, &error) == STORE_OK, "%s", error.text);
    publish(bus, topic, "t", 100, 10);
    /* Not yet read by everybody: it must stay. */
    struct reader idle = reader_open(bus, name_of("trim", "idle"), topic);
    reader_until_streams(&idle, PARTITIONS);
    reader_until(&reader, 110);
    for (int i = 0; i < 4; i++) {
        reader_poll(&reader, 100);
        sql(connection, "select sluice.bus_maintain(4096, 0)");
    }
    CHECK(sql(connection, "select min(start) from sluice.bus_segment where start >= 0") == first,
          "a segment was dropped that a group has not read");
    idle.commits = true;
    reader_until(&idle, 110);
    for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
         sql(connection, "select min(start) from sluice.bus_segment where start >= 0") <= first;) {
        CHECK(clock_monotonic_ms() < until_ms, "the segment that everybody has read stays");
        reader_poll(&reader, 100);
        reader_poll(&idle, 100);
        bus_maintain(bus);
    }
    CHECK(sql(connection,
              "select count(*) from pg_class c join sluice.bus_segment s on c.relname = 'bus_log_' || s.start") ==
              sql(connection, "select count(*) from sluice.bus_segment where start >= 0"),
          "segments and tables differ");
    CHECK(sql(connection, "select count(*) from sluice.bus_log_default") == 0, "rows fell into the default partition");
    publish(bus, topic, "t", 110, 10);
    reader_until(&reader, 120);
    check_key(&reader, "t", 0, 120);
    reader_close(&reader);
    reader_close(&idle);
    bus_close(bus);
    connection_destroy(connection);
}

static void test_settings(void **state)
{
    struct harness *harness = *state;
    struct bus_options options = {
        .name = "suite", .partitions = PARTITIONS + 1, .retention_ms = 1000, .store = harness->store};
    struct error error = {0};
    struct bus *bus = NULL;
    CHECK(bus_postgres_open(&options, &bus, &error) == -EINVAL, "another number of partitions was accepted");
    CHECK(strstr(error.text, "8 partitions") != NULL && error.hint[0] != '\0', "%s", error.text);
}

/* A dump of a server far ahead was restored: the log must be refused, and bus_rebase() must mend it. The test moves
 * the log into the future. */
static void test_restored(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "restored"), *group = name_of("restored", "group");
    struct connection *connection = sql_open(harness);
    publish(harness->bus, topic, "r", 0, 30);
    publish(harness->bus, topic, "r", 30, 30);
    publish(harness->bus, topic, "r", 60, 30);
    struct reader reader = reader_open(harness->bus, group, topic);
    reader_until(&reader, 90);
    struct error error = {0};
    for (size_t i = 0; i < reader.count; i++) { /* 0 … 39 are done: the middle of a row */
        const struct got *got = &reader.got[i];
        if (got->number == 39)
            CHECK(bus_commit(harness->bus, reader.consumer, 1, &got->stream, &got->epoch, &got->position, &error) == 0,
                  "%s", error.text);
    }
    reader_close(&reader);
    sql(connection, "update sluice.bus_log set xid = (xid::text::int8 + 1000000000)::text::xid8");
    sql(connection, "update sluice.bus_lease set high = high + 1000000000 where high > 0");
    struct bus_options options = {
        .name = "suite", .partitions = PARTITIONS, .retention_ms = 1000, .store = harness->store};
    struct bus *bus = NULL;
    CHECK(bus_postgres_open(&options, &bus, &error) == -ESTALE, "a log from the future was accepted");
    CHECK(strstr(error.hint, "bus_rebase") != NULL, "no advice: %s", error.hint);
    sql(connection, "select sluice.bus_rebase()");
    CHECK(bus_postgres_open(&options, &bus, &error) == 0, "%s", error.text);
    publish(bus, topic, "r", 90, 10);
    reader = reader_open(bus, group, topic);
    reader_until(&reader, 60);
    for (int i = 0; i < 3; i++)
        reader_poll(&reader, 30);
    check_key(&reader, "r", 40, 60);
    reader_close(&reader);
    bus_close(bus);
    connection_destroy(connection);
}

/* Rows of over 2 kB, of a hundred, that LZ4 made less than half of what they were. */
#define COMPRESSED_PERCENT                                                                                             \
    "select count(*) filter (where pg_column_compression(payload) = 'lz4'"                                             \
    "  and pg_column_size(payload) * 2 < octet_length(payload)) * 100 / count(*) from sluice.bus_log"                  \
    " where octet_length(payload) > 2048"

/* Records that resemble each other take less room; what LZ4 cannot make smaller stays in its page as it is. */
static void test_compressed(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "compressed");
    struct connection *connection = sql_open(harness);
    if (sql(connection, "select count(*) from pg_settings where 'lz4' = any (enumvals)"
                        " and name = 'default_toast_compression'") == 0)
        skip();
    sql(connection, "delete from sluice.bus_log");
    publish(harness->bus, topic, "c", 0, 100);
    CHECK(sql(connection, "select max(octet_length(payload))::int8 from sluice.bus_log") > 2048, "rows are too short");
    CHECK(sql(connection, COMPRESSED_PERCENT) == 100, "a row is not compressed");
    sql(connection, "select count(*) from (select sluice.bus_make_segment(max(stop), max(stop) + 4096)"
                    " from sluice.bus_segment) made");
    sql(connection, "update sluice.bus_log set payload = payload || ''::bytea,"
                    " xid = (select max(start)::text::xid8 from sluice.bus_segment)");
    CHECK(sql(connection, COMPRESSED_PERCENT) == 100, "a row of a new segment is not compressed");
    sql(connection, "update sluice.bus_log set payload = (select string_agg(sha256(n::text::bytea), '')"
                    " from generate_series(1, 250) n)");
    CHECK(sql(connection, COMPRESSED_PERCENT) == 0, "what cannot be compressed was");
    CHECK(sql(connection, "select sum(pg_relation_size(c.reltoastrelid))::int8 from pg_class c"
                          " where c.oid in (select i.inhrelid from pg_inherits i"
                          "  where i.inhparent = 'sluice.bus_log'::regclass)") == 0,
          "a row was moved out of its page");
    sql(connection, "delete from sluice.bus_log");
    sql(connection, "insert into sluice.outbox (id, batch) values (-1, repeat('event', 9999)::bytea)");
    CHECK(sql(connection, "select count(*) from sluice.outbox where id = -1 and pg_column_size(batch) < 2000"
                          " and pg_column_compression(batch) = 'lz4'") == 1,
          "the outbox's row is not compressed");
    sql(connection, "delete from sluice.outbox where id = -1");
    connection_destroy(connection);
}

static const struct CMUnitTest tests[] = {
    BUS_TEST(compressed),
    BUS_TEST(trim),
    BUS_TEST(settings),
    BUS_TEST(restored),
};

int main(int argc, char **argv)
{
    return run_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
