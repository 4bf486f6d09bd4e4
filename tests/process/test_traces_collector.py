#!/usr/bin/env python3
"""A collector that is down, slow, refuses, or is not who it says it is, costs spans and nothing else."""
import shutil
import subprocess
import time
import unittest

import _path
from lib.collector import Collector
from lib.engine import BUILD, Engine, sluice, until
from lib.server_case import ServerCase

YAML = """
pipeline: traced
bus: {kind: memory}
plugins: {gate: {library: "${GATE_SO}"}}
topics: {came.in: {final: true}}
http: {listen: "${HTTP_LISTEN}", requests: {"POST /in": {handler: gate.post, routes: {done: came.in}}}}
tracing: {otlp: "${OTLP_URL}", sample: 1}
"""


class Faults(ServerCase):
    def setUp(self):
        super().setUp()
        self.config = self.folder / "pipeline.yaml"
        self.config.write_text(YAML)
        self.collector = Collector().start()
        self.addCleanup(self.collector.stop)

    def engine(self, url=None):
        self.env = {"GATE_SO": str(BUILD / "tests/plugins/gate.so"), "OTLP_URL": url or self.collector.url}
        engine = Engine(self.config, self.env)
        self.addCleanup(engine.kill)
        return engine.start()

    def post(self, engine, n=1):
        """Each has two spans: of the request and of its handler."""
        for i in range(n):
            status, answer = engine.request("POST", "/in", {"k": "k", "seq": i + 1})
            self.assertLess(status, 300, answer)

    @staticmethod
    def said(engine, what):
        return [line for line in engine.log if what in line]

    def counted(self, engine, outcome, at_least):
        name = f'sluice_trace_spans_total{{outcome="{outcome}"}}'
        until(lambda: engine.metric(name) >= at_least, f"{at_least} spans that are {outcome}", 60)
        return engine.metric(name)

    def test_down_and_back(self):
        """What waits is sent when it is back; the log has one line for its end and one for its return."""
        self.collector.stop()
        engine = self.engine()
        self.post(engine, 5)
        until(lambda: self.said(engine, "takes no spans"), "a line about the outage")
        time.sleep(2)  # for further tries, which must not be lines
        self.assertEqual(engine.request("GET", "/readyz")[0], 200)
        self.collector.start()
        until(lambda: len(self.collector.find()) == 10, "the spans that waited", 60)
        until(lambda: self.said(engine, "takes spans again"), "a line about its end")
        self.assertEqual(len(self.said(engine, "takes no spans")), 1, engine.text())
        self.assertEqual(self.counted(engine, "sent", 10), 10)
        self.assertEqual(self.collector.wrong, [])

    def test_gone_in_the_middle(self):
        engine = self.engine()
        self.post(engine)
        self.collector.await_span(name="POST /in")
        self.collector.stop()
        self.post(engine)
        until(lambda: self.said(engine, "takes no spans"), "a line about the outage")
        began = time.monotonic()
        self.assertEqual(engine.stop(), 0)
        self.assertLess(time.monotonic() - began, 25)
        self.assertEqual(len(self.said(engine, "2 spans were not sent")), 1, engine.text())

    def test_what_it_refuses(self):
        """400 is for good, 503 is not; a part may be refused."""
        self.collector.answers = [
            (400, {}, b"{}"),
            (503, {"Retry-After": "1"}, b""),
            (200, {}, b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}'),
        ]
        engine = self.engine()
        self.post(engine)
        self.assertEqual(self.counted(engine, "refused", 2), 2)
        self.post(engine, 2)
        self.assertEqual(self.counted(engine, "sent", 3), 3)
        self.assertEqual(self.counted(engine, "refused", 3), 3)
        self.assertEqual(self.counted(engine, "dropped", 0), 0)
        self.assertEqual(len(self.said(engine, "refused 2 of 2 spans: it answers 400")), 1, engine.text())

    def test_silent(self):
        """Requests do not wait for it, and neither does the end for its answer."""
        self.collector.hold.clear()
        engine = self.engine()
        self.post(engine)
        time.sleep(1.5)  # the first request to it is under way
        self.post(engine, 20)
        began = time.monotonic()
        self.assertEqual(engine.stop(), 0)
        self.assertLess(time.monotonic() - began, 25)
        self.assertTrue(self.said(engine, "spans were not sent"), engine.text())

    def test_the_end_flushes(self):
        engine = self.engine()
        self.post(engine, 3)
        self.assertEqual(engine.stop(), 0)
        self.assertEqual(len(self.collector.find()), 6)
        self.assertEqual(self.said(engine, "trace:"), [], engine.text())

    def test_killed(self):
        """It loses the spans that it had not sent; the next worker process sends its own."""
        engine = self.engine()
        self.post(engine)
        self.collector.await_span(name="POST /in")
        engine.kill_worker()
        engine.wait_ready(2, 60)
        self.post(engine)
        until(lambda: len(self.collector.find()) == 4, "the spans of two requests", 60)
        self.assertEqual(self.collector.wrong, [])

    def test_somebody_else_s_certificate(self):
        if not shutil.which("openssl"):
            self.skipTest("no openssl")
        key, certificate = str(self.folder / "key.pem"), str(self.folder / "certificate.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
            + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
        )
        self.collector.stop()
        self.collector = Collector(tls=(certificate, key)).start()
        self.addCleanup(self.collector.stop)
        engine = self.engine()
        self.post(engine)
        until(lambda: self.said(engine, "certificate"), lambda: f"a line about the certificate; {engine.text()}")
        self.assertEqual(self.collector.requests, [])

    def test_validate_asks_it(self):
        gate = str(BUILD / "tests/plugins/gate.so")
        self.env = {"GATE_SO": gate, "OTLP_URL": self.collector.url, "HTTP_LISTEN": "127.0.0.1:0"}
        self.assertEqual(sluice("validate", self.config, "--connect", env=self.env).stderr, "")
        self.assertEqual(self.collector.requests[0][0], "/v1/traces")
        self.collector.stop()
        done = sluice("validate", self.config, "--connect", env=self.env)
        self.assertIn(f"7:10: warning: tracing: the collector at {self.collector.url}/v1/traces takes no", done.stderr)
        self.assertEqual(sluice("validate", self.config, env=self.env).stderr, "")


if __name__ == "__main__":
    unittest.main()
