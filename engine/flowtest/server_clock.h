/*
 * server_clock.h - words of SQL that tell the server's time where now() would tell a test's: current_timestamp and its
 * like, which are no functions, timeofday(), and what is called as pg_catalog's.
 */
#ifndef SLUICE_FLOWTEST_SERVER_CLOCK_H
#define SLUICE_FLOWTEST_SERVER_CLOCK_H

#include "base/span.h"

#include <stdbool.h>

/* The first such word; {NULL, 0}: there is none. Strings, quoted names and comments are skipped; what stands in
 * dollar quotes as well, unless `bodies`: then it is looked at as the rest is. */
struct span server_clock_find(struct span sql, bool bodies);

#endif
