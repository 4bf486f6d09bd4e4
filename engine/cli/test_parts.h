/*
 * test_parts.h - what the engine of a flow test starts from: a pipeline as tests run it, and another one that it is
 * reloaded with.
 */
#ifndef SLUICE_CLI_TEST_PARTS_H
#define SLUICE_CLI_TEST_PARTS_H

#include "cli/parts.h"
#include "flowtest/drive.h"
#include "flowtest/flow.h"

struct test_parts {
    struct parts parts;
    const struct flow_file *file;
};

/* Reads and checks file->pipeline. What is wrong with it is in parts.reading.problems, and in `problems` what of the
 * test's file it does not have. */
void test_parts_read(struct test_parts *parts, const struct buses *buses, struct problems *problems);
/* In the test's process, on the database of this url (NULL: none): opens bus and store. 0, or negative with a
 * sentence. */
int test_parts_open(struct test_parts *parts, const char *url, struct drive_parts *ret, struct error *error);

#endif
