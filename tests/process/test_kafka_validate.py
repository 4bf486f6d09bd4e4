#!/usr/bin/env python3
"""`validate --connect` on a real Kafka: what the brokers have is compared with what the pipeline says.

Run alone: python3 tests/process/test_kafka_validate.py [-k NAME]
"""
import concurrent.futures
import json
import unittest

import _path
from kafka_cli_case import IN, OUT, SIDE, YAML, Case
from lib.engine import until


class Validate(Case):
    def setUp(self):
        super().setUp()
        self.migrate()

    def findings(self, *line, code=0, **env):
        """As programs get them; the same sentences as people get them, each in a line that begins with its place."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            done, text = pool.map(
                lambda more: self.command("validate", "--connect", *more, *line, **env), (["--json"], [])
            )
        self.assertEqual((done.returncode, done.stderr), (code, ""))
        self.assertEqual(text.returncode, code)
        found = json.loads(done.stdout)
        told = [f"{one['file']}:{one['line']}:{one['column']}: {one['level']}: {one['message']}" for one in found]
        self.assertEqual(
            [line for line in text.stderr.splitlines() if line.startswith(str(self.config) + ":")][: len(told)], told
        )
        return [
            (one["level"], one["code"], one["line"], one["column"], one["message"])
            for one in found
            if one["code"] != "topic_unreplicated"
        ]

    def test_good_but_for_replicas(self):
        done = self.command("validate", "--connect")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(
            done.stderr,
            rf"\A{self.config}:2:6: warning: 4 topics have one replica: when its broker is lost, so are "
            r"events that were acknowledged; use three for what matters\n",
        )
        self.assertRegex(done.stdout, r"yaml: good: 3 topics, 1 dead letter topic, 1 bound handler,")
        self.assertEqual(self.command("validate", "--connect", "--deny-warnings").returncode, 78)
        self.write(YAML, *((f"@.{word}: {{", f"@.{word}: {{replication: 1, ") for word in ("in", "out", "side")))
        self.assertEqual(self.findings(), [])

    def test_a_missing_topic(self):
        self.kafka.delete_topic(self.topic("out"))
        until(lambda: self.topic("out") not in self.there(), "the end of a topic")
        self.assertEqual(
            self.findings(code=78),
            [
                (
                    "error",
                    "topic_missing",
                    OUT,
                    3,
                    f"topic '{self.topic('out')}' is not on the brokers; `sluice migrate` makes it",
                )
            ],
        )
        self.assertEqual(self.command("validate").returncode, 0)  # connects to nothing
        self.assertNotIn(self.topic("out"), self.there())

    def test_fewer_partitions(self):
        self.kafka.add_partitions(self.topic("in"), 5)
        until(lambda: len(self.places("in")) == 5, "five partitions")
        self.write(YAML, ("@.side: {", "@.side: {partitions: 4, "))
        self.assertEqual(
            self.findings(),
            [
                (
                    "warning",
                    "topic_partitions_differ",
                    OUT,
                    3,
                    f"topic '{self.topic('out')}' has 3 partitions and '{self.topic('in')}', "
                    "which has the same key, 5: a key's events are read by different instances",
                ),
                (
                    "warning",
                    "topic_partitions",
                    SIDE,
                    3,
                    f"topic '{self.topic('side')}' has 2 partitions, 'partitions' says 4",
                ),
            ],
        )

    def test_properties_that_are_refused_together(self):
        for text, words in (
            ("linger.ms: 900000", "message.timeout.ms"),
            ("session.timeout.ms: 3600000", "max.poll.interval.ms"),
        ):
            with self.subTest(text):
                self.write(YAML, ('"${KAFKA_BROKERS}"}}', f'"${{KAFKA_BROKERS}}", {text}}}}}'))
                ((level, code, line, _, said),) = self.findings(code=78)
                self.assertEqual((level, code, line), ("error", "bus", 2))
                self.assertIn(words, said)

    def test_the_partitions_of_the_bus(self):
        """Of topics that leave it to `bus` and agree among themselves."""
        self.write(YAML, ("partitions: 2,", "partitions: 8,"))
        said = (
            "warning",
            "bus_partitions",
            2,
            6,
            "the topics have 2 partitions, bus.partitions says 8: it counts when `sluice migrate` "
            "makes a topic, and changes none that is there",
        )
        self.assertEqual(self.findings(), [said])
        self.kafka.add_partitions(self.topic("side"), 4)
        until(lambda: len(self.places("side")) == 4, "four partitions")
        self.assertEqual(self.findings(), [])  # who has topics of several sizes knows them

    def test_fewer_replicas(self):
        self.write(YAML, ("@.side: {", "@.side: {replication: 3, "))
        self.assertEqual(
            self.findings(),
            [
                (
                    "warning",
                    "topic_replication",
                    SIDE,
                    3,
                    f"topic '{self.topic('side')}' has 1 replicas, 'replication' says 3",
                )
            ],
        )

    def test_retention_and_sizes(self):
        ladder = "other: {retry: @.again, initial_interval: 1h, multiplier: 2, max_retries: 3, exhausted: @.side}"
        self.write(
            YAML, ("other: @.side", ladder), ('engine: {group: "@"}', 'engine: {group: "@", max_event_size: 2MiB}')
        )
        self.migrate()
        self.kafka.alter_topic_config(
            self.topic("in"), {"retention.ms": 4 * 3600 * 1000 - 1, "max.message.bytes": 2 * 1024 * 1024 - 1}
        )
        self.kafka.alter_topic_config(
            self.topic("out"), {"retention.ms": 4 * 3600 * 1000, "max.message.bytes": 2 * 1024 * 1024 + 4096}
        )
        self.kafka.alter_topic_config(
            self.topic("side"), {"retention.ms": 1000, "cleanup.policy": "compact"}
        )  # deletes nothing for its age
        for word in ("again", "dlt"):
            self.kafka.alter_topic_config(self.topic(word), {"retention.ms": -1})  # keeps all
        self.assertEqual(
            self.findings(),
            [
                (
                    "warning",
                    "topic_retention",
                    IN,
                    3,
                    f"topic '{self.topic('in')}' keeps events for 14399 s (retention.ms), and a retry may be "
                    "14400 s away: after an outage it would find nothing",
                ),
                (
                    "warning",
                    "topic_message_size",
                    IN,
                    3,
                    f"topic '{self.topic('in')}' takes 2097151 bytes (max.message.bytes), and an event of "
                    "engine.max_event_size has 2101248 with its key and headers: larger ones would be handled and "
                    "their outputs refused",
                ),
            ],
        )

    def test_sizes_of_topics_that_are_as_brokers_make_them(self):
        """1 048 588 bytes: what comes in would not go out, neither as an output nor as a dead letter. The size that
        migrate gives to topics is enough."""
        names = ("in", "out", "side", "dlt")
        for word in names:
            self.kafka.alter_topic_config(self.topic(word), {"max.message.bytes": 1048588})
        too_small = "takes 1048588 bytes (max.message.bytes), and an event of engine.max_event_size has 1052672"

        def all_found():  # a broker answers with the sizes of before for a moment
            found = self.findings()
            return found if len(found) == 4 else None

        found = until(all_found, "what is wrong with four topics")
        self.assertEqual([too_small in one[4] for one in found if one[1] == "topic_message_size"], [True] * 3)
        self.assertEqual(
            [one[4] for one in found if one[1] == "dead_letter_size"],
            [
                f"topic '{self.topic('dlt')}' takes 1048588 bytes (max.message.bytes), and '{self.topic('in')}', whose "
                "dead letters go there, 1048588: with their headers they have up to 1052684, and would be refused"
            ],
        )
        for word in names:
            self.kafka.delete_topic(self.topic(word))
        until(lambda: not self.there(), "the end of the topics")
        self.migrate()
        self.assertEqual(self.findings(), [])
        self.write(YAML, ('"${KAFKA_BROKERS}"}}', '"${KAFKA_BROKERS}", message.max.bytes: 2000000}}'))
        ((level, code, line, _, text),) = self.findings()
        self.assertEqual((level, code, line), ("warning", "sent_size", IN))
        self.assertIn("and this pipeline sends 2000000 at most (bus.properties.message.max.bytes)", text)

    def test_no_brokers(self):
        ((level, code, line, column, text),) = self.findings(code=78, KAFKA_BROKERS="127.0.0.1:1")
        self.assertEqual((level, code, line, column), ("error", "bus", 2, 6))
        self.assertRegex(text, r"\Abus: the topics of the brokers cannot be listed: .*127\.0\.0\.1:1")

    def test_the_database(self):
        ((level, code, line, column, text),) = self.findings(code=78, DATABASE_URL=self.postgres.create_database())
        self.assertEqual((level, code, line, column), ("error", "store_schema", 3, 8))
        self.assertRegex(text, r"\Astore: .*; .*sluice migrate")
        ((level, code, line, column, text),) = self.findings(
            code=78, DATABASE_URL="postgresql://postgres@127.0.0.1:1/nowhere"
        )
        self.assertEqual((level, code, line, column), ("error", "store", 3, 8))
        self.kafka.delete_topic(self.topic("out"))  # one finding keeps no other back
        until(lambda: self.topic("out") not in self.there(), "the end of a topic")
        self.assertEqual(
            [one[1] for one in self.findings(code=78, DATABASE_URL="postgresql://postgres@127.0.0.1:1/nowhere")],
            ["store", "topic_missing"],
        )


if __name__ == "__main__":
    unittest.main()
