#!/usr/bin/env python3
"""Brokers that die, freeze, restart and lose their offices while events flow: nothing is lost, done twice or given up,
and the engines go on by themselves.

Run alone: python3 tests/faults/test_brokers.py. SLUICE_SEED repeats a run's stream and choices.
"""
import time
import unittest

import _path
from fault_case import Engine, FaultCase, say, sql, until
from lib import mistakes

SESSION_S = 4
ABSENT_S = 60


class One(FaultCase):
    """A cluster of one: what it kept is all there is."""

    properties = {"session.timeout.ms": SESSION_S * 1000}

    def test_the_only_broker_killed(self):
        for _ in range(2):
            with self.fault("the only broker killed"):
                self.kafka.kill(1)
                time.sleep(self.dice.uniform(0.5, 3))
                self.kafka.restart(1)
        self.verdict()

    def test_away_for_longer_than_a_session(self):
        """What librdkafka kept to commit may go out before it has joined again, and get it fenced."""
        for _ in range(3):
            with self.fault("the only broker away for longer than a session"):
                self.kafka.kill(1)
                time.sleep(self.dice.uniform(SESSION_S, SESSION_S + 2))
                self.kafka.restart(1)
        self.verdict()

    def test_fenced(self):
        """By a process that was given our member's id. Ours takes it back; the other, which has no other id, ends."""
        ours, member = self.engines[0], self.kafka.members(self.bus.group)[0]["instance"]
        config = self.folder / "other.yaml"
        config.write_text(
            self.work.config.read_text().replace("properties: {", f"properties: {{group.instance.id: {member}, ", 1)
        )
        with self.fault("fenced by another process", deaths=3), self._rounds:
            self.work.drain()  # how two that run at once share the work is not what is asked here
            other = Engine(config, self.engine_env())
            self.addCleanup(other.kill)
            self.started.append(other.start(wait=False))
            until(lambda: any("joins again" in line for line in list(ours.log)), "the first engine's return", 30)
            until(lambda: other.process.poll() is not None, "the other's end", 40)
        self.assertRegex(other.text(), "two processes have one group.instance.id")
        self.verdict()

    def test_a_producer_that_trusts_is_found_out(self):
        """Planted: what librdkafka has taken counts as published, and is thrown away with the producer."""
        self.end(self.engines[0])
        planted = self.engine(mistake="kafka_reports_ignored")
        mistakes.happened("kafka_reports_ignored", planted)
        rows = self.unpublished()  # the next engine publishes what is left there
        until(lambda: not rows & self.unpublished(), "the end of the rows of what was lost")
        self.end(planted)
        self.engine()
        self.settle()
        self.red(self.violations(), "I3: ", "I15: ")

    def unpublished(self):
        return {row["id"] for row in sql(self.url, "SELECT id FROM sluice.outbox")}


class Three(FaultCase):
    brokers = 3
    engine_count = 2
    properties = {"session.timeout.ms": SESSION_S * 1000}

    def leader(self):
        return self.kafka.leader("payment.try", 0)

    def other(self, than):
        return self.dice.choice([n for n in self.kafka.nodes() if n != than])

    def test_one_killed_and_back(self):
        with self.fault("one of three killed"):
            victim = self.leader()
            self.kafka.kill(victim)
        with self.fault("and back"):
            self.kafka.restart(victim)
        self.verdict()

    def test_leader_moved(self):
        with self.fault("leader of payment.try moved"):
            for partition in self.kafka.describe("payment.try"):
                self.kafka.move_leader("payment.try", partition.partition, self.other(partition.leader))
        self.verdict()

    def test_coordinator_moved(self):
        for _ in range(2):
            with self.fault("coordinator moved"):
                self.kafka.move_coordinator(self.bus.group, self.other(self.kafka.coordinator(self.bus.group)))
        self.verdict()

    def test_coordinator_frozen_longer_than_the_session(self):
        with self.fault("coordinator and leader frozen", deaths=2):
            victim = self.kafka.coordinator(self.bus.group)
            self.kafka.freeze(victim)
            time.sleep(SESSION_S * 2)
            self.kafka.thaw(victim)
        self.verdict()

    def attempts(self):
        rows = sql(self.url, "SELECT handler, event_id, attempts FROM sluice.attempt")
        return {(row["handler"], row["event_id"]): row["attempts"] for row in rows}

    def test_all_down_for_a_minute(self):
        with self.fault("all brokers down", deaths=4, limit_s=45):
            self.kafka.kill_all()
            time.sleep(5)
            before, handled = self.attempts(), self.handled()
            time.sleep(ABSENT_S - 5)
            after = self.attempts()
            say(
                f"{len(before)} events were being tried again, {len(after)} at the end;"
                f" {self.handled() - handled} outcomes meanwhile"
            )
            self.kafka.restart_all()
        self.assertEqual(
            {key: count for key, count in after.items() if count > before.get(key, 0)},
            {},
            "tries that an outage counted",
        )
        self.verdict()

    def test_rolling_restart(self):
        with self.fault("rolling restart of all three", deaths=3):
            for n in self.kafka.nodes():
                self.kafka.restart(n)
        self.verdict()


if __name__ == "__main__":
    unittest.main(verbosity=2)
