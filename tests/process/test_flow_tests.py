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
from lib import mistakes
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


def run(*line, url=None, **options):
    return sluice("test", *map(str, line), env={"DATABASE_URL": url or ""}, check=False, **options)


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


CRASHES = ROOT / "config/tests/crashes.yaml"


class Crashes(OnAServer):
    """The shipped ones pass; here is what they find."""

    def test_a_claim_with_a_commit_of_its_own_is_found(self):
        """By no crash at all, and by none before that COMMIT, the flow ends otherwise."""
        program = mistakes.build("claim_apart")
        name = "points are given back, with a crash everywhere"
        done = run(CRASHES, "--filter", name, url=self.postgres.url, program=program)
        self.assertEqual((done.returncode, done.stderr), (1, ""), done.stdout)
        self.assertIn(mistakes.word("claim_apart"), done.stdout)
        self.assertRegex(
            done.stdout,
            rf"FAIL  {CRASHES}: {name} \(\d+ ms, [1-9]\d* crashes\)\n"
            r"(?:.* WARN .*\n)*"
            r"    with a crash at store\.commit\.\w+, reach \d+\n"
            r"    .*: events\[1\]\n      expected  payment.success\n      got       nothing\n    timeline\n",
        )
        self.assertRegex(
            done.stdout, r"0\.000 s  the process dies at store\.commit\.\w+, reach \d+, and the engine starts again\n"
        )
        file = ROOT / "config/tests/payment.yaml"
        done = run(file, "--filter", "gives the points back", url=self.postgres.url, program=program)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_an_effect_beside_the_transaction_is_found(self):
        """A handler whose function counts where no transaction takes it back, in a sequence: right without a crash."""
        file = self.folder / "flows.yaml"
        test = (
            f"pipeline: {ROOT}/config/pipeline.yaml\n"
            "given:\n"
            "  sql: |\n"
            "    insert into users values (1, 500);\n"
            "    insert into reservations (id, user_id, seat_id, purchase_price) values (1, 1, 7, 100);\n"
            "    create sequence charges;\n"
            "    create function count_charge() returns trigger language plpgsql as\n"
            "      $$ begin perform nextval('charges'); return new; end $$;\n"
            "    create trigger count after update on users for each row when (new.points < old.points)\n"
            "      execute function count_charge();\n"
            "tests:\n"
            "  - name: charged once\n"
            "    steps:\n"
            "      CRASH\n"
            "      - emit:\n"
            "          topic: payment.try\n"
            "          data: {userId: 1, seatId: 7, reservationId: 1, amount: 100, paymentTxId: a}\n"
            "    expect: {sql: {select last_value from charges: [[1]]}}\n"
        )
        file.write_text(test.replace("CRASH", ""))
        done = run(file, url=self.postgres.url)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        file.write_text(test.replace("CRASH", "- crash: everywhere"))
        done = run(file, url=self.postgres.url)
        self.assertEqual((done.returncode, done.stderr), (1, ""), done.stdout)
        self.assertRegex(
            done.stdout,
            r"    with a crash at lane\.handler\.after, reach \d+\n"
            r"    .*: select last_value from charges\n      expected  \[\[1\]\]\n      got       \[\[2\]\]\n",
        )

    def test_a_delayed_event_has_its_time(self):
        """The event of a route with a delay: wherever the process dies, and not a millisecond early."""
        pipeline = (ROOT / "config/pipeline.yaml").read_text()
        delayed = pipeline.replace("success: payment.success\n", "success: {topic: payment.success, delay: 10m}\n")
        self.assertNotEqual(pipeline, delayed)
        delayed = delayed.replace("hold: 5m", "hold: 1h")
        (self.folder / "pipeline.yaml").write_text(delayed[: delayed.index("\nschedules:")])
        test = """
  - name: AFTER
    steps:
      - crash: CRASH
      - emit: {topic: payment.try, data: {userId: 1, seatId: 7, reservationId: 1, amount: 100, paymentTxId: a}}
      - advance: AFTER
    expect:
      events: [EVENTS]
      sql: {select status from reservations: [[STATUS]]}
"""
        events = "payment.try, payment.success"
        file = self.folder / "flows.yaml"
        file.write_text(
            "pipeline: pipeline.yaml\n"
            "given:\n"
            "  sql: |\n"
            "    insert into users values (1, 500);\n"
            "    insert into reservations (id, user_id, seat_id, purchase_price) values (1, 1, 7, 100);\n"
            "tests:"
            + test.replace("AFTER", "599999ms")
            .replace("CRASH", "after payment.charge")
            .replace("EVENTS", events)
            .replace("STATUS", "PENDING")
            + test.replace("AFTER", "10m")
            .replace("CRASH", "everywhere")
            .replace("EVENTS", f"{events}, reservation.success")
            .replace("STATUS", "CONFIRMED")
        )
        done = run(file, limit_s=600)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_outputs_of_a_process_that_died_are_swept(self):
        """A pipeline without a reader, which would publish them when it takes partitions over."""
        (self.folder / "pipeline.yaml").write_text(
            'pipeline: gateway\nstore: {url: "${DATABASE_URL}"}\nbus: {kind: postgres}\n'
            "plugins: {payment: {library: payment.so}, reservation: {library: reservation.so, settings: {hold: 5m}}}\n"
            'topics: {payment.try: {key: "{userId}-{seatId}", final: true}}\n'
            'http: {listen: "127.0.0.1:1", requests: '
            '{"POST /payments": {handler: payment.accept, routes: {accepted: payment.try}}}}\n'
        )
        file = self.folder / "flows.yaml"
        file.write_text(
            "pipeline: pipeline.yaml\n"
            "given:\n"
            "  sql: |\n"
            "    insert into users values (1, 500);\n"
            "    insert into reservations (id, user_id, seat_id, purchase_price) values (1, 1, 7, 100);\n"
            "    insert into payment_tokens values ('t', 1);\n"
            "tests:\n"
            "  - name: five seconds later\n"
            "    steps:\n"
            "      - crash: after payment.accept\n"
            "      - request: {post: /payments, body: {userId: 1, reservationId: 1, paymentToken: t, paymentTxId: a}}\n"
            "        expect: {status: 202, events: []}\n"
            "      - {advance: 4999ms, expect: {events: []}}\n"
            "      - {advance: 1ms, expect: {events: [payment.try]}}\n"
            "    expect: {events: [payment.try]}\n"
            "  - name: wherever it dies\n"
            "    steps:\n"
            "      - crash: everywhere\n"
            "      - request: {post: /payments, body: {userId: 1, reservationId: 1, paymentToken: t, paymentTxId: a}}\n"
            "      - run\n"
            "    expect: {events: [payment.try]}\n"
        )
        done = run(file, limit_s=600)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertRegex(done.stdout, r"wherever it dies \(\d+ ms, [1-9]\d* crashes\)")


class OwnServer(ServerCase):
    def test_each_shipped_one_passes(self):
        done = run(*SHIPPED, limit_s=600)
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
