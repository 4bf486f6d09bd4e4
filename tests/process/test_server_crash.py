#!/usr/bin/env python3
"""A statement that crashes its PostgreSQL server process ends every session of the server: its event is found, others
are not blamed.

Run alone: python3 tests/process/test_server_crash.py [-k NAME].
"""
import unittest

import _path
from lib.engine import until
from lib.pipeline_case import reason
from lib.sql_case import YAML, SqlCase

CRASH = "copy (select 1) to program 'kill -SEGV $PPID'"


class ServerCrash(SqlCase):
    yaml = YAML.replace("{url:", "{allow_unsafe: true, url:")

    def setUp(self):
        super().setUp()
        self.rows("alter system set fsync = off")  # or each start writes out all files
        self.rows("select pg_reload_conf()")

    def test_the_event_that_crashes_it_is_a_dead_letter(self):
        self.cause("crash", CRASH)
        innocents = [f"innocent {n}" for n in range(20)]
        self.emit("in", *[self.one(origin) for origin in [*innocents[:10], "crash", *innocents[10:]]])
        engine = self.engine()
        try:
            until(lambda: engine.metric("sluice_dead_letters_total") == 1, "the dead letter", 120, 0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}; the engine said\n{engine.text()}") from None
        self.drain()
        (letter,) = self.topic("in-dlt")
        self.assertEqual(reason(letter), "database")
        self.assertIn(
            "crashed the server process of its database session", letter["headers"]["kafka_dlt-exception-message"]
        )
        self.assertEqual(self.handled(), set(innocents))
        self.assertEqual(self.value("select count(*) from effects"), str(len(innocents)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
