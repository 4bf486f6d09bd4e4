#!/usr/bin/env python3
"""The fake host on a real PostgreSQL refuses the cells that the engine refuses, and keeps what it keeps; and what
the macros of sluice/plugin.h refuse to compile.

Run alone: python3 tests/process/test_engine_contract_fake.py [-k NAME].
"""
import os
import subprocess
import unittest

import _path
from lib.engine import ROOT
from lib.pipeline_case import CHAOS
from test_engine_contract import GOOD_READINGS, READINGS, Contract

# The fake host on a database: the fault of each mode, then "-", or its outcome; then how many rows were kept.
CHECK = r"""
#include "fake_host.h"
#include <stdio.h>
int main(int argc, char **argv)
{
    struct fake_host *host = fake_host_open(argv[1], NULL);
    fake_database(host, argv[2]);
    for (int i = 3; i < argc; i++) {
        char data[256];
        snprintf(data, sizeof data, "{\"mode\": \"%s\", \"path\": \"/dev/null/none\"}", argv[i]);
        const struct fake_result *result = fake_call(host, "act_sql", 1, &(struct fake_event){.data = data});
        const char *fault = fake_fault(host);
        printf("%s\n", fault != NULL ? fault : result->verdict == FAKE_OUTCOME ? result->outcome : result->why);
    }
    printf("%s\n", fake_sql(host, "select count(*) from kept"));
    fake_host_close(host);
    return 0;
}
"""


class Header(unittest.TestCase):
    def test_a_member_of_another_type_does_not_compile(self):
        for macro, good in (("SLUICE_TEXT", False), ("SLUICE_DOUBLE", False), ("SLUICE_INT64", True)):
            with self.subTest(macro=macro):
                code = (
                    '#include "sluice/plugin.h"\nstruct in { int64_t n; };\n'
                    f"const struct sluice_field fields[] = {{{macro}(struct in, n), {{0}}}};\n"
                )
                done = subprocess.run(
                    [os.environ.get("CC", "cc"), "-fsyntax-only", "-x", "c", f"-I{ROOT}/engine/include", "-"],
                    input=code,
                    text=True,
                    capture_output=True,
                    check=False,
                )
                self.assertEqual(done.returncode == 0, good, done.stderr)


class FakeHost(Contract):
    def test_it_refuses_the_same_cells(self):
        (self.folder / "check.c").write_text(CHECK)
        libpq = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "libpq"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        fake = ROOT / "tests/plugins"
        subprocess.run(
            [
                os.environ.get("CC", "cc"),
                "-std=gnu17",
                "-D_GNU_SOURCE",
                f"-I{ROOT}/engine/include",
                f"-I{fake}",
            ]
            + [
                "-o",
                self.folder / "check",
                self.folder / "check.c",
                *fake.glob("fake_*.c"),
                *libpq,
                "-ldl",
            ],
            check=True,
        )
        said = subprocess.run(
            [
                self.folder / "check",
                CHAOS,
                self.url,
                *READINGS,
                *GOOD_READINGS,
                "sql_two_answers",
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        for mode, words in zip(READINGS, said):
            with self.subTest(mode=mode):
                self.assertRegex(
                    words,
                    "has another type$" if "another type" in words else "there is no row",
                )
        self.assertEqual(
            said[len(READINGS) :],
            ["ok"] * (len(GOOD_READINGS) + 1) + [str(len(GOOD_READINGS))],
        )


if __name__ == "__main__":
    unittest.main(verbosity=2)
