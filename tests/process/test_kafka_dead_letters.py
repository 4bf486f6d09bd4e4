#!/usr/bin/env python3
"""What comes of headers without a value, and of dead letters that an operator copies back to where they came from.

Run alone: python3 tests/process/test_kafka_dead_letters.py.
"""
import json
import unittest

import _path
from lib.engine import until
from lib.pipeline_case import PipelineCase, new_id
from lib.server_case import KafkaCase

YAML = """\
pipeline: letters
bus: {kind: kafka, partitions: 2, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}
store: {url: "${DATABASE_URL}"}
engine: {group: "@"}
plugins: {effects: {library: "${EFFECTS_SO}"}}
topics:
  @.in: {handler: effects.record, routes: {done: @.out, again: drop}}
  @.out: {final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
BY_US = ("kafka_dlt-", "sluice-dlt-", "retry_topic-")
TABLE = (
    "CREATE TABLE effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint, unity"
    " bigint, CONSTRAINT small CHECK (seq < 100))"
)


class DeadLetters(PipelineCase, KafkaCase):
    def setUp(self):
        super().setUp()
        self.vars.update(self.kafka.env())
        self.name = self.new_name("letters")
        self.rows(TABLE)
        self.use(YAML.replace("@", self.name))
        self.running = self.engine()

    def whole(self, seq, event_id=None):
        return json.dumps({"eventId": event_id or new_id(), "data": {"k": "k1", "origin": "o1", "seq": seq}})

    def put(self, value, headers=(), key=b"k1"):
        self.kafka.produce(f"{self.name}.in", key, value, headers=list(headers))

    def dump(self, word, count):
        topic = f"{self.name}.{word}"
        until(
            lambda: len(self.kafka.dump(topic)) >= count, f"{count} records on {topic}\n{self.running.text()}", 20, 0.05
        )
        return sorted(self.kafka.dump(topic), key=lambda one: (one.timestamp, one.partition, one.offset))

    def effects(self):
        return int(self.rows("SELECT count(*) FROM effects")[0][0])

    def test_headers_without_a_value(self):
        """They are as if they were not there; a dead letter keeps them as they came."""
        none = [(name, None) for name in ("content-type", "sluice-hops", "sluice-not-before", "ce_id", "tenant")]
        self.put(self.whole(1), none)
        self.assertEqual(json.loads(self.dump("out", 1)[0].value)["data"]["seq"], 1)
        headers = [*none, ("empty", b""), ("text", b"x")]
        self.put('{"torn', headers)
        letter = self.dump("in-dlt", 1)[0]
        self.assertEqual([one for one in letter.headers if not one[0].startswith(BY_US)], headers)

    def test_a_letter_that_goes_round(self):
        """33 rounds leave as many headers as one."""
        self.put('{"torn', [("mine", b"1")])
        letter = self.dump("in-dlt", 1)[0]
        names = [name for name, _ in letter.headers]
        self.assertEqual(len(names), len(set(names)))
        for turn in range(2, 35):
            self.put(letter.value, letter.headers, letter.key)
            letter = self.dump("in-dlt", turn)[-1]
            self.assertEqual([name for name, _ in letter.headers], names, f"turn {turn}")
            self.assertEqual(dict(letter.headers)["sluice-dlt-reason"], b"bad_json")

    def test_letters_that_are_sent_again_when_the_cause_is_mended(self):
        """They are handled, once each, however often they are sent; without their headers they cannot be told from an
        event that was delivered twice: the log says what to do."""
        ids = [new_id() for _ in range(3)]
        for event_id in ids:
            self.put(self.whole(100, event_id))
        letters = self.dump("in-dlt", 3)
        self.assertEqual({dict(one.headers)["sluice-dlt-reason"] for one in letters}, {b"database"})
        self.assertEqual(self.effects(), 0)

        self.put(letters[0].value, key=letters[0].key)
        until(
            lambda: self.running.metric("sluice_duplicates_total") == 1, lambda: f"a duplicate\n{self.running.text()}"
        )
        self.assertTrue(
            any(
                f"WARN  lane: event {ids[0]} on {self.name}.in became a dead letter before and is not handled" in line
                for line in self.running.log
            ),
            self.running.text(),
        )

        self.rows("ALTER TABLE effects DROP CONSTRAINT small; SELECT 1")
        for _ in range(2):
            for letter in letters:
                self.put(letter.value, letter.headers, letter.key)
        self.assertEqual({json.loads(one.value)["data"]["seq"] for one in self.dump("out", 3)}, {100})
        until(
            lambda: self.running.metric("sluice_duplicates_total") == 4,
            lambda: f"their duplicates\n{self.running.text()}",
        )
        self.assertEqual((self.effects(), len(self.dump("out", 3)), len(self.dump("in-dlt", 3))), (3, 3, 3))
        self.assertEqual(self.running.metric("sluice_replayed_total"), 3)
        rows = self.rows("SELECT outcome FROM sluice.inbox WHERE outcome <> 0")
        self.assertEqual(rows, [], "what is recorded is what became of it in the end")
        # Nobody replays them as well: that would be their effects twice.
        self.await_value("select count(*) from sluice.dead_letter where state = 0", 0)
        self.assertEqual(self.value("select count(*) from sluice.dead_letter where state = 1"), "3")

    def test_what_comes_in_goes_out(self):
        """Too large for a handler, or nearly so: the dead letter has all bytes of the one, the other is handled."""
        large, fits = self.whole(1), self.whole(2)
        large = large[:-1] + " " * 2500000 + "}"
        self.put(large)
        letter = self.dump("in-dlt", 1)[0]
        self.assertEqual((len(letter.value), letter.value[-2:]), (len(large), b" }"))
        self.assertEqual(dict(letter.headers)["sluice-dlt-reason"], b"too_large")
        self.put(fits[:-1] + " " * (1048400 - len(fits)) + "}")
        self.assertEqual(json.loads(self.dump("out", 1)[0].value)["data"]["seq"], 2)

    def test_values_of_other_programs_are_named(self):
        plain = self.whole(1)
        foreign = {
            "a schema registry's prefix (the byte 0, schema 7)": b"\0\0\0\0\x07" + plain.encode(),
            "a UTF-8 byte order mark (BOM)": b"\xef\xbb\xbf" + plain.encode(),
            "is UTF-16": plain.encode("utf-16"),
        }
        for number, (words, value) in enumerate(foreign.items(), 1):
            self.put(value)
            letter = dict(self.dump("in-dlt", number)[-1].headers)
            self.assertEqual(letter["sluice-dlt-reason"], b"bad_json")
            self.assertIn(words, letter["kafka_dlt-exception-message"].decode())


if __name__ == "__main__":
    unittest.main()
