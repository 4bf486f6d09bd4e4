#!/usr/bin/env python3
"""What operators ask over HTTP: the token, pages, errors; and that none of it keeps /healthz waiting when the database
does not answer.

Run alone: python3 tests/process/test_management.py [-k NAME].
"""
import json
import subprocess
import threading
import time
import unittest

import _path
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase

TOKEN = "dG9wLXNlY3JldA=="
YAML = """
pipeline: managed
bus: {kind: postgres, partitions: 2}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 1}
plugins: {chaos: {library: "${CHAOS_SO}"}}
topics:
  paid: {key: "{id}", final: true}
  shipped: {key: "{id}", final: true}
  failed: {key: "{id}", final: true}
  refund: {key: "{id}", handler: chaos.act_sql, routes: {ok: drop, other: drop}}
chains:
  order: {correlate: id, steps: [{name: pay, done: paid, undo: refund}, {name: ship, done: shipped, undo: none}],
          abort_on: [failed], timeout: 1h}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}", token: "${HTTP_TOKEN:-}", timeout: 2s}
"""


class Management(PipelineCase):
    yaml = YAML
    env = {"HTTP_TOKEN": TOKEN}

    def begin(self, *correlations):
        self.emit("paid", *(self.event({"id": c, "mode": "reject"}) for c in correlations))
        self.await_value("select count(*) from sluice.chain", len(correlations))

    def test_pages(self):
        engine = self.engine()
        self.begin(*(f"o{i}" for i in range(25)))
        found, path = [], "/chains?limit=10"
        for size in (10, 10, 5):
            status, page = engine.request("GET", path)
            self.assertEqual((status, len(page["chains"])), (200, size), page)
            found += [chain["correlation"] for chain in page["chains"]]
            path = f"/chains?limit=10&after={page['next']}"
        self.assertIsNone(page["next"])
        self.assertEqual(sorted(found), sorted(f"o{i}" for i in range(25)))
        chain = page["chains"][0]
        self.assertEqual((chain["state"], chain["missing"], chain["begun"]), ("running", ["ship"], 1))
        self.assertEqual(chain["steps"], [{"step": "pay", "state": "done"}])
        self.assertTrue(chain["abortsAt"] > chain["began"])
        self.assertEqual(engine.request("GET", f"/chains/order/{found[0]}")[1]["correlation"], found[0])
        self.emit("shipped", self.event({"id": "o3"}))
        until(lambda: engine.request("GET", "/chains/order/o3")[1]["state"] == "complete", "a chain that is complete")
        self.assertEqual(len(engine.request("GET", "/chains")[1]["chains"]), 24)
        self.assertEqual(len(engine.request("GET", "/chains?state=running")[1]["chains"]), 25)
        self.assertEqual(engine.request("GET", "/chains?older=1h")[1], {"chains": [], "next": None})

    def test_what_is_refused(self):
        engine = self.engine()
        table = {
            "/chains?state=stuk": (
                400,
                "bad_request",
                "state: expected running, aborted, stuck, undone or closed, got 'stuk'",
            ),
            "/chains?limit=0": (400, "bad_request", "limit: expected a number from 1 to 1000, got '0'"),
            "/chains?limit=1001": (400, "bad_request", "limit: expected a number from 1 to 1000, got '1001'"),
            "/chains?older=5": (400, "bad_request", "older: expected a duration, as 15m, got '5'"),
            "/chains?after=x": (400, "bad_request", 'after: expected the "next" of a page before'),
            "/chains?stat=stuck": (400, "bad_request", "unknown 'stat'; did you mean 'state'?"),
            "/chains?chain=ordr": (404, "not_found", "the pipeline has no chain 'ordr'; did you mean 'order'?"),
            "/chains/ordr/1": (404, "not_found", "the pipeline has no chain 'ordr'; did you mean 'order'?"),
            "/chains/order/1": (404, "not_found", "no chain 'order' has begun under the correlation '1'"),
            "/chains/order": (404, "not_found", "Nothing is served at this path; /ui is the page for people."),
        }
        for path, (status, word, sentence) in table.items():
            with self.subTest(path):
                got, body = engine.request("GET", path)
                self.assertEqual((got, body["error"]), (status, word), body)
                self.assertIn(sentence, body["message"])

    def test_the_token_is_shown_nowhere(self):
        engine = self.engine()
        texts = [
            json.dumps(engine.request("GET", "/pipeline")[1]),
            engine.request("GET", "/metrics")[1],
            json.dumps(engine.request("DELETE", "/chains", headers={"Authorization": "Bearer " + TOKEN[:-1]})[1]),
            sluice("graph", self.config, "--format", "json", env=self.vars).stdout,
            sluice("validate", self.config, env=self.vars).stderr,
        ]
        open_to_all = {**self.vars, "HTTP_LISTEN": "0.0.0.0:0"}
        self.assertEqual(sluice("validate", self.config, env=open_to_all).returncode, 0)
        refused = sluice("validate", self.config, env={**open_to_all, "HTTP_TOKEN": ""}, check=False)
        self.assertIn("http.token is required", refused.stdout + refused.stderr)
        engine.stop()
        texts.append("\n".join(engine.log))
        for text in texts:
            self.assertNotIn(TOKEN[:-2], text)

    def test_a_database_that_does_not_answer(self):
        """One call waits for a lock, more than may wait come, and /healthz answers meanwhile."""
        engine = self.engine()
        self.assertEqual(engine.request("GET", "/chains")[0], 200)
        answers = []
        lock = subprocess.Popen(
            ["psql", "-qX", self.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self.addCleanup(lock.communicate)
        lock.stdin.write("begin; lock table sluice.chain in access exclusive mode;\n")
        lock.stdin.flush()
        self.await_value("select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted", 1)
        askers = [threading.Thread(target=lambda: answers.append(engine.request("GET", "/chains"))) for _ in range(70)]
        for asker in askers:
            asker.start()
        until(lambda: any("Too many" in body["message"] for _, body in list(answers)), "one too many")
        began = time.monotonic()
        self.assertEqual(engine.request("GET", "/healthz")[0], 200)
        self.assertLess(time.monotonic() - began, 1.0)
        for asker in askers:
            asker.join(30)
        self.assertEqual({status for status, _ in answers}, {503}, answers)
        self.assertEqual(len(answers), len(askers))
        lock.stdin.write("rollback;\n")
        lock.stdin.flush()
        until(lambda: engine.request("GET", "/chains")[0] == 200, "an answer once the lock is released")

    def test_a_timeline_that_takes_too_long(self):
        """It ends with http.timeout, and keeps no other call waiting."""
        engine = self.engine()
        lock = subprocess.Popen(["psql", "-qX", self.url], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.addCleanup(lock.communicate)
        lock.stdin.write("begin; lock table sluice.bus_log in access exclusive mode;\n")
        lock.stdin.flush()
        self.await_value("select count(*) > 0 from pg_locks where mode = 'AccessExclusiveLock' and granted", "t")
        answers = []
        asker = threading.Thread(target=lambda: answers.append(engine.request("GET", "/correlations/o1")))
        asker.start()
        waits = "select count(*) from pg_stat_activity where wait_event = 'relation'"
        until(lambda: self.value(waits) != "0", "a wait for the lock")
        self.assertEqual(engine.request("GET", "/chains")[0], 200)
        self.assertEqual(answers, [])
        asker.join(30)
        (status, body) = answers[0]
        self.assertEqual((status, body["error"]), (503, "unavailable"))
        self.assertIn("more than could be read in time; `sluice explain` reads", body["message"])
        lock.stdin.write("rollback;\n")
        lock.stdin.flush()
        until(lambda: engine.request("GET", "/correlations/o1")[0] == 200, "an answer once the lock is released")


if __name__ == "__main__":
    unittest.main(verbosity=2)
