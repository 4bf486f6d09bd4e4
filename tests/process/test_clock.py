#!/usr/bin/env python3
"""An engine whose wall clock is not that of the server, or is set while it runs: nothing that waits waits longer, and
schedules go on.

Run alone: python3 tests/process/test_clock.py [-k NAME].
"""
import unittest

import _path
from lib.clock import Clock
from lib.engine import until
from lib.pipeline_case import PipelineCase

YAML = """
pipeline: clocks
bus: {kind: postgres, partitions: 1}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 1}
defaults: {retry: {max_retries: 2, backoff: {initial_interval: 300ms, multiplier: 1, max_interval: 300ms, jitter: 0}}}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
topics:
  in: {key: "{k}", handler: effects.record, routes: {
    done: out, again: {retry: climb, initial_interval: 1s, multiplier: 1, max_retries: 1, exhausted: out}}}
  out: {key: "{k}", final: true}
  ticked: {final: true}
schedules:
  often: {every: 1s, handler: chaos.tick, routes: {ok: ticked, other: drop}}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
HOUR_S = 3600
# The clock (seconds against the server's) when the engine starts, and what it is set to while something waits.
CLOCKS = [(0, HOUR_S), (0, -HOUR_S), (HOUR_S, -HOUR_S), (-5, 5)]
LIMIT_S = 20.0  # of waits of a second; the wrong clock is off by much more


class Clocks(PipelineCase):
    yaml = YAML

    def setUp(self):
        super().setUp()
        self.rows(
            "create table effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
            " unity bigint)"
        )
        self.clock = Clock(self.folder / "clock")

    def send(self, origin, **fields):
        self.emit("in", self.event({"k": origin, "origin": origin, "seq": 1, **fields}))

    def handled(self, origin, engine):
        until(
            lambda: self.value(f"select count(*) from effects where origin = '{origin}'") == "1",
            f"{origin}; the engine said\n{engine.text()}",
            LIMIT_S,
        )

    def ticks_go_on(self, engine):
        before = int(self.value("select count(*) from sluice.bus_log"))
        until(
            lambda: int(self.value("select count(*) from sluice.bus_log")) >= before + 2,
            f"two ticks; the engine said\n{engine.text()}",
            LIMIT_S,
        )

    def test_what_waits_while_the_clock_is_set(self):
        for start_s, set_s in CLOCKS:
            with self.subTest(start_s=start_s, set_s=set_s):
                name = f"from {start_s} to {set_s}"
                self.clock.move(start_s)
                engine = self.engine(env=self.clock.env)
                self.ticks_go_on(engine)
                self.send(f"{name}: delayed", climb=1)
                self.send(f"{name}: retried", flaky=1)
                until(lambda: self.value("select count(*) from sluice.parked") == "1", "a delayed event")
                self.clock.move(set_s)
                for what in ("delayed", "retried"):
                    self.handled(f"{name}: {what}", engine)
                self.send(f"{name}: delayed later", climb=1)
                self.handled(f"{name}: delayed later", engine)
                self.ticks_go_on(engine)
                self.assertEqual(engine.stop(), 0, engine.text())
        self.assertEqual(self.value("select count(*) from sluice.parked"), "0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
