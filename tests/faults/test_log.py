#!/usr/bin/env python3
"""What happens to the log itself on Kafka: topics deleted and made again, offsets moved, lost or behind a restored
database, events deleted unread, aborted and open transactions. Nothing is skipped in silence, nothing is done twice,
and what a person must decide is said once.

Run alone: python3 tests/faults/test_log.py. SLUICE_SEED repeats a run's stream and choices.
"""
import contextlib
import json
import re
import subprocess
import time
import unittest

import _path
from chaos.facts import Record
from fault_case import FaultCase, checker, say, sql, until
from lib.engine import sluice

TOPIC = "effects.in"  # all of it is the feeder's, so that what we do to it is done to nobody's outputs
OTHER = 1000


HOLE = re.compile(r"I12: [^/]+/([^/]+)/(\d+) was committed up to \d+, and None at (\d+) had no outcome yet")


def text(data):
    return (data or b"").decode("utf-8", "surrogateescape")


class LogCase(FaultCase):
    round_size = 12

    def setUp(self):
        self.remembered = []  # records that are on their topics no more
        self.given_up, self.tap_excused = set(), False
        super().setUp()
        self.on_topics, self.bus.records = self.bus.records, self.records

    # ------------------------------------------------------------------------------------------------- for the checker

    def records(self, config, env):
        self.all = self.remembered + [
            record for record in self.on_topics(config, env) if record.value not in self.given_up
        ]
        return self.all

    def remember(self, partition=None, below=None, other=0):
        """What is about to leave the topic was there; under `other` partitions, when something else will be in its
        places."""
        for one in self.kafka.dump(TOPIC):
            if partition is None or (one.partition == partition and one.offset < below):
                self.remembered.append(
                    Record(
                        {
                            "topic": TOPIC,
                            "partition": other + one.partition,
                            "offset": one.offset,
                            "timestamp": one.timestamp,
                            "key": text(one.key),
                            "value": text(one.value),
                            "headers": {name: text(value) for name, value in one.headers},
                        }
                    )
                )

    def give_up(self, values):
        """Bytes of events that an operator gave up."""
        self.given_up |= values
        self.work.old = [
            entry for entry in self.work.old if entry["value"].encode("utf-8", "surrogateescape") not in values
        ]
        self.remembered = [record for record in self.remembered if record.value not in values]
        with self.work.writing:
            self.log_lines(lambda entry: entry.get("value", "").encode("utf-8", "surrogateescape") not in values)

    def log_lines(self, keep):
        lines = [line for line in self.work.log_path.read_text(encoding="utf-8").split("\n") if line]
        self.work.log_path.write_text(
            "".join(line + "\n" for line in lines if keep(json.loads(line))), encoding="utf-8"
        )

    @contextlib.contextmanager
    def unseen(self):
        """An operator does what no run may do by itself: the checker sees only what comes after the block, which ends
        when the engine has answered it."""
        with self.work.sampling:
            yield
            with self.work.writing:
                self.log_lines(lambda entry: "positions" not in entry)

    def violations(self):
        """Offsets that hold no record for another client have no outcome, and need none."""
        found = super().violations()
        places = {(record.topic, record.partition, record.offset) for record in self.all}
        holes = [
            sentence
            for sentence in found
            if (match := HOLE.match(sentence))
            and (match.group(1), int(match.group(2)), int(match.group(3))) not in places
        ]
        return [
            sentence
            for sentence in found
            if sentence not in holes and not (self.tap_excused and sentence.startswith("I1: tap "))
        ]

    # -------------------------------------------------------------------------------------------------------- the acts

    @contextlib.contextmanager
    def quiet(self):
        """Nothing is sent meanwhile, and all that was sent is done."""
        with self._rounds:
            self.work.drain()
            yield

    def stop(self):
        for engine in list(self.engines):
            self.assertEqual(engine.stop(), 0, engine.text())
            self.engines.remove(engine)

    def committed(self):
        return self.kafka.committed(self.bus.group).get(TOPIC, {})

    def rows(self):
        return {
            row["partition"]: row["next"]
            for row in sql(
                self.url,
                f"SELECT partition, next FROM sluice.bus_position WHERE consumer_group = '{self.bus.group}' AND"
                f" topic = '{TOPIC}'",
            )
        }

    def skip(self, call):
        self.postgres.query(f"SELECT {call}", self.url)

    def said(self, pattern):
        return [line for engine in self.started for line in list(engine.log) if re.search(pattern, line)]

    def fresh(self, count):
        return [self.work.effect() for _ in range(count)]

    def migrate(self):
        sluice("migrate", self.work.config, env=self.work.env)

    def hits(self, engine):
        return engine.metric("sluice_duplicates_total")

    def effects(self):
        return {row["origin"] for row in sql(self.url, "SELECT origin FROM effects")}

    def undone(self, entries):
        done = self.effects()
        return {entry["value"].encode() for entry in entries if entry["origin"] not in done}

    def keyed(self, entries):
        """For a producer that is not ours: (key, value), as `sluice emit` would have it."""
        return [(entry["k"], entry["value"]) for entry in entries]


class Topics(LogCase):
    def recreated(self, count_of, missed):
        """Deleted, and made again by `sluice migrate`; then it gets count_of(its old size) events at once."""
        with self.quiet():
            self.work.send(self.fresh(200))
            self.work.drain()
            under_way = self.fresh(100) if missed else []  # while the topic goes; some are lost with it
            if missed:
                self.work.send(under_way)
                self.tap_excused = True
            self.remember(other=OTHER)
            size = sum(self.kafka.end_offsets(TOPIC).values())
            self.kafka.delete_topic(TOPIC)
            if missed:
                until(lambda: self.said(f"group {self.bus.group}: topic {TOPIC} does not exist any more"), self.told())
                time.sleep(1)
                lost = self.undone(under_way)
                say(f"{len(lost)} of {len(under_way)} events under way went with the topic")
                self.give_up(lost)
            self.migrate()
            self.work.send(self.fresh(count_of(size)))

    def test_topic_recreated_with_fewer_events(self):
        with self.unseen(), self.fault("topic recreated at once, fewer events", 40):
            self.recreated(lambda size: 10, False)
        self.verdict()

    def test_topic_recreated_with_more_events(self):
        with self.unseen(), self.fault("topic missed, recreated, more events than before", 40):
            self.recreated(lambda size: 2 * size, True)
        self.verdict()

    def test_topic_recreated_while_nobody_runs(self):
        with self.unseen(), self.fault("topic recreated while the engine was down", 40):
            with self.quiet():
                # Each partition must end well behind what comes to the new topic, or it could not be told from the old.
                self.work.send(self.fresh(120))
                self.work.drain()
                self.stop()
                self.remember(other=OTHER)
                self.kafka.delete_topic(TOPIC)
                self.migrate()
                self.work.send(self.fresh(10))
                self.engine()
        self.assertTrue(self.said("the topic was recreated or truncated"), self.told())
        self.verdict()


class Offsets(LogCase):
    def moved(self, name, act):
        """An operator's act on a group that does not run; returns how many events were found done, and what the log
        says of them."""
        with self.fault(name, 40):
            with self.quiet(), self.unseen():
                self.stop()
                before = sql(self.url, "SELECT count(*) AS n FROM effects")[0]["n"]
                act()
                engine = self.engine()
                self.await_shared()
                self.work.drain()
                more = sql(self.url, "SELECT count(*) AS n FROM effects")[0]["n"] - before
                hits = self.hits(engine)
        self.assertEqual(more, 0, f"{name}: new effects of old events")
        return hits

    def reset(self, offsets):
        for partition, offset in offsets.items():
            self.kafka.reset_offsets(self.bus.group, TOPIC, partition, offset)

    def test_offsets_moved_back_and_lost(self):
        with self.quiet():  # what came by the retry topic came from here as well
            done = len(self.effects())
        hits = self.moved("offsets set to 0", lambda: self.reset(dict.fromkeys(range(self.partitions), 0)))
        say(f"{hits:.0f} events found done")
        self.assertGreaterEqual(hits, done)
        hits = self.moved("the group deleted in Kafka", lambda: self.kafka.delete_group(self.bus.group))
        self.assertLess(hits, 20)
        self.assertEqual(
            len(self.said(f"Kafka has no offset for partition . of {TOPIC}; reading goes on at")), self.partitions
        )
        self.verdict()

    def test_offsets_moved_ahead(self):
        """Nothing is skipped for it; sluice.bus_skip() does."""
        with self.fault("offsets moved ahead", 40):
            with self.quiet(), self.unseen():
                self.stop()
                self.work.send(self.fresh(60))
                ends = self.kafka.end_offsets(TOPIC)
                self.reset(ends)
                self.engine()
                until(lambda: self.rows() == ends, f"the end of {TOPIC}; {self.told()}")
                self.work.drain()
        self.assertTrue(
            self.said(rf"partition . of {TOPIC} is committed up to \d+ in Kafka, but the database says"), self.told()
        )
        with self.fault("events skipped", 40):
            with self.quiet():
                self.stop()
                skipped = self.fresh(60)
                self.work.send(skipped)
                for partition, end in self.kafka.end_offsets(TOPIC).items():
                    self.skip(f"sluice.bus_skip('{self.bus.group}', '{TOPIC}', {partition}, {end})")
                self.give_up({entry["value"].encode() for entry in skipped})
                self.engine()
        self.assertFalse({entry["origin"] for entry in skipped} & self.effects(), "skipped, and done all the same")
        self.verdict()


class Restored(LogCase):
    def stream(self, **options):
        """Without purchases and orders: what they emit holds a time, so that what is emitted again is another event
        under the same id."""
        stream = super().stream(**options)
        stream.pay = lambda again=None: stream.effect()
        stream.bad_payment = stream.bad_field
        stream.orders.one = lambda: ("effect", stream.effect())
        return stream

    def test_database_restored(self):
        """To what it was before: what came since is read again, and done once in what is there now."""
        dump = str(self.folder / "dump")
        subprocess.run(["pg_dump", "-Fc", "-f", dump, "-d", self.url], check=True)
        self.calm()
        with self.unseen(), self.fault("database restored", 60, deaths=3):
            self.stop()
            name = self.url.rsplit("/", 1)[1]
            before = len(self.effects())
            self.postgres.query(f'DROP DATABASE "{name}" WITH (FORCE)')
            self.postgres.query(f'CREATE DATABASE "{name}"')
            subprocess.run(["pg_restore", "-d", self.url, dump], check=True)
            say(f"{before - len(self.effects())} of {before} effects went with it")
            self.engine()
        self.assertTrue(self.said(r"but the database says that only what is below \d+ is done"), self.told())
        self.settle()
        # What was emitted before is on the topics as well, at its own time and with that time in it: asked is what is
        # done.
        facts = self.facts(self.work)
        found = [sentence for ask in (checker.no_loss, checker.lag, *checker.IN_DATABASE) for sentence in ask(facts)]
        good = {entry["value"].encode("utf-8", "surrogateescape") for entry in facts.acked if entry["expect"] != "dead"}
        inputs = {entry["value"].encode("utf-8", "surrogateescape") for entry in facts.acked}
        found += [
            f"{record.event_id} is a dead letter: {record.headers}"
            for topic in facts.model.dead
            for record in facts.by_topic[topic]
            if record.value in good
            or record.parent is not None
            and record.value not in inputs
            and record.headers.get("sluice-dlt-reason") != "id_conflict"
        ]
        self.green(found)


class Unread(LogCase):
    """Events that the brokers deleted before they were read."""

    def stands(self, partition):
        return self.said(f"group {self.bus.group} stopped reading partition {partition} of {TOPIC}: ")

    def await_standing(self, partitions):
        for partition in partitions:
            until(lambda: self.stands(partition), f"the word on partition {partition}; {self.told()}")

    def go_on(self, partitions):
        """What the log says that helps; a tap keeps no positions, its offsets are moved."""
        for partition in partitions:
            self.assertEqual(len(self.stands(partition)), 1, "\n".join(self.stands(partition)))
            self.skip(re.search(r"select (sluice\.bus_skip\(.*\)) in the database", self.stands(partition)[0]).group(1))
        began = time.monotonic()
        until(lambda: self.held(self.engines[0]) == self.bus.places, f"all partitions again; {self.told()}")
        say(f"read again {time.monotonic() - began:.1f} s after sluice.bus_skip()")
        tap = f"{self.bus.group}.sink"
        if tap not in self.bus.groups:
            return
        for partition in partitions:
            until(
                lambda: self.said(
                    f"group {tap} stopped reading partition {partition} of {TOPIC}: .* stop the group, set its offset"
                ),
                f"the tap's word on partition {partition}; {self.told()}",
                30,
            )
        with self.unseen():
            self.stop()
            for partition in partitions:
                self.kafka.reset_offsets(tap, TOPIC, partition, self.kafka.begin_offsets(TOPIC)[partition])
            self.engine()

    def test_deleted_while_nobody_runs(self):
        gone = (1, 4)
        with self.fault("unread events deleted while the engine was down", 60):
            with self.quiet():
                self.stop()
                read, skipped = self.committed(), self.fresh(80)
                self.work.send(skipped)
                ends = self.kafka.end_offsets(TOPIC)
                lost = {
                    one.value
                    for one in self.kafka.dump(TOPIC)
                    if one.partition in gone and one.offset >= read.get(one.partition, 0)
                }
                for partition in gone:
                    self.remember(partition, ends[partition])
                    self.kafka.delete_records(TOPIC, partition, ends[partition])
                self.engine(wait=False)
                self.await_standing(gone)
                until(
                    lambda: all(self.rows()[n] == end for n, end in ends.items() if n not in gone),
                    f"the others; {self.told()}",
                )
                time.sleep(4)
                self.assertEqual({n: self.rows()[n] for n in gone}, {n: read[n] for n in gone})
                self.give_up(lost)
                self.go_on(gone)
        say(f"{len(lost)} events were given up")
        self.verdict()


class UnreadUnderReader(Unread):
    """One that has not fetched far ahead, and without a tap, which would read all of it."""

    properties = {"queued.min.messages": 100, "max.partition.fetch.bytes": 65536}
    test_deleted_while_nobody_runs = None

    def stream(self, **options):
        return super().stream(tap=False, **options)

    def test_deleted_under_a_reader(self):
        """It is held up: others hold a lock on the table that its handler writes."""
        key, in_flight = self.work.keys[0], f'sluice_in_flight{{group="{self.bus.group}"}}'
        with self.fault("unread events deleted under a reader", 60):
            with self.quiet():
                first = self.work.effect(k=key)
                partition, _ = self.kafka.produce(TOPIC, *self.keyed([first])[0])
                self.work.write(**first)
                many = [self.work.effect(k=key) for _ in range(4000)]
                with subprocess.Popen(["psql", "-X", "-q", "-d", self.url], stdin=subprocess.PIPE, text=True) as locker:
                    locker.stdin.write("BEGIN; LOCK TABLE effects IN EXCLUSIVE MODE;\n")
                    locker.stdin.flush()
                    self.work.send(many)
                    until(lambda: self.engines[0].metric(in_flight) >= 1900, f"a reader that is full; {self.told()}")
                    time.sleep(1.5)
                    end = self.kafka.end_offsets(TOPIC)[partition]
                    self.remember(partition, end - 50)
                    self.kafka.delete_records(TOPIC, partition, end - 50)
                self.await_standing([partition])
                time.sleep(4)
                lost = self.undone(many[:-50])
                self.give_up(lost)
                self.go_on([partition])
        say(f"{len(lost)} of {len(many)} events were given up")
        self.verdict()


class Transactions(LogCase):
    """Of producers that are not ours."""

    def test_aborted_and_open_transactions(self):
        aborted = []
        with self.fault("aborted transactions"):
            for n in range(8):
                with self._rounds:  # a key's events stay in order
                    entries = [self.work.effect(k=key) for key in self.work.keys]
                    self.kafka.produce_transaction(TOPIC, self.keyed(entries), commit=n % 2 == 0)
                    for entry in entries:
                        if n % 2 == 0:
                            self.work.write(**entry)
                        else:
                            aborted.append(entry["origin"])
        with self.fault("an open transaction", deaths=0):
            with self._rounds:
                entries = [self.work.effect(k=key) for key in self.work.keys]
                self.kafka.produce_transaction(TOPIC, self.keyed(entries), commit=None, transactional="open")
                aborted += [entry["origin"] for entry in entries]
                behind = [self.work.effect(k=key) for key in self.work.keys]
                self.work.send(behind)
            time.sleep(4)
            read = {entry["origin"] for entry in behind} & self.effects()
            self.assertFalse(read, "events behind an open transaction were read")
            with self._rounds:
                self.kafka.produce_transaction(TOPIC, self.keyed(entries[:1]), commit=False, transactional="open")
        self.assertFalse(set(aborted) & self.effects(), "aborted, and done all the same")
        self.verdict()


if __name__ == "__main__":
    unittest.main(verbosity=2)
