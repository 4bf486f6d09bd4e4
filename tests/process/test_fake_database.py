#!/usr/bin/env python3
"""The fake host on a real PostgreSQL: every type goes there and comes back, a call is a transaction, failures are what
they are.

Run alone: python3 tests/process/test_fake_database.py
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
POSTGRES = ROOT / "tests" / "lib" / "private_postgres"
FAKE = ROOT / "tests" / "plugins"
CC = os.environ.get("CC", "cc").split()[-1]

PLUGIN = r"""
#include "sluice/plugin.h"
struct in { struct sluice_text text, json; int64_t number; double ratio; int32_t yes; };
static const struct sluice_field input[] = {
    SLUICE_TEXT(struct in, text, .flags = SLUICE_OPTIONAL), SLUICE_JSON(struct in, json, .flags = SLUICE_OPTIONAL),
    SLUICE_INT64(struct in, number), SLUICE_DOUBLE(struct in, ratio), SLUICE_BOOL(struct in, yes), {0}};
static const struct sluice_outcome outcomes[] = {{"done", "it is"}, {0}};
static const struct sluice_field sets[] = {SLUICE_SETS_TEXT("text"), SLUICE_SETS_INT64("number"),
    SLUICE_SETS_INT64("yes"), SLUICE_SETS_INT64("ratio"), SLUICE_SETS_INT64("when"), SLUICE_SETS_INT64("small"),
    {.name = "json", .type = SLUICE_TYPE_JSON}, {0}};
static const struct sluice_sql keep = {
    "with given as (select * from unnest($1::text[], $2::bigint[], $3::float8[], $4::boolean[], $5::jsonb[])"
    "              with ordinality as given(t, n, r, y, j, at)),"
    "     kept as (insert into kept select t, n from given)"
    " select at - 1, t, n, r, y, j, timestamptz '2024-01-01 00:00:00.250+00', (-7)::smallint, $6::bigint, $7::text"
    " from given order by at"};
static void handle(void *state, struct sluice_call *call)
{
    const struct sluice_host *host = call->host;
    int64_t one = 41;
    struct sluice_text nothing = {NULL, 0};
    const struct sluice_param params[] = {SLUICE_EACH_TEXT(struct in, text), SLUICE_EACH_INT64(struct in, number),
        {.form = SLUICE_PARAM_EACH, .type = SLUICE_TYPE_DOUBLE, .offset = offsetof(struct in, ratio)},
        SLUICE_EACH_BOOL(struct in, yes), SLUICE_EACH_JSON(struct in, json), SLUICE_VALUE_INT64(&one),
        SLUICE_VALUE_TEXT(&nothing)};
    const struct sluice_rows *rows = host->query(call, &keep, 7, params);
    (void)state;
    if (rows == NULL)
        return;
    for (size_t row = 0; row < host->row_count(rows); row++) {
        size_t n = (size_t)host->get_int64(rows, row, 0);
        if (!host->is_null(rows, row, 1))
            host->set_text(call, n, "text", host->get_text(rows, row, 1));
        host->set_int64(call, n, "number", host->get_int64(rows, row, 2) + host->get_int64(rows, row, 8));
        host->set_int64(call, n, "ratio", (int64_t)(host->get_double(rows, row, 3) * 100));
        host->set_int64(call, n, "yes", host->get_int64(rows, row, 4));
        if (!host->is_null(rows, row, 5))
            host->set_json(call, n, "json", host->get_text(rows, row, 5));
        host->set_int64(call, n, "when", host->get_int64(rows, row, 6));
        host->set_int64(call, n, "small", host->get_int64(rows, row, 7) + !host->is_null(rows, row, 9));
        host->outcome(call, n, 0);
    }
}
static const struct sluice_handler handlers[] = {{.name = "keep", .input = input, .input_size = sizeof(struct in),
    .outcomes = outcomes, .sets = sets, .max_events = 10, .uses_store = 1, .handle = handle}, {0}};
SLUICE_PLUGIN(.name = "keeper", .version = "1", .handlers = handlers)
"""

CHECK = r"""
#include "fake_host.h"
#include <stdio.h>
#include <string.h>
static void same(const char *got, const char *wanted)
{
    if (strcmp(got, wanted) != 0)
        fake_die("wanted %s, got %s", wanted, got);
}
int main(int argc, char **argv)
{
    struct fake_host *host = fake_host_open(argv[1], NULL);
    fake_database(host, argv[argc - 1]);
    fake_sql(host, "create temporary table kept(t text, n bigint primary key check (n < 1000))");
    const struct fake_event events[] = {
        {.data = "{\"text\":\"a\\\"b\\\\c,{}'\",\"number\":1,\"ratio\":1.5,\"yes\":true,\"json\":{\"k\": [\"\\\"\"]}}"},
        {.data = "{\"number\":-2,\"ratio\":-0.25,\"yes\":false}"},
        {.data = "{\"text\":\"\",\"number\":3,\"ratio\":0,\"yes\":false,\"json\":null}"}};
    const struct fake_result *results = fake_call(host, "keep", 3, events);
    fake_expect_outcome(&results[0], "done");
    fake_expect_set(&results[0], "text", "\"a\\\"b\\\\c,{}'\"");
    fake_expect_set(&results[0], "json", "{\"k\": [\"\\\"\"]}");
    fake_expect_set(&results[0], "number", "42");
    fake_expect_set(&results[0], "ratio", "150");
    fake_expect_set(&results[0], "yes", "1");
    fake_expect_set(&results[0], "when", "1704067200250");
    fake_expect_set(&results[0], "small", "-7");
    fake_expect_set(&results[1], "number", "39");
    fake_expect_set(&results[1], "ratio", "-25");
    fake_expect_set(&results[2], "text", "\"\"");
    if (fake_set(&results[1], "text") != NULL || fake_set(&results[1], "json") != NULL ||
        fake_set(&results[2], "json") != NULL)
        fake_die("an absent text must be NULL in the database");
    same(fake_query(host, 0)->params[1], "[1,-2,3]");
    same(fake_sql(host, "select count(*) || '/' || count(t) from kept"), "3/2");
    /* A failed statement: nothing of its call stays, the connection goes on. */
    results = fake_call(host, "keep", 1, &(struct fake_event){.data = "{\"number\":5000,\"ratio\":0,\"yes\":true}"});
    fake_expect_why(&results[0], FAKE_STATEMENT_FAILED, "SQLSTATE 23514");
    results = fake_call(host, "keep", 1, &(struct fake_event){.data = "{\"number\":3,\"ratio\":0,\"yes\":true}"});
    fake_expect_why(&results[0], FAKE_STATEMENT_FAILED, "SQLSTATE 23505");
    same(fake_sql(host, "select count(*) from kept"), "3");
    results = fake_call(host, "keep", 1, &(struct fake_event){.data = "{\"number\":4,\"ratio\":0,\"yes\":true}"});
    fake_expect_outcome(&results[0], "done");
    same(fake_sql(host, "select count(*) from kept"), "4");
    fake_host_close(host);
    return 0;
}
"""


class FakeDatabase(unittest.TestCase):
    def test_it_is_a_database(self):
        with tempfile.TemporaryDirectory(prefix="sluice-fake-database-") as name:
            at = pathlib.Path(name)
            at.chmod(0o755)
            (at / "keeper.c").write_text(PLUGIN)
            (at / "check.c").write_text(CHECK)
            flags = [CC, "-std=gnu17", "-D_GNU_SOURCE", "-g", f"-I{ROOT}/engine/include", f"-I{FAKE}"]
            libpq = subprocess.run(
                ["pkg-config", "--cflags", "--libs", "libpq"], check=True, capture_output=True, text=True
            ).stdout.split()
            subprocess.run([*flags, "-shared", "-fPIC", "-o", at / "keeper.so", at / "keeper.c"], check=True)
            subprocess.run(
                [*flags, "-o", at / "check", at / "check.c", *FAKE.glob("fake_*.c"), *libpq, "-ldl"], check=True
            )
            started = subprocess.run([POSTGRES, "start", at / "pg"], check=True, capture_output=True, text=True)
            try:
                said = subprocess.run(
                    [at / "check", at / "keeper.so", started.stdout.strip()],
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
                self.assertEqual((said.returncode, said.stderr), (0, ""))
            finally:
                subprocess.run([POSTGRES, "stop", at / "pg"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=1))
