#!/usr/bin/env python3
"""A replay whose command and whose engine are killed in the middle, and that is started again: every dead letter is
handled once, those of a key in their order. On each bus that has a store.

Run alone: python3 tests/process/test_dead_letter_kills.py [-k NAME].
"""
import signal
import unittest

import _path
from dead_letter_case import RATE, YAML, DeadLetterCase, begin_replay, kill_replays
from lib.engine import until
from lib.server_case import KafkaCase

KEYS = 20


class Kills:
    count = 3000

    def command(self, *args):
        return begin_replay(self.config, self.vars, *args)

    def replayed(self):
        return int(self.value("select count(*) from sluice.dead_letter where state = 1"))

    def all_done(self):
        """Each dead letter was replayed, each replay was handled once, each key in its order."""
        self.await_effects(self.count, limit_s=60)
        self.drain(60)
        self.assertEqual(len(self.in_order()), self.count)
        self.assertEqual(self.replayed(), self.count)
        self.assertEqual(
            self.value(
                "select count(*) from effects e full join sluice.dead_letter d on d.replayed_as = e.event_id"
                " where e.event_id is null or d.id is null"
            ),
            "0",
        )
        self.assertEqual(self.value("select count(*) from sluice.outbox"), "0")

    def test_killed(self):
        self.fail_some(self.count, keys=KEYS, topic=self.topic_in)
        kill_replays(self.count, self.command, self.replayed, lambda turn: turn % 2 and self.running.kill_worker())
        self.letters("replay", "--all")
        self.all_done()

    def test_interrupted(self):
        self.fail_some(self.count, keys=KEYS, topic=self.topic_in)
        running = self.command("--all", "--rate", RATE)
        until(lambda: self.replayed() > 0, "a part of the replay", step_s=0.005)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate()
        self.assertEqual(running.returncode, 1, out + err)
        self.assertIn(f"interrupted; run it again for the rest of the {self.count}", err)
        self.assertEqual(int(out.split()[0]), self.replayed())
        self.assertLess(self.replayed(), self.count)
        again = self.command("--all")
        out, err = again.communicate()
        self.assertEqual(again.returncode, 0, out + err)
        self.all_done()


class Postgres(Kills, DeadLetterCase):
    topic_in = "in"

    def setUp(self):
        super().setUp()
        self.running = self.engine()


KAFKA = YAML.replace(
    "{kind: postgres, partitions: 4}",
    '{kind: kafka, partitions: 4, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}',
)
for word in ("in", "other", "out"):
    KAFKA = KAFKA.replace(f"\n  {word}: ", f"\n  @.{word}: ").replace(f"done: {word}", f"done: @.{word}")
KAFKA = KAFKA.replace("topics: [in]", 'topics: ["@.in"]').replace(
    "{lanes: 2}", '{lanes: 2, group: "@", sweep_after: 2s}'
)


class Kafka(Kills, DeadLetterCase, KafkaCase):
    count = 1500
    yaml = None

    def setUp(self):
        super().setUp()
        self.vars.update(self.kafka.env())
        self.name = self.new_name("letters")
        self.topic_in = f"{self.name}.in"
        self.use(KAFKA.replace("@", self.name))
        self.running = self.engine()

    def drain(self, limit_s=30.0):
        until(lambda: self.running.metric("sluice_in_flight") == 0, "nothing in flight", limit_s, 0.1)
        self.await_value("select count(*) from sluice.outbox", 0, limit_s)

    def left(self, count):
        """A command ends after its COMMIT and before it has published anything."""
        reachable, self.vars["KAFKA_BROKERS"] = self.vars["KAFKA_BROKERS"], "127.0.0.1:1"
        running = self.command("--all")
        self.vars["KAFKA_BROKERS"] = reachable
        until(lambda: running.poll() is not None or self.replayed() == count, "the COMMIT")
        running.kill()
        running.communicate()
        self.assertEqual(self.value("select count(*) from sluice.outbox where owner = -1"), "1")

    def test_left_to_others(self):
        """What a killed command committed and did not publish is published by the next one, or by an engine."""
        self.fail_some(20, topic=self.topic_in)
        self.left(20)
        self.await_effects(20)  # the sweeper
        self.fail_some(20, topic=self.topic_in, first=21)
        self.running.kill()
        self.left(40)
        self.assertIn("0 replayed", self.letters("replay", "--all").stdout)
        self.assertEqual(self.value("select count(*) from sluice.outbox where owner = -1"), "0")
        self.running = self.engine()
        self.await_effects(40)
        self.in_order()


if __name__ == "__main__":
    unittest.main(verbosity=2)
