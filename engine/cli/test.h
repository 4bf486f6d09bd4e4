/*
 * test.h - what the files of `sluice test` share: a run, and runs that begin again when a file changes.
 */
#ifndef SLUICE_CLI_TEST_H
#define SLUICE_CLI_TEST_H

#include "cli/cli.h"

#include <signal.h>
#include <stddef.h>

struct test_options {
    const struct buses *buses;
    const char *filter; /* NULL: every test */
    bool coverage;      /* says at the end which parts of the pipelines no test has reached */
    const char *junit;  /* path of the report; NULL: none is written */
};

extern volatile sig_atomic_t test_interrupted; /* by which signal; 0: not */

/* Runs the tests of the files; `url` NULL: on a private server. The exit code. `told` -1: nobody watches. Else a socket
 * to who does (test_watch.c), in lines: "file N PATH", a file that paths[N] depends on; "good N", all its tests passed;
 * "server", which is answered with the url of one. */
int tests_run(const struct test_options *options, char *const *paths, size_t count, const char *url, int told);
/* Runs them, and each again when a file that it depends on changes, until it is interrupted. The exit code: whether the
 * newest run of each file was good. */
int tests_watch(const struct test_options *options, char **paths, size_t count, const char *url);

#endif
