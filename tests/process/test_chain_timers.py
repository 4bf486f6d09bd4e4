#!/usr/bin/env python3
"""Timers of chains: each is emitted once when it is due, through kills and with several processes, and not at all when
what it waits for comes first, or its chain ends.

Run alone: python3 tests/process/test_chain_timers.py [-k NAME].
"""
import contextlib
import json
import os
import signal
import unittest

import _path  # noqa: F401
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase

YAML = """
pipeline: timers
bus: {kind: BUS}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 2}
plugins: {chaos: {library: "${CHAOS_SO}"}}
topics:
  paid: {key: "{id}", final: true}
  booked: {key: "{id}", final: true}
  failed: {key: "{id}", final: true}
  refund: {key: "{id}", final: true}
  late: {key: "{seat}-{id}", final: true}
chains:
  order:
    correlate: id
    steps:
      - {name: pay, done: paid, undo: refund}
      - {name: book, done: booked, undo: none}
    abort_on: [failed]
    timers:
      - {after: AFTER, from: paid, emit: late, cancel_on: [booked]}
"""
# Keys by seat: an event that is tried again holds the timers of its seat in their lane, and the chain's events go on
# with another seat.
SEATS = YAML.replace('"{id}"', '"{seat}"').replace(
    "chains:",
    '  stop: {key: "{seat}", handler: chaos.act, routes: {ok: drop, other: drop}, retry: {max_retries: 1000000,'
    " backoff: {initial_interval: 200ms, max_interval: 200ms, jitter: 0}}}\nchains:",
)
WAIT_S = 60.0
WAITING = "select count(*) from sluice.parked where chain is not null"


class TimerCase(PipelineCase):
    def begin(self, after, yaml=YAML, engines=1):
        self.use(yaml.replace("BUS", "postgres, partitions: 2").replace("AFTER", after))
        return [self.engine() for _ in range(engines)]

    def send(self, topic, *ids, seat=7, **more):
        events = [self.event({"id": one, "seat": seat, **more}, f"{topic}-{one}-{seat}") for one in ids]
        self.emit(topic, *events)

    def late(self):
        return [json.loads(record["value"]) for record in self.topic("late")]

    def await_waiting(self, count):
        self.await_value(WAITING, count, WAIT_S)

    def release_all(self):
        """All that waits is due now."""
        sluice("delayed", "release", self.config, "--state", "delayed", env=self.vars)


def timers_through_kills(case, engines):
    """Two hundred timers; each engine's worker is killed three times while they become due."""
    ids = [f"c{n}" for n in range(200)]
    case.send("paid", *ids)
    for number in range(6):
        until(lambda n=number: len(case.late()) > n * 15, "timers that are due", WAIT_S)
        engine = engines[number % len(engines)]
        worker = engine.worker()
        os.kill(worker, signal.SIGKILL)
        case.send("booked", *ids[number * 5 : number * 5 + 5])
        until(lambda e=engine, w=worker: e.worker() not in (None, w), "another worker", WAIT_S)
    case.await_waiting(0)
    until(lambda: {one["data"]["id"] for one in case.late()} >= set(ids[30:]), "those that nothing cancels", WAIT_S)
    found = [one["eventId"] for one in case.late()]
    case.assertEqual(len(set(one["data"]["id"] for one in case.late())), len(set(found)), "each has one event")
    return found


class Timers(TimerCase):
    def test_one_that_nothing_cancels_is_emitted(self):
        self.begin("1s")
        self.send("paid", "c1")
        record = self.await_topic("late", 1, WAIT_S)[0]
        paid = self.topic("paid")[0]
        self.assertEqual(record["key"], "7-c1")
        self.assertEqual(record["headers"]["sluice-parent"], "paid-c1-7")
        self.assertEqual(record["headers"]["sluice-correlation"], "c1")
        self.assertEqual(record["headers"]["sluice-hops"], "1")
        value = json.loads(record["value"])
        self.assertEqual((value["eventName"], value["data"]), ("late", {"id": "c1", "seat": 7}))
        began = json.loads(paid["value"]).get("timestamp")
        self.assertTrue(began is None or value["timestamp"] > began)
        self.await_waiting(0)
        self.send("booked", "c1")  # after the timer: nothing
        self.drain()
        self.assertEqual(len(self.topic("late")), 1)

    def test_what_it_waits_for_cancels_it(self):
        self.begin("1h")
        self.send("paid", "c1", "c2")
        self.await_waiting(2)
        self.send("booked", "c1")
        self.await_waiting(1)
        self.release_all()
        self.await_topic("late", 1, WAIT_S)
        self.drain()
        self.assertEqual([one["data"]["id"] for one in self.late()], ["c2"])

    def test_what_it_waits_for_came_before(self):
        self.begin("1h")
        self.send("booked", "c1")
        self.drain()
        self.send("paid", "c1", "c2")
        self.await_waiting(1)
        self.release_all()
        self.await_topic("late", 1, WAIT_S)
        self.assertEqual([one["data"]["id"] for one in self.late()], ["c2"])

    def test_it_begins_anew_with_another_event_and_not_with_the_same(self):
        self.begin("1h")
        self.send("paid", "c1")
        self.await_waiting(1)
        due = self.value("select due from sluice.parked")
        self.send("paid", "c1")
        self.send("paid", "c2")
        self.await_waiting(2)
        self.assertIn(due, self.value("select string_agg(due::text, ' ') from sluice.parked"))
        self.send("paid", "c1", seat=8)
        until(lambda: due not in self.value("select string_agg(due::text, ' ') from sluice.parked"), "another time")
        self.await_waiting(2)
        self.release_all()
        self.await_topic("late", 2, WAIT_S)
        self.drain()
        self.assertEqual(
            sorted((one["data"]["id"], one["data"]["seat"]) for one in self.late()), [("c1", 8), ("c2", 7)]
        )
        self.send("paid", "c1", seat=9)  # it was emitted, and begins again
        self.await_waiting(1)
        self.release_all()
        self.await_topic("late", 3, WAIT_S)
        self.assertEqual(len({one["eventId"] for one in self.late()}), 3)

    def test_the_end_of_the_chain_ends_it(self):
        self.begin("1h")
        self.send("paid", "aborted", "asked", "closed")
        self.await_waiting(3)
        self.send("failed", "aborted")
        self.await_waiting(2)
        sluice("chain", "abort", self.config, "asked", "--why", "test", env=self.vars)
        self.await_waiting(1)
        sluice("chain", "close", self.config, "closed", "--why", "test", env=self.vars)
        self.await_waiting(0)
        self.send("paid", "aborted", seat=8)  # begins again
        self.await_waiting(1)
        self.assertEqual(self.topic("late"), [])

    def test_it_is_shown(self):
        self.begin("1h")
        self.send("paid", "c1")
        self.await_waiting(1)
        listed = json.loads(sluice("delayed", "list", self.config, "--json", env=self.vars).stdout)["delayed"]
        self.assertEqual((listed[0]["topic"], listed[0]["reason"]), ("late", "timer of chain order, until booked"))
        for args in (("explain", self.config, "c1", "--why"), ("chain", "show", self.config, "c1")):
            said = sluice(*args, env=self.vars).stdout
            self.assertIn("timer of chain order, until booked", said)
        sluice("delayed", "cancel", self.config, listed[0]["id"], env=self.vars)
        letter = self.await_topic("late-dlt", 1, WAIT_S)[0]
        self.assertEqual(letter["headers"]["sluice-dlt-reason"], "cancelled")
        self.await_waiting(0)
        self.assertEqual(self.value("select state from sluice.chain"), "0")

    def test_one_that_cannot_be_emitted_is_a_dead_letter(self):
        self.begin("1h")
        self.emit("paid", {"eventId": "e1", "data": {"id": "c1"}})  # without the field of the topic's key
        self.await_waiting(1)
        self.release_all()
        letter = self.await_topic("late-dlt", 1, WAIT_S)[0]
        self.assertIn("no key for topic late", letter["headers"]["kafka_dlt-exception-message"])
        self.await_waiting(0)


class Taken(TimerCase):
    """What becomes of a timer that a lane has taken and not emitted yet, when its row changes meanwhile."""

    def setUp(self):
        super().setUp()
        self.begin("1h", SEATS)

    @contextlib.contextmanager
    def stopped(self, seat):
        """What has this seat as key, until the end of the block."""
        held = self.folder / f"held{seat}"
        held.touch()
        tried = int(self.value("select count(*) from sluice.attempt"))
        self.send("stop", "stop", seat=seat, mode="retry_while", path=str(held))
        self.await_value("select count(*) from sluice.attempt", tried + 1, WAIT_S)
        yield
        held.unlink()

    def taken(self):
        self.release_all()
        self.await_value(WAITING + " and taken_by is null", 0, WAIT_S)

    def meanwhile(self, change):
        """What is emitted when the timer goes on, and of this chain in the end."""
        self.send("paid", "c1", seat=1)
        self.await_waiting(1)
        with contextlib.ExitStack() as other_seat:
            with self.stopped(1):
                self.taken()
                change(other_seat)
            self.send("paid", "next", seat=1)
            self.await_value("select count(*) from sluice.chain where correlation_text = 'next'", 1, WAIT_S)
            first = self.late()
        self.release_all()
        self.drain(WAIT_S)
        found = [(one["data"]["id"], one["data"]["seat"]) for one in self.late()]
        self.assertEqual(sorted(found).count(("next", 1)), 1)
        return first, sorted(one for one in found if one[0] == "c1")

    def again(self, other_seat):
        self.send("paid", "c1", seat=3)
        self.await_value(WAITING + " and taken_by is null", 1, WAIT_S)
        other_seat.enter_context(self.stopped(3))
        self.taken()

    def cancelled(self, _other_seat):
        self.send("booked", "c1", seat=3)
        self.await_waiting(0)

    def over_and_again(self, other_seat):
        self.send("failed", "c1", seat=3)
        self.await_waiting(0)
        self.again(other_seat)

    def taken_again(self, _other_seat):
        """As if its lane had it for half a minute."""
        self.rows("update sluice.parked set due = now()")
        self.await_value(WAITING + " and due <= now()", 0, WAIT_S)

    def test_one_that_begins_anew(self):
        self.assertEqual(self.meanwhile(self.again), ([], [("c1", 3)]))

    def test_one_that_is_cancelled(self):
        self.assertEqual(self.meanwhile(self.cancelled), ([], []))

    def test_one_that_is_cancelled_and_begins_again(self):
        self.assertEqual(self.meanwhile(self.over_and_again), ([], [("c1", 3)]))

    def test_one_that_is_taken_again(self):
        first, all_of_it = self.meanwhile(self.taken_again)
        self.assertEqual(([one["data"]["seat"] for one in first], all_of_it), ([1], [("c1", 1)]))


class Definitions(TimerCase):
    def test_a_chain_keeps_the_timers_that_it_began_with(self):
        engine = self.begin("1h")[0]
        self.send("paid", "c1", "c2")
        self.await_waiting(2)
        self.assertEqual(engine.stop(), 0)
        # Without timers nothing would write down that the second step was done.
        self.use(YAML[: YAML.index("    timers:")].replace("BUS", "postgres, partitions: 2"))
        self.engine()
        self.send("booked", "c1")
        self.await_waiting(1)
        self.send("paid", "c3")
        self.drain_bus()
        self.await_waiting(1)
        self.release_all()
        self.await_topic("late", 1, WAIT_S)
        self.assertEqual([one["data"]["id"] for one in self.late()], ["c2"])

    def test_what_one_transaction_begins_and_cancels(self):
        """Two steps of a chain that began with another file, in one batch."""
        engine = self.begin("1h")[0]
        self.send("paid", "c1")
        self.await_waiting(1)
        self.assertEqual(engine.stop(), 0)
        self.use(YAML.replace("BUS", "postgres, partitions: 2").replace("AFTER", "2h").replace("lanes: 2", "lanes: 1"))
        self.send("paid", "c2")
        self.send("paid", "c1", seat=8)
        self.send("booked", "c1")
        self.engine()  # gets them in one batch: all are there before its first fetch
        self.drain_bus()
        self.release_all()
        self.await_waiting(0)
        self.drain()
        self.assertEqual([one["data"]["id"] for one in self.late()], ["c2"])

    def drain_bus(self):
        self.await_value("select sluice.bus_lag('own')", 0, WAIT_S)

    def test_a_topic_that_left_the_file(self):
        engine = self.begin("1h")[0]
        self.send("paid", "c1")
        self.await_waiting(1)
        self.assertEqual(engine.stop(), 0)
        changed = YAML.replace(" late", " too.late").replace("BUS", "postgres, partitions: 2").replace("AFTER", "1h")
        self.use(changed)
        for command in ("validate", self.config, "--connect"), ("run", self.config):
            refused = sluice(*command, env=self.vars, check=False)
            self.assertEqual(refused.returncode, 78)
            self.assertIn(
                "topic 'late' left the file, and something waits for it: 1 timer emits to it; say",
                refused.stdout + refused.stderr,
            )
        self.use(changed + "renamed: {late: too.late}\n")
        self.engine()
        self.release_all()
        self.await_topic("too.late", 1, WAIT_S)
        self.await_waiting(0)


class Kills(TimerCase):
    """Two processes; workers are killed while timers become due, some of which are cancelled at that time."""

    def test_each_once(self):
        found = timers_through_kills(self, self.begin("2s", engines=2))
        self.drain(WAIT_S)
        self.assertEqual(len(found), len(set(found)), "each is emitted once")


if __name__ == "__main__":
    unittest.main(verbosity=2)
