#!/usr/bin/env python3
"""A Kafka that wants TLS and a password: a purchase runs on it, and what is wrong is said in a sentence, without the
password.

Run alone: python3 tests/process/test_kafka_secure.py [-k NAME]
"""
import concurrent.futures
import contextlib
import os
import re
import socket
import subprocess
import time
import unittest

import _path
from lib.engine import ROOT, Engine, sluice, until
from lib.server_case import KafkaCase, PostgresCase

SECURE = """{bootstrap.servers: "${KAFKA_BROKERS}", security.protocol: SASL_SSL, sasl.mechanism: PLAIN,
  sasl.username: "${KAFKA_USER}", sasl.password: "${KAFKA_PASSWORD}", ssl.ca.location: "${KAFKA_CA}"}"""
CLOSED = "TLS or SASL authentication with the brokers failed: "
WRONG = "not-the-password-5d1f"


class Case(KafkaCase, PostgresCase):
    kafka_options = {"secure": True}

    @classmethod
    def setUpClass(cls):
        os.environ.pop("SLUICE_TEST_BROKERS", None)
        super().setUpClass()

    def setUp(self):
        super().setUp()
        yaml = (ROOT / "config/pipeline.kafka.yaml").read_text()
        yaml, changes = re.subn(r"properties: \{[^{}]*\$\{[^}]*\}\"\}", lambda _: f"properties: {SECURE}", yaml)
        self.assertEqual(changes, 1)
        self.config = self.folder / "pipeline.yaml"
        self.config.write_text(yaml)
        self.env = {
            "DATABASE_URL": self.url,
            "DATA_PLATFORM_URL": "http://127.0.0.1:9/events",
            "CONSUMER_GROUP": self.id().rsplit(".", 1)[1],
            **self.kafka.secure_env(),
        }
        self.said = []  # everything that any command or process of ours printed
        done = self.command("migrate")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def command(self, word, *line, **env):
        done = sluice(word, self.config, *line, env={**self.env, **env}, check=False)
        self.said += [done.stdout, done.stderr]
        return done

    @contextlib.contextmanager
    def engine(self, port=None, **env):
        """`port`: of its HTTP, which is else known when it is ready."""
        engine = Engine(self.config, {**self.env, **env}, args=["--log-level", "debug"])
        if port is not None:
            engine.env["HTTP_LISTEN"] = f"127.0.0.1:{port}"
            engine.port = port
        engine.start(wait=port is None)
        try:
            yield engine
        finally:
            code = engine.stop()
            self.said += engine.log
            self.assertEqual(code, 0, engine.text())

    def not_told(self, secret):
        self.assertGreater(len(self.said), 0)
        for text in self.said:
            self.assertNotIn(secret, text)


class LetIn(Case):
    def test_a_purchase(self):
        self.postgres.query(
            "INSERT INTO users VALUES (1, 500); INSERT INTO reservations (id, user_id, seat_id, purchase_price)"
            " VALUES (1, 1, 7, 100); INSERT INTO payment_tokens VALUES ('token-1', 1)",
            self.url,
        )
        with self.engine() as engine:
            status, answer = engine.request(
                "POST",
                "/payments",
                {"userId": 1, "reservationId": 1, "paymentToken": "token-1", "paymentTxId": "first"},
            )
            self.assertEqual(status, 202, answer)
            status, answer = engine.request("GET", "/payments/first?wait=20s")
            self.assertEqual((status, answer["status"]), (200, "SUCCESS"), engine.text())
            self.said += [str(engine.request("GET", path)) for path in ("/pipeline", "/metrics", "/readyz", "/healthz")]
        done = self.command("explain", "first")
        self.assertIn("payment.charge → success", done.stdout)
        self.assertEqual(self.command("validate", "--connect", "--json").returncode, 0)
        self.command("validate")
        self.command("graph", "--format", "json")
        self.assertIn("first", self.command("tap", "payment.*", "--no-follow").stdout)
        self.not_told(self.env["KAFKA_PASSWORD"])


class KeptOut(Case):
    def kept_out(self, words, **env):
        """Each command says it in one sentence; an engine says it as an error, once, and is not ready."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with self.engine(port=port, **env) as engine:
            line = until(lambda: next((line for line in list(engine.log) if " ERROR " in line), None), "an error")
            self.assertRegex(line, re.escape(CLOSED) + words)
            began = time.monotonic()
            lines = (["validate", "--connect"], ["tap", "*", "--no-follow"], ["migrate"])
            with concurrent.futures.ThreadPoolExecutor() as pool:
                all_done = list(pool.map(lambda line: self.command(*line, **env), lines))
            until(lambda: time.monotonic() > began + 6, "time for the engine to repeat itself in")
            for done in all_done:
                self.assertIn(done.returncode, (1, 78))
                self.assertEqual(len(re.findall(words, done.stderr)), 1, done.stderr)
                self.assertIn(CLOSED, done.stderr)
            told = [line for line in list(engine.log) if re.search(words, line) and " DEBUG " not in line]
            self.assertEqual(sum(" ERROR " in line for line in told), 1, told)
            self.assertLessEqual(len(told), 2 + (time.monotonic() - began) / 4, told)
            self.assertEqual(engine.readies(), 0)
            status, answer = engine.request("GET", "/readyz")
            self.assertEqual(status, 503, answer)
            self.said.append(str(answer))
            self.assertEqual(engine.request("GET", "/healthz")[0], 200)

    def test_a_wrong_password(self):
        self.kept_out(
            r"sasl_ssl://127\.0\.0\.1:\d+/bootstrap: SASL authentication error: [^\n]*[Ii]nvalid", KAFKA_PASSWORD=WRONG
        )
        self.not_told(WRONG)
        self.not_told(self.env["KAFKA_PASSWORD"])

    def test_a_certificate_of_somebody_else(self):
        other = self.folder / "other.pem"
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=nobody we know",
                "-keyout",
                self.folder / "other.key",
                "-out",
                other,
            ],
            check=True,
            capture_output=True,
        )
        self.kept_out(r"sasl_ssl://127\.0\.0\.1:\d+/bootstrap: [^\n]*certificate verify failed", KAFKA_CA=str(other))


if __name__ == "__main__":
    unittest.main()
