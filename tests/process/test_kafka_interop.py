#!/usr/bin/env python3
"""Other programs on the same topics: what Java's clients write is read, and what we emit is what they expect of keys,
headers and ids.

Run alone: python3 tests/process/test_kafka_interop.py [-k NAME]. The page is docs/events.md.
"""
import datetime
import json
import re
import time
import unittest
import uuid

import _path
from chaos.wire import derive, hash128
from lib.engine import until
from lib.pipeline_case import PipelineCase, new_id
from lib.server_case import KafkaCase

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def cloudevent_of(record):
    """An event in binary mode as the binding tells a consumer to read it, attributes and data."""
    names = [name for name, _ in record.headers]
    attributes = {name: value.decode() for name, value in record.headers if name.startswith("ce_")}
    if len(set(names)) != len(names) or attributes.get("ce_specversion") != "1.0":
        raise AssertionError(f"no CloudEvent 1.0: {record.headers}")
    for name, value in attributes.items():
        if not re.fullmatch("ce_[a-z0-9]{1,20}", name) or not value:
            raise AssertionError(f"no attribute: {name}: {value!r}")
    event = {name[3:]: value for name, value in attributes.items()}
    kind = dict(record.headers)["content-type"].decode()
    if kind.startswith("application/cloudevents"):
        raise AssertionError("structured mode")
    return event | {"datacontenttype": kind, "data": json.loads(record.value)}


class Interop(PipelineCase, KafkaCase):
    text = """
pipeline: interop
bus: {kind: kafka, partitions: 6, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}
store: {url: "${DATABASE_URL}"}
engine: {group: NAME%s}
plugins: {effects: {library: "${EFFECTS_SO}"}}
topics:
  NAME.in: {key: "{k}", handler: effects.record, routes: {
    done: NAME.out, again: {retry: NAME.again, max_retries: 3, exhausted: NAME.out}}}
  NAME.out: {key: "{k}", final: true}
  NAME.stop: {key: "{k}"}
chains:
  one: {correlate: origin, steps: [{name: only, done: NAME.out, undo: none}], abort_on: [NAME.stop]}
"""

    def begin(self, more=""):
        self.vars.update(self.kafka.env())
        self.name = f"i{uuid.uuid4().hex[:8]}"
        self.rows(
            "CREATE TABLE effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
            " unity bigint)"
        )
        self.use(self.text.replace("NAME", self.name) % more)
        self.engine()

    def put(self, value, headers=(), key=b"k1", topic="in"):
        return self.kafka.produce(f"{self.name}.{topic}", key, value, headers=list(headers))

    def out(self, count, topic="out"):
        until(lambda: len(self.kafka.dump(f"{self.name}.{topic}")) >= count, f"{count} records on {topic}", 20)
        return self.kafka.dump(f"{self.name}.{topic}")

    @staticmethod
    def headers(record):
        return {name: value.decode() for name, value in record.headers}

    def test_each_form_is_read_and_answered_alike(self):
        self.begin()
        data = {"k": "k1", "origin": "o1", "seq": 1}
        forms = {
            "ours": (json.dumps({"eventId": new_id(), "eventName": "x", "data": data}), []),
            "structured": (
                json.dumps({"specversion": "1.0", "id": new_id(), "type": "x", "source": "/java", "data": data}),
                [("content-type", b"application/cloudevents+json; charset=UTF-8")],
            ),
            "binary": (
                json.dumps(data),
                [
                    ("ce_specversion", b"1.0"),
                    ("ce_id", new_id().encode()),
                    ("ce_type", b"x"),
                    ("ce_source", b"/java"),
                    ("content-type", b"application/json"),
                ],
            ),
        }
        ids = {
            "ours": json.loads(forms["ours"][0])["eventId"],
            "structured": json.loads(forms["structured"][0])["id"],
            "binary": dict(forms["binary"][1])["ce_id"].decode(),
        }
        for number, (form, (value, headers)) in enumerate(forms.items()):
            with self.subTest(form=form):
                self.put(value.encode(), headers + [("traceparent", TRACE.encode()), ("shop", b"\xff\x00any")])
                record = self.out(number + 1)[-1]
                emitted, named = json.loads(record.value), self.headers(record)
                parent = ids[form]
                self.assertEqual(emitted["eventId"], derive(parent, "effects.record", "done"))
                self.assertEqual((emitted["eventName"], emitted["data"]["origin"]), (f"{self.name}.out", "o1"))
                self.assertEqual(
                    (named["sluice-parent"], named["sluice-hops"], named["sluice-correlation"]), (parent, "1", "o1")
                )
                self.assertEqual(named["traceparent"][:36], TRACE[:36], "the trace goes on")
                span = bytearray(hash128(emitted["eventId"].encode())[:8])
                span[7] |= 1
                self.assertEqual(named["traceparent"], f"00-{TRACE[3:35]}-{span.hex()}-01")
                self.assertEqual(
                    [name for name, _ in record.headers if name.startswith("ce_") or name == "content-type"], []
                )
                self.assertEqual(record.key, b"k1")
        self.assertEqual(self.value("SELECT count(*) FROM effects"), "3")

    def test_cloudevents_are_emitted_as_their_binding_says(self):
        self.begin(", event_format: cloudevents")
        self.put(json.dumps({"eventId": new_id(), "data": {"k": "k1", "origin": "o", "seq": 1}}).encode())
        record = self.out(1)[0]
        event = json.loads(record.value)
        self.assertEqual(self.headers(record)["content-type"], "application/cloudevents+json; charset=UTF-8")
        self.assertEqual((event["specversion"], event["type"], event["data"]["k"]), ("1.0", f"{self.name}.out", "k1"))
        self.assertEqual([name for name in ("id", "source", "time") if not event.get(name)], [])

    def test_binary_cloudevents_are_emitted_as_their_binding_says(self):
        """Kafka Protocol Binding for CloudEvents 1.0, 3.2; what climbs a retry ladder is read by the engine again."""
        self.begin(", event_format: cloudevents_binary")
        sent = new_id()
        data = {"k": "k1", "origin": "o-\u00e9", "seq": 1, "climb": 1}
        self.put(json.dumps({"eventId": sent, "data": data}).encode(), [("traceparent", TRACE.encode())])
        step, last = self.out(1, "again")[0], self.out(1)[0]
        first = derive(sent, "effects.record", "again")
        end = derive(first, "effects.record", "done")
        for record, wanted, topic in ((step, first, "again"), (last, end, "out")):
            with self.subTest(topic=topic):
                event = cloudevent_of(record)
                self.assertEqual(
                    {name: event[name] for name in ("id", "source", "type", "datacontenttype")},
                    {
                        "id": wanted,
                        "source": "/sluice",
                        "type": f"{self.name}.{topic}",
                        "datacontenttype": "application/json",
                    },
                )
                at = datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
                self.assertLess(abs((datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()), 300)
                self.assertEqual((event["data"]["k"], event["data"]["origin"]), ("k1", "o-\u00e9"))
                self.assertEqual(self.headers(record)["sluice-correlation"], "o-\u00e9")

    def test_a_key_has_the_partition_that_java_gives_it(self):
        """Else an event that a Java program writes and one of ours would not be in one order."""
        self.begin()
        wanted = {}
        for number in range(60):
            key = f"key-{number}-é"
            wanted[key], _ = self.put(
                json.dumps({"eventId": new_id(), "data": {"k": key, "origin": f"o{number}", "seq": 1}}).encode(),
                key=key.encode(),
            )
        found = {record.key.decode(): record.partition for record in self.out(60)}
        self.assertEqual(found, wanted)
        self.assertEqual(len(set(wanted.values())), 6, "the keys are no test if they share partitions")

    def test_what_cannot_be_kept_is_a_dead_letter(self):
        """Where events wait, a header's value has two bytes for its length and its name has one: nobody may stand still
        for more."""
        self.begin()
        past, huge = str(int(time.time() * 1000) + 1500).encode(), b"v" * 65535

        def event(seq):
            return json.dumps(
                {"eventId": new_id(), "data": {"k": "k1", "origin": f"o{seq}", "seq": seq, "retryCount": 1}}
            )

        self.put(event(1), [("h", huge)])
        self.put(event(2), [("n" * 256, b"v")])
        self.put(event(3), key=b"k" * 65535)
        self.put('{"torn', [("h", huge)])
        self.put(event(5), [("sluice-parent", b"p")] * 250)
        self.put(event(6), [("sluice-not-before", past), ("h", huge)], topic="again")
        self.put(event(7), [("fits", b"v" * 65534), ("n" * 255, b"v")])
        self.put(event(8), [("sluice-not-before", past), ("fits", b"v" * 65534)], topic="again")
        self.assertEqual(sorted(json.loads(record.value)["data"]["seq"] for record in self.out(2)), [7, 8])
        letters = [dict(record.headers) for record in self.out(5, "in-dlt") + self.out(1, "again-dlt")]
        self.assertEqual([letter["sluice-dlt-reason"] for letter in letters], [b"too_large"] * 6)
        self.assertEqual(self.rows("SELECT count(*) FROM sluice.parked"), [["0"]])

    def test_a_dead_letter_says_where_it_came_from(self):
        self.begin()
        headers = [("ce_id", b"x y"), ("ce_specversion", b"1.0"), ("mine", b"\x00\xff")]
        partition, offset = self.put(b'{"k":', headers, key=b"raw\x00key")
        record = self.out(1, "in-dlt")[0]
        named = dict(record.headers)
        self.assertEqual((record.key, record.value), (b"raw\x00key", b'{"k":'))
        self.assertEqual(record.headers[:3], headers, "what it came with comes first, unchanged")
        self.assertEqual(
            (
                named["kafka_dlt-original-topic"],
                named["kafka_dlt-original-partition"],
                named["kafka_dlt-original-offset"],
            ),
            (f"{self.name}.in".encode(), str(partition).encode(), str(offset).encode()),
        )
        self.assertEqual(named["sluice-dlt-reason"], b"bad_id")
        self.assertIn(b"ce_id", named["kafka_dlt-exception-message"])

    def test_a_tombstone_and_a_foreign_event_stop_nobody(self):
        self.begin()
        self.put(None)
        self.put(b"not json at all", key=None)
        self.put(json.dumps({"eventId": new_id(), "data": {"k": "k1", "origin": "good", "seq": 1}}).encode())
        self.assertEqual(json.loads(self.out(1)[0].value)["data"]["origin"], "good")
        self.assertEqual(
            sorted(dict(record.headers)["sluice-dlt-reason"] for record in self.out(2, "in-dlt")),
            [b"bad_json", b"not_object"],
        )

    def test_aborted_transactions_and_their_markers_hold_nothing_up(self):
        self.begin()
        records = [
            (b"k1", json.dumps({"eventId": new_id(), "data": {"k": "k1", "origin": f"t{n}", "seq": 1}}).encode())
            for n in range(5)
        ]
        self.kafka.produce_transaction(f"{self.name}.in", records[:2], commit=False)
        self.kafka.produce_transaction(f"{self.name}.in", records[2:], commit=True)
        self.assertEqual([json.loads(record.value)["data"]["origin"] for record in self.out(3)], ["t2", "t3", "t4"])
        until(lambda: self.lag() == 0, "the offsets to pass what was aborted, and the markers", 20)

    def lag(self):
        """Of the records that are there for a reader; a marker at the end is none."""
        topic = f"{self.name}.in"
        committed = self.kafka.committed(self.name).get(topic, {})
        return sum(max(0, record.offset + 1 - committed.get(record.partition, 0)) for record in self.kafka.dump(topic))


if __name__ == "__main__":
    unittest.main(verbosity=2)
