#!/usr/bin/env python3
"""A new file while early events wait (`after:`): each goes on by what the new file says of its topic, whatever the
others' say: it is handled, waits for something else, or ends.

Run alone: python3 tests/process/test_after_reload.py [-k NAME].
"""
import unittest
from types import SimpleNamespace

import _path
from lib.engine import sluice
from lib.pipeline_case import PipelineCase, reason
from test_after import EFFECTS, WAITING
from test_held_keys import KEYS, TABLE

HEAD = """
pipeline: early
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 3}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
plugins: {effects: {library: "${EFFECTS_SO}"}}
"""
SENT = ["first", "other", "primary", "second", "third"]
FIRST, OTHER = "topic: first, correlate: origin, at_most: 10m", "topic: other, correlate: origin, at_most: 10m"
ALL = {"first": "", "other": "", "second": FIRST, "third": FIRST, "fourth": OTHER}


def file_of(topics, more=""):
    """Each topic with what its events come after."""
    lines = [
        f'  {name}: {{key: "{{k}}", handler: effects.record, {f"after: {{{after}}}, " if after else ""}'
        "routes: {done: drop, again: drop}}"
        for name, after in topics.items()
    ]
    return HEAD + more + "\ntopics:\n" + "\n".join(lines) + "\n"


def without(*names):
    return {name: after for name, after in ALL.items() if name not in names}


# What the new file says, with an event of `second` and one of `third` that wait: what is handled at once (and what
# ends), which events are sent then, and what is handled after each.
CASES = {
    "after_of_one_topic_is_removed": dict(new=file_of({**ALL, "second": ""}), at_once=["second"]),
    "it_comes_after_another_topic": dict(
        new=file_of({**ALL, "second": OTHER}), then=[("other", "one", ["other", "second"])]
    ),
    "it_comes_after_another_topic_that_was_handled": dict(
        before="other", new=file_of({**ALL, "second": OTHER}), at_once=["second"]
    ),
    "it_comes_after_another_field": dict(
        new=file_of({**ALL, "second": FIRST.replace("origin", "k")}),
        then=[("first", "two", ["first", "second"])],
    ),
    "it_may_wait_for_less": dict(new=file_of({**ALL, "second": FIRST.replace("10m", "1s")}), dead=["too_early"]),
    "its_topic_is_renamed": dict(
        new=file_of({**without("second"), "later": FIRST}, "renamed: {second: later}"),
        waiting=2,
        then=[("first", "one", ["first", "second", "third"])],
    ),
    "its_topic_is_renamed_and_needs_nothing": dict(
        new=file_of({**without("second"), "later": ""}, "renamed: {second: later}"), at_once=["second"]
    ),
    "its_topic_left_the_file": dict(new=file_of(without("second"), "retired: {second: dead_letter}"), dead=["retired"]),
    "its_topic_is_paused": dict(
        pause="second", new=file_of({**ALL, "second": ""}), then=[("resume", "second", ["second"])]
    ),
    "what_it_needs_is_renamed": dict(
        new=file_of(
            {"primary": "", "other": "", **{k: v.replace("first", "primary") for k, v in ALL.items() if v}},
            "renamed: {first: primary}",
        ),
        waiting=2,
        then=[("primary", "one", ["primary", "second", "third"])],
    ),
    "nothing_changes_for_it": dict(
        new=file_of({**ALL, "fourth": ""}), waiting=2, then=[("first", "one", ["first", "second", "third"])]
    ),
}


class AfterReload(PipelineCase):
    def send(self, topic, origin="one"):
        """The key is the topic's, but for what is to be found by its key."""
        k = "second" if origin == "two" else topic
        self.emit(topic, self.event({"k": k, "origin": origin, "seq": SENT.index(topic) + 1}))

    def await_handled(self, count, names):
        """`names` were handled since there were `count` effects."""
        self.await_value(EFFECTS, count + len(names))
        rows = self.rows(f"SELECT seq FROM effects ORDER BY number OFFSET {count}")
        self.assertEqual(sorted(SENT[int(row[0]) - 1] for row in rows), sorted(names))
        return count + len(names)

    def change(self, engine, text):
        self.config.write_text(text)
        self.assertIn("reloaded in", engine.reload())

    def follow(self, case):
        self.use(file_of(ALL))
        self.rows(TABLE)
        engine, count = self.engine(), 0
        self.send("second")
        self.send("third")
        self.await_value(WAITING, 2)
        if case.before:
            self.send(case.before)
            count = self.await_handled(count, [case.before])
        if case.pause:
            sluice("pause", self.config, case.pause, env=self.vars)
        self.change(engine, case.new)
        count = self.await_handled(count, case.at_once)
        letters = self.await_topic("second-dlt", len(case.dead)) if case.dead else []
        self.assertEqual([reason(letter) for letter in letters], case.dead)
        for topic, origin, names in case.then:
            if topic == "resume":
                self.assertEqual(self.value(EFFECTS), str(count))
                sluice("resume", self.config, origin, env=self.vars)
            else:
                self.send(topic, origin)
            count = self.await_handled(count, names)
        left = 2 - len(case.at_once) - len(case.dead) - sum("second" in names for _, _, names in case.then)
        if case.waiting != 2:
            self.assertEqual((left, self.value(WAITING)), (1, "1"))
            self.send("first")
            self.await_handled(count, ["first", "third"])
        self.await_value(KEYS, 0)
        self.assertEqual(engine.stop(), 0)

    def test_what_was_handled_by_its_old_name_is_known_by_the_new_one(self):
        new = CASES["what_it_needs_is_renamed"]["new"]
        self.use(file_of(ALL))
        self.rows(TABLE)
        engine = self.engine()
        self.send("first")
        self.await_handled(0, ["first"])
        self.change(engine, new)
        self.send("second")
        self.await_handled(1, ["second"])
        self.send("primary", "three")
        self.await_handled(2, ["primary"])
        self.change(engine, new.replace("renamed: {first: primary}", ""))
        self.send("third", "three")
        self.await_handled(3, ["third"])
        self.assertEqual(engine.stop(), 0)


def test_of(case):
    fields = dict(before="", pause="", at_once=[], dead=[], then=[], waiting=1)
    return lambda self: self.follow(SimpleNamespace(**{**fields, **case}))


for name, case in CASES.items():
    setattr(AfterReload, f"test_{name}", test_of(case))

if __name__ == "__main__":
    unittest.main()
