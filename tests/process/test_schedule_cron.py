#!/usr/bin/env python3
"""Schedules with `cron:` in a running engine: each tick once over processes, kills and restarts; what was missed is one
tick; a new one begins with its next time; the clocks' changes; and what validate, graph and doctor say."""
import datetime
import json
import time
import unittest
import zoneinfo

import _path  # noqa: F401
from lib.clock import Clock
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase

YAML = """
pipeline: nightly
bus: {kind: postgres, partitions: 1}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 1}
plugins: {chaos: {library: "${CHAOS_SO}", settings: {adds: 1}}}
topics:
  ticked: {final: true}
  witness: {final: true}
schedules:
  nightly: {cron: "CRON", timezone: Europe/Berlin, handler: chaos.tick, routes: {ok: ticked, other: drop}}
  other: {OTHER, handler: chaos.tick, routes: {ok: witness, other: drop}}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
WAIT_S = 60.0
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NIGHTLY = "schedule = (select number from sluice.name where kind = 's' and name = 'nightly')"
LAST = f"select slot from sluice.schedule where {NIGHTLY}"


class Nightly(PipelineCase):
    yaml = YAML.replace("CRON", "30 3 1 * *").replace("OTHER", 'cron: "0 0 1 1 *"')

    def ticks(self):
        return len(self.topic("ticked"))

    def looks_again(self):
        """Whoever looks at the rows has done so: the other schedule, whose slot is set back, has ticked, twice."""
        for _ in range(2):
            before = len(self.topic("witness"))
            self.rows(f"update sluice.schedule set slot = slot - 1 where not {NIGHTLY}")
            self.await_topic("witness", before + 1, WAIT_S)

    def begun(self):
        until(lambda: self.value("select count(*) from sluice.schedule") == "2", "the schedules' rows", WAIT_S)

    def test_a_new_one_begins_with_its_next_time_and_a_missed_one_ticks_once(self):
        engine = self.engine()
        self.begun()
        slot = int(self.value(LAST))
        last = datetime.datetime.fromtimestamp(slot / 1000, BERLIN)
        self.assertEqual((last.day, last.hour, last.minute), (1, 3, 30))
        self.looks_again()
        self.assertEqual(self.ticks(), 0)
        self.assertEqual(engine.stop(), 0)
        self.rows(
            f"update sluice.schedule set slot = slot - 86400000 * 200::bigint where {NIGHTLY}"
        )  # six ticks were missed
        engine, other = self.engine(), self.engine()
        self.await_topic("ticked", 1, WAIT_S)
        self.assertEqual(int(self.value(LAST)), slot)
        self.looks_again()
        self.assertEqual(self.ticks(), 1)
        self.rows(f"delete from sluice.schedule where {NIGHTLY}")  # an operator wants it now
        self.await_topic("ticked", 2, WAIT_S)
        self.looks_again()
        self.assertEqual(self.ticks(), 2)
        for one in (engine, other):
            self.assertEqual(one.stop(), 0)

    def test_a_tick_whose_process_was_killed_is_done_by_another(self):
        engine = self.engine()
        self.begun()
        self.assertEqual(engine.stop(), 0)
        self.rows(f"update sluice.schedule set slot = slot - 1 where {NIGHTLY}")
        killed = self.engine(env={"SLUICE_FAILPOINTS": "lane.commit.before=delay:600000"})
        until(
            lambda: self.value("select count(*) from pg_stat_activity where state = 'idle in transaction'") != "0",
            "a tick before its COMMIT",
            WAIT_S,
        )
        other = self.engine()
        self.looks_again()
        self.assertEqual(self.ticks(), 0)
        killed.kill()
        self.await_topic("ticked", 1, WAIT_S)
        self.looks_again()
        self.assertEqual(self.ticks(), 1)

    def test_a_tick_that_fails_is_tried_again(self):
        engine = self.engine()
        self.begun()
        self.assertEqual(engine.stop(), 0)
        self.rows(f"update sluice.schedule set slot = slot - 1 where {NIGHTLY}")
        engine = self.engine(env={"SLUICE_FAILPOINTS": "lane.commit.before=error%60"})
        self.await_topic("ticked", 1, WAIT_S)
        self.looks_again()
        self.assertEqual(self.ticks(), 1)

    def test_what_is_said_of_it(self):
        done = sluice("validate", self.config, env=self.vars)
        line = [line for line in done.stdout.splitlines() if line.startswith("schedule nightly: next ticks ")][0]
        times = [datetime.datetime.fromisoformat(text.rstrip(",")) for text in line.split()[4:]]
        now = datetime.datetime.now(BERLIN)
        expected = [
            datetime.datetime(now.year + m // 12, m % 12 + 1, 1, 3, 30, tzinfo=BERLIN)
            for m in range(now.month - 1, now.month + 4)
        ]
        expected = [at for at in expected if at > now][:3]
        self.assertEqual(times, expected)
        self.assertEqual([at.utcoffset() for at in times], [at.utcoffset() for at in expected])
        self.assertIn("cron 30 3 1 * * Europe/Berlin  nightly", sluice("graph", self.config, env=self.vars).stdout)
        graph = json.loads(sluice("graph", self.config, "--format", "json", env=self.vars).stdout)
        self.assertEqual(
            (graph["schedules"][0]["cron"], graph["schedules"][0]["timezone"]), ("30 3 1 * *", "Europe/Berlin")
        )
        self.assertNotIn("everyMs", graph["schedules"][0])

    def test_doctor_knows_when_one_is_late(self):
        engine = self.engine()
        self.begun()
        self.assertEqual(engine.stop(), 0)
        self.assertIn(
            "each has ticked when it should", sluice("doctor", self.config, env=self.vars, check=False).stdout
        )
        self.rows(f"update sluice.schedule set at = now() - interval '40 days' where {NIGHTLY}")
        self.assertIn(
            "schedule nightly has not ticked for", sluice("doctor", self.config, env=self.vars, check=False).stdout
        )


class EachMinute(PipelineCase):
    yaml = YAML.replace("CRON", "* * * * *").replace("OTHER", 'cron: "0 0 1 1 *"')

    def test_two_processes_tick_once_a_minute(self):
        engines = [self.engine(), self.engine()]
        until(lambda: self.value(f"select count(*) from sluice.schedule where {NIGHTLY}") == "1", "its row", WAIT_S)
        begun = int(self.value(LAST))
        self.await_topic("ticked", 2, 240)
        for engine in engines:
            self.assertEqual(engine.stop(), 0)
        last = int(self.value(LAST))
        self.assertEqual((begun % 60000, last % 60000), (0, 0))
        self.assertEqual(len(self.topic("ticked")), (last - begun) // 60000)


class ClocksThatChange(PipelineCase):
    """On the memory bus without a store the process's own clock is what counts: the test moves it over the change."""

    def test_the_days_of_23_and_25_hours(self):
        form = YAML.replace("bus: {kind: postgres, partitions: 1}", "bus: {kind: memory}")
        form = form.replace('store: {url: "${DATABASE_URL}"}\n', "").replace("OTHER", 'cron: "* * * * *"')
        october = datetime.datetime(2026, 10, 25, 2, 29, 58, tzinfo=BERLIN)
        for text, before, ticks in (
            ("30 2 * * *", datetime.datetime(2026, 3, 29, 1, 59, 58, tzinfo=BERLIN), 1),
            ("30 2 * * *", october, 1),
            ("30 2 * * *", october.replace(fold=1), 0),
            ("30 * * * *", october.replace(fold=1), 1),
        ):
            with self.subTest(text=text, before=before.isoformat()):
                self.use(form.replace("CRON", text), migrate=False)
                clock = Clock(self.folder / "clock")
                clock.move(int(before.timestamp() - time.time()) - 20 * 60)
                engine = self.engine(env=clock.env)
                # The other one has begun; and ticks once for what is jumped over, behind the one that is looked at.
                witness = 'sluice_emitted_total{topic="witness"}'
                until(lambda: engine.metric(witness) == 1, "the first minute", 2 * WAIT_S)
                clock.move(int(before.timestamp() - time.time()) + 5)
                until(lambda: engine.metric(witness) == 2, "the minute", 2 * WAIT_S)
                until(lambda: engine.metric("sluice_in_flight") == 0, "an idle engine", WAIT_S)
                self.assertEqual(engine.metric('sluice_emitted_total{topic="ticked"}'), ticks)
                self.assertEqual(engine.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
