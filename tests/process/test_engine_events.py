#!/usr/bin/env python3
"""What becomes of events on their way: retries in place, crashes and hangs of a plugin, the ladder over a restart,
chains.

Run alone: python3 tests/process/test_engine_events.py [-k NAME].
"""
import json
import time
import unittest

import _path
from lib.engine import until
from lib.pipeline_case import PipelineCase, reason

HEAD = """
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 1}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
"""
TABLE = (
    "CREATE TABLE effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint, unity"
    " bigint)"
)


class Retries(PipelineCase):
    yaml = (
        "pipeline: retries"
        + HEAD
        + """
defaults: {retry: {max_retries: 3, backoff: {initial_interval: 300ms, multiplier: 2, max_interval: 5s, jitter: 0}}}
topics:
  in: {key: "{k}", handler: effects.record, routes: {
    done: out, again: {retry: climb, initial_interval: 2s, max_retries: 2, exhausted: out}}}
  out: {key: "{k}", final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
    )

    def setUp(self):
        super().setUp()
        self.rows(TABLE)

    def send(self, k, seq, **more):
        self.emit("in", self.event({"k": k, "origin": f"{k}{seq}", "seq": seq, **more}))

    def effects(self):
        return [row[0] for row in self.rows("SELECT origin FROM effects ORDER BY number")]

    def test_a_retry_holds_its_key_and_nobody_else(self):
        self.send("a", 1, flaky=2)
        for seq in (2, 3):
            self.send("a", seq)
        for seq in range(1, 6):
            self.send("b", seq)
        self.engine()
        until(lambda: len(self.effects()) >= 8, "all effects")
        self.assertEqual(self.effects(), ["b1", "b2", "b3", "b4", "b5", "a1", "a2", "a3"])
        self.drain()
        self.assertEqual(self.topic("in-dlt"), [])

    def test_exhausted_retries_are_a_dead_letter_and_free_the_key(self):
        self.send("a", 1, flaky=9)
        self.send("a", 2)
        engine = self.engine()
        letters = self.await_topic("in-dlt", 1)
        self.assertEqual(
            (reason(letters[0]), letters[0]["headers"]["retry_topic-attempts"]), ("retries_exhausted", "4")
        )
        self.drain()
        self.assertEqual(self.effects(), ["a2"])
        self.assertEqual(engine.stop(), 0)

    def test_attempts_survive_a_kill(self):
        self.send("a", 1, flaky=9)
        engine = self.engine()
        self.await_value("SELECT max(attempts) FROM sluice.attempt", 2)
        engine.kill()
        engine = self.engine()
        letters = self.await_topic("in-dlt", 1)
        self.assertEqual(letters[0]["headers"]["retry_topic-attempts"], "4")
        self.assertLess(engine.metric("sluice_retries_total"), 2, "a restart does not begin to count anew")

    def test_attempts_pass_to_the_process_that_takes_over(self):
        """Both run before anything is tried; whichever tries is killed, and the other counts on."""
        engines = [self.engine(), self.engine()]
        until(
            lambda: all(any("8 in all" in line or "8 left" in line for line in list(e.log)) for e in engines),
            "the partitions to be shared",
            20,
        )
        self.send("a", 1, flaky=9)
        self.await_value("SELECT max(attempts) FROM sluice.attempt", 2)
        engines.sort(key=lambda engine: engine.metric("sluice_retries_total"))
        engines[1].kill()
        letters = self.await_topic("in-dlt", 1)
        self.assertEqual(letters[0]["headers"]["retry_topic-attempts"], "4")
        self.assertLess(engines[0].metric("sluice_retries_total"), 2, "a takeover does not begin to count anew")

    def test_a_duplicate_leaves_what_is_recorded_alone(self):
        """In one batch with a fresh event, both of an outcome that is not the usual one."""
        first = self.event({"k": "a", "origin": "a1", "seq": 1, "climb": 1})
        self.emit("in", first)
        engine = self.engine()
        self.await_value("SELECT count(*) FROM sluice.parked", 1)
        self.assertEqual(engine.stop(), 0)
        row = f"SELECT xmin, outcome FROM sluice.inbox WHERE event_id = '{first['eventId']}'"
        before = self.rows(row)
        self.emit("in", first, self.event({"k": "b", "origin": "b1", "seq": 1, "climb": 1}))
        self.engine()
        self.await_value("SELECT count(*) FROM effects", 2)
        self.assertEqual(self.rows(row), before)

    def test_the_ladder_waits_in_the_database_and_survives_a_restart(self):
        self.send("a", 1, climb=1)
        self.send("a", 2)
        engine = self.engine()
        self.await_value("SELECT count(*) FROM sluice.parked", 1)
        step = self.topic("climb")[0]
        self.await_value("SELECT string_agg(origin, ',') FROM effects", "a2")  # the key does not wait
        engine.kill()
        self.engine()
        self.await_value("SELECT string_agg(origin, ',' ORDER BY number) FROM effects", "a2,a1")
        self.assertGreaterEqual(time.time() * 1000, int(step["headers"]["sluice-not-before"]))
        self.drain()
        done = [
            record
            for record in self.topic("out")
            if record["headers"]["sluice-parent"] == json.loads(step["value"])["eventId"]
        ]
        self.assertGreaterEqual(done[0]["timestamp"], int(step["headers"]["sluice-not-before"]) - 2)
        self.assertGreaterEqual(done[0]["timestamp"] - step["timestamp"], 1998)


class Crashes(PipelineCase):
    yaml = (
        "pipeline: crashes"
        + HEAD
        + """
topics:
  act: {handler: chaos.act_sql, timeout: 100ms, routes: {ok: out, other: drop}}
  out: {final: true}
"""
    )

    def culprit(self, mode, wanted="crashed", limit_s=60.0, **more):
        """One event that ends the process each time among many that do not: it is convicted, they are handled once."""
        good = [self.event({"mode": "sql_ok"}) for _ in range(30)]
        bad = self.event({"mode": mode, **more})
        engine = self.engine()
        self.emit("act", *good[:15], bad, *good[15:])
        letters = self.await_topic("act-dlt", 1, limit_s)
        self.assertEqual([(reason(letter), json.loads(letter["value"])) for letter in letters], [(wanted, bad)])
        self.drain()
        self.assertEqual(len(self.topic("out")), 30)
        self.assertEqual(len(self.topic("act-dlt")), 1)
        self.assertIsNone(engine.process.poll(), "the engine goes on")
        return engine

    def test_segmentation_fault(self):
        engine = self.culprit("crash")
        self.assertEqual(
            sum("master: the worker ended in a handler's call: signal 11" in line for line in engine.log),
            3,
            "once with others, twice alone",
        )

    def test_abort(self):
        self.culprit("abort")

    def test_exit(self):
        self.culprit("exit", n=0)

    def test_stack_overflow(self):
        self.culprit("stack_overflow")

    def test_heap_smash(self):
        self.culprit("heap_smash", n=1000)

    def test_hang(self):
        self.culprit("hang")

    def test_a_lane_that_computes_for_ever_outside_of_a_call(self):
        """As when a handler wrote over what the engine searches there; keeper.watchdog: after 0.3 s, not after 30."""
        bad = self.event({"mode": "sql_ok"})
        engine = self.engine(env={"SLUICE_FAILPOINTS": "lane.handler.after=spin,keeper.watchdog=error"})
        self.emit("act", bad)
        letters = self.await_topic("act-dlt", 1, 60.0)
        self.assertEqual([(reason(letter), json.loads(letter["value"])) for letter in letters], [("crashed", bad)])
        words = (
            "ms in one step and does not come out of it: what follows the handler's call; its last handler was chaos"
        )
        self.assertEqual(sum(words in line for line in engine.log), 2, f"alone, twice\n{engine.text()}")
        self.assertIsNone(engine.process.poll(), "the engine goes on")

    def test_a_statement_that_hangs(self):
        self.culprit("sql_hang", wanted="deadline")

    def test_a_crash_that_happens_once_is_forgiven(self):
        mark = self.folder / "mark"
        self.folder.chmod(0o777)
        self.engine()
        self.emit(
            "act",
            *[self.event({"mode": "ok"}) for _ in range(5)],
            self.event({"mode": "crash_once", "path": str(mark)}),
        )
        self.await_topic("out", 6)
        self.drain()
        self.assertEqual(self.topic("act-dlt"), [])

    def test_killing_the_worker_convicts_nobody(self):
        engine = self.engine()
        self.emit("act", *[self.event({"mode": "sleep", "n": 80}) for _ in range(5)])
        for killed in range(1, 4):
            until(engine.kill_worker, "a worker to kill")
            until(
                lambda: sum("signal 9 (Killed)" in line for line in list(engine.log)) >= killed, "its death"
            )  # noqa: B023
        self.await_topic("out", 5)
        self.drain()
        self.assertEqual(self.topic("act-dlt"), [])


class Chains(PipelineCase):
    yaml = None
    form = (
        "pipeline: chains"
        + HEAD
        + """
topics:
  step1: {key: "{id}"}
  step2: {key: "{id}"}
  failed: {key: "{id}"}
  undo1: {key: "{id}", handler: chaos.act, routes: {ok: undone1, other: drop}}
  undo2: {key: "{id}", handler: chaos.act, routes: {ok: undone2, other: drop}}
  undone1: {key: "{id}"%s}
  undone2: {key: "{id}"}
chains:
  order:
    correlate: id
    steps:
      - {name: one, done: step1, undo: undo1}
      - {name: two, done: step2, undo: undo2%s}
    abort_on: [failed]
    on_undo_failure: %s
"""
    )

    def chain(self, waits=False, policy="pause"):
        self.use(
            self.form % (", final: true", ", undone: undone2" if waits else "", policy)
            if waits
            else (self.form % (", final: true", "", policy)).replace(
                'undone2: {key: "{id}"}', 'undone2: {key: "{id}", final: true}'
            )
        )
        self.engine()

    def step(self, topic, correlation="c1", mode="ok"):
        self.emit(topic, self.event({"id": correlation, "mode": mode}))

    def state(self, correlation="c1"):
        return self.value(f"SELECT state FROM sluice.chain WHERE correlation_text = '{correlation}'")

    def test_undos_come_newest_first_and_carry_the_steps_data_and_the_reason(self):
        self.chain()
        self.step("step1")
        self.step("step2")
        self.drain()
        self.emit("failed", self.event({"id": "c1", "reason": "sold out"}))
        self.await_value("SELECT state FROM sluice.chain", 2)
        self.drain()
        undos = self.topic("undo1", "undo2")
        self.assertEqual([record["topic"] for record in undos], ["undo2", "undo1"])
        for record in undos:
            data = json.loads(record["value"])["data"]
            self.assertEqual((data["mode"], data["reason"]), ("ok", "sold out"))

    def test_an_older_undo_waits_for_the_newer_one(self):
        self.chain(waits=True)
        self.step("step1")
        self.step("step2", mode="other")  # its undo ends without the topic that says undone
        self.drain()
        self.step("failed")
        self.await_topic("undo2", 1)
        self.drain()
        self.assertEqual(self.topic("undo1"), [])
        self.step("undone2")
        self.await_topic("undo1", 1)
        self.await_value("SELECT state FROM sluice.chain", 2)

    def test_an_abort_before_the_step_is_remembered(self):
        self.chain()
        self.step("failed")
        self.drain()
        self.assertEqual(self.topic("undo1"), [])
        once = self.event({"id": "c1", "mode": "ok"})
        self.emit("step1", once)
        self.await_topic("undo1", 1)
        self.emit("step1", once)
        self.step("failed")
        self.drain()
        self.assertEqual(len(self.topic("undo1")), 1, "once, however often it comes")
        self.step("step1")  # another event: it begins again
        self.step("failed")
        self.await_topic("undo1", 2)

    def test_a_late_step_is_undone_at_once(self):
        self.chain()
        self.step("step1")
        self.drain()
        self.step("failed")
        self.await_value("SELECT state FROM sluice.chain", 2)
        self.step("step2")
        self.await_topic("undo2", 1)
        self.drain()
        self.assertEqual(self.state(), "2")

    def test_a_failed_undo_pauses_and_is_stuck(self):
        self.chain()
        self.step("step1", mode="reject")
        self.step("step1", "c2")
        self.drain()
        self.step("failed")
        self.step("failed", "c2")
        self.await_value("SELECT count(*) FROM sluice.chain WHERE state = 3", 1)
        self.await_value("SELECT count(*) FROM sluice.chain WHERE state = 2", 1)
        self.assertEqual((self.state("c1"), self.state("c2")), ("3", "2"))
        self.assertEqual(self.value("SELECT count(*) FROM sluice.parked WHERE state = 1"), "1")
        self.assertEqual(self.topic("undo1-dlt"), [])

    def test_a_failed_undo_is_a_dead_letter_when_asked_for(self):
        self.chain(policy="dead_letter")
        self.step("step1", mode="reject")
        self.drain()
        self.step("failed")
        self.assertEqual(reason(self.await_topic("undo1-dlt", 1)[0]), "rejected")
        self.assertEqual(self.value("SELECT count(*) FROM sluice.parked"), "0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
