#!/usr/bin/env python3
"""Processes of one group with different files, as while a new one is rolled out or back: each event is handled by one
that has its topic, and none is skipped.

Run alone: python3 tests/process/test_two_files.py [-k NAME].
"""
import unittest

import _path
from lib.engine import until
from lib.pipeline_case import PipelineCase

HEAD = """\
pipeline: %s
bus: {kind: postgres, partitions: 4}
store: {url: "${DATABASE_URL}"}
engine: {group: both, lanes: 1}
plugins: {effects: {library: "${EFFECTS_SO}"}}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
topics:
  out: {final: true}
"""
HANDLED = (
    '  %s: {key: "{k}", handler: effects.record, routes: {done: out, again: {retry: %s.again, initial_interval: 1s,'
    " max_retries: 3, exhausted: out}}}\n"
)
KEYS = 16


def file(*topics, final=(), name="files"):
    return HEAD % name + "".join(HANDLED % (t, t) for t in topics) + "".join(f"  {t}: {{final: true}}\n" for t in final)


class TwoFiles(PipelineCase):
    yaml = file("work")

    def setUp(self):
        super().setUp()
        self.rows(
            "create table effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
            " unity bigint)"
        )
        self.sent = 0

    def start(self, yaml):
        self.use(yaml, migrate=False)
        return self.engine()

    def send(self, *topics, **more):
        """Events of all partitions, by a producer that has the topics."""
        self.use(file("work", "extra", "job"), migrate=False)
        for topic in topics:
            events = [
                self.event({"k": f"k{k}", "origin": f"{topic}{k}", "seq": self.sent + k + 1, **more})
                for k in range(KEYS)
            ]
            self.emit(topic, *events)
            self.sent += KEYS

    def all_handled(self):
        self.await_value("select count(*) from effects", self.sent, 30)
        self.await_value("select count(*) from sluice.parked", 0)
        self.assertEqual(self.value("select count(distinct event_id) from effects"), str(self.sent))

    def test_a_topic_is_added(self):
        """While the old file runs: the process with the new one reads everything, in order."""
        for final in ((), ("extra",)):
            old = self.start(file("work", final=final))
            new = self.start(file("work", "extra"))
            self.send("work", "extra")
            self.all_handled()
            self.send("extra", "work")
            self.all_handled()
            for engine in (old, new):
                self.assertEqual(engine.stop(), 0)

    def test_the_process_with_the_new_file_ends(self):
        old = self.start(file("work"))
        new = self.start(file("work", "extra"))
        self.send("work", "extra")
        self.all_handled()
        new.kill()
        self.send("extra")
        # Those that the new one has handled come again when it had not committed their positions.
        waiting = "select count(*) from sluice.parked where state = 2"
        self.await_value(f"select ({waiting}) >= {KEYS}", "t", 30)
        until(lambda: old.metric("sluice_parked_unknown") == int(self.value(waiting)), "the metric", 20)
        self.assertIn("is for a process of the group with another file", old.text())
        self.start(file("work", "extra"))
        self.send("work")
        self.all_handled()

    def test_a_topic_leaves(self):
        """The old process emits to it after the new one has looked what waits."""
        old = self.start(file("work", "extra"))
        new = self.start(file("work"))
        self.send("work", "extra")
        self.all_handled()
        self.assertEqual(old.stop(), 0)
        self.send("extra")
        self.await_value("select count(*) from sluice.parked where state = 2", KEYS, 30)
        self.assertEqual(new.stop(), 0)
        self.start(file("work", "extra"))
        self.all_handled()

    def test_each_has_what_the_other_has_not(self):
        self.start(file("work", name="one"))
        self.start(file("job", name="two"))
        self.send("work", "job")
        self.all_handled()
        self.send("work", "job", climb=1)
        self.all_handled()

    def test_one_of_two_files_is_away(self):
        """What only its file has waits for it; the names of one file did not leave the other one."""
        one = self.start(file("work", name="one"))
        two = self.start(file("job", name="two"))
        self.send("work", "job")
        self.all_handled()
        self.assertEqual(one.stop(), 0)
        self.assertEqual(two.stop(), 0)
        self.send("job")
        one = self.start(file("work", name="one"))
        self.await_value("select count(*) from sluice.parked where state = 2", KEYS, 30)
        self.assertIn("is for a process of the group with another file", one.text())
        self.start(file("job", name="two"))
        self.send("work")
        self.all_handled()

    def test_a_name_that_left_its_own_file(self):
        """Of files that share a group each has its names; a file under a new name has those of the old one."""
        for topics, name in ((("work",), "one"), (("job", "extra"), "two")):
            self.assertEqual(self.start(file(*topics, name=name)).stop(), 0)
        self.send("work", "job", "extra")
        for yaml, renamed in ((file("job", name="two"), ""), (file("job", name="three"), "renamed: {two: three}\n")):
            self.use(yaml + renamed, migrate=False)
            engine = self.engine(wait=False)
            self.assertEqual(engine.process.wait(30), 78, engine.text())
            engine.reader.join(5)
            self.assertIn("topic 'extra' left the file, and something waits for it: 16 are unread", engine.text())
            self.assertNotIn("'work'", engine.text())
            self.assertNotIn("topic 'job'", engine.text())
        self.start(file("job", "extra", name="three") + "renamed: {two: three}\n")
        self.start(file("work", name="one"))
        self.all_handled()
        self.assertEqual(
            self.value("select string_agg(distinct file, ' ' order by file) from sluice.pipeline_name"), "one three"
        )


if __name__ == "__main__":
    unittest.main(verbosity=2)
