"""What long runs share: a stream with a tap and a sink, engines that die in it, the drain, and the look at what a
worker holds.
"""
import os
import random
import signal
import time

from chaos.cases import SEED, ChaosCase
from chaos.stream import Sink, resources
from lib.engine import until


class LongRun(ChaosCase):
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

        until(ready, lambda: f"a worker to be ready; the engine said\n{engine.text()}")

    def killed(self, count=1):
        self.kills += count
        self.work.write(killed=count)

    def kill_worker(self, engine):
        deaths = self.deaths(engine)
        until(lambda: engine.kill_worker(signal.SIGKILL), "a worker to kill")
        until(lambda: self.deaths(engine) > deaths, "the master's word on the death of its worker")
        self.killed()

    def end(self, engine):
        """kill -9 of the master; its worker must not outlive it."""
        worker = engine.worker()
        engine.kill()
        self.killed()
        self.engines.remove(engine)
        until(lambda: worker is None or not os.path.exists(f"/proc/{worker}"), "the death of the orphaned worker")

    def feed_until(self, condition, what, engine, limit_s=25.0):
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end:
                self.fail(f"{what}: not within {limit_s} s; the engine said\n{engine.text()}")
            self.work.round(50, raw=self.dice.randint(0, 1))

    def handled(self):
        return int(self.postgres.value("SELECT count(*) FROM sluice.inbox", self.url))

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
