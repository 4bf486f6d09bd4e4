#!/usr/bin/env python3
"""Names that leave pipeline.yaml while events wait for them, on the postgres bus: `run` refuses with a list, `renamed`
carries what waits over to another name, `retired` makes dead letters of it, and nothing is lost, repeated or dropped in
silence.

Run alone: python3 tests/process/test_names_postgres.py [-k NAME].
"""
import json
import unittest

import _path
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase, reason

TABLE = (
    "CREATE TABLE effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint, unity"
    " bigint); CREATE TABLE log (number bigserial, event_id text, origin text)"
)
HEAD = """\
pipeline: names
bus: {kind: postgres, partitions: 4}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 2}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
defaults: {retry: {max_retries: 20, backoff: {initial_interval: 50ms, max_interval: 100ms}}}
"""
LADDER = "{retry: %s, initial_interval: 20d, max_retries: 3, exhausted: out}"


def topics(work="work", retry="again", **more):
    lines = [f'  {work}: {{key: "{{k}}", handler: effects.record, routes: {{done: out, again: {LADDER % retry}}}}}']
    lines += ["  out: {final: true}"] + [f"  {name}: {what}" for name, what in more.items()]
    return "topics:\n" + "\n".join(lines) + "\n"


class Case(PipelineCase):
    yaml = HEAD + topics()

    def setUp(self):
        super().setUp()
        self.postgres.query(TABLE, self.url)

    def work(self, count=1, first=1, topic="work", k="a", **data):
        self.emit(
            topic,
            *[self.event({"k": k, "origin": f"o{n}", "seq": n, **data}) for n in range(first, first + count)],
        )

    def once(self, until_done):
        """An engine, until the condition is true; then it is stopped."""
        engine = self.engine()
        until_done()
        self.assertEqual(engine.stop(), 0)
        return engine

    def is_drained(self):
        self.drain()

    def effects(self):
        return self.rows("SELECT origin FROM effects ORDER BY number")

    def origins(self):
        return [row[0] if isinstance(row, (list, tuple)) else row for row in self.effects()]

    def refused(self, *sentences):
        """run ends with 78 and says each; validate --connect says the same; nothing is changed."""
        engine = self.engine(wait=False)
        code = engine.process.wait(30)
        engine.reader.join(5)
        self.assertEqual(code, 78, engine.text())
        done = sluice("validate", self.config, "--connect", env=self.vars, check=False)
        self.assertEqual(done.returncode, 78, done.stdout + done.stderr)
        for sentence in sentences:
            self.assertIn(sentence, engine.text())
            self.assertIn(sentence, done.stderr)
        self.assertEqual(sum(": error: " in line for line in done.stderr.splitlines()), len(sentences), done.stderr)

    def good(self):
        done = sluice("validate", self.config, "--connect", env=self.vars, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def due(self):
        self.postgres.query("UPDATE sluice.parked SET due = now()", self.url)

    def letters(self, topic, count):
        found = self.await_topic(topic, count)
        self.assertEqual(len(found), count)
        self.assertEqual({reason(letter) for letter in found}, {"retired"})
        return [json.loads(letter["value"])["data"]["origin"] for letter in found]


class Parked(Case):
    """A retry is parked for a topic that the next file does not have."""

    def setUp(self):
        super().setUp()
        self.work(2, climb=1)
        self.once(lambda: self.await_value("SELECT count(*) FROM sluice.parked", 2))
        self.due()

    def test_refused_and_nothing_is_lost(self):
        self.use(HEAD + topics(retry="later"))
        self.refused(
            "topic 'again' left the file, and something waits for it: 2 events are parked; say 'renamed: {again: NEW}' "
            "or 'retired: {again: dead_letter}', or put it back"
        )
        self.await_value("SELECT count(*) FROM sluice.parked WHERE state = 0", 2)
        self.use(HEAD + topics())
        self.due()
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 2))
        self.await_value("SELECT count(*) FROM sluice.parked", 0)

    def test_renamed(self):
        self.use(HEAD + topics(retry="later") + "renamed: {again: later}\n")
        self.good()
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 2))
        self.await_value("SELECT count(*) FROM sluice.parked", 0)
        self.assertEqual(sorted(self.origins()), ["o1", "o2"])
        self.assertEqual(self.topic("later-dlt"), [])

    def test_retired(self):
        self.use(HEAD + topics(retry="later") + "retired: {again: dead_letter}\n")
        self.good()
        self.once(lambda: self.await_value("SELECT count(*) FROM sluice.parked", 0))
        self.assertEqual(sorted(self.letters("again-dlt", 2)), ["o1", "o2"])
        self.once(self.is_drained)
        self.letters("again-dlt", 2)
        self.await_value("SELECT count(*) FROM effects", 0)

    def test_while_it_runs(self):
        """What comes due for a topic that no file has stays, with an error and a metric, and is handled later."""
        self.postgres.query("CREATE TABLE away AS SELECT * FROM sluice.parked; DELETE FROM sluice.parked", self.url)
        self.use(HEAD + topics(retry="later").replace("20d", "200ms"))
        engine = self.engine()
        self.postgres.query("INSERT INTO sluice.parked SELECT * FROM away", self.url)
        self.work(1, first=9, climb=1)  # a delay of this file: the keeper looks at what is due
        self.await_value("SELECT count(*) FROM sluice.parked WHERE state = 2", 2)
        until(lambda: engine.metric("sluice_parked_unknown") == 2, lambda: f"the metric; {engine.text()}")
        self.assertIn("ERROR", engine.text())
        self.assertIn("on again: the file says nothing of that topic", engine.text())
        self.assertEqual(engine.stop(), 0)
        self.refused("topic 'again' left the file, and something waits for it: 2 events are parked")
        self.use(HEAD + topics(retry="later") + "renamed: {again: later}\n")
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 3))
        self.assertEqual(sorted(self.origins()), ["o1", "o2", "o9"])


class Unread(Case):
    """Events are in the log that the group has not read, on a topic that the next file does not have."""

    def setUp(self):
        super().setUp()
        self.work(3)
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 3))
        self.work(4, first=4)

    def test_refused_and_nothing_is_lost(self):
        self.use(HEAD + topics(work="job"))
        self.refused("topic 'work' left the file, and something waits for it: 4 are unread")
        self.use(HEAD + topics())
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 7))

    def test_renamed(self):
        self.use(HEAD + topics(work="job") + "renamed: {work: job}\n")
        self.good()
        self.work(2, first=8, topic="job")
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 9))
        self.assertEqual(self.origins(), [f"o{n}" for n in range(1, 10)])
        self.once(self.is_drained)
        self.await_value("SELECT count(*) FROM effects", 9)

    def test_renamed_and_still_emitted_to(self):
        """Another process, or another service, goes on with the old name."""
        old = self.config.read_text()
        self.use(HEAD + topics(work="job") + "renamed: {work: job}\n")
        engine = self.engine()
        self.await_value("SELECT count(*) FROM effects", 7)
        self.use(old, migrate=False)
        self.work(2, first=8)
        self.await_value("SELECT count(*) FROM effects", 9)
        self.assertEqual(engine.stop(), 0)

    def test_retired(self):
        """What was handled and is read again, since its position was lost with a crash, is a duplicate."""
        self.use(HEAD + topics(work="job") + "retired: {work: dead_letter}\n")
        self.good()
        self.postgres.query("UPDATE sluice.bus_lease SET high = 0, low = 0", self.url)
        self.once(self.is_drained)
        self.assertEqual(self.letters("work-dlt", 4), ["o4", "o5", "o6", "o7"])
        self.once(self.is_drained)
        self.letters("work-dlt", 4)
        self.await_value("SELECT count(*) FROM effects", 3)

    def test_handler_is_gone_and_the_topic_is_not(self):
        self.use(HEAD + topics(work="job") + "  work: {final: true}\n")
        self.refused("topic 'work' has no handler any more, and something waits for it: 4 are unread")


class Held(Case):
    """A key is held: its first event waits for a retry in the database, and the others behind it."""

    slow = HEAD.replace("initial_interval: 50ms, max_interval: 100ms", "initial_interval: 1h, max_interval: 1h")

    def setUp(self):
        super().setUp()
        self.use(self.slow + topics())
        self.work(1, flaky=1)
        self.work(2, first=2)
        self.once(lambda: self.await_value("SELECT count(*) FROM sluice.held", 3))
        self.postgres.query("UPDATE sluice.held_key SET due = now()", self.url)

    def test_renamed(self):
        self.use(self.slow + topics(work="job"))
        self.refused("topic 'work' left the file, and something waits for it: 3 events are held;")
        self.use(self.slow + topics(work="job") + "renamed: {work: job}\n")
        self.good()
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 3))
        self.assertEqual(self.origins(), ["o1", "o2", "o3"])

    def test_retired(self):
        self.use(self.slow + topics(work="job") + "retired: {work: dead_letter}\n")
        self.good()
        self.once(lambda: self.await_value("SELECT count(*) FROM sluice.held", 0))
        self.assertEqual(self.letters("work-dlt", 3), ["o1", "o2", "o3"])


class Handlers(Case):
    """A handler was trying an event again when it left the file."""

    def setUp(self):
        super().setUp()
        self.work(1, flaky=3)
        self.once(lambda: self.await_value("SELECT count(*) FROM sluice.attempt WHERE attempts >= 1", 1))

    def test_renamed(self):
        plain = (
            HEAD
            + 'topics:\n  work: {key: "{k}", handler: chaos.act, routes: {ok: out, other: out}}\n  out: {final: true}\n'
        )
        self.use(plain)
        self.refused("handler 'effects.record' left the file, and something waits for it: 1 event was being retried")
        self.use(plain + "renamed: {effects.record: chaos.act}\n")
        self.good()
        self.once(self.is_drained)
        self.await_value("SELECT count(*) FROM sluice.name WHERE name = 'effects.record' and kind = 'h'", 0)
        self.assertEqual(reason(self.await_topic("work-dlt", 1)[0]), "bad_field")


class Chains(Case):
    yaml = HEAD + topics(undo="{handler: chaos.act, routes: {ok: drop, other: drop}}", stop="{final: true}")
    chain = (
        "chains:\n  %s: {correlate: k, steps: [{name: one, done: out, undo: undo}], abort_on: [stop],"
        " on_undo_failure: pause}\n"
    )

    def setUp(self):
        super().setUp()
        self.use(self.yaml + self.chain % "sale")
        self.work(1, mode="ok")
        self.once(lambda: self.await_value("SELECT count(*) FROM sluice.chain WHERE done = 1", 1))

    def test_refused(self):
        self.use(self.yaml)
        self.refused("chain 'sale' left the file, and something waits for it: 1 is not over")

    def test_renamed(self):
        self.use(self.yaml + self.chain % "purchase" + "renamed: {sale: purchase}\n")
        self.good()
        self.emit("stop", self.event({"k": "a", "mode": "ok"}))
        self.once(lambda: self.await_value("SELECT state || ':' || undone FROM sluice.chain", "2:1"))
        self.assertEqual(len(self.topic("undo")), 1)

    def test_retired(self):
        self.use(self.yaml + "retired: {sale: dead_letter}\n")
        self.good()
        self.once(self.is_drained)
        self.await_value("SELECT reason FROM sluice.chain WHERE state <> 0", "retired: chain 'sale' left the pipeline")
        self.use(self.yaml)
        self.good()


TAP = "taps:\n  %s: {topics: [work, out], handler: effects.record%s}\n"
SEEN = "SELECT count(*) FROM effects WHERE event_id IN (SELECT event_id FROM effects GROUP BY 1 HAVING count(*) > 1)"


class Taps(Case):
    """The tap writes a row of its own for each event on work; what is on out, the outcome, is the third."""

    yaml = HEAD + topics() + TAP % ("watch", "")
    rows_each = 3

    def setUp(self):
        super().setUp()
        self.work(2)
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 2 * self.rows_each))
        self.work(3, first=3)

    def test_refused(self):
        self.use(HEAD + topics())
        self.refused("tap 'watch' left the file, and something waits for it: 3 are unread")
        self.use(self.yaml)
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 5 * self.rows_each))

    def test_renamed(self):
        self.use(HEAD + topics() + TAP % ("look", "") + "renamed: {watch: look}\n")
        self.good()
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 5 * self.rows_each))
        self.once(self.is_drained)
        self.await_value("SELECT count(*) FROM effects", 5 * self.rows_each)

    def test_retired(self):
        self.use(HEAD + topics() + "retired: {watch: dead_letter}\n")
        self.good()
        self.once(self.is_drained)
        self.assertEqual(self.letters("work-dlt", 3), ["o3", "o4", "o5"])
        self.assertEqual(sorted(self.letters("out-dlt", 3)), ["o3", "o4", "o5"])
        self.await_value("SELECT count(*) FROM effects", 2 * self.rows_each + 3)  # the pipeline's own handled them

    def test_parked_for_a_tap(self):
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 5 * self.rows_each))
        self.work(1, first=9, climb=1)
        self.once(lambda: self.await_value("SELECT count(*) FROM sluice.parked", 1))
        self.postgres.query(
            "UPDATE sluice.parked SET due = now(), consumer_group ="
            " (SELECT number FROM sluice.name WHERE name = 'names.watch')",
            self.url,
        )
        self.use(HEAD + topics())
        self.refused("tap 'watch' left the file, and something waits for it: 1 event is parked")
        self.use(HEAD + topics() + "retired: {watch: dead_letter}\n")
        self.once(lambda: self.await_value("SELECT count(*) FROM sluice.parked", 0))
        self.assertEqual(self.letters("again-dlt", 1), ["o9"])


class Starts(Case):
    """A group without a position says where it begins when that would repeat something."""

    def test_a_first_start_needs_no_word(self):
        """Nor does a tap of its own, however many events are there."""
        self.use(HEAD + topics() + TAP % ("watch", ""))
        self.work(3)
        self.good()
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 9))

    def added(self, start):
        self.work(3)
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 3))
        self.use(HEAD + topics() + TAP % ("watch", start))

    def test_a_tap_that_is_added(self):
        self.added("")
        self.refused(
            "tap 'watch' is new, and topic 'work' has events; say taps.watch.from: earliest (all of them come again), "
            "latest (only what comes from now on) or a time"
        )

    def test_a_tap_from_the_earliest(self):
        self.added(", from: earliest")
        self.good()
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 9))

    def test_a_tap_from_the_latest(self):
        self.added(", from: latest")
        self.good()
        self.once(self.is_drained)
        self.await_value("SELECT count(*) FROM effects", 3)
        self.work(1, first=4)
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 6))

    def test_a_tap_from_a_time(self):
        """In the middle of a transaction's events, too."""
        self.use(HEAD + topics() + "  early: {final: true}\n")
        self.work(1)
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 1))
        time = self.value("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
        until(lambda: self.value(f"SELECT now() > timestamptz '{time}' + interval '5 ms'") == "t", "later")
        self.work(2, first=2)
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 3))
        self.use(HEAD + topics() + TAP % ("watch", f', from: "{time}"'))
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 7))
        self.assertEqual(self.value("SELECT count(*) FROM effects WHERE origin = 'o1'"), "1")

    def test_a_renamed_pipeline(self):
        self.use(HEAD + topics() + TAP % ("watch", ""))
        self.work(3)
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 9))
        self.work(2, first=4)
        yaml = self.config.read_text().replace("pipeline: names", "pipeline: other")
        self.use(yaml)
        self.refused(
            "group 'other' is new, and topic 'work' has events that group 'names' has read; say engine.from: earliest "
            "(all of them come again), latest (only what comes from now on) or a time; or, if it is 'names' under a "
            "new name, 'renamed: {names: other}'",
            "tap 'watch' is new, and topic 'work' has events that group 'names' has read; say taps.watch.from: ",
        )
        self.use(yaml + "renamed: {names: other}\n")
        self.good()
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 15))
        self.once(self.is_drained)
        self.await_value("SELECT count(*) FROM effects", 15)

    def test_a_pipeline_is_renamed_while_it_runs(self):
        """The new name waits until nobody reads under the old one, which would begin at the first event again."""
        old = self.engine()
        self.work(2)
        self.await_value("SELECT count(*) FROM effects", 2)
        self.use(self.yaml.replace("pipeline: names", "pipeline: other") + "renamed: {names: other}\n")
        engine = self.engine(wait=False)
        until(lambda: "group names is read under its old name" in engine.text(), lambda: f"the word; {engine.text()}")
        self.assertEqual(old.stop(), 0)
        engine.wait_ready()
        self.work(1, first=3)
        self.await_value("SELECT count(*) FROM effects", 3)
        self.assertEqual(engine.stop(), 0)

    def test_a_renamed_pipeline_carries_what_is_parked(self):
        self.work(1, climb=1)
        self.once(lambda: self.await_value("SELECT count(*) FROM sluice.parked", 1))
        self.due()
        self.use(self.yaml.replace("pipeline: names", "pipeline: other") + "renamed: {names: other}\n")
        self.good()
        self.once(lambda: self.await_value("SELECT count(*) FROM effects", 1))
        self.await_value("SELECT count(*) FROM sluice.parked", 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
