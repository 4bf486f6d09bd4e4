#!/usr/bin/env python3
"""Commands on a real Kafka: migrate makes topics and nobody else does, validate --connect compares, emit, tap and explain do what
their help says, properties that cannot work are refused, run waits for its brokers.

Run alone: python3 tests/integration/test_kafka_cli.py [-k NAME]
"""
import concurrent.futures
import ctypes
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from engine import ROOT, SLUICE, Engine, sluice, until  # noqa: E402
from kafka import PrivateKafka  # noqa: E402
from pipeline_case import CHAOS  # noqa: E402
from postgres import PrivatePostgres  # noqa: E402

# Topics begin at line 8, a line each; "@" is a name that no other test has.
YAML = """\
pipeline: cli
bus: {kind: kafka, partitions: 2, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}
store: {url: "${DATABASE_URL}"}
engine: {group: "@"}
plugins: {chaos: {library: "${CHAOS_SO}"}}
defaults: {dead_letter: "@.dlt"}
topics:
  @.in: {key: "{k}", partitions: 3, handler: chaos.act, routes: {ok: @.out, other: @.side}}
  @.out: {key: "{k}", partitions: 3, final: true}
  @.side: {final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
IN, OUT, SIDE = 8, 9, 10
EVENT = {"mode": "ok", "k": "a"}


def setUpModule():
    global POSTGRES, KAFKA, URL, FOLDER, NUMBERS
    POSTGRES, KAFKA, NUMBERS = PrivatePostgres(), PrivateKafka(), itertools.count(1)
    folder = tempfile.TemporaryDirectory(prefix="sluice-kafka-cli-")
    FOLDER = pathlib.Path(folder.name)
    for end in (folder.cleanup, POSTGRES.close, KAFKA.close):
        unittest.addModuleCleanup(end)
    POSTGRES.start()
    KAFKA.start()
    if KAFKA.owned:  # brokers that would make a topic for whoever asks for it, as most do
        settings = pathlib.Path(KAFKA.dir, "broker-1.properties")
        settings.write_text(settings.read_text() + "auto.create.topics.enable=true\n")
        KAFKA.restart(1)
        KAFKA.produce("made-by-asking", None, b"")
    URL = POSTGRES.create_database()


class Case(unittest.TestCase):
    def setUp(self):
        self.name = f"cli{os.getpid()}x{next(NUMBERS)}"
        self.env = {"DATABASE_URL": URL, "CHAOS_SO": str(CHAOS), **KAFKA.env()}
        self.config = FOLDER / f"{self.name}.yaml"
        self.write(YAML)
        self.names = [self.topic(word) for word in ("dlt", "in", "out", "side")]

    def topic(self, word):
        return f"{self.name}.{word}"

    def write(self, yaml, *changes):
        for old, new in changes:
            self.assertIn(old, yaml)
            yaml = yaml.replace(old, new)
        self.config.write_text(yaml.replace("@", self.name))

    def command(self, word, *line, data=None, **env):
        return sluice(word, self.config, *line, env={**self.env, **env}, data=data, check=False)

    def migrate(self):
        done = self.command("migrate")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.splitlines()

    def there(self):
        """Of this test's names, what the brokers have: whatever made it."""
        return [name for name in KAFKA.topics() if name.startswith(self.name + ".")]

    def places(self, word):
        return [len(one.replicas) for one in KAFKA.describe(self.topic(word))]

    def emit(self, *values, word="in"):
        done = self.command("emit", self.topic(word), data="".join(json.dumps(value) + "\n" for value in values))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def refused(self, done, words, code=1):
        """It ended, and said one sentence, in one line."""
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertRegex(done.stderr, rf"\A[^\n]*{words}[^\n]*\n\Z")
        self.assertEqual(done.stdout, "")


class Migrate(Case):
    def test_what_is_missing_and_nothing_else(self):
        KAFKA.create_topic(self.topic("out"), partitions=1)
        done = self.command("migrate", "--check")
        self.assertEqual(done.returncode, 1)
        before = {name for name in KAFKA.topics() if not name.startswith(self.name)}
        sluice("migrate", self.config, env=self.env)  # of the database, too, when we are the first
        self.assertEqual(self.there(), self.names)
        self.assertEqual({name for name in KAFKA.topics() if not name.startswith(self.name)}, before)
        self.assertEqual([self.places(word) for word in ("in", "side", "dlt", "out")], [[1] * 3, [1] * 2, [1] * 2, [1]])

    def test_what_it_says(self):
        self.migrate()
        done = self.command("migrate", "--check")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "the database is up to date\nevery topic is there\n", ""))
        KAFKA.delete_topic(self.topic("out"))
        until(lambda: self.topic("out") not in self.there(), "the end of a topic")
        done = self.command("migrate", "--check")
        self.assertEqual((done.returncode, done.stderr),
                         (1, f"sluice migrate: topic '{self.topic('out')}' is not on the brokers; `sluice migrate` makes it\n"))
        self.assertNotIn(self.topic("out"), self.there())
        self.assertEqual(self.migrate(), ["the database is up to date", f"made topic {self.topic('out')}"])
        self.assertEqual(self.migrate(), ["the database is up to date", "every topic is there"])

    def test_a_replication_that_the_broker_refuses(self):
        self.write(YAML, ("@.side: {final", "@.side: {replication: 3, final"))
        done = self.command("migrate")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, rf"\Asluice migrate: topic {self.topic('side')} cannot be made: .*replication factor.*\n\Z")
        self.assertEqual(sorted(line for line in done.stdout.splitlines() if line.startswith("made")),
                         [f"made topic {self.topic(word)}" for word in ("dlt", "in", "out")])
        self.write(YAML, ("partitions: 2,", "partitions: 2, replication: 2,"))
        done = self.command("migrate")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"topic {self.topic('side')} cannot be made: ", done.stderr)
        self.write(YAML, ("partitions: 2,", "partitions: 2, replication: 2,"), ("@.side: {final", "@.side: {replication: 1, final"))
        self.migrate()
        self.assertEqual(self.places("side"), [1, 1])


class NothingIsMade(Case):
    def setUp(self):
        super().setUp()
        self.migrate()
        for word in ("out", "side"):
            KAFKA.delete_topic(self.topic(word))
        until(lambda: self.topic("out") not in self.there(), "the end of a topic")
        self.addCleanup(lambda: self.assertEqual(self.there(), [self.topic("dlt"), self.topic("in")]))

    def test_run(self):
        done = self.command("run", "--log-format", "text", HTTP_LISTEN="127.0.0.1:0")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, rf"ERROR .*the brokers have no topic {self.topic('out')}, {self.topic('side')}"
                                      r".*`sluice migrate CONFIG` makes what is missing")
        self.assertNotIn("ready:", done.stderr)

    def test_emit(self):
        done = self.command("emit", self.topic("out"), "--data", json.dumps(EVENT))
        self.assertEqual((done.returncode, done.stdout), (1, f"0 events on {self.topic('out')}\n"))
        self.assertRegex(done.stderr, rf"\Asluice emit: .*{self.topic('out')}.*[Uu]nknown topic.*\n\Z")

    def test_tap(self):
        for line in (["--no-follow"], []):
            self.refused(self.command("tap", self.topic("out"), *line), rf"sluice tap: the brokers have no topic {self.topic('out')}")
        self.emit(EVENT)
        done = self.command("tap", self.name + ".*", "--no-follow")
        self.assertEqual((done.returncode, done.stdout.count("\n"), done.stderr), (0, 1, ""))

    def test_explain(self):
        self.emit(dict(EVENT, k="who"))
        done = self.command("explain", "who")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn(self.topic("in"), done.stdout)


class Validate(Case):
    def setUp(self):
        super().setUp()
        self.migrate()

    def findings(self, *line, code=0, **env):
        """As programs get them; the same sentences as people get them, each in a line that begins with its place."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            done, text = pool.map(lambda more: self.command("validate", "--connect", *more, *line, **env), (["--json"], []))
        self.assertEqual((done.returncode, done.stderr), (code, ""))
        self.assertEqual(text.returncode, code)
        found = json.loads(done.stdout)
        told = [f"{one['file']}:{one['line']}:{one['column']}: {one['level']}: {one['message']}" for one in found]
        self.assertEqual([line for line in text.stderr.splitlines() if line.startswith(str(self.config) + ":")][:len(told)], told)
        return [(one["level"], one["code"], one["line"], one["column"], one["message"]) for one in found
                if one["code"] != "topic_unreplicated"]

    def test_good_but_for_replicas(self):
        done = self.command("validate", "--connect")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr, rf"\A{self.config}:2:6: warning: 4 topics have one replica: when its broker is lost, so are "
                                      r"events that were acknowledged; use three for what matters\n")
        self.assertRegex(done.stdout, r"yaml: good: 4 topics, 1 handlers at work")
        self.assertEqual(self.command("validate", "--connect", "--deny-warnings").returncode, 78)
        self.write(YAML, *((f"@.{word}: {{", f"@.{word}: {{replication: 1, ") for word in ("in", "out", "side")))
        self.assertEqual(self.findings(), [])

    def test_a_missing_topic(self):
        KAFKA.delete_topic(self.topic("out"))
        until(lambda: self.topic("out") not in self.there(), "the end of a topic")
        self.assertEqual(self.findings(code=78), [("error", "topic_missing", OUT, 3, f"topic '{self.topic('out')}' is not on the brokers; "
                                                                                     "`sluice migrate` makes it")])
        self.assertEqual(self.command("validate").returncode, 0)  # connects to nothing
        self.assertNotIn(self.topic("out"), self.there())

    def test_fewer_partitions(self):
        KAFKA.add_partitions(self.topic("in"), 5)
        until(lambda: len(self.places("in")) == 5, "five partitions")
        self.write(YAML, ("@.side: {", "@.side: {partitions: 4, "))
        self.assertEqual(self.findings(), [
            ("warning", "topic_partitions_differ", OUT, 3, f"topic '{self.topic('out')}' has 3 partitions and '{self.topic('in')}', "
             "which has the same key, 5: a key's events are read by different instances"),
            ("warning", "topic_partitions", SIDE, 3, f"topic '{self.topic('side')}' has 2 partitions, 'partitions' says 4")])

    def test_properties_that_are_refused_together(self):
        for text, words in (("linger.ms: 900000", "message.timeout.ms"), ("session.timeout.ms: 3600000", "max.poll.interval.ms")):
            with self.subTest(text):
                self.write(YAML, ('"${KAFKA_BROKERS}"}}', f'"${{KAFKA_BROKERS}}", {text}}}}}'))
                ((level, code, line, _, said),) = self.findings(code=78)
                self.assertEqual((level, code, line), ("error", "bus", 2))
                self.assertIn(words, said)

    def test_the_partitions_of_the_bus(self):
        """Of topics that leave it to `bus` and agree among themselves."""
        self.write(YAML, ("partitions: 2,", "partitions: 8,"))
        said = ("warning", "bus_partitions", 2, 6, "the topics have 2 partitions, bus.partitions says 8: it counts when `sluice migrate` "
                "makes a topic, and changes none that is there")
        self.assertEqual(self.findings(), [said])
        KAFKA.add_partitions(self.topic("side"), 4)
        until(lambda: len(self.places("side")) == 4, "four partitions")
        self.assertEqual(self.findings(), [])  # who has topics of several sizes knows them

    def test_fewer_replicas(self):
        self.write(YAML, ("@.side: {", "@.side: {replication: 3, "))
        self.assertEqual(self.findings(), [("warning", "topic_replication", SIDE, 3, f"topic '{self.topic('side')}' has 1 replicas, "
                                                                                     "'replication' says 3")])

    def test_retention_and_sizes(self):
        ladder = "other: {retry: @.again, initial_interval: 1h, multiplier: 2, max_retries: 3, exhausted: @.side}"
        self.write(YAML, ("other: @.side", ladder), ('engine: {group: "@"}', 'engine: {group: "@", max_event_size: 2MiB}'))
        self.migrate()
        KAFKA.alter_topic_config(self.topic("in"), {"retention.ms": 4 * 3600 * 1000 - 1, "max.message.bytes": 2 * 1024 * 1024 - 1})
        KAFKA.alter_topic_config(self.topic("out"), {"retention.ms": 4 * 3600 * 1000, "max.message.bytes": 2 * 1024 * 1024})
        KAFKA.alter_topic_config(self.topic("side"), {"retention.ms": 1000, "cleanup.policy": "compact"})  # deletes nothing for its age
        for word in ("again", "dlt"):
            KAFKA.alter_topic_config(self.topic(word), {"retention.ms": -1})  # keeps all
        self.assertEqual(self.findings(), [
            ("warning", "topic_retention", IN, 3, f"topic '{self.topic('in')}' keeps events for 14399 s (retention.ms), and a retry may be "
             "14400 s away: after an outage it would find nothing"),
            ("warning", "topic_message_size", IN, 3, f"topic '{self.topic('in')}' takes 2097151 bytes (max.message.bytes), and "
             "engine.max_event_size is 2097152: larger events would be handled and their outputs refused")])

    def test_no_brokers(self):
        ((level, code, line, column, text),) = self.findings(code=78, KAFKA_BROKERS="127.0.0.1:1")
        self.assertEqual((level, code, line, column), ("error", "bus", 2, 6))
        self.assertRegex(text, r"\Abus: the topics of the brokers cannot be listed: .*127\.0\.0\.1:1")

    def test_the_database(self):
        ((level, code, line, column, text),) = self.findings(code=78, DATABASE_URL=POSTGRES.create_database())
        self.assertEqual((level, code, line, column), ("error", "store_schema", 3, 8))
        self.assertRegex(text, r"\Astore: .*; .*sluice migrate")
        ((level, code, line, column, text),) = self.findings(code=78, DATABASE_URL="postgresql://postgres@127.0.0.1:1/nowhere")
        self.assertEqual((level, code, line, column), ("error", "store", 3, 8))
        KAFKA.delete_topic(self.topic("out"))  # one finding keeps no other back
        until(lambda: self.topic("out") not in self.there(), "the end of a topic")
        self.assertEqual([one[1] for one in self.findings(code=78, DATABASE_URL="postgresql://postgres@127.0.0.1:1/nowhere")],
                         ["store", "topic_missing"])


class Events(Case):
    def setUp(self):
        super().setUp()
        self.migrate()

    def tap(self, *line):
        done = self.command("tap", *line)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.splitlines()

    def test_emit(self):
        self.assertEqual(self.emit(*(dict(EVENT, k=f"k{n}", n=n) for n in range(1203))), f"1203 events on {self.topic('in')}\n")
        records = KAFKA.dump(self.topic("in"))
        self.assertEqual(sorted(json.loads(one.value)["data"]["n"] for one in records), list(range(1203)))
        self.assertTrue(all(one.key.decode() == json.loads(one.value)["data"]["k"] for one in records))
        # A key is where Java's clients put it, too.
        where = {one.key: one.partition for one in records}
        keys = sorted(where)[:50]
        self.assertEqual([partition for partition, _ in KAFKA.produce_many(self.topic("in"), [(key, b"{}") for key in keys])],
                         [where[key] for key in keys])
        done = self.command("emit", self.topic("in"), "--data", '{"a":1}', "--key", "my key", "--id", "mine-1")
        self.assertEqual(done.returncode, 0, done.stderr)
        (record,) = [one for one in KAFKA.dump(self.topic("in")) if one.key == b"my key"]
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
            there = len(KAFKA.dump(self.topic("in")))
            process = subprocess.Popen([str(SLUICE), "tap", self.config, self.topic("in"), "--json"], cwd=ROOT,
                                       env=dict(os.environ, **self.env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.addCleanup(process.kill)
            self.emit(*[dict(EVENT, k=f"{end}-{n}") for n in range(3)])
            lines = [process.stdout.readline() for _ in range(there + 3)]
            self.assertEqual({json.loads(line)["key"] for line in lines[there:]}, {f"{end}-{n}" for n in range(3)})
            process.send_signal(end)
            rest, errors = process.communicate(timeout=20)
            self.assertEqual((process.returncode, rest, errors), (0, "", ""))

    def test_tap_of_a_key_that_a_terminal_obeys(self):
        KAFKA.produce(self.topic("in"), "\x1b]0;title\x07\x1b[31m\nline", json.dumps(EVENT))
        (line,) = self.tap(self.topic("in"), "--no-follow")
        self.assertNotRegex(line, r"[\x00-\x1f]")
        self.assertIn("]0;title", line)

    def test_tap_whose_next_record_was_deleted(self):
        """Retention, or somebody's kafka-delete-records: it says so, and shows what is left."""
        self.emit(dict(EVENT, k="first"))
        place = next(one.partition for one in KAFKA.dump(self.topic("in")))
        process = subprocess.Popen([str(SLUICE), "tap", self.config, self.topic("in"), "--json"], cwd=ROOT,
                                   env=dict(os.environ, **self.env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        self.assertEqual(json.loads(process.stdout.readline())["key"], "first")
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)  # what was being fetched is answered
        KAFKA.produce(self.topic("in"), "gone", json.dumps(EVENT), place)
        KAFKA.delete_records(self.topic("in"), place, 2)
        KAFKA.produce(self.topic("in"), "left", json.dumps(EVENT), place)
        process.send_signal(signal.SIGCONT)
        killer = threading.Timer(20, process.kill)
        killer.start()
        self.assertEqual(json.loads(process.stdout.readline() or "{}").get("key"), "left")
        killer.cancel()
        process.terminate()
        self.assertRegex(process.communicate(timeout=20)[1], rf"{self.topic('in')} \[{place}\]: offset reset .*out of range")

    def test_explain(self):
        self.emit(dict(EVENT, k="story"), dict(EVENT, k="another"))
        self.assertIn("nothing on this pipeline's topics carries it", self.command("explain", "nobody").stdout)
        with Engine(self.config, self.env):
            until(lambda: len(KAFKA.dump(self.topic("out"))) == 2, "the outputs")
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
                self.assertRegex(done.stderr, rf"\Asluice {line[0]}: the topics of the brokers cannot be listed: "
                                              r"127\.0\.0\.1:1[^\n]*Connection refused[^\n]*\n\Z")


class Properties(Case):
    def property(self, text):
        self.write(YAML, ('"${KAFKA_BROKERS}"}}', f'"${{KAFKA_BROKERS}}", {text}}}}}'))

    def test_refused_when_loaded(self):
        for text, words in (("acks: 1", "'acks' cannot be set here: it is the engine's"),
                            ("group.id: g", "'group.id' cannot be set here: it is the engine's"),
                            ("plugin.library.paths: x.so", "'plugin.library.paths' cannot be set here: it loads code"),
                            ("linger.ms: soon", "bus.properties.linger.ms: expected a whole number from 0 to 900000, got 'soon'")):
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
            self.assertRegex(done.stderr, rf"\A{self.config}:2:6: error: [^\n]*{words}[^\n]*\n[^\n]*1 error, 0 warnings\n\Z")
        for line in (["run", "--log-format", "text"], ["migrate"], ["tap", "*", "--no-follow"],
                     ["emit", self.topic("in"), "--data", json.dumps(EVENT)], ["explain", "x"]):
            with self.subTest(line):
                done = self.command(*line, KAFKA_BROKERS="127.0.0.1:1", HTTP_LISTEN="127.0.0.1:0")
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, rf"(?m)^[^\n]*{words}[^\n]*$")
                self.assertEqual(len(re.findall(words, done.stderr)), 1)

    def test_what_this_version_cannot(self):
        number = ctypes.CDLL("librdkafka.so.1").rd_kafka_version()
        version = (number >> 24, number >> 16 & 255, number >> 8 & 255)
        for text, since in (("group.protocol: consumer", (2, 12, 0)), ("partition.assignment.strategy: cooperative-sticky", (2, 10, 1))):
            name, value = text.split(": ")
            if version < since:
                self.refused_by_librdkafka(text, rf"bus\.properties\.{re.escape(name)}: {value} needs librdkafka "
                                                 rf"{'.'.join(map(str, since))}; this is {'.'.join(map(str, version))}[^\n]*; say ",
                                           early=True)

    def test_a_wrong_value_is_said_with_its_name(self):
        self.refused_by_librdkafka("ssl.cipher.suites: none-such, security.protocol: ssl", r"ssl\.cipher\.suites")
        self.refused_by_librdkafka("ssl.ca.location: /nowhere/ca.pem, security.protocol: ssl",
                                   r"ssl\.ca\.location failed:.*is '/nowhere/ca\.pem' a file")

    def test_good_ones(self):
        self.property("linger.ms: 1, compression.type: lz4, group.protocol: classic, client.rack: here, session.timeout.ms: 6000")
        self.assertEqual(self.command("validate").returncode, 0)
        self.migrate()
        self.emit(EVENT)
        with Engine(self.config, self.env):
            until(lambda: KAFKA.dump(self.topic("out")), "the output")


if __name__ == "__main__":
    unittest.main()
