#!/usr/bin/env python3
"""Early events (`after:` of a topic): one that came before what it needs is handled right behind it, once, whoever
handles what when; a killed process loses no wake-up.

Run alone: python3 tests/process/test_after.py [-k NAME].
"""
import json
import os
import random
import threading
import time
import unittest

import _path
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase, new_id, reason
from test_held_keys import HELD, KEYS, TABLE

YAML = """
pipeline: early
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 3}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
plugins: {effects: {library: "${EFFECTS_SO}"}}
topics:
  first: {key: "{k}", handler: effects.record, routes: {done: drop, again: drop}}
  second: {key: "{k}", handler: effects.record, after: AFTER, routes: {done: drop, again: drop}}
"""
AFTER = "{topic: first, correlate: origin, at_most: 10m}"
WAITING = "SELECT count(*) FROM sluice.held WHERE needs IS NOT NULL AND NOT ready"
EFFECTS = "SELECT count(*) FROM effects"
SEED = int(os.environ.get("SLUICE_SEED", random.randrange(1 << 30)))


class AfterCase(PipelineCase):
    after = AFTER
    prefix = ""  # of topics

    def setUp(self):
        super().setUp()
        self.use(YAML.replace("AFTER", self.after))
        self.rows(TABLE)

    def send(self, topic, k, origin, seq=1, event_id=None):
        self.emit(self.prefix + topic, self.event({"k": k, "origin": origin, "seq": seq}, event_id))

    def effects(self):
        return [row[0] for row in self.rows("SELECT k FROM effects ORDER BY number")]

    def send_pairs(self, numbers, rng):
        """Both events of each pair, each in an order by chance, from two commands that run at once."""
        senders = []
        for topic in ("first", "second"):
            order = list(numbers)
            rng.shuffle(order)
            events = [self.event({"k": f"{topic}{n % 40}", "origin": f"pair{n}", "seq": 1}) for n in order]
            senders.append(threading.Thread(target=self.emit, args=(self.prefix + topic, *events)))
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()

    def assert_each_behind_its_own(self, count):
        """Each pair has both effects, once, the second behind the first."""
        found = self.rows(
            "SELECT count(*), count(*) FILTER (WHERE n <> 2), count(*) FILTER (WHERE s <= f) FROM"
            " (SELECT origin, count(*) AS n, min(number) FILTER (WHERE k LIKE 'first%') AS f,"
            "  min(number) FILTER (WHERE k LIKE 'second%') AS s FROM effects GROUP BY origin) pairs"
        )
        self.assertEqual([list(row) for row in found], [[str(count), "0", "0"]], f"SLUICE_SEED={SEED}")
        self.await_value(KEYS, 0)


class After(AfterCase):
    def test_waits_for_its_other_event_and_holds_its_own_topic_only(self):
        engine = self.engine()
        self.send("second", "a", "one")
        self.send("second", "a", "two", seq=2)
        self.send("second", "b", "three")
        self.await_value(HELD, 3)
        self.send("first", "a", "four")  # the same key, and another topic
        self.await_value(EFFECTS, 1)
        said = sluice(
            "explain",
            self.config,
            self.value("SELECT event_id FROM sluice.held ORDER BY id LIMIT 1"),
            "--why",
            env=self.vars,
        ).stdout
        self.assertRegex(said, r"waits for first with origin=one, for at most (10 m 0 s|9 m \d+ s), then dead letter")
        listed = json.loads(sluice("delayed", "list", self.config, "--json", env=self.vars).stdout.split("\n")[0])
        self.assertIn("waits for first with origin=", json.dumps(listed))
        self.send("first", "x", "two")
        self.send("first", "y", "one")
        self.await_value(HELD, 1)
        self.assertEqual(self.effects(), ["a", "x", "y", "a", "a"])
        self.assertEqual(
            [
                row[0]
                for row in self.rows(
                    "SELECT seq FROM effects WHERE origin IN ('one', 'two')" " AND k = 'a' ORDER BY number"
                )
            ],
            ["1", "2"],
        )
        self.send("first", "z", "three")
        self.await_value(EFFECTS, 7)
        self.await_value(KEYS, 0)
        self.assertEqual(engine.stop(), 0)

    def test_it_is_drawn(self):
        text = sluice("graph", self.config, env=self.vars).stdout
        self.assertIn("after       first with its origin, waits at most 10m, then dead letter", text)
        self.assertIn("before, by origin", sluice("graph", self.config, "--format", "mermaid", env=self.vars).stdout)
        (topic,) = [
            topic
            for topic in json.loads(sluice("graph", self.config, "--format", "json", env=self.vars).stdout)["topics"]
            if topic["name"] == "second"
        ]
        self.assertEqual(
            topic["after"], {"topic": "first", "correlate": "origin", "atMostMs": 600000, "then": "dead_letter"}
        )

    def test_what_waits_survives_its_process(self):
        first = self.engine()
        self.send("second", "a", "one")
        self.send("second", "b", "two")
        self.await_value(WAITING, 2)
        first.kill()
        second = self.engine()
        self.send("first", "c", "one")
        self.await_value(EFFECTS, 2)
        self.assertEqual(second.stop(), 0)
        third = self.engine()
        self.send("first", "d", "two")
        self.await_value(EFFECTS, 4)
        self.assertEqual(self.effects(), ["c", "a", "d", "b"])
        self.assertEqual(third.stop(), 0)

    def test_a_reload_while_they_wait(self):
        """They go on waiting; by a file without `after` they are handled at once."""
        engine = self.engine()
        self.send("second", "a", "one")
        self.send("second", "b", "two")
        self.await_value(WAITING, 2)
        text = self.config.read_text()
        self.config.write_text(text.replace("lanes: 3", "lanes: 2"))
        self.assertIn("reloaded in", engine.reload())
        self.send("first", "c", "one")
        self.await_value(EFFECTS, 2)
        self.assertEqual(self.effects(), ["c", "a"])
        self.assertEqual(self.value(WAITING), "1")
        self.config.write_text(text.replace(f"after: {self.after}, ", ""))
        self.assertIn("reloaded in", engine.reload())
        self.await_value(EFFECTS, 3)
        self.await_value(KEYS, 0)
        self.assertEqual(engine.stop(), 0)

    def test_duplicates_are_handled_once(self):
        engine = self.engine()
        same = new_id()
        for _ in range(3):
            self.send("second", "a", "one", event_id=same)
        self.await_value(HELD, 3)
        self.send("first", "b", "one")
        self.await_value(KEYS, 0)
        self.send("second", "a", "one", event_id=same)
        self.drain()
        self.assertEqual(self.effects(), ["b", "a"])
        self.assertEqual(engine.stop(), 0)

    def test_many_pairs_over_two_processes_one_of_which_is_killed(self):
        rng = random.Random(SEED)
        rounds, each = 9, 300
        engines = [self.engine(), self.engine()]
        for r in range(rounds):
            self.send_pairs(range(r * each, (r + 1) * each), rng)
            if r % 3 == 1:
                victim = rng.randrange(2)
                engines[victim].kill()
                engines[victim] = self.engine()
        self.await_value(EFFECTS, 2 * rounds * each, 120)
        self.assert_each_behind_its_own(rounds * each)
        for engine in engines:
            self.assertEqual(engine.stop(), 0)


class Retried(AfterCase):
    def setUp(self):
        super().setUp()
        text = self.config.read_text()
        retry = "retry: {max_retries: 9, backoff: {initial_interval: 600s, max_interval: 600s, jitter: 0}}"
        self.use(text.replace("topics:", f"defaults: {{{retry}}}\ntopics:"))

    def test_a_retry_of_one_that_waited_waits_for_its_time(self):
        engine = self.engine()
        event = self.event({"k": "a", "origin": "one", "seq": 1, "flaky": 5})
        self.emit(self.prefix + "second", event)
        self.await_value(WAITING, 1)
        self.send("first", "b", "one")
        self.await_value("SELECT max(attempts) FROM sluice.attempt", 1)
        self.send("second", "c", "two")  # so that the lanes look for those that are ready
        self.await_value(WAITING, 1)
        time.sleep(1)
        self.assertEqual(self.value("SELECT max(attempts) FROM sluice.attempt"), "1")
        self.assertEqual(engine.stop(), 0)


class Soon(AfterCase):
    after = "{topic: first, correlate: origin, at_most: 1s}"

    def test_its_time_is_over(self):
        engine = self.engine()
        self.send("second", "a", "one")
        letters = self.await_topic("second-dlt", 1)
        self.assertEqual(reason(letters[0]), "too_early")
        self.send("first", "b", "one")  # too late
        self.await_value(EFFECTS, 1)
        self.await_value(KEYS, 0)
        self.assertEqual(engine.stop(), 0)


class Handled(AfterCase):
    after = "{topic: first, correlate: origin, at_most: 1s, then: handle}"

    def test_it_is_handled_when_its_time_is_over(self):
        engine = self.engine()
        self.send("second", "a", "one")
        self.await_value(EFFECTS, 1)
        self.await_value(KEYS, 0)
        self.assertEqual(engine.stop(), 0)


if __name__ == "__main__":
    unittest.main()
