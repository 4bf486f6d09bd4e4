#!/usr/bin/env python3
"""Signals at moments when nobody expects them: the engine ends when its operator says so, whatever its worker process
does then.

Run alone: python3 tests/process/test_signals.py [-k NAME].
"""
import contextlib
import os
import pathlib
import signal
import unittest

import _path
from lib.engine import BUILD, until
from lib.pipeline_case import PipelineCase

YAML = """
pipeline: signals
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 1, drain_timeout: 5s}
plugins: {hostile: {library: "${HOSTILE_SO}"}}
topics:
  act: {handler: hostile.act_sql, routes: {ok: drop, other: drop}}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""


class Signals(PipelineCase):
    yaml = YAML
    env = {"HOSTILE_SO": str(BUILD / "tests/plugins/hostile.so")}

    def setUp(self):
        super().setUp()
        self.rows("create table handled (k text, at timestamptz default clock_timestamp())")

    def ended(self, engine, limit_s=20):
        code = engine.process.wait(limit_s)
        engine.reader.join(5)
        return code

    def stops(self, engine, code=0):
        engine.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.ended(engine), code, engine.text())

    @staticmethod
    def status(pid, name):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return line.split()[1]
        return ""

    def test_a_worker_that_is_stopped(self):
        engine = self.engine()
        worker = engine.worker()
        os.kill(worker, signal.SIGSTOP)
        until(lambda: self.status(worker, "State") == "T", "the worker to be stopped")
        self.stops(engine)
        self.assertIn("run: stopped", engine.text())

    def test_a_worker_that_is_stopped_while_it_drains(self):
        engine = self.engine()
        worker = engine.worker()
        self.emit("act", self.event({"mode": "slow", "n": 3000, "k": "slow"}))
        until(lambda: engine.metric("sluice_in_flight") > 0, "the handler's call")
        engine.process.send_signal(signal.SIGTERM)
        until(lambda: "run: stopping" in engine.text(), "the drain")
        os.kill(worker, signal.SIGSTOP)
        self.assertEqual(self.ended(engine), 0, engine.text())
        self.assertEqual(self.value("select count(*) from handled"), "1", "its call came to its end")

    def test_between_two_workers(self):
        """From the second one on, pauses double while workers end at once; an engine that is asked to stop in one of
        them has stopped."""
        engine = self.engine()
        for times in range(1, 6):
            engine.wait_ready(times)
            engine.kill_worker()
        until(lambda: engine.text().count("a new worker starts") == 5, "the fifth one's end")
        self.assertIsNone(engine.worker(), "the pause is 800 ms now")
        self.stops(engine)
        self.assertIn("stopped", engine.log[-1])

    def test_exit_handlers_that_do_not_return(self):
        """A plugin's, after all is done: the process is ended, and the log says why."""
        engine = self.engine()
        self.emit("act", self.event({"mode": "end_never", "k": "k"}))
        self.await_value("select count(*) from handled", 1)
        self.stops(engine, 1)
        self.assertIn("exit handler", engine.log[-1])

    def test_a_hangup_at_once(self):
        """While it reads the file, which takes as long as a pipe's other end takes."""
        text = self.config.read_bytes()
        self.config.unlink()
        os.mkfifo(self.config)
        engine = self.engine(wait=False)
        pipe = until(self.writer, "the engine to read the file")
        engine.process.send_signal(signal.SIGHUP)
        with os.fdopen(pipe, "wb") as out:
            out.write(text)
        engine.wait_ready()
        until(lambda: any("no regular file" in answer for answer in engine.answers()), "the answer")
        self.stops(engine)

    def writer(self):
        with contextlib.suppress(OSError):
            return os.open(self.config, os.O_WRONLY | os.O_NONBLOCK)  # while somebody reads


if __name__ == "__main__":
    unittest.main()
