#!/usr/bin/env python3
"""The store's connection against a real server that refuses, stops, freezes, dies or answers falsely.

What must hold: a failure has the class of its SQLSTATE; a commit that was not confirmed is never taken for one, nor for
a failure; every wait ends at its deadline; and after any of it the next transaction works.
"""
import os
import signal
import subprocess
import time
import unittest

import _path
from lib.engine import until
from lib.postgres import PrivatePostgres
from lib.store_drive import BUILD, Drive, Proxy

postgres = None
url = None


def setUpModule():
    global postgres, url
    postgres = PrivatePostgres()
    postgres.start()
    url = postgres.create_database()
    with open(os.path.join(os.path.dirname(__file__), "../../sql/engine/0001_ledger.sql"), encoding="utf-8") as file:
        postgres.query(file.read(), url)
    postgres.query(
        """
        CREATE TABLE t (n int PRIMARY KEY, CONSTRAINT later UNIQUE (n) DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE fails (code text, sleep float8 DEFAULT 0);
        CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_sleep(NEW.sleep);
            IF NEW.code IS NOT NULL THEN RAISE EXCEPTION 'as told' USING ERRCODE = NEW.code; END IF;
            RETURN NEW; END $$;
        CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON fails DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION fails();""",
        url,
    )


def tearDownModule():
    postgres.close()


def fail_with(state):
    return f"DO $$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{state}'; END $$"


def rows(table="t"):
    return int(postgres.value(f"SELECT count(*) FROM {table}", url))


class StoreTest(unittest.TestCase):
    def setUp(self):
        postgres.query("TRUNCATE t, fails, sluice.inbox", url)

    def gives(self, expected, answer, sqlstate=None):
        self.assertEqual(answer["result"], expected, answer)
        if expected != "ok":
            self.assertTrue(answer["error"], answer)
        if sqlstate is not None:
            self.assertEqual(answer["sqlstate"], sqlstate, answer)
        return answer

    def works(self, drive):
        """After whatever happened: a rollback, and the next transaction is a good one."""
        drive("rollback")
        self.gives("ok", drive("begin", 5000))
        self.assertEqual(self.gives("ok", drive("exec", "SELECT 41 + 1"))["rows"], [[42]])
        self.gives("ok", drive("commit"))


class Classes(StoreTest):
    """By SQLSTATE: of the engine's statement, of a plugin's, and of COMMIT. All of them: tests/unit/store."""

    TABLE = {
        "40001": ("transient", "transient", "transient"),
        "40P01": ("transient", "transient", "transient"),
        "55P03": ("transient", "transient", "transient"),
        "57014": ("transient", "deadline", "transient"),
        "08006": ("down", "down", "down"),
        "53100": ("down", "down", "down"),
        "57P01": ("down", "down", "down"),
        "25006": ("down", "data", "data"),
        "28000": ("down", "data", "data"),
        "XX000": ("down", "data", "data"),
        "25P03": ("deadline", "deadline", "unknown"),
        "26000": ("down", "down", "down"),
        "22003": ("data", "data", "data"),
        "23505": ("data", "data", "data"),
        "42P01": ("deploy", "refused", "data"),
        "42501": ("deploy", "refused", "data"),
        "P0001": ("down", "data", "data"),
        "21000": ("down", "data", "data"),
    }

    def test_each_state_has_its_class(self):
        with Drive(url) as drive:
            for state, (engine, plugin, commit) in self.TABLE.items():
                with self.subTest(state=state):
                    for command, expected in (("exec", engine), ("plugin", plugin)):
                        drive("begin", 5000)
                        self.gives("ok", drive("exec", "INSERT INTO t VALUES (1)"))
                        self.gives(expected, drive(command, fail_with(state)), state)
                        self.gives(expected, drive("exec", "SELECT 1"))  # nothing but a rollback is possible
                        self.gives(expected, drive("commit"))
                        self.works(drive)
                    drive("begin", 5000)
                    self.gives("ok", drive("plugin", f"INSERT INTO fails VALUES ('{state}')"))
                    self.gives(commit, drive("commit"), state)
                    self.works(drive)
            self.assertEqual(rows() + rows("fails"), 0)

    def test_a_queued_statement_that_fails_is_named(self):
        with Drive(url) as drive:
            for last, expected in (("commit", "data"), ("exec\tSELECT 1", "data")):
                drive("begin", 5000)
                self.gives("ok", drive("queue", "INSERT INTO t VALUES (1)"))
                self.gives("ok", drive("plugin_queue", "SELECT 1/0 AS broken"))
                self.gives("ok", drive("queue", "INSERT INTO t VALUES (2)"))
                answer = self.gives(expected, drive(*last.split("\t")), "22012")
                self.assertIn("broken", answer["error"])
                self.works(drive)
            self.assertEqual(rows(), 0)

    def test_a_conflict_in_our_own_tables_is_run_again(self):
        with Drive(url) as drive:
            insert = "INSERT INTO sluice.inbox VALUES (1, 0, 0, '00000000-0000-0000-0000-000000000001', 0)"
            drive("begin", 5000)
            self.gives("ok", drive("exec", insert))
            self.gives("transient", drive("exec", insert), "23505")
            self.works(drive)

    def test_limits_of_the_server_bound_a_statement(self):
        with Drive(url, STATEMENT_TIMEOUT_MS="400") as drive, Drive(url) as other:
            drive("begin", 5000)
            self.gives("transient", drive("exec", "SELECT pg_sleep(20)"), "57014")
            self.works(drive)
            other("begin", 9000)
            self.gives("ok", other("exec", "LOCK TABLE t"))
            drive("begin", 5000)
            self.gives("transient", drive("exec", "SELECT * FROM t"), "55P03")
            self.works(drive)
            for last, expected in (("exec\tSELECT 1", "deadline"), ("commit", "unknown")):
                drive("begin", 5000)
                self.gives("ok", drive("exec", "SELECT 'idle'"))
                until(
                    lambda: "0"
                    == postgres.value(
                        "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND query ~"
                        " 'idle''$'"
                    ),
                    "the end of the session",
                )
                self.gives(expected, drive(*last.split("\t")))
                self.works(drive)

    def test_sessions_are_set_up(self):
        with Drive(url + "?options=-c%20work_mem%3D5MB", STATEMENT_TIMEOUT_MS="4000") as drive:
            for name, value in {
                "statement_timeout": "4s",
                "lock_timeout": "2s",
                "jit": "off",
                "client_encoding": "UTF8",
                "idle_in_transaction_session_timeout": "4s",
                "tcp_keepalives_idle": "10",
                "client_connection_check_interval": "1s",
                "application_name": "sluice/drive by hand",
                "work_mem": "5MB",
            }.items():
                self.assertEqual(drive("once", f"SELECT current_setting('{name}')")["rows"], [[value]])


class Commits(StoreTest):
    """Done, not done, or not known: never one for the other."""

    def insert(self, drive, sql="INSERT INTO t VALUES (1)"):
        self.gives("ok", drive("begin", 5000))
        self.gives("ok", drive("exec", sql))

    def test_a_deferred_constraint_speaks_at_commit(self):
        with Drive(url) as drive:
            postgres.query("ALTER TABLE t DROP CONSTRAINT t_pkey", url)
            try:
                self.insert(drive)
                self.gives("ok", drive("exec", "INSERT INTO t VALUES (1)"))
                self.gives("data", drive("commit"), "23505")
                self.assertEqual(rows(), 0)
                self.works(drive)
            finally:
                postgres.query("ALTER TABLE t ADD PRIMARY KEY (n)", url)

    def test_commit_answered_with_rollback_is_no_commit(self):
        proxy = Proxy(postgres.port, lambda data: data.replace(b"C\0\0\0\x0bCOMMIT\0", b"C\0\0\0\x0dROLLBACK\0"))
        with Drive(proxy.url(url)) as drive:
            self.insert(drive)
            answer = self.gives("down", drive("commit"))
            self.assertIn("ROLLBACK", answer["error"])
        proxy.close()

    def test_a_reply_that_is_cut_off_leaves_it_unknown(self):
        proxy = Proxy(postgres.port, lambda data: None if proxy.commit_seen and b"COMMIT\0" in data else data)
        with Drive(proxy.url(url)) as drive:
            self.insert(drive)
            self.gives("unknown", drive("commit"))
            self.assertEqual(rows(), 1)  # it was done, and nobody told us
        proxy.close()

    def test_failpoints_around_commit(self):
        for point, expected, stands in (
            ("before=error", "down", 0),
            ("reply_lost=error", "unknown", 1),
            ("after=error", "unknown", 1),
            ("sent=error", "unknown", None),
        ):
            with self.subTest(point=point), Drive(url, SLUICE_FAILPOINTS=f"store.commit.{point}@1") as drive:
                postgres.query("TRUNCATE t", url)
                self.insert(drive)
                self.gives(expected, drive("commit"))
                self.works(drive)
                if stands is not None:
                    self.assertEqual(rows(), stands)

    def test_an_unknown_claim_is_found_by_claiming_again(self):
        with Drive(url, SLUICE_FAILPOINTS="store.commit.reply_lost=error@1") as drive:
            drive("begin", 5000)
            self.assertEqual(self.gives("ok", drive("claim", 1, "1:10", "2:20"))["rows"], [[0, 0, 0]] * 2)
            self.gives("unknown", drive("commit"))
            drive("rollback")
            drive("begin", 5000)
            self.assertEqual(drive("claim", 1, "1:10", "2:21", "3:30")["rows"], [[1, 0, 0], [1, 1, 0], [0, 0, 0]])

    def test_failpoints_around_the_claim(self):
        with Drive(url, SLUICE_FAILPOINTS="store.claim.before=error@1,store.claim.after=error@1") as drive:
            for _ in range(2):
                drive("begin", 5000)
                self.gives("down", drive("claim", 1, "1:10"))
                self.gives("down", drive("commit"))
                drive("rollback")
            self.assertEqual(rows("sluice.inbox"), 0)
            self.works(drive)

    def test_a_plugin_cannot_end_the_transaction(self):
        with Drive(url) as drive:
            for sql in (
                "COMMIT",
                " rollback",
                "/* a /* nested */ comment */ Commit",
                "END",
                "SAVEPOINT a",
                "DISCARD ALL",
                "SET statement_timeout = 0",
                "PREPARE TRANSACTION 'a'",
            ):
                with self.subTest(sql=sql):
                    self.insert(drive)
                    answer = self.gives("data", drive("plugin", sql))
                    self.assertTrue(answer["tampered"])
                    self.works(drive)
            self.insert(drive)
            self.gives("ok", drive("plugin", "SET LOCAL work_mem = '1MB'"))
            answer = self.gives("data", drive("exec", "COMMIT"))  # what slips through is found by the server's own word
            self.assertTrue(answer["tampered"])
            self.works(drive)


class Outages(StoreTest):
    """Stopped, killed, frozen, silent."""

    def test_a_server_that_was_restarted_between_transactions_is_no_failure(self):
        with Drive(url) as drive:
            self.works(drive)
            postgres.restart()
            self.gives("ok", drive("begin", 5000))
            self.gives("ok", drive("exec", "SELECT 1"))
            self.gives("ok", drive("commit"))

    def test_killed_before_commit(self):
        with Drive(url) as drive:
            for last, expected in (("exec\tSELECT 2", "down"), ("commit", "unknown")):
                self.gives("ok", drive("begin", 5000))
                self.gives("ok", drive("exec", "INSERT INTO t VALUES (1)"))
                postgres.kill()
                self.gives(expected, drive(*last.split("\t")))
                drive("rollback")
                self.gives("down", drive("begin", 300))
                postgres.start()
                self.works(drive)
                self.assertEqual(rows(), 0)

    def test_killed_during_commit(self):
        with Drive(url) as drive:
            self.gives("ok", drive("begin", 20000))
            self.gives("ok", drive("exec", "INSERT INTO fails VALUES (NULL, 30)"))
            drive.ask("commit")
            until(lambda: postgres.value("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "the sleep")
            postgres.kill()
            self.gives("unknown", drive.answer())
            postgres.start()
            self.works(drive)
            self.assertEqual(rows("fails"), 0)

    def test_terminated_by_an_administrator(self):
        with Drive(url) as drive:
            terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ 'by hand'"
            self.gives("ok", drive("begin", 5000))
            self.gives("ok", drive("exec", "INSERT INTO t VALUES (1)"))
            postgres.query(terminate)
            self.gives("down", drive("exec", "SELECT 1"), "57P01")
            self.works(drive)
            self.assertEqual(rows(), 0)

    def test_a_frozen_server_is_bounded_by_the_deadline(self):
        with Drive(url, CONNECT_TIMEOUT_MS="600") as drive:
            try:
                for last, expected in (("exec\tSELECT 2", "transient"), ("commit", "unknown")):
                    self.gives("ok", drive("begin", 1200))
                    self.gives("ok", drive("exec", "INSERT INTO t VALUES (1)"))
                    postgres.signal(signal.SIGSTOP)
                    began = time.monotonic()
                    self.gives(expected, drive(*last.split("\t")))
                    self.assertLess(time.monotonic() - began, 2.5)
                    drive("rollback")
                    answer = self.gives("down", drive("begin", 60000))  # connecting is bounded by its own limit
                    self.assertTrue(500 <= answer["ms"] < 2500, answer)
                    postgres.signal(signal.SIGCONT)
                    self.works(drive)
            finally:
                postgres.signal(signal.SIGCONT)

    def test_a_claim_of_a_frozen_peer_is_waited_for_and_then_free(self):
        with Drive(url, STATEMENT_TIMEOUT_MS="1000") as frozen, Drive(url, STATEMENT_TIMEOUT_MS="8000") as heir:
            frozen("begin", 60000)
            self.gives("ok", frozen("claim", 1, "1:1", "2:2"))
            frozen.process.send_signal(signal.SIGSTOP)
            try:
                heir("begin", 20000)
                answer = self.gives("ok", heir("claim", 1, "1:1", "2:2"))  # the server ends the idle transaction
                self.assertEqual(answer["rows"], [[0, 0, 0]] * 2)
                self.gives("ok", heir("commit"))
            finally:
                frozen.process.send_signal(signal.SIGCONT)
            self.gives("unknown", frozen("commit"))
            frozen("rollback")
            frozen("begin", 5000)
            self.assertEqual(frozen("claim", 1, "1:1", "2:2")["rows"], [[1, 0, 0]] * 2)

    def test_coming_back_is_tried_with_pauses(self):
        with Drive(url, SLUICE_FAILPOINTS="store.connect=error") as drive:
            times = [self.gives("down", drive("begin", 5000))["ms"] for _ in range(6)]
            self.assertLess(times[0], 15)
            self.assertGreater(times[5], times[1])
            self.assertLess(sum(times), 20 * 63)
            self.assertGreater(sum(times), 20 * 31 * 0.7)
            answer = self.gives("down", drive("begin", 1))  # and never past the deadline
            self.assertLess(answer["ms"], 50)

    def test_a_table_altered_under_a_statement(self):
        with Drive(url) as drive:
            drive("begin", 5000)
            self.gives("ok", drive("plugin", "SELECT * FROM fails"))
            drive("commit")
            postgres.query("ALTER TABLE fails ADD COLUMN more int", url)
            drive("begin", 5000)
            self.gives("transient", drive("plugin", "SELECT * FROM fails"), "0A000")
            drive("rollback")
            drive("begin", 5000)
            self.gives("ok", drive("plugin", "SELECT * FROM fails"))
            drive("commit")
            postgres.query("ALTER TABLE fails DROP COLUMN more", url)

    def test_statements_that_the_server_forgot(self):
        with Drive(url) as drive:
            self.works(drive)
            self.gives("ok", drive("script", "DEALLOCATE ALL"))
            drive("begin", 5000)
            self.gives("down", drive("exec", "SELECT 41 + 1"), "26000")
            self.works(drive)

    def test_notifications(self):
        with Drive(url) as drive:
            self.assertEqual(drive("listen", 10)["rows"], [[-1]])  # not connected
            self.gives("ok", drive("script", "LISTEN a; LISTEN b"))
            self.assertEqual(drive("listen", 10)["rows"], [[0]])
            drive.ask("listen", 20000)
            postgres.query("NOTIFY a", url)
            answer = drive.answer()
            self.assertEqual(answer["rows"], [[1]])
            self.assertLess(answer["ms"], 10000)
            drive.ask("listen", 20000)
            postgres.restart()
            self.assertEqual(drive.answer()["rows"], [[-1]])
            self.works(drive)


class Looks(StoreTest):
    """store_check and what a url may be."""

    def test_settings_that_break_durability(self):
        with Drive(url) as drive, Drive(url, ALLOW_UNSAFE="1") as bold:
            self.gives("ok", drive("check"))
            for name in ("fsync", "full_page_writes", "synchronous_commit"):
                with self.subTest(name=name):
                    postgres.query(f"ALTER SYSTEM SET {name} = off")
                    postgres.query("SELECT pg_reload_conf()")
                    until(lambda: postgres.value(f"SHOW {name}") == "off", f"{name} to be off")
                    self.assertIn(f"{name}=off", self.gives("deploy", drive("check"))["error"])
                    self.gives("ok", bold("check"))
                    postgres.query(f"ALTER SYSTEM RESET {name}")
                    postgres.query("SELECT pg_reload_conf()")
                    until(lambda: postgres.value(f"SHOW {name}") == "on", f"{name} to be on")
            self.gives("ok", drive("check"))

    def test_an_encoding_that_cannot_hold_events(self):
        postgres.query("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        with Drive(postgres.url.rsplit("/", 1)[0] + "/latin") as drive:
            self.assertIn("LATIN1", self.gives("deploy", drive("check"))["error"])

    def test_no_server_and_no_secret(self):
        with Drive("postgresql://me:hunter2@127.0.0.1:1/x") as drive:
            answer = self.gives("down", drive("check"))
            self.assertNotIn("hunter2", answer["error"])
            self.assertIn("refused", answer["error"])
        for bad in ("host=a password hunter2", "postgresql://me:hunter2@h/x?nonsense=1"):
            done = subprocess.run(
                [os.path.join(BUILD, "tests/process/store_drive")],
                capture_output=True,
                text=True,
                env=dict(os.environ, DATABASE_URL=bad),
                stdin=subprocess.DEVNULL,
                timeout=20,
            )
            self.assertEqual(done.returncode, 1)
            self.assertIn("cannot be understood", done.stderr)
            self.assertNotIn("hunter2", done.stderr)


if __name__ == "__main__":
    unittest.main()
