#!/usr/bin/env python3
"""`topics.X.limit.concurrency`: so many events are handled at once over all processes, in the order of their keys, and
no try counted; a process that is killed keeps no place.

Run alone: python3 tests/process/test_concurrency.py [-k NAME].
"""
import unittest

import _path
from lib.engine import until
from limit_case import AT_ONCE, SLEEPING, YAML, LimitCase

CHAOS = 'defaults: {timeout: 100s}\nplugins: {chaos: {library: "${CHAOS_SO}"}, '
BUSY = """  busy: {key: "{k}", handler: chaos.act_sql, limit: {concurrency: 1}, routes: {ok: out, other: drop}}
"""


class Concurrency(LimitCase):
    yaml_with_limit, table = YAML.replace("plugins: {", CHAOS) + BUSY, SLEEPING

    def at_once(self, where="k NOT LIKE 'side%'", value="1"):
        return int(self.value(AT_ONCE.format(where=where, value=value)))

    def handled(self):
        return int(self.value("SELECT count(*) FROM effects WHERE k NOT LIKE 'side%'"))

    def test_at_most_so_many_over_two_processes(self):
        """Many keys; one process is killed while it handles some, and started again."""
        self.pipeline("{concurrency: 5}")
        first, second = self.engine(), self.engine()
        self.send("in", [f"k{n % 60}" for n in range(300)])
        until(lambda: self.handled() > 20, "the first", 60)
        self.send("side", [f"side{n}" for n in range(20)])
        self.await_value("SELECT count(*) FROM effects WHERE k LIKE 'side%'", 20, 60)
        self.assertLess(self.handled(), 300, "what has no limit does not wait for what has one")
        second.kill()
        self.send("in", [f"k{n % 60}" for n in range(300)])
        second.start()
        until(lambda: self.handled() == 600, "all", 120)
        self.await_value("SELECT count(*) FROM sluice.held", 0, 30)
        self.in_order()
        shown = self.rows("SELECT pid, count(*) FROM effects WHERE k NOT LIKE 'side%' GROUP BY pid")
        print(f"events of each lane: {[int(row[1]) for row in shown]}")
        self.assertGreater(len(shown), 2, "lanes of both processes had places")
        self.assertEqual(self.at_once(), 5)

    def test_each_value_has_its_own(self):
        self.pipeline('{concurrency: 2, per: "{origin}"}')
        self.engine(), self.engine()
        for n in range(6):
            self.send("in", [f"{n}-{k % 10}" for k in range(40)], origin=f"tenant{n}")
        until(lambda: self.handled() == 240, "all", 120)
        self.in_order()
        self.assertEqual(self.at_once(value="origin"), 2)
        self.assertGreater(self.at_once(), 2)

    def test_with_a_rate(self):
        self.pipeline("{rate: 50/s, concurrency: 3}")
        self.engine(), self.engine()
        self.send("in", [f"k{n % 30}" for n in range(150)])
        until(lambda: self.handled() == 150, "all", 120)
        self.in_order()
        self.assertLessEqual(self.at_once(), 3)
        span = float(self.value("SELECT extract(epoch FROM max(at) - min(at)) FROM effects"))
        self.assertLessEqual(150, 50 * span + 2 + 3)

    def test_a_killed_process_keeps_no_place(self):
        """It hangs in the call of its handler, with the only place: who comes next has it as soon as it is dead."""
        self.pipeline("{concurrency: 5}")
        first = self.engine()
        path = self.folder / "hung"
        self.emit(
            "busy",
            self.event({"k": "hangs", "mode": "hang_once", "path": str(path)}),
            *(self.event({"k": f"next{n}", "mode": "ok"}) for n in range(30)),
        )
        until(path.exists, "a call that hangs", 30)
        query = "SELECT reason, count(*) FROM sluice.held_key WHERE paused = 'busy' GROUP BY reason"
        until(lambda: self.rows(query), "keys that wait", 60)
        self.assertEqual([row[0] for row in self.rows(query)], ["the limit of topic busy, 1 at once"])
        second = self.engine(wait=False)
        first.kill()
        until(lambda: len(self.topic("out")) == 31, "those that waited, and the one that hung", 60)
        self.await_value("SELECT count(*) FROM sluice.held", 0, 30)
        self.assertEqual(second.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
