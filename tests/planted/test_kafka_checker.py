#!/usr/bin/env python3
"""The checker is checked on the kafka bus: what every bus can show (tests/planted/planted_case.py), and what only a bus
can that is no part of the database's transactions: outputs that count as published too soon, outputs that are
committed and never published, and offsets without their row in the database.

Run alone: python3 tests/planted/test_kafka_checker.py [-k NAME]. SLUICE_SEED repeats a stream. With SLUICE_TEST_BROKERS
it runs on these brokers.
"""
import copy
import unittest

import _path
from chaos import cases, checker, checker_kafka
from chaos.stream import run_psql
from lib import mistakes
from lib.engine import until
import planted_case


def setUpModule():
    cases.servers(kafka=True)


REPLACED = "and is replaced"  # its producer


class Kafka(planted_case.Planted):
    outputs_table = "sluice.outbox"
    early = ("I12: ", "I1: k", "I1: ")

    def through(self, mistake=None, failpoints="", says=None):
        """Effects through an engine, until it has made its mistake, or has said what it says of a death of its
        producer."""
        stream = self.stream(tap=False)
        stream.watch()
        engine = self.engine(stream, failpoints, mistake)

        def deaths():
            return sum(says in line for line in list(engine.log)) if says else 0

        def more():
            stream.send([stream.effect() for _ in range(40)])

        more()
        if mistake:
            mistakes.happened(mistake, engine, more)
        else:
            until(lambda: more() or deaths() > 0, lambda: f"'{says}'; the engine said\n{engine.text()}", 60, 1)
        stream.drain()
        stream.unwatch()
        stream.sample()
        stream.write(killed=deaths())
        engine.kill()
        return self.check(stream)

    def test_outputs_count_as_published_before_their_reports(self):
        self.red(self.through("kafka_reports_ignored"), "I3: ", "I15: ")

    def test_without_the_mistake_a_producer_that_fails_is_green(self):
        self.green(self.through(failpoints="bus.producer.fatal=error%30", says=REPLACED))

    def test_offsets_that_the_database_does_not_know(self):
        self.red(self.through("kafka_position_unsaved"), "I14: ")

    def left_behind(self, failpoints="", mistake=None):
        """The process dies between COMMIT and publishing; what it did comes again, and is found done."""
        stream = self.stream(tap=False)
        stream.send([stream.effect() for _ in range(40)])
        engine = self.engine(stream, "lane.emit.before=crash@1", wait=False)
        until(lambda: self.deaths(engine) > 0, "its death")
        engine.kill()
        stream.write(killed=self.deaths(engine) + 1)
        self.assertGreater(int(self.postgres.value("SELECT count(*) FROM sluice.outbox", self.url)), 0)
        engine = self.engine(stream, failpoints, mistake)
        if failpoints:
            until(lambda: self.bus.lags()[self.bus.group] == 0, "the end of what comes again")
            if not mistake:  # a lane deletes a published row with its next transaction, or 150 ms later
                until(
                    lambda: self.postgres.value("SELECT count(*) FROM sluice.outbox", self.url) == "0",
                    "an empty outbox",
                )
        else:
            stream.drain()
        engine.kill()
        return self.check(stream)

    def test_no_sweeper(self):
        """Nor a look at what is left when its events come again."""
        self.red(self.left_behind("keeper.sweep=error", "outbox_left_ignored"), "I3: ", "I15: ")

    def test_without_a_sweeper_what_comes_again_is_green(self):
        self.green(self.left_behind("keeper.sweep=error"))

    def test_with_the_sweeper_what_was_left_behind_is_green(self):
        self.green(self.left_behind())


class Sentences(cases.ChaosCase):
    """What no planted mistake brings about: a good run's facts are spoilt by hand."""

    calm = planted_case.Planted.calm

    def test_spoilt_facts(self):
        facts = self.facts(self.calm())
        self.green(checker.check(facts))
        sample = next(entry for entry in reversed(facts.log) if "ends" in entry)
        place = max(
            (place for place in sample["positions"] if "/effects.in/" in place),
            key=lambda place: sample["positions"][place][0],
        )
        offset = sample["positions"][place][0]

        def says(what, invariant, spoil):
            spoilt = copy.copy(facts)
            spoilt.log = list(facts.log)
            spoil(spoilt)
            self.red(list(invariant(spoilt)), what)

        def ahead(spoilt):
            spoilt.log.insert(0, {**sample, "snapshot": "1:1:"})

        says(f"I12: {place} was committed up to {offset}", checker_kafka.committed, ahead)

        def unpublished(spoilt):
            nothing = {topic: dict.fromkeys(ends, 0) for topic, ends in sample["ends"].items()}
            spoilt.log.insert(0, {**sample, "ends": nothing})

        says(f"I12: {place} was committed up to {offset}", checker_kafka.committed, unpublished)

        def back(spoilt):
            spoilt.log.append({**sample, "positions": {**sample["positions"], place: [offset - 1, 0]}})

        says("I14: the committed position", checker.positions, back)

        def row_back(spoilt):
            spoilt.log.append({**sample, "recorded": {**sample["recorded"], place: offset - 1}})

        says("I14: the database's position", checker_kafka.beside, row_back)
        says(f"I14: {place} was at", checker_kafka.beside, row_back)

        def again(spoilt):
            spoilt.repeats = facts.by_topic["effects.out"][:1]

        says("I20: 1 outputs", checker_kafka.repeats, again)

        def lost(spoilt):
            spoilt.records = [record for record in facts.records if record is not facts.by_topic["effects.out"][0]]

        says("I15: 1 outputs", checker_kafka.recorded, lost)

        def changed(spoilt):
            other = copy.copy(facts.by_topic["effects.out"][0])
            other.value = other.value + b" "
            spoilt.records = facts.records + [other]

        says("I2: 1 outputs", checker_kafka.recorded, changed)

        def without_outcome(spoilt):
            """A snapshot that sees what the transaction 1 wrote, and no claim."""
            spoilt.log = [{**sample, "snapshot": "3:3:", "positions": {place: sample["positions"][place]}}]

        _, topic, partition = place.split("/")
        there = [record for record in facts.by_topic[topic] if record.partition == int(partition)]
        ids = ", ".join(f"('{one}', '1')" for record in there for one in record.ids())
        run_psql(self.url, f"INSERT INTO was_held VALUES {ids}")
        held = copy.copy(facts)
        without_outcome(held)
        self.green(list(checker_kafka.committed(held)))
        run_psql(self.url, f"INSERT INTO held_no_more VALUES {ids}")
        says(f"I12: {place} was committed up to {offset}", checker_kafka.committed, without_outcome)


if __name__ == "__main__":
    unittest.main(verbosity=2)
