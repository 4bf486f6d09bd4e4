#!/usr/bin/env python3
"""What once ran for ever, undid nothing, or let a key pass: each was a bug, and each is an event or two here.

Run alone: python3 tests/process/test_engine_condemned.py [-k NAME]
"""
import unittest

import _path
from lib.pipeline_case import PipelineCase, reason

HEAD = """pipeline: condemned
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 1}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""


class Undos(PipelineCase):
    chain = (
        HEAD
        + """plugins: {chaos: {library: "${CHAOS_SO}"}}
topics:
  t.done: {key: "{k}"}
  t.abort: {key: "{k}"}
  t.undo: {key: "{k}", handler: chaos.act, routes: {ok: t.undone, other: drop}}
  t.undone: {final: true}
chains:
  c: {correlate: k, steps: [{name: pay, done: t.done, undo: t.undo}], abort_on: [t.abort], on_undo_failure: dead_letter}
"""
    )

    def test_a_reason_of_any_length_undoes(self):
        self.use(self.chain)
        self.engine()
        for k, words in (("a", "x" * 5000), ("b", "\n" * 3000), ("c", "\u00e9" * 2000)):
            self.emit("t.done", self.event({"k": k, "mode": "ok"}))
            self.emit("t.abort", self.event({"k": k, "reason": words}))
        self.await_topic("t.undone", 3)
        self.assertEqual(self.topic("t.undo-dlt"), [])

    def test_an_abort_that_cannot_undo_is_a_dead_letter_and_the_next_one_goes_on(self):
        self.use(
            self.chain.replace('t.undo: {key: "{k}"', 't.undo: {key: "{k}-{missing}"').replace(
                '  t.abort: {key: "{k}"}',
                '  t.abort: {key: "{k}", handler: chaos.act, routes: {ok: drop, other: drop}}',
            )
        )
        self.engine()
        self.emit("t.done", self.event({"k": "a", "mode": "ok"}))
        self.emit("t.abort", self.event({"k": "a", "mode": "no_outcome"}))
        self.emit("t.abort", self.event({"k": "other", "mode": "ok"}))
        self.assertEqual([reason(r) for r in self.await_topic("t.abort-dlt", 1)], ["plugin_fault"])
        self.drain()


class Parked(PipelineCase):
    yaml = (
        HEAD
        + """plugins: {effects: {library: "${EFFECTS_SO}"}}
topics:
  e.in: {key: "{k}", handler: effects.record, routes: {
    done: e.out,
    again: {retry: e.again, initial_interval: 1s, multiplier: 1, max_retries: 3, exhausted: e.given_up}}}
  e.out: {final: true}
  e.given_up: {final: true}
"""
    )

    def setUp(self):
        super().setUp()
        self.value(
            "CREATE TABLE IF NOT EXISTS effects (n bigserial, event_id text, k text, origin text, seq bigint, climb"
            " bigint, unity bigint); SELECT 1"
        )

    def test_two_events_that_share_an_id_both_end(self):
        self.engine()
        first, second = (
            {"eventId": "X", "data": {"k": "a", "origin": origin, "seq": 1, "retryCount": 1}}
            for origin in ("first", "second")
        )
        self.emit("e.again", first, second, key="a")
        self.await_topic("e.out", 1)
        self.assertEqual([reason(r) for r in self.await_topic("e.again-dlt", 1)], ["id_conflict"])
        self.drain()


if __name__ == "__main__":
    unittest.main()
