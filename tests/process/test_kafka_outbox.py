#!/usr/bin/env python3
"""What is committed and must still be published, on Kafka: refused for good, left by a process that died, while the
brokers are down.

Run alone: python3 tests/process/test_kafka_outbox.py [-k NAME]
"""
import collections
import contextlib
import itertools
import json
import time
import unittest

import _path
from lib.engine import Engine, sluice, until
from lib.pipeline_case import CHAOS, reason
from lib.server_case import KafkaCase, PostgresCase

# One partition, so that a poll brings all that is there and a lane has it as one batch; "@" is a name that no other
# test has.
YAML = """\
pipeline: outbox
bus: {kind: kafka, partitions: 2, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}
store: {url: "${DATABASE_URL}"}
engine: {group: "@", lanes: 1, batch: {max_events: 50}, sweep_after: 500ms, drain_timeout: 1s}
plugins: {chaos: {library: "${CHAOS_SO}"}}
defaults: {dead_letter: "@.dlt"}
topics:
  @.in: {key: "{k}", partitions: 1, handler: chaos.act, routes: {ok: @.out, other: @.side}}
  @.out: {key: "{k}", final: true}
  @.side: {key: "{k}", final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
STORE = 'store: {url: "${DATABASE_URL}"}\n'
REQUESTS = """
  requests:
    "POST /payments": {handler: payment.accept, routes: {accepted: @.side}}
"""
LIMIT = 2000  # bytes that the topic of a test takes
TRY_NOW = "UPDATE sluice.outbox SET tried_at = null"  # an operator does not wait for the half minute


class Case(KafkaCase, PostgresCase):
    kafka_options = {"proxied": True}
    changes = ()  # of the pipeline

    def setUp(self):
        super().setUp()
        self.name = self.new_name("outbox")
        self.env = {"DATABASE_URL": self.url, "CHAOS_SO": str(CHAOS), **self.kafka.env()}
        self.config = self.folder / f"{self.name}.yaml"
        yaml = YAML
        for old, new in self.changes:
            self.assertIn(old, yaml)
            yaml = yaml.replace(old, new)
        self.config.write_text(yaml.replace("@", self.name))
        sluice("migrate", self.config, env=self.env)
        self.sent = itertools.count()
        self.engines = []
        self.addCleanup(lambda: [engine.kill() for engine in self.engines])

    @contextlib.contextmanager
    def cut_off(self):
        """No client of the brokers' reaches them; the test itself goes past the proxies."""
        for proxy in self.kafka.proxies.values():
            proxy.cut()
        try:
            yield
        finally:
            for proxy in self.kafka.proxies.values():
                proxy.mend()

    def topic(self, word):
        return f"{self.name}.{word}"

    def start(self, failpoints="", wait=True, **options):
        engine = Engine(self.config, {**self.env, "SLUICE_FAILPOINTS": failpoints}, **options)
        self.engines.append(engine)
        return engine.start(wait=wait)

    def send(self, count, keys=5, **data):
        """Events of keys k0, k1, …, each with its number in the order of all; returns the numbers."""
        numbers = [next(self.sent) for _ in range(count)]
        self.kafka.produce_many(
            self.topic("in"),
            [
                (
                    f"k{n % keys}",
                    json.dumps(
                        {"eventId": f"{self.name}-{n}", "data": {"k": f"k{n % keys}", "n": n, "mode": "ok", **data}}
                    ),
                )
                for n in numbers
            ],
        )
        return numbers

    def found(self, word="out"):
        """{key: numbers} in their order, each as often as it is there."""
        found = collections.defaultdict(list)
        for record in self.kafka.dump(self.topic(word)):
            found[record.key.decode()].append(json.loads(record.value)["data"]["n"])
        return found

    def numbers(self, word="out"):
        return sorted({number for numbers in self.found(word).values() for number in numbers})

    def await_numbers(self, numbers, word="out", limit_s=20.0):
        try:
            until(lambda: self.numbers(word) == sorted(numbers), f"{len(numbers)} events on {word}", limit_s, 0.05)
        except AssertionError as error:
            raise AssertionError(
                f"{error}; there are {self.numbers(word)}; the engine said\n{self.engines[-1].text()}"
            ) from None

    def value(self, query):
        return self.postgres.value(query, self.url)

    def rows(self):
        return int(self.value("SELECT count(*) FROM sluice.outbox"))

    def await_done(self, count):
        """The group's positions are past so many events: in Kafka, or in the database, which hears of them first."""
        recorded = f"SELECT partition, next FROM sluice.bus_position WHERE consumer_group = '{self.name}'"

        def done():
            places = dict(self.kafka.committed(self.name).get(self.topic("in"), {}))
            for partition, offset in (
                self.postgres.query(recorded, self.url) if STORE in self.config.read_text() else ()
            ):
                places[int(partition)] = max(places.get(int(partition), 0), int(offset))
            return sum(places.values())

        try:
            until(lambda: done() == count, f"a position of {count}", step_s=0.05)
        except AssertionError as error:
            raise AssertionError(
                f"{error}; it is {self.kafka.committed(self.name)}; the engine said\n{self.engines[-1].text()}"
            ) from None

    def await_metric(self, engine, name, wanted):
        until(lambda: engine.metric(name) == wanted, f"{name} to be {wanted}")


class RefusedForGood(Case):
    def limit(self, word, size):
        self.kafka.alter_topic_config(self.topic(word), {"max.message.bytes": size})

    def delete(self, word):
        self.kafka.delete_topic(self.topic(word))
        until(lambda: self.topic(word) not in self.kafka.topics(), "the end of a topic")

    def one_stays(self, engine, others, words):
        """Of one batch: everything but one output is out, which is in the outbox with the brokers' words, and nothing
        waits for it."""
        self.await_numbers(others)
        until(lambda: self.value("SELECT count(refused) FROM sluice.outbox") == "1", "the refused one")
        self.assertEqual(self.rows(), 1)
        self.assertRegex(self.value("SELECT refused FROM sluice.outbox"), words)
        self.assertLess(int(self.value("SELECT length(batch) FROM sluice.outbox")), 2 * LIMIT + 1000)  # it alone
        self.assertTrue(
            [line for line in engine.log if " ERROR " in line and "1 outputs stay in sluice.outbox" in line],
            engine.text(),
        )
        more = self.send(10)
        self.await_numbers([*others, *more])
        self.await_done(next(self.sent))

    def published_by_itself(self, engine, word, numbers):
        def published():
            self.value(TRY_NOW + " RETURNING id")
            return self.rows() == 0

        self.assertFalse([line for line in engine.log if "not published by their process" in line], engine.text())
        until(published, "an empty outbox", step_s=0.5)
        self.assertEqual(self.numbers(word), numbers)
        until(
            lambda: [
                line
                for line in list(engine.log)
                if "published 1 batches that were committed and not published by their process" in line
            ],
            "its word",
        )

    def test_too_large(self):
        self.limit("out", LIMIT)
        others = self.send(8)
        large = self.send(1, pad="x" * 2 * LIMIT)
        others += self.send(8)
        engine = self.start()
        self.one_stays(engine, others, rf'a record for "{self.topic("out")}" is refused by the brokers: .*too large')
        self.await_metric(engine, "sluice_outbox_refused", 1)
        before = self.value("SELECT tried_at FROM sluice.outbox")
        self.value(TRY_NOW + " RETURNING id")  # refused again, it waits again
        until(lambda: self.value(f"SELECT tried_at > '{before}' FROM sluice.outbox") == "t", "another try")
        self.assertNotIn(large[0], self.numbers())
        self.limit("out", None)
        self.published_by_itself(engine, "out", [*range(27)])
        self.await_metric(engine, "sluice_outbox_refused", 0)
        self.assertEqual(engine.stop(), 0)

    def test_topic_deleted(self):
        engine = self.start()
        self.await_numbers(self.send(1, mode="other"), "side")  # its producer knows the topic
        self.delete("side")
        others = self.send(8)
        self.send(1, mode="other")
        self.one_stays(
            engine, others, rf'a record for "{self.topic("side")}" is refused by the brokers: .*[Uu]nknown topic'
        )
        self.assertNotIn(self.topic("side"), self.kafka.topics())
        sluice("migrate", self.config, env=self.env)
        self.published_by_itself(engine, "side", [9])
        self.assertEqual(engine.stop(), 0)


class WithoutStore(Case):
    changes = ((STORE, ""), ("engine: {", "engine: {from: earliest, "))  # nobody knows who has read what is there

    def condemned(self):
        """{number: reason} of the dead letters."""
        records = sluice(
            "tap", self.config, self.topic("dlt"), "--no-follow", "--json", env=self.env
        ).stdout.splitlines()
        return {json.loads(record["value"])["data"]["n"]: reason(record) for record in map(json.loads, records)}

    def test_the_event_becomes_a_dead_letter(self):
        self.kafka.alter_topic_config(self.topic("out"), {"max.message.bytes": LIMIT})
        others = self.send(8)
        (large,) = self.send(1, pad="x" * 2 * LIMIT)
        others += self.send(8)
        engine = self.start()
        self.await_done(17)
        self.assertEqual(self.condemned(), {large: "bad_output"})
        self.assertEqual(self.numbers(), others)
        self.await_numbers(self.send(1, mode="other"), "side")
        self.kafka.delete_topic(self.topic("side"))
        until(lambda: self.topic("side") not in self.kafka.topics(), "the end of a topic")
        (lost,) = self.send(1, mode="other")
        others += self.send(5)
        self.await_done(24)
        self.assertEqual(self.condemned(), {large: "bad_output", lost: "bad_output"})
        self.assertEqual(self.numbers(), others)
        self.assertEqual(engine.stop(), 0)


class Order(Case):
    changes = (
        ("lanes: 1, batch: {max_events: 50}, sweep_after: 500ms", "lanes: 2, batch: {max_events: 20}, sweep_after: 2s"),
    )

    def in_order(self, count, keys):
        """First appearances of a key's outputs are in the order of its events, and none is missing."""
        for key, numbers in self.found().items():
            first = list(dict.fromkeys(numbers))
            self.assertEqual(first, sorted(first), key)
        self.assertEqual(self.numbers(), list(range(count)))
        self.assertEqual(len(self.found()), keys)

    def test_what_a_dead_process_committed_comes_first(self):
        self.send(300, keys=7)
        dead = self.start("lane.emit.before=crash@2", wait=False, args=["--single-process"])
        self.assertEqual(dead.process.wait(60), -9)
        self.assertGreater(self.rows(), 0)
        left, out = int(self.value("SELECT count(*) FROM sluice.inbox")), len(self.numbers())
        self.assertGreater(left, out, "nothing was committed and unpublished: the test shows nothing")
        self.start()
        self.await_done(300)
        until(lambda: self.rows() == 0, "an empty outbox")
        self.in_order(300, 7)


class Idle(Case):
    def test_rows_vanish_and_nothing_comes_twice(self):
        """Of an engine with nothing else to do; its sweeper looks every second, and takes what is half a second old."""
        self.start()
        sent = []
        for _ in range(20):
            sent += self.send(3)
            self.await_numbers(sent)
            until(lambda: self.rows() == 0, "an empty outbox")
        self.assertEqual(sorted(number for numbers in self.found().values() for number in numbers), sent)

    def test_the_sweeper_leaves_what_a_living_lane_has(self):
        """Rows that are older than sweep_after, and in work: published by their lane alone."""
        self.start("lane.emit.after=delay:2500")
        sent = self.send(5)
        self.await_numbers(sent)
        until(lambda: self.rows() == 0, "an empty outbox")
        self.assertEqual(sorted(number for numbers in self.found().values() for number in numbers), sent)


class Lag(Case):
    def test_metric(self):
        """Of a group without an offset: all that is there."""
        self.send(50)
        with self.postgres.locked("sluice.inbox", self.url):
            engine = self.start()
            until(lambda: engine.metric("sluice_lag") == 50, f"a lag of 50, of {engine.metric('sluice_lag')}")
        until(lambda: engine.metric("sluice_lag") == 0, f"no lag, of {engine.metric('sluice_lag')}", 30)


class Requests(Case):
    changes = (
        ("plugins: {", "plugins: {payment: {library: payment.so}, reservation: {library: reservation.so}, "),
        ("topics:\n", 'topics:\n  @.paid: {key: "{userId}", final: true}\n'),
        (
            '127.0.0.1:0}"}',
            '127.0.0.1:0}", requests: {"POST /payments": {handler: payment.accept, routes: {accepted: @.paid}}}}',
        ),
    )

    def test_answered_without_brokers(self):
        """Accepted is what is committed; it is published when the brokers are back, once."""
        self.postgres.query(
            "INSERT INTO users SELECT g, 1000 FROM generate_series(1, 9) g; INSERT INTO reservations (id, user_id,"
            " seat_id, purchase_price) SELECT g, g, g, 100 FROM generate_series(1, 9) g; INSERT INTO payment_tokens"
            " SELECT 'token-' || g, g FROM generate_series(1, 9) g",
            self.url,
        )
        engine = self.start()
        until(lambda: [line for line in list(engine.log) if "partitions assigned" in line], "the assignment")

        def pay(number, limit_s=5):
            began = time.monotonic()
            status, answer = engine.request(
                "POST",
                "/payments",
                {
                    "userId": number,
                    "reservationId": number,
                    "paymentTxId": f"tx-{number}",
                    "paymentToken": f"token-{number}",
                },
            )
            self.assertEqual(status, 202, answer)
            self.assertLess(time.monotonic() - began, limit_s)

        def paid():
            return sorted(
                json.loads(record.value)["data"]["paymentTxId"] for record in self.kafka.dump(self.topic("paid"))
            )

        pay(1)
        until(lambda: paid() == ["tx-1"], "the first")
        with self.cut_off():
            pay(2, 2)  # the answer does not wait for the brokers; who comes next may, once, for its lane
            for number in range(3, 10):
                pay(number)
            self.assertEqual(paid(), ["tx-1"])
        until(
            lambda: sorted(set(paid())) == [f"tx-{number}" for number in range(1, 10)], "all that was accepted", 30, 0.1
        )
        until(lambda: self.rows() == 0, "an empty outbox")
        self.assertEqual(engine.stop(), 0)


class Stop(Case):
    changes = (("lanes: 1", "lanes: 4"), ("partitions: 1", "partitions: 4"))

    def test_without_brokers(self):
        """SIGTERM while outputs are committed and not out, and other events wait: it ends soon, and a restart publishes
        all."""
        engine = self.start("lane.emit.before=delay:300")
        sent = self.send(400, keys=20)
        until(lambda: self.rows() > 0, "something committed and not out", step_s=0.002)
        with self.cut_off():
            until(lambda: engine.metric("sluice_outbox_oldest_seconds") >= 1, "outputs that wait")
            began = time.monotonic()
            self.assertIn(engine.stop(), (0, 1), engine.text())
            took = time.monotonic() - began
            self.assertLess(took, 1 + 8, engine.text())
            self.assertGreater(self.rows(), 0)
        self.assertNotEqual(self.numbers(), sent)
        self.start()
        self.await_numbers(sent)
        self.await_done(len(sent))


if __name__ == "__main__":
    unittest.main()
