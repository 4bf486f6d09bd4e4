#!/usr/bin/env python3
"""PostgreSQL that dies, freezes, loses its answers and its connections while events flow on Kafka: nothing is lost,
done twice or given up.

Run alone: python3 tests/faults/test_database.py. SLUICE_SEED repeats a run's stream and choices.
"""
import contextlib
import signal
import time
import unittest

import _path
from fault_case import FaultCase, say, until
from lib import mistakes

STATEMENT_TIMEOUT_S = 10


def commit_by(digit):
    """COMMIT as the store sends it: Bind of a statement whose name ends in this digit, without parameters, then nothing
    but the Sync."""
    return digit.encode() + b"\0\0\0\0\0\0\1\0\1D\0\0\0\6P\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\4"


class Database(FaultCase):
    database_proxied = True
    round_size = 12
    crashed = False

    def verdict(self, limit_s=60):
        super().verdict(limit_s)
        self.assertEqual(
            [line for engine in self.started for line in engine.log if "ran past its deadline" in line], []
        )

    def violations(self):
        """Positions do not wait for the disk: after a crash of the server they may be older than Kafka's, which is read
        again."""
        return [sentence for sentence in super().violations() if not (self.crashed and sentence.startswith("I14: "))]

    def kill(self):
        self.crashed = True
        self.postgres.kill()
        self.addCleanup(self.postgres.start)

    def test_killed(self):
        for pause_s in (0, 3):
            with self.fault("PostgreSQL killed"):
                self.kill()
                time.sleep(pause_s)
                self.postgres.start()
        self.verdict()

    def test_frozen(self):
        self.addCleanup(self.postgres.signal, signal.SIGCONT)
        with self.fault("PostgreSQL frozen", deaths=2):
            self.postgres.signal(signal.SIGSTOP)
            time.sleep(2 * STATEMENT_TIMEOUT_S)
            self.postgres.signal(signal.SIGCONT)
        self.verdict()

    def test_answers_to_commit_lost(self):
        before = self.database.dropped
        with self.fault("answers to COMMIT lost", deaths=100):
            for digit in self.dice.sample("0123456789", 10):
                self.database.drop_reply_after(commit_by(digit), 40)
                time.sleep(1.5)
            self.database.drop_reply_after(b"", 0)
        say(f"{self.database.dropped - before} answers lost")
        self.assertGreaterEqual(self.database.dropped - before, 5)
        self.assertTrue(
            any("whether it was committed is not known" in line for line in self.engines[0].log), self.told()
        )
        self.verdict()

    def test_connections_cut_at_random(self):
        with self.fault("connections reset", deaths=40):
            for _ in range(40):
                time.sleep(self.dice.uniform(0.01, 0.3))
                self.database.reset()
        with self.fault("connections refused now and then", deaths=5):
            for _ in range(5):
                self.database.cut()
                time.sleep(self.dice.uniform(0.05, 0.8))
                self.database.mend()
                time.sleep(self.dice.uniform(0.05, 0.5))
        self.verdict()

    def test_half_open_longer_than_a_statement_may_take(self):
        for direction in ("down", "both"):
            with self.fault(f"half open, {direction}", deaths=2):
                self.database.black_hole(direction)
                time.sleep(STATEMENT_TIMEOUT_S + 3)
                self.database.mend()
        self.verdict()

    def test_both_away(self):
        """Kafka and PostgreSQL, back in either order."""

        def kafka():
            self.kafka.restart(1)

        for first, second in ((kafka, self.postgres.start), (self.postgres.start, kafka)):
            with self.fault("Kafka and PostgreSQL killed", deaths=2):
                self.kill()
                self.kafka.kill(1)
                time.sleep(1)
                first()
                time.sleep(2)
                second()
        self.verdict()


class Planted(FaultCase):
    def test_a_store_that_trusts_is_found_out(self):
        """Planted: a batch counts as committed, whatever became of its COMMIT. Connections are lost before it is sent;
        cut from outside, hardly one is lost just there."""
        self.end(self.engines[0])
        planted = self.engine("store.commit.before=error%5", mistake="commit_ignored")
        mistakes.happened("commit_ignored", planted, times=10)  # an event that was sent twice may be lost once
        with self._rounds:  # what lies behind a committed position does not come again
            until(lambda: self.bus.lags()[self.bus.group] == 0, "positions behind what was lost", 30)
        self.end(planted)
        self.engine()
        with contextlib.suppress(AssertionError):  # what was lost may never drain
            self.settle(20)
        self.red(self.violations(), "I1: ")


if __name__ == "__main__":
    unittest.main(verbosity=2)
