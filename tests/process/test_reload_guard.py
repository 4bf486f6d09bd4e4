#!/usr/bin/env python3
"""What the master watches while an engine is reloaded: handlers that crash or hang meanwhile, and files that cannot be
read.

Run alone: python3 tests/process/test_reload_guard.py [-k NAME].
"""
import os
import shutil
import signal
import unittest

import _path
from lib.engine import until
from lib.pipeline_case import CHAOS, PipelineCase, reason

YAML = """
pipeline: guarded
bus: {kind: postgres, partitions: 1}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 1}
plugins: {chaos: {library: PLUGIN}}
topics:
%s
  out: {final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
ACT = "  act: {handler: chaos.act_sql, timeout: 60s, routes: {ok: out, other: drop}}"
OTHER = "  before: {handler: chaos.act, routes: {ok: out, other: drop}}"


class Guard(PipelineCase):
    def setUp(self):
        super().setUp()
        self.plugin = self.folder / "chaos.so"
        shutil.copy(CHAOS, self.plugin)
        self.use(self.text(ACT, OTHER))

    def text(self, *topics):
        return (YAML % "\n".join(topics)).replace("PLUGIN", str(self.plugin))

    def test_bindings_in_another_order(self):
        """A handler crashes while it is waited for: who takes over knows the event, whatever its handler's place."""
        engine = self.engine()
        held = self.folder / "held"
        held.touch()
        self.emit("act", self.event({"mode": "wait", "path": str(held)}), self.event({"mode": "crash"}))
        until(lambda: engine.metric("sluice_in_flight") == 2, "the call of both")
        self.config.write_text(self.text(OTHER, ACT))
        count = len(engine.answers())
        engine.process.send_signal(signal.SIGHUP)
        until(lambda: "handing over: nothing new is taken" in engine.text(), "the handover to begin")
        held.unlink()
        (letter,) = self.await_topic("act-dlt", 1, 60)
        self.assertEqual(reason(letter), "crashed")
        ends = [line for line in engine.log if "master: the worker ended in a handler's call: signal 11" in line]
        self.assertEqual(len(ends), 3, "once with the other, twice alone:\n" + engine.text())
        until(lambda: len(engine.answers()) > count, "the answer")
        self.assertIn("reloaded in", engine.answers()[count])

    def test_a_handler_that_hangs_while_a_disk_does(self):
        """The master does not wait for the files: it ends the worker, and starts another one."""
        self.config.write_text(self.text(ACT.replace("60s", "4s")))
        engine = self.engine(env={"SLUICE_FAILPOINTS": "reload.read=delay:600000"})
        worker = engine.worker()
        self.emit("act", self.event({"mode": "hang"}))
        until(lambda: engine.metric("sluice_in_flight") == 1, "the call")
        engine.process.send_signal(signal.SIGHUP)
        until(lambda: len(engine.workers()) == 2, "the process that reads")
        (reads,) = [pid for pid in engine.workers() if pid != worker]
        until(lambda: worker not in engine.workers(), "the end of the worker whose handler hangs")
        self.assertIn(reads, engine.workers(), "who reads is none of what the handler left")
        self.await_topic("act-dlt", 1)
        until(engine.answers, "the answer", 60)
        self.assertIn("the files were not read within 10 s", engine.answers()[0])
        said = engine.text()
        self.assertLess(said.index("it did not return within"), said.index("the files were not read"))
        until(lambda: len(engine.workers()) == 1, "the end of who reads")
        self.emit("act", self.event({"mode": "ok"}))
        self.await_topic("out", 1)

    def refused(self, engine, why):
        told = len(engine.log)
        self.assertIn("refused", engine.reload())
        until(lambda: any(why in line for line in engine.log[told:]), lambda: f"{why}; it said:\n{engine.text()}")

    def test_pipes(self):
        """In place of each file that a reload reads: it is refused with a sentence, and waits for nobody."""
        engine = self.engine()
        for path in (self.plugin, self.config):
            kept = path.with_suffix(".kept")
            path.rename(kept)
            os.mkfifo(path)
            self.refused(engine, "no regular file")
            path.unlink()
            kept.rename(path)
        pipe = self.folder / "chaos" / "sql" / "0001_pipe.sql"
        pipe.parent.mkdir(parents=True)
        os.mkfifo(pipe)
        self.refused(engine, "0001_pipe.sql: it is no regular file")
        shutil.rmtree(pipe.parent)
        self.assertIn("reloaded in", engine.reload())


if __name__ == "__main__":
    unittest.main()
