#!/usr/bin/env python3
"""Held keys on Kafka: whoever is assigned their partition next has them.

Run alone: python3 tests/process/test_kafka_held.py.
"""
import unittest

import _path
from lib.pipeline_case import PipelineCase
from lib.server_case import KafkaCase
from test_held_keys import HELD, KEYS, TABLE, FREE

YAML = """
pipeline: held
bus: {kind: kafka, partitions: 4, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}
store: {url: "${DATABASE_URL}"}
engine: {group: NAME, lanes: 2}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
plugins: {effects: {library: "${EFFECTS_SO}"}}
defaults: {retry: {max_retries: 3, backoff: {initial_interval: 600s, multiplier: 1, max_interval: 600s}}}
topics:
  NAME-in: {key: "{k}", handler: effects.record, routes: {done: drop, again: drop}}
"""


class Held(KafkaCase, PipelineCase):
    def test_another_process_takes_over_what_is_held(self):
        self.vars.update(self.kafka.env())
        name = self.new_name("held")
        self.use(YAML.replace("NAME", name))
        self.rows(TABLE)
        keys = [f"k{n}" for n in range(6)]

        def send(seq, **more):
            values = [self.event({"k": k, "origin": f"{k}-{seq}", "seq": seq, **more}) for k in keys]
            self.emit(f"{name}-in", *values)

        first = self.engine()
        send(1, flaky=1)
        send(2)
        self.await_value(HELD, 12, 40)
        first.kill()
        send(3)
        second = self.engine()
        third = "SELECT count(DISTINCT event_id) FROM sluice.held"  # what was not committed is delivered again
        self.await_value(third, 18, 60)
        self.assertEqual(self.value("SELECT count(*) FROM effects"), "0")
        self.rows(FREE)
        self.await_value(KEYS, 0, 40)
        for k in keys:
            self.assertEqual(
                [row[0] for row in self.rows(f"SELECT seq FROM effects WHERE k = '{k}' ORDER BY number")],
                ["1", "2", "3"],
            )
        self.assertEqual(second.stop(), 0)


if __name__ == "__main__":
    unittest.main()
