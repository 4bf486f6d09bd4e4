#!/usr/bin/env python3
"""Every planted mistake still applies to the tree, says what it is and what must find it, and has a test. In a second
and without a server, for whoever has moved code that a patch changes.

Run alone: python3 tests/planted/test_patches.py.
"""
import pathlib
import re
import tempfile
import unittest

import _path
from lib import mistakes
from lib.engine import ROOT, SLUICE, sluice

SAYS = re.compile(
    r"^Planted mistake: .*\. The (checker must say I\d+|suite bus_\w+ must fail|flow tests must fail"
    r"|test test_\w+ must fail)"
)


class Patches(unittest.TestCase):
    def test_every_mistake_applies_and_is_used(self):
        tests = "".join(path.read_text() for path in (ROOT / "tests").glob("*/*.py") if path.parent.name != "lib")
        self.assertTrue(mistakes.names())
        for name in mistakes.names():
            with self.subTest(mistake=name):
                text = (mistakes.PATCHES / f"{name}.patch").read_text()
                self.assertRegex(" ".join(text.split("\ndiff ")[0].split()), SAYS)
                self.assertIn(mistakes.word(name), text, "it never says that it happened")
                self.assertIn(f'"{name}"', tests, "no test plants it")
                mistakes.apply(name, ROOT, "--dry-run")

    def test_a_patch_that_does_not_apply_says_what_to_do(self):
        with tempfile.TemporaryDirectory() as folder:
            name = mistakes.names()[0]
            touched = re.search(r"^--- a/(.*)$", (mistakes.PATCHES / f"{name}.patch").read_text(), re.M).group(1)
            (pathlib.Path(folder) / touched).parent.mkdir(parents=True)
            (pathlib.Path(folder) / touched).write_text("other code\n")
            with self.assertRaisesRegex(AssertionError, rf"{name}.patch does not apply any more: .* by hand"):
                mistakes.apply(name, folder)

    def test_the_program_holds_none(self):
        """Nothing that is installed can be told to do the wrong thing."""
        self.assertNotIn(b"planted: ", SLUICE.read_bytes())
        points = sluice("version", "--failpoints").stdout
        self.assertNotIn("mutate", points)


if __name__ == "__main__":
    unittest.main(verbosity=2)
