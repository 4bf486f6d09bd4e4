#!/usr/bin/env python3
"""Engines as processes: two share the bus, one dies, freezes or leaves; the database dies or comes late; the ways to
stop; and pipelines without the postgres bus or without a store.

Run alone: python3 tests/process/test_engine_process.py [-k NAME].
"""
import os
import pathlib
import signal
import threading
import time
import unittest

import _path
from lib.engine import until
from lib.pipeline_case import PipelineCase

YAML = """
pipeline: process
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 2, batch: {max_events: 20}}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
topics:
  in: {key: "{k}", handler: effects.record, routes: {
    done: out, again: {retry: climb, initial_interval: 1s, max_retries: 2, exhausted: out}}}
  out: {key: "{k}", final: true}
http:
  listen: "${HTTP_LISTEN:-127.0.0.1:0}"
  requests: {"POST /ask": {handler: chaos.ask, routes: {ok: asked, other: drop}}}
"""
YAML += "\n"
TABLE = (
    "CREATE TABLE effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint, unity"
    " bigint)"
)


class Process(PipelineCase):
    yaml = YAML.replace("  out: {key", "  asked: {final: true}\n  out: {key")

    def setUp(self):
        super().setUp()
        self.rows(TABLE)
        self.seq = 0

    def send(self, count):
        events = []
        for _ in range(count):
            self.seq += 1
            events.append(self.event({"k": f"k{self.seq % 16}", "origin": f"o{self.seq}", "seq": self.seq}))
        self.emit("in", *events)

    def await_all(self, limit_s=30.0):
        """Each event that was sent has its one effect, those of a key in order, and nothing is a dead letter."""
        self.await_value("SELECT count(DISTINCT origin) FROM effects", self.seq, limit_s)
        self.assertEqual(self.value("SELECT count(*) FROM effects"), str(self.seq), "once each")
        self.assertEqual(
            self.value(
                "SELECT count(*) FROM (SELECT seq < lag(seq) OVER (PARTITION BY k ORDER BY number) AS late FROM"
                " effects) e WHERE late"
            ),
            "0",
            "in order within a key",
        )
        self.assertEqual(self.topic("in-dlt"), [])

    def owns(self, engine, count):
        until(
            lambda: any(f"{count} in all" in line or f"{count} left" in line for line in list(engine.log)),
            f"{count} partitions; it said\n{engine.text()}",
            20,
        )

    def pair(self):
        first = self.engine()
        self.owns(first, 16)
        second = self.engine()
        self.owns(second, 8)
        self.owns(first, 8)
        self.send(100)
        self.await_all()
        return first, second

    def test_a_killed_owners_partitions_are_taken_over_within_two_seconds(self):
        first, second = self.pair()
        first.kill()
        began = time.monotonic()
        self.owns(second, 16)
        self.assertLess(time.monotonic() - began, 2.0)
        self.send(100)
        self.await_all()

    def test_an_owner_that_leaves_hands_over_at_once(self):
        first, second = self.pair()
        first.process.send_signal(signal.SIGTERM)
        self.assertEqual(first.process.wait(10), 0)
        began = time.monotonic()
        self.owns(second, 16)
        self.assertLess(time.monotonic() - began, 0.6)
        self.send(100)
        self.await_all()

    def test_a_frozen_owner_that_wakes_commits_nothing(self):
        first = self.engine(env={"SLUICE_FAILPOINTS": "lane.commit.before=freeze@1"})
        self.owns(first, 16)
        self.send(60)
        worker = first.worker()

        def frozen():
            return pathlib.Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"

        until(frozen, "the freezing")
        first.process.send_signal(signal.SIGSTOP)  # as a whole, like a machine that stands still
        second = self.engine()
        self.owns(second, 16)  # the server ends the frozen sessions, peers bury the silent member
        self.await_all(30)
        first.process.send_signal(signal.SIGCONT)
        os.kill(worker, signal.SIGCONT)
        self.send(60)
        self.await_all(30)
        until(
            lambda: first.process.poll() is None and any("lost" in line for line in list(first.log)),
            "the old owner's insight",
            20,
        )
        self.await_all()

    def test_the_database_dies_and_returns_under_load(self):
        self.engine()
        self.send(200)
        self.postgres.kill()
        self.postgres.start()
        self.send(200)
        self.await_all(60)
        self.postgres.restart()
        self.send(100)
        self.await_all(60)
        self.assertEqual(self.engines[0].stop(), 0)

    def test_an_engine_may_start_before_its_database(self):
        self.send(20)
        self.postgres.stop()
        engine = self.engine(wait=False)
        try:
            until(
                lambda: any("waiting for the database" in line for line in list(engine.log)), "its word that it waits"
            )
            self.assertIsNone(engine.process.poll())
            self.assertEqual(engine.readies(), 0)
        finally:
            self.postgres.start()
        engine.wait_ready(limit_s=30)
        self.await_all()

    def test_sigterm_under_load_loses_nothing(self):
        for _ in range(3):
            engine = self.engine()
            before = int(self.value("SELECT count(*) FROM effects"))
            sender = threading.Thread(target=self.send, args=(400,))
            sender.start()
            until(lambda: int(self.value("SELECT count(*) FROM effects")) > before, "work")  # noqa: B023
            self.assertEqual(engine.stop(10), 0, engine.text())
            sender.join()
        self.engine()
        self.await_all()

    def test_sigint_twice_stops_at_once_and_loses_nothing(self):
        engine = self.engine(env={"SLUICE_FAILPOINTS": "lane.commit.before=delay:60000@1"})
        self.send(50)
        self.await_value(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname ="
            " current_database()",
            "t",
        )
        engine.process.send_signal(signal.SIGINT)
        until(lambda: any("stopping" in line for line in list(engine.log)), "its word that it stops")
        began = time.monotonic()
        engine.process.send_signal(signal.SIGINT)
        self.assertEqual(engine.process.wait(10), 130)
        self.assertLess(time.monotonic() - began, 2)
        self.engine()
        self.await_all()

    def test_lag(self):
        self.engine().stop()  # positions begin here
        self.send(50)
        with self.postgres.locked("effects", self.url):
            engine = self.engine()
            until(lambda: engine.metric("sluice_lag") == 50, f"a lag of 50, of {engine.metric('sluice_lag')}")
        until(lambda: engine.metric("sluice_lag") == 0, f"no lag, of {engine.metric('sluice_lag')}", 30)

    def test_requests_that_were_answered_are_events(self):
        engine = self.engine()
        for number in range(20):
            status, _ = engine.request("POST", "/ask", {"mode": "ok", "n": number})
            self.assertEqual(status, 200)
        engine.kill()
        self.assertEqual(len(self.topic("asked")), 20)

    def test_the_master_restarts_a_worker_and_ends_with_it(self):
        engine = self.engine()
        worker = engine.worker()
        engine.kill_worker()
        engine.wait_ready(2)
        self.assertNotEqual(engine.worker(), worker)
        self.send(50)
        self.await_all()
        orphan = engine.worker()
        engine.kill()
        until(lambda: not os.path.exists(f"/proc/{orphan}"), "the orphan's death")


class Memory(PipelineCase):
    """The memory bus: nothing survives, outputs wait in the outbox while it refuses, and without a store it works as
    well."""

    store = """
pipeline: memory
bus: {kind: memory}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 2, sweep_after: 200ms}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}", settings: {adds: 3}}}
schedules: {ticks: {every: 200ms, handler: chaos.tick, routes: {ok: things, other: drop}}}
topics:
  things: {final: true}
  asked: {key: "{mode}", handler: chaos.act_sql, routes: {ok: things, other: things}}
http:
  listen: "${HTTP_LISTEN:-127.0.0.1:0}"
  requests: {"POST /ask": {handler: chaos.ask, routes: {ok: asked, other: drop}}}
"""

    def test_what_the_bus_refuses_is_published_by_the_sweeper(self):
        self.use(self.store)
        engine = self.engine(env={"SLUICE_FAILPOINTS": "bus.append.before=error%30", "SLUICE_SEED": "7"})
        for number in range(20):
            self.assertEqual(engine.request("POST", "/ask", {"mode": "sql_ok", "n": number})[0], 200)
        self.await_value(
            "SELECT count(*) FROM sluice.inbox i JOIN sluice.name n ON n.number = i.handler WHERE n.name ="
            " 'chaos.act_sql'",
            20,
            30,
        )
        until(lambda: any("not published by their process" in line for line in list(engine.log)), "the sweeper's word")
        now = {row[0] for row in self.rows("SELECT id FROM sluice.outbox")}
        until(lambda: not now & {row[0] for row in self.rows("SELECT id FROM sluice.outbox")}, "the outbox to move on")
        self.assertEqual(engine.stop(), 0)

    def test_what_is_left_in_the_outbox_is_published_at_the_next_start(self):
        self.use(self.store)
        engine = self.engine(env={"SLUICE_FAILPOINTS": "bus.append.before=error,keeper.sweep=error"})
        for number in range(5):
            self.assertEqual(engine.request("POST", "/ask", {"mode": "sql_ok", "n": number})[0], 200)
        self.assertGreaterEqual(int(self.value("SELECT count(*) FROM sluice.outbox")), 5)
        engine.kill()
        self.engine()
        self.await_value(
            "SELECT count(*) FROM sluice.inbox i JOIN sluice.name n ON n.number = i.handler WHERE n.name ="
            " 'chaos.act_sql'",
            5,
        )

    def test_schedules_of_one_period_all_tick(self):
        text = self.store[: self.store.index("schedules:")].replace('store: {url: "${DATABASE_URL}"}\n', "")
        text = text.replace('effects: {library: "${EFFECTS_SO}"}, ', "")
        text += "schedules:\n" + "".join(
            f"  {name}: {{every: 200ms, handler: chaos.tick, routes: {{ok: {name}s, other: drop}}}}\n"
            for name in ("one", "two", "three")
        )
        text += "topics: {ones: {final: true}, twos: {final: true}, threes: {final: true}}\n"
        self.use(text + 'http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}\n', migrate=False)
        engine = self.engine()
        for topic in ("ones", "twos", "threes"):
            name = f'sluice_emitted_total{{topic="{topic}"}}'
            until(lambda name=name: engine.metric(name) >= 9, f"three ticks for {topic}", step_s=0.1)
        self.assertEqual(engine.stop(), 0)

    def test_armed_failpoints_are_a_warning_each(self):
        self.use(self.store)
        engine = self.engine(env={"SLUICE_FAILPOINTS": "bus.append.before=delay:1%5,lane.commit.before=error@1000000"})
        warned = [line for line in engine.log if "failpoint" in line and "WARN" in line]
        self.assertEqual(len(warned), 2, engine.text())
        self.assertTrue(
            warned[0].endswith("failpoint bus.append.before is armed: delay:1%5; this process fails on purpose"),
            warned[0],
        )
        self.assertTrue(
            warned[1].endswith("failpoint lane.commit.before is armed: error@1000000; this process fails on purpose"),
            warned[1],
        )
        self.assertEqual(engine.stop(), 0)

    def test_without_a_store(self):
        text = self.store[: self.store.index("http:")].replace('store: {url: "${DATABASE_URL}"}\n', "")
        text = text.replace('effects: {library: "${EFFECTS_SO}"}, ', "")
        text = text[: text.index("  asked:")] + 'http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}\n'
        self.use(text, migrate=False)
        engine = self.engine()
        self.assertTrue(any("no store" in line and "at least once" in line for line in engine.log), engine.text())
        self.assertFalse(any("failpoint" in line for line in engine.log), engine.text())
        until(
            lambda: engine.metric("sluice_emitted_total") >= 9,
            f"emitted events in\n{engine.request('GET', '/metrics')[1]}",
            step_s=0.1,
        )
        self.assertEqual(engine.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
