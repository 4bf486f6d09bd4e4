#!/usr/bin/env python3
"""The reference pipeline as three services on one Kafka, a database each: purchases through the gateway end as they do
in one process, the services agree on every one of them, and killing one in the middle changes nothing."""
import concurrent.futures
import json
import pathlib
import unittest

import _path
from demo.services import Services, SHAPES, psql
from lib.engine import sluice, until
from lib.server_case import KafkaCase, PostgresCase

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRICE = 100
NAMES = [*SHAPES["services"]]
# A retry that is being taken when its service dies comes again after 30 s, its Kafka partition after 10 s.
LIMIT_S = 180


class ThreeServices(KafkaCase, PostgresCase):
    own_database = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        urls = {name: cls.postgres.create_database(name) for name in NAMES}
        cls.services = Services("services", urls, {**cls.kafka.env(), "DATA_PLATFORM_URL": "http://127.0.0.1:9/none"})
        cls.services.migrate()
        cls.addClassCleanup(cls.services.stop)
        cls.services.start()
        # One to succeed, one without the points, one whose reservation is gone, which the gateway does not know.
        for n, points in ((1, 500), (2, 10), (3, 500)):
            cls.seed(n, n, points)
        cls.psql("reservation", "update reservations set status = 'CANCELLED' where id = 3")
        for n in (2, 1, 3):
            cls.post(n)

    @classmethod
    def psql(cls, name, text):
        return psql(cls.services.urls[name], text)

    @classmethod
    def seed(cls, first, last, points):
        some = f"generate_series({first}, {last}) g"
        cls.services.write("users", f"insert into users select g, {points} from {some}")
        cls.services.write("payment_tokens", f"insert into payment_tokens select 'token-' || g, g from {some}")
        cls.services.write(
            "reservations",
            f"insert into reservations (id, user_id, seat_id, purchase_price) select g, g, g, {PRICE} from {some}",
        )

    @classmethod
    def post(cls, n):
        body = {"userId": n, "reservationId": n, "paymentToken": f"token-{n}", "paymentTxId": f"p-{n}"}
        status, answer = cls.services.gateway.request("POST", "/payments", body)
        if (status, answer.get("status")) != (202, "PAYMENT_PROCESSING"):
            raise AssertionError(f"{status} {answer}")

    def status(self, n):
        return self.services.gateway.request("GET", f"/payments/p-{n}")[1]["status"]

    def ends(self, n, wanted):
        until(lambda: self.status(n) == wanted, f"p-{n} to be {wanted}", 60)

    def points(self, n):
        return int(self.psql("payment", f"select points from users where id = {n}"))

    def events(self, n, name="gateway"):
        done = sluice("explain", SHAPES["services"][name], f"p-{n}", "--json", env=self.services.envs[name])
        return json.loads(done.stdout)

    def reservation(self, name, n, status):
        until(
            lambda: self.psql(name, f"select status from reservations where id = {n}") == status,
            f"reservation {n} of the {name} to be {status}",
        )

    def test_each_configuration_is_good_and_its_topics_are_there(self):
        for name, config in SHAPES["services"].items():

            def connected():
                done = sluice("validate", "--connect", config, env=self.services.envs[name], check=False)
                return done.returncode == 0

            until(connected, f"validate --connect {config}")  # brokers hear of new topics one after the other

    def test_a_purchase_succeeds(self):
        self.ends(1, "SUCCESS")
        self.reservation("reservation", 1, "CONFIRMED")
        self.reservation("gateway", 1, "CONFIRMED")
        self.assertEqual(self.points(1), 400)
        self.assertEqual(
            [event["topic"] for event in self.events(1)["events"]],
            ["payment.try", "payment.success", "reservation.success"],
        )
        until(lambda: self.events(1, "payment").get("chainState") == "complete", "the chain to be complete")

    def test_a_purchase_is_declined_three_times(self):
        self.ends(2, "FAILURE")
        took = "select updated_at - created_at > interval '6.9 s' from payment_transactions where id = 'p-2'"
        self.assertEqual(self.psql("gateway", took), "t")  # 1 s, 2 s, 4 s
        self.assertEqual(self.points(2), 10)
        story = self.events(2)["events"]
        topics = ["payment.try", "payment.retry", "payment.retry", "payment.retry", "payment.failure"]
        self.assertEqual([event["topic"] for event in story], topics)
        self.assertEqual([event["elsewhere"] for event in story], [[topic] for topic in topics[1:]] + [[]])
        self.assertEqual(self.services.gateway.request("GET", "/payments/p-2")[1]["retryCount"], 3)

    def test_a_purchase_is_refunded(self):
        self.ends(3, "CANCEL")
        self.assertEqual(self.points(3), 500)  # the gateway says CANCEL when they are back, not before
        topics = ["payment.try", "payment.success", "reservation.failure", "payment.cancel", "payment.cancelled"]
        self.assertEqual([event["topic"] for event in self.events(3)["events"]], topics)
        self.assertEqual(self.events(3, "payment")["chainState"], "undone")

    def test_a_hold_that_is_over_is_refused_at_the_gateway(self):
        self.seed(4, 4, 500)
        self.services.write("reservations", "update reservations set held_at = now() - interval '1 hour' where id = 4")
        self.reservation("gateway", 4, "EXPIRED")
        self.reservation("reservation", 4, "EXPIRED")
        body = {"userId": 4, "reservationId": 4, "paymentToken": "token-4"}
        status, answer = self.services.gateway.request("POST", "/payments", body)
        self.assertEqual((status, answer["error"]), (409, "reservation_not_pending"))

    def test_killing_the_payment_service_changes_nothing(self):
        """A third is paid, a third lacks the points, a third has no reservation any more; -9 in the middle, twice."""
        first, last = 1001, 1150
        self.seed(first, last, PRICE)
        self.psql("payment", f"update users set points = 0 where id >= {first} and id % 3 = 1")
        self.psql("reservation", f"update reservations set status = 'CANCELLED' where id >= {first} and id % 3 = 2")
        payment = self.services.engines["payment"]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            posts = [pool.submit(self.post, n) for n in range(first, last + 1)]
            some = f"select count(*) from payment_transactions where user_id >= {first}"
            until(lambda: int(self.psql("payment", some)) > 5, "some to be charged")
            payment.kill()
            for post in posts:
                post.result()  # the gateway goes on
        payment.start()
        # When the last of them has had its second retry, it waits 4 s for its third; the others may be over.
        again = f"select count(*) from payment_transactions where user_id >= {first} and retry_count >= 2"
        until(lambda: int(self.psql("payment", again)) == (last - first + 1) // 3, "the second retry", LIMIT_S)
        payment.kill()
        payment.start()

        wanted = {f"p-{n}": ["SUCCESS", "FAILURE", "CANCEL"][n % 3] for n in range(first, last + 1)}
        ask = f"select id, status from payment_transactions where user_id >= {first}"

        def found(name):
            return dict(line.split("|") for line in self.psql(name, ask).splitlines())

        until(lambda: found("gateway") == wanted, "the end of all", LIMIT_S)
        self.assertEqual(found("payment"), wanted)
        points = f"select id % 3, min(points), max(points) from users where id >= {first} group by 1 order by 1"
        self.assertEqual(self.psql("payment", points), f"0|0|0\n1|0|0\n2|{PRICE}|{PRICE}")
        confirmed = f"select count(*) from reservations where id >= {first} and status = 'CONFIRMED' and id % 3 = 0"
        for name in ("reservation", "gateway"):
            until(lambda: int(self.psql(name, confirmed)) == (last - first + 1) // 3, f"the {name}'s reservations", 60)
        dead = [topic for topic in self.kafka.topics() if topic.endswith("-dlt") and self.kafka.dump(topic)]
        self.assertEqual(dead, [])


if __name__ == "__main__":
    unittest.main()
