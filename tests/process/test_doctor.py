#!/usr/bin/env python3
"""`sluice doctor` on PostgreSQL: each check is good, says it when what it looks at is broken, and is good again when
that is mended.

Run alone: python3 tests/process/test_doctor.py [-k NAME]
"""
import contextlib
import json
import os
import pathlib
import pty
import resource
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

import _path
from doctor_case import LIMIT_S, YAML, DoctorCase
from lib.clock import Clock
from lib.engine import ROOT, SLUICE, sluice, until
from lib.pgbouncer import Pgbouncer

GROUP = "(select number from sluice.name where name = 'ticketing')"


# check: (health, words, what breaks it, what mends it); {d} is the database.
BROKEN_BY_SQL = {
    "session": (
        "bad",
        "read-only by default.*\nalter database",
        "alter database {d} set default_transaction_read_only = on",
        "alter database {d} reset default_transaction_read_only",
    ),
    "durability": (
        "bad",
        "synchronous_commit is off",
        "alter database {d} set synchronous_commit = off",
        "alter database {d} reset synchronous_commit",
    ),
    "connections": (
        "bad",
        "opens up to 16 connections, and of 5 ",
        "alter database {d} connection limit 5",
        "alter database {d} connection limit -1",
    ),
    "autovacuum": (
        "bad",
        "off for sluice tables: outbox",
        "alter table sluice.outbox set (autovacuum_enabled = false)",
        "alter table sluice.outbox reset (autovacuum_enabled)",
    ),
    "slots": (
        "warns",
        r"nobody reads replication slot 'left'.*\n.*pg_drop_replication_slot\('left'\)",
        "select pg_create_physical_replication_slot('left', true)",
        "select pg_drop_replication_slot('left')",
    ),
    "session_limits": (
        "warns",
        "idle_session_timeout is 3600000 ms",
        "alter database {d} set idle_session_timeout = '1h'",
        "alter database {d} reset idle_session_timeout",
    ),
    "migrations": (
        "bad",
        r"lacks the migration engine/\d+_.*\n`sluice migrate /.*/pipeline.yaml`",
        "create table kept as select * from sluice.migration where owner = 'engine' order by number desc limit 1;"
        " delete from sluice.migration where (owner, number) in (select owner, number from kept)",
        "insert into sluice.migration select * from kept; drop table kept",
    ),
    "members": (
        "warns",
        "group ticketing: 1 member without a heartbeat for 5 m",
        "insert into sluice.bus_member (id, consumer_group, name) overriding system value"
        " values (901, 'ticketing', 'x');"
        " insert into sluice.bus_member_heartbeat values (901, 'p', now() - interval '5 minutes')",
        "delete from sluice.bus_member where id = 901; delete from sluice.bus_member_heartbeat where member = 901",
    ),
    "leases": (
        "bad",
        "group ticketing: 1 partition read by no member: 3",
        "insert into sluice.bus_member (id, consumer_group, name) overriding system value"
        " values (902, 'ticketing', 'x');"
        " insert into sluice.bus_member_heartbeat values (902, 'p', now() + interval '1 hour');"
        " insert into sluice.bus_lease (consumer_group, partition, member) values ('ticketing', 3, 17)",
        "delete from sluice.bus_member where id = 902; delete from sluice.bus_member_heartbeat where member = 902;"
        " delete from sluice.bus_lease",
    ),
    "lag": (
        "warns",
        "group ticketing: 7 events behind, and no process reads",
        "insert into sluice.bus_lease (consumer_group, partition) values ('ticketing', 0);"
        " insert into sluice.bus_log values (0, pg_current_xact_id(), 1, 7, '')",
        "delete from sluice.bus_lease; delete from sluice.bus_log",
    ),
    "outbox": (
        "bad",
        "refuse the outputs of 1 transaction: no such topic.*(?s:.*)outputs of 1 transaction are not published",
        "insert into sluice.outbox (id, batch, created_at, refused) values (1, '', now(), 'no such topic'),"
        " (2, '', now() - interval '5 minutes', null)",
        "delete from sluice.outbox",
    ),
    "dead_letters": (
        "warns",
        "1 dead letter open, the oldest for 2 h; most often handler_rejected",
        f"insert into sluice.dead_letter (consumer_group, attempts, at, event_id, topic, reason, record)"
        f" values ({GROUP}, 1, now() - interval '2 hours', gen_random_uuid(), 'payment.try', 'handler_rejected', '')",
        "delete from sluice.dead_letter",
    ),
    "stuck_chains": (
        "bad",
        "chain purchase: the undo of 1 instance failed for good: of 'tx-1'",
        "insert into sluice.chain (chain, state, at, correlation, correlation_text)"
        " select number, 3, 1, gen_random_uuid(), 'tx-1' from sluice.name where kind = 'c'",
        "delete from sluice.chain",
    ),
    "pauses": (
        "warns",
        r"topic payment.try has been paused for 3 d by me: why\n`sluice resume .*pipeline.yaml topic:payment.try`"
        r"(?s:.*)breaker cards has been open for \d+ s, and .* wait: 3 failed\n.*`sluice resume .* breaker:cards`",
        "insert into sluice.pause (pipeline, kind, name, at, until, actor, reason) values"
        " ('ticketing', 'topic', 'payment.try', now() - interval '3 days', null, 'me', 'why'),"
        " ('ticketing', 'breaker', 'cards', now(), now() + interval '1 hour', 'sluice', '3 failed')",
        "delete from sluice.pause",
    ),
    "delayed_events": (
        "bad",
        "1 delayed event overdue, the first for 10 m",
        f"insert into sluice.parked (consumer_group, event_id, due, record) values ({GROUP}, gen_random_uuid(),"
        " now() - interval '10 minutes', '')",
        "delete from sluice.parked",
    ),
    "held_keys": (
        "bad",
        "1 held key with 4 events overdue, the first for 10 m: gateway",
        f"insert into sluice.held_key (consumer_group, stream, key_hash, events, due, reason)"
        f" values ({GROUP}, '1', 5, 4, now() - interval '10 minutes', 'gateway')",
        "delete from sluice.held_key",
    ),
    "schedules": (
        "warns",
        "schedule expire-holds has not ticked for 5 m",
        "insert into sluice.schedule select number, 1, now() - interval '5 minutes' from sluice.name where kind = 's'",
        "delete from sluice.schedule",
    ),
}


class Sql(DoctorCase):
    def test_what_a_statement_breaks(self):
        """All are good at first; each says what is broken, and the others stay as they were."""
        code, before = self.look()
        self.assertEqual(
            (code, [check for check, (health, _) in before.items() if health not in ("good", "not checked")]), (0, [])
        )
        unchecked = [check for check, (health, why) in before.items() if health == "not checked" and "kafka" not in why]
        self.assertEqual(unchecked, ["ready", "changed_files"])
        for check, (health, words, breaks, mends) in BROKEN_BY_SQL.items():
            with self.subTest(check):
                admin = self.postgres.url  # a database that is not broken
                where = admin if breaks.startswith("alter database") else self.url
                self.sql(breaks.format(d=self.database), where)
                try:
                    said = self.says(check, health, words)
                finally:
                    self.sql(mends.format(d=self.database), where)
                if check != "session":
                    others = {name: one[0] for name, one in said.items() if name != check}
                    self.assertEqual(others, {name: one[0] for name, one in before.items() if name != check})
        code, after = self.look()
        self.assertEqual({name: one[0] for name, one in after.items()}, {name: one[0] for name, one in before.items()})

    def test_dead_rows(self):
        self.sql("alter table sluice.attempt set (autovacuum_enabled = false)")
        self.addCleanup(self.sql, "alter table sluice.attempt reset (autovacuum_enabled)")
        self.sql(
            "insert into sluice.attempt (handler, attempts, event_id) select 1, 1, gen_random_uuid()"
            " from generate_series(1, 12000)"
        )
        self.sql("delete from sluice.attempt")
        until(
            lambda: self.postgres.value(
                "select n_dead_tup from pg_stat_user_tables where relname = 'attempt'", self.url
            )
            == "12000",
            "the server's statistics",
        )
        self.says("dead_rows", "warns", "sluice.attempt has 12000 dead rows and 0 live ones; last vacuumed never")
        self.sql("vacuum sluice.attempt")
        self.says("dead_rows", "good", "no table")

    def test_it_writes_nothing(self):
        self.system("set autovacuum = off")
        self.addCleanup(self.system, "reset autovacuum")
        until(lambda: self.postgres.value("show autovacuum") == "off", "the server's settings")
        count = "select pg_snapshot_xmax(pg_current_snapshot())"
        before = self.postgres.value(count, self.url)
        self.says("autovacuum", "bad", "autovacuum is off")
        self.assertEqual(self.postgres.value(count, self.url), before)


class Sessions(DoctorCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.query("alter system set max_prepared_transactions = 3")
        cls.postgres.restart()

    def test_transactions_and_locks_of_others(self):
        """They must be old for that: all at once, then each is mended."""
        insert = "insert into sluice.attempt (handler, attempts, event_id) values (1, 1, gen_random_uuid())"
        self.sql(f"begin; {insert}; prepare transaction 'left'")
        self.addCleanup(
            lambda: self.postgres.query("select * from pg_prepared_xacts") and self.sql("rollback prepared 'left'")
        )
        as_engine = "select pg_advisory_xact_lock_shared(sluice.bus_lock_writer(), 0)"
        with self.session(f"begin; {as_engine}; {insert}") as writes, self.session(
            "begin; lock table sluice.reply in share mode"
        ), self.session("begin; lock table sluice.reply"):
            self.assertIsNone(writes.poll())
            until(
                lambda: self.postgres.value(
                    "select count(*) from pg_prepared_xacts where prepared < now() - interval '11 s'"
                )
                == "1",
                "a transaction to be old",
                60,
                0.5,
            )
            said = self.says(
                "open_transactions", "bad", r"pid \d+ \(psql, user postgres, database .*, idle in transaction"
            )
            self.assertRegex(said["open_transactions"][1], r"pg_terminate_backend\(\d+\)")
            self.assertEqual(said["prepared_transactions"][0], "bad")
            self.assertRegex(said["prepared_transactions"][1], r"'left' of postgres.*\ncommit prepared 'left'")
            self.assertEqual(said["locks"][0], "warns")
            self.assertRegex(
                said["locks"][1], r"pid \d+ \(psql\) has waited for a lock \(sluice.reply\) for \d+ s; pid \d+"
            )
        self.sql("rollback prepared 'left'")
        code, said = self.look()
        self.assertEqual(
            [said[name][0] for name in ("open_transactions", "prepared_transactions", "locks")], ["good"] * 3, said
        )
        self.assertEqual(code, 0)

    def test_a_pooler(self):
        with Pgbouncer(self.postgres, self.folder, "transaction") as pooler:
            env = {"DATABASE_URL": pooler.url(self.url)}
            self.says("session", "bad", "connection pooler in transaction mode.*\nstore.url must lead", env=env)
        self.postgres.query("alter role postgres set idle_in_transaction_session_timeout = '2s'")
        self.addCleanup(self.postgres.query, "alter role postgres reset idle_in_transaction_session_timeout")
        with Pgbouncer(self.postgres, self.folder, "session") as pooler:
            env = {"DATABASE_URL": pooler.url(self.url)}
            said = self.says("session_limits", "bad", "is 2000 ms and a handler may take 10000 ms", env=env)
            self.assertEqual(said["session"][0], "good")

    def test_a_server_that_is_frozen_or_gone(self):
        """Every check has its line, and the command ends."""
        count = len(self.look()[1])
        self.postgres.signal(signal.SIGSTOP)
        try:
            said = self.says("session", "bad", "did not answer in time")
        finally:
            self.postgres.signal(signal.SIGCONT)
        self.assertEqual(len(said), count)
        self.assertEqual(said["outbox"], ("not checked", "the database cannot be used; see session\n"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        env = {"DATABASE_URL": self.url.replace(f":{self.postgres.port}/", f":{port}/")}
        said = self.says("session", "bad", "cannot connect to the database", env=env)
        self.assertEqual(said["version"][0], "not checked")
        self.assertEqual(self.look()[0], 0)

    def test_a_standby(self):
        count = len(self.look()[1])
        signal_file = pathlib.Path(self.postgres.folder, "data", "standby.signal")
        self.postgres.stop()
        signal_file.touch()
        self.postgres.start()
        try:
            said = self.says(
                "session", "bad", "is a standby: it cannot be written to\nstore.url must lead to the primary"
            )
        finally:
            self.postgres.stop()
            signal_file.unlink()
            self.postgres.start()
        self.assertEqual(len(said), count)
        self.assertEqual(self.look()[0], 0)

    def test_a_table_that_is_locked(self):
        with self.session("begin; lock table sluice.outbox; select 'locked'") as psql:
            self.assertEqual(psql.stdout.readline(), "locked\n")
            said = self.says("outbox", "not checked", "did not answer within 3 s")
        self.assertEqual(said["dead_letters"][0], "good")

    def test_versions_and_encodings(self):
        name = "latin"
        self.postgres.query(f"create database {name} encoding 'LATIN1' template template0")
        url = self.url.rsplit("/", 1)[0] + "/" + name
        self.says("version", "bad", "encoding is LATIN1", env={"DATABASE_URL": url})
        now = int(self.postgres.value("show server_version_num"))
        with rewriting(self.postgres.port, struct.pack(">ii", 4, now), struct.pack(">ii", 4, 130011)) as port:
            env = {"DATABASE_URL": self.url.replace(f":{self.postgres.port}/", f":{port}/")}
            self.says("version", "bad", "the database is PostgreSQL", env=env)

    def test_a_clock(self):
        clock = Clock(self.folder / "clock")
        clock.move(5)
        self.says("clock", "warns", "are [45]\\d{3} ms apart", env=clock.env)
        clock.move(-3600)
        self.says("clock", "bad", "are 3[56]\\d\\d s apart", env=clock.env)
        clock.move(0)
        self.says("clock", "good", "less than 1000 ms", env=clock.env)


@contextlib.contextmanager
def rewriting(port, old, new):
    """A port whose connections lead to `port`, with other bytes in what comes back."""
    listener = socket.create_server(("127.0.0.1", 0))

    sockets = [listener]

    def carry(source, sink, change):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data.replace(old, new) if change else data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                sockets.extend((client, server))
                threading.Thread(target=carry, args=(client, server, False), daemon=True).start()
                threading.Thread(target=carry, args=(server, client, True), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class FileAndMachine(DoctorCase):
    def test_a_file_with_errors(self):
        self.config.write_text(YAML.replace("max_events: 500", "max_event: 500", 1))
        said = self.says("file", "bad", r"pipeline.yaml:7:\d+: .*max_event")
        self.assertEqual(said["session"][0], "good")  # what can be looked at is
        self.config.write_text(YAML.replace('"${DATABASE_URL}"', '"postgresql://me:secret@127.0.0.1/x"'))
        self.says("file", "warns", "store.url holds a password")
        self.config.write_text("nothing: [")
        self.assertEqual(self.says("file", "bad", "pipeline.yaml:2")["timeouts"][0], "not checked")
        self.config = self.folder / "none.yaml"
        self.says("file", "bad", "none.yaml")

    def test_a_plugin_of_another_contract(self):
        library = self.folder / "payment.so"
        source = ROOT / "tests/plugins/bad/major.c"
        self.assertTrue(source.exists(), sorted(path.name for path in source.parent.iterdir()))
        subprocess.run(
            ["cc", "-shared", "-fPIC", f"-I{ROOT}/engine/include", f"-I{source.parent}", "-o", library, source],
            check=True,
        )
        self.config.write_text(YAML.replace("library: payment.so", f'library: "{library}"'))
        self.says("file", "bad", "payment.so: .* built for plugin ABI 2\\.")

    def test_timeouts(self):
        self.config.write_text(YAML.replace("  timeout: 10s", "  timeout: 20s"))
        said = self.says("timeouts", "warns", "payment.charge may take 20000 ms, and a stop waits 10000 ms")
        self.assertRegex(
            said["timeouts"][1], r"POST /payments: its handler may take 20000 ms.*10000 ms \(http.timeout\)"
        )
        self.config.write_text(YAML)
        self.says("timeouts", "good", "no timeout")

    def test_timeouts_of_kafka(self):
        yaml = (ROOT / "config/pipeline.kafka.yaml").read_text().replace("  timeout: 10s", "  timeout: 400s")
        self.config.write_text(yaml)
        said = self.look(env={"KAFKA_BROKERS": "127.0.0.1:1"})[1]["timeouts"]
        self.assertEqual(said[0], "warns")
        self.assertIn("a handler may take 400000 ms, and a group puts a member out", said[1])

    def test_limits(self):
        def limited(what, soft):
            return {"preexec_fn": lambda: resource.setrlimit(what, (soft, resource.getrlimit(what)[1]))}

        self.says("open_files", "bad", "may open 100 files", **limited(resource.RLIMIT_NOFILE, 100))
        self.says("open_files", "warns", "HTTP has 400 connections", **limited(resource.RLIMIT_NOFILE, 800))
        self.says("open_files", "good", "may open 4096 files", **limited(resource.RLIMIT_NOFILE, 4096))
        self.says("memory", "warns", "may have 128 MiB", **limited(resource.RLIMIT_AS, 128 << 20))
        self.says("memory", "good", "MiB at most")

    def test_as_people_see_it(self):
        done = sluice("doctor", self.config, env=self.env)
        self.assertEqual(done.stderr, "")
        checks = json.loads(sluice("doctor", self.config, "--json", env=self.env).stdout)["checks"]
        for one in checks:
            self.assertRegex(done.stdout, rf"(?m)^  {one['health']} +{one['check']}: ")
        self.assertRegex(done.stdout, r"pipeline.yaml: \d+ good, 0 warn, 0 bad, 10 not checked\n$")
        self.assertGreaterEqual(len(checks), 25)
        page = pathlib.Path(ROOT / "docs/doctor.md").read_text()
        for one in checks:
            self.assertIn(f"| `{one['check']}` |", page)

    def test_progress_on_a_terminal(self):
        """The name of the check that looks is on stderr while it does, and gone at the end."""
        ours, theirs = pty.openpty()
        done = subprocess.run(
            [SLUICE, "doctor", self.config],
            env={**os.environ, **self.env},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=theirs,
            timeout=LIMIT_S,
            check=False,
        )
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: all of it was read
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
        shown = shown.decode()
        self.assertIn("… session", shown)
        self.assertTrue(shown.endswith("\r\x1b[K"), shown)
        self.assertIn(b"good         session", done.stdout)
        self.assertNotIn(b"\r", done.stdout)

    def test_a_user_who_may_not_see_others(self):
        self.sql("create role plain login; grant usage on schema sluice to plain")
        self.addCleanup(self.sql, "drop owned by plain; drop role plain")
        self.sql("grant select on all tables in schema sluice to plain")
        env = {"DATABASE_URL": self.url.replace("postgres@", "plain@")}
        said = self.says("open_transactions", "not checked", "grant pg_monitor", env=env)
        self.assertEqual(said["dead_letters"][0], "good", said)
        self.sql("revoke select on sluice.outbox from plain")
        self.says("outbox", "not checked", "may not be read.*permission denied", env=env)
        self.sql("grant pg_monitor to plain")
        self.says("open_transactions", "good", "none", env=env)

    def test_without_a_store(self):
        self.config = ROOT / "config/minimal.yaml"
        code, said = self.look()
        self.assertEqual(code, 0)
        self.assertEqual(said["session"], ("not checked", "the pipeline has no store\n"))


if __name__ == "__main__":
    unittest.main()
