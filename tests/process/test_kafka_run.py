#!/usr/bin/env python3
"""What `sluice run` does on Kafka before it has work: brokers that are late, a group that is another database's.

Run alone: python3 tests/process/test_kafka_run.py. Servers and pipeline are those of kafka_cli_case.py.
"""
import json
import os
import signal
import socket
import threading
import unittest

import _path
from kafka_cli_case import CHAOS, EVENT, YAML, Case
from lib.engine import Engine, sluice, until
from lib.kafka import PrivateKafka
from lib.server_case import PostgresCase


class NoLeader(PostgresCase):
    def test_of_one_partition(self):
        """Its only broker is away: tap shows the others and names it, however much comes to them; run reads the
        others."""
        with PrivateKafka(3) as kafka:
            config, env = self.folder / "pipeline.yaml", {
                "DATABASE_URL": self.url,
                "CHAOS_SO": str(CHAOS),
                **kafka.env(),
            }
            config.write_text(YAML.replace("@", "alone").replace("partitions: 2", "partitions: 2, replication: 1"))
            sluice("migrate", config, env=env)
            for n in range(3):
                kafka.produce("alone.in", f"k{n}", json.dumps({"eventId": f"alone-{n}", "data": EVENT}), partition=n)
            away = kafka.leader("alone.in", 1)
            kafka.kill(away)
            until(lambda: kafka.leader("alone.in", 1) == -1, "a partition without a leader")
            self.assertEqual([kafka.leader("alone.in", n) == -1 for n in range(3)], [False, True, False])
            self.tap(kafka, config, env)
            handled = "SELECT count(*) FROM sluice.inbox"
            with Engine(config, env) as engine:
                until(
                    lambda: engine.metric('sluice_partitions{group="alone"}') == 2, f"two partitions; {engine.text()}"
                )
                until(
                    lambda: int(self.postgres.value(handled, self.url)) >= 2, lambda: f"their events; {engine.text()}"
                )
                kafka.restart(away)
                until(
                    lambda: engine.metric('sluice_partitions{group="alone"}') == 3,
                    lambda: f"the third; {engine.text()}",
                    20,
                )
                self.assertTrue(
                    any(
                        "partition 1 of alone.in has no leader; it is read when it has one" in line
                        for line in list(engine.log)
                    )
                )
                until(lambda: engine.metric("sluice_lag") == 0, lambda: f"the end; {engine.text()}", 30)
                self.assertEqual(engine.stop(), 0)

    def tap(self, kafka, config, env):
        over = threading.Event()

        def trickle():
            while not over.wait(0.5):
                kafka.produce("alone.in", "late", json.dumps({"data": EVENT}), partition=0)

        feeder = threading.Thread(target=trickle)
        feeder.start()
        try:
            done = sluice("tap", config, "alone.in", "--no-follow", "--json", env=env, check=False)
        finally:
            over.set()
            feeder.join()
        keys = {json.loads(line)["key"] for line in done.stdout.splitlines()}
        self.assertEqual((done.returncode, keys - {"late"}), (1, {"k0", "k2"}))
        self.assertRegex(
            done.stderr, r"\Asluice tap: 1 of 3 partitions are not read .*: the first is 1 of alone\.in.*\n\Z"
        )


class TwoDatabases(Case):
    """One group would be divided between them, and each would do a part of the work."""

    def setUp(self):
        super().setUp()
        self.write(YAML, ('"${KAFKA_BROKERS}"}}', '"${KAFKA_BROKERS}", session.timeout.ms: 6000}}'))
        self.migrate()
        self.other = {**self.env, "DATABASE_URL": self.postgres.create_database()}
        sluice("migrate", self.config, env=self.other)

    def engine(self, env):
        engine = Engine(self.config, env)
        self.addCleanup(engine.kill)
        return engine

    def holds(self, engine, count):
        try:
            until(lambda: engine.metric("sluice_partitions") == count, f"{count} partitions", 20)
        except AssertionError as error:
            raise AssertionError(f"{error}; the engine said\n{engine.text()}") from None

    def test_another_is_refused(self):
        engine = self.engine(self.env).start()
        self.holds(engine, 3)
        late = self.engine(self.other).start(wait=False)
        self.assertNotEqual(late.process.wait(20), 0)
        self.assertRegex(
            late.text(),
            rf"group {self.name} has a member \(\S+ at \S+\) that works with another database: .*store\.url",
        )
        same = self.engine(self.env).start()
        until(
            lambda: same.metric("sluice_partitions") + engine.metric("sluice_partitions") == 3
            and same.metric("sluice_partitions") > 0,
            "a share",
        )
        self.assertEqual((same.stop(), engine.stop()), (0, 0))
        until(lambda: not self.kafka.members(self.name), "an empty group")
        late = self.engine(self.other).start()
        self.holds(late, 3)
        self.assertEqual(late.stop(), 0)

    def test_one_that_was_frozen_comes_back(self):
        """Nobody reads until one of them has gone."""
        first = self.engine(self.env).start()
        self.holds(first, 3)
        pids = first.process.pid, first.worker()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        until(lambda: not self.kafka.members(self.name), "the end of its session", 20)
        second = self.engine(self.other).start()
        self.holds(second, 3)
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
        for engine in (first, second):
            until(
                lambda: any("nothing is read: group" in line for line in list(engine.log)),
                f"the word; {engine.text()}",
                20,
            )  # noqa: B023
            self.holds(engine, 0)
        self.emit(EVENT)
        self.assertEqual(second.stop(), 0)
        self.holds(first, 3)
        until(lambda: self.kafka.dump(self.topic("out")), lambda: f"the output; {first.text()}")
        self.assertEqual(first.stop(), 0)


class LateBrokers(Case):
    def test_run_waits_for_them(self):
        """Alive, healthy, not ready for a reason, and at work soon after they have come, with what came before."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.write(YAML, ("${HTTP_LISTEN:-127.0.0.1:0}", f"127.0.0.1:{port}"))
        self.migrate()
        self.emit(EVENT)
        self.kafka.stop(1)
        engine = Engine(self.config, self.env)
        engine.port = port
        try:
            engine.start(wait=False)
            line = until(
                lambda: next((line for line in list(engine.log) if "waiting for the bus" in line), None), "the warning"
            )
            self.assertIn("the topics of the brokers cannot be listed", line)
            self.assertIsNone(engine.process.poll())
            self.assertEqual(engine.readies(), 0)
            status, answer = engine.request("GET", "/readyz")
            self.assertEqual(status, 503)
            self.assertIn("waiting for the bus", json.dumps(answer))
            self.assertEqual(engine.request("GET", "/healthz")[0], 200)
        finally:
            self.kafka.restart(1)
        engine.wait_ready()
        self.assertEqual(engine.request("GET", "/readyz")[0], 200)
        until(lambda: self.kafka.dump(self.topic("out")), "the output")
        self.assertEqual(engine.stop(), 0)


if __name__ == "__main__":
    unittest.main()
