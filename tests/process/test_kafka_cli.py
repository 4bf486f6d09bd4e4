#!/usr/bin/env python3
"""Commands on a real Kafka: migrate makes topics and nobody else does, emit, tap and explain do what
their help says, properties that cannot work are refused, run waits for its brokers.

Run alone: python3 tests/process/test_kafka_cli.py [-k NAME]
"""
import concurrent.futures
import ctypes
import json
import os
import re
import signal
import subprocess
import threading
import time
import unittest

import _path
from kafka_cli_case import EVENT, YAML, Case
from lib.engine import ROOT, SLUICE, Engine, sluice, until


class Migrate(Case):
    def test_what_is_missing_and_nothing_else(self):
        self.kafka.create_topic(self.topic("out"), partitions=1)
        done = self.command("migrate", "--check")
        self.assertEqual(done.returncode, 1)
        before = {name for name in self.kafka.topics() if not name.startswith(self.name)}
        sluice("migrate", self.config, env=self.env)  # of the database, too, when we are the first
        self.assertEqual(self.there(), self.names)
        self.assertEqual({name for name in self.kafka.topics() if not name.startswith(self.name)}, before)
        self.assertEqual([self.places(word) for word in ("in", "side", "dlt", "out")], [[1] * 3, [1] * 2, [1] * 2, [1]])

    def test_what_it_says(self):
        self.migrate()
        done = self.command("migrate", "--check")
        self.assertEqual(
            (done.returncode, done.stdout, done.stderr), (0, "the database is up to date\nevery topic is there\n", "")
        )
        self.kafka.delete_topic(self.topic("out"))
        until(lambda: self.topic("out") not in self.there(), "the end of a topic")
        done = self.command("migrate", "--check")
        self.assertEqual(
            (done.returncode, done.stderr),
            (1, f"sluice migrate: topic '{self.topic('out')}' is not on the brokers; `sluice migrate` makes it\n"),
        )
        self.assertNotIn(self.topic("out"), self.there())
        self.assertEqual(self.migrate(), ["the database is up to date", f"made topic {self.topic('out')}"])
        self.assertEqual(self.migrate(), ["the database is up to date", "every topic is there"])

    def test_a_replication_that_the_broker_refuses(self):
        self.write(YAML, ("@.side: {final", "@.side: {replication: 3, final"))
        done = self.command("migrate")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(
            done.stderr, rf"\Asluice migrate: topic {self.topic('side')} cannot be made: .*replication factor.*\n\Z"
        )
        self.assertEqual(
            sorted(line for line in done.stdout.splitlines() if line.startswith("made")),
            [f"made topic {self.topic(word)}" for word in ("dlt", "in", "out")],
        )
        self.write(YAML, ("partitions: 2,", "partitions: 2, replication: 2,"))
        done = self.command("migrate")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"topic {self.topic('side')} cannot be made: ", done.stderr)
        self.write(
            YAML,
            ("partitions: 2,", "partitions: 2, replication: 2,"),
            ("@.side: {final", "@.side: {replication: 1, final"),
        )
        self.migrate()
        self.assertEqual(self.places("side"), [1, 1])


class NothingIsMade(Case):
    def setUp(self):
        super().setUp()
        self.migrate()
        for word in ("out", "side"):
            self.kafka.delete_topic(self.topic(word))
        until(lambda: self.topic("out") not in self.there(), "the end of a topic")
        self.addCleanup(lambda: self.assertEqual(self.there(), [self.topic("dlt"), self.topic("in")]))

    def test_run(self):
        done = self.command("run", "--log-format", "text", HTTP_LISTEN="127.0.0.1:0")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(
            done.stderr,
            rf"ERROR .*the brokers have no topic {self.topic('out')}, {self.topic('side')}"
            r".*`sluice migrate CONFIG` makes what is missing",
        )
        self.assertNotIn("ready:", done.stderr)

    def test_emit(self):
        done = self.command("emit", self.topic("out"), "--data", json.dumps(EVENT))
        self.assertEqual((done.returncode, done.stdout), (1, f"0 events on {self.topic('out')}\n"))
        self.assertRegex(done.stderr, rf"\Asluice emit: .*{self.topic('out')}.*[Uu]nknown topic.*\n\Z")

    def test_tap(self):
        for line in (["--no-follow"], []):
            self.refused(
                self.command("tap", self.topic("out"), *line),
                rf"sluice tap: the brokers have no topic {self.topic('out')}",
            )
        self.emit(EVENT)
        done = self.command("tap", self.name + ".*", "--no-follow")
        self.assertEqual((done.returncode, done.stdout.count("\n"), done.stderr), (0, 1, ""))

    def test_explain(self):
        self.emit(dict(EVENT, k="who"))
        done = self.command("explain", "who")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn(self.topic("in"), done.stdout)


class Events(Case):
    def setUp(self):
        super().setUp()
        self.migrate()

    def tap(self, *line):
        done = self.command("tap", *line)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.splitlines()

    def test_emit(self):
        self.assertEqual(
            self.emit(*(dict(EVENT, k=f"k{n}", n=n) for n in range(1203))), f"1203 events on {self.topic('in')}\n"
        )
        records = self.kafka.dump(self.topic("in"))
        self.assertEqual(sorted(json.loads(one.value)["data"]["n"] for one in records), list(range(1203)))
        self.assertTrue(all(one.key.decode() == json.loads(one.value)["data"]["k"] for one in records))
        # A key is where Java's clients put it, too.
        where = {one.key: one.partition for one in records}
        keys = sorted(where)[:50]
        self.assertEqual(
            [partition for partition, _ in self.kafka.produce_many(self.topic("in"), [(key, b"{}") for key in keys])],
            [where[key] for key in keys],
        )
        done = self.command("emit", self.topic("in"), "--data", '{"a":1}', "--key", "my key", "--id", "mine-1")
        self.assertEqual(done.returncode, 0, done.stderr)
        (record,) = [one for one in self.kafka.dump(self.topic("in")) if one.key == b"my key"]
        self.assertEqual(json.loads(record.value)["eventId"], "mine-1")

    def test_tap(self):
        self.emit(*(dict(EVENT, n=n) for n in range(5)))
        self.emit(dict(EVENT, n=5), word="out")
        self.assertEqual(len(self.tap(self.topic("in"), "--no-follow")), 5)
        self.assertEqual(len(self.tap(self.topic("in"), self.topic("out"), "--no-follow")), 6)
        self.assertEqual(len(self.tap(self.topic("i") + "*", "--no-follow")), 5)
        self.assertEqual(len(self.tap("*", "--no-follow")), 6)
        self.assertEqual(self.tap(self.topic("side"), "--no-follow"), [])
        self.assertEqual(self.tap("nothing*", "--no-follow"), [])
        self.assertEqual(len(self.tap("*", "--count", "2")), 2)  # follows, yet ends
        (line,) = self.tap("*", "--no-follow", "--contains", '"n": 3', "--json")
        self.assertEqual({"topic", "partition", "timestamp", "key", "headers", "value"}, set(json.loads(line)))
        self.assertEqual(json.loads(json.loads(line)["value"])["data"]["n"], 3)
        times = [json.loads(line)["timestamp"] for line in self.tap("*", "--no-follow", "--json")]
        self.assertEqual(times, sorted(times))

    def test_tap_follows_until_a_signal(self):
        for end in (signal.SIGINT, signal.SIGTERM):
            there = len(self.kafka.dump(self.topic("in")))
            process = subprocess.Popen(
                [str(SLUICE), "tap", self.config, self.topic("in"), "--json"],
                cwd=ROOT,
                env=dict(os.environ, **self.env),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            self.addCleanup(process.kill)
            self.emit(*[dict(EVENT, k=f"{end}-{n}") for n in range(3)])
            lines = [process.stdout.readline() for _ in range(there + 3)]
            self.assertEqual({json.loads(line)["key"] for line in lines[there:]}, {f"{end}-{n}" for n in range(3)})
            process.send_signal(end)
            rest, errors = process.communicate(timeout=20)
            self.assertEqual((process.returncode, rest, errors), (0, "", ""))

    def test_tap_of_a_key_that_a_terminal_obeys(self):
        self.kafka.produce(self.topic("in"), "\x1b]0;title\x07\x1b[31m\nline", json.dumps(EVENT))
        (line,) = self.tap(self.topic("in"), "--no-follow")
        self.assertNotRegex(line, r"[\x00-\x1f]")
        self.assertIn("]0;title", line)

    def test_tap_whose_next_record_was_deleted(self):
        """Retention, or somebody's kafka-delete-records: it says so, and shows what is left."""
        self.emit(dict(EVENT, k="first"))
        place = next(one.partition for one in self.kafka.dump(self.topic("in")))
        process = subprocess.Popen(
            [str(SLUICE), "tap", self.config, self.topic("in"), "--json"],
            cwd=ROOT,
            env=dict(os.environ, **self.env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.kill)
        self.assertEqual(json.loads(process.stdout.readline())["key"], "first")
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)  # what was being fetched is answered
        self.kafka.produce(self.topic("in"), "gone", json.dumps(EVENT), place)
        self.kafka.delete_records(self.topic("in"), place, 2)
        self.kafka.produce(self.topic("in"), "left", json.dumps(EVENT), place)
        process.send_signal(signal.SIGCONT)
        killer = threading.Timer(20, process.kill)
        killer.start()
        self.assertEqual(json.loads(process.stdout.readline() or "{}").get("key"), "left")
        killer.cancel()
        process.terminate()
        self.assertRegex(
            process.communicate(timeout=20)[1], rf"{self.topic('in')} \[{place}\]: offset reset .*out of range"
        )

    def test_explain(self):
        self.emit(dict(EVENT, k="story"), dict(EVENT, k="another"))
        self.assertIn("nothing on this pipeline's topics carries it", self.command("explain", "nobody").stdout)
        with Engine(self.config, self.env):
            until(lambda: len(self.kafka.dump(self.topic("out"))) == 2, "the outputs")
        story = json.loads(self.command("explain", "story", "--json").stdout)
        self.assertEqual([one["topic"] for one in story["events"]], [self.topic("in"), self.topic("out")])
        self.assertEqual(story["events"][0]["handled"], [{"handler": "chaos.act", "outcome": "ok"}])
        self.assertEqual(story["events"][1]["parent"], story["events"][0]["eventId"])
        self.assertIn("chaos.act → ok", self.command("explain", "story").stdout)


class NoBrokers(Case):
    def test_commands_say_so(self):
        """One sentence, with the address; validate has its own test."""
        self.migrate()
        lines = (["tap", "*", "--no-follow"], ["tap", self.topic("in")], ["explain", "x"], ["migrate"])
        with concurrent.futures.ThreadPoolExecutor() as pool:
            said = list(pool.map(lambda line: self.command(*line, KAFKA_BROKERS="127.0.0.1:1"), lines))
        for line, done in zip(lines, said):
            with self.subTest(line):
                self.assertEqual((done.returncode, done.stdout.replace("the database is up to date\n", "")), (1, ""))
                self.assertRegex(
                    done.stderr,
                    rf"\Asluice {line[0]}: the topics of the brokers cannot be listed: "
                    r"127\.0\.0\.1:1[^\n]*Connection refused[^\n]*\n\Z",
                )


class Properties(Case):
    def property(self, text):
        self.write(YAML, ('"${KAFKA_BROKERS}"}}', f'"${{KAFKA_BROKERS}}", {text}}}}}'))

    def test_refused_when_loaded(self):
        for text, words in (
            ("acks: 1", "'acks' cannot be set here: it is the engine's"),
            ("group.id: g", "'group.id' cannot be set here: it is the engine's"),
            ("plugin.library.paths: x.so", "'plugin.library.paths' cannot be set here: it loads code"),
            ("linger.ms: soon", "bus.properties.linger.ms: expected a whole number from 0 to 900000, got 'soon'"),
        ):
            for line in (["validate"], ["run"], ["migrate"], ["tap", "*"]):
                with self.subTest(text=text, line=line):
                    self.property(text)
                    done = self.command(*line)
                    self.assertEqual(done.returncode, 78)
                    self.assertIn(words, done.stderr)
                    self.assertRegex(done.stderr, rf"\A{self.config}:2:\d+: error: ")

    def refused_by_librdkafka(self, text, words, early=False):
        """By everything that makes a client, and `early` by what does not."""
        self.property(text)
        validates = [["validate"], ["validate", "--connect"]]
        for line in validates[:] if early else validates[1:]:
            done = self.command(*line, KAFKA_BROKERS="127.0.0.1:1")
            self.assertEqual(done.returncode, 78)
            self.assertRegex(
                done.stderr, rf"\A{self.config}:2:6: error: [^\n]*{words}[^\n]*\n[^\n]*1 error, 0 warnings\n\Z"
            )
        for line in (
            ["run", "--log-format", "text"],
            ["migrate"],
            ["tap", "*", "--no-follow"],
            ["emit", self.topic("in"), "--data", json.dumps(EVENT)],
            ["explain", "x"],
        ):
            with self.subTest(line):
                done = self.command(*line, KAFKA_BROKERS="127.0.0.1:1", HTTP_LISTEN="127.0.0.1:0")
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, rf"(?m)^[^\n]*{words}[^\n]*$")
                self.assertEqual(len(re.findall(words, done.stderr)), 1)

    def test_what_this_version_cannot(self):
        number = ctypes.CDLL("librdkafka.so.1").rd_kafka_version()
        version = (number >> 24, number >> 16 & 255, number >> 8 & 255)
        for text, since in (
            ("group.protocol: consumer", (2, 12, 0)),
            ("partition.assignment.strategy: cooperative-sticky", (2, 10, 1)),
        ):
            name, value = text.split(": ")
            if version < since:
                self.refused_by_librdkafka(
                    text,
                    rf"bus\.properties\.{re.escape(name)}: {value} needs librdkafka "
                    rf"{'.'.join(map(str, since))}; this is {'.'.join(map(str, version))}[^\n]*; say ",
                    early=True,
                )

    def test_a_wrong_value_is_said_with_its_name(self):
        self.refused_by_librdkafka("ssl.cipher.suites: none-such, security.protocol: ssl", r"ssl\.cipher\.suites")
        self.refused_by_librdkafka(
            "ssl.ca.location: /nowhere/ca.pem, security.protocol: ssl",
            r"ssl\.ca\.location failed:.*is '/nowhere/ca\.pem' a file",
        )

    def test_good_ones(self):
        self.property(
            "linger.ms: 1, compression.type: lz4, group.protocol: classic, client.rack: here, session.timeout.ms: 6000"
        )
        self.assertEqual(self.command("validate").returncode, 0)
        self.migrate()
        self.emit(EVENT)
        with Engine(self.config, self.env):
            until(lambda: self.kafka.dump(self.topic("out")), "the output")


if __name__ == "__main__":
    unittest.main()
