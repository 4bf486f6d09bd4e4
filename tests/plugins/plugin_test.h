/*
 * plugin_test.h - what a plugin's cmocka test includes: the fake host, whose failed expectations fail one test instead
 * of ending the program. test_template.c does without: it is what `sluice new-plugin` hands out, and needs libc only.
 */
#ifndef SLUICE_TESTS_PLUGIN_TEST_H
#define SLUICE_TESTS_PLUGIN_TEST_H

#include "check.h"
#include "fake_host.h"

static inline void plugin_test_fail(const char *sentence)
{
    fail_msg("%s", sentence);
}

/* The library to test; from now on the fake host fails through cmocka. */
static inline const char *plugin_test_library(int argc, char **argv, const char *name)
{
    fake_on_failure(plugin_test_fail);
    return fake_library(argc, argv, name);
}

#endif
