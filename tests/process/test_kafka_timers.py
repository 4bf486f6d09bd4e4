#!/usr/bin/env python3
"""Timers of chains on Kafka: each event once by its id, through kills of two processes.

Run alone: python3 tests/process/test_kafka_timers.py.
"""
import re
import unittest

import _path  # noqa: F401
from lib.server_case import KafkaCase
from test_chain_timers import YAML, TimerCase, timers_through_kills

TOPICS = re.compile(r"\b(paid|booked|failed|refund|late)\b")


class Kills(KafkaCase, TimerCase):
    def setUp(self):
        super().setUp()
        self.vars.update(self.kafka.env())
        self.name = self.new_name("timers")

    def topic(self, *names):
        return super().topic(*(f"{self.name}-{name}" for name in names))

    def emit(self, topic, *values, key=None):
        super().emit(f"{self.name}-{topic}", *values, key=key)

    def test_each_once(self):
        yaml = TOPICS.sub(rf"{self.name}-\1", YAML).replace("group: own", f"group: {self.name}")
        bus = 'kafka, partitions: 4, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}'
        self.use(yaml.replace("BUS", bus).replace("AFTER", "2s"))
        timers_through_kills(self, [self.engine(), self.engine()])
        self.await_value("select count(*) from sluice.outbox", 0, 60.0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
