#!/usr/bin/env python3
"""`sluice test` of timers of chains, in virtual time.

Run alone: python3 tests/process/test_flow_timers.py
"""
import unittest

import _path
from lib.engine import sluice
from lib.server_case import PostgresCase

TIMERS = """\
pipeline: timers
bus: {kind: memory}
store: {url: "${DATABASE_URL}"}
plugins: {template: {library: template.so}}
topics:
  paid: {key: "{id}", final: true}
  booked: {key: "{id}", final: true}
  late: {key: "{id}", final: true}
  refund: {key: "{id}", final: true}
chains:
  order:
    correlate: id
    steps: [{name: pay, done: paid, undo: refund}, {name: book, done: booked, undo: none}]
    abort_on: [late]
    timers: [{after: 30d, from: paid, emit: late, cancel_on: [booked]}]
"""
TIMER_FLOWS = """\
pipeline: pipeline.yaml
tests:
  - name: what nothing follows is undone
    steps:
      - emit: {topic: paid, data: {id: a}}
      - emit: {topic: paid, data: {id: b}}
      - duplicate: last
      - advance: 20d
      - emit: {topic: booked, data: {id: b}}
      - advance: 239h
        expect: {events: [paid, paid, paid, booked]}
      - advance: 1h
        expect: {events: [{topic: late, key: a, data: {id: a}}, {topic: refund, data: {id: a, reason: late}}]}
    expect:
      chains: {a: undone, b: complete}
      sql: {select count(*) from sluice.parked: [[0]]}
  - name: another event of the step begins it again
    steps:
      - emit: {topic: paid, data: {id: a, n: 1}}
      - advance: 20d
      - emit: {topic: paid, data: {id: a, n: 2}}
      - advance: 29d
        expect: {events: [paid, paid]}
      - advance: 1d
        expect: {events: [{topic: late, data: {n: 2}}, {topic: refund, data: {n: 2}}, {topic: refund, data: {n: 1}}]}
"""


class Timers(PostgresCase):
    own_database = False

    def test_timers_of_chains(self):
        (self.folder / "pipeline.yaml").write_text(TIMERS)
        file = self.folder / "flows.yaml"
        file.write_text(TIMER_FLOWS)
        done = sluice("test", file, env={"DATABASE_URL": self.postgres.url}, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn("\n2 passed, 0 failed in ", done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
