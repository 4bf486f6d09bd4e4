#!/usr/bin/env python3
"""A position is how much of the log was consumed: what transactions leave in it beside records counts, on Kafka and in
the store; and a partition whose next record was deleted stands still where everybody sees it.

Run alone: python3 tests/process/test_kafka_positions.py.
"""
import json
import unittest

import _path
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase
from lib.server_case import KafkaCase

YAML = """\
pipeline: positions
bus: {kind: kafka, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}
store: {url: "${DATABASE_URL}"}
engine: {group: "@", lanes: 2, batch: {max_events: 1}}
plugins: {chaos: {library: "${CHAOS_SO}"}}
topics:
  @.in: {partitions: 2, handler: chaos.act, routes: {ok: drop, other: drop}}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
NO_STORE = (('store: {url: "${DATABASE_URL}"}\n', ""),)


class Case(KafkaCase, PipelineCase):
    def setUp(self):
        super().setUp()
        self.name = self.new_name("positions")
        self.topic_name = f"{self.name}.in"
        self.vars.update(self.kafka.env())

    def pipeline(self, *changes):
        yaml = YAML
        for old, new in changes:
            self.assertIn(old, yaml)
            yaml = yaml.replace(old, new)
        self.store = "store:" in yaml
        self.use(yaml.replace("@", self.name))
        return self.engine()

    def event(self, mode="ok", **data):
        return json.dumps(PipelineCase.event({"mode": mode, **data}))

    def transaction(self, *modes, commit=True):
        """One record a partition for each mode."""
        records = [{"key": b"k", "value": self.event(mode), "partition": p} for mode in modes for p in (0, 1)]
        self.kafka.produce_transaction(self.topic_name, records, commit=commit, transactional=self.name)

    def committed(self):
        return self.kafka.committed(self.name).get(self.topic_name, {})

    def recorded(self):
        if not self.store:
            return self.committed()
        rows = self.rows(f"SELECT partition, next FROM sluice.bus_position WHERE topic = '{self.topic_name}'")
        return {int(partition): int(offset) for partition, offset in rows}

    def consumed(self, engine, ends, limit_s=20):
        """Everywhere that positions are kept, and nothing is said to wait."""
        until(
            lambda: self.committed() == ends and self.recorded() == ends,
            lambda: f"positions {ends}; there are {self.committed()} and {self.recorded()}\n{engine.text()}",
            limit_s,
            0.1,
        )
        until(lambda: engine.metric("sluice_lag") == 0, lambda: f"no lag\n{engine.text()}", 30, 0.1)

    def consumed_up_to(self, engine, offsets):
        until(
            lambda: self.committed() == offsets and self.recorded() == offsets,
            lambda: f"positions {offsets}; there are {self.committed()} and {self.recorded()}\n{engine.text()}",
            20,
            0.1,
        )

    def delete_all(self):
        ends = self.kafka.end_offsets(self.topic_name)
        for partition, end in ends.items():
            self.kafka.delete_records(self.topic_name, partition, end)
        self.assertEqual(self.kafka.begin_offsets(self.topic_name), ends)

    def handled(self, engine):
        return engine.metric("sluice_events_total") or 0


class Transactions(Case):
    def ends_consumed(self, *changes):
        engine = self.pipeline(*changes)
        self.transaction("ok", "ok")
        self.consumed(engine, {0: 3, 1: 3})
        self.transaction("ok", "ok", "ok", commit=False)
        self.consumed(engine, {0: 7, 1: 7})
        self.assertEqual(self.handled(engine), 4)
        return engine

    def goes_on(self, *engines):
        self.delete_all()
        self.transaction("ok", "ok")
        until(
            lambda: sum(map(self.handled, engines)) == 4,
            "new events\n" + "\n".join(engine.text() for engine in engines),
            30,
            0.1,
        )
        self.consumed(engines[0], {0: 10, 1: 10})
        self.assertFalse([line for engine in engines for line in engine.log if " ERROR " in line])

    def test_retention_of_what_was_consumed_is_no_loss(self):
        """After a restart: nothing was deleted unread."""
        for changes in ((), NO_STORE):
            with self.subTest(store=not changes):
                self.name = self.new_name("positions")
                self.topic_name = f"{self.name}.in"
                engine = self.ends_consumed(*changes)
                engine.stop()
                self.goes_on(self.engine())

    def test_nor_when_another_member_takes_over(self):
        engine = self.ends_consumed()
        self.delete_all()
        second = self.engine()
        until(
            lambda: [one.metric("sluice_partitions") for one in (engine, second)] == [1, 1],
            f"a share each\n{engine.text()}\n{second.text()}",
            30,
        )
        before = self.handled(engine)
        self.transaction("ok")
        until(
            lambda: self.handled(engine) + self.handled(second) - before == 2,
            lambda: f"new events\n{second.text()}",
            30,
        )

    def test_a_gap_before_a_record_that_is_in_flight(self):
        """The marker between it and the one before is consumed, however long the record takes."""
        self.pipeline().stop()
        self.transaction("ok", "ok")
        held = self.folder / "held"
        held.touch()
        self.kafka.produce(self.topic_name, b"k", self.event("wait", path=str(held)), partition=0)
        engine = self.engine()
        until(
            lambda: self.committed().get(0) == self.recorded().get(0) == 3,
            lambda: f"position 3\n{engine.text()}",
            20,
            0.1,
        )
        self.kafka.delete_records(self.topic_name, 0, 3)
        engine.kill()
        held.unlink()
        engine = self.engine()
        until(lambda: self.committed() == {0: 4, 1: 3}, lambda: f"its end\n{engine.text()}", 30)
        self.assertFalse([line for line in engine.log if " ERROR " in line])

    def test_a_partition_that_was_only_assigned(self):
        """What comes and is deleted while no member is there was unread, also where the group had read nothing yet."""
        engine = self.pipeline()
        self.consumed_up_to(engine, {0: 0, 1: 0})
        self.assertEqual(engine.stop(), 0)
        self.transaction("ok")
        self.delete_all()
        engine = self.engine()
        until(
            lambda: sum("stopped reading" in line for line in engine.log) == 2, lambda: f"its ERRORs\n{engine.text()}"
        )


class Loss(Case):
    def test_a_partition_that_stands_still_is_seen(self):
        """/readyz names it and says why, a gauge counts it; until an operator gives the records up."""
        engine = self.pipeline()
        self.consumed_up_to(engine, {0: 0, 1: 0})
        self.assertEqual(engine.request("GET", "/readyz"), (200, {"status": "ok"}))
        engine.stop()
        self.kafka.produce_many(self.topic_name, [{"key": b"k", "value": self.event(), "partition": 1}] * 3)
        self.kafka.delete_records(self.topic_name, 1, 2)
        engine = self.engine()
        gauge = f'sluice_partition_halted{{group="{self.name}",partition="{self.topic_name}/1"}}'
        until(lambda: engine.metric(gauge) == 1, lambda: f"{gauge}\n{engine.text()}", 20, 0.1)
        status, answer = engine.request("GET", "/readyz")
        self.assertEqual(status, 503)
        self.assertIn(
            f"group {self.name} does not read partition {self.topic_name}/1: its records 0 to 1 were deleted unread",
            json.dumps(answer),
        )
        self.assertEqual(engine.request("GET", "/healthz")[0], 200)
        self.rows(f"SELECT sluice.bus_skip('{self.name}', '{self.topic_name}', 1, 2)")
        until(lambda: engine.metric(gauge) == 0, lambda: f"{gauge} 0\n{engine.text()}", 20, 0.1)
        until(lambda: engine.request("GET", "/readyz")[0] == 200, lambda: f"ready\n{engine.text()}", step_s=0.1)
        until(lambda: self.handled(engine) == 1, lambda: f"the record that is left\n{engine.text()}")


if __name__ == "__main__":
    unittest.main()
