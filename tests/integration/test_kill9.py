#!/usr/bin/env python3
"""kill -9 at every failpoint of the lane loop and at random points, with duplicates, declines, failing reservations, poison and id
conflicts in the stream; then the checker looks for anything lost, doubled, invented or out of order.

Run alone: python3 tests/integration/test_kill9.py. SLUICE_SEED repeats a run's stream and choices; KILLS (25) is the number of
random kills that come after those at failpoints.
"""
import os
import pathlib
import random
import re
import signal
import sys
import tempfile
import threading
import time
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / folder) for folder in ("lib", "chaos")]
import checker  # noqa: E402
from engine import Engine, sluice, until  # noqa: E402
from facts import Facts  # noqa: E402
from postgres import PrivatePostgres  # noqa: E402
from stream import LIBRARIES, Sink, Stream, resources  # noqa: E402

SEED = int(os.environ.get("SLUICE_SEED") or random.SystemRandom().randrange(1, 1 << 31))
KILLS = int(os.environ.get("KILLS", "25"))

# What a kill cannot reach here, and why. A failpoint that is in neither list fails the test: somebody must decide.
ELSEWHERE = {
    "keeper.sweep": "the sweeper is for buses outside the transaction",
    "lane.emit.before": "the same: on this bus COMMIT is the emission",
    "lane.emit.after": "the same",
}
PLANTED = re.compile(r".*\.mutate$|^store\.commit\.ignore_tag$")  # no steps of the work, but bugs to be found
# Reached when partitions change hands: a second engine joins.
HANDOVER = {"bus.revoke", "reader.revoke"}
# Hits before the one that kills: statements at start come by the store's points, too.
LATEST = {"bus.assign": 1, "bus.heartbeat": 3, "bus.revoke": 1, "reader.revoke": 1, "store.connect": 8, "bus.poll.before": 30,
          "store.commit.reply_lost": 6, "bus.commit.before": 4, "bus.commit.after": 4, "reader.commit.before": 4, "reader.commit.after": 4}


class Kill9(unittest.TestCase):
    def setUp(self):
        print(f"seed {SEED}", file=sys.stderr, flush=True)
        self.dice = random.Random(SEED)
        folder = tempfile.TemporaryDirectory(prefix="sluice-kill9-")
        self.addCleanup(folder.cleanup)
        self.log = os.path.join(folder.name, "log")
        self.postgres = PrivatePostgres()
        self.addCleanup(self.postgres.close)
        self.postgres.start()
        self.url = self.postgres.create_database()
        self.sink = Sink(SEED)
        self.addCleanup(self.sink.close)
        self.stream = Stream(SEED, self.url, self.log, sink_url=self.sink.url)
        self.stream.prepare()
        self.kills = 0
        self.engines = []
        self.addCleanup(lambda: [engine.kill() for engine in self.engines])

    def start(self, failpoints="", wait=False):
        engine = Engine(self.stream.config, {**self.stream.env, "SLUICE_FAILPOINTS": failpoints})
        self.engines.append(engine)
        return engine.start(wait=wait)

    @staticmethod
    def deaths(engine):
        return sum("killed by signal 9" in line for line in list(engine.log))

    def end(self, engine):
        """kill -9 of the master; its worker must not outlive it."""
        worker = engine.worker()
        engine.kill()
        self.kills += 1
        self.engines.remove(engine)
        until(lambda: worker is None or not os.path.exists(f"/proc/{worker}"), "the death of the orphaned worker", 5)

    def feed_until(self, condition, what, engine, limit_s=25.0):
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end:
                self.fail(f"{what}: not within {limit_s} s; the engine said\n{engine.text()}")
            self.stream.round(50, raw=self.dice.randint(0, 1))

    def kill_at(self, failpoint):
        hit = self.dice.randint(1, LATEST.get(failpoint, 12))
        engine = self.start(f"{failpoint}=crash@{hit}")
        peer = None
        if failpoint in HANDOVER:
            until(lambda: any("group chaos: " in line and "16 in all" in line for line in list(engine.log)), "all partitions", 20)
            peer = self.start(wait=True)
        self.feed_until(lambda: self.deaths(engine) >= 1, f"kill at hit {hit} of {failpoint}", engine)
        self.kills += self.deaths(engine)
        self.end(engine)
        if peer is not None:
            self.end(peer)

    def handled(self):
        return int(self.postgres.value("SELECT count(*) FROM sluice.inbox", self.url))

    def kill_at_random(self, engine):
        """One kill while events come: mostly of an engine at work, sometimes of one that just starts."""
        if self.dice.random() < 0.7:
            engine.wait_ready(self.deaths(engine) + 1)
            before = self.handled()
            self.feed_until(lambda: self.handled() > before, "anything handled", engine)
        feeder = threading.Thread(target=self.stream.round, args=(120,))
        feeder.start()
        feeder.join(self.dice.random() * 0.25)  # the random point: how far the round has come by then
        deaths = self.deaths(engine)
        until(lambda: engine.kill_worker(signal.SIGKILL), "a worker to kill", 10)
        until(lambda: self.deaths(engine) > deaths, "the master's word on the death of its worker", 10)
        self.kills += 1
        feeder.join()

    def test_nothing_is_lost_or_done_twice(self):
        points = sluice("version", "--failpoints").stdout.split()
        steps = [point for point in points if not PLANTED.match(point) and point not in ELSEWHERE]
        self.assertLessEqual(set(ELSEWHERE) | HANDOVER | set(LATEST), set(points), "a failpoint has gone or has another name")
        for failpoint in steps:
            with self.subTest(failpoint=failpoint):
                self.kill_at(failpoint)
            self.stream.sample()
        at_points = self.kills

        engine = self.start(wait=True)
        for number in range(KILLS):
            if number % 4 == 3:  # a master pauses longer before each new worker that dies young: it gets a successor
                self.end(engine)
                engine = self.start()
            else:
                self.kill_at_random(engine)
            self.stream.sample()
        self.end(engine)

        engine = self.start(wait=True)
        self.stream.round(50)
        self.stream.drain()
        first = resources(engine.process.pid, engine.worker())
        for times in range(2):
            self.assertIsNotNone(engine.kill_worker())
            self.kills += 1
            engine.wait_ready(times + 2)
            self.stream.round(50)
            self.stream.drain()
        self.stream.write(resources=first)
        self.stream.write(resources=resources(engine.process.pid, engine.worker()))
        self.assertEqual(engine.stop(), 0, engine.text())
        for event_id in self.sink.ids:
            self.stream.write(sink=event_id)

        facts = Facts(self.stream.config, self.stream.env, self.log, LIBRARIES)
        found = checker.check(facts)
        print(f"{self.kills} kills, {at_points} of them around {len(steps)} failpoints; {self.stream.sent} events sent, "
              f"{self.stream.duplicates} of them duplicates; {dict(self.stream.kinds)}; {len(facts.inbox)} outcomes, "
              f"{len(facts.records)} records", file=sys.stderr)
        self.assertGreaterEqual(self.kills, 50)
        self.assertEqual(found, [], f"\n{len(found)} violations with SLUICE_SEED={SEED}:\n" + "\n".join(found[:40]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
