#!/usr/bin/env python3
"""`topics.X.limit.concurrency`: so many events are handled at once over all processes, in the order of their keys, and
no try counted; a process that is killed keeps no place.

Run alone: python3 tests/process/test_concurrency.py [-k NAME].
"""
import unittest

import _path
from lib.engine import until
from lib.pipeline_case import PipelineCase

YAML = """
pipeline: limited
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 2}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
defaults: {timeout: 100s}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
topics:
  in: {key: "{k}", handler: effects.record, limit: LIMIT, routes: {done: out, again: drop}}
  side: {key: "{k}", handler: effects.record, routes: {done: out, again: drop}}
  busy: {key: "{k}", handler: chaos.act_sql, limit: {concurrency: 1}, routes: {ok: out, other: drop}}
  out: {key: "{k}", final: true}
"""
# A row's time from `at` to `until` lies within that in which its event is handled: its statement begins, sleeps, and
# the deferred trigger runs in COMMIT.
TABLE = """
CREATE TABLE effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint, unity bigint,
    pid int DEFAULT pg_backend_pid(), at timestamptz DEFAULT statement_timestamp(), until timestamptz);
CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.03); RETURN NULL; END';
CREATE FUNCTION over() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN UPDATE effects SET until = clock_timestamp() WHERE number = NEW.number; RETURN NULL; END';
CREATE TRIGGER sleeps AFTER INSERT ON effects FOR EACH STATEMENT EXECUTE FUNCTION sleep();
CREATE CONSTRAINT TRIGGER ends AFTER INSERT ON effects DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION over();
"""
AT_ONCE = """
SELECT max(n) FROM (SELECT sum(d) OVER (PARTITION BY value ORDER BY t, d) AS n FROM (
    SELECT {value} AS value, at AS t, 1 AS d FROM effects WHERE {where}
    UNION ALL SELECT {value}, until, -1 FROM effects WHERE {where}) x) y
"""


class Concurrency(PipelineCase):
    def setUp(self):
        super().setUp()
        self.sent = {}

    def pipeline(self, limit):
        self.use(YAML.replace("LIMIT", limit))
        self.rows(TABLE)

    def send(self, topic, keys, origin=None):
        """One event for each of `keys`, with the next number of its key."""
        values = []
        for k in keys:
            self.sent[k] = self.sent.get(k, 0) + 1
            values.append(self.event({"k": k, "seq": self.sent[k], "origin": origin or f"{k}-{self.sent[k]}"}))
        self.emit(topic, *values)

    def at_once(self, where="k NOT LIKE 'side%'", value="1"):
        return int(self.value(AT_ONCE.format(where=where, value=value)))

    def handled(self):
        return int(self.value("SELECT count(*) FROM effects WHERE k NOT LIKE 'side%'"))

    def in_order(self):
        for k, count in self.sent.items():
            rows = self.rows(f"SELECT seq FROM effects WHERE k = '{k}' ORDER BY number")
            self.assertEqual([int(row[0]) for row in rows], list(range(1, count + 1)), k)
        self.assertEqual(self.value("SELECT count(*) FROM sluice.attempt"), "0")

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
