#!/usr/bin/env python3
"""`sluice explain`: text and JSON say the same of every event, whatever became of it; and what each command says of a
database that `sluice migrate` has not seen.

Run alone: python3 tests/process/test_explain.py [-k NAME].
"""
import json
import re
import shlex
import time
import unittest

import _path
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase

YAML = """
pipeline: explain
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 2}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
defaults: {retry: {max_retries: 2, backoff: {initial_interval: 10ms, max_interval: 1h, multiplier: 2, jitter: 0}}}
topics:
  in: {key: "{k}", handler: effects.record, routes: {
    done: out, again: {retry: climb, initial_interval: 1h, max_retries: 2, exhausted: out}}}
  slow: {key: "{k}", handler: effects.record, retry: {max_retries: 3, backoff: {initial_interval: 1h}}, routes: {
    done: out, again: drop}}
  out: {key: "{k}", final: true}
  stop: {key: "{k}", final: true}
chains:
  steps: {correlate: origin, steps: [{name: one, done: out, undo: none}], abort_on: [stop]}
http:
  listen: "${HTTP_LISTEN:-127.0.0.1:0}"
  requests: {"POST /ask": {handler: chaos.ask, routes: {ok: drop, other: drop}}}
"""
TABLE = (
    "create table effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
    " unity bigint)"
)
EVENT = re.compile(r"  \d\d:\d\d:\d\d\.\d{3} +[+-]\d+ ms  (\S+)(.*)")


def timeless(text):
    return re.sub(r"(at \S+, in \d+\.\d s|now)", "THEN", text)


def facts_of_text(text):
    """What the text says: of the chain, and of each event."""
    lines = text.splitlines()
    chain = re.match(r"\S+(?:   chain (\S+): (.*))?", lines[0])
    state, _, reason = (chain.group(2) or "").partition(", because: ")
    events = []
    for line in lines[1:]:
        event = EVENT.fullmatch(line)
        if event:
            topic, rest = event.groups()
            reason_of = re.search(r"  \((?!on the topic)(.*?)\)(?=  \(|$)", rest)
            copies = re.search(r"\(on the topic (\d+) times\)", rest)
            events.append(
                {
                    "topic": topic,
                    "handled": re.findall(r"(\S+ → (?:dead letter|[a-z_]+))", rest),
                    "reason": reason_of and reason_of.group(1),
                    "copies": int(copies.group(1)) if copies else 1,
                    "waits": [],
                    "tries": None,
                    "letters": [],
                    "replay": None,
                    "why": None,
                }
            )
        elif letter := re.fullmatch(r" +dead letter (\d+), (open|replayed|dropped)", line):
            events[-1]["letters"].append((int(letter.group(1)), letter.group(2)))
        elif replay := re.fullmatch(r" +replay (\d+) of dead letter (\d+)", line):
            events[-1]["replay"] = (int(replay.group(1)), int(replay.group(2)))
        elif tried := re.fullmatch(r" +tried (\d+) times?", line):
            events[-1]["tries"] = int(tried.group(1))
        elif because := re.fullmatch(r" +because: (.+)", line):
            events[-1]["why"] = because.group(1)
        elif waits := re.fullmatch(r" +waits: (.+?)(?:  → (.+))?", line):
            events[-1]["waits"].append((timeless(waits.group(1)), waits.group(2)))
        elif not re.fullmatch(r"  \d{4}-\d\d-\d\d, UTC", line):
            raise AssertionError(f"what is this line? {line!r}")
    return {"chain": chain.group(1), "state": state or None, "because": reason or None, "events": events}


def facts_of_json(text):
    story = json.loads(text)
    return {
        "chain": story.get("chain"),
        "state": story.get("chainState"),
        "because": story.get("chainReason"),
        "events": [
            {
                "topic": event["topic"],
                "handled": [f"{one['handler']} → {one['outcome']}" for one in event["handled"]],
                "reason": event.get("reason"),
                "copies": event["copies"],
                "waits": [(timeless(wait["text"]), wait["command"]) for wait in event["waits"]],
                "tries": event.get("tries"),
                "letters": [(one["id"], one["state"]) for one in event["deadLetters"]],
                "replay": (event["replays"], event["replayedLetter"]) if "replayOf" in event else None,
                "why": event.get("why"),
            }
            for event in story["events"]
        ],
    }


class Explain(PipelineCase):
    yaml = YAML

    def explain(self, correlation):
        """What both views say; they say the same."""
        text = sluice("explain", self.config, correlation, env=self.vars).stdout
        text = text.replace(f" {self.config}", " CONFIG")  # JSON does not name the file
        facts = facts_of_json(sluice("explain", self.config, correlation, "--json", env=self.vars).stdout)
        self.assertEqual(facts_of_text(text), facts, text)
        return facts

    def send(self, topic, origin, event_id=None, **data):
        self.emit(topic, self.event({"k": origin, "origin": origin, "seq": 1, **data}, event_id))

    def test_both_views(self):
        self.rows(TABLE)
        self.send("in", "good")
        self.send("in", "dead", flaky=9)
        self.send("in", "refused", refuse=1)
        self.send("slow", "waits", flaky=9)
        self.send("in", "climbs", climb=1)
        self.send("in", "twice", event_id="twice")
        self.send("in", "twice", event_id="twice")
        self.send("in", "aborted")
        self.send("stop", "aborted", reason="somebody said so")
        self.send("in", "stuck", climb=1)
        self.engine()
        self.await_value("select count(*) from sluice.parked", 2)
        self.await_value("select count(*) from sluice.attempt", 1)
        self.await_topic("in-dlt", 2)
        self.await_value("select count(*) from effects", 3)
        self.await_value("select count(*) from sluice.chain where state > 0", 1)
        self.await_topic("out", 3)
        self.end_all()
        until(
            lambda: "no process of group own runs" in sluice("explain", self.config, "climbs", env=self.vars).stdout,
            "the end of the engine's lease",
            30,
        )  # from here on nothing changes but by this test

        def only(origin, topic):
            (event,) = [event for event in self.explain(origin)["events"] if event["topic"] == topic]
            return event

        self.assertEqual(only("good", "in")["handled"], ["effects.record → done"])
        self.assertEqual(only("good", "in")["tries"], None)
        for topic in ("in", "in-dlt"):
            self.assertEqual(only("dead", topic)["tries"], 3, topic)
        self.assertIn("dead letter", only("dead", "in")["handled"][0])
        self.assertEqual(only("refused", "in")["tries"], 1)
        ((letter, state),) = only("refused", "in")["letters"]
        self.assertEqual((state, only("refused", "in-dlt")["letters"]), ("open", []))
        sluice("dead-letter", "replay", self.config, letter, env=self.vars)
        first, replay = [event for event in self.explain("refused")["events"] if event["topic"] == "in"]
        self.assertEqual((first["letters"], replay["replay"]), ([(letter, "replayed")], (1, letter)))
        self.assertEqual(only("waits", "slow")["tries"], 1)
        self.assertEqual(only("waits", "slow")["why"], "flaky on demand")
        self.assertEqual(only("climbs", "climb")["waits"][0][0], "delayed: due THEN")
        self.assertEqual(only("twice", "in")["copies"], 2)
        aborted = self.explain("aborted")
        self.assertEqual((aborted["chain"], aborted["because"]), ("steps", "somebody said so"))

        # an undo that is stuck, and the tries that were counted before
        event_id = self.value("select event_id from sluice.parked order by due desc, event_id limit 1")
        self.rows(f"update sluice.parked set state = 1 where event_id = '{event_id}'")
        self.rows(
            "insert into sluice.attempt (handler, event_id, attempts) select number, "
            f"'{event_id}', 4 from sluice.name where name = 'effects.record' and kind = 'h'"
        )
        (stuck,) = [
            event
            for origin in ("climbs", "stuck")
            for event in self.explain(origin)["events"]
            if any("waits for an operator" in text for text, _ in event["waits"])
        ]
        self.assertEqual((stuck["topic"], stuck["tries"]), ("climb", 4))

    def test_hostile_bytes_do_not_reach_the_terminal(self):
        """Keys, reasons and correlations are anybody's; the command to copy is one command, whatever a client wrote."""
        evil = "\x1b]0;owned\x07\x1b[2J\r\u202etext\u009b31m"
        correlation = "x'; touch /tmp/owned; '"
        self.rows(TABLE)
        self.engine()
        self.emit("in", self.event({"k": evil, "seq": 1, "origin": "o", "refuse": 1}), key=evil)
        self.emit("stop", self.event({"k": "k", "origin": correlation, "reason": evil}))
        self.await_value("select count(*) from sluice.chain where state > 0", 1)
        self.await_value("select count(*) from sluice.dead_letter", 1)
        self.rows("update sluice.chain set state = 3")
        shown = {
            args: sluice(*args[:1], self.config, *args[1:], env=self.vars).stdout
            for args in (("explain", correlation), ("explain", correlation, "--why"), ("tap", "in", "--no-follow"))
        }
        for args, out in shown.items():
            for bad in ("\x1b", "\x07", "\r", "\u202e", "\u009b"):
                self.assertNotIn(bad, out, args)
        self.assertIn("because: \\x1b]0;owned", shown["explain", correlation])
        self.assertIn("\\x1b]0;owned", shown["tap", "in", "--no-follow"])
        command = shown["explain", correlation, "--why"].partition("→ ")[2].strip()
        self.assertEqual(shlex.split(command), ["sluice", "chain", "resume", str(self.config), correlation])

    def test_the_day_and_the_file(self):
        self.send("in", "one")
        self.send("in", "one")
        head, day, *lines = sluice("explain", self.config, "one", env=self.vars).stdout.splitlines()
        today = json.loads(sluice("explain", self.config, "one", "--json", env=self.vars).stdout)["events"][0][
            "timestamp"
        ]
        self.assertEqual((head, day), ("one", time.strftime("  %Y-%m-%d, UTC", time.gmtime(today / 1000))))
        self.assertEqual([line for line in lines if line.endswith(", UTC")], [])
        self.assertRegex("\n".join(lines), rf"  → sluice run {self.config}\n")

    def test_over_http(self):
        """GET /correlations/… is what `explain --json` says; a correlation that is in every event costs no memory."""
        engine = self.engine()
        self.rows(TABLE)
        self.emit("in", *(self.event({"k": f"k{n}", "mode": "ok", "origin": "o/1 %", "seq": n}) for n in range(1, 4)))
        self.emit("in", self.event({"k": "k0", "refuse": 1, "origin": "o/1 %", "reason": "é" * 700, "seq": 9}))
        self.await_value("select count(*) from sluice.dead_letter", 1)
        self.await_value("select count(*) from effects", 3)
        self.drain()
        status, found = engine.request("GET", "/correlations/o%2F1%20%25")
        self.assertEqual(status, 200, found)
        said = json.loads(sluice("explain", self.config, "o/1 %", "--json", env=self.vars).stdout)
        self.assertEqual(found, said)
        reasons = [event["reason"] for event in found["events"] if "reason" in event]
        self.assertIn("é" * 500, reasons)  # cut, and still UTF-8
        status, none = engine.request("GET", "/correlations/e")
        self.assertEqual((status, none["events"]), (200, []))
        self.assertEqual(engine.request("GET", "/correlations")[0], 404)
        self.assertEqual(engine.request("POST", "/correlations/e", {})[0], 403)

    def test_refused_requests(self):
        """A request that is answered 400 is no dead letter in the metrics either."""
        engine = self.engine()
        self.assertEqual(engine.request("POST", "/ask", {"mode": 5})[0], 400)
        self.assertEqual(engine.request("POST", "/ask", {"mode": "ok"})[0], 200)
        label = 'sluice_events_total{handler="POST /ask",outcome='
        self.assertEqual(engine.metric(label + '"refused"}'), 1)
        self.assertEqual(engine.metric(label + '"dead"}'), 0)


class NotMigrated(PipelineCase):
    """Each command that needs the tables says what to run, in its own words and not the server's SQL."""

    def said(self, yaml, *line):
        self.use(yaml, migrate=False)
        done = sluice(*(self.config if word == "CONFIG" else word for word in line), env=self.vars, check=False)
        self.assertNotEqual(done.returncode, 0, line)
        for word in ("select ", "insert ", "refused"):
            self.assertNotIn(word, done.stderr, line)
        self.assertIn("`sluice migrate CONFIG`", done.stderr, line)
        return done.stderr

    def test_commands(self):
        lines = {
            "run": ["CONFIG", "--log-format", "text"],
            "emit": ["CONFIG", "in", "--data", '{"k":"a"}'],
            "tap": ["CONFIG", "in", "--no-follow"],
            "explain": ["CONFIG", "x"],
            "validate": ["CONFIG", "--connect"],
        }
        for command, rest in lines.items():
            with self.subTest(command):
                self.said(YAML, command, *rest)
        memory = YAML.replace("bus: {kind: postgres}", "bus: {kind: memory}")
        for command in ("run", "validate"):
            with self.subTest(command, bus="memory"):
                self.said(memory, command, *lines[command])

    def test_whatever_else_is_wrong(self):
        """validate --connect looks at the database also when the file has problems of its own."""
        said = self.said(
            YAML.replace("lanes: 2", 'lanes: 0, group: "${NOT_SET}"').replace("group: own, ", ""),
            "validate",
            "CONFIG",
            "--connect",
        )
        for problem in ("engine.lanes: expected", "${NOT_SET} is not set", "the database lacks the migration"):
            self.assertIn(problem, said)
        del self.vars["DATABASE_URL"]
        done = sluice("validate", self.config, "--connect", env=self.vars, check=False)
        self.assertIn("${DATABASE_URL} is not set", done.stderr)
        self.assertIn(": 3 errors", done.stderr)

    def test_part_of_the_tables(self):
        """Tables of an older version, or a schema that somebody made by hand."""
        self.rows("create schema sluice")
        self.assertIn("the database lacks the engine's tables", self.said(YAML, "tap", "CONFIG", "in", "--no-follow"))


if __name__ == "__main__":
    unittest.main()
