#!/usr/bin/env python3
"""A process is killed while its COMMIT runs on in the server: whoever has its partitions next takes over what that
COMMIT makes visible, however late that is.

Run alone: python3 tests/process/test_kafka_takeover.py.
"""
import unittest

import _path
from lib.engine import until
from lib.pipeline_case import EFFECTS
from test_kafka_outbox import Case

SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity" " WHERE datname = current_database() AND application_name LIKE 'sluice%'"
)


class Late(Case):
    def hang_commits(self, hang):
        """A COMMIT waits for a standby that does not exist, whatever becomes of its client; what it did is seen by
        nobody until it ends."""
        self.value(f"ALTER SYSTEM SET synchronous_standby_names = '{'nobody' if hang else ''}'")
        self.value("SELECT pg_reload_conf()")
        until(lambda: (self.value("SHOW synchronous_standby_names") == "nobody") == hang, "the server's configuration")

    def killed_in_commit(self, **data):
        """Of the event 0."""
        self.addCleanup(self.hang_commits, False)
        engine = self.start()
        until(lambda: engine.metric("sluice_partitions") == 1, lambda: f"its partition\n{engine.text()}")
        self.hang_commits(True)
        self.send(1, keys=1, **data)
        until(
            lambda: self.value(SESSIONS + " AND wait_event = 'SyncRep'") == "1", lambda: f"its COMMIT\n{engine.text()}"
        )
        engine.kill()
        database = self.value("SELECT current_database()")
        self.value(  # COMMIT of later sessions does not wait
            f"SET synchronous_commit = local; ALTER DATABASE {database} SET synchronous_commit = local; SELECT 1"
        )
        self.assertEqual(self.value(SESSIONS + " AND wait_event = 'SyncRep'"), "1")


class Outputs(Late):
    def stay_in_order(self, failpoints=""):
        """Its COMMIT takes longer than a takeover waits."""
        self.killed_in_commit()
        self.send(2, keys=1)
        engine = self.start(failpoints)
        until(lambda: engine.metric("sluice_partitions") == 1, lambda: f"its partition\n{engine.text()}")
        claims = SESSIONS + " AND query LIKE 'insert into sluice.inbox%' AND wait_event_type = 'Lock'"
        until(lambda: self.value(claims) == "1", lambda: f"a claim that waits\n{engine.text()}")
        self.hang_commits(False)
        self.await_numbers([0, 1, 2])
        self.assertEqual(self.found()["k0"], [0, 1, 2])
        self.await_done(3)
        until(lambda: self.rows() == 0, "an empty outbox")
        self.assertEqual(self.found()["k0"], [0, 1, 2])

    def test_those_of_a_key_stay_in_order(self):
        self.stay_in_order()

    def test_the_sweeper_leaves_what_a_lane_publishes(self):
        """It looks every second at the row that a lane has published and not deleted yet."""
        self.stay_in_order("lane.resolve.after=delay:2500")


class Tries(Late):
    changes = (
        ('{chaos: {library: "${CHAOS_SO}"}}', f'{{effects: {{library: "{EFFECTS}"}}}}'),
        ("chaos.act, routes: {ok: @.out, other: @.side}", "effects.record, routes: {done: @.out, again: @.side}"),
        ("defaults: {", "defaults: {retry: {max_retries: 1, backoff: {initial_interval: 100ms}}, "),
    )

    def test_that_it_counted_count(self):
        self.value(
            "CREATE TABLE effects (event_id text, k text, origin text, seq bigint, climb bigint, unity bigint);"
            " SELECT 1"
        )
        self.killed_in_commit(origin="o", seq=1, flaky=1)
        engine = self.start()
        until(lambda: self.value(SESSIONS + " AND application_name LIKE '% reader'") == "1", "a takeover")
        self.hang_commits(False)
        self.await_numbers([0])
        self.assertEqual(engine.metric("sluice_retries_total"), 0)


if __name__ == "__main__":
    unittest.main()
