#!/usr/bin/env python3
"""Traces of the reference pipeline, as a collector gets them: one purchase is one trace."""
import json
import unittest

import _path
from lib.collector import tree_faults
from lib.engine import Engine, sluice, topic_dump, until
from lib.server_case import KafkaCase
from lib.traces_case import SECRET, TracesCase

TAP = "data-platform/data_platform.send"
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Purchases(TracesCase):
    def test_a_purchase_is_one_trace(self):
        spans = self.spans_of(self.buy(1), 7)
        self.assertEqual(tree_faults(spans), [], spans)
        request = self.only(spans, "POST /payments")
        handled = self.only(spans, "handle POST /payments")
        charged = self.only(spans, "process payment.try", "payment.charge")
        confirmed = self.only(spans, "process payment.success", "reservation.confirm")
        sent = self.only(spans, "process reservation.success", TAP)
        for parent, child in (
            (request, handled),
            (handled, charged),
            (charged, confirmed),
            (confirmed, sent),
            (handled, self.only(spans, "process payment.try", TAP)),
            (charged, self.only(spans, "process payment.success", TAP)),
        ):
            self.assertEqual(child.parent, parent.id, f"{child} is no child of {parent}")
            self.assertLessEqual(parent.began, child.began + 50_000_000)
        self.assertEqual([span.links for span in spans], [[]] * 7)
        self.assertEqual([span.error for span in spans], [None] * 7)
        self.assertEqual((request.kind, handled.kind, charged.kind), ("server", "internal", "consumer"))
        self.assertEqual(
            {name: request.attributes[name] for name in ("http.request.method", "http.route", "url.path")},
            {"http.request.method": "POST", "http.route": "/payments", "url.path": "/payments"},
        )
        self.assertEqual(request.attributes["http.response.status_code"], 202)
        told = charged.attributes
        for name, wanted in (
            ("messaging.system", "postgresql"),
            ("messaging.destination.name", "payment.try"),
            ("messaging.consumer.group.name", "ticketing"),
            ("messaging.message.conversation_id", "tx-1"),
            ("sluice.outcome", "success"),
            ("sluice.try", 1),
        ):
            self.assertEqual(told[name], wanted, name)
        [event] = [e for e in topic_dump(self.config, self.env, "payment.try") if '"tx-1"' in e["value"]]
        self.assertEqual(json.loads(event["value"])["eventId"], told["messaging.message.id"])
        self.assertEqual(charged.resource["service.name"], "ticketing")
        self.assertEqual(charged.resource["telemetry.sdk.name"], "sluice")

    def test_a_client_s_trace_goes_on(self):
        parent = "b7ad6b7169203331"
        self.buy(2, headers={"traceparent": f"00-{TRACE}-{parent}-01"})
        spans = self.spans_of("tx-2", 7)
        self.assertEqual({span.trace for span in spans}, {TRACE})
        self.assertEqual(self.only(spans, "POST /payments").parent, parent)

    def test_a_client_that_does_not_record(self):
        self.buy(3, headers={"traceparent": f"00-{TRACE[::-1]}-b7ad6b7169203331-00"})
        self.spans_of(self.buy(4), 7)  # which comes later
        self.assertEqual(self.collector.find(trace=TRACE[::-1]), [])
        self.assertEqual(self.collector.find(messaging_message_conversation_id="tx-3"), [])

    def test_retries_link_to_the_first_try(self):
        """User 9 has no points: three steps of the ladder, then payment.failure."""
        spans = self.spans_of(self.buy(9), 11)
        self.assertEqual(tree_faults(spans), [], spans)
        first = self.only(spans, "process payment.try", "payment.charge")
        retries = [s for s in spans if s.attributes.get("sluice.handler") == "payment.charge" and s is not first]
        self.assertEqual([s.attributes["sluice.retry_count"] for s in retries], [1, 2, 3])
        self.assertEqual([s.links for s in retries], [[("first_try", first.trace, first.id)]] * 3)
        self.assertEqual(retries[0].parent, first.id)
        self.assertEqual(self.only(spans, "process payment.failure", TAP).parent, retries[2].id)

    def test_an_undo_links_to_the_step(self):
        """Its reservation is gone: reservation.failure aborts the chain, payment.cancel gives the points back."""
        self.sql("update reservations set status = 'CANCELLED' where id = 6")
        sluice("emit", self.config, "payment.try", "--data", self.purchase(6), env=self.env)  # no request would take it
        spans = self.spans_of("tx-6", 8)
        self.assertEqual(tree_faults(spans, roots=2), [], spans)  # its handler's and the tap's
        charged = self.only(spans, "process payment.try", "payment.charge")
        [aborted] = [s for s in spans if s.name.endswith(".failure") and "sluice.handler" not in s.attributes]
        refunded = self.only(spans, "process payment.cancel", "payment.refund")
        self.assertEqual(refunded.links, [("undoes", charged.trace, charged.id)])
        self.assertEqual(refunded.parent, aborted.id)

    def test_an_abort_of_another_trace(self):
        """The undo is in the trace of its purchase, whatever aborts the chain."""
        spans = self.spans_of(self.buy(7), 7)
        charged = self.only(spans, "process payment.try", "payment.charge")
        data = {"paymentTxId": "tx-7", "reservationId": 7, "userId": 7, "seatId": 7, "reason": "too late"}
        sluice("emit", self.config, "reservation.timeout", "--data", json.dumps(data), env=self.env)
        refunded = self.collector.await_span(trace=charged.trace, handler="payment.refund")
        self.assertEqual(refunded.links, [("undoes", charged.trace, charged.id)])
        self.assertEqual(refunded.parent, charged.id)

    def test_a_dead_letter_and_its_replay(self):
        """Its amount is no number: a dead letter, again after its replay."""
        data = {"userId": 5, "seatId": 5, "reservationId": 5, "paymentTxId": "tx-dead", "amount": "much"}
        sluice("emit", self.config, "payment.try", "--data", json.dumps(data), env=self.env)
        dead = self.collector.await_span(messaging_message_conversation_id="tx-dead", handler="payment.charge")
        self.assertIsNone(dead.parent)
        self.assertEqual((dead.attributes["sluice.outcome"], dead.attributes["error.type"]), ("dead", "bad_field"))
        self.assertIn("amount", dead.error)
        sluice("dead-letter", "replay", self.config, "--correlation", "tx-dead", env=self.env)
        again = self.collector.await_span(messaging_message_conversation_id="tx-dead", parent=dead.id)
        self.assertEqual(again.links, [("replay_of", dead.trace, dead.id)])
        self.assertEqual(again.trace, dead.trace)
        until(lambda: self.sql("select count(*) from sluice.dead_letter") == "2", "a row for each")
        sluice("dead-letter", "replay", self.config, "--correlation", "tx-dead", env=self.env)
        until(
            lambda: len(self.collector.find(trace=dead.trace, handler="payment.charge")) == 3,
            "the second replay in the same trace",
        )
        third = self.collector.find(trace=dead.trace, handler="payment.charge")[-1]
        self.assertEqual([link[:1] + link[2:] for link in third.links], [("replay_of", again.id)])

    def test_health_and_scrapes_have_none(self):
        self.engine.request("GET", "/healthz")
        self.engine.request("GET", "/metrics")
        self.engine.request("GET", "/nothing")
        status, _ = self.engine.request("GET", "/payments/none?secret=1")
        span = self.collector.await_span(name="GET /payments/{paymentTxId}")
        self.assertEqual(span.attributes["url.path"], "/payments/none")
        self.assertEqual(span.attributes["http.response.status_code"], status)
        self.assertEqual([s for s in self.collector.find(kind="server") if "/payments" not in s.name], [])

    def test_its_secret_is_in_no_log(self):
        self.collector.await_span()
        self.assertEqual(self.collector.requests[0][0], "/v1/traces")
        self.assertEqual(self.collector.requests[0][1]["authorization"], SECRET)
        self.assertNotIn("quite-secret", "\n".join(self.engine.log))
        self.assertNotIn("quite-secret", str(self.engine.request("GET", "/metrics")[1]))
        self.assertGreater(self.engine.metric('sluice_trace_spans_total{outcome="sent"}'), 0)


class Shares(TracesCase):
    """Half of the traces, two processes of one group: what begins is recorded whole, or not at all."""

    @classmethod
    def environment(cls):
        return {"SAMPLE": "0.5"}

    def test_two_processes_agree(self):
        other = Engine(self.config, self.env)
        self.addCleanup(other.kill)
        other.start()
        lines = "\n".join(self.purchase(n) for n in range(20, 60))
        sluice("emit", self.config, "payment.try", "--data", "-", env=self.env, data=lines)
        until(
            lambda: self.sql("select count(*) from reservations where status = 'CONFIRMED'") == "40",
            "40 confirmed reservations",
        )
        self.buy(61, headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
        self.spans_of("tx-61", 7)
        other.stop()
        self.engine.stop()
        traces = {}
        for span in self.collector.find():
            traces.setdefault(span.trace, []).append(span)
        traces.pop(TRACE)
        purchases = {t: spans for t, spans in traces.items() if any(s.name == "process payment.try" for s in spans)}
        self.assertIn(len(purchases), range(5, 36))
        for spans in purchases.values():
            self.assertEqual(tree_faults(spans, roots=2), [], spans)  # its handler's and the tap's
            self.assertEqual(len(spans), 5, spans)
            self.assertLess(int(spans[0].trace[16:], 16) >> 1, 1 << 62)


class OnKafka(TracesCase, KafkaCase):
    shipped = "pipeline.kafka.yaml"

    @classmethod
    def environment(cls):
        return cls.kafka.env()

    def test_a_purchase_is_one_trace(self):
        """A tap that records nothing may be given an event twice there: then it has two spans."""
        spans = self.collector.await_trace(7, messaging_message_conversation_id=self.buy(1))
        until(lambda: self.collector.find(trace=spans[0].trace, name="process reservation.success"), "its end")
        self.assertEqual(tree_faults(self.collector.find(trace=spans[0].trace)), [], spans)
        told = self.only(spans, "process payment.success", "reservation.confirm").attributes
        self.assertEqual(told["messaging.system"], "kafka")
        self.assertRegex(told["messaging.destination.partition.id"], r"^[0-5]$")
        self.assertGreaterEqual(told["messaging.kafka.offset"], 0)


if __name__ == "__main__":
    unittest.main()
