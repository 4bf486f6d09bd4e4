#!/usr/bin/env python3
"""Names that leave pipeline.yaml while events wait for them, on Kafka: what test_names_postgres.py shows, where each
topic has positions of its own.

Run alone: python3 tests/process/test_names_kafka.py [-k NAME]. Topics are called by "@", a name that no other test has.
"""
import datetime
import json
import struct
import unittest

import _path
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase, reason
from lib.server_case import KafkaCase

TABLE = (
    "CREATE TABLE effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint, unity"
    " bigint)"
)
HEAD = """\
pipeline: "%s"
bus: {kind: kafka, partitions: 2, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}
%s
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
topics:
  @.%s: {key: "{k}", handler: effects.record, routes: {done: @.out, again: drop}}
  @.out: {final: true}
"""
STORE = 'store: {url: "${DATABASE_URL}"}'
TAP = 'taps: {%s: {topics: ["@.work"], handler: effects.record%s}}\n'


class Case(KafkaCase, PipelineCase):
    def setUp(self):
        super().setUp()
        self.name = self.new_name("names")
        self.vars.update(self.kafka.env())
        self.postgres.query(TABLE, self.url)

    def file(self, work="work", more="", pipeline="@"):
        self.use((HEAD % (pipeline, STORE, work) + more).replace("@", self.name))

    def work(self, count=1, first=1, topic="work"):
        for n in range(first, first + count):
            data = {"k": "a", "origin": f"o{n}", "seq": n}
            self.kafka.produce(f"{self.name}.{topic}", "a", json.dumps(self.event(data)))

    def once(self, query, wanted):
        engine = self.engine()
        self.await_value(query, wanted, 40)
        self.assertEqual(engine.stop(), 0)

    def effects(self, count):
        self.once("SELECT count(*) FROM effects", count)

    def settled(self, count):
        """Nothing more comes: a restart finds the group at the end."""
        engine = self.engine()
        until(lambda: engine.metric("sluice_lag") == 0, lambda: f"the end; {engine.text()}", 40)
        self.assertEqual(engine.stop(), 0)
        self.assertEqual(self.value("SELECT count(*) FROM effects"), str(count))

    def refused(self, sentence):
        engine = self.engine(wait=False)
        code = engine.process.wait(40)
        engine.reader.join(5)
        done = sluice("validate", self.config, "--connect", env=self.vars, check=False)
        self.assertEqual((code, done.returncode), (78, 78), engine.text() + done.stderr)
        for text in (engine.text(), done.stderr):
            self.assertIn(sentence.replace("@", self.name), text)

    def good(self):
        done = sluice("validate", self.config, "--connect", env=self.vars, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn(" error: ", done.stderr)  # that topics have one replica is a warning


class Topics(Case):
    def setUp(self):
        super().setUp()
        self.file()
        self.work(2)
        self.effects(2)
        self.work(3, first=3)
        self.file(work="job")

    def leave_output(self, n):
        """An event that is committed and that its process did not publish: see engine/event/record_batch.h."""
        topic, value = f"{self.name}.work".encode(), json.dumps(self.event({"k": "a", "origin": f"o{n}", "seq": n}))
        batch = struct.pack(">HHqB", 1, 1, 1, len(topic)) + topic + struct.pack(">H", 1) + b"a" + b"\0"
        batch += struct.pack(">I", len(value)) + value.encode()
        self.postgres.query(
            "INSERT INTO sluice.outbox (id, created_at, batch) VALUES"
            f" (nextval('sluice.outbox_id') + 1, now() - interval '1 hour', '\\x{batch.hex()}')",
            self.url,
        )

    def test_renamed(self):
        self.leave_output(6)
        self.refused("topic '@.work' left the file, and something waits for it: 3 are unread, 1 is not published;")
        self.file(work="job", more="renamed: {@.work: @.job}\n")
        self.good()
        self.effects(6)
        self.settled(6)
        self.assertEqual(
            [row[0] for row in self.rows("SELECT origin FROM effects ORDER BY number")], [f"o{n}" for n in range(1, 7)]
        )

    def test_retired(self):
        self.file(work="job", more="retired: {@.work: dead_letter}\n")
        self.good()
        engine = self.engine()
        letters = self.await_topic(f"{self.name}.work-dlt", 3, 40)
        self.assertEqual(engine.stop(), 0)
        self.assertEqual([json.loads(letter["value"])["data"]["origin"] for letter in letters], ["o3", "o4", "o5"])
        self.assertEqual({reason(letter) for letter in letters}, {"retired"})
        self.settled(2)
        self.assertEqual(len(self.topic(f"{self.name}.work-dlt")), 3)


class Groups(Case):
    def setUp(self):
        super().setUp()
        self.file(more=TAP % ("watch", ""))
        self.work(2)
        self.effects(4)  # a first start reads what is there, the tap too
        self.work(2, first=3)

    def test_a_renamed_pipeline(self):
        self.file(more=TAP % ("watch", ""), pipeline="@b")
        self.refused("group '@b' is new, and topic '@.work' has events that group '@' has read; say engine.from: ")
        self.file(more=TAP % ("watch", "") + "renamed: {@: @b}\n", pipeline="@b")
        self.good()
        self.effects(8)
        self.settled(8)

    def test_a_renamed_tap(self):
        self.file(more=TAP % ("look", "") + "renamed: {watch: look}\n")
        self.good()
        self.effects(8)
        self.settled(8)

    def test_an_added_tap(self):
        self.effects(8)
        more = TAP % ("watch", "") + TAP % ("more", "")
        more = more.replace("}}\ntaps: {", "}, ")
        self.file(more=more)
        self.refused("tap 'more' is new, and topic '@.work' has events; say taps.more.from: ")
        self.file(more=more.replace("record}}", "record, from: latest}}"))
        self.good()
        self.settled(8)
        self.work(1, first=5)
        self.effects(11)

    def test_an_added_tap_from_a_time(self):
        self.effects(8)
        at = self.topic(f"{self.name}.work")[2]["timestamp"] / 1000
        at = datetime.datetime.fromtimestamp(at, datetime.timezone.utc).isoformat(timespec="milliseconds")
        more = TAP % ("watch", "") + TAP % ("more", f', from: "{at}"')
        self.file(more=more.replace("}}\ntaps: {", "}, "))
        self.effects(10)
        self.settled(10)


class WithoutStore(Case):
    plain = (
        'pipeline: "@"\nbus: {kind: kafka, partitions: 2, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}\n'
        'plugins: {chaos: {library: "${CHAOS_SO}"}}\nhttp: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}\n%stopics:\n'
        '  @.work: {key: "{k}", handler: chaos.act, routes: {ok: @.out, other: @.out}}\n  @.out: {final: true}\n'
    )

    def test_of_a_new_group(self):
        """Nobody knows who has read what is there."""
        self.use((self.plain % "").replace("@", self.name))
        self.kafka.produce(f"{self.name}.work", "a", json.dumps(self.event({"k": "a", "mode": "ok"})))
        self.refused("group '@' is new, and topic '@.work' has events; say engine.from: ")
        self.use((self.plain % "engine: {from: earliest}\n").replace("@", self.name))
        self.good()
        engine = self.engine()
        self.await_topic(f"{self.name}.out", 1, 40)
        self.assertEqual(engine.stop(), 0)
        self.use((self.plain % "").replace("@", self.name))
        self.good()


if __name__ == "__main__":
    unittest.main(verbosity=2)
