#!/usr/bin/env python3
"""What runs is a copy of the plugin's file: whoever overwrites, cuts or removes the file changes nothing in an engine
that runs, not even in a worker process that starts later.

Run alone: python3 tests/process/test_plugin_files.py [-k NAME].
"""
import glob
import os
import pathlib
import shutil
import subprocess
import time
import unittest

import _path
from lib.engine import ROOT, until
from lib.pipeline_case import PipelineCase

YAML = """pipeline: files
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 2}
plugins: {told: {library: "${TOLD_SO}"}}
topics:
  in: {handler: told.act, routes: {ok: out}}
  out: {final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""

PLUGIN = """
#include "sluice/plugin.h"
#include <string.h>
const char *told(void);
static void act(void *state, struct sluice_call *call)
{
    (void)state;
    for (size_t n = 0; n < call->count; n++) {
        call->host->set_text(call, n, "told", (struct sluice_text){told(), strlen(told())});
        call->host->outcome(call, n, 0);
    }
}
static const struct sluice_outcome outcomes[] = {{"ok", "well"}, {0}};
static const struct sluice_field sets[] = {SLUICE_SETS_TEXT("told"), {0}};
static const struct sluice_handler handlers[] = {
    {.name = "act", .help = "tells", .outcomes = outcomes, .sets = sets, .max_events = 10, .handle = act}, {0}};
SLUICE_PLUGIN(.name = "told", .version = "1", .help = "tells", .handlers = handlers)
"""


class Files(PipelineCase):
    yaml = YAML

    def setUp(self):
        self.plugin = None
        super().setUp()

    def use(self, yaml, migrate=True):
        self.plugin = self.folder / "plugins/told.so"
        self.plugin.parent.mkdir()
        (self.folder / "tmp").mkdir()
        self.vars["TMPDIR"] = str(self.folder / "tmp")
        self.build("first")
        stable = self.folder / "stable"  # what commands load
        shutil.copytree(self.plugin.parent, stable / "plugins")
        shutil.copytree(self.folder / "lib", stable / "lib")
        self.vars["TOLD_SO"] = str(stable / "plugins/told.so")
        super().use(yaml, migrate)

    def engine(self, **options):
        return super().engine(env={"TOLD_SO": str(self.plugin)}, **options)

    def build(self, words):
        """The plugin, and in ../lib the library that says the words, found by $ORIGIN. Gives the bytes of both."""
        source, lib = self.folder / "told.c", self.folder / "lib"
        lib.mkdir(exist_ok=True)
        made, dep = self.folder / "made.so", self.folder / "made_dep.so"
        cc = [os.environ.get("CC", "cc").split()[-1], "-shared", "-fPIC", "-w", f"-I{ROOT}/engine/include", "-o"]
        source.write_text(f'const char *told(void) {{ return "{words}"; }}\n')
        subprocess.run([*cc, dep, source], check=True)
        if not (lib / "libtold.so").exists():
            os.replace(dep, lib / "libtold.so")
        source.write_text(PLUGIN)
        subprocess.run([*cc, made, source, f"-L{lib}", "-ltold", "-Wl,-rpath,$ORIGIN/../lib"], check=True)
        if not self.plugin.exists():
            os.replace(made, self.plugin)
            return None, None
        return made.read_bytes(), dep.read_bytes()

    def told(self):
        count = len(self.topic("out"))
        self.emit("in", self.event({}))
        return self.await_topic("out", count + 1)[-1]["value"].split('"told":"')[1].split('"')[0]

    def copies(self):
        return glob.glob(str(self.folder / "tmp/sluice-plugins-*"))

    def restart_worker(self, engine):
        times = engine.readies()
        worker = engine.kill_worker()
        engine.wait_ready(times + 1)
        self.assertNotEqual(engine.worker(), worker)

    def test_files_that_change_under_a_running_engine(self):
        """Overwritten in place with other code, with garbage, cut to nothing, removed."""
        engine = self.engine()
        self.assertEqual(self.told(), "first")
        maps = pathlib.Path(f"/proc/{engine.worker()}/maps").read_text().splitlines()
        mapped = {line.split()[-1] for line in maps if "told.so" in line}
        self.assertEqual(len(mapped), 2, "the plugin and its library")
        self.assertTrue(all(path.startswith(self.copies()[0]) for path in mapped), mapped)
        self.assertIn(self.copies()[0] + "/1" + str(self.plugin), mapped, "its own path ends the copy's, for debuggers")
        new_plugin, new_lib = self.build("second")
        lib = self.folder / "lib/libtold.so"
        for name, plugin, library in (
            ("other code", new_plugin, new_lib),
            ("garbage", b"\x7fELF" + b"\xff" * len(new_plugin), b"\0" * len(new_lib)),
            ("nothing", b"", b""),
        ):
            with self.subTest(name):
                for file, data in ((self.plugin, plugin), (lib, library)):
                    with open(file, "r+b") as out:
                        out.truncate(len(data))
                        out.write(data)
                self.assertEqual(self.told(), "first")
        self.assertEqual(sum("the worker ended" in line for line in engine.log), 0, engine.text())
        self.plugin.unlink()
        self.restart_worker(engine)
        self.assertEqual(self.told(), "first", "a worker that starts later runs the same")
        self.plugin.write_bytes(new_plugin)
        lib.write_bytes(new_lib)
        self.restart_worker(engine)
        self.assertEqual(self.told(), "first")
        until(
            lambda: any("told.so has changed since the engine read its files" in line for line in engine.log),
            "the warning",
        )
        self.assertEqual(len(self.copies()), 1)
        self.assertEqual(engine.stop(), 0)
        self.assertEqual(self.copies(), [], "they end with the engine")
        self.engine()
        self.assertEqual(self.told(), "second", "a new engine runs what is there now")

    def test_what_a_killed_engine_left_is_removed(self):
        first = self.engine()
        first.kill()
        (left,) = self.copies()
        second = self.engine()
        self.assertEqual(len(self.copies()), 2, "too young to tell from one that is just made")
        past = time.time() - 3600
        os.utime(left, (past, past))
        for running in self.copies():
            os.utime(running, (past, past))
        self.engine()
        self.assertNotIn(left, self.copies())
        self.assertEqual(len(self.copies()), 2, "those of engines that run stay")
        self.assertIsNone(second.process.poll())

    def test_a_single_process(self):
        """Without a master, too."""
        engine = self.engine(args=["--single-process"])
        self.assertEqual(self.told(), "first")
        self.assertEqual(len(self.copies()), 1)
        self.assertEqual(engine.stop(), 0)
        self.assertEqual(self.copies(), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
