#!/usr/bin/env python3
"""The checker is checked on the postgres bus: every planted bug must turn it red, for the reason that fits; and without
one it stays green. What other buses can show as well is in tests/planted/planted_case.py; what only they can, in
test_kafka_checker.py.

Run alone: python3 tests/planted/test_checker.py [-k NAME]. SLUICE_SEED repeats a stream.
"""
import os
import subprocess
import unittest
import uuid

import _path
from chaos import cases, checker
from chaos.facts import sql
from chaos.stream import EFFECTS
from chaos.wire import derive, hash64, hash128
from lib.engine import SLUICE, Engine, until
import planted_case


def setUpModule():
    cases.servers()


class Wire(unittest.TestCase):
    """The second implementation of ids gives what the first gives: vectors that the unit tests of base/ and event/ hold
    as well."""

    def test_known_values(self):
        self.assertEqual(hash64(b""), hash64(b""))
        self.assertNotEqual(hash128(b"a"), hash128(b"b"))
        parent = str(uuid.UUID(int=0x018F0000000070008000000000000001))
        self.assertEqual(derive(parent, "h", "r")[:13], parent[:13], "a time prefix is kept")
        self.assertNotEqual(derive(parent, "h", "r", 0), derive(parent, "h", "r", 1))


class Postgres(planted_case.Planted):
    def overtaken(self, failpoint):
        """Transactions that are slow to commit are overtaken by others with higher numbers."""
        stream = self.stream(tap=False)
        engine = self.engine(stream, ",".join(filter(None, [failpoint, "lane.commit.before=delay:120%30"])))
        for _ in range(8):
            stream.send([stream.pay() for _ in range(25)])
        try:
            stream.drain(5 if failpoint else 60)
        except AssertionError:
            self.assertTrue(failpoint, "only what was read past stays behind")
        engine.kill()
        return self.check(stream)

    def test_reading_past_transactions_that_still_run(self):
        self.red(self.overtaken("bus.horizon.mutate=mutate"), "I1: ")

    def test_without_the_bug_slow_transactions_are_green(self):
        self.green(self.overtaken(""))


MEMORY = """
pipeline: memory
bus: {kind: memory}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 1, sweep_after: 200ms}
plugins:
  chaos: {library: "${CHAOS_SO}", settings: {adds: 5}}
schedules:
  ticks: {every: 100ms, handler: chaos.tick, routes: {ok: things, other: drop}}
topics:
  things: {final: true}
"""


class Sweeper(cases.ChaosCase):
    """Outputs that are committed and that the bus does not take. Its topics cannot be seen from here: the outbox
    can."""

    def unpublished(self, failpoint):
        config = self.folder / "memory.yaml"
        config.write_text(MEMORY)
        env = {"DATABASE_URL": self.url, "CHAOS_SO": str(EFFECTS.parent / "chaos.so")}
        self.assertEqual(
            subprocess.run(
                [SLUICE, "migrate", config], env=dict(os.environ, **env), capture_output=True, check=False
            ).returncode,
            0,
        )
        engine = Engine(
            config,
            {
                **env,
                "SLUICE_FAILPOINTS": ",".join(filter(None, [failpoint, "bus.append.before=error%40"])),
                "SLUICE_SEED": str(cases.SEED),
            },
            http=False,
        )
        self.engines.append(engine)
        engine.start()
        until(lambda: sum("not published now" in line for line in list(engine.log)) >= 1, "a refusal of the bus")

        def ids():
            return {row["id"] for row in sql(self.url, "SELECT id FROM sluice.outbox")}

        if failpoint:
            until(lambda: len(ids()) >= 5, "a pile of batches that nobody publishes")
            left = len(ids())
        else:
            word = "not published by their process"
            until(lambda: any(word in line for line in list(engine.log)), "the sweeper's word")
            now = ids()  # there is always a batch that was just published: its row goes with the next transaction
            until(lambda: not now & ids(), "the end of the batches that were there")
            left = 0
        engine.kill()
        return left

    def test_no_sweeper(self):
        left = self.unpublished("keeper.sweep=error")
        self.assertGreater(left, 0)
        facts = type("Database", (), {"url": self.url})()
        self.red(list(checker.drained(facts)), "I15: ")

    def test_with_the_sweeper_the_outbox_empties(self):
        self.assertEqual(self.unpublished(""), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
