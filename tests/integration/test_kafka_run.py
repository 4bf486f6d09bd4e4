#!/usr/bin/env python3
"""What `sluice run` does on Kafka before it has work: brokers that are late, a group that is another database's.

Run alone: python3 tests/integration/test_kafka_run.py. Servers and pipeline are those of test_kafka_cli.py.
"""
import json
import pathlib
import socket
import sys
import time
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1] / "lib")]
import test_kafka_cli as cli  # noqa: E402
from engine import Engine, sluice, until  # noqa: E402


def setUpModule():
    cli.setUpModule()


class TwoDatabases(cli.Case):
    def test_a_member_with_another_stays_outside(self):
        """One group would be divided between them: until the others are gone it waits and says for what."""
        self.migrate()
        other = {**self.env, "DATABASE_URL": cli.POSTGRES.create_database()}
        sluice("migrate", self.config, env=other)
        with Engine(self.config, self.env) as engine:
            until(lambda: engine.metric("sluice_partitions") == 3, "the partitions")
            late = Engine(self.config, other)
            self.addCleanup(late.kill)
            late.start(wait=False)
            line = until(lambda: next((line for line in list(late.log) if "waiting for the bus" in line), None), "the warning")
            self.assertRegex(line, rf"group {self.name} has a member \(\S+ at \S+\) that works with another database: .*store\.url")
            time.sleep(1)
            self.assertEqual((engine.metric("sluice_partitions"), late.readies()), (3, 0))
            same = Engine(self.config, self.env)
            self.addCleanup(same.kill)
            same.start()
            self.assertEqual(same.stop(), 0)
            self.assertEqual(engine.stop(), 0)
        late.wait_ready()
        until(lambda: late.metric("sluice_partitions") == 3, "the partitions of those who left")
        self.assertEqual(late.stop(), 0)


class LateBrokers(cli.Case):
    def test_run_waits_for_them(self):
        """Alive, healthy, not ready for a reason, and at work soon after they have come, with what came before."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.write(cli.YAML, ("${HTTP_LISTEN:-127.0.0.1:0}", f"127.0.0.1:{port}"))
        self.migrate()
        self.emit(cli.EVENT)
        cli.KAFKA.stop(1)
        engine = Engine(self.config, self.env)
        engine.port = port
        try:
            engine.start(wait=False)
            line = until(lambda: next((line for line in list(engine.log) if "waiting for the bus" in line), None), "the warning")
            self.assertIn("the brokers do not say which topics there are", line)
            self.assertIsNone(engine.process.poll())
            self.assertEqual(engine.readies(), 0)
            status, answer = engine.request("GET", "/readyz")
            self.assertEqual(status, 503)
            self.assertIn("waiting for the bus", json.dumps(answer))
            self.assertEqual(engine.request("GET", "/healthz")[0], 200)
        finally:
            cli.KAFKA.restart(1)
        engine.wait_ready()
        self.assertEqual(engine.request("GET", "/readyz")[0], 200)
        until(lambda: cli.KAFKA.dump(self.topic("out")), "the output")
        self.assertEqual(engine.stop(), 0)


if __name__ == "__main__":
    unittest.main()
