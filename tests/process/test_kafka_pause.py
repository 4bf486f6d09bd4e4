#!/usr/bin/env python3
"""Pauses on Kafka: a topic's events are written down and its offsets go on; a tap's group stops reading.

Run alone: python3 tests/process/test_kafka_pause.py.
"""
import unittest

import _path
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase
from lib.server_case import KafkaCase
from test_pause import HELD, TABLE

YAML = """
pipeline: NAME
bus: {kind: kafka, partitions: 4, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}
store: {url: "${DATABASE_URL}"}
engine: {group: NAME, lanes: 2}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
topics:
  NAME-in: {key: "{k}", handler: effects.record, routes: {done: drop, again: drop}}
  NAME-watched: {key: "{k}", final: true}
taps: {watch: {topics: [NAME-watched], handler: chaos.act, routes: {ok: drop, other: drop}, from: earliest}}
"""
SEEN = 'sluice_events_total{handler="watch/chaos.act",outcome="ok"}'


class Pauses(KafkaCase, PipelineCase):
    def setUp(self):
        super().setUp()
        self.vars.update(self.kafka.env())
        self.name = self.new_name("pause")
        self.use(YAML.replace("NAME", self.name))
        self.rows(TABLE)

    def act(self, command, *args):
        sluice(command, self.config, *args, env=self.vars)

    def send(self, seqs, keys):
        values = [self.event({"k": k, "origin": f"{k}-{seq}", "seq": seq}) for seq in seqs for k in keys]
        self.emit(f"{self.name}-in", *values)

    def test_a_topic_is_taken_over_paused_and_a_tap_reads_what_it_missed(self):
        keys = [f"k{n}" for n in range(6)]
        first = self.engine()
        self.act("pause", f"{self.name}-in")
        self.act("pause", "watch")
        until(lambda: first.metric("sluice_paused") == 2, "both pauses")
        self.emit(f"{self.name}-watched", *[self.event({"k": "a", "mode": "ok"}) for _ in range(50)])
        self.send([1, 2], keys)
        self.await_value(HELD, 12, 60)
        first.kill()
        self.send([3], keys)
        second = self.engine()
        self.await_value(HELD, 18, 60)
        self.assertEqual(self.value("SELECT count(*) FROM effects"), "0")
        self.assertEqual(second.metric(SEEN), 0)
        self.act("resume", "--all")
        self.send([4], keys)
        self.await_value("SELECT count(*) FROM effects", 24, 60)
        self.await_value("SELECT count(*) FROM sluice.held_key", 0, 60)
        for k in keys:
            rows = self.rows(f"SELECT seq FROM effects WHERE k = '{k}' ORDER BY number")
            self.assertEqual([row[0] for row in rows], ["1", "2", "3", "4"])
        self.assertEqual(self.value("SELECT count(*) FROM sluice.attempt"), "0")
        until(lambda: second.metric(SEEN) == 50, "what the tap has missed", 60)
        self.assertEqual(second.stop(), 0)


if __name__ == "__main__":
    unittest.main()
