#!/usr/bin/env python3
"""A member that its group refuses, one that is another program, and a handler that holds a rebalance are named.

Run alone: python3 tests/process/test_kafka_groups.py. Pipeline and base class are those of test_kafka_positions.py.
"""
import json
import unittest

import _path
from lib.engine import until
from test_kafka_positions import NO_STORE, Case

SERVERS = 'bootstrap.servers: "${KAFKA_BROKERS}"'


def with_property(text):
    return (SERVERS, f"{SERVERS}, {text}")


class Refused(Case):
    def refused(self, engine, words):
        """An ERROR soon; /readyz once it has lasted for longer than a rebalance takes."""
        line = until(
            lambda: next((line for line in list(engine.log) if " ERROR " in line), None), f"an ERROR\n{engine.text()}"
        )
        self.assertIn(f"group {self.name} refuses this member, which reads nothing: ", line)
        for word in words:
            self.assertIn(word, line)
        status, answer = until(
            lambda: (lambda found: found if found[0] == 503 else None)(engine.request("GET", "/readyz")),
            f"503\n{engine.text()}",
            30,
            0.2,
        )
        self.assertIn(f"group {self.name} reads nothing: no partitions assigned for", json.dumps(answer))
        self.assertIn(words[0], json.dumps(answer))

    def test_by_members_with_another_assignor(self):
        """Once they have gone, it reads; a list of assignors is what both sides may share."""
        first = self.pipeline()
        until(lambda: first.metric("sluice_partitions") == 2, lambda: f"both partitions\n{first.text()}")
        other = self.config.read_text().replace(SERVERS, f"{SERVERS}, partition.assignment.strategy: roundrobin")
        self.config.write_text(other)
        late = self.engine()
        self.refused(late, ["assign partitions by range (", "this one by roundrobin", "partition.assignment.strategy"])
        self.config.write_text(other.replace("strategy: roundrobin", "strategy: [roundrobin, range]"))
        shared = self.engine()
        until(lambda: shared.metric("sluice_partitions") == 1, lambda: f"a share\n{shared.text()}", 30)
        self.assertEqual((shared.stop(), first.stop()), (0, 0))
        until(lambda: late.metric("sluice_partitions") == 2, lambda: f"both partitions\n{late.text()}", 30)
        until(lambda: late.request("GET", "/readyz")[0] == 200, lambda: f"ready\n{late.text()}")

    def test_by_brokers_that_do_not_take_its_session(self):
        engine = self.pipeline(with_property("session.timeout.ms: 3600000, max.poll.interval.ms: 3600000"))
        self.refused(engine, ["INVALID_SESSION_TIMEOUT"])


class Strangers(Case):
    def test_another_program_in_the_group(self):
        """What it is assigned nobody handles: said, until it has gone; then all is read from where the group stood."""
        engine = self.pipeline()
        until(lambda: engine.metric("sluice_partitions") == 2, lambda: f"both partitions\n{engine.text()}")
        self.kafka.join(self.name, self.topic_name)
        self.addCleanup(lambda: self.kafka.join(self.name, None))
        until(lambda: engine.metric("sluice_partitions") == 1, lambda: f"a share\n{engine.text()}", 30)
        self.transaction("ok", "ok")
        until(lambda: self.committed() == {0: 3, 1: 3}, "positions past all of it", 20)
        self.assertLess(self.handled(engine), 4)
        status, answer = engine.request("GET", "/readyz")
        self.assertEqual(status, 503)
        words = f"group {self.name} does not read everything: stranger at /127.0.0.1 is in the group and no engine"
        self.assertIn(words, json.dumps(answer))
        until(
            lambda: any(f"WARN  reader: {words}" in line for line in list(engine.log)),
            lambda: f"a WARN\n{engine.text()}",
        )
        self.kafka.join(self.name, None)
        until(lambda: engine.metric("sluice_partitions") == 2, lambda: f"both partitions\n{engine.text()}", 30)
        until(lambda: self.handled(engine) == 4, lambda: f"all of it\n{engine.text()}")
        until(lambda: engine.request("GET", "/readyz")[0] == 200, lambda: f"ready\n{engine.text()}")


class Rebalance(Case):
    def test_a_coordinator_that_forgets_an_offset_once(self):
        """Nothing is read again for it, also where no store would find it done."""
        self.pipeline(*NO_STORE).stop()
        self.transaction("ok", "ok")
        first = self.engine(env={"SLUICE_FAILPOINTS": "bus.offset.lost=error@3"})  # after those of two partitions
        until(lambda: self.committed() == {0: 3, 1: 3}, lambda: f"positions past all of it\n{first.text()}")
        second = self.engine()
        until(
            lambda: [one.metric("sluice_partitions") for one in (first, second)] == [1, 1],
            f"a share each\n{first.text()}\n{second.text()}",
            30,
        )
        self.transaction("ok")
        until(lambda: self.committed() == {0: 5, 1: 5}, lambda: f"positions past the rest\n{first.text()}", 30)
        self.assertEqual(self.handled(first) + self.handled(second), 6, first.text())
        words = "Kafka says that it has no offset of partition"
        self.assertTrue([line for line in first.log if words in line], first.text())

    def test_a_handler_that_holds_it_is_named(self):
        first = self.pipeline()
        until(lambda: first.metric("sluice_partitions") == 2, lambda: f"both partitions\n{first.text()}")
        held = self.folder / "held"
        held.touch()
        self.kafka.produce(self.topic_name, b"k", self.event("wait", path=str(held)), partition=0)
        until(lambda: first.metric("sluice_in_flight") == 1, "the event in its handler")
        self.engine()
        until(
            lambda: any(
                f"WARN  reader: group {self.name}: handler chaos.act in lane " in line
                and "has held a rebalance of the whole group for" in line
                for line in list(first.log)
            ),
            f"its name\n{first.text()}",
            20,
        )
        held.unlink()


if __name__ == "__main__":
    unittest.main()
