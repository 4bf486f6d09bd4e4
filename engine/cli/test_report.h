/*
 * test_report.h - what became of flow tests, as CI systems read it: JUnit's XML.
 */
#ifndef SLUICE_CLI_TEST_REPORT_H
#define SLUICE_CLI_TEST_REPORT_H

#include "base/buffer.h"
#include "flowtest/flow.h"

/* Adds a test of the file `path`. `said`: a file with what it said, for one that failed. */
void report_test(struct buffer *report, const char *path, const struct flow *flow, int64_t took_ms, int said,
                 bool good);
/* Writes the report into the file `path`; false when it cannot, which stderr is told. */
bool report_write(const struct buffer *report, const char *path, size_t passed, size_t failed, double seconds);

#endif
