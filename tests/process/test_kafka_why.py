#!/usr/bin/env python3
"""Why an event waits on Kafka: what brokers refuse, partitions without a leader, and causes that every bus has.

Run alone: python3 tests/process/test_kafka_why.py.
"""
import json
import unittest

import _path
from lib.engine import Engine, sluice, until
from lib.kafka import PrivateKafka
from lib.pipeline_case import CHAOS, EFFECTS
from lib.server_case import PostgresCase
from lib.sql_case import TABLE
from why_case import ANY_TIME, RELEASE, WAIT_S, YAML, Waits


class Kafka(Waits, PostgresCase):
    def test_causes(self):
        with PrivateKafka(3) as kafka:
            self.kafka = kafka
            self.vars = {
                "DATABASE_URL": self.url,
                "EFFECTS_SO": str(EFFECTS),
                "CHAOS_SO": str(CHAOS),
                **kafka.env(),
            }
            self.config = self.folder / "pipeline.yaml"
            kind = (
                'bus: {kind: kafka, partitions: 2, replication: 1, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}'
            )
            yaml = YAML.replace("bus: {kind: postgres, partitions: 2}", kind)
            self.config.write_text(yaml.replace("  out: {", "  out: {partitions: 1, "))
            sluice("migrate", self.config, env=self.vars)
            self.postgres.query(TABLE, self.url)
            self.causes_on(kafka)

    def emit(self, origin, key=None, **data):
        event = {"k": key or origin, "origin": origin, "seq": 1, **data}
        sluice("emit", self.config, "in", "--data", json.dumps(event), env=self.vars)

    def causes_on(self, kafka):
        with Engine(self.config, self.vars) as engine:
            self.emit("retry", flaky=9)
            retry = {"name": "effects.record", "until": ANY_TIME}
            self.tells("retry", "retry", "failed 1 time, .*: flaky on demand", RELEASE, tries=1, **retry)
            self.emit("second", key="retry")
            self.tells("second", "key", "1 event before it", RELEASE, count=1, name="effects.record")
            kafka.alter_topic_config("out", {"max.message.bytes": "100"})
            self.emit("large")
            sentence = "an event for out is committed, and the brokers refuse it; .*large"
            self.tells("large", "outbox", sentence, "sluice validate --connect CONFIG", name="out")
            self.no_leader(kafka)
            self.assertEqual(engine.stop(), 0)
        self.unread(kafka)
        self.emit("alone")
        self.tells("alone", "engine_stopped", "no process of group why runs", "sluice run CONFIG", name="why")

    def unread(self, kafka):
        """Of its own topic: it is there, and nobody can read it."""
        away = kafka.leader("in", 0)
        data = {"eventId": "unread", "data": {"k": "unread", "origin": "unread", "seq": 1}}
        kafka.produce("in", "unread", json.dumps(data), partition=0)
        kafka.kill(away)
        until(lambda: kafka.leader("in", 0) == -1, "a partition without a leader", WAIT_S)
        with Engine(self.config, self.vars):
            for origin in ("unread", data["eventId"]):
                sentence = "partition 0 of in has no leader.*: an event there is neither handled nor seen from here"
                self.tells(origin, "no_leader", sentence, name="in")
            self.assertNotIn("nothing on this pipeline's topics", self.why("unread"))
            kafka.restart(away)
            until(lambda: self.story("unread")["events"], "the event", WAIT_S, 0.2)
            until(lambda: not self.waits("unread"), "an event that waits for nothing", WAIT_S, 0.2)

    def no_leader(self, kafka):
        """Of the topic to which an event leads: it waits in the outbox; then of its own."""
        kafka.alter_topic_config("out", {"max.message.bytes": "1000000"})
        self.postgres.query("update sluice.outbox set tried_at = null", self.url)
        until(lambda: not self.waits("large"), "an empty outbox", WAIT_S, 0.2)
        away = kafka.leader("out", 0)
        partition = 0 if kafka.leader("in", 0) != away else 1
        kafka.kill(away)
        until(lambda: kafka.leader("out", 0) == -1, "a partition without a leader", WAIT_S)
        data = {"eventId": "leaderless", "data": {"k": "leaderless", "origin": "leaderless", "seq": 1}}
        kafka.produce("in", "leaderless", json.dumps(data), partition=partition)
        sentence = "an event for out is committed and not published: partition 0 has no leader"
        self.tells("leaderless", "no_leader", sentence, name="out")
        self.assertRegex(self.story("leaderless")["incomplete"], "partitions are not read since they have no leader")
        self.assertIn("not all of it: ", self.why("leaderless"))
        kafka.restart(away)
        until(lambda: not self.waits("leaderless"), "an empty outbox", WAIT_S, 0.2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
