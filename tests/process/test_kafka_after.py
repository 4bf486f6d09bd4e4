#!/usr/bin/env python3
"""Early events on Kafka: both events in transactions that overlap, in each order that there is, and many of them over
two processes.

Run alone: python3 tests/process/test_kafka_after.py [-k NAME].
"""
import random
import unittest

import _path
from lib import mistakes
from lib.pipeline_case import PipelineCase
from lib.server_case import KafkaCase
from test_after import EFFECTS, SEED, YAML, AFTER, AfterCase
from test_held_keys import KEYS, TABLE

KAFKA = '{kind: kafka, partitions: 4, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}'


class KafkaAfterCase(KafkaCase, AfterCase):
    def setUp(self):
        PipelineCase.setUp(self)
        self.vars.update(self.kafka.env())
        name = self.new_name("early")
        self.prefix = f"{name}-"
        yaml = YAML.replace("AFTER", AFTER).replace("{kind: postgres}", KAFKA).replace("group: own", f"group: {name}")
        self.use(yaml.replace("first", f"{name}-first").replace("second", f"{name}-second"))
        self.rows(TABLE)


class RaceCase(KafkaAfterCase):
    others = [f"y{n}" for n in range(12)]  # of all lanes: one of them is not held up by a transaction that stands still

    def overlap(self, slow, failpoint, **options):
        """The event of one topic is in its transaction, which stands still at a failpoint, while the other's are
        handled."""
        engine = self.engine(env={"SLUICE_FAILPOINTS": f"{failpoint}=delay:8000@1"}, **options)
        self.send(slow, "x", "one")
        self.await_value(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname ="
            " current_database() AND xact_start < now() - interval '300 ms'",
            "t",
        )
        quick = "first" if slow == "second" else "second"
        self.emit(self.prefix + quick, *[self.event({"k": k, "origin": "one", "seq": 1}) for k in self.others])
        return engine


class Races(RaceCase):
    def assert_all_handled(self, engine):
        self.await_value(EFFECTS, 1 + len(self.others))
        self.await_value(KEYS, 0)
        self.assertEqual(engine.stop(), 0)

    def test_handled_between_the_look_and_the_wait(self):
        self.assert_all_handled(self.overlap("second", "store.hold.before"))

    def test_handled_while_the_wait_is_not_committed(self):
        self.assert_all_handled(self.overlap("second", "lane.commit.before"))

    def test_waits_while_the_other_is_not_committed(self):
        self.assert_all_handled(self.overlap("first", "lane.commit.before"))


class Planted(RaceCase):
    """The races above find an engine that does not look again: what it left in the database nothing would end."""

    def test_an_early_event_that_does_not_look_again(self):
        mistake = "early_unmarked"
        engine = self.overlap("second", "store.hold.before", program=mistakes.build(mistake))
        mistakes.happened(mistake, engine)
        self.await_value(EFFECTS, len(self.others))
        self.await_value(
            "SELECT count(*) FROM sluice.held h JOIN sluice.needed n ON n.id = h.needs WHERE n.handled AND NOT h.ready",
            1,
        )
        with self.assertRaises(AssertionError):
            self.await_value(EFFECTS, 1 + len(self.others), 3)


class Many(KafkaAfterCase):
    def test_many_pairs_over_two_processes_one_of_which_is_killed(self):
        rng = random.Random(SEED)
        rounds, each = 4, 300
        engines = [self.engine(), self.engine()]
        for r in range(rounds):
            self.send_pairs(range(r * each, (r + 1) * each), rng)
            if r == 1:
                engines[0].kill()
                engines[0] = self.engine()
        self.await_value(EFFECTS, 2 * rounds * each, 120)
        self.assert_each_behind_its_own(rounds * each)
        for engine in engines:
            self.assertEqual(engine.stop(), 0)


if __name__ == "__main__":
    unittest.main()
