/*
 * test_template.c - the plugin `template` against the fake host: test_template [LIBRARY]
 */
#include "fake_host.h"

#include <stdio.h>

/* One call with many events: each is greeted by its own name, and one without a name is stopped before the handler. */
static void each_event_is_greeted(const char *library)
{
    struct fake_host *host = fake_host_open(library, NULL);
    const struct fake_event events[] = {
        {.data = "{\"name\": \"Ada\"}"}, {.data = "{}"}, {.data = "{\"name\": \"B\\u00f6b\"}"}};
    const struct fake_result *results = fake_call(host, "greet", 3, events);
    fake_expect_outcome(&results[0], "done");
    fake_expect_set(&results[0], "greeting", "\"Hello, Ada!\"");
    fake_expect_why(&results[1], FAKE_BAD_INPUT, "'name' is missing");
    fake_expect_outcome(&results[2], "done");
    fake_expect_set(&results[2], "greeting", "\"Hello, Böb!\"");
    fake_host_close(host);
}

static void the_word_is_a_setting(const char *library)
{
    struct fake_host *host = fake_host_open(library, "{\"word\": \"Servus\"}");
    const struct fake_result *results = fake_call(host, "greet", 1,
                                                  &(struct fake_event){.data = "{\"name\": \"Ada\"}"});
    fake_expect_set(&results[0], "greeting", "\"Servus, Ada!\"");
    fake_host_close(host);
    if (fake_host_refusal(library, "{\"word\": \"\"}") == NULL)
        fake_die("an empty word was not refused");
}

int main(int argc, char **argv)
{
    const char *library = fake_library(argc, argv, "template");
    each_event_is_greeted(library);
    puts("ok 1 - each event is greeted");
    the_word_is_a_setting(library);
    puts("ok 2 - the word is a setting");
    return 0;
}
