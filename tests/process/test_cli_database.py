#!/usr/bin/env python3
"""Commands on a real PostgreSQL: run waits for it, migrate, emit, tap and explain do what their help says.

Run alone: python3 tests/process/test_cli_database.py [-k NAME]
"""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import unittest

import _path
from lib.engine import ROOT, SLUICE, Engine, sluice, topic_dump, until
from lib.pipeline_case import CHAOS
from lib.server_case import PostgresCase

PIPELINE = "config/pipeline.yaml"
PURCHASE = {"reservationId": 1, "userId": 7, "seatId": 9, "amount": 10, "paymentTxId": "p-1", "paymentToken": "t"}


class Case(PostgresCase):
    migrated = True

    def setUp(self):
        super().setUp()
        self.env = {"DATABASE_URL": self.url, "DATA_PLATFORM_URL": "http://127.0.0.1:9/events"}
        if self.migrated:
            sluice("migrate", PIPELINE, env=self.env)

    def run_it(self, *line, data=None):
        return sluice(*line, env=dict(self.env, HTTP_LISTEN="127.0.0.1:0"), data=data, check=False)

    def emit(self, *line, data=None):
        return self.run_it("emit", PIPELINE, *line, data=data)

    def dump(self, *topics):
        return topic_dump(PIPELINE, self.env, *topics)


class Migrate(Case):
    migrated = False

    def test_once_and_never_again(self):
        done = self.run_it("migrate", "--check", PIPELINE)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\Asluice migrate: .+\n\Z")
        self.assertEqual(
            self.postgres.value("select count(*) from pg_namespace where nspname = 'sluice'", self.url), "0"
        )

        done = self.run_it("migrate", PIPELINE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = done.stdout.splitlines()
        self.assertIn("applied engine/0001_ledger.sql", lines)
        self.assertIn("applied payment/0001_payment.sql", lines)
        self.assertLess(lines.index("applied engine/0001_ledger.sql"), lines.index("applied payment/0001_payment.sql"))

        for line in (["migrate", PIPELINE], ["migrate", "--check", PIPELINE]):
            done = self.run_it(*line)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "the database is up to date\n", ""))

    def test_run_refuses_a_database_without_its_tables(self):
        done = self.run_it("run", PIPELINE, "--log-format", "text")
        self.assertEqual(done.returncode, 1)
        self.assertIn("sluice migrate", done.stderr)


class Look(Case):
    """Commands that only look at the database."""

    def test_a_role_that_may_only_read(self):
        self.postgres.query(
            "create role looker login; grant usage on schema sluice, public to looker;"
            " grant select on all tables in schema sluice, public to looker",
            self.url,
        )
        self.addCleanup(self.postgres.query, "drop owned by looker; drop role looker", self.url)
        self.assertEqual(self.emit("payment.try", "--data", json.dumps(PURCHASE)).returncode, 0)
        self.env["DATABASE_URL"] = self.url + ("&" if "?" in self.url else "?") + "user=looker"
        for line in (
            ["validate", "--connect", PIPELINE],
            ["explain", PIPELINE, "p-1"],
            ["tap", PIPELINE, "payment.*", "--no-follow"],
        ):
            done = self.run_it(*line)
            self.assertEqual((done.returncode, done.stderr), (0, ""), line)


class Lost(Case):
    """Something that a migration made is gone: `migrate` does not make it again, so the file is named."""

    def test_a_table_or_column(self):
        for undo, lost in (
            (
                "alter table sluice.parked drop column reason",
                "column sluice.parked.reason no more, which the migration",
            ),
            (
                "drop table sluice.inbox cascade",
                "table sluice.inbox no more, which the migration engine/0001_ledger.sql",
            ),
            ("drop function sluice.bus_rename_group", "more of the like)"),
        ):
            self.postgres.query(undo, self.url)
            for line in (["validate", "--connect"], ["migrate", "--check"], ["doctor"]):
                with self.subTest(line=line, undo=undo):
                    done = self.run_it(*line, PIPELINE)
                    self.assertNotEqual(done.returncode, 0, done.stdout)
                    self.assertIn(lost, done.stdout + done.stderr)
                    self.assertIn("restore the database", done.stdout + done.stderr)


class CopiedProgram(Case):
    """The engine's migrations are in the program: it needs no other file."""

    def test_it_migrates(self):
        program, config = self.folder / "sluice", self.folder / "pipeline.yaml"
        shutil.copy(SLUICE, program)
        config.write_text(
            'pipeline: bare\nbus: {kind: postgres}\nstore: {url: "${DATABASE_URL}"}\n'
            f'plugins: {{chaos: {{library: "{CHAOS}"}}}}\n'
            "topics: {a: {key: '{k}', handler: chaos.act, routes: {ok: drop, other: drop}}}\n"
        )
        for line in (["migrate"], ["migrate", "--check"], ["validate", "--connect"]):
            done = subprocess.run(
                [program, line[0], config, *line[1:]],
                env={**os.environ, **self.env},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            self.assertEqual((done.returncode, done.stderr), (0, ""), line)


class Start(Case):
    def test_run_waits_for_the_database(self):
        """Unreachable at start: alive, healthy, not ready, and ready soon after the server has come."""
        url = self.env["DATABASE_URL"]
        self.postgres.stop()
        stopped = True
        engine = Engine(PIPELINE, self.env)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            engine.port = probe.getsockname()[1]
        engine.env["HTTP_LISTEN"] = f"127.0.0.1:{engine.port}"
        try:
            engine.start(wait=False)
            until(lambda: "waiting for the database" in engine.text(), "the warning")
            self.assertIsNone(engine.process.poll())
            self.assertEqual(engine.readies(), 0)
            status, body = engine.request("GET", "/payments/none")
            self.assertEqual((status, body["error"]), (503, "unavailable"))
            self.assertEqual(body["message"], "The engine takes no requests now: /readyz says why. Try again.")
            self.postgres.start()
            stopped = False
            self.assertEqual(url.rsplit(":", 1)[1].split("/")[0], str(self.postgres.port))
            engine.wait_ready()
            self.assertEqual(engine.request("GET", "/readyz")[0], 200)
        finally:
            if stopped:
                self.postgres.start()
            self.assertEqual(engine.stop(), 0)

    def test_an_outage_is_told_once_and_its_end_once(self):
        """Lanes, readers, chores and ticks of a schedule each second meet it, and say nothing more."""
        engine = Engine(PIPELINE, self.env).start()
        try:
            before = len(engine.log)
            self.postgres.stop()
            try:
                until(lambda: "waiting for the database" in "\n".join(engine.log[before:]), "the warning")
                until(lambda: engine.metric("sluice_store_up") == 0, "the gauge")
                end = time.monotonic() + 3
                while time.monotonic() < end:  # what asks for the database meanwhile
                    self.assertEqual(engine.request("GET", "/payments/none")[0], 503)
                    time.sleep(0.2)
            finally:
                self.postgres.start()
            until(lambda: "the database answers again, after" in "\n".join(engine.log[before:]), "its end", 60)
            until(lambda: engine.request("GET", "/payments/none")[0] == 404, "an answer", 60)
        finally:
            self.assertEqual(engine.stop(), 0)
        told = [line for line in engine.log[before:] if "cannot connect" in line or "answers again" in line]
        self.assertEqual([line.split(" ")[1] for line in told], ["WARN", "INFO"], "\n".join(told))

    def test_a_signal_ends_the_wait(self):
        self.env["DATABASE_URL"] = "postgresql://postgres@127.0.0.1:1/nowhere"
        engine = Engine(PIPELINE, self.env)
        engine.start(wait=False)
        until(lambda: "waiting for the database" in engine.text(), "the warning")
        self.assertEqual(engine.stop(10), 0)

    def test_a_bus_of_other_partitions_is_refused(self):
        text = (ROOT / PIPELINE).read_text().replace("bus: {kind: postgres}", "bus: {kind: postgres, partitions: 3}")
        config = pathlib.Path(self.postgres.folder) / "three.yaml"
        config.write_text(text)
        sluice("tap", PIPELINE, "*", "--no-follow", env=self.env)  # makes the log
        done = self.run_it("run", config, "--log-format", "text")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(
            done.stderr, r"was made with \d+ partitions, and the configuration says 3.*set bus\.partitions to \d+"
        )


class Emit(Case):
    def test_data(self):
        done = self.emit("payment.try", "--data", json.dumps(PURCHASE))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "1 event on payment.try\n", ""))
        (record,) = self.dump("payment.try")
        event = json.loads(record["value"])
        self.assertEqual((event["data"], event["eventName"], record["key"]), (PURCHASE, "payment.try", "7-9"))
        self.assertRegex(event["eventId"], r"\A[0-9a-f-]{36}\Z")

    def test_key_and_id(self):
        done = self.emit("payment.try", "--data", '{"a":1}', "--key", "my key", "--id", "mine-1")
        self.assertEqual(done.returncode, 0, done.stderr)
        (record,) = self.dump("payment.try")
        self.assertEqual((record["key"], json.loads(record["value"])["eventId"]), ("my key", "mine-1"))
        done = self.emit("payment.try", "--data", '{"a":1}')
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\Asluice emit: --data: no key for topic payment\.try: .*userId")

    def test_lines(self):
        lines = [json.dumps(dict(PURCHASE, seatId=seat)) for seat in range(1203)]
        done = self.emit("payment.try", "--data", "-", data="\n".join(lines[:700]) + "\n\n\n" + "\n".join(lines[700:]))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "1203 events on payment.try\n", ""))
        self.assertEqual(
            sorted(json.loads(record["value"])["data"]["seatId"] for record in self.dump("payment.try")),
            list(range(1203)),
        )
        done = self.emit("payment.try", data="")
        self.assertEqual((done.returncode, done.stdout), (0, "0 events on payment.try\n"))

    def test_a_bad_line_says_its_number_and_what_was_sent(self):
        good = json.dumps(PURCHASE)
        for bad in ("{", "[]", "42", "{} {}", '{"a":1,"a":2}', "\x00"):
            with self.subTest(bad):
                before = len(self.dump("payment.try"))
                done = self.emit("payment.try", data=f"{good}\n\n{good}\n{bad}\n{good}\n")
                self.assertEqual((done.returncode, done.stdout), (1, "2 events on payment.try\n"))
                self.assertRegex(
                    done.stderr,
                    r"\Asluice emit: line 4: expected the event's data, a JSON object: .*; the lines before it are"
                    r" sent, "
                    r"it and those after it are not\n\Z",
                )
                self.assertEqual(len(self.dump("payment.try")), before + 2)

    def test_envelopes_go_as_they_are(self):
        event = json.dumps({"eventId": "e-1", "eventName": "payment.try", "timestamp": 1, "data": PURCHASE})
        done = self.emit("payment.try", "--envelope", data=event + "\nnot json\n")
        self.assertEqual((done.returncode, done.stdout), (0, "2 events on payment.try\n"), done.stderr)
        self.assertEqual(sorted(record["value"] for record in self.dump("payment.try")), sorted([event, "not json"]))

    def test_a_long_line(self):
        done = self.emit("payment.try", data=json.dumps(dict(PURCHASE, pad="x" * 9_000_000)) + "\n")
        self.assertEqual((done.returncode, done.stdout), (1, "0 events on payment.try\n"))
        self.assertIn("line 1: 9000", done.stderr)
        done = self.emit("payment.try", "--data", json.dumps(dict(PURCHASE, pad="x" * 120_000)))
        self.assertEqual(done.returncode, 0, done.stderr)


class Tap(Case):
    def setUp(self):
        super().setUp()
        for seat in range(5):
            self.emit("payment.try", "--data", json.dumps(dict(PURCHASE, seatId=seat)))
        self.emit("payment.cancel", "--key", "k", "--data", json.dumps(PURCHASE))

    def lines(self, *options):
        done = self.run_it("tap", PIPELINE, *options)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.splitlines()

    def test_what_it_selects(self):
        self.assertEqual(len(self.lines("payment.try", "--no-follow")), 5)
        self.assertEqual(len(self.lines("payment.*", "--no-follow")), 6)
        self.assertEqual(len(self.lines("payment.try", "payment.cancel", "--no-follow")), 6)
        self.assertEqual(len(self.lines("reservation.*", "--no-follow")), 0)
        self.assertEqual(len(self.lines("payment.*", "--count", "2")), 2)  # follows, yet ends
        self.assertEqual(len(self.lines("*", "--no-follow", "--contains", '"seatId": 3')), 1)

    def test_text_and_json(self):
        (line,) = self.lines("payment.cancel", "--no-follow")
        self.assertRegex(line, r"\A\d\d:\d\d:\d\d\.\d{3}  payment\.cancel +k +\{.*\}\Z")
        (line,) = self.lines("payment.cancel", "--no-follow", "--json")
        self.assertEqual({"topic", "partition", "timestamp", "key", "headers", "value"}, set(json.loads(line)))

    def test_it_follows_until_a_signal(self):
        for end in (signal.SIGINT, signal.SIGTERM):
            process = subprocess.Popen(
                [str(SLUICE), "tap", PIPELINE, "payment.try", "--json"],
                cwd=ROOT,
                env=dict(os.environ, **self.env),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            before = [process.stdout.readline() for _ in range(len(self.dump("payment.try")))]
            self.emit("payment.try", "--data", json.dumps(PURCHASE), "--id", f"later-{end}")
            self.assertIn(f"later-{end}", process.stdout.readline())
            process.send_signal(end)
            rest, errors = process.communicate(timeout=20)
            self.assertEqual((process.returncode, rest, errors), (0, "", ""), before)

    def test_a_reader_that_leaves(self):
        done = subprocess.run(
            f"'{SLUICE}' tap {PIPELINE} 'payment.*' | head -1",
            shell=True,
            cwd=ROOT,
            env=dict(os.environ, **self.env),
            executable="/bin/bash",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_the_database_goes_away(self):
        """A tap is for people: it says so, or waits; it never spins or crashes."""
        process = subprocess.Popen(
            [str(SLUICE), "tap", PIPELINE, "payment.try", "--json"],
            cwd=ROOT,
            env=dict(os.environ, **self.env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(5):
            process.stdout.readline()
        self.postgres.restart()
        self.emit("payment.try", "--data", json.dumps(PURCHASE), "--id", "after")
        line = process.stdout.readline()
        if line == "":
            self.assertEqual(process.wait(20), 1)
            self.assertRegex(process.stderr.read(), r"\Asluice tap: .+\n\Z")
        else:
            self.assertIn("after", line)
            process.terminate()
            process.wait(20)
        process.stdout.close()
        process.stderr.close()


class Explain(Case):
    def test_a_purchase(self):
        self.postgres.query(
            "insert into users values (7, 100); insert into reservations (id, user_id, seat_id, purchase_price,"
            " status) values (1, 7, 9, 10, 'PENDING')",
            self.url,
        )
        self.emit("payment.try", "--data", json.dumps(PURCHASE))
        done = self.run_it("explain", PIPELINE, "p-1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("payment.try", done.stdout)
        self.assertNotIn("payment.charge →", done.stdout)
        engine = Engine(PIPELINE, self.env)
        with engine:
            until(lambda: "reservation.success" in self.run_it("explain", PIPELINE, "p-1").stdout, "the purchase's end")
        story = json.loads(self.run_it("explain", PIPELINE, "p-1", "--json").stdout)
        self.assertEqual(
            [event["topic"] for event in story["events"]], ["payment.try", "payment.success", "reservation.success"]
        )
        handled = [(one["handler"], one["outcome"]) for event in story["events"] for one in event["handled"]]
        self.assertIn(("payment.charge", "success"), handled)
        self.assertIn(("reservation.confirm", "success"), handled)
        self.assertEqual(story["chain"], "purchase")
        text = self.run_it("explain", PIPELINE, "p-1").stdout
        self.assertNotIn("\x1b", text)
        self.assertIn("payment.charge → success", text)

    def test_another_payload_under_one_id(self):
        """What is recorded under the id is the first one's outcome, not the newcomer's."""
        self.postgres.query(
            "insert into users values (7, 100); insert into reservations (id, user_id, seat_id, purchase_price,"
            " status) values (1, 7, 9, 10, 'PENDING')",
            self.url,
        )
        for amount in (10, 11):
            self.emit("payment.try", "--data", json.dumps(dict(PURCHASE, amount=amount)), "--id", "one-id")
        with Engine(PIPELINE, self.env):
            until(lambda: "payment.try-dlt" in self.run_it("explain", PIPELINE, "p-1").stdout, "the dead letter")
        story = json.loads(self.run_it("explain", PIPELINE, "p-1", "--json").stdout)
        tries = [event for event in story["events"] if event["topic"] == "payment.try"]
        outcomes = [
            [one["outcome"] for one in event["handled"] if one["handler"] == "payment.charge"] for event in tries
        ]
        self.assertEqual(outcomes, [["success"], ["dead letter"]])

    def test_what_nobody_knows(self):
        done = self.run_it("explain", PIPELINE, "nobody")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("nothing on this pipeline's topics carries it", done.stdout)
        self.assertEqual(json.loads(self.run_it("explain", PIPELINE, "nobody", "--json").stdout)["events"], [])


if __name__ == "__main__":
    unittest.main()
