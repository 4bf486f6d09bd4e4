#!/usr/bin/env python3
"""The dead letters of pipelines without a store: on Kafka the command reads and moves them on their topics, on the
memory bus the engine does it over HTTP.

Run alone: python3 tests/process/test_topic_dead_letters.py [-k NAME].
"""
import collections
import http.client
import json
import unittest

import _path
from dead_letter_case import begin_replay, kill_replays
from lib.engine import BUILD, Engine, sluice, until
from lib.pipeline_case import CHAOS, new_id
from lib.server_case import KafkaCase, ServerCase

PASS = BUILD / "tests/plugins/pass.so"
TOKEN = "dG9wLXNlY3JldA=="
AUTHORITY = {"Authorization": f"Bearer {TOKEN}"}
# Events with a pad are too large for the first engine; the next one takes them.
YAML = """\
pipeline: letters
bus: {kind: kafka, partitions: 4, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}
engine: {group: "@", lanes: 2, max_event_size: "${LARGEST:-1KiB}"}
plugins: {pass: {library: "${PASS_SO}"}}
topics:
  @.in: {key: "{k}", handler: pass.pass, routes: {passed: @.out}}
  @.out: {key: "{k}", final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}", token: "${HTTP_TOKEN}"}
"""
TAP = 'taps:\n  watch: {topics: ["@.in"], handler: pass.pass, routes: {passed: @.seen}}\n'
PAD = "x" * 1500
WAIT_S = 60


class Case(ServerCase):
    def setUp(self):
        super().setUp()
        self.name = self.new_name("letters")
        self.vars = {"PASS_SO": str(PASS), "HTTP_TOKEN": TOKEN}
        self.config = self.folder / "pipeline.yaml"

    def engine(self, **env):
        engine = Engine(self.config, {**self.vars, **env}).start()
        self.addCleanup(engine.kill)
        return engine

    def command(self, action, *args, code=0):
        done = sluice("dead-letter", action, self.config, *map(str, args), env=self.vars, check=False)
        self.assertEqual(done.returncode, code, f"dead-letter {action} {args}\n{done.stdout}{done.stderr}")
        return done

    def event(self, n, key="k", **data):
        return json.dumps({"eventId": new_id(), "data": {"k": key, "number": n, **data}})


class Kafka(Case, KafkaCase):
    def setUp(self):
        super().setUp()
        self.vars.update(self.kafka.env())
        self.write(YAML)
        self.migrate()

    def write(self, yaml):
        self.config.write_text(yaml.replace("@", self.name))

    def migrate(self):
        sluice("migrate", self.config, env=self.vars)

    def topic(self, word):
        return f"{self.name}.{word}"

    def data(self, word):
        """[(key, number)] in the order of each partition."""
        return [(r.key.decode(), json.loads(r.value)["data"]["number"]) for r in self.kafka.dump(self.topic(word))]

    def await_data(self, word, count):
        until(lambda: len(self.data(word)) >= count, f"{count} records on {word}", WAIT_S, 0.1)
        return self.data(word)

    def listed(self, *args):
        return json.loads(self.command("list", *args, "--json").stdout)["deadLetters"]

    def shown(self, number):
        return json.loads(self.command("show", number, "--json").stdout)

    def put(self, values, key="k"):
        self.kafka.produce_many(self.topic("in"), [(key, value) for value in values])

    def fail_some(self, count, keys=1, groups=1):
        """Events that are too large; the engine that found it is gone."""
        engine = self.engine()
        before = len(self.kafka.dump(self.topic("in-dlt")))
        for k in range(keys):
            self.put([self.event(n, f"k{k}", pad=PAD) for n in range(k, count, keys)], f"k{k}")
        until(
            lambda: len(self.kafka.dump(self.topic("in-dlt"))) == before + groups * count,
            f"{count} dead letters\n{engine.text()}",
            WAIT_S,
            0.1,
        )
        engine.stop()

    def mend(self):
        """From now on they fit."""
        self.vars["LARGEST"] = "1MiB"

    def mended(self):
        self.mend()
        return self.engine()

    def in_order(self, found):
        self.assertEqual(len(found), len(set(found)), "twice")
        for key in {k for k, _ in found}:
            mine = [n for k, n in found if k == key]
            self.assertEqual(mine, sorted(mine), f"order of {key}")

    def test_list_and_show(self):
        self.fail_some(5, keys=2)
        self.assertEqual(self.kafka.members(self.name), [], "the engine's group")
        found = self.listed()
        self.assertEqual(len(found), 5)
        self.assertEqual(sorted(one["at"] for one in found), [one["at"] for one in found][::-1])
        one = self.shown(found[0]["id"])
        self.assertEqual(
            [one[name] for name in ("state", "group", "topic", "handler", "reason", "attempts", "rounds", "edited")],
            ["open", self.name, self.topic("in"), "pass.pass", "too_large", 1, 0, False],
        )
        self.assertRegex(one["id"], rf"\A{self.topic('in-dlt')}:[0-3]:\d+\Z")
        self.assertIn("bytes", one["message"])
        source = [
            r for r in self.kafka.dump(self.topic("in")) if (r.partition, r.offset) == (one["partition"], one["offset"])
        ]
        self.assertEqual(one["record"]["value"].encode(), source[0].value)
        self.assertEqual(one["eventId"], json.loads(source[0].value)["eventId"])
        self.assertEqual([h["name"] for h in one["record"]["headers"]], [])
        page = json.loads(self.command("list", "--limit", 2, "--json").stdout)
        rest = json.loads(self.command("list", "--below", page["next"], "--json").stdout)
        self.assertEqual(page["deadLetters"] + rest["deadLetters"], found)
        self.assertIsNone(rest["next"])
        for filters, count in (
            (["--topic", self.name + ".*", "--reason", "too_large", "--since", "1h", "--handler", "pass.pass"], 5),
            (["--reason", "rejected"], 0),
            (["--since", "2100-01-02T03:04:05Z"], 0),
            (["--state", "replayed"], 0),
            (["--correlation", "none"], 0),
        ):
            self.assertEqual(len(self.listed(*filters)), count, filters)
        self.assertIn("too_large", self.command("list").stdout)
        self.assertEqual(self.kafka.members(self.name), [])
        self.assertIn("has no dead letter", self.command("show", self.topic("in-dlt:0:99"), code=1).stderr)
        self.assertIn("one is called TOPIC:PARTITION:OFFSET", self.command("show", 17, code=1).stderr)

    def test_replay(self):
        """New ids, the engine's own headers once, a key's order kept, only for the group whose they were."""
        self.write(YAML.replace("  @.out:", "  @.seen: {final: true}\n  @.out:") + TAP)
        self.migrate()
        self.fail_some(40, keys=4, groups=2)
        self.mend()
        self.assertEqual({one["group"] for one in self.listed()}, {self.name, self.name + ".watch"})
        self.assertIn("expected IDs or a filter", self.command("replay", code=2).stderr)
        self.assertIn("40 found", self.command("replay", "--handler", "pass.pass", "--dry-run").stdout)
        self.assertEqual(len(self.kafka.dump(self.topic("in"))), 40)
        self.assertIn("40 replayed", self.command("replay", "--handler", "pass.pass", "--why", "mended").stdout)
        self.assertEqual(len(self.listed()), 40, "the tap's")
        done = self.listed("--state", "replayed")
        self.assertEqual({one["endedBy"].count("@") for one in done}, {1})
        replays = {json.loads(r.value)["eventId"]: r for r in self.kafka.dump(self.topic("in"))}
        for one in done:
            record = replays[one["replayedAs"]]
            headers = dict(record.headers)
            self.assertEqual(len(headers), len(record.headers))
            self.assertEqual(
                headers,
                {
                    "sluice-replay-of": one["eventId"].encode(),
                    "sluice-replay-letter": one["id"].encode(),
                    "sluice-replay-count": b"1",
                    "sluice-replay-for": self.name.encode(),
                },
            )
        engine = self.engine()
        self.in_order(self.await_data("out", 40))
        until(
            lambda: engine.metric("sluice_in_flight") == 0 and engine.metric("sluice_lag") == 0, "the end", WAIT_S, 0.1
        )
        self.assertEqual((len(self.data("out")), self.data("seen")), (40, []))
        self.assertIn("40 replayed", self.command("replay", "--all").stdout)
        self.assertEqual(len(self.await_data("seen", 40)), 40)
        self.assertEqual(len(self.data("out")), 40)

    def test_rounds(self):
        """What fails again is a new dead letter, which names the one before; the fourth replay needs --force."""
        self.engine()
        self.put([self.event("one")])
        until(self.listed, "a dead letter", WAIT_S, 0.2)
        for turn in range(1, 4):
            last = self.listed()[0]
            self.command("replay", "--all")
            until(lambda: [one["rounds"] for one in self.listed()] == [turn], f"round {turn}", WAIT_S, 0.2)
            self.assertEqual(self.listed()[0]["before"], last["id"])
        said = self.command("replay", "--all", code=1)
        self.assertEqual(said.stdout, "0 replayed\n")
        self.assertIn("1 of them were replayed 3 times before", said.stderr)
        self.assertIn("1 replayed", self.command("replay", "--all", "--force").stdout)

    def test_edit_and_drop(self):
        engine = self.engine()
        self.put([self.event("one"), self.event("two"), '{"torn'])
        until(lambda: len(self.kafka.dump(self.topic("in-dlt"))) == 3, "three dead letters", WAIT_S, 0.1)
        torn, second, first = self.listed()
        self.assertEqual((torn["reason"], second["reason"]), ("bad_json", "bad_field"))
        self.assertIn(
            "handler 'pass.pass' does not take it",
            self.command("edit", first["id"], "--data", '{"k":"k","number":"no"}', code=1).stderr,
        )
        self.command("edit", first["id"], "--data", '{"k":"k2","number":1}', "--why", "a number")
        self.command("edit", torn["id"], "--data", '{"k":"k","number":3}')
        self.assertTrue(self.shown(first["id"])["edited"])
        self.assertEqual(json.loads(self.shown(first["id"])["editedRecord"]["value"])["data"], {"k": "k2", "number": 1})
        self.assertEqual(json.loads(self.shown(first["id"])["record"]["value"])["data"]["number"], "one")
        self.assertIn("1 dropped", self.command("drop", second["id"]).stdout)
        self.assertIn("is dropped already", self.command("edit", second["id"], "--data", "{}", code=1).stderr)
        self.assertIn("is dropped already", self.command("replay", second["id"], code=1).stderr)
        self.assertIn("2 replayed", self.command("replay", "--all").stdout)
        self.assertEqual(sorted(self.await_data("out", 2)), [("k", 3), ("k2", 1)])
        self.assertEqual(self.listed(), [])
        self.assertEqual({one["state"] for one in self.listed("--state", "all")}, {"replayed", "dropped"})
        self.assertTrue(self.shown(first["id"])["edited"], "what was replayed is known afterwards")
        # Over HTTP it is the same.
        self.assertEqual(
            engine.request("GET", "/dead-letters?state=all", headers=AUTHORITY)[1]["deadLetters"],
            self.listed("--state", "all"),
        )

    def test_two_at_a_time(self):
        """The later one ends the earlier one, and nothing is replayed twice."""
        self.fail_some(400, keys=4)
        self.mend()
        first = self.popen("--all", "--rate", 10)
        until(lambda: len(self.listed("--state", "replayed")) > 0, "a part of the replay", WAIT_S, 0.1)
        self.command("replay", "--all")
        out, err = first.communicate()
        self.assertEqual(first.returncode, 1, out + err)
        self.assertIn("another command or request began to replay", err)
        self.assertEqual(len(self.kafka.dump(self.topic("in"))), 800)
        self.mended()
        self.in_order(self.await_data("out", 400))

    def popen(self, *args):
        return begin_replay(self.config, self.vars, *args)

    def end(self):
        return sum(self.kafka.end_offsets(self.topic("in")).values())

    def test_killed(self):
        """kill -9 in the middle, at any moment, and started again: each is replayed once."""
        count = 1500
        self.fail_some(count, keys=20)
        self.mend()
        kill_replays(count, self.popen, self.end)
        self.command("replay", "--all")
        self.replayed_once(count)
        self.mended()
        found = self.await_data("out", count)
        self.assertEqual(len(found), count)
        self.in_order(found)

    def replayed_once(self, count):
        self.assertEqual(self.command("replay", "--all").stdout, "0 replayed\n")
        records = self.kafka.dump(self.topic("in"))
        replays = collections.Counter(dict(r.headers).get("sluice-replay-letter") for r in records)
        self.assertEqual(replays.pop(None), count)
        self.assertEqual((len(replays), set(replays.values())), (count, {1}))

    def test_killed_at_the_commit(self):
        """The process that commits ends just before it, and just after it: both, or neither."""
        self.fail_some(30, keys=3)
        self.mend()
        for place, left in (("before", 30), ("after", 0)):
            with self.subTest(place):
                engine = self.engine(SLUICE_FAILPOINTS=f"bus.writer.commit.{place}=crash@1")
                with self.assertRaises((OSError, http.client.HTTPException)):
                    engine.request("POST", "/dead-letters/replay", {"all": True}, headers=AUTHORITY)
                engine.kill()
                said = self.command("replay", "--all", "--dry-run").stdout
                self.assertEqual(said, f"{left} found\n")
        self.replayed_once(30)
        self.mended()
        self.in_order(self.await_data("out", 30))

    def test_not_migrated(self):
        self.fail_some(1)
        self.mend()
        self.kafka.delete_topic(self.name + ".dead-letters")
        self.assertEqual(len(self.listed()), 1)
        self.assertIn("`sluice migrate CONFIG` makes what is missing", self.command("replay", "--all", code=1).stderr)
        self.migrate()
        self.assertIn("1 replayed", self.command("replay", "--all").stdout)

    def test_a_topic_that_is_made_again(self):
        """Places come again, and what was noted of the old ones is not said of the new ones."""
        self.fail_some(1)
        self.command("drop", "--all")
        self.assertEqual(self.listed(), [])
        self.kafka.delete_topic(self.topic("in-dlt"))
        until(lambda: self.topic("in-dlt") not in self.kafka.topics(), "the topic's end", WAIT_S, 0.2)
        self.migrate()
        self.fail_some(1)
        self.assertEqual(len(self.listed()), 1)


# A tick's event is emitted once too often.
TICKS = """\
pipeline: letters
bus: {kind: memory}
engine: {group: "@", hop_limit: 1}
plugins: {chaos: {library: "${CHAOS_SO}"}, pass: {library: "${PASS_SO}"}}
schedules: {tick: {every: 1s, handler: chaos.tick, routes: {ok: @.in, other: drop}}}
topics:
  @.in: {key: "{number}", handler: pass.pass, routes: {passed: @.out}}
  @.out: {key: "{number}", handler: pass.pass, routes: {passed: drop}}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}", token: "${HTTP_TOKEN}"}
"""


class Memory(Case):
    def setUp(self):
        super().setUp()
        self.vars["CHAOS_SO"] = str(CHAOS)
        self.config.write_text(TICKS.replace("@", self.name))

    def call(self, method, path, body=None, status=200):
        answer = self.running.request(method, path, body, headers=AUTHORITY)
        self.assertEqual(answer[0], status, answer)
        return answer[1]

    def letters(self, query=""):
        return self.call("GET", "/dead-letters" + query)["deadLetters"]

    def test_over_http(self):
        """The engine lists and moves what is in it; the command says so."""
        self.running = self.engine()
        until(lambda: len(self.letters()) >= 3, "three dead letters", WAIT_S, 0.1)
        first, second, *_ = self.letters()[::-1]
        self.assertEqual((first["topic"], first["reason"], first["group"]), (f"{self.name}.in", "hops", self.name))
        path = f"/dead-letters/{first['id']}"
        self.call("POST", path + "/edit", {"data": {"number": 17}, "why": "another"})
        self.assertEqual(self.call("POST", path + "/replay", {"why": "mended"})["replayed"], 1)
        self.call("POST", path + "/replay", {}, 409)
        self.assertTrue(self.call("GET", path)["edited"])
        self.assertEqual([one["id"] for one in self.letters("?state=replayed")], [first["id"]])
        timeline = "/correlations/" + self.letters("?state=replayed")[0]["replayedAs"]
        until(lambda: self.call("GET", timeline)["events"], "the replay", WAIT_S, 0.1)
        self.assertEqual(self.call("POST", "/dead-letters/drop", {"ids": [second["id"]]})["dropped"], 1)
        self.assertNotIn(second["id"], [one["id"] for one in self.letters()])
        page = self.call("GET", "/dead-letters?state=all&limit=2")
        rest = self.letters("?state=all&below=" + page["next"])
        self.assertEqual(len(page["deadLetters"]), 2)
        both = [one["id"] for one in page["deadLetters"] + rest]
        self.assertEqual((both[-2:], len(set(both))), ([second["id"], first["id"]], len(both)))
        for action in (["list"], ["show", first["id"]], ["replay", "--all"], ["drop", "--all"]):
            said = self.command(*action, code=1).stderr
            self.assertIn("the memory bus lives inside the engine", said)
            self.assertIn("/dead-letters", said)


if __name__ == "__main__":
    unittest.main(verbosity=2)
