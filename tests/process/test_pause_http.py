#!/usr/bin/env python3
"""/pauses: the same as `sluice pause` and `sluice resume`, under the token.

Run alone: python3 tests/process/test_pause_http.py [-k NAME].
"""
import unittest

import _path
from lib.engine import until
from test_pause import HELD, PauseCase

TOKEN = "bm90LXNlY3JldA=="


class Pauses(PauseCase):
    env = {"HTTP_TOKEN": TOKEN}

    def use(self, yaml, migrate=True):
        super().use(yaml.replace("http:\n", 'http:\n  token: "${HTTP_TOKEN}"\n'), migrate)

    def ask(self, method, path, body=None, token=TOKEN):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.engines[0].request(method, path, body, headers)

    def test_made_listed_and_ended(self):
        engine = self.engine()
        self.assertEqual(self.ask("GET", "/pauses")[1], {"pauses": []})
        status, made = self.ask("POST", "/pauses", {"name": "in", "for": "1h", "why": "a deploy"})
        self.assertEqual(status, 200, made)
        self.assertEqual(made["pauses"], self.paused())
        (pause,) = made["pauses"]
        self.assertEqual((pause["kind"], pause["name"], pause["reason"]), ("topic", "in", "a deploy"))
        self.assertEqual(pause["actor"], "http 127.0.0.1")
        self.await_paused(1)
        self.send("in", ["a"], 2)
        self.await_value(HELD, 2)
        self.assertEqual(self.ask("POST", "/pauses", {"name": "tap:watch"})[0], 200)
        self.assertEqual(len(self.ask("GET", "/pauses")[1]["pauses"]), 2)
        self.assertEqual(self.ask("DELETE", "/pauses/topic%3Ain", {"why": "done"})[1]["pauses"][0]["name"], "in")
        self.await_all()
        self.assertEqual(self.ask("DELETE", "/pauses?all=true")[1]["pauses"][0]["name"], "watch")
        until(lambda: engine.metric("sluice_paused") == 0, "no pause")
        audit = self.rows("SELECT actor, act, object, coalesce(reason, '-') FROM sluice.audit ORDER BY id")
        self.assertEqual(
            [list(row) for row in audit],
            [
                ["http 127.0.0.1", "pause --for 1h", "topic in", "a deploy"],
                ["http 127.0.0.1", "pause", "tap watch", "-"],
                ["http 127.0.0.1", "resume", "topic in", "done"],
                ["http 127.0.0.1", "resume", "tap watch", "-"],
            ],
        )

    def test_refused(self):
        self.engine()
        for method, path, body, status, sentence in (
            ("POST", "/pauses", {}, 400, '"name" must say what is to be paused'),
            ("POST", "/pauses", {"name": 7}, 400, '"name" must be a text'),
            ("POST", "/pauses", {"name": "in", "for": "soon"}, 400, "'soon': expected a duration"),
            ("POST", "/pauses", {"name": "in", "why": "two\nlines"}, 400, "the reason must be a line of text"),
            ("POST", "/pauses", {"name": "out"}, 400, "topic 'out' has no handler in this pipeline"),
            ("POST", "/pauses", {"name": "inn"}, 404, "is named 'inn'; did you mean 'in'?"),
            ("DELETE", "/pauses/in", None, 404, "nothing is paused that is named 'in'"),
            ("DELETE", "/pauses", None, 400, "say which: DELETE /pauses/NAME"),
        ):
            answer = self.ask(method, path, body)
            self.assertEqual((answer[0], sentence in answer[1]["message"]), (status, True), answer)
            self.assertEqual(self.ask(method, path, body, token=None)[0], 401, path)
            self.assertEqual(self.ask(method, path, body, token="b3RoZXI=")[0], 401, path)
        self.assertEqual(self.paused(), [])
        self.assertEqual(self.value("SELECT count(*) FROM sluice.audit"), "0")


if __name__ == "__main__":
    unittest.main()
