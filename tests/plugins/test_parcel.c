/*
 * test_parcel.c - the plugin of docs/plugin-guide.md against the fake host: test_parcel [LIBRARY]
 */
#include "plugin_test.h"

#include <stdlib.h>
#include <unistd.h>

static const char *library;
static char folder[] = "/tmp/parcel-labels-XXXXXX";

static struct fake_host *desk(void)
{
    char settings[200];
    snprintf(settings, sizeof settings, "{\"labels\": \"%s\", \"late_after\": \"1h\"}", folder);
    return fake_host_open(library, settings);
}

/* A call with two events, one of which the engine stops before the handler; the statement is answered by the test. */
static void parcels_are_booked(void **state)
{
    (void)state;
    struct fake_host *host = desk();
    const struct fake_event events[] = {
        {.data = "{\"parcelId\": \"p1\", \"address\": {\"country\": \"FR\"}, \"content\": {\"kg\": 2.5}}"},
        {.data = "{\"parcelId\": \"p2\", \"address\": {\"city\": \"Bonn\"}, \"content\": {\"kg\": 1}}"}};
    fake_answer(host, "insert into parcel", "[[0, true, true, 12.5, [\"DE\", \"FR\"]]]");
    const struct fake_result *results = fake_call(host, "book", 2, events);
    fake_expect_outcome(&results[0], "booked");
    fake_expect_set(&results[0], "price", "1000");
    fake_expect_set(&results[0], "abroad", "true");
    fake_expect_set(&results[0], "volume", "12.5");
    fake_expect_set(&results[0], "route", "[\"DE\", \"FR\"]");
    fake_expect_why(&results[1], FAKE_BAD_INPUT, "'address.country' is missing");
    assert_string_equal(fake_query(host, 0)->params[0], "[\"p1\"]"); /* what was asked: a column as one array */
    assert_string_equal(fake_query(host, 0)->params[3], "\"DE\"");
    fake_host_close(host);
}

/* A statement that fails, and a request that is answered. */
static void where_a_parcel_is(void **state)
{
    (void)state;
    struct fake_host *host = desk();
    const struct fake_event request = {.data = "{\"parcelId\": \"p1\"}"};
    fake_answer(host, "from parcel", "[]");
    fake_expect_reply(fake_call(host, "where", 1, &request), 404, "not_found");
    fake_answer(host, "from parcel", "[[\"{}\"]]");
    fake_expect_reply(fake_call(host, "where", 1, &request), 200, "{}");
    fake_answer(host, "from parcel", NULL);
    fake_expect_why(fake_call(host, "where", 1, &request), FAKE_STATEMENT_FAILED, "as the test asked");
    fake_host_close(host);
}

static void what_is_too_heavy_is_rejected(void **state)
{
    (void)state;
    struct fake_host *host = desk();
    const struct fake_event requests[] = {
        {.data = "{\"parcelId\": \"p1\", \"address\": {\"country\": \"FR\"}, \"content\": {\"kg\": 11},"
                 " \"service\": {\"express\": true}}"},
        {.data = "{\"parcelId\": \"p2\", \"address\": {\"country\": \"FR\"}, \"content\": {\"kg\": 11}}"}};
    const struct fake_result *results = fake_call(host, "accept", 2, requests);
    fake_expect_why(&results[0], FAKE_REJECT, "10 kg");
    fake_expect_reply(&results[1], 202, "ACCEPTED");
    fake_expect_outcome(&results[1], "accepted");
    fake_host_close(host);
}

/* A tick, with a clock of the test's. */
static void late_ones_are_found(void **state)
{
    (void)state;
    struct fake_host *host = desk();
    fake_clock(host, 7200000);
    fake_answer(host, "update parcel", "[[\"p1\"], [\"p2\"]]");
    const struct fake_result *results = fake_call(host, "late", 1, NULL);
    assert_int_equal(fake_result_count(host), 3); /* the tick's own, and two events */
    fake_expect_outcome(&results[2], "late");
    fake_expect_set(&results[2], "parcelId", "\"p2\"");
    assert_string_equal(fake_query(host, 0)->params[0], "3600000");
    fake_host_close(host);
}

/* The same event twice is one label; without its folder nothing is lost. */
static void labels_are_printed_once(void **state)
{
    (void)state;
    struct fake_host *host = desk();
    const struct fake_event event = {.id = "event-1", .data = "{\"parcelId\": \"p1\"}"};
    char label[100];
    snprintf(label, sizeof label, "%s/event-1.label", folder);
    fake_expect_outcome(fake_call(host, "print", 1, &event), "printed");
    assert_int_equal(access(label, R_OK), 0);
    fake_expect_outcome(fake_call(host, "print", 1, &event), "printed");
    assert_int_equal(unlink(label), 0);
    assert_int_equal(rmdir(folder), 0);
    fake_expect_why(fake_call(host, "print", 1, &event), FAKE_UNAVAILABLE, "No such file");
    fake_host_close(host);
    assert_non_null(
        strstr(fake_host_refusal(library, "{\"labels\": \"/no/such\"}"), "cannot open the folder /no/such"));
    assert_non_null(mkdtemp(strcpy(folder, "/tmp/parcel-labels-XXXXXX")));
}

static void topics_are_counted(void **state)
{
    (void)state;
    struct fake_host *host = desk();
    const struct fake_event events[] = {{.topic = "parcel.booked"}, {.topic = "parcel.late"}};
    fake_answer(host, "parcel_count", "[]");
    const struct fake_result *results = fake_call(host, "count", 2, events);
    fake_expect_outcome(&results[1], "counted");
    assert_string_equal(fake_query(host, 0)->params[0], "[\"parcel.booked\",\"parcel.late\"]");
    fake_host_close(host);
}

/* Bounds hold on the fake host as in the engine; a parent that is no object is refused with the whole path. */
static void fields_are_checked(void **state)
{
    static const struct {
        const char *data, *why;
    } cases[] = {
        {"{\"parcelId\": \"p\", \"content\": {\"kg\": 1}}", "'address.country' is missing"},
        {"{\"parcelId\": \"p\", \"address\": null, \"content\": {\"kg\": 1}}", "'address.country' is missing"},
        {"{\"parcelId\": \"p\", \"address\": [1], \"content\": {\"kg\": 1}}",
         "field 'address.country': 'address' is no object"},
        {"{\"parcelId\": \"p\", \"address\": {\"country\": \"FR\"}, \"content\": {\"kg\": 31}}", "'content.kg' is 31"},
        {"{\"parcelId\": \"p\", \"address\": {\"country\": \"FR\"}, \"content\": {\"kg\": 3}, \"service\": true}",
         "field 'service.express': 'service' is no object"},
    };
    (void)state;
    struct fake_host *host = desk();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        fake_expect_why(fake_call(host, "book", 1, &(struct fake_event){.data = cases[i].data}), FAKE_BAD_INPUT,
                        cases[i].why);
    fake_host_close(host);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parcels_are_booked),
        cmocka_unit_test(where_a_parcel_is),
        cmocka_unit_test(what_is_too_heavy_is_rejected),
        cmocka_unit_test(late_ones_are_found),
        cmocka_unit_test(labels_are_printed_once),
        cmocka_unit_test(topics_are_counted),
        cmocka_unit_test(fields_are_checked),
    };
    if (mkdtemp(folder) == NULL)
        return 1;
    library = plugin_test_library(argc, argv, "../tests/plugins/parcel");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
