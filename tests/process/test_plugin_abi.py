#!/usr/bin/env python3
"""Plugins that are built against each minor version of sluice/plugin.h load and work for ever, in the engine and in the
fake host; and no struct of the header changes but at its end.

tests/plugins/abi/MINOR has the header of that version, a plugin that uses it and its flow test; abi/layout.txt has the
offset and size of every member and the value of every name, of each version. `--write` adds a new version to it.

Run alone: python3 tests/process/test_plugin_abi.py [-k NAME].
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import _path
from lib.engine import ROOT, sluice

KEPT = ROOT / "tests/plugins/abi"
LAYOUT = KEPT / "layout.txt"
CURRENT = ROOT / "engine/include"
MINORS = sorted(folder.name for folder in KEPT.glob("1.*"))
CC = os.environ.get("CC", "cc").split()[-1]
CALL = r"""
#include "fake_host.h"
#include <stdio.h>
int main(int argc, char **argv)
{
    struct fake_host *host = fake_host_open(argv[1], NULL);
    const struct fake_event event = {.data = argv[2]};
    const struct fake_result *result = fake_call(host, "work", 1, &event);
    fake_expect_outcome(result, "done");
    printf("%s %s\n", fake_set(result, "said"), fake_set(result, "seen"));
    fake_host_close(host);
    return argc != 3;
}
"""


def compiled(command):
    subprocess.run([CC, "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", *map(str, command)], check=True)


def members(body):
    """The names of a struct's members, in order."""
    names = []
    for declaration in body.split(";"):
        function = re.search(r"\(\*(\w+)\)\(", declaration)
        if function:
            names.append(function[1])
        elif declaration.strip():
            names += [re.search(r"(\w+)\s*(?:\[.*\])?\s*$", one)[1] for one in declaration.split(",")]
    return names


def layout(include):
    """The lines that say where everything is in the header below a folder."""
    header = include / "sluice/plugin.h"
    text = subprocess.run([CC, "-E", "-P", "-x", "c", header], capture_output=True, text=True, check=True).stdout
    prints = []
    for name, body in re.findall(r"^struct (sluice_\w+) \{\n(.*?)^\};", text, re.M | re.S):
        prints.append(f'printf("{name} size %zu\\n", sizeof(struct {name}));')
        for member in members(body):
            place = f"offsetof(struct {name}, {member}), sizeof ((struct {name} *)0)->{member}"
            prints.append(f'printf("{name}.{member} %zu %zu\\n", {place});')
    for body in re.findall(r"^enum sluice_\w+ \{(.*?)\};", text, re.M | re.S):
        prints += [f'printf("{name} = %d\\n", {name});' for name in re.findall(r"\bSLUICE_\w+", body)]
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "layout.c"
        source.write_text(
            '#include "sluice/plugin.h"\n#include <stdio.h>\nint main(void) {\n' + "\n".join(prints) + "\n}\n"
        )
        compiled([f"-I{include}", "-o", source.with_suffix(""), source])
        return subprocess.run([source.with_suffix("")], capture_output=True, text=True, check=True).stdout.splitlines()


def released():
    """{minor: its lines} of layout.txt."""
    found = {}
    for line in LAYOUT.read_text().splitlines() if LAYOUT.exists() else []:
        if line.startswith("[") and line.endswith("]"):
            lines = found[line[1:-1]] = []
        elif line and not line.startswith("#"):
            lines.append(line)
    return found


def places(lines):
    """{struct: [(offset, size) of each member]}, and {name: value}: what a later version must keep."""
    structs, values = {}, {}
    for line in lines:
        member = re.fullmatch(r"(\w+)\.\w+ (\d+) (\d+)", line)
        if member:
            structs.setdefault(member[1], []).append((int(member[2]), int(member[3])))
        elif " = " in line:
            name, value = line.split(" = ")
            values[name] = value
    return structs, values


class Layout(unittest.TestCase):
    def test_a_released_version_is_what_it_was(self):
        self.assertEqual(sorted(released()), MINORS)
        for minor in MINORS:
            with self.subTest(minor=minor):
                self.assertEqual(layout(KEPT / minor), released()[minor])

    def test_each_version_grows_at_the_end_only(self):
        sequence = [released()[minor] for minor in MINORS] + [layout(CURRENT)]
        for older, newer in zip(sequence, sequence[1:]):
            (structs, values), (now, kept) = places(older), places(newer)
            for name, rows in structs.items():
                with self.subTest(struct=name):
                    self.assertEqual(now.get(name, [])[: len(rows)], rows)
            self.assertEqual(values, {name: kept.get(name) for name in values})

    def test_the_header_is_that_of_its_version(self):
        """A change of a struct or a new name is a new minor version, kept here."""
        text = (CURRENT / "sluice/plugin.h").read_text()
        minor = "%s.%s" % tuple(re.search(rf"SLUICE_ABI_{part} (\d+)", text)[1] for part in ("MAJOR", "MINOR"))
        self.assertEqual(minor, MINORS[-1], "copy the header to tests/plugins/abi/ and --write")
        self.assertEqual(layout(CURRENT), released()[minor])


class Kept(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def built(self, minor):
        """A folder with the plugin of that version, a pipeline for it and its flow test."""
        folder = self.folder / minor
        shutil.copytree(KEPT / minor, folder)
        shutil.copy(KEPT / "pipeline.yaml", folder)
        compiled([f"-I{folder}", "-shared", "-fPIC", "-o", folder / "work.so", folder / "work.c"])
        return folder

    def test_the_engine_runs_them(self):
        for minor in MINORS:
            with self.subTest(minor=minor):
                folder = self.built(minor)
                self.assertIn(f"  plugin ABI {minor}", sluice("inspect", folder / "work.so").stdout)
                said = sluice("test", folder / "flows.yaml", check=False)
                self.assertEqual(said.returncode, 0, said.stdout + said.stderr)

    def test_the_fake_host_runs_them(self):
        (self.folder / "call.c").write_text(CALL)
        fake = ROOT / "tests/plugins"
        sources = [path for path in fake.glob("fake_*.c") if path.name != "fake_database.c"]
        program = self.folder / "call"
        compiled([f"-I{CURRENT}", f"-I{fake}", "-o", program, self.folder / "call.c", *sources, "-ldl"])
        data = '{"name": "a", "number": 2, "ratio": 2.5, "list": [1], "inside": {"list": [1]}}'
        for minor in MINORS:
            with self.subTest(minor=minor):
                said = subprocess.run(
                    [program, self.built(minor) / "work.so", data], capture_output=True, text=True, check=False
                )
                self.assertEqual((said.returncode, said.stdout, said.stderr), (0, '"hello a 1 1 test.topic" [1]\n', ""))


def write():
    """Released versions stay as they are; only a new one is added."""
    kept = released()
    for minor in MINORS:
        kept.setdefault(minor, layout(KEPT / minor))
    head = "# Made by tests/process/test_plugin_abi.py --write; what is here never changes, a new version is added.\n"
    LAYOUT.write_text(head + "".join(f"\n[{minor}]\n" + "\n".join(kept[minor]) + "\n" for minor in sorted(kept)))


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        unittest.main(verbosity=2)
