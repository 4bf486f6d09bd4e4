#!/usr/bin/env python3
"""`sluice chain`, and the same over HTTP: every act on a chain in every state, with a running engine and without one.

Run alone: python3 tests/process/test_chain_commands.py [-k NAME].
"""
import json
import unittest

import _path
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase, reason
from lib.server_case import KafkaCase

YAML = """
pipeline: moved
bus: {kind: postgres, partitions: 2}
store: {url: "${DATABASE_URL}"}
engine: {group: NAMEown, lanes: 1}
plugins: {effects: {library: "${EFFECTS_SO}"}}
defaults: {retry: {max_retries: 1, backoff: {initial_interval: 10ms, jitter: 0}}}
topics:
  NAMEpaid: {key: "{origin}", final: true}
  NAMEshipped: {key: "{origin}", final: true}
  NAMEfailed: {key: "{origin}", final: true}
  NAMErefund: {key: "{origin}", handler: effects.record, routes: {done: drop, again: drop}}
chains:
  order: {correlate: origin, steps: [{name: pay, done: NAMEpaid, undo: NAMErefund},
          {name: ship, done: NAMEshipped, undo: none}], abort_on: [NAMEfailed], abort_on_dead_letter: no}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}", token: "${HTTP_TOKEN}"}
""".replace(
    ", abort_on_dead_letter: no", ""
)
TABLE = (
    "create table effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
    " unity bigint)"
)
BREAK = "alter table effects add constraint shut check (seq < 0) not valid"
MEND = "alter table effects drop constraint shut"
AUDIT = "select act || ' ' || object || ' ' || coalesce(reason, '-') from sluice.audit order by id"


class Chains(PipelineCase):
    yaml = YAML.replace("NAME", "")
    env = {"HTTP_TOKEN": "secret"}
    name = ""

    def setUp(self):
        super().setUp()
        self.rows(TABLE)

    def send(self, topic, correlation, **more):
        self.emit(f"{self.name}{topic}", self.event({"k": "k", "origin": correlation, "seq": 1, **more}))

    def command(self, *words, check=True):
        return sluice("chain", words[0], self.config, *words[1:], env=self.vars, check=check)

    def state(self, correlation):
        return json.loads(self.command("show", correlation, "--json").stdout)["state"]

    def await_state(self, correlation, state, limit_s=40):
        until(lambda: self.state(correlation) == state, f"chain of {correlation} to be {state}", limit_s, 0.1)

    def begin(self, *correlations):
        self.emit(f"{self.name}paid", *(self.event({"k": "k", "origin": c, "seq": 1}) for c in correlations))
        self.await_value("select count(*) from sluice.chain", len(correlations), 60)

    def stick(self, *correlations):
        self.rows(BREAK)
        for correlation in correlations:
            self.send("failed", correlation)
        self.await_value("select count(*) from sluice.chain where state = 3", len(correlations), 40)

    def refused(self, words, sentence, code=1):
        done = self.command(*words, check=False)
        self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
        self.assertIn(sentence, done.stderr)

    def post(self, engine, path, body=None, token="secret"):
        return engine.request("POST", path, body, {"Authorization": f"Bearer {token}"} if token else None)


class Postgres(Chains):
    def test_an_undo_that_waits(self):
        """The engine has sent it; for people its chain is not over until it was handled, wherever they look."""
        sluice("pause", self.config, "refund", env=self.vars)
        engine = self.engine()
        self.begin("c1", "c2")
        self.send("failed", "c1")
        self.await_value("select state from sluice.chain where correlation_text = 'c1'", 2)
        token = {"Authorization": "Bearer secret"}
        for state, found in ((None, ["c1"]), ("aborted", ["c1"]), ("undone", [])):
            with self.subTest(state=state):
                words = ("--state", state) if state else ()
                listed = json.loads(self.command("list", *words, "--json").stdout)["chains"]
                self.assertEqual([one["correlation"] for one in listed], found)
                path = f"/chains?state={state}" if state else "/chains"
                listed = engine.request("GET", path, headers=token)[1]["chains"]
                self.assertEqual([one["correlation"] for one in listed], found)
        self.assertEqual(self.state("c1"), "aborted")
        self.assertIn("Its undos are sent, and not all of them known to be handled", self.command("show", "c1").stdout)
        self.assertIn("chain order: aborted", sluice("explain", self.config, "c1", env=self.vars).stdout)
        self.rows("update sluice.chain set began = began - 7200 where correlation_text = 'c1'")
        until(lambda: engine.metric("sluice_chains_undoing") == 1, "the metric", 40, 0.1)
        until(lambda: engine.metric("sluice_chains_oldest_seconds") >= 7200, "its age", 40, 0.1)
        sluice("resume", self.config, "refund", env=self.vars)
        self.await_state("c1", "undone")
        until(lambda: engine.metric("sluice_chains_undoing") == 0, "no chain that is being undone", 40, 0.1)
        self.assertEqual(engine.metric("sluice_chains_oldest_seconds"), 0)
        self.assertEqual(json.loads(self.command("list", "--json").stdout)["chains"], [])

    def test_every_act_in_every_state(self):
        """What an act may not be done to is refused with a sentence, and nothing has changed."""
        engine = self.engine()
        self.begin("running", "aborted", "stuck", "undone", "closed")
        self.send("failed", "undone")
        self.await_state("undone", "undone")
        self.command("close", "closed", "--why", "sold by hand")
        self.stick("stuck")
        self.rows("update sluice.chain set state = 1 where correlation_text = 'aborted'")
        engine.stop()
        table = {
            ("resume", "running"): "is not stuck: it is running",
            ("resume", "aborted"): "is not stuck: it is aborted",
            ("resume", "undone"): "is not stuck: it is undone",
            ("resume", "closed"): "is not stuck: it is closed",
            ("abort", "aborted"): "does not run: it is aborted",
            ("abort", "stuck"): "does not run: it is stuck",
            ("abort", "undone"): "does not run: it is undone",
            ("abort", "closed"): "does not run: it is closed",
            ("close", "undone"): "is over already: it is undone",
            ("close", "closed"): "is over already: it is closed",
        }
        before = self.rows("select * from sluice.chain order by correlation"), self.rows(AUDIT)
        for words, sentence in table.items():
            with self.subTest(words):
                self.refused(words, f"chain 'order' of '{words[1]}' {sentence}")
        for words in (("resume",), ("abort",), ("close",), ("show",)):
            self.refused((*words, "nobody"), "no chain has begun under the correlation 'nobody'")
            self.refused((*words, "stuck", "--chain", "odrer"), "has no chain 'odrer'; did you mean 'order'?")
        self.assertEqual((self.rows("select * from sluice.chain order by correlation"), self.rows(AUDIT)), before)
        self.assertIn("sold by hand", self.command("show", "closed").stdout)
        self.rows("delete from sluice.parked")
        self.refused(("resume", "stuck"), "the undo that failed does not wait any more")
        self.command("close", "stuck")
        self.assertEqual(self.state("stuck"), "closed")

    def test_lines(self):
        for words, sentence in {
            (): "expected list, show, resume, abort or close, got nothing",
            ("lst", "x"): "got 'lst'; did you mean 'list'?",
            ("list",): "expected a CONFIG, got nothing",
            ("show", "x"): "expected a CONFIG and a CORRELATION, got less",
            ("resume", "x"): "expected a CONFIG and a CORRELATION, or --state or --older, got less",
            ("close", "x", "a", "--state", "stuck"): "expected a CORRELATION, or --state or --older; got both",
            ("close", "x", ""): "the CORRELATION is empty",
            ("list", "x", "--stte", "stuck"): "unknown option '--stte'; did you mean '--state'?",
        }.items():
            done = sluice("chain", *words, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""), words)
            self.assertIn(sentence, done.stderr)
        self.refused(
            ("list", "--state", "stuk"), "state: expected running, aborted, stuck, undone or closed, got 'stuk'", 2
        )
        self.refused(("list", "--older", "5"), "older: expected a duration", 2)

    def test_resume_while_none_runs(self):
        engine = self.engine()
        self.begin("c1", "c2", "c3")
        self.stick("c1", "c2")
        until(lambda: engine.metric("sluice_chains_stuck") == 2, "the metric")
        engine.stop()
        text = self.command("list").stdout
        self.assertIn("2 chains", text)
        self.assertIn("pay undoing", text)
        self.rows(MEND)
        self.command("resume", "c1", "--why", "shop is open")
        self.assertIn("1 chain\n", self.command("resume", "--state", "stuck").stdout)
        self.assertEqual(self.state("c1"), "aborted")
        self.engine()
        self.await_value("select count(*) from effects", 2)
        self.await_state("c1", "undone")
        self.await_state("c2", "undone")
        self.assertEqual(self.state("c3"), "running")
        self.assertEqual(
            [row[0] for row in self.rows(AUDIT)], ["chain resume order c1 shop is open", "chain resume order c2 -"]
        )
        self.assertRegex(self.value("select actor from sluice.audit limit 1"), r"^\S+@\S+$")
        self.drain()

    def test_resumed_and_stuck_again(self):
        """The undo has all its tries again."""
        self.engine()
        self.begin("c1")
        self.stick("c1")
        parked = "select tries || ' ' || state from sluice.parked"
        tries = self.value(parked)
        self.command("resume", "c1")
        self.await_value("select count(*) from sluice.chain where state = 3", 1)
        self.await_value(parked, tries)

    def test_http(self):
        engine = self.engine()
        self.begin("c1", "c 2", "c3")
        self.stick("c1")
        for token in (None, "wrong"):
            status, body = self.post(engine, "/chains/order/c1/resume", token=token)
            self.assertEqual((status, body["error"]), (401, "unauthorized"))
        self.assertEqual(engine.request("GET", "/chains/order/c1")[1]["state"], "stuck")
        status, body = self.post(engine, "/chains/order/c3/resume")
        self.assertEqual((status, body["error"]), (409, "conflict"))
        self.assertIn("is not stuck: it is running", body["message"])
        self.assertEqual(self.post(engine, "/chains/order/none/close")[0], 404)
        self.assertEqual(self.post(engine, "/chains/order/c3/close", [1])[0], 400)
        self.assertEqual(self.post(engine, "/chains/order/c3/close", {"why": 1})[0], 400)
        self.rows(MEND)
        status, body = self.post(engine, "/chains/order/c1/resume", {"why": "mended"})
        self.assertEqual((status, body), (200, {"chain": "order", "correlation": "c1", "did": "resumed", "undos": 1}))
        self.await_state("c1", "undone")
        self.assertEqual(
            self.post(engine, "/chains/order/c%202/abort", {"why": "changed his mind"})[1]["did"], "abort asked"
        )
        self.await_state("c 2", "undone")
        self.assertIn("changed his mind", engine.request("GET", "/chains/order/c%202")[1]["reason"])
        self.assertEqual(self.post(engine, "/chains/order/c3/close")[1]["did"], "closed")
        self.assertEqual(self.rows("select distinct actor from sluice.audit"), [["http 127.0.0.1"]])
        self.assertEqual(
            [row[0] for row in self.rows(AUDIT)],
            ["chain resume order c1 mended", "chain abort order c 2 changed his mind", "chain close order c3 -"],
        )

    def test_abort_of_a_complete_chain(self):
        """And of one whose definition has changed since: it is undone by its own."""
        engine = self.engine()
        self.begin("c1")
        self.send("shipped", "c1")
        engine.stop()
        self.use(
            self.yaml.replace("undo: none}]", "undo: none}, {name: extra, done: paid2, undo: none}]").replace(
                "  shipped:", '  paid2: {key: "{origin}", final: true}\n  shipped:'
            ),
            migrate=False,
        )
        self.command("abort", "c1")
        self.assertIn("abort asked", self.command("show", "c1").stdout)
        self.engine()
        self.await_state("c1", "undone")
        self.await_value("select count(*) from effects", 1)
        refund = self.topic("refund")
        self.assertEqual(len(refund), 1)
        self.assertRegex(json.loads(refund[0]["value"])["data"]["reason"], r"^\S+@\S+$")

    def test_closed_and_begun_again(self):
        """A late abort of a closed chain undoes nothing; a step that is done again begins the chain again."""
        self.engine()
        self.begin("c1")
        self.command("close", "c1")
        self.send("failed", "c1")
        self.drain()
        self.assertEqual((self.state("c1"), self.value("select count(*) from effects")), ("closed", "0"))
        self.send("paid", "c1", seq=2)
        self.await_state("c1", "running")
        self.command("abort", "c1")
        self.await_state("c1", "undone")
        self.assertEqual(self.rows("select seq from effects"), [["2"]])


class AnyBus(KafkaCase, Chains):
    """On Kafka: what becomes of a chain is published there."""

    yaml = None

    def test_all(self):
        self.vars.update(self.kafka.env())
        self.name = self.new_name("moved")
        bus = 'kind: kafka, partitions: 2, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}'
        self.use(YAML.replace("kind: postgres, partitions: 2", bus).replace("NAME", self.name))
        engine = self.engine()
        self.begin("c1", "c2", "c3")
        self.stick("c1", "c2")
        self.command("close", "c1", "--why", "paid by hand")
        letter = self.await_topic(f"{self.name}refund-dlt", 1, 40)[0]
        self.assertEqual(reason(letter), "cancelled")
        self.assertIn("paid by hand", letter["headers"]["kafka_dlt-exception-message"])
        self.rows(MEND)
        self.command("resume", "c2")
        self.command("abort", "c3")
        self.await_state("c2", "undone")
        self.await_state("c3", "undone")
        self.await_value("select count(*) from effects", 2)
        self.assertEqual(self.state("c1"), "closed")
        self.assertEqual(self.value("select count(*) from sluice.parked"), "0")
        self.assertEqual(engine.metric("sluice_dead_letters_total"), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
