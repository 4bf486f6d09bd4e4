#!/usr/bin/env python3
"""A changing file, database, clock and log pipe on the kafka bus, with one broker: see tests/chaos/surroundings.py.

Run alone: python3 tests/chaos/test_kafka_surroundings.py. SLUICE_SEED repeats a run's stream and choices; ACTS (3) is
how often each change comes.
"""
import unittest

import _path
from chaos import cases, surroundings


def setUpModule():
    cases.servers(kafka=True)


class Kafka(surroundings.Surroundings):
    pass


if __name__ == "__main__":
    unittest.main(verbosity=2)
