#!/usr/bin/env python3
"""Clients that hold what they can of a real engine: what the others get meanwhile, and what is given back when they
leave. What floods do to the listener alone is tests/unit/http/test_flood.c.

Run alone: python3 tests/process/test_http_clients.py [-k NAME].
"""
import contextlib
import socket
import time
import unittest

import _path
from lib.engine import Engine, sluice, until
from lib.server_case import PostgresCase

CONFIG = "config/pipeline.yaml"
WAITERS = 300
AT_ONCE_S = 2.0  # an answer "at once", on a machine that is busy


class Clients(PostgresCase):
    def setUp(self):
        super().setUp()
        env = {"DATABASE_URL": self.url, "DATA_PLATFORM_URL": "http://127.0.0.1:9/none"}
        sluice("migrate", CONFIG, env=env)
        self.postgres.query(
            "insert into users values (1, 1000);"
            " insert into reservations (id, user_id, seat_id, purchase_price) values (1, 1, 1, 100);"
            " insert into payment_tokens values ('token', 1);"
            " insert into payment_transactions (id, user_id, seat_id, amount, status)"
            " values ('open', 1, 2, 5, 'PENDING')",
            self.url,
        )
        self.engine = Engine(CONFIG, env)
        self.addCleanup(self.engine.kill)
        self.engine.start()

    def clients(self, request, count):
        opened = []
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", self.engine.port))
            client.sendall(request.encode())
            opened.append(client)
        return opened

    def at_once(self, method, path, *rest):
        began = time.monotonic()
        answer = self.engine.request(method, path, *rest)
        self.assertLess(time.monotonic() - began, AT_ONCE_S, path)
        return answer

    def test_clients_that_wait_and_leave(self):
        waiters = self.clients("GET /payments/open?wait=30s HTTP/1.1\r\nHost: t\r\n\r\n", WAITERS)
        with contextlib.ExitStack() as stack:
            for waiter in waiters:
                stack.callback(waiter.close)
            self.assertEqual(self.at_once("GET", "/healthz")[0], 200)
            until(lambda: self.engine.request("GET", "/payments/open?wait=1s")[0] == 503, "the most that may wait")
            self.assertEqual(self.at_once("GET", "/payments/open")[1]["status"], "PENDING")
            body = {"userId": 1, "reservationId": 1, "paymentToken": "token", "paymentTxId": "mine"}
            self.assertEqual(self.at_once("POST", "/payments", body)[0], 202)
            self.assertEqual(self.at_once("GET", "/metrics")[0], 200)
        left = time.monotonic()
        until(lambda: self.engine.request("GET", "/payments/mine?wait=20s")[0] == 200, "a place to wait", 5, 0.05)
        self.assertLess(time.monotonic() - left, 5)
        self.assertEqual(self.engine.stop(), 0)  # the lanes do not wait for those that left

    def test_clients_that_are_slow(self):
        slow = self.clients("GET /healthz HTTP/1.1\r\nX-", 300)
        self.addCleanup(lambda: [client.close() for client in slow])
        for path in ("/healthz", "/readyz", "/metrics", "/payments/open"):
            self.assertEqual(self.at_once("GET", path)[0], 200, path)


if __name__ == "__main__":
    unittest.main()
