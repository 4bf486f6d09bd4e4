/*
 * check_reverse.c - the plugin in Rust against the fake host: check_reverse LIBRARY;
 * tests/process/test_plugin_rust.py builds both.
 */
#include "fake_host.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    struct fake_host *host = fake_host_open(fake_library(argc, argv, "reverse"), "{\"limit\": 10}");
    const struct fake_event events[] = {{.data = "{\"text\": \"stressed\"}"},
                                        {.data = "{\"text\": \"Gr\\u00fc\\u00dfe \\ud83c\\udf9f\"}"},
                                        {.data = "{\"text\": \"longer than ten\"}"},
                                        {.data = "{\"text\": 7}"}};
    const struct fake_result *results = fake_call(host, "reverse", 4, events);
    fake_expect_outcome(&results[0], "done");
    fake_expect_set(&results[0], "reversed", "\"desserts\"");
    fake_expect_set(&results[0], "characters", "8");
    fake_expect_why(&results[1], FAKE_REJECT, "longer than the limit"); /* bytes, not characters */
    fake_expect_why(&results[2], FAKE_REJECT, "longer than the limit");
    fake_expect_why(&results[3], FAKE_BAD_INPUT, "'text' has the wrong type");
    fake_host_close(host);
    host = fake_host_open(fake_library(argc, argv, "reverse"), NULL);
    results = fake_call(host, "reverse", 2, events);
    fake_expect_set(&results[1], "reversed", "\"🎟 eßürG\"");
    fake_expect_set(&results[1], "characters", "7");
    fake_host_close(host);
    puts("ok 1 - texts are reversed");
    return 0;
}
