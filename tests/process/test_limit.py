#!/usr/bin/env python3
"""`topics.X.limit`: so many events a second over all processes, evenly, in the order of their keys, and no try counted.

Run alone: python3 tests/process/test_limit.py [-k NAME].
"""
import statistics
import time
import unittest

import _path
from lib.engine import sluice, until
from lib.stalls import Stalls
from limit_case import LimitCase

RATE, SPARE = 100, 2
APART_S = 3  # so long after a process was killed or started its seconds are left out


def jain(numbers):
    return sum(numbers) ** 2 / (len(numbers) * sum(n * n for n in numbers))


class Limit(LimitCase):
    def times(self, where="true"):
        """When each event was handled, as the store says; since 1970."""
        return [
            float(row[0]) for row in self.rows(f"SELECT extract(epoch FROM at) FROM effects WHERE {where} ORDER BY 1")
        ]

    def never_over(self, times):
        """A slot is used when it is due, 20 ms before, or up to a second later, when its lane was late. So in no time
        more events are handled than its slots and those of the second before it, whatever the machine does."""
        for begin, first in enumerate(times):
            for end in range(begin, len(times), 10):
                most = RATE * (times[end] - first + 1) + SPARE
                self.assertLessEqual(end - begin + 1, most, f"in {times[end] - first:.3f} s from {first}")

    def every_second(self, times, stalls, apart):
        """Each second but the first and the last, and those in which the test disturbs, has the rate. If threads had no
        CPU in it or in the second before it, that may cost or give as many as come in that time."""
        counts = []
        for second in range(1, int(times[-1] - times[0])):
            begin = times[0] + second
            count = sum(begin <= at < begin + 1 for at in times)
            stalled = stalls.between(begin - 1, begin + 1)
            counts.append((count, round(stalled, 2)))
            if any(begin - 1 <= at <= begin + APART_S for at in apart):
                continue
            self.assertLessEqual(abs(count - RATE), SPARE + RATE * stalled, f"second {second} of {counts}")
        print(f"events in each second, and how long threads had no CPU: {counts}")
        return [count for count, _ in counts]

    def test_a_hundred_a_second_over_two_processes(self):
        """One key, then ten, then two hundred; one process is killed and started again."""
        self.pipeline("{rate: 100/s}")
        first, second = self.engine(), self.engine()
        not_side, waiting = "k NOT LIKE 'side%'", "sluice_limit_waiting_keys"
        count = f"SELECT count(*) FROM effects WHERE {not_side}"
        with Stalls() as stalls:
            self.watch(stalls, first, second)
            self.send("in", ["one"] * 250)
            self.send("in", [f"ten{n % 10}" for n in range(350)])
            self.send("side", [f"side{n}" for n in range(50)])
            self.await_value("SELECT count(*) FROM effects WHERE k LIKE 'side%'", 50)
            self.send("in", [f"many{n % 200}" for n in range(600)])
            until(lambda: first.metric(waiting) + second.metric(waiting) > 50, "keys that wait", 30)
            until(lambda: int(self.value(count)) > 800, "most of them", 60)
            apart = [time.time()]
            second.kill()
            second.start()
            apart.append(time.time())
            self.watch(stalls, first, second)
            self.await_value(count, 1200, 60)
        self.await_value("SELECT count(*) FROM sluice.held", 0, 30)
        self.in_order()
        times = self.times(not_side)
        self.assertLessEqual(1200, RATE * (times[-1] - times[0]) + 4)
        self.never_over(times)
        counts = self.every_second(times, stalls, apart)
        self.assertLessEqual(abs(statistics.median(counts) - RATE), SPARE, counts)

    def watch(self, stalls, *engines):
        stalls.watch("engine", [engine.worker() for engine in engines])
        stalls.watch("postgres", [row[0] for row in self.rows("SELECT pid FROM pg_stat_activity")])

    def test_tenants_get_the_same(self):
        """Each its own limit, whatever it sends (Zipf); a tenant that sends less than that waits for nobody."""
        self.pipeline('{rate: 20/s, per: "{origin}"}')
        self.engine(), self.engine()
        values, tenants = [], 12
        for tenant in range(1, tenants + 1):
            for n in range(max(160, 1600 // tenant)):
                values.append(self.event({"k": f"t{tenant}-{n % 40}", "seq": n // 40 + 1, "origin": f"t{tenant}"}))
        self.emit("in", *values)
        least = "SELECT coalesce(min(n), 0) FROM (SELECT count(*) n FROM effects GROUP BY origin) x"
        until(lambda: int(self.value(least)) > 110, "enough events of every tenant", 90, 0.1)
        rows = self.rows(
            "SELECT origin, count(*) FROM effects, (SELECT min(at) AS first FROM effects) f"
            " WHERE at > f.first + interval '2 s' AND at < f.first + interval '5 s' GROUP BY origin"
        )
        counts = [int(row[1]) for row in rows]
        print(f"events of each tenant in 3 s: {counts}, Jain {jain(counts):.4f}")
        self.assertEqual(len(counts), tenants)
        self.assertGreaterEqual(jain(counts), 0.95, counts)
        self.assertLessEqual(max(counts), 66, counts)
        wrong = (
            "SELECT count(*) FROM (SELECT seq, lag(seq) OVER (PARTITION BY k ORDER BY number) AS last FROM effects) e"
        )
        self.assertEqual(self.value(f"{wrong} WHERE seq <> coalesce(last, 0) + 1"), "0")

    def test_it_survives_a_restart(self):
        """Few an hour: whoever comes later gets none of what was used before."""
        self.pipeline("{rate: 2/h}")
        engine = self.engine()
        self.send("in", ["a", "b", "c"])
        self.await_value("SELECT count(*) FROM effects", 1)
        self.await_value("SELECT count(*) FROM sluice.held", 2)
        waits = "SELECT k FROM (VALUES ('a'), ('b'), ('c')) AS v(k) WHERE k NOT IN (SELECT k FROM effects) LIMIT 1"
        k = self.value(waits)
        text = sluice("explain", self.config, f"{k}-1", env=self.vars).stdout
        self.assertIn("because: the limit of topic in, 2/h", text)
        engine.kill()
        engine.start()
        self.send("side", ["s"])
        self.await_value("SELECT count(*) FROM effects WHERE k = 's'", 1)
        until(lambda: engine.metric("sluice_limit_waiting_keys") >= 2, "both to wait", 30)
        self.assertEqual(self.value("SELECT count(*) FROM effects"), "2")
        self.rows("UPDATE sluice.limit_slot SET next = now()")  # half an hour goes by
        until(lambda: self.value("SELECT count(*) FROM effects") == "3", "the next one", 30)


if __name__ == "__main__":
    unittest.main()
