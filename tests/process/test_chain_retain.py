#!/usr/bin/env python3
"""Chains that are over are forgotten after `retain`, and no other one; and an instance that began with an earlier
definition ends by it.

Run alone: python3 tests/process/test_chain_retain.py [-k NAME].
"""
import unittest

import _path
from lib.engine import until
from test_chain_ends import YAML, ChainCase

DAY = 24 * 3600
RETAINED = (
    YAML.replace('store: {url: "${DATABASE_URL}"}', 'store: {url: "${DATABASE_URL}", inbox_retention: 1h}')
    + """\
    retain: 2h
  kept:
    correlate: id
    steps: [{name: pay, done: paid, undo: cancel}]
    abort_on: [failed]
"""
)
STATES = (
    "select coalesce(string_agg(c.correlation_text || c.state || c.generation, ' ' order by c.correlation_text), '-')"
    " from sluice.chain c join sluice.name n on n.number = c.chain where n.name = '%s'"
)


class Retained(ChainCase):
    yaml = RETAINED

    def age(self, what="true"):
        self.rows(f"update sluice.chain set over = over - {DAY}, at = at - {DAY}, began = began - {DAY} where {what}")

    def states(self, wanted, chain="order"):
        self.await_value(STATES % chain, wanted, 30)

    def test_what_is_over_is_forgotten(self):
        """Undone and complete ones, and those that were aborted before anything was done."""
        self.engine()
        self.step("paid", "undone", n=1)
        self.step("paid", "complete", n=2)
        self.step("booked", "complete", n=3)
        self.step("paid", "running", n=4)
        self.drain()
        self.step("failed", "undone")
        self.step("failed", "early")
        self.await_topic("refund", 1)
        self.states("complete00 early20 running00 undone20")
        self.assertEqual(self.value("select count(*) from sluice.chain where over is null"), "3")  # two of `kept`
        self.age()
        self.states("running00")
        self.states("complete00 early20 running00 undone20", "kept")  # without `retain`
        self.step("booked", "running", n=5)
        self.drain()
        self.assertEqual(self.value(STATES % "order"), "running00")
        self.age("over is not null and correlation_text = 'running'")
        self.await_value(STATES % "order", "-", 30)

    def test_a_correlation_that_comes_again_is_undone_again(self):
        """Its undo is another event than the one of the chain that was forgotten."""
        self.engine()
        for n in (1, 2):
            self.step("paid", n=n)
            self.drain()
            self.step("failed")
            self.await_topic("refund", n)
            self.states(f"c12{n - 1}")
            self.age()
            self.await_value(STATES % "order", "-", 30)
        self.drain()
        acts = (
            "select count(*) from sluice.inbox i join sluice.name n on n.number = i.handler"
            " where n.name = 'chaos.act_sql'"
        )
        self.assertEqual([r.split()[0] for r in self.undone()].count("refund"), 2)
        self.assertEqual(self.value(acts), "6")  # two payments, two refunds, and two cancels of `kept`

    def test_a_late_step_keeps_it(self):
        """What is over is over again only once the late step is undone."""
        self.engine()
        self.step("paid", n=1)
        self.drain()
        self.step("failed")
        self.states("c120")
        before = self.value("select min(over) from sluice.chain")
        self.rows("update sluice.chain set over = over - 100")
        self.step("booked", n=2)
        self.await_topic("cancel", 2)
        self.drain()
        self.assertEqual(
            self.value(
                f"select over >= {before} and state = 2 from sluice.chain where generation = 0"
                " order by cardinality(data) desc limit 1"
            ),
            "t",
        )


FOLLOWED = YAML + "    timeout: %s\n"


class Definitions(ChainCase):
    def restart(self, yaml):
        self.engines[-1].kill()
        self.use(yaml, migrate=False)
        return self.engine()

    def test_an_older_one_is_complete(self):
        """Its steps are those of the definition that it began with; complete, its timeout does not abort it."""
        self.use(FOLLOWED % "4s", migrate=False)
        self.engine()
        self.step("paid", n=1)
        self.drain()
        self.assertEqual(self.value("select missing from sluice.chain"), "2")
        self.restart(
            (FOLLOWED % "4s")
            .replace("      - {name: book", "      - {name: ship, done: shipped, undo: cancel}\n      - {name: book")
            .replace("  refund:", "  shipped: {final: true}\n  refund:")
        )
        self.step("booked", n=2)
        self.await_value("select missing from sluice.chain", 0)
        self.assertEqual(self.value("select due is null and over is not null from sluice.chain"), "t")
        self.step("paid", "other", n=3)  # of the new definition: is aborted after 4 s
        self.await_topic("refund", 1)
        self.assertEqual(self.undone(), ["refund 3"])

    def test_a_step_that_has_no_undo_any_more(self):
        """The chain of the correlation is over, and begins again with a definition that undoes nothing of it."""
        self.engine()
        self.step("paid", n=1)
        self.drain()
        self.step("failed")
        self.await_value("select state from sluice.chain", 2)
        changed = (FOLLOWED % "1h").replace("undo: refund}", "undo: none}")
        engine = self.restart(changed)
        self.step("paid", n=2)
        self.await_value("select state || ' ' || generation || ' ' || length(steps) from sluice.chain", "0 1 0")
        self.step("failed")
        self.await_value("select state from sluice.chain", 2)
        self.assertEqual(self.undone(), ["refund 1"])
        self.assertNotIn("ERROR", engine.text())

    def test_a_step_that_has_an_undo_now(self):
        self.use(YAML.replace("done: paid, undo: refund", "done: paid, undo: none"), migrate=False)
        self.engine()
        self.step("booked", n=1)
        self.drain()
        self.step("failed")
        self.await_value("select state from sluice.chain", 2)
        self.restart(YAML)
        self.step("paid", n=2)
        self.await_value("select state || ' ' || generation from sluice.chain", "0 1")
        self.step("failed")
        self.await_topic("refund", 1)
        self.assertEqual(self.undone(), ["cancel 1", "refund 2"])

    def test_a_step_that_it_did_not_have_is_said(self):
        self.use(YAML.replace("      - {name: pay, done: paid, undo: refund}\n", ""), migrate=False)
        self.engine()
        self.step("booked", n=1)
        self.drain()
        engine = self.restart(YAML)
        self.step("paid", n=2)
        until(lambda: "without a step on paid" in engine.text(), lambda: f"what is said; {engine.text()}")
        self.drain()
        self.step("failed")
        self.await_topic("cancel", 1)

    def test_a_step_and_an_abort_that_left_the_chain(self):
        """What is in flight is followed and undone by the definition that it began with, on topics that only that one
        has, and that the file handles no more."""
        self.engine()
        self.step("paid", "old", n=1)
        self.drain()
        changed = YAML.replace("      - {name: book, done: booked, undo: cancel}\n", "").replace(
            "abort_on: [failed]", "abort_on: [declined]"
        )
        self.restart(changed.replace("  refund:", "  declined: {final: true}\n  refund:"))
        self.step("paid", "new", n=2)
        for correlation in ("old", "new"):
            self.step("booked", correlation, n=3)
            self.drain()
            self.step("failed", correlation)
        self.await_topic("refund", 1)
        self.await_topic("cancel", 1)
        self.await_value("select state from sluice.chain where correlation_text = 'old'", 2)
        self.drain()
        self.assertEqual(self.undone(), ["cancel 3", "refund 1"])
        self.step("declined", "new")
        self.await_topic("refund", 2)
        self.assertEqual(self.undone(), ["cancel 3", "refund 1", "refund 2"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
