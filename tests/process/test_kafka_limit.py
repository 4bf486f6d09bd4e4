#!/usr/bin/env python3
"""Limits and breakers on Kafka, each over two processes: keys keep their order, no try is counted, nothing is lost.

Run alone: python3 tests/process/test_kafka_limit.py [-k NAME].
"""
import unittest

import _path
from lib.engine import BUILD, until
from lib.server_case import KafkaCase
from limit_case import AT_ONCE, SLEEPING, TABLE, LimitCase
from test_breaker import BREAKER, Target

YAML = """
pipeline: NAME
bus: {kind: kafka, partitions: 4, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}
store: {url: "${DATABASE_URL}"}
engine: {group: NAME, lanes: 2, batch: {max_events: 50}}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
plugins:
  data_platform: {library: "${PLATFORM_SO}", settings: {url: "${TARGET}", timeout: 2s}}
  effects: {library: "${EFFECTS_SO}"}
dependencies: {gateway: {failures: 8, window: 10s, open: 2s}}
topics:
  NAME-rate: {key: "{k}", handler: effects.record, limit: {rate: 100/s}, routes: {done: drop, again: drop}}
  NAME-few: {key: "{k}", handler: effects.record, limit: {concurrency: 3}, routes: {done: drop, again: drop}}
  NAME-sent: {key: "{k}", handler: data_platform.send, dependency: gateway, routes: {sent: drop}}
  NAME-side: {key: "{k}", handler: effects.record, routes: {done: drop, again: drop}}
"""


class Limits(KafkaCase, LimitCase):
    def setUp(self):
        super().setUp()
        self.target = Target()
        self.addCleanup(self.target.server_close)
        self.addCleanup(self.target.shutdown)
        self.vars.update(
            self.kafka.env(),
            PLATFORM_SO=str(BUILD / "plugins/data_platform.so"),
            TARGET=f"http://127.0.0.1:{self.target.server_port}/",
        )
        self.name = self.new_name("limit")
        self.use(YAML.replace("NAME", self.name))

    def both(self):
        """Two processes, each with partitions."""
        first, second = self.engine(), self.engine()
        until(
            lambda: all(engine.metric("sluice_partitions") > 0 for engine in (first, second)),
            "partitions for both",
            60,
        )
        return first, second

    def send_times(self, topic, keys, times):
        for _ in range(times):
            self.send(f"{self.name}-{topic}", keys)

    def await_handled(self, count):
        self.await_value("SELECT count(*) FROM effects", count, 120)
        self.await_value("SELECT count(*) FROM sluice.held", 0, 30)
        self.in_order()
        self.nothing_counted()

    def nothing_counted(self):
        self.assertEqual(self.value("SELECT count(*) FROM sluice.attempt"), "0")
        self.assertEqual(self.value("SELECT count(*) FROM sluice.dead_letter"), "0")

    def test_a_rate(self):
        """Never more than the slots that there were, though a process is killed; and all of them are used."""
        self.rows(TABLE)
        first, second = self.both()
        self.send_times("rate", [f"k{n}" for n in range(40)], 10)
        self.send_times("side", ["s"], 5)
        self.await_value("SELECT count(*) FROM effects WHERE k = 's'", 5, 60)
        until(lambda: int(self.value("SELECT count(*) FROM effects")) > 150, "the first ones", 60)
        second.kill()
        self.await_handled(405)
        limited = "FROM effects WHERE k <> 's'"
        span = float(self.value(f"SELECT extract(epoch FROM max(at) - min(at)) {limited}"))
        self.assertLessEqual(400, 100 * span + 4)
        over = (
            "SELECT max(n) FROM (SELECT count(*) OVER (ORDER BY at RANGE BETWEEN '1 s' PRECEDING AND CURRENT ROW)"
            f" AS n {limited}) x"
        )
        self.assertLessEqual(int(self.value(over)), 202, "slots of one second, and of one that a lane was late")
        self.assertEqual(first.stop(), 0)

    def test_at_once(self):
        self.rows(SLEEPING)
        first, second = self.both()
        self.send_times("few", [f"k{n}" for n in range(40)], 5)
        until(lambda: int(self.value("SELECT count(*) FROM effects")) > 30, "the first ones", 60)
        second.kill()
        self.await_handled(200)
        self.assertEqual(int(self.value(AT_ONCE.format(where="true", value="1"))), 3)
        self.assertEqual(first.stop(), 0)

    def test_a_breaker(self):
        """It opens over both, lets one request through each time that it is half-open, and closes."""
        self.rows(TABLE)
        first, second = self.both()
        keys = [f"k{n}" for n in range(40)]
        self.send_times("sent", keys, 2)
        state = 'sluice_dependency_state{dependency="gateway"}'
        for engine in (first, second):
            until(lambda: engine.metric(state) == 2, "an open breaker", 60)
        self.send_times("side", ["s"], 3)
        self.await_value("SELECT count(*) FROM effects WHERE k = 's'", 3, 60)
        self.await_value("SELECT count(DISTINCT event_id) FROM sluice.held", 80, 60)
        query = "SELECT until FROM sluice.pause WHERE kind = 'breaker'"
        until_, before = self.value(query), self.target.requests
        for turn in range(2):
            until(lambda: self.value(query) != until_, "the breaker to open once more", 60, 0.05)
            until_ = self.value(query)
            self.assertEqual(self.target.requests, before + turn + 1)
        self.target.away = False
        until(lambda: len(self.target.taken) == 80, "all events at the target", 60)
        for engine in (first, second):
            until(lambda: engine.metric(state) == 0, "a closed breaker", 60)
        for k in keys:
            self.assertEqual([seq for key, seq in self.target.taken if key == k], [1, 2], k)
        self.await_value("SELECT count(*) FROM sluice.held", 0, 30)
        self.assertEqual(self.value(BREAKER), "0")
        self.nothing_counted()
        self.assertEqual([first.stop(), second.stop()], [0, 0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
