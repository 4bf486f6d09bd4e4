#!/usr/bin/env python3
"""The checker is checked on the postgres bus: every planted mistake must turn it red, for the reason that fits; and
without one it stays green. What other buses can show as well is in tests/planted/planted_case.py; what only they can,
in test_kafka_checker.py.

Run alone: python3 tests/planted/test_checker.py [-k NAME]. SLUICE_SEED repeats a stream.
"""
import os
import subprocess
import threading
import unittest
import uuid

import _path
from chaos import cases, checker
from chaos.facts import sql
from chaos.stream import EFFECTS, run_psql
from chaos.wire import derive, hash64, hash128
from lib import mistakes
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


# A transaction of a session with this setting has its number, and waits before its end until it may go on.
HOLD = """
CREATE TABLE may_go_on ();
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WHILE current_setting('test.hold', true) = 'on' AND NOT EXISTS (SELECT FROM public.may_go_on) LOOP
        PERFORM pg_sleep(0.02);
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER hold AFTER INSERT ON sluice.bus_log FOR EACH STATEMENT EXECUTE FUNCTION hold()
"""


class Postgres(planted_case.Planted):
    def count(self, what):
        return int(self.postgres.value(f"SELECT count(*) FROM {what}", self.url))

    def overtaken(self, mistake=None):
        """A transaction that is slow to commit is overtaken in every partition by one with a higher number."""
        stream = self.stream(tap=False)
        run_psql(self.url, HOLD)
        engine = self.engine(stream, mistake=mistake)
        self.await_all(engine)
        env, stream.env = stream.env, dict(stream.env, DATABASE_URL=f"{self.url}?options=-c%20test.hold%3Don")
        slow = threading.Thread(target=self.every_key, args=(stream,))
        slow.start()
        until(
            lambda: self.count("pg_stat_activity WHERE wait_event = 'PgSleep'"), "a transaction that waits", step_s=0.05
        )
        stream.env = env
        self.every_key(stream)
        if mistake:
            mistakes.happened(mistake, engine)
            until(lambda: self.count("effects"), "the effects of what came later")
        run_psql(self.url, "INSERT INTO may_go_on DEFAULT VALUES")
        slow.join()
        stream.drain()
        engine.kill()
        return self.check(stream)

    def test_reading_past_transactions_that_still_run(self):
        self.red(self.overtaken("postgres_horizon"), "I1: ")

    def test_without_the_mistake_slow_transactions_are_green(self):
        self.green(self.overtaken())

    def test_a_stale_epoch_accepted(self):
        self.red(self.handed_over("postgres_stale_epoch"), "I14: ")


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
