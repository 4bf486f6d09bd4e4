#!/usr/bin/env python3
"""Chains end: a step is undone as often as it was done, and nothing that concerns a chain passes in silence.

Run alone: python3 tests/process/test_chain_ends.py [-k NAME].
"""
import json
import unittest

import _path
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


if __name__ == "__main__":
    unittest.main(verbosity=2)
