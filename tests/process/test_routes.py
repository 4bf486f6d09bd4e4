#!/usr/bin/env python3
"""Routes with several topics and with delays: an event each, once, through kills; what waits is listed, released and
cancelled."""
import datetime
import json
import os
import signal
import unittest

import _path  # noqa: F401
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase

YAML = """
pipeline: routes
bus: {kind: BUS}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 2}
plugins: {chaos: {library: "${CHAOS_SO}"}}
topics:
  in: {key: "{k}", handler: chaos.act_sql, routes: {ok: [now, {topic: later, delay: DELAY}, other], other: drop}}
  now: {final: true}
  other: {key: "{mode}", final: true}
  later: {key: "{k}", handler: chaos.act_sql, routes: {ok: done, other: drop}}
  done: {final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
WAIT_S = 60.0


class Routes(PipelineCase):
    def begin(self, delay, env=None):
        self.use(YAML.replace("BUS", "postgres, partitions: 2").replace("DELAY", delay))
        return self.engine(env=env)

    def send(self, count):
        ids = [f"event-{number}" for number in range(count)]
        self.emit("in", *(self.event({"k": event_id, "mode": "sql_ok", "n": 1}, event_id) for event_id in ids))
        return ids

    def ids(self, topic):
        return [json.loads(record["value"])["eventId"] for record in self.topic(topic)]

    def parents(self, topic):
        return sorted(record["headers"]["sluice-parent"] for record in self.topic(topic))

    def test_each_topic_gets_an_event_and_a_delayed_one_comes_later(self):
        self.begin("2s")
        sent = sorted(self.send(20))
        self.await_topic("done", 20, WAIT_S)
        ids = []
        for topic in ("now", "other", "later"):
            self.assertEqual(self.parents(topic), sent, topic)
            ids += self.ids(topic)
        self.assertEqual(len(set(ids)), 60)
        due = {json.loads(r["value"])["eventId"]: int(r["headers"]["sluice-not-before"]) for r in self.topic("later")}
        for record in self.topic("done"):
            at = datetime.datetime.fromisoformat(json.loads(record["value"])["timestamp"].replace("Z", "+00:00"))
            self.assertGreaterEqual(at.timestamp() * 1000 + 5, due[record["headers"]["sluice-parent"]])
        self.assertEqual(self.value("select count(*) from sluice.parked"), "0")

    def test_ids_do_not_depend_on_the_order_of_the_list(self):
        engine = self.begin("1h")
        self.send(1)
        self.await_topic("other", 1, WAIT_S)
        self.assertEqual(engine.stop(), 0)
        first = {topic: self.ids(topic)[0] for topic in ("now", "other", "later")}
        self.rows("delete from sluice.inbox")
        text = self.config.read_text().replace("[now, {topic: later, delay: 1h}, other]", "[other, later, now]")
        self.use(text)
        self.engine()
        self.send(1)
        self.await_topic("other", 2, WAIT_S)
        self.assertEqual({topic: self.ids(topic)[1] for topic in first}, first)

    def test_kills_in_the_middle(self):
        engine = self.begin("1s")
        for number in range(4):
            self.emit("in", *(self.event({"k": f"k{n}", "mode": "sql_ok", "n": 1}) for n in range(50)))
            self.await_topic("later", number * 50 + 1, WAIT_S)
            worker = engine.worker()
            os.kill(worker, signal.SIGKILL)
            until(lambda worker=worker: engine.worker() not in (None, worker), "another worker", WAIT_S)
        self.await_topic("done", 200, 2 * WAIT_S)
        self.drain(WAIT_S)
        for topic in ("now", "other", "later", "done"):
            found = self.ids(topic)
            self.assertEqual((len(found), len(set(found))), (200, 200), topic)

    def delayed(self, *args):
        return sluice("delayed", args[0], self.config, *args[1:], env=self.vars).stdout

    def test_what_waits_is_listed_released_and_cancelled(self):
        self.begin("10d")
        self.send(2)
        until(lambda: self.value("select count(*) from sluice.parked where state = 0") == "2", "two delays", WAIT_S)
        listed = json.loads(self.delayed("list", "--json"))["delayed"]
        self.assertEqual({one["topic"] for one in listed}, {"later"})
        graph = sluice("graph", self.config, env=self.vars).stdout
        self.assertIn("→ now, → later after 10d, → other", graph)
        self.assertIn("ok, after 10d", sluice("graph", self.config, "--format", "mermaid", env=self.vars).stdout)
        self.delayed("release", str(listed[0]["id"]))
        self.await_topic("done", 1, WAIT_S)
        self.delayed("cancel", str(listed[1]["id"]))
        self.await_topic("later-dlt", 1, WAIT_S)
        self.assertEqual(self.value("select count(*) from sluice.parked"), "0")
        self.assertEqual(len(self.topic("done")), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
