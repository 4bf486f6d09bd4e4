#!/usr/bin/env python3
"""Chains end: a step is undone as often as it was done, and nothing that concerns a chain passes in silence.

Run alone: python3 tests/process/test_chain_ends.py [-k NAME].
"""
import json
import unittest

import _path
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase, reason

YAML = """
pipeline: ends
bus: {kind: postgres, partitions: 2}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 1}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
defaults: {retry: {max_retries: 0}}
topics:
  paid: {key: "{id}", handler: chaos.act_sql, routes: {ok: drop, other: drop}}
  booked: {key: "{id}", final: true}
  failed: {key: "{id}", final: true}
  refund: {key: "{id}", handler: chaos.act_sql, routes: {ok: drop, other: drop}}
  cancel: {key: "{id}", handler: chaos.act_sql, routes: {ok: drop, other: drop}}
chains:
  order:
    correlate: id
    steps:
      - {name: pay, done: paid, undo: refund}
      - {name: book, done: booked, undo: cancel}
    abort_on: [failed]
"""


class ChainCase(PipelineCase):
    yaml = YAML

    def setUp(self):
        super().setUp()
        self.rows("create table acts (n bigint)")

    def step(self, topic, correlation="c1", **more):
        self.emit(topic, self.event({"id": correlation, "mode": "ok", **more}), key="k")

    def undone(self):
        """What was undone so far: "refund 2" for the one whose step had n = 2."""
        return [f"{r['topic']} {json.loads(r['value'])['data'].get('n', 0)}" for r in self.topic("refund", "cancel")]


class Correlations(ChainCase):
    def test_one_that_is_none_is_a_dead_letter(self):
        bad = [None, "", {"a": 1}, ["c1"], True, 0.5]
        self.engine()
        for topic in ("failed", "paid"):
            values = [self.event({"id": value, "mode": "ok"}) for value in bad] + [self.event({"mode": "ok"})]
            self.emit(topic, *values, key="k")
            letters = self.await_topic(f"{topic}-dlt", len(values))
            self.assertEqual({reason(letter) for letter in letters}, {"bad_correlation"})
            self.assertIn("field 'id' ties it to chain 'order'", letters[0]["headers"]["kafka_dlt-exception-message"])
        self.drain()
        self.assertEqual(self.value("select count(*) from sluice.chain"), "0")

    def test_a_number_is_one_however_it_is_written(self):
        self.engine()
        self.emit("paid", '{"eventId":"e1","data":{"id":7772,"mode":"ok","n":1}}', key="k")
        self.drain()
        self.emit("failed", '{"eventId":"e2","data":{"id":7772.0}}', key="k")
        self.await_topic("refund", 1)
        self.await_value("select state from sluice.chain", 2)
        self.assertEqual(self.undone(), ["refund 1"])


class Repeats(ChainCase):
    def test_a_step_is_undone_as_often_as_it_was_done(self):
        self.engine()
        for n in (1, 2):
            self.step("paid", n=n)
        self.step("booked", n=3)
        self.drain()
        self.step("failed")
        self.await_topic("refund", 2)
        self.await_value("select state from sluice.chain", 2)
        self.assertEqual(self.undone(), ["cancel 3", "refund 2", "refund 1"])
        said = sluice("explain", self.config, "c1", env=self.vars).stdout
        self.assertIn("chain order: undone, because: failed; 3 of 3 done steps undone", said)
        self.assertEqual(len({json.loads(r["value"])["eventId"] for r in self.topic("refund")}), 2)

    def test_a_chain_that_is_over_begins_again(self):
        engine = self.engine()
        for n in range(1, 4):
            self.step("paid", n=n)
            self.drain()
            self.assertEqual(self.value("select state || ' ' || generation from sluice.chain"), f"0 {n - 1}")
            self.step("failed")
            self.await_topic("refund", n)
            self.await_value("select state from sluice.chain", 2)
            if n == 1:
                engine.kill()
                engine = self.engine()
        self.drain()
        self.assertEqual(self.undone(), ["refund 1", "refund 2", "refund 3"])
        self.assertEqual(
            self.value(
                "select count(*) from sluice.inbox i join sluice.name n on n.number = i.handler"
                " where n.name = 'chaos.act_sql'"
            ),
            "6",
        )

    def test_the_same_event_again_is_a_duplicate(self):
        self.engine()
        event = self.event({"id": "c1", "mode": "ok", "n": 1})
        self.emit("paid", event, event, key="k")
        self.emit("paid", event, key="k")
        self.drain()
        self.step("failed")
        self.await_topic("refund", 1)
        self.drain()
        self.assertEqual(self.undone(), ["refund 1"])

    def test_in_one_batch_as_one_by_one(self):
        """Paid, failed, paid again: all read at once."""
        self.step("paid", n=1)
        self.step("failed")
        self.step("paid", n=2)
        self.step("paid", "c2", n=3)
        self.engine()
        self.await_topic("refund", 1)
        self.drain()
        self.assertEqual(self.undone(), ["refund 1"])
        self.assertEqual(
            self.value("select state || ' ' || generation from sluice.chain where correlation_text = 'c1'"), "0 1"
        )

    def test_more_often_than_a_chain_can_remember(self):
        self.engine()
        self.emit("booked", *[self.event({"id": "c1", "n": n}) for n in range(60)], key="k")
        self.drain()
        self.step("booked", n=99)
        letters = self.await_topic("booked-dlt", 1)
        self.assertEqual(reason(letters[0]), "bad_correlation")
        self.step("failed")
        self.await_topic("cancel", 60)


class Definitions(ChainCase):
    CHANGED = YAML.replace("undo: refund}", "undo: cancel}").replace(
        "undo: cancel}\n    abort", "undo: none}\n    abort"
    )

    def test_a_chain_is_undone_by_the_definition_it_began_with(self):
        self.engine()
        self.step("paid", "old", n=1)
        self.step("booked", "old", n=2)
        self.drain()
        self.engines[-1].kill()
        self.use(self.CHANGED, migrate=False)
        self.engine()
        self.step("paid", "old", n=3)  # a step of that definition, done again
        self.step("paid", "new", n=4)
        self.step("booked", "new", n=5)
        self.drain()
        self.step("failed", "old")
        self.step("failed", "new")
        self.await_topic("cancel", 2)
        self.await_topic("refund", 2)
        told = json.loads(sluice("explain", self.config, "old", "--json", env=self.vars).stdout)
        self.assertEqual((told["chainDoings"], told["chainUndos"], told["chainOlderDefinition"]), (3, 3, True))
        self.drain()
        self.assertEqual(sorted(self.undone()), ["cancel 2", "cancel 4", "refund 1", "refund 3"])
        self.assertEqual(self.value("select count(*) from sluice.chain_definition"), "2")
        self.step("paid", "old", n=6)  # it was over: with the definition of now
        self.drain()
        self.step("failed", "old")
        self.await_topic("cancel", 3)
        self.drain()
        self.assertEqual(self.undone()[-1], "cancel 6")
        self.assertEqual(self.value("select count(distinct definition) from sluice.chain"), "1")

    def test_an_undo_whose_topic_left_the_file_is_told(self):
        self.engine()
        self.step("booked", n=2)
        self.drain()
        self.engines[-1].kill()
        self.use(YAML.replace("  cancel:", "  cancelled:").replace("undo: cancel}", "undo: cancelled}"), migrate=False)
        self.engine()
        self.step("failed")
        letters = self.await_topic("failed-dlt", 1)
        self.assertIn("undoes a step on topic 'cancel'", letters[0]["headers"]["kafka_dlt-exception-message"])
        self.assertEqual(self.value("select state from sluice.chain"), "0")


class Ends(ChainCase):
    yaml = (
        YAML.replace("abort_on: [failed]", "abort_on: [failed, dead_letter]\n    timeout: 2s").replace(
            "done: booked, undo: cancel", "done: booked, undo: none"
        )
        + 'http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}\n'
    )

    def test_one_that_is_not_complete_in_time_is_aborted(self):
        self.engine()
        self.step("paid", n=1)
        self.step("paid", "c2", n=2)
        self.step("booked", "c2")  # has no undo, and is the last step: this one is complete
        self.drain()
        self.await_topic("refund", 1)
        self.await_value("select state || ' ' || reason from sluice.chain where correlation_text = 'c1'", "2 timeout")
        self.await_value("select count(*) from sluice.chain where due is not null", 0)
        self.drain()
        self.assertEqual(self.undone(), ["refund 1"])
        self.assertEqual(self.value("select state from sluice.chain where correlation_text = 'c2'"), "0")

    def test_a_generation_of_its_own_time(self):
        self.engine()
        self.step("paid", n=1)
        self.await_topic("refund", 1)
        self.await_value("select state from sluice.chain", 2)
        self.step("paid", n=2)
        self.await_topic("refund", 2)
        self.assertEqual(self.undone(), ["refund 1", "refund 2"])

    def test_a_dead_letter_aborts_what_goes_on(self):
        self.use(self.yaml.replace("timeout: 2s", "timeout: 1h"), migrate=False)
        engine = self.engine()
        self.step("paid", "c0")
        until(lambda: engine.metric("sluice_chains_oldest_seconds") >= 1, "the age of a chain that is not over")
        self.step("booked", "c0")
        until(lambda: engine.metric("sluice_chains_oldest_seconds") == 0, "no chain that is not over")
        self.step("paid", n=1, mode="reject")  # its handler refuses it: written down as done, and dead
        self.await_topic("refund", 1)
        self.assertIn(
            "dead letter on paid", self.value("select reason from sluice.chain where correlation_text = 'c1'")
        )
        self.step("paid", "c2", n=2)
        self.step("booked", "c2")
        self.drain()
        self.emit("paid", self.event({"id": "c3", "mode": "reject", "n": 3}), key="k")
        self.await_topic("refund", 2)
        self.drain()
        self.assertEqual(self.undone(), ["refund 1", "refund 3"])
        self.assertEqual(self.value("select state from sluice.chain where correlation_text = 'c2'"), "0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
