#!/usr/bin/env python3
"""The Containerfile as it is written: what it installs is what the build needs, who runs is not root, and what it runs
is in the package. `make container` builds and runs the image.

Run alone: python3 tests/package/test_container.py [-k NAME]
"""
import re
import unittest

import _path
from lib.engine import ROOT

FILE = ROOT / "config/package/Containerfile"


def stages():
    """[[(instruction, what follows)]], a list for each FROM; what stands before the first one is left out."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", FILE.read_text(), flags=re.M))
    found = []
    for line in filter(str.strip, text.splitlines()):
        word, rest = line.split(None, 1)
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, " ".join(rest.split())))
    return found


class Containerfile(unittest.TestCase):
    def setUp(self):
        self.build, self.image = stages()

    def last(self, name):
        return [rest for word, rest in self.image if word == name][-1]

    def test_it_builds_with_what_the_build_needs(self):
        packages = set(
            re.search(r"--no-install-recommends ([^&]*)", dict(self.build)["RUN"] + self.build[1][1])[1].split()
        )
        wanted = set(re.findall(r"\b(?:lib\S+-dev|gcc|make|pkg-config|dpkg-dev)\b", (ROOT / "tests/deps").read_text()))
        self.assertEqual(packages, wanted - {"libcmocka-dev", "libclang-rt-14-dev"})

    def test_the_image_has_the_package_only(self):
        self.assertEqual(
            [rest for word, rest in self.image if word == "COPY"], ["--from=build /sluice.deb /tmp/sluice.deb"]
        )
        self.assertIn("rm -rf /tmp/sluice.deb /var/lib/apt/lists/*", self.last("RUN"))

    def test_it_does_not_run_as_root(self):
        user = self.last("USER")
        self.assertEqual(user, "sluice")
        self.assertRegex(self.last("RUN"), r"useradd --system --uid [1-9]\d* [^&]*\bsluice$")

    def test_what_it_runs(self):
        self.assertEqual(self.last("ENTRYPOINT"), '["/usr/bin/sluice"]')
        self.assertEqual(self.last("CMD"), '["run", "/etc/sluice/pipeline.yaml"]')
        self.assertEqual(self.last("STOPSIGNAL"), "SIGTERM")


if __name__ == "__main__":
    unittest.main()
