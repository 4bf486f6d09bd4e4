#!/usr/bin/env python3
"""docs/plugin-guide.md, done as it says: its commands are the scripts in guide/, its code is tests/plugins/parcel, in a
folder as an author has it. tests/check/plugin_guide sees to it that the page shows these files.

Run alone: python3 tests/process/test_plugin_guide.py [-k NAME].
"""
import contextlib
import os
import shutil
import signal
import subprocess
import unittest

import _path
from lib.engine import BUILD, ROOT, sluice
from lib.pipeline_case import PipelineCase

GUIDE = ROOT / "tests/process/guide"
PARCEL = ROOT / "tests/plugins/parcel"
CC = os.environ.get("CC", "cc").split()[-1]


class Guide(PipelineCase):
    def setUp(self):
        super().setUp()
        tools = self.folder / "bin"
        tools.mkdir()
        (tools / "sluice").symlink_to(BUILD / "sluice")
        self.said = self.folder / "said"
        self.vars |= {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "SLUICE_CFLAGS": f"-I{ROOT}/engine/include",
            "LABELS": str(self.folder),
            "HTTP_TOKEN": "c2VzYW1l",
        }

    def script(self, name, folder, **env):
        """Runs it as a shell that stops at the first failure; what it said. What it leaves running is ended with it."""
        with self.said.open("w") as out:
            shell = subprocess.Popen(
                ["sh", "-e", GUIDE / name],
                cwd=folder,
                env={**os.environ, **self.vars, **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = shell.wait(120)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGTERM)
        self.assertEqual(code, 0, self.said.read_text())
        return self.said.read_text()

    def test_from_nothing_to_a_plugin_that_runs(self):
        said = self.script("start.sh", self.folder, DATABASE_URL="")
        self.assertIn("3 passed, 0 failed", said)
        self.assertIn("Servus, Ada!", self.script("run.sh", self.folder / "shout"))

    def test_the_flows_of_the_desk(self):
        folder = self.folder / "parcel"
        shutil.copytree(PARCEL, folder)
        self.build(folder)
        said = sluice("test", folder / "flows.yaml", env={**self.vars, "DATABASE_URL": ""}, check=False)
        self.assertEqual(said.returncode, 0, said.stdout + said.stderr)

    def test_a_new_version_while_the_engine_runs(self):
        folder = self.folder / "parcel"
        shutil.copytree(PARCEL, folder)
        self.build(folder)
        self.config = folder / "pipeline.yaml"
        sluice("migrate", self.config, env=self.vars)
        engine = self.engine()
        self.vars["HTTP_LISTEN"] = f"127.0.0.1:{engine.port}"
        body = {"parcelId": "p1", "address": {"country": "FR"}, "content": {"kg": 2}}
        self.assertEqual(engine.request("POST", "/parcels", body)[0], 202)
        self.assertEqual(engine.request("GET", "/parcels/p1?wait=10s")[0], 200)
        source = folder / "parcel.c"
        source.write_text(source.read_text().replace('.version = "1.0.0"', '.version = "1.1.0"'))
        (folder / "sql/0002_note.sql").write_text("alter table parcel add note text;\n")
        self.build(folder)
        said = self.script("upgrade.sh", folder)
        self.assertIn("applied parcel/0002_note.sql", said)
        self.assertRegex(said, r"parcel.*1\.0\.0.*1\.1\.0")
        self.assertEqual(engine.request("GET", "/parcels/p1")[0], 200)

    @staticmethod
    def build(folder):
        """Beside the old file and then in its place, as `make` and install do."""
        flags = ["-std=gnu17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{ROOT}/engine/include"]
        made = folder / "parcel.so.new"
        subprocess.run([CC, *flags, "-o", made, folder / "parcel.c"], check=True)
        made.rename(folder / "parcel.so")


if __name__ == "__main__":
    unittest.main(verbosity=2)
