#!/usr/bin/env python3
"""The bus suites: every bus against bus_conformance.c and bus_groups.c, the postgres bus also against bus_postgres.c
and bus_log.c. The kafka bus runs them on a real broker.

Planted mistakes (lib/mistakes.py) must turn them red. Run alone: python3 tests/process/test_bus.py [-k NAME]; one test
of a suite: build/tests/process/bus_groups memory epochs. BUS_TESTS names the folder of the programs.
"""
import os
import pathlib
import subprocess
import unittest

import _path
from lib import mistakes
from lib.server_case import KafkaCase, PostgresCase, ServerCase

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("BUS_TESTS", ROOT / os.environ.get("B", "build/") / "tests" / "process"))


def run(program, *arguments, failpoints="", seed=1, seconds=180, wait_ms=20000, leaks=True, mistake=None):
    environment = dict(
        os.environ,
        CMOCKA_MESSAGE_OUTPUT="TAP",
        SLUICE_FAILPOINTS=failpoints,
        SLUICE_SEED=str(seed),
        BUS_WAIT_MS=str(wait_ms),
    )
    if not leaks:
        environment["ASAN_OPTIONS"] = f"{environment.get('ASAN_OPTIONS', '')}:detect_leaks=0"
    return subprocess.run(
        [str(mistakes.build(mistake, f"tests/process/{program}") if mistake else PROGRAMS / program), *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env=environment,
    )


class Suite(ServerCase):
    def good(self, *arguments, **options):
        done = run(*arguments, **options)
        self.assertEqual(done.returncode, 0, f"{' '.join(arguments)}\n{done.stdout}{done.stderr}")
        self.assertIn("ok 1 ", done.stdout)

    def bad(self, sentence, mistake, *arguments):
        done = run(*arguments, wait_ms=4000, leaks=False, mistake=mistake)  # it ends where it is
        said = f"{' '.join(arguments)} with the mistake '{mistake}'\n{done.stdout}{done.stderr}"
        self.assertIn(mistakes.word(mistake), done.stderr, said)
        self.assertEqual(done.returncode, 1, said)
        self.assertIn(sentence, done.stderr, said)

    def outage(self, kind, address, break_it, mend_it):
        program = subprocess.Popen(
            [str(PROGRAMS / "bus_groups"), kind, address, "outage"],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", BUS_OUTAGE="1"),
        )
        said = []
        while not said or said[-1] not in ("# break it\n", ""):  # what it logs comes the same way
            said.append(program.stdout.readline())
        self.assertEqual(said[-1], "# break it\n", "".join(said))
        break_it()
        mend_it()
        program.stdin.write("mended\n")
        program.stdin.flush()
        output, _ = program.communicate(timeout=60)
        self.assertEqual(program.returncode, 0, output)


class Memory(Suite):
    def test_conformance(self):
        self.good("bus_conformance", "memory")

    def test_groups(self):
        self.good("bus_groups", "memory")

    def test_a_stale_epoch_accepted(self):
        self.bad("records instead of 200", "memory_stale_epoch", "bus_groups", "memory", "epochs")


class Postgres(Suite, PostgresCase):
    def setUp(self):
        super().setUp()
        self.postgres.query("CREATE SCHEMA IF NOT EXISTS sluice", self.url)
        for file in sorted((ROOT / "sql" / "engine").glob("*.sql")):
            done = subprocess.run(
                ["psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", self.url, "-f", str(file)],
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_conformance(self):
        self.good("bus_conformance", "postgres", self.url)

    def test_groups(self):
        self.good("bus_groups", "postgres", self.url)

    def test_promises(self):
        self.good("bus_postgres", "postgres", self.url)

    def test_log(self):
        self.good("bus_log", "postgres", self.url)

    def test_interleaved_seeds(self):
        for seed in range(2, 6):
            self.good("bus_postgres", "postgres", self.url, "interleaved", seed=seed)

    def test_reading_past_transactions_that_still_run(self):
        arguments = ("bus_postgres", "postgres", self.url, "horizon")
        self.bad("were read past a running transaction", "postgres_horizon", *arguments)

    def test_transactions_that_are_not_marked(self):
        """Readers pass those that another program could have begun."""
        self.bad("records", "postgres_unmarked", "bus_postgres", "postgres", self.url, "interleaved")

    def test_a_stale_epoch_accepted(self):
        self.bad("records instead of 200", "postgres_stale_epoch", "bus_groups", "postgres", self.url, "epochs")

    def test_delayed_heartbeats_cost_no_membership(self):
        self.good("bus_groups", "postgres", self.url, "share", failpoints="bus.heartbeat=delay:120")

    def test_failing_commits_repeat_but_never_lose(self):
        self.good("bus_groups", "postgres", self.url, "storm", failpoints="bus.commit.before=error%30")

    def test_server_killed(self):
        """Readers outlive a crash of the server, and what was published before it comes."""
        self.outage("postgres", self.url, self.postgres.kill, self.postgres.start)


class Kafka(Suite, KafkaCase):
    def test_conformance(self):
        self.good("bus_conformance", "kafka", self.kafka.servers)

    def test_groups(self):
        self.good("bus_groups", "kafka", self.kafka.servers)

    def test_a_stale_epoch_accepted(self):
        self.bad("records instead of 200", "kafka_stale_epoch", "bus_groups", "kafka", self.kafka.servers, "epochs")

    def test_reports_ignored(self):
        arguments = ("bus_conformance", "kafka", self.kafka.servers, "order")
        self.bad("records instead of", "kafka_reports_ignored", *arguments)

    def test_failing_commits_repeat_but_never_lose(self):
        self.good("bus_groups", "kafka", self.kafka.servers, "storm", failpoints="bus.commit.before=error%30")

    def test_a_producer_that_ends_is_replaced(self):
        """librdkafka's own fatal error, one publish in ten; what comes twice is the reader's to know."""
        self.good("bus_groups", "kafka", self.kafka.servers, "storm", failpoints="bus.producer.fatal=error%10")

    def test_broker_killed(self):
        self.outage("kafka", self.kafka.servers, lambda: self.kafka.kill(1), lambda: self.kafka.restart(1))


if __name__ == "__main__":
    unittest.main()
