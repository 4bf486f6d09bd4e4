#!/usr/bin/env python3
"""The fake host on a real PostgreSQL finds the faults that the engine finds, in the same words, and keeps what it
keeps; and what the macros of sluice/plugin.h refuse to compile.

Run alone: python3 tests/process/test_engine_contract_fake.py [-k NAME].
"""
import json
import os
import subprocess
import unittest

import _path
from lib.engine import ROOT
from lib.pipeline_case import CHAOS
import contract_table
from contract_table import GOOD_READINGS
from test_engine_contract import Contract

CC = os.environ.get("CC", "cc").split()[-1]

# The fake host on a database: the fault of each mode, then "-", or its outcome; then how many rows were kept.
CHECK = r"""
#include "fake_host.h"
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
    struct fake_host *host = fake_host_open(argv[1], NULL);
    fake_database(host, argv[2]);
    for (int i = 3; i + 1 < argc; i += 2) {
        const struct fake_result *result = fake_call(host, argv[i], 1, &(struct fake_event){.data = argv[i + 1]});
        const char *fault = fake_fault(host);
        const char *words = fault != NULL ? fault : result->verdict == FAKE_OUTCOME ? result->outcome : result->why;
        printf("%.*s\n", (int)strcspn(words, "\n"), words);
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
                    [CC, "-fsyntax-only", "-x", "c", f"-I{ROOT}/engine/include", "-"],
                    input=code,
                    text=True,
                    capture_output=True,
                    check=False,
                )
                self.assertEqual(done.returncode == 0, good, done.stderr)


class FakeHost(Contract):
    def test_it_finds_the_same_faults(self):
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
                CC,
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
        few = [("act_sql", {"mode": "sql_params_few"})]
        good = [("act_sql", {"mode": mode}) for mode in GOOD_READINGS + ["sql_two_answers"]]
        asked = [row[:2] for row in contract_table.ALL] + few + good
        words = [word for handler, data in asked for word in (handler, json.dumps(data))]
        said = subprocess.run(
            [self.folder / "check", CHAOS, self.url, *words], check=True, capture_output=True, text=True
        ).stdout.splitlines()
        self.assertEqual(len(said), len(asked) + 1)
        for (handler, data, sentence), line in zip(contract_table.ALL, said):
            with self.subTest(handler=handler, **data):
                self.assertIn(f"handler chaos.{handler} ", line)
                self.assertIn(sentence, line)
        self.assertIn(contract_table.FEW_PARAMS, said[len(contract_table.ALL)])
        self.assertEqual(said[len(contract_table.ALL) + 1 :], ["ok"] * len(good) + [str(len(GOOD_READINGS))])


if __name__ == "__main__":
    unittest.main(verbosity=2)
