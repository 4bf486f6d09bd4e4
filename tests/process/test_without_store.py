#!/usr/bin/env python3
"""Pipelines without a store: routes with several topics and with delays, and retry ladders. What waits is in memory,
and nothing behind it waits: neither its key nor, however much it is, what is read."""
import collections
import json
import unittest

import _path  # noqa: F401
from lib.engine import BUILD, Engine, sluice, until
from lib.server_case import KafkaCase, ServerCase

CHAOS = BUILD / "tests/plugins/chaos.so"
YAML = """
pipeline: @
bus: {kind: BUS}
engine: {lanes: 2, batch: {max_events: 50}}
plugins: {chaos: {library: "${CHAOS_SO}"}}
defaults: {dead_letter: "{topic}-dlt"}
topics:
  @.in: {key: "{k}", handler: chaos.act, routes: {ok: [@.now, {topic: @.later, delay: DELAY}, @.other], other: @.climb}}
  @.now: {final: true}
  @.other: {key: "{mode}", final: true}
  @.later: {key: "{k}", handler: chaos.act, routes: {ok: @.done, other: drop}}
  @.climb:
    key: "{k}"
    handler: chaos.act
    routes: {ok: @.done, other: {retry: @.again, initial_interval: DELAY, max_retries: 1, exhausted: @.done}}
  @.done: {final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
KAFKA = 'kafka, partitions: 2, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}'
FLOWS = """
pipeline: pipeline.yaml
tests:
  - name: an event each, and the delayed one later, which its key does not wait for
    steps:
      - emit: {topic: m.in, data: {k: a, mode: x}}
        expect: {events: [m.in, m.now, m.later, m.other]}
      - emit: {topic: m.in, data: {k: a, mode: x}}
        expect: {events: [m.in, m.now, m.later, m.other]}
      - advance: 599s
        expect: {events: []}
      - advance: 1s
        expect: {events: [m.done, m.done]}
  - name: nor for a step of a ladder
    steps:
      - emit: {topic: m.climb, data: {k: a, mode: other}}
        expect: {events: [m.climb, m.again]}
      - emit: {topic: m.climb, data: {k: a, mode: x}}
        expect: {events: [m.climb, m.done]}
      - advance: 10m
        expect: {events: [m.done]}
"""
WAIT_S = 90.0


class Memory(ServerCase):
    def test_flows(self):
        text = YAML.replace("@", "m").replace("BUS", "memory").replace("DELAY", "10m")
        (self.folder / "pipeline.yaml").write_text(text)
        (self.folder / "tests.yaml").write_text(FLOWS)
        done = sluice("test", self.folder / "tests.yaml", env={"CHAOS_SO": str(CHAOS)}, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Kafka(KafkaCase):
    def begin(self, delay):
        self.name = self.new_name("without")
        self.config = self.folder / "pipeline.yaml"
        self.env = {"CHAOS_SO": str(CHAOS), **self.kafka.env()}
        self.config.write_text(YAML.replace("@", self.name).replace("BUS", KAFKA).replace("DELAY", delay))
        sluice("migrate", self.config, env=self.env)

    def engine(self):
        engine = Engine(self.config, self.env)
        self.addCleanup(engine.kill)
        return engine.start()

    def send(self, topic, ids, mode="ok"):
        values = [(f"k{n % 7}", {"eventId": name, "data": {"k": f"k{n % 7}", "mode": mode}}) for n, name in ids]
        self.kafka.produce_many(f"{self.name}.{topic}", [(key, json.dumps(value)) for key, value in values])

    def parents(self, topic):
        """How often each parent's event is on a topic."""
        return collections.Counter(
            dict(record.headers)["sluice-parent"].decode() for record in self.kafka.dump(f"{self.name}.{topic}")
        )

    def await_parents(self, topic, count):
        until(lambda: len(self.parents(topic)) >= count, f"{count} events on {topic}", WAIT_S, 0.2)
        return self.parents(topic)

    def lag(self):
        ends = {n: self.kafka.end_offsets(f"{self.name}.{n}") for n in ("in", "later", "climb", "again")}
        committed = self.kafka.committed(self.name)
        return sum(
            end - committed.get(f"{self.name}.{topic}", {}).get(partition, 0)
            for topic, parts in ends.items()
            for partition, end in parts.items()
        )

    def test_more_than_is_read_at_once(self):
        """Ten times as many events of few keys wait as are in flight at most, and the rest goes on."""
        self.begin("1h")
        engine = self.engine()
        self.send("in", [(n, f"e{n}") for n in range(20000)])
        self.assertEqual(set(self.await_parents("now", 20000).values()), {1})
        until(lambda: len(self.parents("other")) == 20000, "the others", WAIT_S, 0.2)
        self.send("climb", [(n, f"up{n}") for n in range(10)], "other")
        self.send("climb", [(n, f"end{n}") for n in range(10)])
        self.assertEqual(set(self.await_parents("done", 10)), {f"end{n}" for n in range(10)})
        self.assertEqual(len(self.await_parents("again", 10)), 10)
        self.assertEqual(engine.stop(), 0)  # what waits keeps it from nothing

    def test_kills_and_a_stop(self):
        """What waits is not committed: it comes again, and is due when it always was."""
        self.begin("4s")
        for number in range(3):
            engine = self.engine()
            self.send("in", [(n, f"e{number}-{n}") for n in range(30)])
            self.send("climb", [(n, f"up{number}-{n}") for n in range(30)], "other")
            self.await_parents("later", 30 * (number + 1))
            self.await_parents("again", 30 * (number + 1))
            self.assertGreater(self.lag(), 0)
            if number < 2:
                engine.kill()
            else:
                self.assertEqual(engine.stop(), 0)
        self.engine()
        due = {}
        for topic in ("later", "again"):
            for record in self.kafka.dump(f"{self.name}.{topic}"):
                event = json.loads(record.value)
                due[event["eventId"]] = int(dict(record.headers)["sluice-not-before"])
        done = self.await_parents("done", len(due))
        self.assertEqual(set(done), set(due))
        for record in self.kafka.dump(f"{self.name}.done"):
            self.assertGreaterEqual(record.timestamp + 5, due[dict(record.headers)["sluice-parent"].decode()])
        until(lambda: self.lag() == 0, "every position", WAIT_S, 0.2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
