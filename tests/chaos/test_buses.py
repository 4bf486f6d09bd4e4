#!/usr/bin/env python3
"""What chaos/buses.py makes of the offsets that brokers answer with.

Run alone: python3 tests/chaos/test_buses.py
"""
import unittest

import _path
from chaos.buses import KafkaBus


class Answers:
    """Brokers that answer with these offsets, one after the other; the last one again and again."""

    servers = "nowhere"

    def __init__(self, *offsets):
        self.offsets = list(offsets)

    def committed(self, _group):
        offset = self.offsets.pop(0) if len(self.offsets) > 1 else self.offsets[0]
        return {} if offset is None else {"in": {0: offset}}


def seen(*offsets):
    """What two samples find."""
    bus = KafkaBus("", Answers(*offsets), "g")
    bus.groups, bus.ask_again_s, bus.asks = {"g": {"in"}}, 0, 5
    return [bus._committed().get(("g", "in", 0)) for _ in range(2)]


class Offsets(unittest.TestCase):
    def test_an_old_answer_is_none(self):
        self.assertEqual(seen(7, 0, 0, 7), [7, 7])
        self.assertEqual(seen(7, 3, 9), [7, 9])

    def test_no_answer_is_none(self):
        self.assertEqual(seen(7, None), [7, None])

    def test_one_that_goes_back_is_found(self):
        self.assertEqual(seen(7, 0), [7, 0])
        self.assertEqual(seen(7, 0, 2, 9), [7, 2])


if __name__ == "__main__":
    unittest.main(verbosity=2)
