#!/usr/bin/env python3
"""Brokers that give a running engine less than they did: a topic is deleted, a right is taken away. What is not read is
seen, with the reason, for as long as it lasts; then reading goes on.

Run alone: python3 tests/process/test_kafka_refusals.py. Pipeline and base class are those of test_kafka_positions.py.
"""
import json
import os
import unittest

import _path
import test_kafka_positions as positions
from lib.engine import sluice, until

PROPERTIES = '{bootstrap.servers: "${KAFKA_BROKERS}"}'
SECURE = """{bootstrap.servers: "${KAFKA_BROKERS}", security.protocol: SASL_SSL, sasl.mechanism: PLAIN,
  sasl.username: "${KAFKA_USER}", sasl.password: "${KAFKA_PASSWORD}", ssl.ca.location: "${KAFKA_CA}",
  session.timeout.ms: 2000, topic.metadata.refresh.interval.ms: 1000}"""


class Refusals(positions.Case):
    kafka_options = {"secure": True}

    @classmethod
    def setUpClass(cls):
        os.environ.pop("SLUICE_TEST_BROKERS", None)
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.vars.update(self.kafka.secure_env())
        self.user = self.vars["KAFKA_USER"]
        self.other = f"{self.name}.other"
        other = "  @.other: {partitions: 1, handler: chaos.act, routes: {ok: drop, other: drop}}\n"
        self.running = self.pipeline((PROPERTIES, SECURE), ("topics:\n", "topics:\n" + other))
        self.reads(3)
        self.assertEqual(self.readiness(), (200, {"status": "ok"}))

    def reads(self, partitions):
        until(
            lambda: self.running.metric("sluice_partitions") == partitions,
            f"{partitions} partitions\n{self.running.text()}",
            30,
            0.1,
        )

    def readiness(self):
        return self.running.request("GET", "/readyz")

    def not_ready(self, words):
        until(lambda: self.readiness()[0] == 503, lambda: f"503\n{self.running.text()}", 30, 0.1)
        self.assertIn(words, json.dumps(self.readiness()[1]))

    def goes_on(self):
        self.reads(3)
        until(lambda: self.readiness()[0] == 200, lambda: f"ready\n{self.running.text()}", step_s=0.1)
        self.kafka.produce(self.other, b"k", self.event(), partition=0)
        until(lambda: self.handled(self.running) == 1, lambda: f"its event\n{self.running.text()}")

    def errors(self, words):
        return sum(" ERROR " in line and words in line for line in list(self.running.log))

    def test_a_topic_is_deleted(self):
        self.kafka.delete_topic(self.other)
        self.not_ready(
            f"group {self.name} does not read topic {self.other}: the brokers do not have it; `sluice migrate CONFIG`"
        )
        gauge = f'sluice_partition_halted{{group="{self.name}",partition="{self.other}"}}'
        self.assertEqual(self.running.metric(gauge), 1)
        sluice("migrate", self.config, env=self.vars)
        self.goes_on()
        self.assertEqual(self.running.metric(gauge), 0)

    def test_a_topic_is_denied(self):
        self.kafka.deny(self.user, topic=self.other)
        self.not_ready(f"group {self.name} does not read topic {self.other}: this user may not; grant READ")
        self.kafka.deny(self.user, False, topic=self.other)
        self.goes_on()

    def test_the_group_is_denied(self):
        refusal = f"group {self.name} refuses this member, which reads nothing: JoinGroup failed: Broker: Group auth"
        self.kafka.deny(self.user, group=self.name)
        self.not_ready(f"group {self.name} reads nothing: no partitions assigned for")
        self.assertIn("JoinGroup failed: Broker: Group authorization failed", json.dumps(self.readiness()[1]))
        self.assertEqual(self.errors(refusal), 1, self.running.text())
        self.kafka.deny(self.user, False, group=self.name)
        self.goes_on()


if __name__ == "__main__":
    unittest.main()
