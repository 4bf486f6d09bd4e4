#!/usr/bin/env python3
"""The checker is checked: mistakes in the timers of chains turn it red, and their twins without the mistake stay green.

On the postgres bus: the code is the same on all. Run alone: python3 tests/planted/test_timers_checker.py [-k NAME].
"""
import unittest

import _path
from chaos import cases
from lib import mistakes
from lib.engine import until

COUNT = 20
KEYS = [f"o{n}" for n in range(6)]


def setUpModule():
    cases.servers()


class Timers(cases.ChaosCase):
    """Chains that wait for their second step, each with its timer; in the end all of them get it."""

    def timed(self, after="5s"):
        """What the chains' own timeout does comes too late to be seen."""
        stream = self.stream(tap=False)
        text = stream.config.read_text().replace("after: 700ms", f"after: {after}")
        stream.config.write_text(text.replace("timeout: 2s\n", "timeout: 2h\n"))
        return stream

    def send(self, stream, topic, count=COUNT, keys=("o0",)):
        stream.send([stream.orders.entry_of(topic, 8000 + n, k=k) for n in range(count) for k in keys])

    def noted(self, what):
        return int(self.postgres.value(f"SELECT count(*) FROM noted_timer WHERE what = '{what}'", self.url))

    def begun(self, stream, engine):
        self.send(stream, "orders.paid")
        until(lambda: self.noted("begun") == COUNT, "the timers", step_s=0.1)
        # Or the next engine would get these events again, and die at them instead of at its timers.
        until(lambda: self.bus.lags().get(self.bus.group) == 0, "its positions", step_s=0.1)
        return engine

    def due(self, stream):
        """Timers that became due while no engine ran, so that they are the first thing that the next one does."""
        self.begun(stream, self.engine(stream)).kill()
        late = "SELECT count(*) FROM sluice.parked WHERE due > now()"
        until(lambda: self.postgres.value(late, self.url) == "0", "their time", step_s=0.1)

    def end(self, stream, engine, booked=True):
        if booked:
            self.send(stream, "orders.booked")
        stream.drain()
        engine.kill()
        return self.check(stream)

    def killed(self, failpoints="", mistake=None):
        """An engine that emits them, and another one after its death."""
        if mistake:
            mistakes.build(mistake)
        stream = self.timed()
        self.due(stream)
        engine = self.engine(stream, failpoints, mistake)
        if mistake:
            mistakes.happened(mistake, engine)
        if failpoints:
            until(lambda: self.deaths(engine) > 0 or "signal" in engine.text(), "its death")
        elif mistake:
            until(lambda: len(self.facts(stream).by_topic["orders.late"]) >= COUNT, "what it emits")
        engine.kill()
        return self.end(stream, self.engine(stream))

    def cancelled_late(self, mistake=None):
        """They are cancelled while the lane that has taken them waits."""
        if mistake:
            mistakes.build(mistake)
        stream = self.timed()
        self.due(stream)
        engine = self.engine(stream, "lane.claim.before=delay:15000@1", mistake)
        taken = "SELECT bool_and(taken_by IS NOT NULL) FROM sluice.parked"
        until(lambda: self.postgres.value(taken, self.url) == "t", "a lane to take them")
        self.send(stream, "orders.booked", keys=KEYS)
        if mistake:
            mistakes.happened(mistake, engine)
        return self.end(stream, engine, booked=False)

    def cancelled(self, mistake=None):
        """They are cancelled before their time."""
        if mistake:
            mistakes.build(mistake)
        stream = self.timed()
        engine = self.begun(stream, self.engine(stream, mistake=mistake))
        self.send(stream, "orders.booked")
        if mistake:
            mistakes.happened(mistake, engine)
        return self.end(stream, engine, booked=False)

    def begun_again(self):
        """They are cancelled and begun again in one transaction: an abort undoes their chains, which are paid again."""
        stream = self.timed("1h")
        self.begun(stream, self.engine(stream)).kill()
        self.send(stream, "orders.failed")
        self.send(stream, "orders.paid")
        engine = self.engine(stream)  # its lane gets them in one batch: all are there before its first fetch
        until(lambda: self.noted("begun") == 2 * COUNT, "the timers once more")
        both = "noted_timer o JOIN noted_timer b USING (xid, id) WHERE o.what = 'over' AND b.what = 'begun'"
        self.assertNotEqual(self.postgres.value(f"SELECT count(*) FROM {both}", self.url), "0", "in one transaction")
        return self.end(stream, engine)

    def not_begun(self):
        """Steps that begin timers, and the mistake that none begins."""
        mistakes.build("timer_not_begun")
        stream = self.timed("1h")
        engine = self.engine(stream, mistake="timer_not_begun")
        self.send(stream, "orders.paid")
        mistakes.happened("timer_not_begun", engine)
        return self.end(stream, engine)

    def test_a_timer_that_does_not_begin(self):
        self.red(self.not_begun(), "I24: a timer did not begin with its step")

    def test_a_timer_that_goes_on(self):
        self.red(self.cancelled("timer_never_ends"), "I24: a timer was emitted after its cancellation was committed")

    def test_a_timer_that_ends_apart_from_its_event(self):
        found = self.killed("lane.commit.before=crash@1", "timer_apart")
        self.red(found, "I24: a timer is over, and was neither emitted nor cancelled")

    def test_a_timer_that_is_emitted_and_left(self):
        """What is found depends on who deletes its row in the end, if anybody does."""
        self.red(self.killed(mistake="timer_left"), "I24: a timer was emitted")

    def test_a_timer_that_is_emitted_twice(self):
        self.red(self.killed(mistake="timer_twice"), "I24: a timer was emitted 2 times")

    def test_a_timer_that_is_emitted_and_cancelled(self):
        found = self.cancelled_late("timer_cancelled_late")
        self.red(found, "I24: a timer was emitted, and another transaction cancelled it")

    def test_without_the_mistake_cancelled_timers_are_green(self):
        self.green(self.cancelled())

    def test_without_the_mistake_timers_of_a_killed_process_are_green(self):
        self.green(self.killed("lane.commit.before=crash@1"))

    def test_without_the_mistake_timers_that_are_due_are_green(self):
        self.green(self.cancelled_late())

    def test_timers_that_one_transaction_cancels_and_begins_again_are_green(self):
        self.green(self.begun_again())


if __name__ == "__main__":
    unittest.main(verbosity=2)
