#!/usr/bin/env python3
"""Held keys: a key whose event must wait for longer than a moment waits in the database, with everything behind it, and
costs only itself.

Run alone: python3 tests/process/test_held_keys.py [-k NAME].
"""
import unittest

import _path
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase

HEAD = """
pipeline: held
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 2}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
"""
TABLE = (
    "CREATE TABLE effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
    " unity bigint)"
)
HELD = "SELECT count(*) FROM sluice.held"
KEYS = "SELECT count(*) FROM sluice.held_key"
FREE = "UPDATE sluice.held_key SET due = now()"


class HeldCase(PipelineCase):
    retry = "max_retries: 8, backoff: {initial_interval: 600s, multiplier: 1, max_interval: 600s, jitter: 0}"

    def setUp(self):
        super().setUp()
        self.use(
            HEAD
            + "defaults: {retry: {"
            + self.retry
            + '}}\ntopics:\n  in: {key: "{k}", handler: effects.record, routes: {done: out, again: {retry: climb,'
            + ' initial_interval: 2s, max_retries: 2, exhausted: out}}}\n  out: {key: "{k}", final: true}\n'
        )
        self.rows(TABLE)

    def event_of(self, k, seq, **more):
        return self.event({"k": k, "origin": f"{k}{seq}", "seq": seq, **more})

    def send(self, k, seqs, **more):
        self.emit("in", *[self.event_of(k, seq, **more) for seq in seqs])

    def effects(self, k):
        return [int(row[0]) for row in self.rows(f"SELECT seq FROM effects WHERE k = '{k}' ORDER BY number")]

    def await_effects(self, k, seqs, limit_s=30):
        until(lambda: len(self.effects(k)) >= len(seqs), f"{len(seqs)} effects of {k}", limit_s, 0.05)
        self.assertEqual(self.effects(k), list(seqs))

    def await_positions(self):
        """Nothing is delivered again, and nothing waits for a held key."""
        self.await_value("SELECT sluice.bus_lag('own')", 0)

    def await_held(self, events):
        self.await_value(HELD, events)
        self.await_value("SELECT coalesce(sum(events), 0) FROM sluice.held_key", events)

    def release(self):
        """As an operator does; a running engine finds out within seconds."""
        self.rows(FREE)


class Held(HeldCase):
    def test_a_held_key_costs_only_itself(self):
        """More followers than a group may have in flight (2000 with two lanes), and nobody else waits."""
        engine = self.engine()
        self.send("hot", [1], flaky=1)
        self.await_held(1)
        self.send("hot", range(2, 3001))
        self.send("cold", range(1, 11))
        self.await_effects("cold", range(1, 11))
        self.await_held(3000)
        self.await_positions()
        self.assertEqual(self.effects("hot"), [])
        until(lambda: engine.metric("sluice_held_events") == 3000, "the metric")
        self.assertEqual(engine.metric("sluice_held_keys"), 1)
        self.assertEqual(engine.metric("sluice_in_flight"), 0)
        self.send("cold", range(11, 21))
        self.await_effects("cold", range(1, 21))
        self.release()
        self.send("hot", range(3001, 3101))  # while it comes back
        self.await_effects("hot", range(1, 3101), 60)
        self.await_value(KEYS, 0)
        self.assertEqual(self.value(HELD), "0")
        self.send("hot", [3101])  # the usual way again
        self.await_effects("hot", range(1, 3102))
        self.drain()
        self.assertEqual(self.value("SELECT count(*) FROM sluice.attempt"), "0")

    def test_a_head_that_fails_again_counts_on(self):
        self.engine()
        self.send("a", [1], flaky=2)
        self.send("a", [2, 3])
        self.await_held(3)
        self.release()
        self.await_value("SELECT attempts FROM sluice.attempt", 2)
        self.await_value("SELECT count(*) FROM sluice.held_key WHERE due > now()", 1)
        self.assertEqual(self.effects("a"), [])
        self.assertEqual(self.value(HELD), "3")
        self.release()
        self.await_effects("a", [1, 2, 3])
        self.await_value(KEYS, 0)

    def test_a_follower_becomes_the_head(self):
        self.engine()
        self.send("a", [1], flaky=1)
        self.send("a", [2, 3])
        self.send("a", [4], flaky=1)
        self.send("a", [5, 6])
        self.await_held(6)
        self.release()
        self.await_effects("a", [1, 2, 3])
        self.await_held(3)
        self.release()
        self.await_effects("a", range(1, 7))
        self.await_value(KEYS, 0)

    def test_a_duplicate_behind_a_held_key_is_found_when_it_is_handled(self):
        self.engine()
        head, second = self.event_of("a", 1, flaky=1), self.event_of("a", 2)
        self.emit("in", head, second)
        self.emit("in", head, second, second)
        self.await_held(5)
        self.release()
        self.await_value(KEYS, 0)
        self.assertEqual(self.effects("a"), [1, 2])

    def test_a_follower_that_cannot_be_read_is_a_dead_letter_in_its_place(self):
        self.engine()
        self.send("a", [1], flaky=1)
        self.await_held(1)
        self.emit("in", "no json", key="a")
        self.send("a", [2])
        self.await_held(3)
        self.assertEqual(self.topic("in-dlt"), [])
        self.release()
        letter = self.await_topic("in-dlt", 1)[0]
        self.assertEqual(letter["value"], "no json")
        self.assertIn("kafka_dlt-original-partition", letter["headers"])
        self.await_effects("a", [1, 2])

    def test_a_restart_knows_what_is_held(self):
        engine = self.engine()
        self.send("a", [1], flaky=1)
        self.send("a", [2])
        self.await_held(2)
        self.await_positions()
        engine.kill()
        self.send("a", [3])
        engine = self.engine()
        self.send("b", [1])
        self.await_effects("b", [1])
        self.await_held(3)
        self.assertEqual(self.effects("a"), [])
        self.assertEqual(engine.stop(), 0)  # nothing waits for a held key
        self.release()
        self.engine()
        self.await_effects("a", [1, 2, 3])

    def test_a_peer_takes_over_what_is_held(self):
        first = self.engine()
        keys = [f"k{n}" for n in range(12)]
        self.emit("in", *[self.event_of(k, 1, flaky=1) for k in keys])
        self.await_held(12)
        second = self.engine()
        until(lambda: "partitions assigned" in second.text(), "the second's partitions")
        self.emit("in", *[self.event_of(k, 2) for k in keys])
        self.await_held(24)
        self.await_positions()
        first.kill()
        self.emit("in", *[self.event_of(k, 3) for k in keys])
        self.await_held(36)
        self.release()
        for k in keys:
            self.await_effects(k, [1, 2, 3], 60)
        self.await_value(KEYS, 0)

    def test_a_name_that_left_the_file(self):
        """Held events wait for a topic or a group as parked ones do: nobody loses them when the name changes."""
        engine = self.engine()
        self.send("a", [1], flaky=1)
        self.send("a", [2])
        self.await_held(2)
        self.assertEqual(engine.stop(), 0)
        text = self.config.read_text()
        self.use(text.replace("  in: {", "  entry: {"))
        self.assertEqual(self.engine(wait=False).process.wait(30), 78)
        renamed = text.replace("  in: {", "  entry: {").replace("group: own", "group: ours")
        self.use(renamed + "renamed: {in: entry, own: ours}\n")
        self.engine()
        self.release()
        self.await_effects("a", [1, 2])
        self.await_value(KEYS, 0)

    def test_explain_says_that_it_is_held(self):
        self.engine()
        self.send("a", [1], flaky=1)
        self.send("a", [2, 3])
        self.await_held(3)
        said = {seq: sluice("explain", self.config, f"a{seq}", "--json", env=self.vars).stdout for seq in (1, 2, 3)}
        self.assertIn('"held":{"before":0', said[1])
        self.assertIn('"held":{"before":2', said[3])
        text = sluice("explain", self.config, "a3", env=self.vars).stdout
        self.assertIn("behind its key: 2 events before it", text)
        self.assertIn("holds its key", sluice("explain", self.config, "a1", env=self.vars).stdout)


class ShortRetries(HeldCase):
    retry = "max_retries: 8, backoff: {initial_interval: 900ms, multiplier: 1, max_interval: 900ms, jitter: 0}"

    def test_many_behind_a_retry_of_a_moment(self):
        """In memory they would be more than a group may have in flight."""
        self.engine()
        self.send("hot", [1], flaky=3)
        self.send("hot", range(2, 5001))
        self.send("cold", range(1, 11))
        self.await_effects("cold", range(1, 11), 15)
        self.await_effects("hot", range(1, 5001), 60)
        self.await_value(KEYS, 0)


if __name__ == "__main__":
    unittest.main()
