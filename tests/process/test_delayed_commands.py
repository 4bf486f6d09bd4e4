#!/usr/bin/env python3
"""`sluice delayed`, and the same over HTTP: everything that waits in the database is listed, and is released or
cancelled, with a running engine and without one.

Run alone: python3 tests/process/test_delayed_commands.py [-k NAME].
"""
import json
import time
import unittest

import _path
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase, reason
from lib.server_case import KafkaCase

YAML = """
pipeline: waits
bus: {kind: postgres, partitions: 2}
store: {url: "${DATABASE_URL}"}
engine: {group: NAMEown, lanes: 1}
plugins: {effects: {library: "${EFFECTS_SO}"}}
defaults: {retry: {max_retries: 1, backoff: {initial_interval: 10ms, jitter: 0}}}
topics:
  NAMEin: {key: "{k}", handler: effects.record, routes: {
    done: drop, again: {retry: NAMEclimb, initial_interval: 1h, max_retries: 2, exhausted: NAMElost}}}
  NAMEslow: {key: "{k}", handler: effects.record, routes: {done: drop, again: drop},
    retry: {max_retries: 3, backoff: {initial_interval: 1h, max_interval: 1h}}}
  NAMElost: {key: "{k}", final: true}
  NAMEpaid: {key: "{origin}", final: true}
  NAMEfailed: {key: "{origin}", final: true}
  NAMErefund: {key: "{origin}", handler: effects.record, routes: {done: drop, again: drop}}
chains:
  order: {correlate: origin, steps: [{name: pay, done: NAMEpaid, undo: NAMErefund}], abort_on: [NAMEfailed]}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}", token: "${HTTP_TOKEN}"}
"""
TABLE = (
    "create table effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
    " unity bigint)"
)
BREAK = "alter table effects add constraint shut check (origin <> 'c1') not valid"
MEND = "alter table effects drop constraint shut"
WAITING = "select (select count(*) from sluice.parked) + (select count(*) from sluice.held)"
ORDER = "select string_agg(origin, ' ' order by number) from effects"


class Waits(PipelineCase):
    yaml = YAML.replace("NAME", "")
    env = {"HTTP_TOKEN": "secret"}
    name = ""

    def setUp(self):
        super().setUp()
        self.rows(TABLE)

    def send(self, topic, *origins, **more):
        events = (self.event({"k": "k", "origin": origin, "seq": 1, **more}) for origin in origins)
        self.emit(f"{self.name}{topic}", *events)

    def command(self, *words, check=True):
        return sluice("delayed", words[0], self.config, *words[1:], env=self.vars, check=check)

    def list(self, *words):
        return json.loads(self.command("list", "--json", *words).stdout)["delayed"]

    def ids(self, state):
        return [entry["id"] for entry in self.list("--state", state)]

    def letters(self, topic, count):
        """Of what was cancelled."""
        found = self.await_topic(f"{self.name}{topic}-dlt", count, 40)
        self.assertEqual({reason(letter) for letter in found}, {"cancelled"})
        return [json.loads(letter["value"])["data"]["origin"] for letter in found]

    def all_wait(self):
        """A delayed event, a key with two behind its first event, a stuck undo; and an engine that made them."""
        engine = self.engine()
        self.rows(BREAK)
        self.send("in", "d1", climb=1)
        self.await_value(WAITING, 1, 40)
        self.send("slow", "h1", flaky=1)
        self.await_value(WAITING, 2, 40)
        self.send("slow", "h2", "h3")
        self.await_value(WAITING, 4, 40)
        self.send("paid", "c1")
        self.await_value("select count(*) from sluice.chain", 1, 40)
        self.send("failed", "c1")
        self.await_value("select count(*) from sluice.parked where state = 1", 1, 40)
        return engine


class Postgres(Waits):
    def test_list(self):
        engine = self.all_wait()
        entries = self.list()
        self.assertEqual(
            [(e["state"], e["topic"], e["behind"]) for e in entries],
            [("delayed", "climb", 0), ("key", "slow", 2), ("stuck", "refund", 0)],
        )
        self.assertEqual([e["key"] for e in entries], ["k", "k", "c1"])
        self.assertIn("shut", entries[2]["reason"])
        self.assertTrue(entries[0]["due"] > entries[0]["since"])
        self.assertTrue(all(e["event"] for e in entries))
        self.assertEqual([e["topic"] for e in self.list("--topic", "slow")], ["slow"])
        self.assertEqual(self.list("--older", "1h"), [])
        pages, after = [], []
        for _ in entries:
            page = json.loads(self.command("list", "--json", "--limit", "1", *after).stdout)
            pages += page["delayed"]
            after = ["--after", page["next"]] if page["next"] else []
        self.assertEqual((pages, after), (entries, []))
        self.assertEqual(engine.request("GET", "/delayed")[1], {"delayed": entries, "next": None})
        self.assertEqual(engine.request("GET", f"/delayed/{entries[1]['id']}")[1], entries[1])
        text = self.command("list").stdout
        for words in ("3 entries", "2 behind it", "waits for an operator", "due in 3"):
            self.assertIn(words, text)

    def test_release(self):
        """With a running engine, each within a second or so; a key keeps its order."""
        self.all_wait()
        began = time.monotonic()
        self.command("release", self.ids("delayed")[0])
        self.await_value(ORDER, "d1")
        self.command("release", self.ids("key")[0])
        self.await_value(ORDER, "d1 h1 h2 h3")
        self.rows(MEND)
        self.command("release", "--state", "stuck", "--why", "mended")
        self.await_value(ORDER, "d1 h1 h2 h3 c1")
        self.assertLess(time.monotonic() - began, 20)
        self.await_value("select state from sluice.chain", 2)
        self.drain()
        self.assertEqual(
            [row[0] for row in self.rows("select act from sluice.audit order by id")],
            ["delayed release", "delayed release", "chain resume"],
        )

    def test_release_without_an_engine(self):
        engine = self.all_wait()
        engine.stop()
        self.rows(MEND)
        self.assertIn("3 entries", self.command("release", "--older", "0s").stdout)
        self.engine()
        self.await_value("select count(*) from effects", 5)
        self.assertIn(
            "h1 h2 h3", self.value("select string_agg(origin, ' ' order by number) from effects where origin like 'h%'")
        )
        self.drain()

    def test_cancel(self):
        """Each is a dead letter with who and why; what is behind the first of a key goes on; nothing is handled."""
        engine = self.all_wait()
        for state in ("delayed", "key", "stuck"):
            self.command("cancel", self.ids(state)[0], "--why", "no such seat")
        self.assertEqual(self.letters("climb", 1), ["d1"])
        self.assertEqual(self.letters("slow", 1), ["h1"])
        self.assertEqual(self.letters("refund", 1), ["c1"])
        self.await_value(ORDER, "h2 h3")
        self.drain()
        said = self.topic("refund-dlt")[0]["headers"]["kafka_dlt-exception-message"]
        self.assertRegex(said, r"^cancelled by \S+@\S+: no such seat$")
        self.assertEqual(self.value("select state from sluice.chain"), "3")
        self.assertEqual(engine.metric("sluice_dead_letters_total"), 3)
        self.assertEqual(self.value("select count(*) from sluice.dead_letter where reason = 'cancelled'"), "3")

    def test_cancel_without_an_engine(self):
        engine = self.all_wait()
        engine.stop()
        self.command("cancel", *(entry["id"] for entry in self.list()))
        self.assertEqual([bool(entry["cancelled"]) for entry in self.list()], [True] * 3)
        self.engine()
        self.letters("climb", 1)
        self.letters("slow", 1)
        self.letters("refund", 1)
        self.await_value(ORDER, "h2 h3")
        self.drain()

    def test_show(self):
        engine = self.all_wait()
        for state in ("delayed", "key", "stuck"):
            (listed,) = self.list("--state", state)
            done = self.command("show", listed["id"])
            for fact in (rf"^id +{listed['id']}$", rf"^state +{state}$", rf"^topic +{listed['topic']}$"):
                self.assertRegex(done.stdout, f"(?m){fact}")
            self.assertRegex(done.stdout, r"(?m)^since +20\d\d-\d\d-\d\dT\S+Z$")
            self.assertRegex(done.stdout, rf"(?m)^tried +{listed['tries']} times?$")
            shown = json.loads(self.command("show", listed["id"], "--json").stdout)
            self.assertEqual(shown, engine.request("GET", f"/delayed/{listed['id']}")[1])
        self.assertRegex(self.command("show", *self.ids("key")).stdout, r"(?m)^behind it +2 of its key$")
        self.assertRegex(self.command("show", *self.ids("delayed")).stdout, r"(?m)^due +20\d\d-")
        self.assertRegex(self.command("show", *self.ids("stuck")).stdout, r"(?m)^chain +order$")
        done = self.command("show", "nobody", *self.ids("key"), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("nothing waits under the id 'nobody'", done.stderr)
        self.assertRegex(done.stdout, r"(?m)^state +key$")

    def test_refused(self):
        engine = self.all_wait()
        unknown = self.command("release", "00000000-0000-0000-0000-000000000000", check=False)
        self.assertEqual(unknown.returncode, 1)
        self.assertIn("nothing waits under the id '00000000-0000-0000-0000-000000000000'", unknown.stderr)
        engine.stop()  # it would take what is of a topic that it has
        self.rows("update sluice.parked set state = 2 where state = 0")
        unknown = self.command("cancel", self.ids("unknown")[0], check=False)
        self.assertEqual(unknown.returncode, 1)
        self.assertIn("say so in the file, retired: {climb: dead_letter}", unknown.stderr)
        engine = self.engine()
        for words, sentence in {
            (): "expected list, show, release or cancel, got nothing",
            ("relase", "x"): "got 'relase'; did you mean 'release'?",
            ("show", "x"): "expected a CONFIG and an ID, got less",
            ("show", "x", "y", "--topic", "in"): "show takes IDs",
            ("cancel", "x"): "expected a CONFIG and an ID, or --topic, --state or --older, got less",
            ("cancel", "x", "y", "--topic", "in"): "expected an ID, or --topic, --state or --older; got both",
        }.items():
            done = sluice("delayed", *words, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""), words)
            self.assertIn(sentence, done.stderr)
        for path, status in (("/delayed?state=x", 400), ("/delayed/x", 404)):
            self.assertEqual(engine.request("GET", path)[0], status)
        key = self.ids("key")[0]
        self.assertEqual(engine.request("POST", f"/delayed/{key}/cancel")[0], 401)
        token = {"Authorization": "Bearer secret"}
        self.assertEqual(engine.request("POST", f"/delayed/{key}/cancel", {"why": "x"}, token)[0], 200)
        self.assertEqual(self.letters("slow", 1), ["h1"])
        self.await_value("select count(*) from sluice.held_key", 0)  # what was behind it is handled, too
        self.assertEqual(engine.request("POST", f"/delayed/{key}/release", None, token)[0], 404)

    def test_no_store(self):
        self.use(
            "pipeline: small\nbus: {kind: memory}\nplugins: {template: {library: template.so}}\n"
            "topics: {greeting: {handler: template.greet, routes: {done: drop}}}\n",
            migrate=False,
        )
        for command in ("delayed", "chain"):
            done = sluice(command, "list", self.config, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("pipeline 'small' has no store", done.stderr)


class Kafka(KafkaCase, Waits):
    yaml = None

    def test_all(self):
        self.vars.update(self.kafka.env())
        self.name = self.new_name("waits")
        bus = 'kind: kafka, partitions: 2, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}'
        self.use(YAML.replace("kind: postgres, partitions: 2", bus).replace("NAME", self.name))
        self.all_wait()
        self.command("cancel", "--state", "delayed")
        self.command("cancel", self.ids("key")[0])
        self.rows(MEND)
        self.command("release", "--state", "stuck")
        self.assertEqual(self.letters("climb", 1), ["d1"])
        self.assertEqual(self.letters("slow", 1), ["h1"])
        self.await_value("select count(*) from effects", 3, 40)
        self.await_value(WAITING, 0, 40)


if __name__ == "__main__":
    unittest.main(verbosity=2)
