#!/usr/bin/env python3
"""`sluice test`: the flow tests of config/tests/ pass, and what fails is told with its place, its nearest match and all
that happened.

Run alone: python3 tests/process/test_flow_tests.py [-k NAME]
"""
import os
import pathlib
import re
import shutil
import tempfile
import unittest
import xml.etree.ElementTree

import _path
from lib.engine import ROOT, sluice
from lib.server_case import PostgresCase, ServerCase

SHIPPED = sorted((ROOT / "config/tests").glob("*.yaml"))

PIPELINE = """\
pipeline: small
bus: {kind: memory}
plugins: {template: {library: template.so}}
topics:
  wanted: {key: "{name}", handler: template.greet, routes: {done: said}}
  said: {final: true}
"""


def run(*line, url=None):
    return sluice("test", *map(str, line), env={"DATABASE_URL": url or ""}, check=False)


def without_times(text):
    return re.sub(r"\(\d+ ms\)|\d+\.\d s\b", "TIME", text)


class OnAServer(PostgresCase):
    own_database = False

    def setUp(self):
        super().setUp()
        databases = "select count(*) from pg_database"
        before = self.postgres.value(databases)
        self.addCleanup(lambda: self.assertEqual(self.postgres.value(databases), before))

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
        self.assertIn("0.000 s      reservation.success  key 1-7  {", done.stdout)

    def test_a_refund_of_half_is_found(self):
        """A mistake in the plugin's function: each flow that gives points back fails, and no other one. A file with the
        shipped function, before it and in the same run, has a template of its own."""
        shutil.copytree(ROOT / "sql", self.folder / "sql")
        refund = self.folder / "sql/payment/0001_payment.sql"
        whole = refund.read_text()
        half = whole.replace("array_agg(u.refunded) into", "array_agg(u.refunded / 2) into")
        self.assertNotEqual(whole, half)
        refund.write_text(half)
        pipeline = (ROOT / "config/pipeline.yaml").read_text()
        store = 'store: {url: "${DATABASE_URL}"'
        self.assertIn(store, pipeline)
        (self.folder / "pipeline.yaml").write_text(pipeline.replace(store, f"{store}, migrations: {self.folder}/sql"))
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
        done = run(*SHIPPED)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertRegex(done.stdout, r"\n[1-9]\d* passed, 0 failed in ")
        for file in SHIPPED:
            self.assertIn(f"ok    {file}: ", done.stdout)

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

    def test_metrics(self):
        self.fails(
            "tests:\n  - name: x\n    steps: [{emit: {topic: wanted, data: {name: Ada}}}]\n"
            '    expect: {metrics: {\'sluice_events_total{handler="template.greet",outcome="done"}\': 2}}\n',
            'sluice_events_total{handler="template.greet",outcome="done"}\n      expected  2\n      got       1\n',
        )

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
