#!/usr/bin/env python3
"""`abort_on: dead_letter`: whatever an event of a chain is a dead letter for, what was done under its correlation is
undone.

Run alone: python3 tests/process/test_chain_dead_letters.py [-k NAME].
"""
import unittest

import _path
from lib.pipeline_case import reason
from test_chain_ends import ChainCase

YAML = """
pipeline: letters
bus: {kind: postgres, partitions: 2}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 1, max_event_size: 4KiB}
plugins: {chaos: {library: "${CHAOS_SO}"}}
defaults: {retry: {max_retries: 0}}
topics:
  paid: {key: "{id}", final: true}
  book: {key: "{id}", handler: chaos.act, routes: {ok: booked, other: drop}}
  booked: {key: "{seat}", final: true}
  failed: {key: "{id}", final: true}
  refund: {key: "{id}", final: true}
chains:
  order:
    correlate: id
    steps:
      - {name: pay, done: paid, undo: refund}
      - {name: book, done: booked, undo: none}
    abort_on: [failed, dead_letter]
"""
# reason: data of the event on `book` beside the id
KINDS = {
    "rejected": {"mode": "reject", "seat": 1},
    "bad_field": {"mode": 7, "seat": 1},
    "bad_output": {"mode": "ok"},
}


class Letters(ChainCase):
    yaml = YAML

    def test_each_kind(self):
        self.engine()
        kinds = [*KINDS, "id_conflict"]
        for kind in [*kinds, "good"]:
            self.step("paid", kind, n=1)
        self.drain()
        for kind, data in KINDS.items():
            self.emit("book", self.event({"id": kind, **data}), key=kind)
        good = self.event({"id": "good", "mode": "ok", "seat": 1})
        self.emit("book", good, key="good")
        self.emit("book", {**good, "data": {"id": "id_conflict", "mode": "ok", "seat": 1}}, key="good")
        letters = self.await_topic("book-dlt", len(kinds))
        self.assertEqual({reason(letter) for letter in letters}, set(kinds))
        self.await_topic("refund", len(kinds))
        self.drain()
        states = dict(self.rows("select correlation_text, state from sluice.chain"))
        self.assertEqual(states, {**{kind: "2" for kind in kinds}, "good": "0"})
        self.assertEqual(len(self.topic("refund")), len(kinds))


if __name__ == "__main__":
    unittest.main(verbosity=2)
