#!/usr/bin/env python3
"""What a plugin's statement changes inside a transaction: the next handler's statements and the engine's own find the
session as it was, in the same round trip.

Run alone: python3 tests/process/test_store_session.py [-k NAME].
"""
import unittest

import _path
from lib.server_case import PostgresCase
from lib.store_drive import Drive


class Neighbours(PostgresCase):
    """Two plugins' handlers in one transaction: the second one's statement finds the session as it was."""

    SEEN = (
        "select current_setting('search_path'), current_setting('statement_timeout'), current_setting('timezone'),"
        " current_setting('session_replication_role'), current_user::text,"
        " coalesce(to_regclass('pg_temp.t')::text, '')"
    )
    # what the first one does: what it leaves then; "": it was put back
    CHANGES = {
        "select set_config('search_path', 'pg_catalog', false)": "",
        "set local search_path = pg_catalog": "",
        "set local session_replication_role = replica": "",
        "do 'begin set statement_timeout = 777; end'": "",
        "set local timezone = 'Asia/Seoul'": "",
        "set local role store_other": "role",
        "do 'begin set role store_other; end'": "role",
        "do 'begin set session authorization store_other; end'": "session authorization",
        "create temp table t (n int) on commit drop": "temporary tables",
        "declare c cursor with hold for select 1": "cursors with hold",
        "do 'begin deallocate all; end'": "prepared statements or rights",
    }

    def rows(self, sql):
        self.postgres.query(sql, self.url)

    def gives(self, expected, answer, sqlstate=None):
        self.assertEqual(answer["result"], expected, answer)
        if sqlstate is not None:
            self.assertEqual(answer["sqlstate"], sqlstate, answer)
        return answer

    def works(self, drive):
        drive("rollback")
        self.gives("ok", drive("begin", 5000))
        self.assertEqual(self.gives("ok", drive("exec", "select 41 + 1"))["rows"], [[42]])
        self.gives("ok", drive("commit"))

    def test_the_second_one_finds_the_session_as_it_was(self):
        self.rows("drop role if exists store_other")
        self.rows("create role store_other")
        for sql, left in self.CHANGES.items():
            with self.subTest(sql=sql), Drive(self.url) as drive:
                self.gives("ok", drive("begin", 5000))
                clean = self.gives("ok", drive("plugin", self.SEEN))["rows"]
                self.gives("ok", drive("plugin", sql))
                drive("separate")
                if left == "":
                    self.assertEqual(self.gives("ok", drive("plugin", self.SEEN))["rows"], clean)
                    self.gives("ok", drive("commit"))
                else:
                    answer = self.gives("transient", drive("plugin", self.SEEN))
                    self.assertFalse(answer["tampered"])
                    self.assertIn(f"another handler has left the session changed: {left}", answer["error"])
                    drive("rollback")
                self.gives("ok", drive("begin", 5000))
                self.assertEqual(self.gives("ok", drive("plugin", self.SEEN))["rows"], clean)
                self.gives("ok", drive("commit"))

    def test_the_engine_s_own_statements_do_not_depend_on_it(self):
        self.rows("drop role if exists store_other; create role store_other")
        seen = (
            "select current_setting('statement_timeout'), current_setting('lock_timeout'), current_user::text,"
            " current_setting('synchronous_commit')"
        )
        for sql in (
            "set local statement_timeout = 1",
            "do 'begin set statement_timeout = 1; end'",
            "set local lock_timeout = 1",
            "set local synchronous_commit = off",
            "do 'begin set role store_other; end'",
        ):
            with self.subTest(sql=sql), Drive(self.url) as drive:
                self.gives("ok", drive("begin", 5000))
                clean = self.gives("ok", drive("exec", seen))["rows"]
                self.gives("ok", drive("plugin", sql))
                self.assertEqual(self.gives("ok", drive("exec", seen))["rows"], clean)
                self.gives("ok", drive("plugin", sql))
                self.gives("ok", drive("exec", "select pg_sleep(0.01)"))
                self.gives("ok", drive("commit"))
                self.works(drive)

    def test_a_transaction_that_a_plugin_makes_read_only(self):
        self.rows("create table t (n int)")
        with Drive(self.url) as drive:
            self.gives("ok", drive("begin", 5000))
            self.gives("ok", drive("exec", "insert into t values (1)"))
            self.gives("ok", drive("plugin", "select set_config('transaction_read_only', 'on', true)"))
            self.gives("data", drive("exec", "insert into t values (2)"), "25006")
            self.works(drive)


if __name__ == "__main__":
    unittest.main(verbosity=2)
