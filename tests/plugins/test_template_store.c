/*
 * test_template_store.c - the plugin `template_store` against the fake host: test_template_store [LIBRARY]
 */
#include "fake_host.h"

#include <stdio.h>
#include <string.h>

/* The statement gets the names of all events that have one, as one array; its rows may come in any order. */
static void each_event_has_its_row(const char *library)
{
    struct fake_host *host = fake_host_open(library, NULL);
    const struct fake_event events[] = {
        {.data = "{\"name\": \"Ada\"}"}, {.data = "{}"}, {.data = "{\"name\": \"Bo\"}"}};
    fake_answer(host, "template_store_count", "[[1, 1], [0, 7]]");
    const struct fake_result *results = fake_call(host, "visit", 3, events);
    fake_expect_outcome(&results[0], "again");
    fake_expect_set(&results[0], "visits", "7");
    fake_expect_why(&results[1], FAKE_BAD_INPUT, "'name' is missing");
    fake_expect_outcome(&results[2], "first");
    fake_expect_set(&results[2], "visits", "1");
    if (fake_query_count(host) != 1 || strcmp(fake_query(host, 0)->params[0], "[\"Ada\",\"Bo\"]") != 0)
        fake_die("the statement did not get both names at once");
    fake_host_close(host);
}

/* When the statement fails, the handler says nothing, and the engine decides. */
static void a_statement_that_fails(const char *library)
{
    struct fake_host *host = fake_host_open(library, NULL);
    fake_answer(host, "template_store_count", NULL);
    const struct fake_result *results = fake_call(host, "visit", 1,
                                                  &(struct fake_event){.data = "{\"name\": \"Ada\"}"});
    fake_expect_why(&results[0], FAKE_STATEMENT_FAILED, "");
    fake_host_close(host);
}

int main(int argc, char **argv)
{
    const char *library = fake_library(argc, argv, "template_store");
    each_event_has_its_row(library);
    puts("ok 1 - each event has its row");
    a_statement_that_fails(library);
    puts("ok 2 - a statement that fails");
    return 0;
}
