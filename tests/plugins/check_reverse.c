/*
 * check_reverse.c - the plugin `reverse`, in whatever language, against the fake host: check_reverse LIBRARY INDEX
 * ERROR, what its faults say of an index that is too large and of another error; tests/process/test_plugin_languages.py
 * builds both.
 */
#include "fake_host.h"

#include <stdio.h>
#include <string.h>

static void expect_fault(struct fake_host *host, const char *text, const char *part)
{
    static const char said[] = "handler reverse.reverse failed: ";
    char data[64];
    snprintf(data, sizeof data, "{\"text\": \"%s\"}", text);
    fake_call(host, "reverse", 1, &(struct fake_event){.data = data});
    const char *fault = fake_fault(host);
    if (fault == NULL || strncmp(fault, said, sizeof said - 1) != 0 || strstr(fault, part) == NULL)
        fake_die("%s: wanted a fault with \"%s\", got %s", text, part, fault == NULL ? "none" : fault);
}

static void expect_refusal(const char *library, const char *settings, const char *part)
{
    const char *said = fake_host_refusal(library, settings);
    if (said == NULL || strstr(said, part) == NULL)
        fake_die("%s: wanted a refusal with \"%s\", got %s", settings, part, said == NULL ? "none" : said);
}

int main(int argc, char **argv)
{
    const char *library = fake_library(argc, argv, "reverse");
    if (argc != 4)
        fake_die("usage: check_reverse LIBRARY INDEX ERROR");
    struct fake_host *host = fake_host_open(library, "{\"limit\": 10}");
    const struct fake_event events[] = {
        {.data = "{\"text\": \"stressed\"}"}, {.data = "{\"text\": \"longer than ten\"}"}, {.data = "{\"text\": 7}"}};
    const struct fake_result *results = fake_call(host, "reverse", 3, events);
    fake_expect_outcome(&results[0], "done");
    fake_expect_set(&results[0], "reversed", "\"desserts\"");
    fake_expect_set(&results[0], "characters", "8");
    fake_expect_why(&results[1], FAKE_REJECT, "longer than the limit");
    fake_expect_why(&results[2], FAKE_BAD_INPUT, "'text' has the wrong type");
    puts("ok 1 - texts are reversed");

    expect_fault(host, "panic", "event event-0 asked for it");
    expect_fault(host, "index", argv[2]);
    expect_fault(host, "error", argv[3]);
    results = fake_call(host, "reverse", 1, events);
    fake_expect_outcome(&results[0], "done");
    fake_expect_set(&results[0], "calls", "5"); /* the state lives on */
    fake_host_close(host);
    puts("ok 2 - an error is a fault with its words");

    expect_refusal(library, "{\"limit\": 13}", "13 is no limit of lane 0");
    expect_refusal(library, "{\"limit\": 14}", "");
    puts("ok 3 - an error of the state is a refusal with its words");
    return 0;
}
