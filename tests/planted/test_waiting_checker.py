#!/usr/bin/env python3
"""The checker is checked for what waits: chains whose steps come again, and keys that are held in the database. Every
planted mistake must turn it red, for the reason that fits; without one it stays green.

On the postgres bus: the code is the same on all. Run alone: python3 tests/planted/test_waiting_checker.py [-k NAME].
"""
import unittest

import _path
from chaos import cases
from chaos.facts import sql
from lib import mistakes
from lib.engine import until


def setUpModule():
    cases.servers()


class Waiting(cases.ChaosCase):
    def begin(self, mistake, failpoints=""):
        self.work = self.stream(tap=False)
        self.mistake, self.running = mistake, self.engine(self.work, failpoints, mistake)

    def count(self, what):
        return sql(self.url, f"SELECT count(*) AS n FROM {what}")[0]["n"]

    def step(self, topic, order, **fields):
        self.work.send([self.work.orders.entry_of(topic, order, **fields)])

    def await_made(self):
        if self.mistake:
            mistakes.happened(self.mistake, self.running)

    def verdict(self, drain=True):
        if drain:
            self.work.drain()
        self.running.kill()
        return self.check(self.work)


class Chains(Waiting):
    def corners(self, mistake=None, drain=True):
        """Paid twice under one correlation, which is written in two ways; undone; paid again, and forgotten. And an
        abort that says of nothing what it is."""
        self.begin(mistake)
        for order in (7772, 7772.0):
            self.step("orders.paid", order)
        self.step("orders.failed", "7772")
        until(lambda: self.count("sluice.chain WHERE state = 2"), "the end of the chain")
        self.step("orders.paid", 7772)
        self.step("orders.failed", {"id": 7772}, expect="dead", reason="bad_correlation")
        self.await_made()
        return self.verdict(drain)

    def test_a_step_is_undone_once_however_often_it_was_done(self):
        self.red(self.corners("chain_undone_once"), "I8: step pay of order 7772 was done 3 times")

    def test_steps_after_the_end_of_a_chain_are_not_noted(self):
        self.red(self.corners("chain_over_for_good"), "I8: step pay of order 7772 was done 3 times")

    def test_numbers_are_told_apart_by_their_notation(self):
        self.red(self.corners("chain_number_as_written"), "I2: chain order has rows of correlations that no event has")

    def test_an_abort_without_correlation_is_ignored(self):
        self.red(self.corners("chain_abort_ignored"), "I18: ")

    def test_timeouts_of_chains_are_ignored(self):
        self.red(self.corners("chain_timeout_ignored", drain=False), "I8: order 7772 is left running")

    def test_without_a_mistake_the_corners_of_chains_are_green(self):
        self.green(self.corners())


class Held(Waiting):
    """Events of one key behind one that fails once."""

    def follow(self, count=3):
        self.work.send([self.work.orders.entry_of("orders.paid", n, k="o0") for n in range(count)])

    def held(self, mistake=None):
        self.begin(mistake)
        self.step("orders.paid", 100, k="o0", flaky=1)
        until(lambda: self.count("sluice.held_key"), "a held key")
        self.follow()
        self.await_made()
        return self.verdict()

    def test_a_follower_overtakes(self):
        self.red(self.held("held_overtaken"), "I16: of key o0", "I16: ")

    def test_a_row_is_read_twice(self):
        self.red(self.held("held_read_twice"), "I19: o0")

    def test_without_a_mistake_held_keys_are_green(self):
        self.green(self.held())

    def killed(self, mistake=None):
        """Its process dies between reading rows and the COMMIT of what they became."""
        self.begin(mistake, "lane.held.read=crash@1")
        self.step("orders.paid", 100, k="o0", flaky=1)
        self.follow()
        self.await_made()
        until(lambda: self.deaths(self.running), "its death")
        self.work.write(killed=self.deaths(self.running) + 1)
        self.running.kill()
        self.running = self.engine(self.work)
        until(lambda: not self.count("sluice.held_key"), "the end of the held key", 30)
        return self.verdict(drain=not mistake)

    def test_rows_are_deleted_when_they_are_read(self):
        self.red(self.killed("held_deleted_early"), "I1: o0", "I1: ")

    def test_without_a_mistake_a_kill_behind_the_read_is_green(self):
        self.green(self.killed())


if __name__ == "__main__":
    unittest.main(verbosity=2)
