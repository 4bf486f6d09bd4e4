#!/usr/bin/env python3
"""What a handler changes in its database session reaches no other batch, and is named.

Run alone: python3 tests/process/test_sql_session.py [-k NAME].
"""
import unittest

import _path
from lib.engine import until
from lib.sql_case import TABLE, YAML, SqlCase

# One lane, one connection: what a batch leaves there is what the next one meets.
ONE_LANE = YAML.replace("lanes: 2", "lanes: 1")


class Sessions(SqlCase):
    yaml = ONE_LANE
    table = (
        TABLE
        + """
        create schema elsewhere;
        create table elsewhere.effects (like effects);
        create table elsewhere.causes (like causes);
        """
    )

    # what the handler does: how the log calls it
    CHANGES = {
        "perform set_config('search_path', 'elsewhere, public', false)": "search_path",
        "set search_path = elsewhere": "search_path",
        "perform set_config('app.tenant', 'mine', false)": None,
        "set statement_timeout = 1": "settings (statement_timeout)",
        "set timezone = 'Asia/Seoul'": "settings (TimeZone)",
        "set session_replication_role = replica": "settings (session_replication_role)",
        "set role other": "role",
        "set session authorization other": "session authorization",
        "create temp table effects (like public.effects)": "temporary tables",
        "create function pg_temp.f() returns int return 1": "temporary tables",
        "perform pg_advisory_lock(77)": "advisory locks (77)",
        "listen something": "listen",
        "prepare mine as select 1": "prepared statements (mine)",
        "deallocate all": None,
        "execute 'declare c cursor with hold for select 1'": "cursors with hold",
    }
    SEEN = """
        create table seen (origin text, was text);
        create or replace function cause() returns trigger language plpgsql as $$
        declare cause text;
        begin
            select sql into cause from public.causes where origin = new.origin;
            insert into public.seen select new.origin, concat_ws(' ', current_schemas(false),
                nullif(current_setting('app.tenant', true), ''), current_setting('statement_timeout'),
                current_setting('timezone'), current_setting('session_replication_role'),
                current_user, session_user, to_regclass('effects')::oid::regclass,
                (select string_agg(c, ' ') from pg_listening_channels() c),
                (select string_agg(name, ' ') from pg_prepared_statements where from_sql),
                (select string_agg(name, ' ') from pg_cursors where is_holdable),
                (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and objid = 77));
            if cause is not null then execute 'do $x$ begin ' || cause || '; end $x$'; end if;
            return new;
        end $$;
    """

    def setUp(self):
        super().setUp()
        self.rows(self.SEEN + "drop role if exists other; create role other superuser")

    def test_each_change_ends_with_its_batch(self):
        """But for a prepared statement, which is only looked for once a second."""
        engine = self.engine()
        self.emit("in", self.one("first"))
        until(lambda: self.handled() == {"first"}, "the first event", 20)
        for number, (sql, word) in enumerate(self.CHANGES.items()):
            if sql.startswith("prepare"):
                continue
            with self.subTest(sql=sql):
                self.cause(f"change {number}", sql)
                self.emit("in", self.one(f"change {number}", "one"))
                self.await_value(f"select count(*) from seen where origin = 'change {number}'", 1)
                self.emit("in", *[self.one(f"after {number}-{n}", "one") for n in range(3)])
                self.await_value(f"select count(*) from public.effects where origin ~ '^after {number}-'", 3)
                self.assertEqual(
                    self.value(
                        f"select count(distinct was) from seen where origin ~ '^after {number}-' or origin = 'first'"
                    ),
                    "1",
                )
                self.emit("in", self.one(f"end {number}", "one"))
        self.drain()
        self.assertEqual(self.topic("in-dlt"), [])
        (line,) = self.lines("changes its database session")
        self.assertIn("handler effects.record of plugin effects changes its database session: search_path", line)

    def test_what_is_changed_is_named(self):
        for number, (sql, word) in enumerate(self.CHANGES.items()):
            if word is None:
                continue
            with self.subTest(sql=sql):
                self.cause(f"change {number}", sql)
                self.end_all()
                self.engines.clear()
                self.emit("in", self.one(f"change {number}"))
                engine = self.engine()
                (line,) = until(
                    lambda: self.lines("changes its database session"), f"a line of it;\n{engine.text()}", 20
                )
                self.assertIn(f"effects.record of plugin effects changes its database session: {word};", line)

    def test_what_is_meant_for_one_transaction_is_no_change(self):
        self.cause(
            "well behaved",
            "set local search_path = elsewhere, public; perform set_config('app.tenant', 'mine', true);"
            "create temp table t (n int) on commit drop; perform pg_advisory_xact_lock(77); notify something",
        )
        self.emit("in", *[self.one("well behaved", f"k{n}") for n in range(20)])
        self.engine()
        self.drain()
        self.emit("in", self.one("well behaved"))
        self.drain()
        self.assertEqual(self.value("select count(*) from effects"), "21")
        self.assertEqual(self.lines("changes its database session"), [])

    def test_a_right_that_the_handler_gives_up(self):
        """The engine's own statements have theirs."""
        self.rows(
            "drop role if exists poor; create role poor;"
            "grant all on all tables in schema public to poor; grant usage on sequence effects_number_seq to poor"
        )
        self.cause("poor", "set role poor")
        innocents = [f"innocent {n}" for n in range(20)]
        self.emit("in", *[self.one(origin) for origin in ["poor", *innocents]])
        engine = self.engine()
        self.drain()
        self.assertIn("changes its database session: role", engine.text())
        self.assertEqual((self.handled(), self.topic("in-dlt")), ({*innocents, "poor"}, []))
        self.rows("drop owned by poor; drop role poor")


if __name__ == "__main__":
    unittest.main(verbosity=2)
