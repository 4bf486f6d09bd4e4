#!/usr/bin/env python3
"""`sluice doctor` on a real Kafka: each check of the brokers is good, says what is wrong with a topic, and is good
again.

Run alone: python3 tests/process/test_kafka_doctor.py [-k NAME]
"""
import json
import unittest

import _path
from kafka_cli_case import YAML, Case
from lib.engine import until

CHECKS = ["brokers", "topics", "partitions", "replication", "in_sync", "elections", "retention", "sizes", "lag"]
LADDER = "other: {retry: @.again, initial_interval: 1h, multiplier: 2, max_retries: 3, exhausted: @.side}"


class Doctor(Case):
    def setUp(self):
        super().setUp()
        self.write(YAML, ("other: @.side", LADDER))
        self.migrate()

    def look(self, **env):
        """(exit code, {check: (health, texts)})"""
        done = self.command("doctor", "--json", **env)
        self.assertEqual(done.stderr, "")
        checks = json.loads(done.stdout)["checks"]
        texts = {one["check"]: "\n".join(found["text"] for found in one["findings"]) for one in checks}
        return done.returncode, {one["check"]: (one["health"], texts[one["check"]]) for one in checks}

    def says(self, check, health, words, **env):
        """Soon: a broker answers with the configuration of before for a moment."""
        said = None

        def is_so():
            nonlocal said
            said = self.look(**env)[1]
            return said[check][0] == health

        try:
            until(is_so, "", 60, 0.2)
        except AssertionError:
            raise AssertionError(f"{check} is not {health}: {said}") from None
        self.assertRegex(said[check][1], words)
        return {name: one[0] for name, one in said.items() if name != check}

    def test_what_is_wrong_with_topics(self):
        self.says("lag", "good", ".")  # a coordinator that has just heard of the group asks to come again
        code, said = self.look()
        self.assertEqual(
            {name: said[name][0] for name in CHECKS},
            {**dict.fromkeys(CHECKS, "good"), "replication": "warns"},
        )
        self.assertEqual(code, 0)
        self.assertIn("5 topics have one replica", said["replication"][1])
        name = self.topic("side")
        for check, health, words, configuration in (
            ("in_sync", "bad", f"'{name}' has 1 replicas and wants 2 in sync", {"min.insync.replicas": 2}),
            ("elections", "warns", f"'{name}' may elect a leader", {"unclean.leader.election.enable": "true"}),
            ("retention", "warns", f"'{name}' keeps events for 60 s", {"retention.ms": 60000}),
            ("sizes", "warns", f"'{name}' takes 2000 bytes", {"max.message.bytes": 2000}),
        ):
            with self.subTest(check):
                self.kafka.alter_topic_config(name, configuration)
                others = self.says(check, health, words)
                before = {one: said[one][0] for one in others}
                self.kafka.alter_topic_config(name, dict.fromkeys(configuration))
                self.says(check, "good", ".")
                self.assertEqual(others, before)

    def test_missing_topics_and_partitions(self):
        self.kafka.add_partitions(self.topic("in"), 5)
        self.says("partitions", "warns", "has 3 partitions and .* which has the same key, 5")
        self.kafka.delete_topic(self.topic("out"))
        self.says("topics", "bad", f"'{self.topic('out')}' is not on the brokers")
        self.write(self.config.read_text(), ("partitions: 3, final", "partitions: 5, final"))
        self.migrate()
        self.says("topics", "good", "each topic")
        self.says("partitions", "good", ".")

    def test_replicas(self):
        self.write(self.config.read_text(), (".side: {final", ".side: {replication: 3, final"))
        self.says("replication", "warns", "has 1 replicas, 'replication' says 3")

    def test_lag(self):
        self.says("lag", "good", "0 events behind")
        self.command("emit", self.topic("in"), data='{"k":"a"}\n' * 100001)
        self.says("lag", "warns", f"group {self.name}: 100001 events behind")

    def test_brokers_that_do_not_answer(self):
        others = self.says(
            "brokers", "bad", "no broker answers|Connection refused|refused", KAFKA_BROKERS="127.0.0.1:1"
        )
        self.assertEqual({others[name] for name in CHECKS if name != "brokers"}, {"not checked"})
        self.assertEqual(others["session"], "good")


if __name__ == "__main__":
    unittest.main()
