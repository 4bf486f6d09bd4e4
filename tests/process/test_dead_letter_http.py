#!/usr/bin/env python3
"""Dead letters over HTTP: the same answers as the command's, under the token.

Run alone: python3 tests/process/test_dead_letter_http.py [-k NAME].
"""
import json
import unittest

import _path
from dead_letter_case import YAML, DeadLetterCase

TOKEN = "dG9wLXNlY3JldA=="
AUTHORITY = {"Authorization": f"Bearer {TOKEN}"}


class Http(DeadLetterCase):
    yaml = YAML.replace(':-127.0.0.1:0}"}', ':-127.0.0.1:0}", token: "${HTTP_TOKEN}"}')
    env = {**DeadLetterCase.env, "HTTP_TOKEN": TOKEN}

    def setUp(self):
        super().setUp()
        self.running = self.engine()

    def get(self, path, status=200):
        answer = self.running.request("GET", path, headers=AUTHORITY)
        self.assertEqual(answer[0], status, answer)
        return answer[1]

    def post(self, path, body=None, status=200, headers=AUTHORITY):
        answer = self.running.request("POST", path, body or {}, headers=headers)
        self.assertEqual(answer[0], status, answer)
        return answer[1]

    def test_list_and_show(self):
        ids = self.fail_some(5)
        self.fail_some(2, topic="other")
        self.assertEqual(self.get("/dead-letters"), json.loads(self.letters("list", "--json").stdout))
        self.assertEqual(self.get(f"/dead-letters/{ids[0]}"), self.shown(ids[0]))
        page = self.get("/dead-letters?topic=in&limit=3")
        self.assertEqual([one["id"] for one in page["deadLetters"]], [5, 4, 3])
        rest = self.get(f"/dead-letters?topic=in&limit=3&below={page['next']}")
        self.assertEqual(([one["id"] for one in rest["deadLetters"]], rest["next"]), ([2, 1], None))
        self.assertEqual(
            len(self.get("/dead-letters?reason=rejected&since=1h&state=all&handler=gate.pass")["deadLetters"]), 7
        )
        for path, status, words in (
            ("/dead-letters?state=shut", 400, "expected open, replayed, dropped or all"),
            ("/dead-letters?colour=red", 400, "'colour': expected topic"),
            ("/dead-letters?limit=x", 400, "limit: expected a whole number"),
            ("/dead-letters?topic=", 400, "topic: expected a text"),
            ("/dead-letters/99", 404, "no dead letter 99"),
            ("/dead-letters/x", 400, "'x' is no id of a dead letter"),
        ):
            with self.subTest(path):
                self.assertIn(words, self.get(path, status)["message"])

    def test_a_reason_is_a_line(self):
        (number,) = self.fail_some(1)
        for why in ("two\nlines", "\x1b[31m", "\u009b31m", "x" * 501):
            said = self.post(f"/dead-letters/{number}/drop", {"why": why}, status=400)
            self.assertIn("the reason must be a line of text", said["message"])
        self.assertEqual(self.value("select count(*) from sluice.audit"), "0")

    def test_moving(self):
        ids = self.fail_some(9, keys=2)
        self.post(f"/dead-letters/{ids[0]}/replay", status=401, headers={})
        self.assertEqual(self.post(f"/dead-letters/{ids[0]}/replay", {"why": "mended"})["replayed"], 1)
        self.assertIn("replayed already", self.post(f"/dead-letters/{ids[0]}/replay", status=409)["message"])
        letter = self.post(f"/dead-letters/{ids[1]}/edit", {"data": {"k": "new", "seq": 70}})
        self.assertEqual((letter["edited"], letter["editedRecord"]["key"]), (True, "new"))
        self.assertIn("field 'seq'", self.post(f"/dead-letters/{ids[1]}/edit", {"data": {"k": "n"}}, 400)["message"])
        self.assertEqual(self.post(f"/dead-letters/{ids[2]}/drop")["dropped"], 1)
        self.assertEqual(self.post("/dead-letters/drop", {"ids": [ids[3], ids[4]]})["dropped"], 2)
        moved = self.post("/dead-letters/replay", {"topic": "in", "limit": 1})
        self.assertEqual((moved["replayed"], moved["stopped"]), (1, False))
        self.assertEqual(self.post("/dead-letters/replay", {"all": True, "why": "all of it"})["replayed"], 4)
        self.await_effects(6)
        self.drain()
        self.assertEqual(self.get("/dead-letters")["deadLetters"], [])
        self.assertEqual(len(self.in_order()), 6)
        audit = self.rows("select act, object, coalesce(reason, ''), actor from sluice.audit order by id")
        self.assertEqual(
            [row[:3] for row in audit][:2], [["dead-letter replay", "1", "mended"], ["dead-letter edit", "2", ""]]
        )
        self.assertEqual({row[3] for row in audit}, {"http 127.0.0.1"})
        for body, words in (
            ({}, "expected one of ids, a filter"),
            ({"all": False}, "expected one of ids, a filter"),
            ({"all": True, "topic": "in"}, "expected one of ids, a filter"),
            ({"ids": []}, "ids: expected a list"),
            ({"ids": ["1"]}, "ids: expected"),
            ({"ids": [0]}, "ids: expected"),
            ({"colour": "red"}, "'colour': expected"),
            ({"all": 1}, "all: expected true or false"),
        ):
            with self.subTest(body):
                self.assertIn(words, self.post("/dead-letters/replay", body, 400)["message"])

    def test_rounds(self):
        ids = self.fail_some(1)
        self.rows("update sluice.dead_letter set round = 3")
        self.assertIn("3 times", self.post(f"/dead-letters/{ids[0]}/replay", status=409)["message"])
        self.assertEqual(self.post("/dead-letters/replay", {"all": True})["exhausted"], 1)
        self.assertEqual(self.post(f"/dead-letters/{ids[0]}/replay", {"force": True})["replayed"], 1)
        self.await_effects(1)


class Memory(DeadLetterCase):
    """The memory bus is inside the engine: a command cannot reach it, a request can."""

    yaml = Http.yaml.replace("{kind: postgres, partitions: 4}", "{kind: memory}").replace(
        "http: {", 'http: {requests: {"POST /in": {handler: gate.post, routes: {done: in}}}, '
    )
    env = Http.env

    def test_replay(self):
        self.running = self.engine()
        self.close()
        status, said = self.running.request("POST", "/in", {"k": "k", "seq": 1})
        self.assertEqual(status, 202, said)
        self.await_value("select count(*) from sluice.dead_letter", 1)
        self.open_gate()
        self.assertIn("lives inside the engine", self.letters("replay", "1", code=1).stderr)
        status, moved = self.running.request("POST", "/dead-letters/1/replay", {}, headers=AUTHORITY)
        self.assertEqual((status, moved.get("replayed")), (200, 1))
        self.await_effects(1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
