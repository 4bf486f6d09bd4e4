#!/usr/bin/env python3
"""`isolation: process`: what a handler may rely on, and what its faults cost, is the same as without it; what ends its
process costs its batch alone. The matrix of what ends it: test_hostile_plugins.py, Isolated.

Run alone: python3 tests/process/test_isolation.py [-k NAME]; the waits of innocents are printed with SLUICE_MATRIX=all.
"""
import json
import os
import pathlib
import resource
import signal
import tempfile
import time
import unittest
from unittest import mock

import _path
import test_engine_contract
import test_engine_getters
import test_hostile_plugins
import test_requests
import test_sql_failures
import test_why
from lib.engine import ROOT, sluice, until
from lib.pipeline_case import PipelineCase


def isolated(case):
    """The same tests, with every plugin in a process of its own."""
    yaml = case.yaml.replace('_SO}"', '_SO}", isolation: process, exec: true, sockets: true')
    assert yaml != case.yaml
    return type(f"Isolated{case.__name__}", (case,), {"yaml": yaml})


Faults = isolated(test_engine_contract.Faults)
Promises = isolated(test_engine_contract.Promises)
Requests = isolated(test_engine_contract.Requests)
Getters = isolated(test_engine_getters.Getters)
StatementsThatFail = isolated(test_sql_failures.StatementsThatFail)
LimitsOfTime = isolated(test_sql_failures.LimitsOfTime)
HandlersThatStop = isolated(test_sql_failures.HandlersThatStop)
Tap = isolated(test_hostile_plugins.Taps)
HostileRequests = isolated(test_hostile_plugins.Requests)


class Ticks(test_engine_contract.Ticks):
    form = test_engine_contract.Ticks.form.replace('"${CHAOS_SO}"', '"${CHAOS_SO}", isolation: process')


class Stops(isolated(test_hostile_plugins.Stops)):
    """What hangs in a process of its own is ended with it, so the engine ends as ever."""

    code, said = 0, "engine.drain_timeout is over: the process of plugin 'hostile' is ended in a call of handler"

    def test_a_reload(self):
        engine = self.engine()
        self.emit("act", self.event({"mode": "hang"}))
        self.hangs(engine)
        self.assertRegex(engine.reload(), "^hostile: reloaded in ")
        self.assertIn(self.said, engine.text())
        self.assertIn("handed over", engine.text())
        engine.log.clear()
        self.stops(engine)


class HostileTicks(isolated(test_hostile_plugins.Schedules)):
    ended = "the process of plugin 'hostile' ended in a call of handler hostile.tick"


class Why(isolated(test_why.Postgres)):
    """What is told of an event in whose call the process ended."""

    ended, alone = "the process of its plugin ended", "a batch of its own"
    test_causes = test_nothing = None

    def test_a_suspect(self):
        self.start()
        self.plugin_fault()


class Purchases(test_requests.Requests):
    """The shipped plugins, in the shipped pipeline."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="sluice-")
        cls.addClassCleanup(folder.cleanup)
        config = pathlib.Path(folder.name) / "pipeline.yaml"
        shipped = (ROOT / test_requests.CONFIG).read_text()
        config.write_text(shipped.replace(".so", ".so, isolation: process, sockets: true"))
        with mock.patch.object(test_requests, "CONFIG", config):
            super().setUpClass()


def children(pid):
    """The processes of plugins."""
    found = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    return sorted(int(child) for one in found for child in one.read_text().split())


class Processes(PipelineCase):
    letters = 0
    yaml = """pipeline: isolation
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 4}
plugins: {hostile: {library: "${HOSTILE_SO}", isolation: ISOLATION}}
defaults: {timeout: 1s}
topics:
  act: {handler: hostile.act_sql, routes: {ok: drop, other: drop}}
"""
    env = {"HOSTILE_SO": str(test_hostile_plugins.HOSTILE)}

    def setUp(self):
        super().setUp()
        self.rows("create table handled (k text, at timestamptz default clock_timestamp())")

    def use(self, yaml, isolation="process"):
        super().use(yaml.replace("ISOLATION", isolation))

    def waits(self, mode, isolation):
        """How long each of a stream of innocents waited while one event of them hangs or crashes."""
        self.rows("truncate handled; select 1")
        self.use(Processes.yaml, isolation)
        engine = self.engine()
        worker, sent = engine.worker(), {}
        for number in range(24):
            if number == 4:
                self.emit("act", self.event({"mode": mode, "k": "bad"}))
            self.emit("act", self.event({"mode": "ok", "k": f"{mode}{isolation}{number}"}))
            sent[f"{mode}{isolation}{number}"] = time.time()
        self.await_value(f"select count(*) from handled where k like '{mode}{isolation}%'", len(sent), 30)
        rows = self.rows(f"select k, extract(epoch from at) from handled where k like '{mode}{isolation}%'")
        self.letters += 1
        self.await_topic("act-dlt", self.letters)
        if isolation == "process":
            self.assertEqual(engine.worker(), worker, "no lane of the worker was stopped")
        self.assertEqual(engine.stop(), 0)
        return sorted(max(0.0, float(at) - sent[k]) for k, at in rows)

    def test_other_lanes_go_on(self):
        """Of four lanes one is hit; how long events waited is printed."""
        for mode in ("segv", "hang"):
            with self.subTest(mode=mode):
                waits = self.waits(mode, "process")
                if os.environ.get("SLUICE_MATRIX"):
                    for isolation, seen in (("process", waits), ("none", self.waits(mode, "none"))):
                        shares = ", ".join(
                            f"{share} %: {seen[len(seen) * share // 100 - 1]:.3f} s" for share in (50, 65, 100)
                        )
                        print(f"{mode:6} isolation {isolation:8} innocents waited  {shares}", flush=True)

    def test_each_lane_has_one_that_ends_with_it(self):
        engine = self.engine()
        worker = engine.worker()
        first = until(lambda: len(children(worker)) == 4 and children(worker), "a process for each lane")
        for child in first:
            files = {os.readlink(f"/proc/{child}/fd/{number}") for number in os.listdir(f"/proc/{child}/fd")}
            self.assertEqual(len([name for name in files if name.startswith("socket:")]), 1, "nothing of the engine")
        os.kill(first[0], signal.SIGKILL)  # between calls: nobody is to blame
        for number in range(20):
            self.emit("act", self.event({"mode": "ok", "k": f"n{number}"}))
        self.await_value("select count(*) from handled", 20)
        self.assertEqual(len(self.topic("act-dlt")), 0)
        last = until(lambda: len(children(worker)) == 4 and children(worker), "a process for each lane")
        self.assertEqual((engine.worker(), first[0] in last), (worker, False))
        os.kill(worker, signal.SIGKILL)
        until(lambda: not any(pathlib.Path(f"/proc/{child}").exists() for child in last), "their end")
        until(lambda: engine.worker() not in (None, worker), "another worker")
        last = until(lambda: len(children(engine.worker())) == 4 and children(engine.worker()), "its processes")
        self.assertEqual(engine.stop(), 0, engine.text())
        self.assertFalse(any(pathlib.Path(f"/proc/{child}").exists() for child in last))

    def test_what_nobody_asked_for_is_no_answer_of_the_next_call(self):
        engine = self.engine()
        self.emit("act", self.event({"mode": "forge", "k": "bad"}))
        self.emit("act", *[self.event({"mode": "ok", "k": f"n{number}"}) for number in range(40)])
        self.await_value("select count(*) from handled where k <> 'bad'", 40)
        (letter,) = self.await_topic("act-dlt", 1)
        self.assertIn('"forge"', letter["value"])
        self.assertEqual(engine.stop(), 0)

    def test_its_calls_change_nothing_of_the_worker(self):
        """What somebody else changes there stays, and no handler is blamed for it."""
        engine = self.engine()
        soft, hard = resource.prlimit(engine.worker(), resource.RLIMIT_NOFILE)
        resource.prlimit(engine.worker(), resource.RLIMIT_NOFILE, (soft - 1, hard))
        self.emit("act", self.event({"mode": "ok", "k": "n"}))
        self.await_value("select count(*) from handled", 1)
        self.assertEqual(resource.prlimit(engine.worker(), resource.RLIMIT_NOFILE), (soft - 1, hard))
        self.assertEqual(engine.stop(), 0)
        self.assertNotIn("changed the resource limits", engine.text())

    def test_one_that_does_not_end_well_is_named(self):
        for mode, n, words in (
            ("segv", 0, "was asked to end, and failed: signal 11"),
            ("exit_now", 3, "was asked to end, and failed: exit status 3"),
            ("hang", 0, "does not end when it is asked to; killed"),
            ("ok", 0, None),
        ):
            with self.subTest(mode=mode):
                self.use(Processes.yaml, f"process, settings: {{close: {mode}, n: {n}}}")
                engine = self.engine()
                self.assertEqual(engine.stop(), 0)
                said = [line for line in engine.log if "the process of plugin 'hostile'" in line]
                self.assertEqual(len(said), 4 if words else 0)
                self.assertTrue(all(words in line for line in said), said)

    def test_what_the_process_may(self):
        """Each is refused as the file says, and the library is told; without that it is done."""
        events = {
            "socket": {"mode": "socket"},
            "exec": {"mode": "exec", "path": "/bin/true"},
            "memory": {"mode": "memory", "n": 200},
        }
        for said, done in (
            ("", {"socket": True, "exec": True, "memory": True}),
            (", memory: 64MiB", {"socket": True, "exec": True, "memory": False}),
            (", sockets: true", {"socket": False, "exec": True, "memory": True}),
            (", exec: true", {"socket": True, "exec": False, "memory": True}),
            (", exec: true, sockets: true", {"socket": False, "exec": False, "memory": True}),
        ):
            with self.subTest(said=said):
                self.rows("truncate handled; select 1")
                self.use(Processes.yaml, "process" + said)
                engine = self.engine()
                self.emit("act", *[self.event({**event, "k": k}) for k, event in events.items()])
                self.letters += list(done.values()).count(False)
                self.await_topic("act-dlt", self.letters)
                self.await_value("select count(*) from handled", list(done.values()).count(True))
                found = {k for (k,) in self.rows("select k from handled")}
                self.assertEqual(found, {k for k, good in done.items() if good})
                self.assertEqual(engine.stop(), 0)

    def test_the_processor_time_of_a_call(self):
        """It ends long before its timeout, and each call has as much."""
        self.use(Processes.yaml.replace("timeout: 1s", "timeout: 60s"), "process, cpu: 300ms")
        engine = self.engine()
        self.emit("act", self.event({"mode": "spin", "k": "spins"}))
        for number in range(12):
            self.emit("act", self.event({"mode": "busy", "n": 50, "k": f"busy{number}"}))
            self.await_value("select count(*) from handled", number + 1)
        (letter,) = self.await_topic("act-dlt", 1)
        self.assertIn(
            "it took more processor time than the 300 ms of `cpu`", letter["headers"]["kafka_dlt-exception-message"]
        )
        self.assertEqual(json.loads(letter["value"])["data"]["k"], "spins")
        self.assertEqual(engine.stop(), 0)

    def test_values_that_are_refused(self):
        for value, column, words in (
            ("thread", 58, "isolation: expected none or process"),
            (
                "none, memory: 64MiB",
                72,
                "memory: is about a process of its own; add `isolation: process`, or remove it",
            ),
            ("none, exec: true", 70, "exec: is about a process of its own; add `isolation: process`, or remove it"),
            (
                "none, sockets: false",
                73,
                "sockets: is about a process of its own; add `isolation: process`, or remove it",
            ),
            ("process, memory: 1MiB", 75, "memory: expected"),
            ("process, cpu: 1ms", 72, "cpu: expected"),
            ("none, cpu: 1s", 69, "cpu: is about a process of its own; add `isolation: process`, or remove it"),
        ):
            with self.subTest(value=value):
                self.config.write_text(Processes.yaml.replace("ISOLATION", value))
                out = sluice("validate", self.config, env=self.vars, check=False)
                self.assertIn(f"pipeline.yaml:5:{column}: error: plugins.hostile.{words}", out.stderr)


del PipelineCase


if __name__ == "__main__":
    unittest.main(verbosity=2)
