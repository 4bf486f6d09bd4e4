#!/usr/bin/env python3
"""kill -9 everywhere on the postgres bus: see tests/chaos/kill9.py.

Run alone: python3 tests/chaos/test_kill9.py. SLUICE_SEED repeats a run's stream and choices; KILLS (25) is the number
of random kills that come after those at failpoints.
"""
import unittest

import _path
from chaos import cases, kill9


def setUpModule():
    cases.servers()


class Postgres(kill9.Kill9):
    elsewhere = {
        **kill9.WRITER,
        "bus.offset.lost": "of the kafka bus",
        "bus.producer.fatal": "of the kafka bus",
        "keeper.sweep": "the sweeper is for buses outside the transaction",
        "lane.emit.before": "the same: on this bus COMMIT is the emission",
        "lane.emit.after": "the same",
        "lane.resolve.after": "the same",
    }


if __name__ == "__main__":
    unittest.main(verbosity=2)
