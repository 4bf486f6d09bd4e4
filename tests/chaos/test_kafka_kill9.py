#!/usr/bin/env python3
"""kill -9 everywhere on the kafka bus, with one broker: see tests/chaos/kill9.py. And an engine that stands still while
a peer joins.

Run alone: python3 tests/chaos/test_kafka_kill9.py. SLUICE_SEED repeats a run's stream and choices; KILLS (25) is the
number of random kills that come after those at failpoints. With SLUICE_TEST_BROKERS it runs on these brokers.
"""
import os
import signal
import time
import unittest

import _path
from chaos import cases, kill9
from lib.engine import until


def setUpModule():
    cases.servers(kafka=True)


class Kafka(kill9.Kill9):
    elsewhere = {
        **kill9.WRITER,
        "bus.heartbeat": "librdkafka's own",
        "lane.resolve.after": "of a COMMIT that outlives a takeover: see tests/process/test_kafka_takeover.py",
    }


class Frozen(cases.ChaosCase):
    def test_a_peer_that_joins_during_a_pause(self):
        """An engine with full lanes, whose partitions are paused, reads on after a rebalance."""
        stream = self.stream(tap=False)
        stream.send([stream.effect() for _ in range(4000)])
        first = self.engine(stream, "lane.commit.before=delay:150")
        until(lambda: first.metric("sluice_in_flight") >= 2000, "full lanes", step_s=0.005)
        worker = first.worker()
        os.kill(worker, signal.SIGSTOP)
        second = self.engine(stream)
        time.sleep(2)  # so long that it pauses its partitions when it wakes, and no longer than its session
        os.kill(worker, signal.SIGCONT)
        stream.drain()
        for engine in (first, second):
            self.assertEqual(engine.stop(), 0, engine.text())
        stream.write(killed=1, frozen=1)
        self.green(self.check(stream))


if __name__ == "__main__":
    unittest.main(verbosity=2)
