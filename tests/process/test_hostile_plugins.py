#!/usr/bin/env python3
"""The plugin matrix: every way in which a handler can end, hang or change the process it runs in, as the handler of a
topic, of a tap, of a request and of a schedule. What it costs its own event, and how long the innocents waited.

Run alone: python3 tests/process/test_hostile_plugins.py [-k NAME]; SLUICE_MATRIX=all, or a mode, prints what was
measured.
"""
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import unittest

import _path
from lib.engine import BUILD, ROOT, until
from lib.pipeline_case import PipelineCase, new_id, reason

HOSTILE = BUILD / "tests/plugins/hostile.so"
TIMEOUT_S = 1.0
BOUND_S = TIMEOUT_S + 3.5  # the longest that an innocent event may wait; a pause between workers grows to 5 s

FAILED = 'sluice_events_total{handler="schedule/often",outcome="failed"}'

HEAD = """pipeline: hostile
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 2}
plugins: {hostile: {library: "${HOSTILE_SO}", settings: {tick: "${TICK:-ok}", n: "${TICK_N:-0}"}}}
defaults: {timeout: 1s}
http:
  listen: "${HTTP_LISTEN:-127.0.0.1:0}"
"""

# What a handler does: its mode, its n, and how its event ends: a part of its dead letter's sentence, or None: well.
ENDS = [
    ("segv", 0, "signal 11"),
    ("abort", 0, "signal 6"),
    ("exit", 0, "exit status 0"),
    ("exit", 3, "exit status 3"),
    ("exit_now", 0, "exit status 0"),
    ("exit_now", 70, "exit status 70"),
    ("exit_now", 78, "exit status 78"),
    ("exit_quick", 0, "exit status 0"),
    ("exit_thread", 0, "exit status 0"),
    ("segv_thread", 0, "signal 11"),
    ("raise", signal.SIGKILL, "signal 9"),
    ("raise", signal.SIGTRAP, "signal 5 "),
    ("raise", signal.SIGUSR1, "signal 10 "),
    ("kill", signal.SIGVTALRM, "signal 26"),
    ("alarm", 0, "signal 14"),
    ("file_size", 0, "signal 25"),
    ("thread_exit", 0, "it ended the lane's thread"),
    ("exec", 0, "exit status 0"),
    ("exec_stay", 0, "closed the engine's file descriptors or replaced the process"),
    ("close_all", 0, "closed the engine's file descriptors or replaced the process"),
    ("dup_all", 0, "closed the engine's file descriptors or replaced the process"),
    ("raise", signal.SIGSTOP, "it stopped the process"),
    ("hang", 0, "did not return within its timeout"),
    ("spin", 0, "did not return within its timeout"),
    ("deadlock", 0, "did not return within its timeout"),
    ("ask_on", 0, "did not return within its timeout"),
]
CHANGES = [
    ("kill", signal.SIGHUP, None),
    ("kill_twice", signal.SIGINT, None),
    ("kill_twice", signal.SIGTERM, None),
    ("kill_master", signal.SIGTERM, None),
    ("kill_master", signal.SIGINT, None),
    ("fork_return", 0, None),
    ("fork_linger", 0, None),
    ("fork_exit", 0, None),
    ("fork_segv", 0, None),
    ("leak", 0, None),
    ("ignore_signals", 0, None),  # the last: the engine still stops when it is asked to
]
PROGRAMS = {"exec": "/bin/true", "exec_stay": "/bin/sleep"}
# Those that stand for the others where a topic's handler has shown them all.
KINDS = [
    row for row in ENDS if row[:2] in {("segv", 0), ("exit_now", 0), ("raise", 5), ("thread_exit", 0), ("spin", 0)}
]


class Hostile(PipelineCase):
    env = {"HOSTILE_SO": str(HOSTILE), "LC_ALL": "de_DE.UTF-8"}

    def setUp(self):
        super().setUp()
        self.rows("create table handled (k text, at timestamptz default clock_timestamp())")
        self.sent = {}
        self.number = self.letters = 0

    def innocents(self, count):
        """Events that do nothing but their work, each with the time at which it was sent."""
        events = []
        for _ in range(count):
            self.number += 1
            events.append(self.event({"mode": "ok", "k": f"i{self.number}"}))
            self.sent[f"i{self.number}"] = time.time()
        return events

    def waited(self, limit_s=15.0):
        """The longest that an innocent waited until its effect was committed; each has exactly one."""
        ks = ",".join(f"'{k}'" for k in self.sent)
        self.await_value(f"select count(*) from handled where k in ({ks})", len(self.sent), limit_s)
        rows = self.rows(f"select k, extract(epoch from at) from handled where k in ({ks})")
        waits = [float(at) - self.sent[k] for k, at in rows]
        self.sent = {}
        return max(waits)

    def dead(self, topic, event, words):
        """The event has become the one dead letter more on the topic, and it says these words."""
        self.letters += 1
        letters = self.await_topic(f"{topic}-dlt", self.letters)
        self.assertEqual(len(letters), self.letters)
        self.assertEqual([reason(letters[-1]), json.loads(letters[-1]["value"])], ["crashed", event])
        self.assertIn(words, letters[-1]["headers"]["kafka_dlt-exception-message"])

    def matrix(self, kind, rows, run):
        """Each row: run(mode, n, wanted) gives how long the innocents waited. A row that took too long has a second
        chance, for something else may have had the processors."""
        for mode, n, wanted in rows:
            with self.subTest(mode=mode, n=int(n)):
                if os.environ.get("SLUICE_MATRIX", "all") not in ("all", mode):
                    continue
                waited = run(mode, int(n), wanted)
                if waited >= BOUND_S:
                    waited = run(mode, int(n), wanted)
                if os.environ.get("SLUICE_MATRIX"):
                    print(f"{kind:9} {mode:12} {n:3} innocents waited {waited:6.3f} s", flush=True)
                self.assertLess(waited, BOUND_S, "how long innocents waited")
                self.assertIsNone(self.engines[-1].process.poll(), "the engine goes on")
        self.assertEqual(self.engines[-1].stop(), 0, self.engines[-1].text())


class Topics(Hostile):
    yaml = (
        HEAD
        + """
topics:
  act: {handler: hostile.act_sql, routes: {ok: drop, other: drop}}
"""
    )

    def row(self, mode, n, wanted):
        name = "exec" if mode == "exec_stay" else mode
        bad = self.event({"mode": name, "n": n, "k": "bad", "path": PROGRAMS.get(mode, "")})
        self.emit("act", *self.innocents(4), bad, *self.innocents(4))
        self.emit("act", *self.innocents(4))
        waited = self.waited()
        if wanted is None:
            self.await_value("select count(*) from handled where k = 'bad'", 1)
        else:
            self.dead("act", bad, wanted)
            self.assertEqual(self.value("select count(*) from handled where k = 'bad'"), "0")
        self.rows("delete from handled returning 1")
        return waited

    def test_every_way(self):
        self.engine()
        self.matrix("topic", ENDS + CHANGES, self.row)


class Isolated(Topics):
    """The same with `isolation: process`: the same ends, and the worker process stays."""

    yaml = Topics.yaml.replace('"${HOSTILE_SO}", ', '"${HOSTILE_SO}", isolation: process, exec: true, ')

    def row(self, mode, n, wanted):
        worker = self.engines[-1].worker()
        waited = super().row(mode, n, wanted)
        self.assertEqual(self.engines[-1].worker(), worker)
        return waited


class Daemons(Hostile):
    """What a handler starts in a session of its own ends with the worker: it has its connections."""

    yaml = Topics.yaml

    def daemon(self, n):
        path = self.folder / f"daemon{n}"
        self.emit("act", self.event({"mode": "daemon", "n": n, "k": f"daemon{n}", "path": str(path)}))
        until(lambda: path.exists() and path.read_text().endswith("\n"), "the daemon", 30)
        return pathlib.Path(f"/proc/{path.read_text().strip()}")

    def test_they_end_with_a_worker_that_crashes(self):
        engine = self.engine()
        daemons = [self.daemon(0), self.daemon(1)]
        self.await_value("select count(*) from handled where k like 'daemon%'", 2, 30)
        self.assertTrue(all(daemon.exists() for daemon in daemons), "they go on as long as the worker does")
        self.emit("act", self.event({"mode": "segv", "k": "bad"}))
        until(lambda: not any(daemon.exists() for daemon in daemons), "the end of the daemons", 30)
        self.emit("act", *self.innocents(1))
        self.waited(30)
        last = self.daemon(1)
        self.assertEqual(engine.stop(), 0, engine.text())
        self.assertFalse(last.exists(), "it ended with the engine")


class Surroundings(Hostile):
    """What belongs to the whole process is the engine's again after each call, and the plugin is named."""

    yaml = Topics.yaml
    rows_of = (
        ("chdir", "working folder"),
        ("umask", "umask"),
        ("block_signals", "signal mask"),
        ("locale", "locale"),
        ("few_files", "resource limits"),
    )

    def setUp(self):
        super().setUp()
        made = subprocess.run(
            ["localedef", "-i", "de_DE", "-f", "UTF-8", str(self.folder / "de_DE.UTF-8")], capture_output=True
        )
        if not (self.folder / "de_DE.UTF-8").exists():
            self.skipTest(f"no locale that writes a comma: {made.stderr}")
        self.vars.update(LOCPATH=str(self.folder), LC_ALL="de_DE.UTF-8")

    def test_each_is_put_back(self):
        engine = self.engine()
        worker = pathlib.Path(f"/proc/{engine.worker()}")

        def threads(line):
            """That line of each thread's status, but for those that libraries started with all signals blocked."""
            found = set()
            for task in (worker / "task").iterdir():
                if (task / "comm").read_text().startswith("sluice"):
                    found.add(re.search(rf"^{line}:\t(.*)$", (task / "status").read_text(), re.M).group(1))
            return found

        before = {line: threads(line) for line in ("Umask", "SigBlk")}
        limits = (worker / "limits").read_text()
        for mode, words in self.rows_of:
            with self.subTest(mode=mode):
                said = f"handler hostile.act_sql changed the {words} of the process"

                def named():
                    self.emit("act", self.event({"mode": mode, "k": mode}))  # noqa: B023
                    return any(said in line for line in list(engine.log))  # noqa: B023

                until(named, lambda: f"the error, at most one a second; the engine said\n{engine.text()}", 20, 0.3)
                self.emit("act", *self.innocents(4))
                self.waited()
                self.assertEqual(os.readlink(worker / "cwd"), str(ROOT))
                self.assertEqual({line: threads(line) for line in ("Umask", "SigBlk")}, before)
                self.assertEqual((worker / "limits").read_text(), limits)
                self.assertEqual(engine.request("GET", "/healthz")[0], 200)

    def test_numbers_while_a_handler_has_another_locale(self):
        engine = self.engine()
        self.emit("act", *self.innocents(4))
        self.waited()
        self.emit("act", self.event({"mode": "locale_held", "n": 700, "k": "bad"}))
        pages = []

        def commas():
            pages.append(engine.request("GET", "/metrics")[1])
            return self.value("select count(*) from handled where k = 'bad'") == "1"

        until(commas, "the event's end")
        self.assertGreater(len(pages), 2)
        for page in pages:
            self.assertIn('le="0.', page)
            self.assertNotRegex(page, r'[0-9],[0-9]+("| |$)')


class Taps(Hostile):
    """A tap's event that ends its process is a dead letter of that tap; nobody else has it."""

    yaml = (
        HEAD
        + """
topics:
  act: {handler: hostile.act_sql, routes: {ok: drop, other: drop}}
  seen: {}
taps:
  watch: {topics: [seen], handler: hostile.act, routes: {ok: drop, other: drop}}
"""
    )

    def row(self, mode, n, wanted):
        bad = self.event({"mode": mode, "n": n})
        self.emit("seen", self.event({"mode": "ok"}), bad, self.event({"mode": "ok"}))
        self.emit("act", *self.innocents(8))
        waited = self.waited()
        self.dead("seen", bad, wanted)
        return waited

    def test_every_kind(self):
        self.engine()
        self.matrix("tap", KINDS, self.row)

    def test_several_at_once(self):
        """A tap that records nothing has only its position, which each end of the process takes back."""
        bad = [self.event({"mode": mode, "n": int(n)}) for mode, n, _ in KINDS]
        self.emit("seen", *bad, self.event({"mode": "ok"}))
        engine = self.engine()
        self.emit("act", *self.innocents(8))
        letters = self.await_topic("seen-dlt", len(bad), 30)
        self.assertCountEqual([json.loads(letter["value"]) for letter in letters], bad)
        self.waited()
        self.drain()
        self.assertEqual(len(self.topic("seen-dlt")), len(bad))
        self.assertEqual(engine.stop(), 0, engine.text())


class Requests(Hostile):
    """Whoever asks for it again and again is answered with 500 in the end, and nobody else notices."""

    yaml = (
        HEAD
        + """  requests: {"POST /ask": {handler: hostile.ask, routes: {ok: drop, other: drop}}}
topics:
  act: {handler: hostile.act_sql, routes: {ok: drop, other: drop}}
"""
    )

    def ask(self, engine, data):
        try:
            return engine.request("POST", "/ask", data, timeout=10)
        except (OSError, http.client.HTTPException):
            return None, None  # the process that it had asked has ended

    def row(self, mode, n, wanted):
        engine, data, answers = self.engines[-1], {"mode": mode, "n": n, "k": new_id()}, []
        sent = threading.Thread(target=lambda: answers.append(self.ask(engine, data)))
        sent.start()
        self.emit("act", *self.innocents(8))
        waited = self.waited()
        sent.join()
        while answers[-1][0] is None and len(answers) < 5:
            until(lambda: self.ask(engine, {"mode": "ok"})[0] == 200, "an innocent request's answer")
            answers.append(self.ask(engine, data))
        status, body = answers[-1]
        self.assertEqual(status, 500, answers)
        self.assertEqual(body["error"], "crashed")
        self.assertIn(wanted, body["message"])
        return waited

    def test_every_kind(self):
        self.engine()
        self.matrix("request", KINDS, self.row)


class Schedules(Hostile):
    """A tick that ends the process is skipped with an error and a metric; while it is, all else goes on."""

    ended = "master: the worker ended"
    yaml = (
        HEAD
        + """
schedules:
  often: {every: 200ms, handler: hostile.tick, routes: {ok: ticked, other: drop}}
topics:
  act: {handler: hostile.act_sql, routes: {ok: drop, other: drop}}
  ticked: {final: true}
"""
    )

    def row(self, mode, n, wanted):
        if self.engines:
            self.assertEqual(self.engines[-1].stop(), 0, self.engines[-1].text())
        engine = self.engine(env={"TICK": mode, "TICK_N": str(n)})
        until(lambda: any(self.ended in line for line in list(engine.log)), "a tick")
        self.emit("act", *self.innocents(8))
        waited = self.waited()
        until(
            lambda: any("ERROR lane: a tick of schedule often" in line and wanted in line for line in list(engine.log)),
            f"the error; the engine said\n{engine.text()}",
        )
        until(lambda: engine.metric(FAILED) >= 2, "ticks")
        ends, failed = sum(self.ended in line for line in list(engine.log)), engine.metric(FAILED)
        until(lambda: engine.metric(FAILED) >= failed + 8, "ticks that are skipped")
        self.assertEqual(sum(self.ended in line for line in list(engine.log)), ends, "it is suspended")
        return waited

    def test_every_kind(self):
        self.matrix("schedule", KINDS, self.row)


class Stops(Hostile):
    """A stop waits no longer for a request or a tick that hangs than for an event."""

    slow = HEAD.replace("timeout: 1s", "timeout: 60s").replace("lanes: 2", "lanes: 2, drain_timeout: 3s")
    yaml = (
        slow
        + Requests.yaml[len(HEAD) :]
        + "schedules: {often: {every: 100ms, handler: hostile.tick, routes: {ok: drop, other: drop}}}\n"
    )
    code, said = 1, "a handler has not returned; the process ends without waiting for it"

    def hangs(self, engine):
        until(lambda: any("it hangs" in line for line in list(engine.log)), "a call that hangs")

    def stops(self, engine):
        self.hangs(engine)
        began = time.monotonic()
        self.assertEqual(engine.stop(40), self.code, engine.text())
        self.assertLess(time.monotonic() - began, 15)
        self.assertIn(self.said, engine.text())

    def test_an_event(self):
        engine = self.engine()
        self.emit("act", self.event({"mode": "hang"}))
        self.stops(engine)
        self.assertIn("batches that still run are interrupted; their events come again", engine.text())
        self.assertRegex(engine.text(), r"handler hostile\.act\w* in lane [01] has held the stop for [1-9]")
        self.stops(self.engine())  # it comes again

    def test_a_request(self):
        engine, answers = self.engine(), []
        sent = threading.Thread(target=lambda: answers.append(engine.request("POST", "/ask", {"mode": "hang"})))
        sent.start()
        self.stops(engine)
        sent.join()
        self.assertEqual((answers[0][0], answers[0][1]["error"]), (503, "stopping"))

    def test_a_tick(self):
        self.stops(self.engine(env={"TICK": "hang"}))


if __name__ == "__main__":
    unittest.main(verbosity=2)
