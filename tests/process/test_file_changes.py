#!/usr/bin/env python3
"""An engine runs what it was started with: whatever becomes of pipeline.yaml, of the files that it names and of the
folders that are looked into, a worker process that replaces another one goes on with what they were.

Run alone: python3 tests/process/test_file_changes.py [-k NAME].
"""
import os
import shutil
import threading
import unittest

import _path
from lib.engine import Engine, sluice
from lib.pipeline_case import EFFECTS, PipelineCase

YAML = """
pipeline: changes
bus: {kind: postgres}
store: {url: "${file:%(folder)s/url}"}
engine: {lanes: 1, plugin_dir: plugins}
plugins: {effects: {library: effects.so}}
topics:
  in: {key: "{k}", handler: effects.record, routes: {
    done: out, again: {retry: climb, initial_interval: 1s, max_retries: 2, exhausted: out}}}
  out: {key: "{k}", final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
TABLE = (
    "create table effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
    " unity bigint)"
)
BROKEN = "pipeline: changes\ntopics: [\n"


class Changes(PipelineCase):
    """The commands have a folder with everything that is read, the engine another one, which the tests change."""

    def setUp(self):
        super().setUp()
        self.sent = 0
        self.config = self.lay_out("stable") / "pipeline.yaml"
        sluice("migrate", self.config, env=self.vars)
        self.own = self.lay_out("own")
        self.file = self.own / "pipeline.yaml"

    def lay_out(self, name):
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "plugins").mkdir(parents=True)
        shutil.copy(EFFECTS, folder / "plugins/effects.so")
        (folder / "plugins/effects/sql").mkdir(parents=True)
        (folder / "plugins/effects/sql/0001_effects.sql").write_text(TABLE)
        (folder / "url").write_text(self.url + "\n")
        (folder / "url").chmod(0o600)
        (folder / "pipeline.yaml").write_text(YAML % {"folder": folder})
        return folder

    def start(self, config, wait=True):
        self.engines.append(Engine(config, self.vars))
        return self.engines[-1].start(wait)

    def works(self):
        self.sent += 1
        self.emit("in", self.event({"k": "k", "origin": f"o{self.sent}", "seq": self.sent}))
        self.await_value("select count(*) from effects", self.sent)

    def next_release(self):
        (self.own / "plugins/effects/sql/0002_next_release.sql").write_text("select 1;\n")

    def remove_files(self):
        for name in ("pipeline.yaml", "url", "plugins/effects.so"):
            (self.own / name).unlink()
        shutil.rmtree(self.own / "plugins/effects")

    def test_whatever_changes(self):
        """Few rounds: pauses between workers double while they end within two seconds."""
        changes = {
            "an error in the file": lambda: self.file.write_text(BROKEN),
            "another pipeline": lambda: self.file.write_text(self.file.read_text().replace("done: out", "done: drop")),
            "a ${file:} is empty, and the next release is there": lambda: [
                (self.own / "url").write_text(""),
                self.next_release(),
            ],
            "no file": self.remove_files,
            "no folder": lambda: shutil.rmtree(self.own),
        }
        engine = self.start(self.file)
        for what, change in changes.items():
            with self.subTest(what):
                times = engine.readies()
                change()
                engine.kill_worker()
                engine.wait_ready(times + 1)
                self.works()
        self.await_topic("out", self.sent)
        self.assertEqual(engine.stop(), 0)
        self.lay_out("own")
        self.file.write_text(BROKEN)
        self.assertEqual(self.start(self.file, wait=False).process.wait(20), 78, "the next engine reads what is there")

    def test_a_file_that_can_be_read_once(self):
        """A pipe: `sluice run <(...)`."""
        text = self.file.read_text()
        self.file.unlink()
        os.mkfifo(self.file)
        writer = threading.Thread(target=self.file.write_text, args=(text,), daemon=True)
        writer.start()
        engine = self.start(self.file)
        writer.join(10)
        engine.kill_worker()
        engine.wait_ready(2)
        self.works()


if __name__ == "__main__":
    unittest.main()
