#!/usr/bin/env python3
"""The contract needs no C: a plugin in Rust, written from the header alone, is taken by `sluice inspect` and works in
the fake host.

Run alone: python3 tests/process/test_plugin_rust.py. SLUICE names the program, build/sluice by default.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLUICE = os.environ.get("SLUICE", str(ROOT / os.environ.get("B", "build/") / "sluice"))
TESTS = ROOT / "tests" / "plugins"
CC = os.environ.get("CC", "cc")


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, check=False)


class Rust(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="sluice-rust-")
        cls.library = pathlib.Path(cls.folder.name) / "reverse.so"
        made = run(
            "rustc",
            "--edition",
            "2021",
            "-O",
            "-C",
            "panic=abort",
            "--crate-type",
            "cdylib",
            "-o",
            cls.library,
            TESTS / "rust" / "reverse.rs",
        )
        if made.returncode != 0 or "warning" in made.stderr:
            raise AssertionError(f"rustc: {made.stderr}")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_it_is_inspected(self):
        said = run(SLUICE, "inspect", "--json", self.library)
        self.assertEqual((said.returncode, said.stderr), (0, ""))
        plugin = json.loads(said.stdout)
        self.assertEqual(
            (plugin["name"], plugin["help"], plugin["abi"]),
            ("reverse", "reverses texts, in Rust", {"major": 1, "minor": 0}),
        )
        self.assertEqual(
            [(row["name"], row["type"], row["default"], row["max"]) for row in plugin["settings"]],
            [("limit", "int64", "100", 1000000)],
        )
        handler = plugin["handlers"][0]
        self.assertEqual(
            (handler["name"], handler["kind"], handler["max_events"], handler["uses_store"]),
            ("reverse", "event", 100, False),
        )
        self.assertEqual([row["name"] for row in handler["sets"]], ["reversed", "characters"])
        self.assertEqual(handler["outcomes"], [{"name": "done", "help": "reversed"}])

    def test_it_works(self):
        program = pathlib.Path(self.folder.name) / "check_reverse"
        sources = [
            TESTS / name
            for name in (
                "rust/check_reverse.c",
                "fake_host.c",
                "fake_call.c",
                "fake_input.c",
                "fake_query.c",
                "fake_json.c",
            )
        ]
        made = run(
            CC,
            "-std=gnu17",
            "-D_GNU_SOURCE",
            "-g",
            f"-I{ROOT}/engine/include",
            f"-I{TESTS}",
            "-o",
            program,
            *sources,
            "-ldl",
        )
        self.assertEqual(made.returncode, 0, made.stderr)
        said = run(program, self.library)
        self.assertEqual((said.returncode, said.stderr), (0, ""))

    def test_it_exports_one_function(self):
        said = run("nm", "-D", "--defined-only", self.library)
        self.assertEqual([line.split()[-1] for line in said.stdout.splitlines()], ["sluice_plugin"])


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=1))
