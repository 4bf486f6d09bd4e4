#!/usr/bin/env python3
"""`sluice reload` and POST /reload on an engine that runs: each answer, whole, and what is left as it was.

Run alone: python3 tests/process/test_reload_answers.py [-k NAME].
"""
import json
import re
import shutil
import threading
import unittest

import _path
from lib.engine import sluice, until
from lib.pipeline_case import EFFECTS, PipelineCase

TOKEN = "c2VzYW1l"
YAML = """
pipeline: answered
bus: {kind: postgres, partitions: 2}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 1}
plugins: {effects: {library: PLUGIN}}
topics:
  paid: {key: "{origin}", final: true}
  shipped: {key: "{origin}", final: true}
  failed: {key: "{origin}", final: true}
  refund: {key: "{origin}", handler: effects.record, routes: {done: drop, again: drop}}
chains:
  order: {correlate: origin, steps: [{name: pay, done: paid, undo: refund}, {name: ship, done: shipped, undo: none}],
          abort_on: [failed], timeout: 1h}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}", token: "${HTTP_TOKEN}"}
"""


class Answers(PipelineCase):
    env = {"HTTP_TOKEN": TOKEN}

    def setUp(self):
        super().setUp()
        self.plugin = self.folder / "effects.so"
        shutil.copy(EFFECTS, self.plugin)
        self.yaml = YAML.replace("PLUGIN", str(self.plugin))
        self.use(self.yaml)
        self.running = self.engine()
        self.address = f"http://127.0.0.1:{self.running.port}"

    def write(self, old, new):
        self.assertIn(old, self.yaml)
        self.config.write_text(self.yaml.replace(old, new))

    def reload(self, *args, code=0):
        done = sluice("reload", self.config, "--url", self.address, "--json", *args, env=self.vars, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def ask(self, path="/reload"):
        return self.running.request("POST", path, None, {"Authorization": f"Bearer {TOKEN}"}, 90)

    def test_a_change_and_a_plan_of_it(self):
        self.write("lanes: 1", "lanes: 2")
        worker = self.running.worker()
        plan = self.reload("--plan")
        self.assertTrue(plan["accepted"] and plan["plan"])
        change = {"change": "changed", "of": "engine", "name": "", "field": "lanes", "old": "1", "new": "2"}
        self.assertEqual(plan["changes"], [change])
        self.assertEqual(self.running.worker(), worker, "a plan changes nothing")
        done = self.reload()
        self.assertEqual(done["changes"], [change])
        self.assertEqual((done["old"], done["new"]), (plan["old"], plan["new"]))
        self.assertEqual(done["file"], str(self.config.resolve()))
        until(lambda: self.running.worker() != worker, "another worker")
        again = self.reload()
        self.assertEqual(again["changes"], [])
        self.assertEqual(again["old"], again["new"])
        self.assertEqual(again["old"], done["new"])

    def test_a_plugin(self):
        newer = self.folder / "newer.so"
        shutil.copy(EFFECTS, newer)
        with open(newer, "ab") as out:
            out.write(b"newer")
        (before,) = self.reload("--plan")["plugins"]
        self.assertFalse(before["replaced"])
        newer.replace(self.plugin)
        (planned,) = self.reload("--plan")["plugins"]
        (done,) = self.reload()["plugins"]
        self.assertEqual(done, planned)
        self.assertTrue(done["replaced"])
        self.assertEqual(done["old"], before["old"])
        self.assertNotEqual(done["new"]["hash"], done["old"]["hash"])
        (after,) = self.reload()["plugins"]
        self.assertEqual((after["replaced"], after["old"]), (False, done["new"]))

    def test_what_a_running_engine_cannot_change(self):
        self.write("lanes: 1", "lanes: 1, group: another")
        worker = self.running.worker()
        status, answer = self.ask()
        self.assertEqual((status, answer["reason"]), (409, "needs_restart"), answer)
        self.assertIn("engine.group: 'answered' has the positions", answer["why"])
        self.assertEqual([(c["field"], c["new"]) for c in answer["changes"]], [("group", "another")])
        self.assertEqual(self.ask("/reload?plan")[0], 409)
        self.assertEqual(self.reload(code=1)["reason"], "needs_restart")
        self.assertEqual(self.running.worker(), worker)

    def test_a_file_that_is_wrong(self):
        self.write("effects.record", "effects.recrod")
        worker = self.running.worker()
        status, answer = self.ask()
        self.assertEqual((status, answer["reason"]), (422, "invalid"), answer)
        (problem,) = [p for p in answer["problems"] if p["level"] == "error"]
        self.assertEqual((problem["file"], problem["line"]), (str(self.config), 11))
        self.assertIn("did you mean 'record'", problem["text"])
        self.config.write_text("topics: [")
        status, answer = self.ask("/reload?plan")
        self.assertEqual((status, answer["reason"], answer["new"]), (422, "invalid", None))
        self.assertEqual(self.running.worker(), worker)
        self.write('"${HTTP_TOKEN}"', TOKEN)
        self.assertTrue(self.reload()["accepted"])
        self.assertTrue(any("WARN  run: " in line and "written out here" in line for line in self.running.log))
        self.assertEqual([line for line in self.running.log if not re.match(r"20\S+Z [A-Z]+ ", line)], [])

    def test_another_file(self):
        other = self.folder / "other.yaml"
        other.write_text(self.yaml)
        done = sluice("reload", other, "--url", self.address, env=self.vars, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"it runs {self.config.resolve()}, and {other} is another file", done.stdout)

    def test_who_stays_on_what(self):
        self.emit(
            "paid", self.event({"k": "k", "origin": "a", "seq": 1}), self.event({"k": "k", "origin": "b", "seq": 1})
        )
        self.await_value("select count(*) from sluice.chain", 2)
        (chain,) = self.reload("--plan")["chains"]
        self.assertEqual((chain["chain"], chain["current"], chain["in_flight"]), ("order", True, 2))
        self.write("undo: none", "undo: refund")
        self.assertTrue(self.reload()["accepted"])
        self.emit("paid", self.event({"k": "k", "origin": "c", "seq": 1}))
        self.await_value("select count(*) from sluice.chain", 3)
        before, now = self.reload("--plan")["chains"]
        self.assertEqual(before, {**chain, "current": False})
        self.assertEqual((now["current"], now["in_flight"]), (True, 1))
        self.assertNotEqual(now["definition"], chain["definition"])

    def test_several_at_once(self):
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.reload())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([answer["accepted"] for answer in answers], [True] * 4, self.running.text())
        self.assertEqual(self.running.stop(), 0)


if __name__ == "__main__":
    unittest.main()
