#!/usr/bin/env python3
"""`sluice new-plugin NAME`: what it makes builds and passes its own test at once, and is a plugin that inspect takes.

Run alone: python3 tests/process/test_new_plugin.py [-k NAME]. SLUICE names the program, build/sluice by default.
"""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

import _path
from lib.postgres import PrivatePostgres

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLUICE = pathlib.Path(os.environ.get("SLUICE", ROOT / os.environ.get("B", "build/") / "sluice"))


def run(*command, cwd=None, env=None):
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False
    )


class MadePlugin(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sluice-new-plugin-")
        self.addCleanup(folder.cleanup)
        self.at = pathlib.Path(folder.name)

    def make(self, *words, cwd, pkg=SLUICE.parent):
        """As somebody calls it who has built this tree, or (`pkg` another folder) in another surroundings."""
        ours = ("CFLAGS", "B", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
        env = {name: value for name, value in os.environ.items() if name not in ours}
        return run("make", *words, cwd=cwd, env={**env, "PKG_CONFIG_LIBDIR": str(pkg)})

    def new(self, name, *options):
        made = run(SLUICE, "new-plugin", name, "--dir", self.at, *options)
        self.assertEqual((made.returncode, made.stderr), (0, ""))
        self.assertIn(
            f"\n  export PKG_CONFIG_PATH={SLUICE.parent}    # until this Sluice is installed\n"
            f"  cd {self.at}/{name} && make test\n  sluice test test/{name}.yaml\n",
            made.stdout,
        )
        return self.at / name


class NewPlugin(MadePlugin):
    def test_it_builds_and_passes_its_test_at_once(self):
        for name, handler, *options in (
            ("shout", "greet"),
            ("loyalty_points2", "greet", "--lang", "c"),
            ("test", "greet", "--lang", "rust"),
            ("new", "greet", "--lang", "cpp"),
            ("int", "visit", "--store"),
            ("visits", "visit", "--store"),
        ):
            with self.subTest(name=name):
                folder = self.new(name, *options)
                made = self.make("test", cwd=folder)
                self.assertEqual(made.returncode, 0, made.stdout + made.stderr)
                self.assertNotIn("warning", made.stderr)
                self.assertIn("ok 2", made.stdout)
                said = run(SLUICE, "inspect", "--json", folder / f"{name}.so")
                plugin = json.loads(said.stdout)
                self.assertEqual((plugin["name"], plugin["handlers"][0]["name"]), (name, handler))

    def test_its_test_can_fail(self):
        folder = self.new("shout")
        source = folder / "shout.c"
        source.write_text(source.read_text().replace('"%.*s, %.*s!"', '"%.*s %.*s!"'))
        made = self.make("test", cwd=folder)
        self.assertNotEqual(made.returncode, 0)
        self.assertIn('result 0: wanted field \'greeting\' set to "Hello, Ada!", got "Hello Ada!"', made.stderr)

    def test_a_fault_is_said_with_what_was_expected(self):
        folder = self.new("shout")
        source = folder / "shout.c"
        source.write_text(source.read_text().replace('n, "greeting"', 'n, "greetings"'))
        made = self.make("test", cwd=folder)
        self.assertNotEqual(made.returncode, 0)
        self.assertRegex(
            made.stderr, "result 0: wanted .*; the plugin is at fault: handler shout.greet set field 'greetings'"
        )

    def test_a_bound_with_a_fraction_is_a_warning(self):
        for language, suffix, before, after in (
            ("c", "c", ".max = 64", ".max = 64.5"),
            ("cpp", "cpp", ".max(64)", ".max(64.5)"),
        ):
            folder = self.new(f"shout_{language}", "--lang", language)
            source = folder / f"shout_{language}.{suffix}"
            self.assertIn(before, source.read_text())
            source.write_text(source.read_text().replace(before, after))
            self.assertIn("-Wfloat-conversion", self.make(cwd=folder).stderr)

    def test_a_plugin_without_its_migrations_is_told(self):
        """Where they were looked for, by the commands that would say that all is well."""
        folder = self.new("visits", "--store")
        self.assertEqual(self.make(cwd=folder).returncode, 0)
        env = {**os.environ, "DATABASE_URL": "postgresql://127.0.0.1:1/none"}
        for what, told in (("as it is", False), ("no folder", True), ("named", False)):
            with self.subTest(what):
                if what == "no folder":
                    (folder / "sql").rename(folder / "elsewhere")
                if what == "named":
                    pipeline = folder / "pipeline.yaml"
                    library = "library: ./visits.so"
                    self.assertIn(library, pipeline.read_text())
                    pipeline.write_text(pipeline.read_text().replace(library, f"{library}, migrations: ./elsewhere"))
                for command in ("migrate", "doctor"):
                    done = run(SLUICE, command, "pipeline.yaml", cwd=folder, env=env)
                    said = done.stdout + done.stderr
                    warned = re.search(r"pipeline\.yaml:\d+:\d+: .*'visits' uses the database and has no folder", said)
                    self.assertEqual(warned is not None, told, said)
                    self.assertEqual("there is neither ./visits/sql nor ./sql" in said, told, said)

    def test_where_pkg_config_does_not_look(self):
        """The program was installed under a prefix of its own."""
        program, found = self.at / "prefix/bin/sluice", self.at / "prefix/share/pkgconfig"
        program.parent.mkdir(parents=True)
        found.mkdir(parents=True)
        shutil.copy(SLUICE, program)
        (found / "sluice.pc").write_text("Name: sluice\nDescription: events\nVersion: 1\nCflags: -I/nowhere\n")
        line = f"  export PKG_CONFIG_PATH={found}    # this Sluice is where pkg-config does not look\n"
        for name, looks_in, told in (("one", self.at, True), ("two", found, False)):
            env = {**os.environ, "PKG_CONFIG_LIBDIR": str(looks_in), "PKG_CONFIG_PATH": ""}
            made = run(program, "new-plugin", name, "--dir", self.at, env=env)
            self.assertEqual((made.returncode, line in made.stdout), (0, told), made.stdout + made.stderr)

    def test_nothing_is_left_of_the_template(self):
        self.new("tally", "--store")
        for language in ("c", "cpp", "rust"):
            self.new(f"shout_{language}", "--lang", language)
        for path in self.at.rglob("*"):
            self.assertNotIn("template", path.name)
            if path.is_file() and not path.name.startswith("fake_") and "sluice" not in path.parts:
                self.assertIsNone(re.search(r"(?i)template", path.read_text()), path)

    def test_it_needs_the_header_only(self):
        """Built where nothing of the source tree can be found but the one header; without it, make says what to do.
        No file has a path of this machine."""
        folder = self.new("shout")
        for path in folder.rglob("*"):
            if path.is_file():
                self.assertIsNone(re.search(rf"{ROOT}|{self.at}|/usr/", path.read_text()), path)
        header = self.at / "include" / "sluice"
        header.mkdir(parents=True)
        shutil.copy(ROOT / "engine/include/sluice/plugin.h", header)
        made = self.make("test", cwd=folder, pkg=self.at)
        self.assertNotEqual(made.returncode, 0)
        self.assertIn("Makefile:6: *** pkg-config finds no sluice.pc: install Sluice, or name the folder", made.stderr)
        made = self.make("clean", cwd=folder, pkg=self.at)
        self.assertEqual(made.returncode, 0, made.stdout + made.stderr)
        made = self.make("test", f"SLUICE_CFLAGS=-I{self.at / 'include'}", cwd=folder, pkg=self.at)
        self.assertEqual(made.returncode, 0, made.stdout + made.stderr)

    def test_git_sees_sources_only(self):
        folder = self.new("shout")
        self.assertEqual(self.make("test", cwd=folder).returncode, 0)
        run("git", "init", "-q", cwd=folder)
        said = run("git", "status", "--porcelain", "--untracked-files=all", cwd=folder).stdout
        self.assertIn("?? test/test_shout.c\n", said)
        self.assertEqual(re.findall(r".*(?:\.so|test_shout)\n", said), [])

    def test_what_is_there_is_not_touched(self):
        (self.at / "shout").mkdir()
        (self.at / "shout" / "shout.c").write_text("mine")
        made = run(SLUICE, "new-plugin", "shout", "--dir", self.at)
        self.assertEqual(made.returncode, 1)
        self.assertEqual(
            made.stderr,
            f"sluice new-plugin: {self.at}/shout cannot be made: File exists; choose another name, or remove it\n",
        )
        self.assertEqual((self.at / "shout" / "shout.c").read_text(), "mine")
        made = run(SLUICE, "new-plugin", "shout", "--dir", self.at / "none")
        self.assertEqual(made.returncode, 1)
        self.assertIn("No such file or directory", made.stderr)

    def test_names_and_usage(self):
        for name in ("", "Shout", "2shout", "sh-out", "../shout", "sh out", "a" * 65, "ü"):
            made = run(SLUICE, "new-plugin", name, "--dir", self.at)
            self.assertEqual(made.returncode, 2, name)
            self.assertIn(f"'{name}' is no name of a plugin", made.stderr)
        self.assertEqual(list(self.at.iterdir()), [])
        self.assertEqual(run(SLUICE, "new-plugin").returncode, 2)
        self.assertEqual(run(SLUICE, "new-plugin", "--unknown", "shout").returncode, 2)
        self.assertEqual(run(SLUICE, "new-plugin", "-h").returncode, 0)
        made = run(SLUICE, "new-plugin", "--lang", "ada", "shout", "--dir", self.at)
        self.assertEqual(made.returncode, 2)
        self.assertEqual(made.stderr.splitlines()[0], "sluice new-plugin: --lang ada is none of c, cpp and rust")
        made = run(SLUICE, "new-plugin", "--lang", "rust", "--store", "shout", "--dir", self.at)
        self.assertEqual(made.returncode, 2)
        self.assertIn("the plugin of --store is written in C; leave --lang out", made.stderr)
        self.assertEqual(list(self.at.iterdir()), [])


class Readme(MadePlugin):
    def test_its_commands_show_it(self):
        """The block of its README, as it stands but for the database and the port."""
        with socket.create_server(("127.0.0.1", 0)) as taken, PrivatePostgres() as postgres:
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            taken.close()
            for name, said, *options in (
                ("shout", '"greeting":"Servus, Ada!"}'),
                ("tally", '"visits":1}', "--store"),
            ):
                folder = self.new(name, *options)
                (block,) = re.findall(r"^```sh\n(.*?)^```$", (folder / "README.md").read_text(), re.M | re.S)
                block = re.sub(r"^export DATABASE_URL.*\n", "", block, flags=re.M).replace("127.0.0.1:8080", listen)
                env = {**os.environ, "DATABASE_URL": postgres.create_database(), "HTTP_LISTEN": listen}
                env |= {"PATH": f"{SLUICE.parent}:{env['PATH']}", "PKG_CONFIG_PATH": str(SLUICE.parent)}
                command = ["bash", "-euo", "pipefail", "-c", f"trap 'kill %1; wait' EXIT\n{block}"]
                done = run(*command, cwd=folder, env=env)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertIn(said, done.stdout)
                self.assertIn("3 passed, 0 failed in ", done.stdout)

    def test_its_flow_test_passes_in_every_language(self):
        with PrivatePostgres() as postgres:
            for language in ("cpp", "rust"):
                folder = self.new(f"shout_{language}", "--lang", language)
                made = self.make(cwd=folder)
                self.assertEqual(made.returncode, 0, made.stderr)
                env = {**os.environ, "DATABASE_URL": postgres.create_database()}
                done = run(SLUICE, "test", f"test/shout_{language}.yaml", cwd=folder, env=env)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertIn("3 passed, 0 failed in ", done.stdout)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=1))
