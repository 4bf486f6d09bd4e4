/*
 * bus_check.h - CHECK, the assertion of the bus suites: it names its place, the condition and the reason.
 *
 * A failed CHECK fails its test, and those behind it are not run: threads of the failed one may still use its
 * variables.
 */
#ifndef TESTS_BUS_CHECK_H
#define TESTS_BUS_CHECK_H

#include "check.h"

#include <pthread.h>

/* The thread of the test that runs, and whether one has failed: cmocka's way back out of a test is for its own thread
 * only, another ends the program, and so does a child process. */
static struct {
    pthread_t thread;
    bool running, failed;
} suite __attribute__((unused));

static inline _Noreturn void check_failed(void)
{
    if (suite.running && pthread_equal(suite.thread, pthread_self())) {
        suite.failed = true;
        fail();
    }
    exit(1);
}

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                            \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            check_failed();                                                                                            \
        }                                                                                                              \
    } while (0)

#endif
