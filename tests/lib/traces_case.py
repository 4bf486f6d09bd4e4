"""A test case that runs the reference pipeline with `tracing:`, and a collector that takes its spans."""
import json
import pathlib
import tempfile

from lib.collector import Collector
from lib.engine import ROOT, Engine, sluice
from lib.postgres import psql
from lib.server_case import PostgresCase

TRACING = '\ntracing: {otlp: "${OTLP_URL}", sample: "${SAMPLE:-1}", headers: {authorization: "${OTLP_TOKEN:-}"}}\n'
SECRET = "Bearer quite-secret"


class TracesCase(PostgresCase):
    """One engine and one collector a class; users, reservations and tokens 1 to 100. User 9 has no points."""

    own_database = False
    shipped = "pipeline.yaml"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.url = cls.postgres.create_database(cls.__name__.lower())
        cls.collector = Collector().start()
        cls.addClassCleanup(cls.collector.stop)
        folder = tempfile.TemporaryDirectory(prefix="sluice-test-")
        cls.addClassCleanup(folder.cleanup)
        cls.config = pathlib.Path(folder.name) / "pipeline.yaml"
        cls.config.write_text((ROOT / "config" / cls.shipped).read_text() + TRACING)
        cls.env = {
            "DATABASE_URL": cls.url,
            "DATA_PLATFORM_URL": cls.collector.url + "/events",
            "OTLP_URL": cls.collector.url,
            "OTLP_TOKEN": SECRET,
            **cls.environment(),
        }
        sluice("migrate", cls.config, env=cls.env)
        cls.sql(
            "insert into users select g, case when g = 9 then 0 else 1000 end from generate_series(1, 100) g;insert"
            " into reservations (id, user_id, seat_id, purchase_price) select g, g, g, 100 from generate_series(1, 100)"
            " g;insert into payment_tokens select 'token-' || g, g from generate_series(1, 100) g"
        )
        cls.engine = Engine(cls.config, cls.env)
        cls.addClassCleanup(cls.engine.kill)
        cls.engine.start()

    @classmethod
    def environment(cls):
        """More of it, for the class."""
        return {}

    @classmethod
    def sql(cls, text):
        return psql(cls.url, text)

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

    @staticmethod
    def purchase(n):
        """Data of a payment.try, as another service would send it."""
        return json.dumps({"userId": n, "seatId": n, "reservationId": n, "paymentTxId": f"tx-{n}", "amount": 100})

    def spans_of(self, purchase, count):
        """All spans of the trace of a purchase, once there are `count` of them."""
        spans = self.collector.await_trace(count, messaging_message_conversation_id=purchase)
        self.assertEqual(len(spans), count, spans)
        return spans

    def only(self, spans, name, handler=None):
        found = [s for s in spans if s.name == name and handler in (None, s.attributes.get("sluice.handler"))]
        self.assertEqual(len(found), 1, f"{name} of {handler} among {spans}")
        return found[0]
