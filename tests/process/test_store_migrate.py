#!/usr/bin/env python3
"""Migrations: in order, once, all or nothing; and a database that is not ours to touch is left alone."""
import hashlib
import os
import unittest

import _path
from lib.postgres import wait_until
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

    def test_gap_in_the_files(self):
        self.write("engine", "0004_fourth.sql", "SELECT 1")
        self.refused("0003")

    def test_number_twice(self):
        self.write("engine", "0002_again.sql", "SELECT 1")
        self.refused("0003")

    def test_changed_after_it_was_applied(self):
        self.apply()
        self.write("engine", "0001_first.sql", "CREATE TABLE first (n bigint);")
        self.refused("0001_first.sql has changed")

    def test_newer_database(self):
        self.apply()
        self.remove("engine", "0002_second.sql")
        self.refused("0002_second.sql")

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

    def test_a_file_may_not_commit(self):
        self.write("engine", "0002_second.sql", "CREATE TABLE second (); COMMIT; SELECT 1")
        answer = self.apply()
        self.assertEqual(answer["result"], "deploy", answer)
        self.assertEqual(len(self.applied()), 1)

    def test_two_migrators_wait_for_each_other(self):
        self.write("engine", "0001_first.sql", "SELECT pg_sleep(0.5); CREATE TABLE first (n int)")
        with Drive(self.url, STATEMENT_TIMEOUT_MS="200") as other:
            self.drive.ask("migrate", self.folder, "engine", "charge")
            wait_until(lambda: self.postgres.value("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
            answers = [other("migrate", self.folder, "engine", "charge"), self.drive.answer()]
        self.assertEqual([a["result"] for a in answers], ["ok", "ok"], answers)
        steps = answers[0]["rows"] + answers[1]["rows"]
        self.assertEqual(
            sorted(steps),
            [["charge", 1, "0001_money.sql"], ["engine", 1, "0001_first.sql"], ["engine", 2, "0002_second.sql"]],
        )

    def test_the_shipped_ones(self):
        answer = self.drive("migrate", os.path.join(ROOT, "sql"), "engine")
        self.assertEqual(answer["result"], "ok", answer)
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
