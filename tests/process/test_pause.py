#!/usr/bin/env python3
"""`sluice pause` and `sluice resume`: what is paused waits in the order of its keys, in all processes, across restarts,
and no try is counted.

Run alone: python3 tests/process/test_pause.py [-k NAME].
"""
import http.client
import json
import unittest

import _path
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase

HEAD = """
pipeline: paused
bus: {kind: BUS}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 2}
http:
  listen: "${HTTP_LISTEN:-127.0.0.1:0}"
  requests:
    "POST /in": {handler: effects.post, routes: {done: in, again: drop}}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
"""
TOPICS = """
topics:
  in: {key: "{k}", handler: effects.record, routes: {done: out, again: {retry: climb, initial_interval: 1s,
       multiplier: 1, max_retries: 2, exhausted: out}}}
  side: {key: "{k}", handler: effects.record, routes: {done: out, again: drop}}
  out: {key: "{k}", final: true}
  ticks: {final: true}
  watched: {key: "{k}", final: true}
"""
TAPS = """
taps: {watch: {topics: [watched], handler: chaos.act, routes: {ok: drop, other: drop}}}
schedules: {often: {every: 100ms, handler: chaos.tick, routes: {ok: ticks, other: drop}}}
"""
TABLE = (
    "CREATE TABLE effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
    " unity bigint)"
)
HELD = "SELECT count(DISTINCT event_id) FROM sluice.held"  # what was not committed is delivered again


class PauseCase(PipelineCase):
    bus = "postgres"
    more = TAPS

    def setUp(self):
        super().setUp()
        self.use(HEAD.replace("BUS", self.bus) + TOPICS + self.more)
        self.rows(TABLE)
        self.sent = {}

    def pause(self, *args, **options):
        return sluice("pause", self.config, *args, env=self.vars, **options)

    def resume(self, *args, **options):
        return sluice("resume", self.config, *args, env=self.vars, **options)

    def let_end(self):
        """A second of the hour is left."""
        self.rows("UPDATE sluice.pause SET until = now() + interval '1 s'")

    def paused(self):
        return json.loads(self.pause("--json").stdout)["pauses"]

    def send(self, topic, keys, times=1, **more):
        """`times` events of each key, each with the next number of the key."""
        values = []
        for _ in range(times):
            for k in keys:
                self.sent[k] = self.sent.get(k, 0) + 1
                data = {"k": k, "origin": f"{k}-{self.sent[k]}", "seq": self.sent[k], "mode": "ok", **more}
                values.append(self.event(data))
        self.emit(topic, *values)

    def effects(self, k):
        return [int(row[0]) for row in self.rows(f"SELECT seq FROM effects WHERE k = '{k}' ORDER BY number")]

    def await_all(self, limit_s=60):
        """Each event that was sent had its effect once, in the order of its key; and no try was counted."""
        wanted = sum(self.sent.values())
        self.await_value("SELECT count(DISTINCT origin) FROM effects", wanted, limit_s)
        self.await_value(HELD, 0, limit_s)
        for k, count in self.sent.items():
            self.assertEqual(self.effects(k), list(range(1, count + 1)), k)
        self.assertEqual(self.value("SELECT count(*) FROM sluice.attempt"), "0")
        for engine in self.engines:
            if engine.process.poll() is None:
                self.assertEqual(engine.metric("sluice_retries_total"), 0)

    def await_paused(self, count, *engines):
        for engine in engines or self.engines:
            until(lambda: engine.metric("sluice_paused") == count, f"{count} pauses in effect")


class Topics(PauseCase):
    def test_its_events_wait_with_their_keys_and_others_do_not(self):
        """Two processes; one is killed while they wait, both are when they have come back."""
        first, second = self.engine(), self.engine()
        said = self.pause("in", "--reason", "a deploy")
        self.assertRegex(said.stdout, r"^topic in: paused by .+@.+ since .+, until it is resumed: a deploy\n$")
        self.await_paused(1)
        keys = [f"k{n}" for n in range(40)]
        self.send("in", keys, 5)
        self.send("side", ["s1", "s2"], 3)
        self.await_value("SELECT count(*) FROM effects", 6)
        self.await_value(HELD, 200)
        self.await_value("SELECT sluice.bus_lag('own')", 0)  # positions do not wait
        self.send("side", keys[:1])  # behind its key, on a topic that is not paused
        self.await_value(HELD, 201)
        self.assertEqual(self.value("SELECT count(DISTINCT paused) FROM sluice.held_key"), "1")
        self.assertEqual(first.metric("sluice_in_flight") + second.metric("sluice_in_flight"), 0)
        self.assertEqual(first.request("GET", "/readyz")[0], 200)
        (shown,) = first.request("GET", "/pipeline")[1]["paused"]
        self.assertEqual((shown["kind"], shown["name"], shown["reason"]), ("topic", "in", "a deploy"))
        first.kill()
        third = self.engine()
        self.assertIn("topic in is paused by", third.text())
        self.send("in", keys, 5)
        self.await_value(HELD, 401)
        self.assertEqual(self.value("SELECT count(*) FROM effects"), "6")
        self.assertEqual(self.resume("in").stdout, "topic in: resumed\n")
        self.send("in", keys, 5)  # while they come back
        self.await_all()
        self.await_paused(0, second, third)
        self.assertEqual(self.paused(), [])
        audit = self.rows("SELECT act, object, coalesce(reason, '-') FROM sluice.audit ORDER BY id")
        self.assertEqual([list(row) for row in audit], [["pause", "topic in", "a deploy"], ["resume", "topic in", "-"]])

    def test_processes_are_killed_while_it_is_paused_and_resumed_again_and_again(self):
        self.engine(), self.engine()
        keys = [f"k{n}" for n in range(30)]
        for turn in range(5):
            self.pause("in" if turn % 2 else "handler:effects.record")
            self.send("in", keys, 3)
            self.send("side", keys, 1)
            until(lambda: int(self.value(HELD)) > 0 or len(self.effects(keys[0])) > 0, "the first events", 30)
            self.engines[turn % 2].kill()
            self.engines[turn % 2].start(wait=turn % 3 == 0)
            self.send("in", keys, 2)
            self.resume("--all")
        for engine in self.engines:
            engine.wait_ready(engine.readies() or 1)
        self.await_all(90)

    def test_it_ends_by_itself(self):
        engine = self.engine()
        self.pause("in", "--for", "1h")
        self.await_paused(1)
        self.send("in", ["a"], 3)
        self.await_value(HELD, 3)
        self.assertEqual(self.effects("a"), [])
        self.let_end()
        self.await_all(20)
        self.assertEqual(engine.metric("sluice_paused"), 0)
        self.assertIn("nothing is paused", self.pause().stdout)

    def test_it_ends_by_itself_while_no_process_runs(self):
        engine = self.engine()
        self.pause("in", "--for", "1h")
        self.await_paused(1)
        self.send("in", ["a"], 3)
        self.await_value(HELD, 3)
        engine.kill()
        self.let_end()
        until(lambda: "nothing is paused" in self.pause().stdout, "the end of the pause", step_s=0.1)
        self.assertEqual(self.effects("a"), [])
        engine.start()
        self.await_all(20)

    def test_explain_names_it(self):
        self.engine()
        self.pause("handler:effects.record", "--reason", "the gateway is down")
        self.await_paused(1)
        self.send("in", ["a"], 2)
        self.await_value(HELD, 2)
        text = sluice("explain", self.config, "a-2", env=self.vars).stdout
        self.assertRegex(text, r"handler effects\.record is paused by .+@.+ since .+: the gateway is down")
        (event,) = json.loads(sluice("explain", self.config, "a-2", "--json", env=self.vars).stdout)["events"]
        self.assertEqual([p["name"] for p in event["paused"]], ["effects.record"])
        self.resume("effects.record")
        self.await_all()
        self.assertNotIn("paused", sluice("explain", self.config, "a-2", env=self.vars).stdout)


class Handlers(PauseCase):
    def test_wherever_it_is_bound_and_what_was_delayed_waits_on(self):
        engine = self.engine()
        self.send("in", ["a"], 1, climb=1)  # comes again after a second
        self.await_value("SELECT count(*) FROM sluice.parked WHERE state = 0", 1)
        self.pause("effects.record")
        self.await_paused(1)
        self.send("side", ["b"], 2)
        self.await_value("SELECT count(*) FROM sluice.parked WHERE state = 3 AND paused = 'climb'", 1)
        self.await_value(HELD, 2)
        self.assertEqual(self.value("SELECT count(*) FROM effects"), "0")
        engine.kill()
        engine.start()
        until(lambda: engine.metric("sluice_paused") == 1, "the pause after a restart")
        self.resume("effects.record")
        self.await_all()
        self.await_value("SELECT count(*) FROM sluice.parked", 0)

    def test_a_request_of_it_is_refused_until_it_is_resumed(self):
        engine = self.engine()
        body = {"k": "r", "origin": "r-1", "seq": 1}
        self.assertEqual(engine.request("POST", "/in", body)[0], 200)
        for length, least, most in ((["--for", "10m"], 120, 600), (["--for", "2d"], 3600, 3600), ([], 60, 60)):
            self.pause("effects.post", *length)
            self.await_paused(1)
            connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=20)
            connection.request("POST", "/in", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            self.assertEqual(answer.status, 503)
            after = int(answer.getheader("Retry-After"))
            self.assertTrue(least <= after <= most, f"Retry-After: {after} of a pause {length}")
            self.assertEqual(json.loads(answer.read())["error"], "paused")
            connection.close()
            self.resume("effects.post")
            self.await_paused(0)
        until(lambda: engine.request("POST", "/in", {**body, "seq": 2, "origin": "r-2"})[0] == 200, "the handler")
        self.sent["r"] = 2
        self.await_all()


class TapsAndSchedules(PauseCase):
    def test_a_tap(self):
        """It reads nothing, also after a restart; the pipeline goes on."""
        engine = self.engine()
        seen = 'sluice_events_total{handler="watch/chaos.act",outcome="ok"}'
        values = [self.event({"k": f"k{n % 30}", "mode": "ok"}) for n in range(3000)]
        self.emit("watched", *values[:3])
        until(lambda: engine.metric(seen) == 3, "the tap")
        self.pause("watch")
        self.await_paused(1)
        self.emit("watched", *values[3:])
        self.send("in", ["a"], 3)
        self.await_value("SELECT count(*) FROM effects", 3)
        self.assertEqual(engine.metric(seen), 3)
        engine.stop()
        engine.start()
        self.send("in", ["a"], 3)
        self.await_value("SELECT count(*) FROM effects", 6)
        self.assertEqual(engine.metric(seen), 0)
        self.resume("tap:watch")
        until(lambda: engine.metric(seen) == 2997, "what the tap has missed", 60)
        self.await_all()

    def test_a_schedule(self):
        engine = self.engine()
        ticks = 'sluice_emitted_total{topic="ticks"}'
        until(lambda: engine.metric(ticks) > 2, "ticks")
        self.pause("often")
        self.await_paused(1)
        self.pause("in")  # what it emits is not the schedule's to wait for
        self.await_paused(2)
        count = engine.metric(ticks)
        self.send("side", ["s"], 5)
        self.await_value("SELECT count(*) FROM effects", 5)
        self.assertLessEqual(engine.metric(ticks), count + 1)  # one may have been under way
        self.resume("--all")
        until(lambda: engine.metric(ticks) > count + 3, "ticks again")


class Names(PauseCase):
    def refused(self, command, *args):
        done = sluice(command, self.config, *args, env=self.vars, check=False)
        self.assertEqual((done.returncode in (1, 2), done.stdout), (True, ""), done.stderr)
        return done.stderr

    def test_which_thing_is_meant(self):
        renamed = HEAD.replace("BUS", self.bus) + TOPICS.replace("  side:", "  effects.record:")
        self.use(renamed + TAPS.replace("watch:", "in:"), migrate=False)
        for command, word, sentence in (
            ("pause", "effects.record", "'effects.record' is a topic and a handler; say 'topic:effects.record' or"),
            ("pause", "in", "'in' is a topic and a tap; say 'topic:in' or 'tap:in'"),
            (
                "pause",
                "climbs",
                "no topic, handler, tap, schedule or dependency of the pipeline is named 'climbs'; did you mean",
            ),
            ("pause", "tap:oftn", "the pipeline has no tap 'oftn'; did you mean 'often'?"),
            ("pause", "out", "topic 'out' has no handler in this pipeline: there is nothing to pause"),
            ("resume", "in", "nothing is paused that is named 'in'"),
        ):
            self.assertIn(f"sluice {command}: {sentence}", self.refused(command, word), word)
        for word in ("topic:in", "tap:in"):
            self.pause(word)
        self.assertIn("'in' is a topic and a tap; say", self.refused("resume", "in"))
        self.assertIn("did you mean 'in'?", self.refused("resume", "inn"))
        self.resume("tap:in")
        self.assertEqual([(p["kind"], p["name"]) for p in self.paused()], [("topic", "in")])
        self.pause("in", "--for", "1h", "--reason", "other", check=False)
        self.pause("topic:in", "--for", "1h", "--reason", "longer")
        (pause,) = self.paused()
        self.assertEqual(pause["reason"], "longer")
        self.assertGreater(pause["until"], pause["since"])

    def test_a_name_that_left_the_file(self):
        engine = self.engine()
        self.pause("often", "--reason", "why not")
        self.await_paused(1)
        engine.stop()
        self.use(HEAD.replace("BUS", self.bus) + TOPICS + TAPS.split("schedules:")[0], migrate=False)
        engine.start()
        self.assertRegex(
            engine.text(), r"schedule often, which this file does not have, is paused by .*resume CONFIG schedule:often"
        )
        self.assertEqual(engine.metric("sluice_paused"), 0)
        self.assertIn("schedule often: paused by", self.pause().stdout)
        self.assertIn("(the file does not have it)", self.pause().stdout)
        self.assertEqual(self.resume("often").stdout, "schedule often: resumed\n")
        self.assertEqual(self.resume("--all").stdout, "nothing is paused\n")

    def test_a_renamed_topic_and_a_renamed_pipeline_stay_paused(self):
        engine = self.engine()
        self.pause("in")
        self.await_paused(1)
        self.send("in", ["a"], 3)
        self.await_value(HELD, 3)
        engine.stop()
        renamed = (HEAD.replace("BUS", self.bus) + TOPICS).replace("group: own", "group: other")
        renamed = renamed.replace("done: in,", "done: inbox,").replace("  in: {", "  inbox: {")
        self.use(renamed + "renamed: {own: other, in: inbox}\n", migrate=False)
        engine.start()
        self.assertIn("topic inbox is paused by", engine.text())
        self.send("inbox", ["a"], 2)
        self.await_value(HELD, 5)
        self.assertEqual(self.effects("a"), [])
        self.resume("inbox")
        self.await_all()

    def test_wrong_lines(self):
        for command, args, code, sentence in (
            ("pause", ["in", "--for", "soon"], 2, "--for 'soon': expected a duration as 30s, 10m or 2h"),
            ("pause", ["in", "--for", "0s"], 2, "--for '0s': expected a duration"),
            ("pause", ["--for", "1s"], 2, "expected the NAME of what is to be paused"),
            ("pause", ["in", "--reason", "two\nlines"], 2, "the reason must be a line of text"),
            ("pause", ["in", "side"], 2, "a CONFIG and, to pause something, its NAME"),
            ("pause", ["in", "--why", "two\nlines"], 2, "the reason must be a line of text"),
            ("resume", [], 2, "expected the NAME of what is paused, or --all"),
            ("resume", ["in", "--all"], 2, "--all ends every pause: no NAME goes with it"),
        ):
            done = sluice(command, self.config, *args, env=self.vars, check=False)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(sentence, done.stderr)
        self.assertEqual(self.paused(), [])

    def test_without_a_store_there_is_no_pause(self):
        self.use(
            'pipeline: small\nbus: {kind: memory}\nplugins: {chaos: {library: "${CHAOS_SO}"}}\n'
            "topics:\n  in: {handler: chaos.act, routes: {ok: drop, other: drop}}\n",
            migrate=False,
        )
        self.assertIn("pipeline 'small' has no store, and pauses are kept there", self.refused("pause", "in"))


class Memory(PauseCase):
    """The events of this bus live in the process; the pause does not."""

    bus = "memory"

    def test_a_topic(self):
        engine = self.engine()
        self.pause("in")
        self.await_paused(1)
        for seq in range(1, 6):
            body = {"k": "a", "origin": f"a-{seq}", "seq": seq}
            self.assertEqual(engine.request("POST", "/in", body)[0], 200)
        self.await_value(HELD, 5)
        self.assertEqual(self.effects("a"), [])
        self.resume("in")
        self.sent["a"] = 5
        self.await_all()


if __name__ == "__main__":
    unittest.main()
