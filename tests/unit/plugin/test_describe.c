/*
 * test_describe.c - of a plugin that uses what the contract does not promise yet, `inspect` says so by name.
 */
#include "base/span.h"
#include "plugin/describe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char *const rows[] = {"sluice_host.shout", "sluice_host.whisper", NULL};
static const struct abi engine = {1, 7, NULL, 0x77, rows};
static const struct sluice_handler handlers[] = {{0}};

/* Without white space, which is nobody's business here. */
static const char *described(void (*describe)(const struct sluice_plugin *, const struct described *, struct buffer *),
                             uint32_t unstable)
{
    static char text[4000];
    const struct sluice_plugin plugin = {
        .abi_major = 1, .abi_minor = 6, .reserved = unstable, .name = "p", .version = "1", .handlers = handlers};
    const struct described from = {.path = "p.so", .sha256 = "0", .note = true, .engine = &engine};
    struct buffer out;
    size_t length = 0;
    buffer_init(&out, sizeof text);
    describe(&plugin, &from, &out);
    assert_false(out.failed);
    for (size_t i = 0; i < out.length; i++)
        if (strchr(" \n", out.at[i]) == NULL)
            text[length++] = out.at[i];
    text[length] = '\0';
    buffer_free(&out);
    return text;
}

#define HAS(text, part) assert_non_null(strstr(text, part))

static void for_programs(void **state)
{
    (void)state;
    HAS(described(describe_json, 0), "\"abi\":{\"major\":1,\"minor\":6,\"unstable\":[]}");
    HAS(described(describe_json, 0x77),
        "\"abi\":{\"major\":1,\"minor\":6,\"unstable\":[\"sluice_host.shout\",\"sluice_host.whisper\"]}");
    HAS(described(describe_json, 0),
        "\"engine_abi\":{\"major\":1,\"minor\":7,\"unstable\":[\"sluice_host.shout\",\"sluice_host.whisper\"]}");
}

static void for_people(void **state)
{
    (void)state;
    assert_null(strstr(described(describe_text, 0), "unstable"));
    HAS(described(describe_text, 0x77), "pluginABI1.6anditsunstablerowssluice_host.shout,sluice_host.whisper");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(for_programs), cmocka_unit_test(for_people)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
