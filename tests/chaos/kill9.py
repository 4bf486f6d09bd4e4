"""kill -9 at every failpoint of the lane loop and the bus, and at random points, with duplicates, declines, failing
reservations, poison and id conflicts in the stream; then the checker looks for anything lost, doubled, invented or out
of order.

A subclass a bus says what a kill cannot reach there. SLUICE_SEED repeats a run's stream and choices; KILLS is the
number of random kills that come after those at failpoints.
"""
import os
import random
import signal
import sys
import threading
import time

from chaos import checker
from chaos.cases import SEED, ChaosCase
from chaos.stream import Sink, resources
from lib.engine import sluice, until

# Reached when partitions change hands: a second engine joins.
HANDOVER = {"bus.revoke", "reader.revoke"}
# Hits before the one that kills: statements at start come by the store's points, too.
LATEST = {
    "bus.assign": 1,
    "bus.heartbeat": 3,
    "bus.revoke": 1,
    "reader.revoke": 1,
    "store.connect": 8,
    "bus.poll.before": 30,
    "store.commit.reply_lost": 6,
    "bus.commit.before": 4,
    "bus.commit.after": 4,
    "reader.commit.before": 4,
    "reader.commit.after": 4,
    "keeper.sweep": 2,
}


class Kill9(ChaosCase):
    elsewhere = (
        {}
    )  # what a kill cannot reach on this bus, and why. A failpoint in no list fails the test: somebody must decide
    latest = {}
    random_kills = 25

    def setUp(self):
        super().setUp()
        self.dice = random.Random(SEED)
        self.sink = Sink(SEED)
        self.addCleanup(self.sink.close)
        self.work = self.stream(sink_url=self.sink.url)
        self.work.watch()
        self.kills = 0

    def start(self, failpoints="", wait=False):
        return self.engine(self.work, failpoints, wait=wait)

    @staticmethod
    def await_ready(engine):
        """Its newest worker is ready; one may die before it ever was."""

        def ready():
            words = [line for line in list(engine.log) if "ready:" in line or "signal 9 (Killed)" in line]
            return words and "ready:" in words[-1]

        until(ready, f"a worker to be ready; the engine said\n{engine.text()}")

    def killed(self, count=1):
        self.kills += count
        self.work.write(killed=count)

    def kill_worker(self, engine):
        deaths = self.deaths(engine)
        until(lambda: engine.kill_worker(signal.SIGKILL), "a worker to kill", 10)
        until(lambda: self.deaths(engine) > deaths, "the master's word on the death of its worker", 10)
        self.killed()

    def end(self, engine):
        """kill -9 of the master; its worker must not outlive it."""
        worker = engine.worker()
        engine.kill()
        self.killed()
        self.engines.remove(engine)
        until(lambda: worker is None or not os.path.exists(f"/proc/{worker}"), "the death of the orphaned worker", 5)

    def feed_until(self, condition, what, engine, limit_s=25.0):
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end:
                self.fail(f"{what}: not within {limit_s} s; the engine said\n{engine.text()}")
            self.work.round(50, raw=self.dice.randint(0, 1))

    def kill_at(self, failpoint):
        hit = self.dice.randint(1, self.latest.get(failpoint, LATEST.get(failpoint, 12)))
        engine = self.start(f"{failpoint}=crash@{hit}")
        peer = None
        if failpoint in HANDOVER:
            self.await_all(engine)
            peer = self.start(wait=True)
        self.feed_until(lambda: self.deaths(engine) >= 1, f"kill at hit {hit} of {failpoint}", engine)
        self.killed(self.deaths(engine))
        self.end(engine)
        if peer is not None:
            self.end(peer)

    def handled(self):
        return int(self.postgres.value("SELECT count(*) FROM sluice.inbox", self.url))

    def kill_at_random(self, engine):
        """One kill while events come: mostly of an engine at work, sometimes of one that just starts."""
        if self.dice.random() < 0.7:
            self.await_ready(engine)
            before = self.handled()
            self.feed_until(lambda: self.handled() > before, "anything handled", engine)
        feeder = threading.Thread(target=self.work.round, args=(120,))
        feeder.start()
        feeder.join(self.dice.random() * 0.25)  # the random point: how far the round has come by then
        self.kill_worker(engine)
        feeder.join()

    def kill_everywhere(self):
        points = sluice("version", "--failpoints").stdout.split()
        steps = [point for point in points if point not in self.elsewhere]
        self.assertLessEqual(
            set(self.elsewhere) | HANDOVER | set(LATEST), set(points), "a failpoint has gone or has another name"
        )
        for failpoint in steps:
            with self.subTest(failpoint=failpoint):
                self.kill_at(failpoint)
        return len(steps)

    def kill_randomly(self):
        """The second half among two engines, which share the partitions."""
        count = int(os.environ.get("KILLS") or self.random_kills)
        engines = [self.start(wait=True)]
        for number in range(count):
            if number == count // 2:
                engines.append(self.start(wait=True))
            which = self.dice.randrange(len(engines))
            if number % 4 == 3:  # a master pauses longer before each new worker that dies young: it gets a successor
                self.end(engines[which])
                engines[which] = self.start()
            else:
                self.kill_at_random(engines[which])
        for engine in engines:
            self.end(engine)

    def settle(self):
        """Drains, and compares what a worker holds at first with what it holds after its successors' deaths."""
        engine = self.start(wait=True)
        self.work.round(50)
        self.work.drain()
        first = resources(engine.process.pid, engine.worker())
        for _ in range(2):
            self.kill_worker(engine)
            self.await_ready(engine)
            self.work.send([self.work.effect() for _ in range(50)])  # nothing that waits long
            self.work.drain()
        self.work.write(resources=first)
        self.work.write(resources=resources(engine.process.pid, engine.worker()))
        self.assertEqual(engine.stop(), 0, engine.text())
        self.work.unwatch()
        self.work.sample()
        for event_id in list(self.sink.ids):
            self.work.write(sink=event_id)

    def test_nothing_is_lost_or_done_twice(self):
        began = time.monotonic()
        steps = self.kill_everywhere()
        at_points, killing = self.kills, time.monotonic()
        self.kill_randomly()
        settling = time.monotonic()
        self.settle()
        checking = time.monotonic()
        facts = self.facts(self.work)
        found = checker.check(facts)
        print(
            f"{self.kills} kills, {at_points} of them around {steps} failpoints; {self.work.sent} events sent,"
            f" {self.work.duplicates} of them duplicates; {dict(self.work.kinds)}; {len(facts.inbox)} outcomes,"
            f" {len(facts.records)} records, {len(facts.repeats)} of them once more; seconds:"
            f" {killing - began:.0f} at failpoints, {settling - killing:.0f} at random,"
            f" {checking - settling:.0f} to drain, {time.monotonic() - checking:.0f} to check",
            file=sys.stderr,
        )
        self.assertGreaterEqual(self.kills, 50)
        self.green(found)
