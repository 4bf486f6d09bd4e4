#!/usr/bin/env python3
"""Migrations: in order, once, all or nothing; and a database that is not ours to touch is left alone."""
import hashlib
import os
import unittest

import _path
from lib.engine import until
from lib.server_case import PostgresCase
from lib.store_drive import ROOT, Drive

postgres = None


class Migrations(PostgresCase):
    def setUp(self):
        super().setUp()
        self.write("engine", "0001_first.sql", "CREATE TABLE first (n int);")
        self.write("engine", "0002_second.sql", "CREATE TABLE second AS SELECT * FROM first; SELECT 1;")
        self.write("charge", "0001_money.sql", "CREATE TABLE money AS SELECT * FROM second;")
        self.drive = Drive(self.url)
        self.addCleanup(self.drive.__exit__)

    def write(self, owner, name, sql):
        os.makedirs(os.path.join(self.folder, owner), exist_ok=True)
        with open(os.path.join(self.folder, owner, name), "w", encoding="utf-8") as file:
            file.write(sql)

    def remove(self, owner, name):
        os.remove(os.path.join(self.folder, owner, name))

    def apply(self, *owners):
        return self.drive("migrate", self.folder, *(owners or ("engine", "charge", "nothing")))

    def refused(self, word):
        """Both apply and check say so, and the database stays as it is."""
        before = self.applied()
        for command in ("migrate", "migrated"):
            answer = self.drive(command, self.folder, "engine", "charge")
            self.assertEqual(answer["result"], "deploy", answer)
            self.assertIn(word, answer["error"])
        self.assertEqual(self.applied(), before)

    def applied(self):
        if self.postgres.value("SELECT to_regclass('sluice.migration')", self.url) is None:
            return []
        return self.postgres.query("SELECT owner, number, name, checksum FROM sluice.migration ORDER BY 1, 2", self.url)

    def test_in_order_and_once(self):
        answer = self.drive("migrated", self.folder, "engine", "charge")
        self.assertEqual(answer["result"], "deploy")
        self.assertIn("0001_first", answer["error"])
        self.write("engine", "README", "not a migration")
        answer = self.apply()
        self.assertEqual(answer["result"], "ok", answer)
        self.assertEqual(
            answer["rows"],
            [["engine", 1, "0001_first.sql"], ["engine", 2, "0002_second.sql"], ["charge", 1, "0001_money.sql"]],
        )
        checksum = hashlib.sha256(b"CREATE TABLE first (n int);").hexdigest()
        self.assertEqual(self.applied()[1], ["engine", "1", "0001_first.sql", checksum])
        self.assertEqual(self.drive("migrated", self.folder, "engine", "charge")["result"], "ok")
        self.assertEqual(self.apply()["rows"], [])
        self.write("engine", "0003_third.sql", "CREATE TABLE third ()")
        self.assertIn("0003_third", self.drive("migrated", self.folder, "engine")["error"])
        self.assertEqual(self.apply()["rows"], [["engine", 3, "0003_third.sql"]])

    def test_files_that_are_no_migrations(self):
        """Read before anything is connected: nothing is applied."""
        for name, says in {
            "0003_third.sql": "/charge/0003_third.sql: expected the migration 0002 here: they count from 0001",
            "0001_again.sql": "/charge/0001_money.sql: expected the migration 0002 here: they count from 0001",
            "2_second.sql": "/charge/2_second.sql: a migration is called NNNN_words.sql: expected 0002_words.sql or",
        }.items():
            with self.subTest(name):
                self.write("charge", name, "SELECT 1")
                self.refused(says)
                self.remove("charge", name)
        self.remove("charge", "0001_money.sql")
        self.refused("/charge has no migration of charge: expected a file 0001_words.sql")
        self.assertEqual(self.applied(), [])

    def test_a_folder_that_is_gone(self):
        self.apply()
        self.remove("charge", "0001_money.sql")
        os.rmdir(os.path.join(self.folder, "charge"))
        self.refused("has the migration charge/0001_money.sql, but the plugin 'charge' has no folder of them: there is")

    def test_files_that_fail(self):
        """A plugin's first file, all of which is undone, with the line and the statement; the engine's is applied."""
        before = "create table things (n int); -- ; '\n/* ; */ create table others (ö text default ';''$1;');\n"
        changes = "makes the table sluice.migration"
        touches = "the schema sluice is the engine's, and a plugin's migration may only read there"
        for last, says in {
            # what the server finds when it reads all, and when it is at it
            "create tabel third;": 'line 3: the database refused "create tabel third": syntax error at or near "tabel"',
            "select 1;\n\nselect 1 from nothing": 'line 5: .* refused "select 1 from nothing": relation "noth',
            "insert into things values\n(1),\n(1 / 0);": 'line 3: .* "insert into things values.*division by',
            "do $do$ begin perform 1; raise 'no; %', 'x'; end $do$; select 1": 'line 3: .* refused "do .*: no; x',
            "select $$;$$; select E'\\';'; create table things ()": 'line 3: .*"create table things',
            (
                "create function f() returns int begin atomic select case when true then 1 end; select 2; end;\n"
                "select f(1)"
            ): 'line 4: .* refused "select f\\(1\\)": function f\\(integer\\) does not',
            "\\i other.sql": "line 3: .*syntax error at or near",
            "copy things from stdin;\n1\n\\.\n": "line 4: .*syntax error",
            "copy things from stdin": "line 3: a script may not COPY",
            "select (": 'line 3: .* refused "select \\(": syntax error at end of input',
            # a file is one transaction
            "select 1; commit; select 2": 'line 3: it may not have the statement "commit": a file is one transaction',
            "Begin Work;": 'line 3: it may not have the statement "Begin Work"',
            "rollback /* to */ transaction": "line 3: it may not have the statement",
            "prepare\ntransaction 'x'": "line 3: it may not have the statement",
            "select 1; -- \rcommit": 'line 3: it may not have the statement "commit"',
            "create function begin() returns int language sql as 'select 1'; commit": "line 3: it may not have the st",
            "select E'a'\n'b\\''; commit; --'": "line 4: it may not have the statement",
            "select E'a'-- b\r'c\\''; commit; --'": "line 3: it may not have the statement",
            "select E'a''\\''; commit; --'": "line 3: it may not have the statement",
            "create procedure p() language plpgsql as $$ begin commit; end $$; call p()": "line 3: .*invalid tr",
            "create index concurrently on things (n)": "line 3: .*cannot run inside a transaction block",
            # what is the engine's
            "create table sluice.mine ();": f"it changes or makes the table sluice.mine: {touches}",
            "set search_path = sluice; create table mine ()": "makes the table sluice.mine",
            "drop table sluice.migration": "it drops or moves the table sluice.migration",
            "insert into sluice.migration values ('charge', 2, 'x', 'y')": changes,
            "savepoint s; delete from sluice.migration; release s": changes,
            "truncate sluice.migration": changes,
            "alter table sluice.migration add column mine int": changes,
            "alter table sluice.migration set schema public": "it drops or moves the table sluice.migration",
            "create index mine on sluice.migration (name)": changes,
            "create table mine (o text, n int, foreign key (o, n) references sluice.migration)": changes,
            "create rule mine as on insert to sluice.migration do instead nothing": changes,
            "grant select on sluice.migration to public": changes,
            "grant usage on schema sluice to public": "makes the schema sluice",
            "alter schema sluice rename to mine": "it drops or moves the schema sluice",
            "drop schema sluice cascade": "it drops or moves the table sluice.held",
            "create function sluice.mine() returns int language sql as 'select 1'": "makes the function sluice.mine",
            "create or replace function sluice.theirs() returns int language sql as 'select 2'": "sluice.theirs",
            "drop function sluice.theirs": "drops or moves the function sluice.theirs",
            "create type sluice.mine as enum ('x')": "it changes or makes the type sluice.mine",
            "create temp table pg_locks (); create temp table pg_class (); delete from sluice.migration": changes,
            "create function late() returns trigger language plpgsql as $$ begin delete from sluice.migration;"
            " return new; end $$; create constraint trigger late after insert on things deferrable initially deferred"
            " for each row execute function late(); insert into things values (1)": changes,
            "create table again (); create function late() returns trigger language plpgsql as $$ begin"
            " delete from sluice.migration; return new; end $$; create constraint trigger late after insert on again"
            " deferrable initially deferred for each row execute function late(); create function early() returns"
            " trigger language plpgsql as $$ begin set constraints all deferred; insert into again default values;"
            " return new; end $$; create constraint trigger early after insert on things deferrable initially deferred"
            " for each row execute function early(); insert into things values (1)": changes,
            "grant select (name) on sluice.migration to public": changes,
            "update pg_trigger set tgenabled = 'D' where tgname = 'held'": "it changes or makes the table sluice.held",
            # a sequence's value outlives the rollback: one that was set back is set again
            "select setval('sluice.numbers', 7)": "makes the sequence sluice.numbers: .* stay taken",
            "select setval('sluice.numbers', 7); select 1 / 0": "division by zero",
            "do $$ begin perform setval('sluice.numbers', 7, false); perform 1 / 0; exception when division_by_zero"
            " then null; end $$": "makes the sequence sluice.numbers",
            "select nextval('sluice.numbers')": "makes the sequence sluice.numbers: .* stay taken",
        }.items():
            with self.subTest(last):
                self.write("charge", "0001_money.sql", before + last)
                self.write(
                    "engine",
                    "0003_f.sql",
                    "create function sluice.theirs() returns int language sql as 'select 1';"
                    "create table sluice.held (); create trigger held before update on sluice.held"
                    " execute function suppress_redundant_updates_trigger();"
                    "create sequence sluice.numbers; select setval('sluice.numbers', 500)",
                )
                answer = self.apply()
                self.assertEqual(answer["result"], "deploy", answer)
                self.assertRegex(answer["error"], f"^migration charge/0001_money.sql(, |: ).*{says}")
                self.assertEqual(len(self.applied()), 3)
                self.assertIsNone(self.postgres.value("SELECT to_regclass('things')", self.url))
                self.assertIn(self.postgres.value("SELECT last_value FROM sluice.numbers", self.url), ("500", "501"))

    def test_a_hidden_end_of_the_transaction(self):
        """What is taken for a function's body hides it from who looks for words, and not from who asks the server."""
        self.apply()
        hide = (
            'create table named ("case" int); create function body() returns setof int begin atomic select n.case from'
            " named n; end; create table stays (); "
        )
        for owner, name in (("engine", "0003_end.sql"), ("charge", "0002_end.sql")):
            for end in (
                "rollback and chain; select 1",
                "commit and chain; select 1",
                "commit; begin; select 1",
                "commit; create table later ()",
                "commit; select 1 / 0",
                "commit and chain; select 1 / 0",
            ):
                with self.subTest(owner=owner, end=end):
                    self.postgres.query("drop table if exists named, stays, later cascade", self.url)
                    self.write(owner, name, hide + end)
                    answer = self.apply()
                    self.assertEqual(answer["result"], "deploy", answer)
                    says = f"^migration {owner}/{name}.*: it ended its transaction, what of it stays is unknown: "
                    self.assertRegex(answer["error"], says)
                    self.assertNotIn("nothing of this file", answer["error"])
                    self.assertEqual(len(self.applied()), 3)
                    stays = self.postgres.value("SELECT to_regclass('stays')::text", self.url)
                    self.assertEqual(stays, None if "rollback" in end else "stays")
            self.remove(owner, name)

    def test_files_that_are_fine(self):
        """They read what is the engine's, and use what looks as if it were the end of a transaction."""
        for number, sql in enumerate(
            (
                "create table mine as select * from sluice.migration; create view v as select * from sluice.migration",
                "savepoint s; delete from sluice.migration; rollback work to savepoint s; select 1",
                "create function commit() returns int language sql as 'select 1'; select commit(); -- commit;\n;;",
                "set role none; set search_path = nowhere; set local statement_timeout = '1h'",
                "create temp table mine (); create function pg_temp.f() returns int language sql as 'select 1'",
                "select owner from mine",  # the table of the first file
                "create table after_that ()",  # whose search_path is the usual one again
                "",
            ),
            2,
        ):
            with self.subTest(sql):
                self.write("charge", f"{number:04}_fine.sql", sql)
                answer = self.apply()
                self.assertEqual(answer["result"], "ok", answer)
        self.assertEqual(len(self.applied()), 11)
        self.assertEqual(self.postgres.value("SELECT to_regclass('public.after_that')::text", self.url), "after_that")

    def test_what_an_engine_does_meanwhile(self):
        """It makes partitions of its log, and drops old ones, while a plugin's file runs."""
        self.apply("engine")
        self.postgres.query("CREATE TABLE sluice.old ()", self.url)
        self.write("charge", "0001_money.sql", "CREATE TABLE money (); SELECT pg_sleep(0.5);")
        self.drive.ask("migrate", self.folder, "engine", "charge")
        until(lambda: self.postgres.value("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "the sleep")
        self.postgres.query("CREATE TABLE sluice.new (); DROP TABLE sluice.old", self.url)
        self.assertEqual(self.drive.answer()["rows"], [["charge", 1, "0001_money.sql"]])

    def test_a_role_without_superuser(self):
        database = self.url.rsplit("/", 1)[1].split("?")[0]
        self.postgres.query(f"CREATE ROLE plain LOGIN; GRANT CREATE ON DATABASE {database} TO plain", self.url)
        self.postgres.query("GRANT CREATE ON SCHEMA public TO plain", self.url)
        with Drive(self.url.replace("postgres@", "plain@")) as drive:
            self.assertEqual(drive("migrate", self.folder, "engine")["result"], "ok")
            self.write("charge", "0001_money.sql", "DELETE FROM sluice.migration")
            answer = drive("migrate", self.folder, "engine", "charge")
            self.assertIn("it changes or makes the table sluice.migration", answer["error"])
            self.write("charge", "0001_money.sql", "CREATE TABLE money AS SELECT * FROM sluice.migration")
            self.assertEqual(drive("migrate", self.folder, "engine", "charge")["result"], "ok")
        owner = self.postgres.value("SELECT tableowner FROM pg_tables WHERE tablename = 'money'", self.url)
        self.assertEqual(owner, "plain")

    def test_the_layout_before(self):
        """A database that was migrated when plugins had their files elsewhere: a row names the owner and the file."""
        self.apply()
        os.rename(os.path.join(self.folder, "charge"), os.path.join(self.folder, "elsewhere"))
        self.assertEqual(self.apply("engine")["rows"], [])
        os.rename(os.path.join(self.folder, "elsewhere"), os.path.join(self.folder, "charge"))
        self.assertEqual(self.apply()["rows"], [])

    def test_changed_after_it_was_applied(self):
        self.apply()
        self.write("engine", "0001_first.sql", "CREATE TABLE first (n bigint);")
        self.refused("0001_first.sql has changed")

    def test_newer_database(self):
        self.apply()
        self.remove("engine", "0002_second.sql")
        self.refused("engine/0002_second.sql, which has no file in ")

    def test_gap_in_the_database(self):
        self.apply()
        self.postgres.query("DELETE FROM sluice.migration WHERE owner = 'engine' AND number = 1", self.url)
        self.refused("0001_first.sql before it is not")

    def test_other_owners_rows_are_not_ours(self):
        self.apply()
        answer = self.drive("migrated", self.folder, "engine")
        self.assertEqual(answer["result"], "ok", answer)

    def test_all_or_nothing(self):
        self.write("engine", "0002_second.sql", "CREATE TABLE second (); SELECT 1/0; CREATE TABLE never ()")
        answer = self.apply()
        self.assertEqual(answer["result"], "deploy", answer)
        self.assertRegex(answer["error"], "0002_second.sql.*22012")
        self.assertEqual(len(self.applied()), 1)
        self.assertIsNone(self.postgres.value("SELECT to_regclass('second')", self.url))
        self.write("engine", "0002_second.sql", "CREATE TABLE second ()")
        self.assertEqual(self.apply()["result"], "ok")

    def test_two_migrators_wait_for_each_other(self):
        self.write("engine", "0001_first.sql", "SELECT pg_sleep(0.5); CREATE TABLE first (n int)")
        with Drive(self.url, STATEMENT_TIMEOUT_MS="200") as other:
            self.drive.ask("migrate", self.folder, "engine", "charge")
            until(
                lambda: self.postgres.value("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "the sleep"
            )
            answers = [other("migrate", self.folder, "engine", "charge"), self.drive.answer()]
        self.assertEqual([a["result"] for a in answers], ["ok", "ok"], answers)
        steps = answers[0]["rows"] + answers[1]["rows"]
        self.assertEqual(
            sorted(steps),
            [["charge", 1, "0001_money.sql"], ["engine", 1, "0001_first.sql"], ["engine", 2, "0002_second.sql"]],
        )

    def test_the_shipped_ones(self):
        """Those in the program are those of sql/engine."""
        answer = self.drive("migrate", "", "engine")
        self.assertEqual(answer["result"], "ok", answer)
        self.assertEqual([row[2] for row in answer["rows"]], sorted(os.listdir(os.path.join(ROOT, "sql/engine"))))
        self.assertEqual(self.drive("migrated", os.path.join(ROOT, "sql"), "engine")["result"], "ok")
        uncommented = self.postgres.query(
            """
            SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum >= 0
            WHERE c.relnamespace = 'sluice'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
              AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL
            UNION ALL SELECT c.relname, NULL FROM pg_class c WHERE c.relnamespace = 'sluice'::regnamespace
              AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND obj_description(c.oid) IS NULL""",
            self.url,
        )
        self.assertEqual(uncommented, [])
        width = self.postgres.value(
            """
            INSERT INTO sluice.inbox VALUES (1, 0, 1, gen_random_uuid(), 2);
            SELECT pg_column_size(i) FROM sluice.inbox i""",
            self.url,
        )
        self.assertEqual(int(width), 24 + 32)


if __name__ == "__main__":
    unittest.main()
