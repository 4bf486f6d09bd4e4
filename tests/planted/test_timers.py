#!/usr/bin/env python3
"""A mistake in the timers of chains is found by what their tests look at: that what was cancelled is not emitted.

Run alone: python3 tests/planted/test_timers.py.
"""
import json
import sys
import unittest

import _path
from lib import mistakes
from lib.engine import ROOT, SLUICE, Engine

sys.path.insert(0, str(ROOT / "tests/process"))
from test_chain_timers import WAIT_S, YAML, TimerCase  # noqa: E402


class Timers(TimerCase):
    def emitted(self, program, mistake=None):
        """What is emitted of two timers, after one of them was cancelled and the other one was made due."""
        self.use(YAML.replace("BUS", "postgres, partitions: 2").replace("AFTER", "1h"))
        engine = Engine(self.config, self.vars, program=program)
        self.engines.append(engine)
        engine.start()
        self.send("paid", "c1", "c2")
        self.await_waiting(2)
        self.send("booked", "c1")
        if mistake:
            mistakes.happened(mistake, engine)
        else:
            self.await_waiting(1)
        self.release_all()
        self.await_waiting(0)
        found = self.await_topic("late", 2 if mistake else 1, WAIT_S)
        return sorted(json.loads(record["value"])["data"]["id"] for record in found)

    def test_timers_that_never_end(self):
        self.assertEqual(self.emitted(mistakes.build("timer_never_ends"), "timer_never_ends"), ["c1", "c2"])

    def test_without_the_mistake_what_was_cancelled_is_not_emitted(self):
        self.assertEqual(self.emitted(SLUICE), ["c2"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
