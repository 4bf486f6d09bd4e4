#!/usr/bin/env python3
"""Traces of the reference pipeline, as a collector gets them: one purchase is one trace."""
import pathlib
import subprocess
import tempfile
import unittest

import _path
from lib.collector import Collector, tree_faults
from lib.engine import ROOT, Engine, sluice
from lib.server_case import PostgresCase

TRACING = '\ntracing: {otlp: "${OTLP_URL}", sample: "${SAMPLE:-1}", headers: {authorization: "${OTLP_TOKEN:-}"}}\n'


class TracesCase(PostgresCase):
    own_database = False
    shipped = "pipeline.yaml"
    more = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.url = cls.postgres.create_database(cls.__name__.lower())
        cls.collector = Collector().start()
        folder = tempfile.TemporaryDirectory(prefix="sluice-test-")
        cls.addClassCleanup(folder.cleanup)
        cls.config = pathlib.Path(folder.name) / "pipeline.yaml"
        text = (ROOT / "config" / cls.shipped).read_text()
        cls.config.write_text(text + TRACING)
        cls.env = {
            "DATABASE_URL": cls.url,
            "DATA_PLATFORM_URL": cls.collector.url + "/events",
            "OTLP_URL": cls.collector.url,
            "OTLP_TOKEN": "Bearer quite-secret",
            **cls.more,
        }
        sluice("migrate", cls.config, env=cls.env)
        cls.sql(
            "insert into users select g, case when g = 9 then 0 else 1000 end from generate_series(1, 100) g;insert"
            " into reservations (id, user_id, seat_id, purchase_price) select g, g, g, 100 from generate_series(1, 100)"
            " g;insert into payment_tokens select 'token-' || g, g from generate_series(1, 100) g"
        )
        cls.engine = Engine(cls.config, cls.env).start()

    @classmethod
    def tearDownClass(cls):
        cls.engine.stop()
        cls.collector.stop()
        super().tearDownClass()

    @classmethod
    def sql(cls, text):
        return subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", cls.url, "-c", text],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def tearDown(self):
        self.assertEqual(self.collector.wrong, [])
        super().tearDown()

    def buy(self, n, **more):
        status, answer = self.engine.request(
            "POST",
            "/payments",
            {"userId": n, "reservationId": n, "paymentToken": f"token-{n}", "paymentTxId": f"tx-{n}"},
            **more,
        )
        self.assertEqual(status, 202, answer)
        return f"tx-{n}"

    def trace_of(self, purchase, last, **wanted):
        """The spans of a purchase, once its last one is there."""
        self.collector.await_span(messaging_message_conversation_id=purchase, name=last, **wanted)
        trace = self.collector.find(messaging_message_conversation_id=purchase)[0].trace
        return trace


class Purchases(TracesCase):
    def test_a_purchase_is_one_trace(self):
        purchase = self.buy(1)
        trace = self.trace_of(purchase, "process reservation.success")
        spans = self.collector.await_trace(7, trace=trace)
        self.assertEqual(tree_faults(spans), [], spans)


if __name__ == "__main__":
    unittest.main()
