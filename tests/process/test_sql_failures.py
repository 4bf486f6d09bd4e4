#!/usr/bin/env python3
"""Statements of handlers that fail: what becomes of their events, and that all others are handled meanwhile.

Run alone: python3 tests/process/test_sql_failures.py [-k NAME].
"""
import json
import unittest

import _path
from lib.engine import until
from lib.pipeline_case import reason
from lib.sql_case import TABLE, YAML, SqlCase


class StatementsThatFail(SqlCase):
    """The event pays by `retry:`, and nobody else."""

    # what is raised by a function of the server, by an expression, by a limit of the server
    FAULTS = {
        "no_data_found": "do $x$ begin raise exception using errcode = 'P0002'; end $x$",
        "assert": "do $x$ begin assert false; end $x$",
        "raise": "do $x$ begin raise exception 'no'; end $x$",
        "own code": "do $x$ begin raise exception using errcode = 'ZZ123'; end $x$",
        "two rows": "do $x$ declare n int; begin n := (select v from (values (1), (2)) t(v)); end $x$",
        "too long": "do $x$ begin perform length(repeat('x', 1100000000)); end $x$",
        "currval": "create sequence if not exists s; select currval('s')",
        "external": "do $x$ begin raise exception using errcode = '38000'; end $x$",
        "internal": "do $x$ begin raise exception using errcode = 'XX000'; end $x$",
        "read only": "do $x$ begin raise exception using errcode = '25001'; end $x$",
        "temp files": "do $x$ begin raise exception using errcode = '53400'; end $x$",
        "division": "do $x$ begin perform 1 / 0; end $x$",
        "data": "select 'x'::int",
        "check": "insert into causes values ('data', '')",
    }

    def test_each_is_a_dead_letter_and_the_others_go_on(self):
        for origin, sql in self.FAULTS.items():
            self.cause(origin, sql)
        innocents = [f"innocent {n}" for n in range(40)]
        self.emit("in", *[self.one(origin) for origin in [*innocents[:20], *self.FAULTS, *innocents[20:]]])
        engine = self.engine()
        until(lambda: self.handled() == set(innocents), lambda: f"the innocents;\n{engine.text()}", 20)
        self.drain()
        letters = {json.loads(letter["value"])["data"]["origin"]: letter for letter in self.topic("in-dlt")}
        self.assertEqual(set(letters), set(self.FAULTS))
        for origin, letter in letters.items():
            with self.subTest(origin=origin):
                self.assertEqual(reason(letter), "database")
                self.assertIn("tried 3 times", letter["headers"]["kafka_dlt-exception-message"])
        self.assertEqual(self.value("select count(*) from effects"), str(len(innocents)))

    def test_a_constraint_that_is_satisfied_later(self):
        """A row that another topic brings is worth waiting for."""
        self.rows(
            "create table parents (name text primary key);"
            "alter table effects add foreign key (k) references parents (name)"
        )
        self.use(
            YAML.replace(
                "max_retries: 2, backoff: {initial_interval: 20ms", "max_retries: 9, backoff: {initial_interval: 300ms"
            ),
            migrate=False,
        )
        self.emit("in", self.one("child"))
        engine = self.engine()
        until(lambda: engine.metric("sluice_retries_total") >= 1, "a first try", 20)
        self.rows("insert into parents values ('child')")
        self.drain()
        self.assertEqual((self.handled(), self.topic("in-dlt")), ({"child"}, []))

    def test_a_handler_that_ends_its_own_session(self):
        self.cause("suicide", "select pg_terminate_backend(pg_backend_pid())")
        innocents = [f"innocent {n}" for n in range(40)]
        self.emit("in", *[self.one(origin) for origin in [*innocents[:20], "suicide", *innocents[20:]]])
        engine = self.engine()
        until(lambda: self.handled() == set(innocents), lambda: f"the innocents;\n{engine.text()}", 20)
        self.drain()
        self.assertEqual([reason(letter) for letter in self.topic("in-dlt")], ["database"])
        self.assertIn("alone, 5 times", self.topic("in-dlt")[0]["headers"]["kafka_dlt-exception-message"])

    def test_an_outage_that_only_one_event_sees_holds_its_key_alone(self):
        self.cause("foreign", "do $x$ begin raise exception 'foreign server is down' using errcode = '08001'; end $x$")
        self.cause("lock", "do $x$ begin raise exception using errcode = '55P03'; end $x$")
        innocents = [f"innocent {n}" for n in range(40)]
        self.emit("in", *[self.one(origin) for origin in ["foreign", "lock", *innocents]])
        engine = self.engine()
        until(lambda: self.handled() == set(innocents), lambda: f"the innocents;\n{engine.text()}", 20)
        until(lambda: self.lines("on in waits, and its key"), "a line that says so", 20)
        self.rows("delete from causes")
        self.drain()
        self.assertEqual((self.handled(), self.topic("in-dlt")), ({*innocents, "foreign", "lock"}, []))


class LimitsOfTime(SqlCase):
    """`timeout:` is the handler's; `store.statement_timeout` is one statement's. Either may be the longer one."""

    yaml = (
        YAML.replace("{url:", "{statement_timeout: 400ms, url:")
        .replace("handler: chaos.act_sql, ", "handler: chaos.act_sql, timeout: 5s, ")
        .replace("defaults: {", "defaults: {timeout: 1s, ")
    )

    def test_a_call_may_take_longer_than_a_statement(self):
        self.emit("act", self.event({"mode": "sleep", "n": 1500}))
        engine = self.engine()
        self.await_topic("acted", 1)
        self.drain()
        self.assertEqual(self.lines("SQLSTATE"), [])
        self.assertEqual(self.topic("act-dlt"), [])
        self.assertEqual(engine.metric("sluice_retries_total"), 0)

    def test_a_statement_past_its_limit_is_a_failed_try(self):
        self.cause("slow", "select pg_sleep(60)")
        self.emit("in", self.one("slow"), *[self.one(f"innocent {n}") for n in range(10)])
        engine = self.engine()
        until(lambda: len(self.handled()) == 10, lambda: f"the innocents;\n{engine.text()}", 20)
        self.drain()
        (letter,) = self.topic("in-dlt")
        self.assertEqual((reason(letter), letter["headers"]["retry_topic-attempts"]), ("deadline", "3"))
        self.assertIn("57014", letter["headers"]["kafka_dlt-exception-message"])


class HandlersThatStop(SqlCase):
    """What no event of the handler could pass stops it; its events wait."""

    table = None
    CASES = {
        "no table": ("", TABLE, "42P01"),
        "no column": (TABLE + "alter table effects drop column unity", "alter table effects add unity bigint", "42703"),
        "no function": (
            TABLE + "create or replace function cause() returns trigger language plpgsql"
            " as 'begin perform early(); return new; end'",
            "create function early() returns int return 1",
            "42883",
        ),
    }

    def test_events_wait_for_the_deploy(self):
        for what, (before, after, state) in self.CASES.items():
            with self.subTest(what=what):
                self.end_all()
                self.engines.clear()
                self.rows("drop schema public cascade; create schema public;" + before)
                self.emit("in", *[self.one(f"{what} {n}", f"k{n % 7}") for n in range(50)])
                engine = self.engine()
                (line,) = until(lambda: self.lines("has stopped"), lambda: f"an alarm;\n{engine.text()}", 20)
                for word in ("ERROR", "effects.record", state, "sluice migrate"):
                    self.assertIn(word, line)
                self.assertEqual(engine.metric('sluice_handler_stopped{handler="effects.record"}'), 1)
                self.rows(after)
                self.drain()
                self.assertEqual(engine.metric('sluice_handler_stopped{handler="effects.record"}'), 0)
                self.assertEqual(self.topic("in-dlt"), [])
                self.assertEqual(
                    self.value("select count(distinct origin) || ' of ' || count(*) from effects"), "50 of 50"
                )
                self.assertTrue(self.lines("runs again"))

    def test_statements_that_are_wrong_and_rarely_used(self):
        """Their events wait, and say why; those that do not use them go on."""
        for mode in ("sql_no_table", "sql_syntax", "sql_two"):
            self.emit(
                "act", self.event({"mode": "ok"}), self.event({"mode": mode}), self.event({"mode": "sql_ok"}), key=mode
            )
        self.emit("act", *[self.event({"mode": "sql_ok"}) for _ in range(20)])
        engine = self.engine()
        self.await_topic("acted", 23)
        until(
            lambda: self.lines("chaos.act_sql of plugin chaos has stopped"), lambda: f"an alarm;\n{engine.text()}", 20
        )
        self.assertEqual(engine.metric("sluice_waiting_keys"), 3)
        self.assertEqual(self.topic("act-dlt"), [])

    def test_a_statement_that_is_no_sql_is_mended_in_the_plugin(self):
        self.emit("act", self.event({"mode": "sql_syntax"}))
        engine = self.engine()
        (line,) = until(
            lambda: self.lines("chaos.act_sql of plugin chaos has stopped"), f"an alarm;\n{engine.text()}", 20
        )
        self.assertIn("mend the statement in the plugin", line)
        self.assertNotIn("sluice migrate", line)

    def test_a_statement_that_one_event_breaks(self):
        """What the statement does with this event's data is refused; the same statement passes for the others."""
        self.rows(TABLE)
        self.cause("syntax", "selekt")
        self.cause("name", "select 1 from nowhere")
        innocents = [f"innocent {n}" for n in range(40)]
        self.emit("in", *[self.one(origin) for origin in [*innocents[:20], "syntax", "name", *innocents[20:]]])
        engine = self.engine()
        until(lambda: self.handled() == set(innocents), lambda: f"the innocents;\n{engine.text()}", 20)
        self.emit("in", *[self.one(f"more {n}") for n in range(10)])
        self.drain()
        self.assertEqual(sorted(reason(letter) for letter in self.topic("in-dlt")), ["database", "database"])
        self.assertEqual(engine.metric("sluice_handler_stopped"), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
