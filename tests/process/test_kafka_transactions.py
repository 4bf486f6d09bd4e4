#!/usr/bin/env python3
"""A producer's transaction that does not end: nothing behind it is read, and that is seen and said.

Run alone: python3 tests/process/test_kafka_transactions.py. Pipeline and base class are those of
test_kafka_positions.py.
"""
import unittest

import _path
import test_kafka_positions as positions
from lib.engine import sluice, until


class Open(positions.Case):
    def open_transaction(self, partition=0):
        """One record, and its producer is gone. The next transaction of the same name aborts it."""
        record = {"key": b"k", "value": self.event("ok"), "partition": partition}
        self.kafka.produce_transaction(self.topic_name, [record], commit=None, transactional=self.name)

    def put(self, count):
        records = [{"key": b"k", "value": self.event("ok"), "partition": 0} for _ in range(count)]
        self.kafka.produce_many(self.topic_name, records)

    def test_is_lag_and_is_named(self):
        engine = self.pipeline()
        self.put(1)
        until(lambda: self.committed().get(0) == 1, lambda: f"position 1\n{engine.text()}")
        self.open_transaction()
        self.put(5)
        self.assertEqual(self.kafka.end_offsets(self.topic_name, committed=True)[0], 1)
        done = sluice("tap", self.config, self.topic_name, "--no-follow", "--json", env=self.vars)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertIn(
            f"partition 0 of {self.topic_name}: 6 records are not shown, for a producer's transaction is open at 1",
            done.stderr,
        )
        until(lambda: engine.metric("sluice_lag") == 6, lambda: f"a lag of 6\n{engine.text()}", 30, 0.1)
        until(
            lambda: any(
                f"WARN  kafka: group {self.name}: partition 0 of {self.topic_name} is read up to 1, where a producer's"
                " transaction has been open for 1" in line
                and "the 6 records behind it are read when it has ended" in line
                for line in list(engine.log)
            ),
            f"its name\n{engine.text()}",
            30,
        )
        self.transaction("ok")
        until(lambda: self.handled(engine) == 8, lambda: f"all of it\n{engine.text()}")
        self.consumed(engine, self.kafka.end_offsets(self.topic_name))

    def test_a_position_behind_it_is_no_end_of_the_topic(self):
        """An operator moved the group to the end; where nothing else remembers a position, nothing is read again."""
        engine = self.pipeline(*positions.NO_STORE)
        self.put(3)
        until(lambda: self.committed().get(0) == 3, lambda: f"position 3\n{engine.text()}")
        self.assertEqual(engine.stop(), 0)
        self.open_transaction()
        self.put(2)
        until(lambda: not self.kafka.members(self.name), "an empty group")
        self.kafka.reset_offsets(self.name, self.topic_name, 0, 6)
        engine = self.engine()
        until(lambda: engine.metric("sluice_partitions") == 2, lambda: f"its partitions\n{engine.text()}")
        self.transaction("ok")
        self.consumed(engine, self.kafka.end_offsets(self.topic_name))
        self.assertEqual(self.handled(engine), 2, engine.text())


if __name__ == "__main__":
    unittest.main()
