#!/usr/bin/env python3
"""kill -9 everywhere on the kafka bus, with one broker: see tests/chaos/kill9.py.

Run alone: python3 tests/integration/test_kafka_kill9.py. SLUICE_SEED repeats a run's stream and choices; KILLS (25) is the number of
random kills that come after those at failpoints. With SLUICE_TEST_BROKERS it runs on these brokers.
"""
import pathlib
import sys
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / folder) for folder in ("lib", "chaos")]
import cases  # noqa: E402
import kill9  # noqa: E402


def setUpModule():
    cases.servers(kafka=True)


class Kafka(kill9.Kill9):
    elsewhere = {"bus.heartbeat": "librdkafka's own"}


if __name__ == "__main__":
    unittest.main(verbosity=2)
