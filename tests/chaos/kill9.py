"""kill -9 at every failpoint of the lane loop and the bus, and at random points, with duplicates, declines, failing
reservations, poison and id conflicts in the stream; then the checker looks for anything lost, doubled, invented or out
of order.

A subclass a bus says what a kill cannot reach there. SLUICE_SEED repeats a run's stream and choices; KILLS is the
number of random kills that come after those at failpoints.
"""
import os
import sys
import threading
import time

from chaos import checker
from chaos.long_run import LongRun
from lib.engine import sluice

# Reached when partitions change hands: a second engine joins.
HANDOVER = {"bus.revoke", "reader.revoke"}
# Hits before the one that kills: statements at start come by the store's points, too.
LATEST = {
    "bus.assign": 1,
    "bus.heartbeat": 3,
    "bus.offset.lost": 2,
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
    "keeper.watchdog": 1,
    "store.hold.before": 4,
    "store.hold.after": 4,
    "store.held.ended": 4,
    "lane.held.read": 4,
    "lane.held.free": 2,
}


# A command's, where there is no store; test_topic_dead_letters kills it there.
WRITER = {f"bus.writer.commit.{when}": "no lane's: a replay without a store" for when in ("before", "after")}
WRITER["reload.read"] = "of a reload: see tests/process/test_reload_answers.py"
WRITER["handover.begin"] = "of a reload: see tests/process/test_reload.py"


class Kill9(LongRun):
    elsewhere = (
        {}
    )  # what a kill cannot reach on this bus, and why. A failpoint in no list fails the test: somebody must decide
    latest = {}
    random_kills = 25

    def kill_at(self, failpoint):
        hit = self.dice.randint(1, self.latest.get(failpoint, LATEST.get(failpoint, 12)))
        engines = [self.start(f"{failpoint}=crash@{hit}")]
        try:
            if failpoint in HANDOVER:
                self.await_all(engines[0])
                engines.append(self.start(wait=True))
            self.feed_until(lambda: self.deaths(engines[0]) >= 1, f"kill at hit {hit} of {failpoint}", engines[0])
            self.killed(self.deaths(engines[0]))
        finally:  # one that stays would share the partitions of those behind it
            for engine in engines:
                self.end(engine)

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
