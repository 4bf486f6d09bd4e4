#!/usr/bin/env python3
"""`sluice test`: the flow tests of config/tests/ pass, and what fails is told with its place, its nearest match and all
that happened.

Run alone: python3 tests/process/test_flow_tests.py [-k NAME]
"""
import pathlib
import re
import shutil
import tempfile
import unittest
import xml.etree.ElementTree

import _path
from flow_case import OnAServer, run, without_times
from lib.engine import ROOT
from lib.server_case import ServerCase

COVERAGE = r"^(/.*): (\d+) of (\d+) reached$"
MISSING = re.compile(r".*: not reached: .*")
SERVICES = ("gateway", "payment", "reservation")
SHIPPED = sorted((ROOT / "config/tests").glob("*.yaml"))

PIPELINE = """\
pipeline: small
bus: {kind: memory}
plugins: {template: {library: template.so}}
topics:
  wanted: {key: "{name}", handler: template.greet, routes: {done: said}}
  said: {final: true}
"""


class Findings(OnAServer):
    def test_a_wrong_balance_is_found(self):
        text = (ROOT / "config/tests/payment.yaml").read_text()
        wrong = text.replace("../pipeline.yaml", str(ROOT / "config/pipeline.yaml")).replace("[[400]]", "[[401]]", 1)
        file = self.folder / "wrong.yaml"
        file.write_text(wrong)
        done = run(file, "--filter", "a purchase that succeeds", url=self.postgres.url)
        self.assertEqual(done.returncode, 1)
        line = wrong.splitlines().index(next(line for line in wrong.splitlines() if "[[401]]" in line)) + 1
        column = wrong.splitlines()[line - 1].index("[[401]]") + 1
        self.assertIn(
            f"FAIL  {file}: a purchase that succeeds TIME\n"
            f"    {file}:{line}:{column + 2}: select points from users where id = 1\n"
            "      expected  [[401]]\n"
            "      got       [[400]]\n"
            "    timeline\n",
            without_times(done.stdout),
        )
        self.assertIn("0.000 s      payment.try  key 1-7  payment.charge → success  {", done.stdout)
        self.assertIn("0.000 s      reservation.success  key 1-7  {", done.stdout)

    def test_what_became_of_each_event(self):
        """Outcomes, dead letters, and what waits for what."""
        file = self.folder / "flows.yaml"
        file.write_text(
            f"pipeline: {ROOT}/config/pipeline.yaml\n"
            'given: {sql: "insert into users values (1, 10)"}\n'
            "tests:\n"
            "  - name: x\n"
            "    steps:\n"
            "      - fail: {handler: payment.refund, retry: a lock, times: 9}\n"
            "      - emit: {topic: payment.cancel, key: k, data: {userId: 1, seatId: 7, amount: 5, paymentTxId: a}}\n"
            "      - advance: 2s\n"
            "      - emit: {topic: payment.cancel, key: k, data: {userId: 1, seatId: 7, amount: 5, paymentTxId: b}}\n"
            "      - emit: {topic: payment.try, key: l, data: {paymentTxId: c}}\n"
            "      - emit:\n"
            "          topic: payment.try\n"
            "          data: {userId: 1, seatId: 7, reservationId: 1, amount: 90, paymentTxId: d}\n"
            "    expect: {events: []}\n"
        )
        done = run(file, url=self.postgres.url)
        self.assertEqual(done.returncode, 1)
        for said in (
            r" payment\.cancel  key k  {.*\n  +waits: failed 4 times, holds its key, next try at .*: a lock\n",
            r" payment\.cancel  key k  {.*\n  +waits: .*behind.*\n",
            r" payment\.try  key l  payment\.charge → dead letter  {",
            r" payment\.try-dlt  key l  because ",
            r" payment\.try  key 1-7  payment\.charge → declined  {",
            r" payment\.retry  key 1-7  {.*\n  +waits: delayed: due at 2026-01-01T00:00:03\.000Z, in 1\.0 s\n",
        ):
            self.assertRegex(done.stdout, said)

    def test_a_refund_of_half_is_found(self):
        """A mistake in the plugin's function: each flow that gives points back fails, and no other one. A file with the
        shipped function, before it and in the same run, has a template of its own."""
        shutil.copytree(ROOT / "plugins/payment/sql", self.folder / "sql")
        refund = self.folder / "sql/0001_payment.sql"
        whole = refund.read_text()
        half = whole.replace("array_agg(u.refunded) into", "array_agg(u.refunded / 2) into")
        self.assertNotEqual(whole, half)
        refund.write_text(half)
        pipeline = (ROOT / "config/pipeline.yaml").read_text()
        library = "{library: payment.so"
        self.assertIn(library, pipeline)
        (self.folder / "pipeline.yaml").write_text(pipeline.replace(library, f"{library}, migrations: sql"))
        file = self.folder / "flows.yaml"
        file.write_text((ROOT / "config/tests/payment.yaml").read_text().replace("../pipeline.yaml", "pipeline.yaml"))
        done = run(ROOT / "config/tests/payment.yaml", file, "--filter", "points", url=self.postgres.url)
        self.assertEqual((done.returncode, done.stderr), (1, ""), done.stdout)
        self.assertEqual(
            re.findall(r"^(ok  |FAIL)  .*: (.*) \(", done.stdout, re.M),
            [
                ("ok  ", "declined, until the points are there"),
                ("ok  ", "a reservation that cannot be confirmed gives the points back"),
                ("ok  ", "a confirmation that fails gives all points back"),
                ("ok  ", "declined, until the points are there"),
                ("FAIL", "a reservation that cannot be confirmed gives the points back"),
                ("FAIL", "a confirmation that fails gives all points back"),
            ],
        )
        self.assertIn("      expected  [[500]]\n      got       [[450]]\n", done.stdout)


class OwnServer(ServerCase):
    def test_each_shipped_one_passes(self):
        done = run("--coverage", *SHIPPED, limit_s=600)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertRegex(done.stdout, r"\n[1-9]\d* passed, 0 failed in ")
        for file in SHIPPED:
            self.assertIn(f"ok    {file}: ", done.stdout)
        reached = {pathlib.Path(path).resolve(): counts for path, *counts in re.findall(COVERAGE, done.stdout, re.M)}
        for path in ("pipeline.yaml", "minimal.yaml", *(f"services/{name}.yaml" for name in SERVICES)):
            count, total = reached[ROOT / "config" / path]
            self.assertEqual(count, total, f"{path} is not wholly tested:\n" + "\n".join(MISSING.findall(done.stdout)))

    def test_a_server_is_started_and_ends(self):
        def folders():
            return {path for place in ("/dev/shm", "/tmp") for path in pathlib.Path(place).glob("sluice-test.*")}

        left = pathlib.Path(tempfile.mkdtemp(prefix="sluice-test.", dir="/dev/shm"))  # by a run that was killed
        before = folders() - {left}
        done = run(ROOT / "config/tests/payment.yaml", "--filter", "a purchase that succeeds")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn("\n1 passed, 0 failed in ", done.stdout)
        self.assertEqual(folders() - before, set())


class Small(ServerCase):
    """Without a database."""

    def setUp(self):
        super().setUp()
        (self.folder / "pipeline.yaml").write_text(PIPELINE)
        self.file = self.folder / "flows.yaml"

    def run_it(self, tests, *line, head="pipeline: pipeline.yaml\n"):
        self.file.write_text(head + tests)
        return run(self.file, *line)

    def fails(self, tests, *sentences):
        done = self.run_it(tests)
        self.assertEqual((done.returncode, done.stderr), (1, ""), done.stdout)
        for sentence in sentences:
            self.assertIn(sentence, done.stdout)

    def refuses(self, tests, *sentences, head="pipeline: pipeline.yaml\n"):
        done = self.run_it(tests, head=head)
        self.assertEqual((done.returncode, done.stdout), (78, ""))
        for sentence in sentences:
            self.assertIn(f"{self.file}:{sentence}", done.stderr)

    def test_an_event_that_is_not_there(self):
        self.fails(
            "tests:\n"
            "  - name: two\n"
            "    steps: [{emit: {topic: wanted, data: {name: Ada, n: 1}}}]\n"
            "    expect:\n"
            "      events:\n"
            "        - wanted\n"
            "        - {topic: said, data: {name: Ada, n: 2}}\n",
            f"{self.file}:8:46: events[1]\n",
            '      expected  {"topic":"said","data":{"name":"Ada","n":2}}\n',
            '      got       {"topic":"said","key":"Ada","data":{"name":"Ada","n":1',
            "      nearest   [1], whose data.n is 1\n",
            "0.000 s  emit wanted\n",
            "0.000 s      said  key Ada  {",
        )

    def test_the_nearest_of_several(self):
        """Of events of one topic: one that no other expectation has found before one that has, then the one with most
        in common, then the first that follows; and one of another topic only where there is none."""
        emits = "".join(
            f"{{emit: {{topic: wanted, data: {{name: {name}, n: {n}, m: {m}}}}}}}, "
            for name, n, m in (("Ada", 1, 1), ("Bob", 2, 2), ("Ada", 2, 3))
        )
        start = f"tests:\n  - name: x\n    steps: [{emits}]\n    expect: {{events: "
        for events, at, says in (
            ("[wanted, said, {topic: wanted, data: {n: 3}}]", 2, "[2], whose data.n is 2"),
            ("[wanted, said, {topic: wanted, data: {n: 2, m: 3}}]", 2, "it is there, at another place: [4]"),
            ("[wanted, said, {topic: wanted, data: {name: Eve, n: 2, m: 3}}]", 2, '[4], whose data.name is "Ada"'),
            ("[wanted, said, {topic: wanted, data: {name: Ada, m: 4}}]", 2, "[4], whose data.m is 3"),
            ("[wanted, said, {topic: wanted, data: {m: 3}}]", 2, "it is there, at another place: [4]"),
            ("[wanted, said, {topic: wanted, data: {m: 1}}]", 2, "[2], whose data.m is 2"),
            ("[wanted, said, wanted, said, wanted, {topic: wanted, data: {m: 2}}]", 5, "at another place: [2]"),
            ("[wanted, said, {topic: wrong, data: {name: Ada, m: 3}}]", 2, '[4], whose topic is "wanted"'),
            ("[wanted, said, said]", 2, "it is there, at another place: [3]"),
        ):
            with self.subTest(events=events):
                self.fails(f"{start}{events}}}\n", f": events[{at}]\n", f"{says}\n")

    def test_one_event_too_many_and_one_too_few(self):
        step = "tests:\n  - name: x\n    steps: [{emit: {topic: wanted, data: {name: Ada}}}]\n    expect: {events: "
        self.fails(step + "[wanted]}\n", ": events[1]\n", "expected  nothing more\n", 'got       {"topic":"said"')
        self.fails(step + "[wanted, said, said]}\n", ": events[2]\n", "got       nothing\n", "at another place: [1]\n")

    def test_events_of_a_step_begin_where_the_last_ended(self):
        done = self.run_it(
            "tests:\n"
            "  - name: steps\n"
            "    steps:\n"
            "      - {emit: {topic: wanted, data: {name: Ada}}, expect: {events: [wanted, said]}}\n"
            "      - {emit: {topic: wanted, data: {name: Bob}}, expect: {events: [{topic: wanted, key: Bob}, said]}}\n"
            "      - {advance: 365d, expect: {events: []}}\n"
            "      - run\n"
            "    expect: {events: [wanted, said, wanted, said], dead_letters: []}\n"
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_a_dead_letter(self):
        self.fails(
            "tests:\n  - name: no name\n    steps: [{emit: {topic: wanted, key: k, data: {}}}]\n"
            "    expect: {dead_letters: []}\n",
            ": dead_letters[0]\n",
            '"handler":"template.greet","reason":"bad_field"',
            "wanted-dlt  key k  because ",
        )

    def test_an_unknown_topic(self):
        self.fails(
            "tests:\n  - name: x\n    steps: [{emit: {topic: wantet}}]\n    expect: {events: []}\n",
            f"{self.file}:4:13: the pipeline has no topic 'wantet'; did you mean 'wanted'?\n",
        )

    def test_what_is_wrong_in_the_file(self):
        self.refuses(
            "tests:\n"
            "  - name: nothing\n"
            "    steps: [{advance: 1s}]\n"
            "  - name: typo\n"
            "    steps:\n"
            "      - {advance: 1s, emit: {topic: wanted}}\n"
            "      - {request: {pots: /a}, expect: {evnts: []}}\n"
            "      - {advance: 5 s, expect: {status: 200}}\n",
            "3:5: error: test 'nothing' expects nothing, so that it cannot fail; add `expect`\n",
            "7:9: error: a step does one thing; write two steps\n",
            "8:20: error: unknown key 'pots' in request; did you mean 'post'?\n",
            "8:40: error: unknown key 'evnts' in expect; did you mean 'events'?\n",
            "9:19: error: advance: expected a duration ",
            "9:41: error: status and reply are of a request; write them into the `expect` of its step\n",
        )
        self.refuses("tests: []\n", "1:1: error: `tests:` is missing or empty: a list of tests\n")
        one = "tests:\n  - {name: x, steps: [run], expect: {events: []}}\n"
        self.refuses(one, "1:1: error: `pipeline:` is missing", head="")
        self.refuses(one, "1:1: error: the pipeline has no tap 'x'", head="pipeline: pipeline.yaml\ntaps: [x]\n")

    def test_a_pipeline_with_a_mistake(self):
        (self.folder / "pipeline.yaml").write_text(PIPELINE.replace("said: {final: true}", "sayd: {final: true}"))
        done = self.run_it("tests:\n  - {name: x, steps: [run], expect: {events: []}}\n")
        self.assertEqual((done.returncode, done.stdout), (78, ""))
        self.assertIn(f"{self.folder}/pipeline.yaml:", done.stderr)

    def test_a_plugin_that_runs_in_its_own_process_elsewhere(self):
        """It is said, once, that here it does not."""
        path = self.folder / "pipeline.yaml"
        path.write_text(PIPELINE.replace(".so}", ".so, isolation: process, memory: 64MiB}"))
        tests = "tests:\n" + "".join(
            f"  - {{name: {name}, steps: [{{emit: {{topic: wanted, data: {{name: Ada}}}}}}],"
            " expect: {events: [wanted, said]}}\n"
            for name in "xy"
        )
        done = self.run_it(tests)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(
            done.stderr,
            f"{self.file}: note: plugin 'template' runs in the process of the test, though {path} says `isolation: "
            "process`: flow tests have no process for each plugin, so its limits (memory, cpu, exec, sockets) are not "
            "kept here, and a crash fails the test\n",
        )
        self.assertEqual(self.run_it(tests, "--filter", "none").stderr.count("note: "), 0)

    def test_filter(self):
        tests = (
            "tests:\n"
            "  - {name: the first, steps: [run], expect: {events: []}}\n"
            "  - {name: the second, steps: [run], expect: {events: [wanted]}}\n"
        )
        self.assertEqual(self.run_it(tests, "--filter", "first").returncode, 0)
        done = self.run_it(tests, "--filter", "the")
        self.assertEqual(done.returncode, 1)
        self.assertIn("\n1 passed, 1 failed in ", done.stdout)
        done = self.run_it(tests, "--filter", "third")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "sluice test: no test has 'third' in its name\n")

    def test_a_handler_that_fails(self):
        given = (
            "tests:\n  - name: x\n    steps:\n      - fail: {handler: template.greet, HOW, times: 3}\n"
            "      - emit: {topic: wanted, data: {name: Ada}}\n      - run\n    expect: "
        )
        for how, expect in (
            ("retry: busy", "{metrics: {'sluice_retries_total{handler=\"template.greet\"}': 3}}"),
            ("unavailable: down", "{events: [wanted, said], dead_letters: []}"),
            ("outcome: done", "{events: [wanted, {topic: said, data: {name: Ada}}]}"),
        ):
            with self.subTest(how=how):
                done = self.run_it(given.replace("HOW", how) + expect + "\n")
                self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.fails(
            given.replace("HOW", "retry: busy").replace("times: 3", "times: 9") + "{dead_letters: []}\n",
            ": dead_letters[0]\n",
            '"reason":"retries_exhausted"',
        )
        self.fails(
            given.replace("HOW", "outcome: dine") + "{events: []}\n",
            f"{self.file}:5:9: handler template.greet has no outcome 'dine'\n",
        )
        self.fails(
            given.replace("HOW", "retry: x").replace("greet", "grit") + "{events: []}\n",
            f"{self.file}:5:9: the pipeline binds no handler 'template.grit' to a topic or tap\n",
        )
        both = given.replace("HOW", "retry: x, outcome: done")
        self.refuses(both + "{events: []}\n", "5:15: error: fail needs a handler")

    def test_a_crash_without_a_store(self):
        """At least once: the handler is called again, and what it emits is the same event."""
        emit = "      - emit: {topic: wanted, data: {name: Ada}}\n    expect: {events: [wanted, said]}\n"
        for crash in ("after template.greet", "at lane.emit.after", "at bus.poll.before", "everywhere"):
            with self.subTest(crash=crash):
                done = self.run_it(f"tests:\n  - name: x\n    steps:\n      - crash: {crash}\n{emit}")
                self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertRegex(done.stdout, r"^ok    .*: x \(\d+ ms, [1-9]\d* crashes\)\n")

    def test_the_timeline_of_crashes(self):
        """Two of them after the same handler, and two while the engine starts."""
        after = "0.000 s  the process dies after template.greet, and the engine starts again\n"
        assigned = "0.000 s  the process dies at bus.assign, and the engine starts again\n"
        self.fails(
            "tests:\n  - name: x\n    steps:\n"
            "      - crash: after template.greet\n      - crash: after template.greet\n"
            "      - crash: at bus.assign\n      - crash: at bus.assign\n      - crash: at lane.emit.after\n"
            "      - emit: {topic: wanted, data: {name: Ada}}\n    expect: {events: [wanted]}\n",
            ": events[1]\n      expected  nothing more\n",
            "0.000 s  crash after template.greet\n",
            f"             {assigned}             {assigned}             {after}             {after}",
            "0.000 s      said  key Ada  {",
            "0.000 s  the process dies at lane.emit.after, and the engine starts again\n",
            "0.000 s      said again  key Ada  {",
        )

    def test_a_crash_that_does_not_come(self):
        for crash, says in (
            ("at bus.revoke", "the process did not die at bus.revoke: the flow did not come there after the step"),
            ("after template.grit", "the pipeline has no handler 'template.grit'"),
        ):
            with self.subTest(crash=crash):
                self.fails(
                    f"tests:\n  - name: x\n    steps: [{{crash: {crash}}}, run]\n    expect: {{events: []}}\n", says
                )

    def test_what_is_wrong_with_a_crash(self):
        self.refuses(
            "tests:\n"
            "  - {name: a, steps: [crash: soon], expect: {events: []}}\n"
            "  - {name: b, steps: [crash: at lane.comit.after], expect: {events: []}}\n"
            "  - {name: c, steps: [crash: everywhere, crash: everywhere], expect: {events: []}}\n"
            "  - {name: d, steps: [crash: everywhere, expect: {events: []}]}\n"
            "  - {name: e, steps: [crash: everywhere], expect: {metrics: {a: 1}}}\n",
            "3:30: error: crash must be `after HANDLER`, `at FAILPOINT` or `everywhere`, got 'soon'\n",
            "4:30: error: no failpoint is called 'lane.comit.after'; did you mean 'lane.commit.after'?",
            "5:42: error: a test with `crash: everywhere` has no other step `crash`",
            "6:23: error: `crash: everywhere` compares the test's end; add `expect` to the test",
            "7:61: error: metrics begin again with a process",
        )

    def test_metrics(self):
        self.fails(
            "tests:\n  - name: x\n    steps: [{emit: {topic: wanted, data: {name: Ada}}}]\n"
            '    expect: {metrics: {\'sluice_events_total{handler="template.greet",outcome="done"}\': 2}}\n',
            'sluice_events_total{handler="template.greet",outcome="done"}\n      expected  2\n      got       1\n',
        )

    def test_coverage(self):
        """Of all files that have the pipeline, with the place of each thing that no test has reached."""
        one = "tests:\n  - {name: x, steps: [{emit: {topic: said, data: {name: Ada}}}], expect: {dead_letters: []}}\n"
        done = self.run_it(one, "--coverage")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        pipeline = self.folder / "pipeline.yaml"
        self.assertTrue(
            done.stdout.endswith(
                f"{pipeline}: 1 of 3 reached\n"
                f"    {pipeline}:5:3: not reached: topic wanted\n"
                f"    {pipeline}:5:61: not reached: outcome done of template.greet\n"
            ),
            done.stdout,
        )
        other = self.folder / "other.yaml"
        other.write_text("pipeline: pipeline.yaml\n" + one.replace("topic: said", "topic: wanted"))
        done = run("--coverage", self.file, other)
        self.assertTrue(done.stdout.endswith(f"schema\n{pipeline}: 3 of 3 reached\n"), done.stdout)
        self.assertNotIn("reached", self.run_it(one).stdout)

    def test_an_operator_without_a_store(self):
        for step, says in (
            ("pause: wanted", "no store"),
            ("resume: wanted", "no store"),
            ("replay: wanted", "there is no open dead letter of wanted to replay"),
        ):
            with self.subTest(step=step):
                self.fails(f"tests:\n  - name: x\n    steps:\n      - {step}\n    expect: {{events: []}}\n", says)

    def test_a_dead_letter_that_is_replayed(self):
        done = self.run_it(
            "tests:\n"
            "  - name: x\n"
            "    steps:\n"
            "      - fail: {handler: template.greet, retry: busy, times: 6}\n"
            "      - emit: {topic: wanted, data: {name: Ada}}\n"
            "      - run\n"
            "      - replay: wanted\n"
            "    expect: {events: [wanted, wanted, said], dead_letters: [wanted]}\n"
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_junit(self):
        report = self.folder / "report.xml"
        tests = (
            "tests:\n"
            "  - {name: good & <well>, steps: [run], expect: {events: []}}\n"
            "  - {name: bad, steps: [run], expect: {events: [wanted]}}\n"
        )
        self.assertEqual(self.run_it(tests, "--junit", report).returncode, 1)
        suite = xml.etree.ElementTree.parse(report).getroot()
        self.assertEqual((suite.get("tests"), suite.get("failures")), ("2", "1"))
        self.assertEqual([case.get("name") for case in suite], ["good & <well>", "bad"])
        self.assertIn("expected  wanted", suite[1].find("failure").text)
        self.assertIsNone(suite[0].find("failure"))
        done = self.run_it(tests, "--filter", "good", "--junit", self.folder / "no/report.xml")
        self.assertEqual(done.returncode, 1)
        self.assertIn("report.xml cannot be written: No such file or directory", done.stderr)

    def test_usage(self):
        self.assertEqual(run().returncode, 2)
        self.assertEqual(run("--fitler", "x", self.file).returncode, 2)


if __name__ == "__main__":
    unittest.main()
