#!/usr/bin/env python3
"""Requests of the reference pipeline: the HTTP contract of a purchase, ?wait=, Idempotency-Key."""
import json
import threading
import time
import unittest

import _path
from lib.engine import Engine, sluice
from lib.pipeline_case import PipelineCase
from lib.postgres import psql
from lib.server_case import PostgresCase

CONFIG = "config/pipeline.yaml"


class Requests(PostgresCase):
    own_database = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.url = cls.postgres.create_database("requests")
        cls.env = {"DATABASE_URL": cls.url, "DATA_PLATFORM_URL": "http://127.0.0.1:9/none"}
        sluice("migrate", CONFIG, env=cls.env)
        cls.sql(
            "insert into users select g, case when g = 9 then 0 else 1000 end from generate_series(1, 100) g;insert"
            " into reservations (id, user_id, seat_id, purchase_price) select g, g, g, 100 from generate_series(1, 100)"
            " g;insert into payment_tokens select 'token-' || g, g from generate_series(1, 100) g"
        )
        cls.engine = Engine(CONFIG, cls.env).start()

    @classmethod
    def tearDownClass(cls):
        cls.engine.stop()

    @classmethod
    def sql(cls, text):
        return psql(cls.url, text)

    def body(self, n, **more):
        return {"userId": n, "reservationId": n, "paymentToken": f"token-{n}", **more}

    def test_accepted_at_once_and_successful_when_waited_for(self):
        status, answer = self.engine.request("POST", "/payments", self.body(1, paymentTxId="a-1"))
        self.assertEqual((status, answer["paymentTxId"], answer["status"]), (202, "a-1", "PAYMENT_PROCESSING"))
        status, answer = self.engine.request("GET", "/payments/a-1?wait=10s")
        self.assertEqual((status, answer["status"], answer["retryCount"]), (200, "SUCCESS", 0))

    def test_a_name_is_made_up_when_none_is_given(self):
        status, answer = self.engine.request("POST", "/payments", self.body(2))
        self.assertEqual(status, 202)
        self.assertEqual(
            self.engine.request("GET", f"/payments/{answer['paymentTxId']}?wait=10s")[1]["status"], "SUCCESS"
        )

    def test_posted_twice_is_one_purchase_and_another_body_is_refused(self):
        first = self.engine.request("POST", "/payments", self.body(3, paymentTxId="a-3"))
        again = self.engine.request("POST", "/payments", self.body(3, paymentTxId="a-3"))
        other = self.engine.request("POST", "/payments", self.body(4, paymentTxId="a-3"))
        self.assertEqual(first, again)
        self.assertEqual(other[0], 409)
        self.engine.request("GET", "/payments/a-3?wait=10s")
        self.assertEqual(self.sql("select points from users where id = 3"), "900")

    def test_a_token_that_is_not_waiting_is_refused(self):
        self.engine.request("POST", "/payments", self.body(5, paymentTxId="a-5"))
        self.assertEqual(self.engine.request("POST", "/payments", self.body(5, paymentTxId="a-5-again"))[0], 403)
        self.assertEqual(self.engine.request("POST", "/payments", {**self.body(6), "paymentToken": "nonsense"})[0], 403)

    def test_bad_bodies_get_a_sentence(self):
        for body, word in (
            (b"{", "bad_json"),
            (b"[]", "bad_json"),
            (b'{"userId":"x"}', "bad_field"),
            (b'{"userId":1,"userId":2}', "bad_json"),
            (b'{"userId":1.5,"reservationId":1,"paymentToken":"t"}', "bad_field"),
        ):
            with self.subTest(body=body):
                status, answer = self.engine.request("POST", "/payments", body)
                self.assertEqual((status, answer["error"]), (400, word), answer)
                self.assertTrue(len(answer["message"]) > 10)

    def test_unknown_payment(self):
        self.assertEqual(self.engine.request("GET", "/payments/never-heard-of")[0], 404)

    def test_wait_returns_when_its_time_is_over(self):
        self.engine.request("POST", "/payments", self.body(9, paymentTxId="a-9"))
        began = time.monotonic()
        status, answer = self.engine.request("GET", "/payments/a-9?wait=300ms")
        self.assertEqual((status, answer["status"]), (200, "RETRYING"))
        self.assertTrue(0.25 < time.monotonic() - began < 5, "it waited for the time that was asked for")

    def test_idempotency_key_gives_the_same_answer_once(self):
        key = {"Idempotency-Key": "key-10"}
        first = self.engine.request("POST", "/payments", self.body(10), key)
        again = self.engine.request("POST", "/payments", self.body(10), key)
        other = self.engine.request("POST", "/payments", self.body(11), key)
        self.assertEqual(first[0], 202)
        self.assertEqual(first, again, "the same key and body get the same paymentTxId")
        self.assertEqual((other[0], other[1]["error"]), (422, "idempotency_key_reused"))
        self.assertEqual(self.sql("select count(*) from payment_transactions where user_id in (10, 11)"), "1")

    def test_a_refused_request_leaves_its_idempotency_key_free(self):
        key = {"Idempotency-Key": "key-12"}
        self.assertEqual(self.engine.request("POST", "/payments", {"userId": 12}, key)[0], 400)
        self.assertEqual(self.engine.request("POST", "/payments", self.body(12), key)[0], 202)

    def test_many_at_once_under_one_key_are_one(self):
        answers = []

        def post():
            answers.append(self.engine.request("POST", "/payments", self.body(13), {"Idempotency-Key": "key-13"}))

        threads = [threading.Thread(target=post) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({json_key(answer) for answer in answers}, {json_key(answers[0])})
        self.assertEqual(answers[0][0], 202)

    def test_many_purchases_of_one_user_give_the_right_balance(self):
        self.sql(
            "insert into users values (500, 950);insert into reservations (id, user_id, seat_id, purchase_price) select"
            " g, 500, g, 100 from generate_series(501, 520) g;insert into payment_tokens select 'token-' || g, 500 from"
            " generate_series(501, 520) g"
        )
        threads = [
            threading.Thread(
                target=self.engine.request,
                args=(
                    "POST",
                    "/payments",
                    {"userId": 500, "reservationId": g, "paymentToken": f"token-{g}", "paymentTxId": f"many-{g}"},
                ),
            )
            for g in range(501, 521)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        good = sum(
            self.engine.request("GET", f"/payments/many-{g}?wait=15s")[1]["status"] == "SUCCESS"
            for g in range(501, 521)
        )
        self.assertEqual((good, self.sql("select points from users where id = 500")), (9, "50"))


class Emitted(PipelineCase):
    """Requests without a handler: what they are sent becomes an event."""

    yaml = """
pipeline: emitted
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
plugins: {template: {library: template.so}}
topics:
  wanted: {key: "{name}", handler: template.greet, routes: {done: said}}
  said: {final: true}
  plain: {key: "{shop}-{n}", final: true}
  again: {final: true}
http:
  listen: "127.0.0.1:0"
  max_body: 1KiB
  requests:
    "POST /greetings": {emit: wanted}
    "PUT /shops/{shop}/orders": {emit: plain}
    "POST /events/{topic}": {emit: "{topic}"}
"""

    def test_what_becomes_of_them(self):
        engine = self.engine()
        name = {"name": "Ada"}
        for method, path, body, headers, status, says in (
            ("POST", "/greetings", name, {}, 202, '"topic": "wanted"'),
            ("PUT", "/shops/x/orders", {"n": 1, "list": [1.5, None]}, {}, 202, '"topic": "plain"'),
            ("POST", "/events/wanted", {**name, "topic": "its own"}, {}, 202, '"topic": "wanted"'),
            # the same key, then with another body, or for another topic
            ("POST", "/events/wanted", {"name": "Bo"}, {"Idempotency-Key": "1"}, 202, '"topic": "wanted"'),
            ("POST", "/events/wanted", {"name": "Bo"}, {"Idempotency-Key": "1"}, 202, '"topic": "wanted"'),
            ("POST", "/events/wanted", {"name": "Cy"}, {"Idempotency-Key": "1"}, 422, "idempotency_key_reused"),
            ("POST", "/events/said", {"name": "Bo"}, {"Idempotency-Key": "1"}, 422, "idempotency_key_reused"),
            # refused where somebody waits for the answer
            ("POST", "/greetings", b"{", {}, 400, '"bad_json"'),
            ("POST", "/greetings", b"[1]", {}, 400, '"bad_json"'),
            # in the envelope it would be too deep
            ("POST", "/greetings", b'{"name":"Di","list":' + b"[" * 63 + b"]" * 63 + b"}", {}, 400, '"bad_json"'),
            ("POST", "/greetings", {"name": 5}, {}, 400, "would not take this event: .*'name'"),
            ("POST", "/greetings", {"name": ""}, {}, 400, "handler template.greet of topic wanted would not take this"),
            ("POST", "/greetings", None, {}, 400, "topic wanted has no key for this event: .*name"),
            ("PUT", "/shops/x/orders", {"n": 1, "shop": "y"}, {}, 400, "'shop' is given twice"),
            ("PUT", "/shops/x/orders", {"n": True}, {}, 400, "topic plain has no key for this event: .*integer"),
            ("POST", "/greetings", {"name": "x" * 1024}, {}, 413, "body_too_large"),
            ("POST", "/greetings", name, {"Content-Type": "text/plain"}, 415, "application/json"),
            ("POST", "/greetings", name, {"Origin": "http://elsewhere"}, 403, "cross_site"),
            ("POST", "/events/wantd", name, {}, 404, "'wantd' is no topic .* did you mean 'wanted'"),
            ("POST", "/events/wanted-dlt", name, {}, 404, "unknown_topic"),
            ("POST", "/events/%22", name, {}, 404, "unknown_topic"),
            ("GET", "/greetings", None, {}, 405, "method_not_allowed"),
            ("PUT", "/shops/" + "x" * 1024 + "/orders", {"n": 1}, {}, 400, "the key of the event is longer than 1024"),
            # what was refused leaves its key free
            ("POST", "/events/nope", name, {"Idempotency-Key": "3"}, 404, "unknown_topic"),
            ("POST", "/events/again", name, {"Idempotency-Key": "3"}, 202, '"topic": "again"'),
            # cut within a letter
            ("POST", "/events/" + "%C3%A4" * 200, name, {}, 404, "'(\\\\u00e4){124}' is no topic"),
        ):
            with self.subTest(path=path, body=body):
                got, answer = engine.request(method, path, body, headers)
                self.assertEqual(got, status, answer)
                self.assertRegex(json.dumps(answer), says)
        self.drain()
        self.assertEqual(
            [(row["key"], json.loads(row["value"])["data"]) for row in self.topic("wanted", "plain")],
            [
                ("Ada", name),
                ("x-1", {"n": 1, "list": [1.5, None], "shop": "x"}),
                ("Ada", {**name, "topic": "its own"}),
                ("Bo", {"name": "Bo"}),
            ],
        )
        self.assertEqual(len(self.topic("said")), 3)
        self.assertEqual(self.topic("*-dlt"), [])

    def test_what_its_topic_would_refuse(self):
        """Too large an event, and what a chain or `after` looks for: 400, and no dead letter."""
        self.use(CORRELATED)
        engine = self.engine()
        rows = ((202, "x" * 128, 7), (400, "", "x" * 129))
        for topic, field in (("paid", "id"), ("failed", "id"), ("late", "k")):
            for status, value in ((status, value) for status, *values in rows for value in values):
                data = {"id": "1", "k": "1", "mode": "ok", field: value}
                with self.subTest(topic=topic, value=value):
                    got, answer = engine.request("POST", f"/events/{topic}", data)
                    self.assertEqual(got, status, answer)
                    if status == 400:
                        self.assertEqual(answer["error"], "bad_correlation")
                        self.assertRegex(answer["message"], f"topic {topic}: field '{field}' .*1 to 128 bytes .*, got")
        # the most is 1 KiB; the envelope has some of it
        for size, status in ((700, 202), (1000, 413), (1100, 413), (20000, 413)):
            got, answer = engine.request("POST", "/events/plain", {"text": "x" * size})
            self.assertEqual(got, status, answer)
            if status == 413:
                self.assertEqual(answer["error"], "too_large")
                self.assertIn("more than 1024 bytes: engine.max_event_size", answer["message"])
        self.assertEqual(len(self.topic("plain")), 1)
        self.assertEqual(self.topic("*-dlt"), [])

    def test_one_key_for_two_files(self):
        """Each file has its keys, also where a group has both; processes of one file share them."""
        head = self.yaml.split("plugins:")[0].replace("pipeline: emitted", "pipeline: %s\n%s")
        tail = 'topics: {%s: {final: true}}\nhttp: {listen: "127.0.0.1:0", requests: {"POST /in": {emit: %s}}}\n'
        for number, engine in enumerate(("", "engine: {group: both}")):
            ids = {}
            for name in ("one", "two", "one"):
                topic = f"{name}{number}"
                self.use(head % (name, engine) + tail % (topic, topic))
                status, answer = self.engine().request("POST", "/in", {"n": 1}, {"Idempotency-Key": "k"})
                self.assertEqual((status, answer["topic"]), (202, topic))
                self.assertEqual(ids.setdefault(name, answer["id"]), answer["id"])
                self.assertEqual(len(self.topic(topic)), 1)
            self.assertNotEqual(ids["one"], ids["two"])

    def test_the_id_that_is_answered(self):
        """It is the event's: explain finds what became of it."""
        engine = self.engine()
        key = {"Idempotency-Key": "a"}
        answers = [engine.request("POST", "/greetings", {"name": "Ada"}, key) for _ in range(2)]
        self.assertEqual(answers[0], answers[1])
        self.drain()
        (event,) = self.topic("wanted")
        self.assertIn(answers[0][1]["id"], event["value"])
        said = sluice("explain", self.config, answers[0][1]["id"], env=self.vars).stdout
        self.assertRegex(said, "(?s)wanted.*template.greet.*said")


CORRELATED = """
pipeline: correlated
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {max_event_size: 1KiB}
plugins: {chaos: {library: "${CHAOS_SO}"}}
topics:
  paid: {key: "{id}", final: true}
  failed: {key: "{id}", final: true}
  refund: {key: "{id}", final: true}
  early: {key: "{k}", handler: chaos.act, routes: {ok: drop, other: drop}}
  late: {key: "{k}", handler: chaos.act, routes: {ok: drop, other: drop},
         after: {topic: early, correlate: k, at_most: 10m}}
  plain: {final: true}
chains:
  order: {correlate: id, steps: [{name: pay, done: paid, undo: refund}], abort_on: [failed]}
http:
  listen: "127.0.0.1:0"
  requests: {"POST /events/{topic}": {emit: "{topic}"}}
"""


def json_key(answer):
    return (answer[0], tuple(sorted(answer[1].items())))


if __name__ == "__main__":
    unittest.main()
