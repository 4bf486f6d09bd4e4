#!/usr/bin/env python3
"""Why an event waits is where an operator looks: in `sluice explain`, from the database, and for a handler that has
stopped in /readyz.

Run alone: python3 tests/process/test_waiting_reasons.py [-k NAME].
"""
import json
import unittest

import _path
from lib.engine import sluice, until
from lib.sql_case import TABLE, SqlCase

MISSING = "handler effects.record of plugin effects has stopped: "
RELATION = 'relation "effects" does not exist (SQLSTATE 42P01)'


class Reasons(SqlCase):
    table = None

    def told(self, origin):
        """What explain says of the event that waits: its facts, and its text."""
        text = sluice("explain", self.config, origin, env=self.vars).stdout
        (event,) = [
            event
            for event in json.loads(sluice("explain", self.config, origin, "--json", env=self.vars).stdout)["events"]
            if event["topic"] in ("in", "act")
        ]
        return event, text

    def await_why(self, origin, *words):
        def why():
            event, text = self.told(origin)
            found = all(word in event.get("why", "") and word in text for word in words)
            return (event, text) if found else None

        return until(why, f"explain to say {words} of {origin}; it says {self.told(origin)}", 20, 0.2)

    def test_a_handler_that_has_stopped(self):
        """Of the first event, of those behind it in its key, and of others; until it runs again."""
        self.emit("in", self.one("first", "a"), self.one("behind", "a"), self.one("other", "b"), self.one("third", "c"))
        engine = self.engine()
        event, text = self.await_why("first", RELATION)
        self.assertIn("because: ", text)
        self.assertEqual(event["held"]["before"], 0)
        event, text = self.await_why("behind", RELATION)
        self.assertEqual(event["held"]["before"], 1)
        self.await_why("other", RELATION)
        self.await_why("third", RELATION)
        self.emit("in", self.one("late", "d"))
        self.await_why("late", MISSING, RELATION)
        status, answer = engine.request("GET", "/readyz")
        self.assertEqual((status, answer["error"]), (503, "not_ready"))
        self.assertIn(MISSING, str(answer))
        self.assertIn(RELATION, str(answer))
        self.assertEqual(engine.request("GET", "/healthz")[0], 200)
        self.rows(TABLE)
        until(lambda: engine.request("GET", "/readyz")[0] == 200, lambda: f"ready\n{engine.text()}", 20, 0.1)
        self.drain()
        self.assertEqual(self.handled(), {"first", "behind", "other", "third", "late"})
        self.assertNotIn("why", self.told("first")[0])

    def test_what_else_an_event_waits_for(self):
        """An outage that it alone meets, a retry."""
        self.rows(TABLE)
        self.use(self.yaml.replace("initial_interval: 20ms", "initial_interval: 1h").replace("100ms", "2h"), False)
        self.cause("lock", "do $x$ begin raise exception 'busy' using errcode = '55P03'; end $x$")
        self.cause("retry", "select 1 / 0")
        self.emit("in", self.one("lock"), self.one("retry"))
        self.engine()
        self.await_why("lock", "effects.record", "busy", "55P03")
        self.await_why("retry", "effects.record", "division by zero")


if __name__ == "__main__":
    unittest.main(verbosity=2)
