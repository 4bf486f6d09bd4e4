#!/usr/bin/env python3
"""What sluice/plugin.h promises a plugin, on the engine and a real PostgreSQL: what is a fault, what it costs, and what
is not one. test_engine_contract_fake.py asks the fake host the same, with the same table.

Run alone: python3 tests/process/test_engine_contract.py [-k NAME].
"""
import json
import time
import unittest

import _path
import contract_table
from contract_table import GOOD_READINGS, READINGS, SETS, VALUES
from lib.engine import until
from lib.pipeline_case import PipelineCase, reason

YAML = """
pipeline: contract
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {group: contract, lanes: 1}
plugins: {chaos: {library: "${CHAOS_SO}"}}
defaults: {retry: {max_retries: 2, backoff: {initial_interval: 20ms, multiplier: 2, max_interval: 100ms, jitter: 0}}}
topics:
  act: {handler: chaos.act_sql, timeout: 9s, routes: {ok: out, other: wrong}}
  quick: {handler: chaos.act_sql, timeout: 2s, routes: {ok: out, other: wrong}}
  bare: {handler: chaos.act, routes: {ok: out, other: wrong}}
  steps: {handler: chaos.act, routes: {
    ok: out, other: {retry: climb, initial_interval: 100ms, max_retries: 2, exhausted: wrong}}}
  out: {final: true}
  wrong: {final: true}
http:
  listen: "${HTTP_LISTEN:-127.0.0.1:0}"
  requests: {"POST /ask": {handler: chaos.ask, routes: {ok: out, other: wrong}}}
"""
TABLE = "create table kept (n bigserial)"


def sentence(letter):
    return letter["headers"]["kafka_dlt-exception-message"]


class Contract(PipelineCase):
    def setUp(self):
        super().setUp()
        self.rows(TABLE)

    def kept(self):
        return int(self.value("select count(*) from kept"))

    def ended(self, topic, count):
        """What is on out, and the dead letters of the topic, when `count` events have ended."""
        until(
            lambda: len(self.topic("out", "wrong", f"{topic}-dlt")) >= count,
            f"the end of {count} events",
            60,
            0.1,
        )
        self.drain()
        self.assertEqual(self.topic("wrong"), [], "outcome `other`: a mode found something wrong")
        return self.topic("out"), self.topic(f"{topic}-dlt")


class Faults(Contract):
    yaml = YAML

    def faults(self, topic, modes, neighbour="sql_keep"):
        """Each fault among neighbours costs its own event alone, says what it was, and leaves nothing in the store.
        modes: rows of contract_table."""
        events = []
        for _, data, _ in modes:
            events += [
                self.event({"mode": neighbour}),
                self.event(data),
                self.event({"mode": neighbour}),
            ]
        self.emit(topic, *events)
        self.engine()
        out, letters = self.ended(topic, len(events))
        self.assertEqual(len(letters), len(modes))
        found = {json.loads(letter["value"])["eventId"]: letter for letter in letters}
        for (_, data, wanted), event in zip(modes, events[1::3]):
            with self.subTest(**data):
                letter = found.get(event["eventId"])
                self.assertIsNotNone(letter, "no dead letter")
                self.assertEqual(reason(letter), "plugin_fault", letter["headers"])
                self.assertIn(wanted, sentence(letter))
        self.assertEqual(len(out), 2 * len(modes))
        if neighbour == "sql_keep":
            self.assertEqual(
                self.kept(),
                2 * len(modes),
                "a row for each neighbour, none for a fault",
            )

    def test_a_cell_of_another_type_or_place(self):
        self.faults("act", contract_table.CELLS)

    def test_a_cell_of_another_type_in_an_event_that_is_alone(self):
        self.engine()
        for number, mode in enumerate(("sql_int_as_text", "sql_row_too_far")):
            self.emit("act", self.event({"mode": mode}))
            letters = self.await_topic("act-dlt", number + 1)
            self.assertEqual(reason(letters[-1]), "plugin_fault")
            self.assertIn(READINGS[mode], sentence(letters[-1]))
        self.assertEqual(self.kept(), 0)

    def test_a_field_that_is_set_without_being_declared(self):
        """`validate` proves with `sets` that the next handler finds its fields, so a name or type beyond them is a
        fault: each type of value, set to a field of each type."""
        self.faults("act", contract_table.FIELDS)

    def test_fields_that_are_set_as_declared(self):
        good = [(field, value) for field, wrong in SETS.items() for value in VALUES if value not in wrong[1]]
        self.emit("act", *[self.event({"mode": f"set_{value}_as_{field}"}) for field, value in good])
        self.engine()
        out, letters = self.ended("act", len(good))
        self.assertEqual((len(out), letters), (len(good), []))

    def test_a_query_that_is_none(self):
        self.faults("act", contract_table.QUERIES)

    def test_a_query_with_fewer_parameters_than_its_statement(self):
        """PostgreSQL calls it a violation of the protocol, of a class that outages have; it is one event's."""
        self.emit("act", *[self.event({"mode": mode}) for mode in ("sql_keep", "sql_params_few", "sql_keep")])
        self.engine()
        out, letters = self.ended("act", 3)
        self.assertEqual((len(out), len(letters), self.kept()), (2, 1, 2))
        self.assertIn(contract_table.FEW_PARAMS, sentence(letters[0]))

    def test_a_query_without_uses_store(self):
        self.faults("bare", contract_table.WITHOUT_STORE, "ok")

    def test_an_index_an_outcome_or_a_name_that_does_not_exist(self):
        self.faults("act", contract_table.PLACES)

    def test_a_value_that_is_none(self):
        self.faults("act", contract_table.NO_VALUES)


class Promises(Contract):
    yaml = YAML

    def data(self, topic, **data):
        """The data of what one event became on out."""
        count = len(self.topic("out"))
        self.emit(topic, self.event(data))
        out = self.await_topic("out", count + 1)
        return json.loads(out[-1]["value"])["data"]

    def test_what_is_no_fault(self):
        """Every type that is promised is read; 33 and 64 parameters are sent; a value may have 64
        KiB; the first answer of two is there until the call ends."""
        events = [{"mode": mode} for mode in GOOD_READINGS + ["sql_two_answers"]]
        events += [{"mode": "sql_params", "n": n} for n in (1, 32, 33, 64)]
        events += [{"mode": "huge_set", "n": n} for n in (0, 65534)]
        self.emit("act", *[self.event(data) for data in events])
        self.engine()
        out, letters = self.ended("act", len(events))
        self.assertEqual((len(out), letters), (len(events), []))
        self.assertEqual(self.kept(), len(GOOD_READINGS))

    def test_fields_that_are_set(self):
        self.engine()
        data = self.data("act", mode="set_twice", number="of the event", n=5)
        self.assertEqual(
            (data["number"], data["note"], data["n"]),
            (2, "", 5),
            "the last value counts, over the data's",
        )
        data = self.data("act", mode="set_null", note="of the event")
        self.assertIsNone(data["note"])

    def test_the_last_of_outcome_retry_and_reject_counts(self):
        self.emit(
            "act",
            *[self.event({"mode": m}) for m in ("changed_mind", "last_reject", "last_retry", "no_words")],
        )
        engine = self.engine()
        out, letters = self.ended("act", 4)
        self.assertEqual(
            [json.loads(o["value"])["data"]["mode"] for o in out],
            ["changed_mind", "last_retry"],
        )
        found = {json.loads(letter["value"])["data"]["mode"]: letter for letter in letters}
        self.assertEqual({reason(letter) for letter in letters}, {"rejected"})
        self.assertEqual(sentence(found["last_reject"]), "in the end")
        self.assertEqual(sentence(found["no_words"]), "no reason given")
        self.assertEqual(engine.metric("sluice_retries_total"), 1)

    def test_what_statements_did_stays_when_an_event_is_tried_again_or_rejected(self):
        self.emit(
            "act",
            self.event({"mode": "sql_keep_retry"}),
            self.event({"mode": "sql_keep_reject"}),
        )
        self.engine()
        out, letters = self.ended("act", 2)
        self.assertEqual((len(out), [reason(letter) for letter in letters]), (1, ["rejected"]))
        self.assertEqual(self.kept(), 3, "two tries and a rejected one")

    def test_unavailable_keeps_nothing_of_the_call_and_counts_no_try(self):
        """Alone, and in a batch with another call: what it did is rolled back, the other's is kept once."""
        self.folder.chmod(0o777)
        for number, others in enumerate((0, 3)):
            bad = {
                "mode": "sql_keep_unavailable",
                "path": str(self.folder / f"mark{number}"),
            }
            self.rows("delete from kept")
            before = len(self.topic("out"))
            self.emit("act", *[self.event({"mode": "sql_keep"}) for _ in range(others)])
            self.emit("quick", self.event(bad), self.event({"mode": "sql_keep"}))
            engine = self.engine()
            out, letters = self.ended("quick", before + others + 2)
            self.assertEqual((len(out), letters), (before + others + 2, []))
            self.assertEqual(self.kept(), others + 2)
            self.assertEqual(engine.metric("sluice_retries_total"), 0)
            self.assertTrue(
                any("chaos.act_sql waits: away on demand" in line for line in engine.log),
                engine.text(),
            )
            self.assertEqual(engine.stop(), 0)

    def test_a_call_makes_ten_thousand_additions_at_most(self):
        self.emit("bare", self.event({"mode": "many_adds", "n": 10005}))
        self.engine()
        self.await_topic("out", 10001, 60)
        self.drain()
        numbers = [json.loads(record["value"])["data"].get("number") for record in self.topic("out")]
        self.assertEqual(sorted(n for n in numbers if n is not None), list(range(10000)))

    def test_what_a_call_says_of_its_event(self):
        self.engine()
        event = self.event({"mode": "seen", "more": [1]})
        began = int(time.time() * 1000)
        self.emit("act", event, key="the key")
        data = json.loads(self.await_topic("out", 1)[0]["value"])["data"]
        value = json.dumps(event, separators=(",", ":"))
        self.assertEqual(data["note"], f"{event['eventId']}|act|the key|act|1|-1|0|{len(value)}")
        self.assertEqual(data["blob"], event["data"])
        self.assertAlmostEqual(data["number"], began, delta=20000)

    def test_steps_of_a_ladder(self):
        self.engine()
        notes = [self.data("steps", mode="seen", n=n)["note"] for n in (1, 2, 3)]
        self.assertEqual([note.split("|")[4:7] for note in notes], [["1", "2", "0"], ["1", "1", "1"], ["1", "0", "2"]])

    def test_a_line_in_the_log_has_the_plugins_name(self):
        self.emit("act", self.event({"mode": "log"}))
        engine = self.engine()
        self.await_topic("out", 1)
        said = [line for line in engine.log if "a line" in line]
        self.assertEqual(len(said), 1, engine.text())
        self.assertRegex(said[0], "WARN +chaos")

    def test_the_time_that_is_left_is_the_topics(self):
        """Also in one batch with a topic that has more."""
        self.emit("act", self.event({"mode": "times"}), self.event({"mode": "times"}))
        self.emit("quick", self.event({"mode": "times"}))
        self.engine()
        out, _ = self.ended("act", 3)
        left = sorted(json.loads(record["value"])["data"]["number"] for record in out)
        self.assertTrue(0 < left[0] <= 2000, left)
        self.assertTrue(2000 < left[1] <= left[2] <= 9000, left)


class Requests(Contract):
    yaml = YAML

    def ask(self, mode, **more):
        return self.engines[0].request("POST", "/ask", {"mode": mode, **more})

    def test_a_fault_is_an_error_and_keeps_nothing(self):
        self.engine()
        for _, data, words in contract_table.REQUESTS:
            with self.subTest(**data):
                status, answer = self.ask(data["mode"])
                self.assertEqual((status, answer["error"]), (500, "plugin_fault"), answer)
                self.assertIn(words, answer["message"])
        self.assertEqual((self.kept(), self.topic("out")), (0, []))

    def test_a_status_is_200_to_599(self):
        self.engine()
        for status, wanted in (
            (199, 500),
            (200, 200),
            (599, 599),
            (600, 500),
            (2**32 - 1, 500),
        ):
            with self.subTest(status=status):
                self.assertEqual(self.ask("reply_status", n=status)[0], wanted)

    def test_an_outcome_is_emitted_and_none_is_fine(self):
        self.engine()
        self.assertEqual(self.ask("reply_status", n=201)[0], 201)
        self.assertEqual(self.ask("seen"), (200, {"chaos": True}))
        data = json.loads(self.await_topic("out", 1)[0]["value"])["data"]
        self.assertRegex(data["note"], r"^[0-9a-f-]{36}\|/ask\|\|POST /ask\|1\|-1\|0\|16$")
        self.assertEqual(data["blob"], {"mode": "seen"})

    def test_a_rejected_request_is_answered_with_the_words(self):
        self.engine()
        status, answer = self.ask("reject")
        self.assertEqual(
            (status, answer),
            (422, {"error": "rejected", "message": "rejected on demand"}),
        )


class Ticks(Contract):
    form = YAML + "schedules: {soon: {every: 300ms, handler: chaos.tick_sql, routes: {ok: out, other: wrong}}}\n"

    def test_a_fault_of_a_tick_keeps_nothing_and_is_in_the_log(self):
        for mode, words in (
            ("sql_int_as_text", READINGS["sql_int_as_text"]),
            ("sql_row_too_far", READINGS["sql_row_too_far"]),
            ("bad_add", "added outcome 77; it declares 2"),
            ("sql_error", "division by zero"),
        ):
            with self.subTest(mode=mode):
                self.use(self.form.replace('"${CHAOS_SO}"', '"${CHAOS_SO}", settings: {tick: %s}' % mode))
                engine = self.engine()
                said = until(
                    lambda: [line for line in list(engine.log) if words in line],
                    "the fault in the log",
                )
                self.assertIn("a tick of schedule soon failed: ", said[0])
                time.sleep(0.7)  # the next ticks come
                self.assertEqual((self.kept(), self.topic("out"), self.topic("wrong")), (0, [], []))
                self.assertEqual(engine.stop(), 0)

    def test_what_a_call_says_of_a_tick(self):
        self.use(self.form.replace('"${CHAOS_SO}"', '"${CHAOS_SO}", settings: {tick: seen}'))
        self.engine()
        data = json.loads(self.await_topic("out", 1)[0]["value"])["data"]
        self.assertRegex(data["note"], r"^soon-[0-9]+\|soon\|\|schedule/soon\|1\|-1\|0\|0$")
        self.assertEqual(data["blob"], {})


if __name__ == "__main__":
    unittest.main(verbosity=2)
