/*
 * expect.h - whether what is there is what a step of a test expects.
 */
#ifndef SLUICE_FLOWTEST_EXPECT_H
#define SLUICE_FLOWTEST_EXPECT_H

#include "flowtest/drive.h"
#include "flowtest/flow.h"

/* What was looked at before: `events` of a step begins where the one before it ended, that of the test's end at its
 * begin. */
struct looked {
    size_t events, dead_letters;
};

/* The first thing that is not as expected. */
struct miss {
    struct place place;
    const char *what;              /* "events[4]" */
    const char *expected, *actual; /* actual NULL: nothing */
    const char *nearest;           /* NULL: nothing is near */
};

struct looking {
    const struct reply *reply; /* of the step's request, or NULL */
    bool end;                  /* what the test expects at its end */
    bool distinct;             /* an event counts once, however often it was published */
};

/* True, or false with *ret. */
bool expect_holds(struct drive *drive, const struct expectation *expect, const struct looking *looking,
                  struct looked *looked, struct miss *ret);

#endif
