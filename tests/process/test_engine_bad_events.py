#!/usr/bin/env python3
"""Every row of the matrix of bad events: a dead letter with its reason and its bytes, all other events untouched.

Run alone: python3 tests/process/test_engine_bad_events.py [-k NAME].
"""
import json
import unittest

import _path
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase, new_id, reason

YAML = """
pipeline: bad
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {group: bad, lanes: 1}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
defaults: {retry: {max_retries: 2, backoff: {initial_interval: 20ms, multiplier: 2, max_interval: 100ms, jitter: 0}}}
topics:
  in: {key: "{k}", handler: effects.record, routes: {
    done: out, again: {retry: climb, initial_interval: 100ms, max_retries: 2, exhausted: out}}}
  out: {key: "{k}", final: true}
  act: {handler: chaos.act_sql, routes: {ok: out2, other: drop}}
  out2: {final: true}
"""
TABLE = (
    "CREATE TABLE effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint, unity"
    " bigint)"
)


def deep(levels):
    return (
        '{"eventId":"deep-%d","data":{"k":"a","origin":"x","seq":1,"x":' % levels + "[" * levels + "]" * levels + "}}"
    )


def with_id(text):
    return json.dumps({"eventId": text, "data": {"k": "a", "origin": "x", "seq": 1}})


def with_data(**fields):
    return json.dumps({"eventId": new_id(), "data": {"k": "a", "origin": "x", "seq": 1, **fields}})


def good(tail='"data":{"k":"a","origin":"x","seq":1}'):
    return '{"eventId":"%s",%s}' % (new_id(), tail)


# (what, value, reason)
ROWS = [
    ("whitespace", "   ", "not_object"),
    ("null", "null", "not_object"),
    ("a number", "42", "not_object"),
    ("a list", "[]", "not_object"),
    ("a text", '"x"', "not_object"),
    ("truncated", good()[:-3], "bad_json"),
    ("trailing bytes", good() + " {}", "bad_json"),
    ("a byte order mark", b"\xef\xbb\xbf" + good().encode(), "bad_json"),
    ("a comment", good("/* */" + '"data":{}'), "bad_json"),
    ("NaN", good('"data":{"seq":NaN}'), "bad_json"),
    ("single quotes", "{'eventId':'x','data':{}}", "bad_json"),
    ("invalid UTF-8", b'{"eventId":"u","data":{"k":"\xff\xfe"}}', "bad_json"),
    ("a NUL byte", b'{"eventId":"n\0l","data":{}}', "bad_json"),
    ("a lone surrogate", '{"eventId":"s","data":{"k":"\\ud800"}}', "bad_json"),
    ("too deep", deep(70), "too_deep"),
    ("far too deep", deep(5000), "too_deep"),
    ("too large", '{"eventId":"l","data":{"k":"%s"}}' % ("x" * 1048600), "too_large"),
    ("too many keys", '{"eventId":"m","data":{%s}}' % ",".join(f'"f{i}":1' for i in range(10100)), "too_large"),
    ("duplicate keys", good('"data":{"k":"a","k":"b"}'), "bad_json"),
    ("two ids", good('"eventId":"b","data":{}'), "bad_json"),
    ("no id", '{"data":{}}', "bad_id"),
    ("an empty id", with_id(""), "bad_id"),
    ("a long id", with_id("x" * 10240), "bad_id"),
    ("129 bytes of id", with_id("x" * 129), "bad_id"),
    ("an id with NUL", with_id("a\0b"), "bad_json"),
    ("a space in the id", with_id(" a"), "bad_id"),
    ("an id that looks alike", with_id("\u0430bc"), "bad_id"),
    ("a number for an id", '{"eventId":7,"data":{}}', "bad_id"),
    ("no data", '{"eventId":"%s"}' % new_id(), "bad_envelope"),
    ("data is a text", good('"data":"x"'), "bad_envelope"),
    ("a bad timestamp", good('"timestamp":"yesterday","data":{}'), "bad_envelope"),
    ("a name that is a number", good('"eventName":1,"data":{}'), "bad_envelope"),
    ("another CloudEvents version", '{"specversion":"9.9","id":"%s","type":"t","data":{}}' % new_id(), "bad_envelope"),
    ("a real for an integer", with_data(seq=1.5), "bad_field"),
    ("a text for an integer", with_data(seq="1"), "bad_field"),
    ("an exponent", good('"data":{"k":"a","origin":"x","seq":1e0}'), "bad_field"),
    ("negative", with_data(seq=-1), "bad_field"),
    ("zero", with_data(seq=0), "bad_field"),
    ("2^63", with_data(seq=2**63), "bad_field"),
    ("1e400", good('"data":{"k":"a","origin":"x","seq":1e400}'), "bad_field"),
    ("over the maximum", with_data(climb=101), "bad_field"),
    ("a field is missing", good('"data":{"k":"a","seq":1}'), "bad_field"),
    ("null for a field", with_data(origin=None), "bad_field"),
]


class BadEvents(PipelineCase):
    yaml = YAML

    def setUp(self):
        super().setUp()
        self.rows(TABLE)

    def neighbour(self, key, seq):
        return self.event({"k": key, "origin": f"{key}-{seq}", "seq": seq})

    def test_each_row_is_a_dead_letter_and_harms_nobody(self):
        for number, (_, value, _) in enumerate(ROWS):
            self.emit("in", self.neighbour(f"n{number % 3}", number * 2 + 1))
            self.emit("in", value, key=f"n{number % 3}")
        self.emit("in", *[self.neighbour(key, 1000) for key in ("n0", "n1", "n2")])
        self.engine()
        self.drain(60)
        letters = self.topic("in-dlt")
        for what, value, wanted in ROWS:
            with self.subTest(what=what):
                text = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
                mine = [letter for letter in letters if letter["value"] == text]
                self.assertEqual([reason(letter) for letter in mine], [wanted])
                headers = mine[0]["headers"]
                self.assertEqual(headers["kafka_dlt-original-topic"], "in")
                self.assertGreater(len(headers["kafka_dlt-exception-message"]), 10)
                self.assertTrue(
                    headers["kafka_dlt-original-partition"].isdigit() and headers["kafka_dlt-original-offset"].isdigit()
                )
        self.assertEqual(len(letters), len(ROWS))
        self.assertEqual(
            self.value("SELECT count(*) FROM effects"), str(len(ROWS) + 3), "every neighbour was handled, once"
        )
        self.assertEqual(
            self.value(
                "SELECT count(*) FROM (SELECT seq < lag(seq) OVER (PARTITION BY k ORDER BY number) AS late FROM"
                " effects) e WHERE late"
            ),
            "0",
            "in order",
        )

    def test_unusual_events_that_are_fine(self):
        values = [
            good(),
            with_id("x" * 128),
            with_id("~!"),
            with_data(more={"any": [1, 2]}),
            good().replace(":", " :\t"),
            '{"specversion":"1.0","id":"%s","type":"t","data":{"k":"a","origin":"x","seq":1}}' % new_id(),
            with_data(seq=2**63 - 1),
            with_data(k="ключ \u2028 \U0001f39f"),
            good('"timestamp":"2026-01-01T00:00:00Z","x":null,"data":{"k":"a","origin":"x","seq":1}'),
        ]
        upper = new_id()
        self.emit("in", *values, with_id(upper), with_id(upper.upper()), key="a")
        self.engine()
        self.drain()
        self.assertEqual(self.topic("in-dlt"), [])
        self.assertEqual(self.value("SELECT count(*) FROM effects"), str(len(values) + 2))

    def test_whole_events_get_the_key_of_their_topic(self):
        self.emit("in", *[self.neighbour("one", seq) for seq in range(1, 6)])
        found = self.topic("in")
        self.assertEqual([record["key"] for record in found], ["one"] * 5)
        self.assertEqual(len({record["partition"] for record in found}), 1)

    def test_an_id_with_another_payload_is_a_conflict(self):
        event_id = new_id()
        first, second = (self.event({"k": "a", "origin": "x", "seq": seq}, event_id) for seq in (1, 2))
        self.emit("in", first, second, first, second, first)
        engine = self.engine()
        self.drain()
        said = [line for line in engine.log if "is a dead letter" in line]
        self.assertEqual(len(said), 1, engine.text())
        self.assertRegex(
            said[0],
            rf"event {event_id} on in is a dead letter: id_conflict \(event id '{event_id}' came before with another "
            r"payload\); it is partition \d+ at \d+/",
        )
        shown = sluice("tap", self.config, "in-dlt", "--no-follow", env=self.vars).stdout
        self.assertRegex(
            shown, rf"\}}  dead letter: id_conflict: event id '{event_id}' came before with another payload\n\Z"
        )
        letters = self.topic("in-dlt")
        self.assertEqual(
            [(reason(letter), json.loads(letter["value"])) for letter in letters], [("id_conflict", second)]
        )
        self.assertEqual(self.rows("SELECT seq FROM effects"), [["1"]])

    def test_two_poisons_under_one_id_are_two_dead_letters(self):
        event_id = new_id()
        poisons = ['{"eventId":"%s","data":%d}' % (event_id, n) for n in (1, 2, 3)]
        others = ['{"eventId":"%s","data":%d}' % (new_id(), 4) for _ in range(2)]
        first = [
            self.event({"k": "a", "origin": "x", "seq": n + 1}, json.loads(other)["eventId"])
            for n, other in enumerate(others)
        ]
        self.emit("in", *first, *poisons, *others, key="a")
        self.engine()
        self.drain()
        letters = self.topic("in-dlt")
        self.assertEqual(sorted(letter["value"] for letter in letters), sorted(poisons + others))
        self.assertEqual({reason(letter) for letter in letters}, {"bad_envelope"})

    def test_one_broken_statement_costs_one_event(self):
        events = [
            self.event({"k": f"k{n}", "origin": f"o{n}", "seq": 1, "divide": 0 if n == 17 else 1}) for n in range(60)
        ]
        self.emit("in", *events)
        self.engine()
        self.drain()
        letters = self.topic("in-dlt")
        self.assertEqual(
            [(reason(letter), json.loads(letter["value"])["eventId"]) for letter in letters],
            [("database", events[17]["eventId"])],
        )
        self.assertIn("division by zero", letters[0]["headers"]["kafka_dlt-exception-message"])
        self.assertEqual(self.value("SELECT count(DISTINCT origin) || ' of ' || count(*) FROM effects"), "59 of 59")

    def test_faults_of_a_plugin_cost_its_event_alone(self):
        modes = {
            "reject": "rejected",
            "no_outcome": "plugin_fault",
            "bad_outcome_index": "plugin_fault",
            "bad_event_index": "plugin_fault",
            "invalid_utf8": "plugin_fault",
            "invalid_json": "plugin_fault",
            "sql_error": "database",
            "sql_bad_data": "database",
            "sql_check": "database",
            "sql_commit": "database",
            "sql_rollback": "database",
            "reply": "plugin_fault",
            "sql_after_failure": "database",
        }
        for mode in modes:
            self.emit(
                "act", self.event({"mode": "ok"}), self.event({"mode": mode}), self.event({"mode": "sql_ok"}), key=mode
            )
        self.engine()
        until(
            lambda: len(self.topic("act-dlt")) + len(self.topic("out2")) >= 3 * len(modes),
            "an end of everything",
            60,
            0.1,
        )
        self.drain()
        found = {json.loads(letter["value"])["data"]["mode"]: letter for letter in self.topic("act-dlt")}
        for mode, wanted in modes.items():
            with self.subTest(mode=mode):
                self.assertIn(mode, list(found))
                self.assertEqual(reason(found[mode]), wanted, found[mode]["headers"])
        self.assertEqual(len(self.topic("out2")), 2 * len(modes))

    def test_a_fault_that_is_nobodys_is_found_by_running_alone(self):
        """An index that does not exist names no event: the first of the call is not to blame."""
        for mode in ("bad_event_index", "sql_bad_param"):
            good_ones = [self.event({"mode": "ok"}) for _ in range(12)]
            bad = self.event({"mode": mode})
            self.emit("act", *good_ones[:6], bad, *good_ones[6:])
            if not self.engines:
                self.engine()
            self.drain()
            letters = [letter for letter in self.topic("act-dlt")]
            self.assertEqual(json.loads(letters[-1]["value"]), bad, letters[-1]["headers"])
        self.assertEqual(len(self.topic("act-dlt")), 2)
        self.assertEqual(len(self.topic("out2")), 24)


if __name__ == "__main__":
    unittest.main(verbosity=2)
