#!/usr/bin/env python3
"""`dependencies:`: a breaker opens over all processes, lets one event through when it is half-open, and counts no try.

Run alone: python3 tests/process/test_breaker.py [-k NAME].
"""
import http.server
import json
import threading
import unittest

import _path
from lib.engine import BUILD, sluice, until
from lib.pipeline_case import PipelineCase

YAML = """
pipeline: guarded
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 2, batch: {max_events: 5}}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
plugins:
  data_platform: {library: "${PLATFORM_SO}", settings: {url: "${TARGET}", timeout: 2s}}
  effects: {library: "${EFFECTS_SO}"}
dependencies:
  gateway: {failures: 8, window: 10s, open: OPEN}
topics:
  in: {key: "{k}", handler: data_platform.send, dependency: gateway, routes: {sent: out}}
  side: {key: "{k}", handler: effects.record, routes: {done: out, again: drop}}
  ladder: {key: "{k}", handler: effects.record, dependency: gateway, routes: {done: out, again: {retry: climb,
           initial_interval: 1s, multiplier: 1, max_retries: 2, exhausted: out}}}
  out: {key: "{k}", final: true}
"""
TABLE = (
    "CREATE TABLE effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
    " unity bigint)"
)
BREAKER = "SELECT count(*) FROM sluice.pause WHERE kind = 'breaker'"


class Target(http.server.ThreadingHTTPServer):
    """What the handler posts to: answers 503 while it is `away`, and writes down what it was sent."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.away, self.requests, self.taken, self.lock = True, 0, [], threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests += 1
            if not self.server.away:
                self.server.taken += [(event["data"]["k"], event["data"]["seq"]) for event in body]
            status = 503 if self.server.away else 204
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Breaker(PipelineCase):
    def setUp(self):
        super().setUp()
        self.target = Target()
        self.addCleanup(self.target.server_close)
        self.addCleanup(self.target.shutdown)
        self.vars["PLATFORM_SO"] = str(BUILD / "plugins/data_platform.so")
        self.vars["TARGET"] = f"http://127.0.0.1:{self.target.server_port}/"

    def pipeline(self, open_):
        self.use(YAML.replace("OPEN", open_))
        self.rows(TABLE)

    def send(self, topic, keys, first, times, **more):
        for seq in range(first, first + times):
            self.emit(
                topic,
                *(self.event({"k": k, "seq": seq, "origin": f"{k}-{seq}", "mode": "ok", **more}) for k in keys),
            )

    def await_state(self, state, *engines):
        for engine in engines:
            until(
                lambda: engine.metric('sluice_dependency_state{dependency="gateway"}') == state,
                f"the breaker to be {state}",
                30,
            )

    def test_opens_over_all_processes_and_lets_one_through(self):
        self.pipeline("2s")
        first, second = self.engine(), self.engine()
        keys = [f"k{n}" for n in range(40)]
        self.send("in", keys, 1, 2)
        self.send("side", ["s"], 1, 3)
        self.await_state(2, first, second)
        self.await_value("SELECT count(*) FROM effects", 3)
        self.await_value("SELECT count(DISTINCT event_id) FROM sluice.held", 80)
        self.await_value("SELECT sluice.bus_lag('own')", 0)

        (shown,) = json.loads(sluice("pause", self.config, "--json", env=self.vars).stdout)["pauses"]
        self.assertEqual((shown["kind"], shown["name"]), ("breaker", "gateway"))
        self.assertRegex(shown["reason"], "8 calls failed within 10s; the last: the data platform answered 503|waits")
        text = sluice("explain", self.config, "k0-1", env=self.vars).stdout
        self.assertRegex(text, r"breaker gateway is (open|half-open) since .+")
        self.assertIn("breaker gateway is open since", first.text())

        # Each time that it was open for 2 s, one request; a process that is killed meanwhile does not matter.
        query = "SELECT until FROM sluice.pause WHERE kind = 'breaker'"
        until_ = self.value(query)
        before = self.target.requests
        for turn in range(3):
            until(lambda: self.value(query) != until_, "the breaker to open once more", 30, 0.05)
            until_ = self.value(query)
            self.assertEqual(self.target.requests, before + turn + 1)
            if turn == 1:
                first.kill()
                first.start()
        self.assertIn("breaker gateway is half-open since", second.text())
        self.assertEqual(self.target.taken, [])

        self.target.away = False
        until(lambda: len(self.target.taken) == 80, "all events at the target", 60)
        self.await_state(0, first, second)
        self.await_value("SELECT count(*) FROM sluice.held", 0)
        for k in keys:
            self.assertEqual([seq for key, seq in self.target.taken if key == k], [1, 2], k)
        self.assertEqual(self.value(BREAKER), "0")
        self.assertEqual(self.value("SELECT count(*) FROM sluice.attempt"), "0")
        for engine in (first, second):
            self.assertEqual(engine.metric("sluice_retries_total"), 0)
        until(lambda: "breaker gateway is closed" in second.text(), "a line that it is closed")

    def test_one_event_alone_opens_it_and_an_operator_closes_it(self):
        self.pipeline("1h")
        engine = self.engine()
        self.send("in", ["a"], 1, 2)
        self.await_state(2, engine)
        self.target.away = False
        said = sluice("resume", self.config, "gateway", env=self.vars).stdout
        self.assertEqual(said, "breaker gateway: resumed\n")
        until(lambda: self.target.taken == [("a", 1), ("a", 2)], "both events, in order", 30)
        self.await_state(0, engine)

    def test_a_delayed_event_is_let_through(self):
        """Nothing but a step of a ladder waits for the breaker: it is the one that tries."""
        self.pipeline("1h")
        engine = self.engine()
        self.send("ladder", ["a"], 1, 1, climb=1)
        self.await_value("SELECT count(*) FROM sluice.parked WHERE state = 0", 1)
        self.rows(
            "INSERT INTO sluice.pause (pipeline, kind, name, until, actor, reason)"
            " VALUES ('own', 'breaker', 'gateway', now() + interval '1 hour', 'sluice', 'a test')"
        )
        self.await_value("SELECT count(*) FROM sluice.parked WHERE state = 3", 1)
        self.rows("UPDATE sluice.pause SET until = now()")
        self.await_value(BREAKER, 0)
        self.await_value("SELECT count(*) FROM effects", 1)
        self.await_state(0, engine)

    def test_an_operator_pauses_it(self):
        self.pipeline("2s")
        self.target.away = False
        engine = self.engine()
        sluice("pause", self.config, "gateway", "--reason", "a deploy", env=self.vars)
        until(lambda: engine.metric("sluice_paused") == 1, "the pause")
        self.send("in", ["a"], 1, 2)
        self.send("side", ["s"], 1, 1)
        self.await_value("SELECT count(*) FROM effects", 1)
        self.await_value("SELECT count(*) FROM sluice.held", 2)
        engine.kill()
        engine.start()
        until(lambda: engine.metric("sluice_paused") == 1, "the pause")
        self.assertEqual(self.target.taken, [])
        sluice("resume", self.config, "gateway", env=self.vars)
        until(lambda: self.target.taken == [("a", 1), ("a", 2)], "both events, in order", 30)


if __name__ == "__main__":
    unittest.main()
