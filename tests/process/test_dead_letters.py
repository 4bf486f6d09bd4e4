#!/usr/bin/env python3
"""Dead letters as an operator meets them: rows that are listed, shown, replayed and dropped.

Run alone: python3 tests/process/test_dead_letters.py [-k NAME].
"""
import json
import os
import unittest

import _path
from dead_letter_case import YAML, DeadLetterCase
from lib.engine import sluice, until


class Rows(DeadLetterCase):
    """What a dead letter leaves in the store, and how it is shown."""

    def setUp(self):
        super().setUp()
        self.running = self.engine()

    def test_a_row_has_all_of_it(self):
        event = self.event({"k": "p-1", "seq": 1})
        self.close()
        self.emit("in", event)
        self.await_value("select count(*) from sluice.dead_letter", 1)
        (letter,) = self.listed()
        record = self.await_topic("in-dlt", 1)[0]
        wanted = {
            "id": 1,
            "state": "open",
            "group": "letters",
            "topic": "in",
            "handler": "gate.pass",
            "reason": "rejected",
            "message": "the gate is closed",
            "eventId": event["eventId"],
            "attempts": 1,
            "rounds": 0,
            "edited": False,
            "partition": record["partition"],
        }
        self.assertEqual({name: letter.get(name) for name in wanted}, wanted)
        whole = self.shown(1)
        self.assertEqual(json.loads(whole["record"]["value"]), event)
        self.assertEqual(whole["record"]["key"], "p-1")
        self.assertEqual(whole["record"]["headers"], [])
        text = self.letters("show", "1").stdout
        for word in ("the gate is closed", "rejected", event["eventId"], "gate.pass", "p-1"):
            self.assertIn(word, text)
        until(lambda: self.running.metric('sluice_dead_letters_open{topic="in"}') == 1, "the gauge")

    def test_poison_keeps_its_bytes(self):
        self.emit("other", b'{"eventId": "x', b"\xff\xfe\x00\x01 no text", key="k")
        self.await_value("select count(*) from sluice.dead_letter", 2)
        first, second = sorted(self.listed(), key=lambda one: one["id"])
        self.assertEqual([first["reason"], second["reason"]], ["bad_json", "bad_json"])
        self.assertEqual(self.shown(first["id"])["record"]["value"], '{"eventId": "x')
        self.assertEqual(self.shown(second["id"])["record"]["valueBase64"], "//4AASBubyB0ZXh0")
        done = self.letters("replay", first["id"], code=1)
        self.assertIn("cannot be read as an event", done.stderr)
        self.assertIn("dead-letter edit", done.stderr)
        self.assertEqual(self.value("select count(*) from sluice.dead_letter where state = 0"), "2")

    def test_filters_and_pages(self):
        self.fail_some(30, keys=3)
        self.fail_some(5, topic="other")
        self.emit("other", b"no json")
        self.await_value("select count(*) from sluice.dead_letter", 36)
        self.rows("update sluice.dead_letter set at = now() - interval '2 hours' where id <= 10")
        self.rows("update sluice.dead_letter set correlation = 'c7' where id in (4, 34)")
        ids = lambda *args: [letter["id"] for letter in self.listed("--limit", "100", *args)]
        down = lambda first, last: list(range(first, last - 1, -1))
        cases = [
            ((), down(36, 1)),
            (("--topic", "other"), down(36, 31)),
            (("--topic", "o*"), down(36, 31)),
            (("--topic", "none"), []),
            (("--handler", "gate.pass"), down(36, 1)),
            (("--handler", "gate.watch"), []),
            (("--reason", "bad_json"), [36]),
            (("--reason", "rejected", "--topic", "in"), down(30, 1)),
            (("--since", "1h"), down(36, 11)),
            (("--since", "1h", "--reason", "rejected", "--topic", "in"), down(30, 11)),
            (("--correlation", "c7"), [34, 4]),
            (("--correlation", "c7", "--topic", "other"), [34]),
            (("--below", "3"), [2, 1]),
            (("--state", "dropped"), []),
            (("--state", "all", "--reason", "bad_json"), [36]),
        ]
        for args, wanted in cases:
            with self.subTest(args):
                self.assertEqual(ids(*args), wanted)
        said = self.letters("list", "--topic", "othr").stderr
        self.assertIn("names no topic 'othr'; did you mean 'other'?", said)
        pages, below = [], None
        while True:
            page = json.loads(
                self.letters("list", "--json", "--limit", "7", *(["--below", below] if below else [])).stdout
            )
            pages += [letter["id"] for letter in page["deadLetters"]]
            below = page["next"]
            if below is None:
                break
        self.assertEqual(pages, down(36, 1))
        self.assertIn("--below 35", self.letters("list", "--limit", "2").stdout)

    def test_hostile_bytes_do_not_reach_the_terminal(self):
        evil = "\x1b]0;owned\x07\x1b[2J\r\n\u202etext\u009b31m"
        self.close()
        self.emit("in", self.event({"k": "k", "seq": 1, "note": evil}), key="\x1b[31m")
        self.await_value("select count(*) from sluice.dead_letter", 1)
        self.rows("update sluice.dead_letter set correlation = e'\\x1b[2Jc', message = e'a\\nb\\x1b\\u009b'")
        for out in (self.letters("show", "1").stdout, self.letters("list").stdout):
            for bad in ("\x1b", "\x07", "\r", "\u202e", "\u009b"):
                self.assertNotIn(bad, out)
        self.assertIn("\\x1b[2Jc", self.letters("list").stdout)
        self.assertEqual(len(self.letters("list").stdout.splitlines()), 2)

    def test_a_reason_is_a_line(self):
        """What is kept with an act is refused before anything is done, and in a sentence."""
        self.fail_some(1)
        for why in ("two\nlines", "\x1b[31m", "\u009b31m", b"\xff", "x" * 501):
            with self.subTest(why[:10]):
                for action in ("drop", "replay"):
                    done = self.letters(action, "1", "--why", os.fsdecode(why), code=2)
                    self.assertIn("the reason must be a line of text, at most 500 bytes of UTF-8", done.stderr)
        self.assertEqual(self.value("select count(*) from sluice.dead_letter where state = 0"), "1")
        self.assertEqual(self.value("select count(*) from sluice.audit"), "0")
        self.letters("drop", "1", "--why", "x" * 500)


class Replay(DeadLetterCase):
    def setUp(self):
        super().setUp()
        self.running = self.engine()

    def test_replayed_once_in_order(self):
        ids = self.fail_some(40, keys=4)
        done = self.letters("replay", "--all", "--why", "the gate is open")
        self.assertIn("40 replayed", done.stdout)
        self.await_effects(40)
        self.drain()
        found = self.in_order()
        self.assertEqual(len(found), 40)
        self.assertEqual(self.listed(), [])
        replayed = self.listed("--state", "replayed")
        self.assertEqual(sorted(letter["id"] for letter in replayed), ids)
        events = {r[0] for r in self.rows("select event_id from effects")}
        self.assertEqual(events, {letter["replayedAs"] for letter in replayed})
        self.assertEqual(
            self.rows("select distinct act, reason, pipeline from sluice.audit"),
            [["dead-letter replay", "the gate is open", "letters"]],
        )
        self.assertIn("0 replayed", self.letters("replay", "--all").stdout)

    def test_others_have_no_part_in_it(self):
        """The tap had the event when it first came; and the other way round."""
        self.fail_some(3)
        self.await_effects(3, "watched")
        self.letters("replay", "--all")
        self.await_effects(3)
        self.close("watch")
        self.emit("in", *(self.event({"k": "k", "seq": n}) for n in (11, 12)))
        self.await_value("select count(*) from sluice.dead_letter where state = 0", 2)
        self.await_effects(5)
        self.open_gate("watch")
        self.assertEqual({letter["handler"] for letter in self.listed()}, {"watch/gate.watch"})
        self.letters("replay", "--all")
        self.await_effects(5, "watched")
        self.drain()
        self.assertEqual(len(self.in_order("watched")), 5)
        self.assertEqual(len(self.in_order()), 5)

    def test_headers_of_many_rounds(self):
        """A replay that becomes a dead letter again is a new one, which names the one before; its headers are as many
        as after the first round."""
        self.close()
        event = self.event({"k": "k", "seq": 1})
        self.emit("in", event)
        counts = []
        for round_number in range(33):
            self.await_value("select count(*) from sluice.dead_letter", round_number + 1)
            last = self.rows("select id, round, coalesce(before, 0) from sluice.dead_letter where state = 0")
            self.assertEqual(last, [[str(round_number + 1), str(round_number), str(round_number)]])
            if round_number in (0, 1, 2, 32):
                headers = self.shown(round_number + 1)["record"]["headers"]
                counts.append(len(headers))
                self.assertEqual(len({h["name"] for h in headers}), len(headers))
            if round_number == 3:
                done = self.letters("replay", 4, code=1)
                self.assertIn("3 times", done.stderr)
                self.assertIn("--force", done.stderr)
                self.assertEqual(self.listed()[0]["id"], 4)
            self.letters("replay", "--all", *(["--force"] if round_number >= 3 else []))
        self.assertEqual(len(set(counts[1:])), 1, counts)
        names = {h["name"]: h["value"] for h in headers}
        self.assertEqual(names["sluice-replay-count"], "32")
        self.await_value("select count(*) from sluice.dead_letter", 34)
        self.open_gate()
        self.letters("replay", "--all", "--force")
        self.await_effects(1)

    def test_behind_a_held_key(self):
        """Where events of the key wait in the database, replays go behind them."""
        self.fail_some(2)
        self.close("wait")
        self.emit("in", self.event({"k": "k0", "seq": 3}))
        self.await_value("select count(*) from sluice.held", 1)
        self.letters("replay", "--all")
        self.await_value("select count(*) from sluice.held", 3)
        self.open_gate("wait")
        self.rows("update sluice.held_key set due = now()")
        self.await_effects(3)
        self.assertEqual(self.effects(), [("k0", 3), ("k0", 1), ("k0", 2)])

    def test_drop(self):
        ids = self.fail_some(3)
        self.letters("drop", ids[0])
        self.assertEqual([letter["state"] for letter in self.listed("--state", "dropped")], ["dropped"])
        done = self.letters("replay", ids[0], ids[1], code=1)
        self.assertIn(f"dead letter {ids[0]} is dropped already", done.stderr)
        self.await_effects(1)
        self.letters("drop", "--reason", "rejected")
        self.assertEqual(self.listed(), [])
        self.assertEqual(self.value("select count(*) from sluice.audit where act = 'dead-letter drop'"), "2")

    def test_edit(self):
        """Other data under the same envelope: checked as the handler's fields are, replayed under the key that they
        make; the event as it came stays."""
        event = {**self.event({"k": "wrong", "seq": 0}), "eventName": "in", "more": "stays"}
        self.emit("in", event, b"no json at all", key="left")
        self.await_value("select count(*) from sluice.dead_letter where handler = 'gate.pass'", 2)
        self.letters("drop", "--handler", "watch/gate.watch")
        field, bad = (letter["id"] for letter in sorted(self.listed(), key=lambda one: one["reason"]))
        refused = [
            ("[1]", "expected the event's data, a JSON object"),
            ('{"k": "a", "k": "b"}', "expected the event's data, a JSON object"),
            ('{"k": "a", "seq": 0}', "handler 'gate.pass' does not take it: field 'seq'"),
            ('{"seq": 1}', "field 'k' is missing"),
        ]
        for data, sentence in refused:
            done = self.letters("edit", field, "--data", data, code=1)
            self.assertIn(sentence, done.stderr)
        self.letters("edit", field, "--data", '{"k": "right", "seq": 7}', "--why", "seq was missing")
        self.letters("edit", bad, "--data", '{"k": "right", "seq": 8}')
        whole = self.shown(field)
        self.assertEqual(json.loads(whole["record"]["value"])["data"], {"k": "wrong", "seq": 0})
        self.assertEqual(json.loads(whole["editedRecord"]["value"]), {**event, "data": {"k": "right", "seq": 7}})
        self.assertEqual(whole["editedRecord"]["key"], "right")
        self.letters("replay", "--all")
        self.await_effects(2)
        self.drain()
        self.assertEqual(sorted(self.effects()), [("right", 7), ("right", 8)])
        done = self.letters("edit", field, "--data", '{"k": "right", "seq": 7}', code=1)
        self.assertIn("is replayed already", done.stderr)
        self.assertEqual(
            self.rows("select act, reason from sluice.audit where act like '%edit' order by id")[0],
            ["dead-letter edit", "seq was missing"],
        )

    def test_editor(self):
        (letter,) = self.fail_some(1)
        editor = self.folder / "ed.sh"
        editor.write_text("#!/bin/sh\nsed -i 's/k0/other/' \"$1\"\n")
        editor.chmod(0o755)
        self.vars["EDITOR"], self.vars["VISUAL"] = str(editor), ""
        self.letters("edit", letter, "--editor")
        self.assertEqual(self.shown(letter)["editedRecord"]["key"], "other")
        self.vars["EDITOR"] = "true"
        self.assertIn("nothing was changed", self.letters("edit", letter, "--editor", code=1).stderr)
        self.vars["EDITOR"] = "false"
        self.assertIn("the editor 'false' failed", self.letters("edit", letter, "--editor", code=1).stderr)

    def test_refusals(self):
        ids = self.fail_some(1)
        cases = [
            ([], "expected an action"),
            (["list"], "expected an action"),
            (["lits", "C"], "unknown action 'lits', did you mean 'list'?"),
            (["replay", "C"], "--all"),
            (["drop", "C"], "--all"),
            (["show", "C"], "expected the ID"),
            (["show", "C", "x"], "'x' is no ID of a dead letter"),
            (["show", "C", "0"], "'0' is no ID"),
            (["show", "C", "99999999999999999999"], "is no ID"),
            (["list", "C", "1"], "takes no ID"),
            (["replay", "C", "1", "--all"], "either IDs or a filter"),
            (["replay", "C", "1", "--topic", "in"], "either IDs or a filter"),
            (["replay", "C", "--all", "--topic", "in"], "either --all or a filter"),
            (["replay", "C", "--all", "--rate", "0"], "--rate 0"),
            (["replay", "C", "--topic", ""], "--topic: expected a text"),
            (["edit", "C", "1"], "expected --data JSON or --editor"),
            (["edit", "C", "1", "2", "--data", "{}"], "expected one ID, got 2"),
            (["edit", "C", "1", "--data", "{}", "--editor"], "either --data or --editor"),
            (["drop", "C", "--all", "--force"], "drop takes no --force"),
            (["list", "C", "--force"], "list takes no --force"),
            (["list", "C", "--since", "yesterday"], "--since yesterday"),
            (["list", "C", "--state", "shut"], "--state shut"),
            (["list", "C", "--limt", "1"], "did you mean '--limit'?"),
        ]
        for args, sentence in cases:
            with self.subTest(args):
                line = [str(self.config) if word == "C" else word for word in args]
                done = sluice("dead-letter", *line, env=self.vars, check=False)
                self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
                self.assertIn(sentence, done.stderr)
                self.assertIn("dead-letter -h", done.stderr)
        done = self.letters("show", "77", code=1)
        self.assertIn("pipeline 'letters' has no dead letter 77", done.stderr)
        done = self.letters("replay", "77", code=1)
        self.assertIn("has no dead letter 77", done.stderr)
        dry = self.letters("replay", "--all", "--dry-run")
        self.assertIn("1 found", dry.stdout)
        self.assertEqual([letter["id"] for letter in self.listed()], ids)
        self.assertEqual(self.value("select count(*) from sluice.audit"), "0")


class Chains(DeadLetterCase):
    """A chain notes a step once, when its event first comes: not again when its dead letter is replayed."""

    yaml = YAML.replace(
        "taps:",
        """  stop: {key: "{k}", final: true}
  undo: {key: "{k}", handler: gate.pass, routes: {done: drop}}
chains:
  order: {correlate: k, steps: [{name: one, done: in, undo: undo}], abort_on: [stop]}
taps:""",
    )

    def test_noted_once(self):
        self.running = self.engine()
        self.close()
        self.emit("in", self.event({"k": "c1", "seq": 1}))
        self.await_value("select count(*) from sluice.dead_letter", 1)
        (letter,) = self.listed("--correlation", "c1")
        self.open_gate()
        self.letters("replay", letter["id"])
        self.await_effects(1)
        self.close()
        self.emit("stop", self.event({"k": "c1"}))
        self.await_value("select count(*) from sluice.parked where state = 1", 1)  # the undo: an operator decides
        self.assertEqual(len(self.await_topic("undo", 1)), 1)
        self.assertEqual(self.value("select octet_length(steps) from sluice.chain"), "1")


if __name__ == "__main__":
    unittest.main(verbosity=2)
