#!/usr/bin/env python3
"""`sluice test` with the step `crash`: the shipped tests pass (test_flow_tests.py); here is what it finds.

Run alone: python3 tests/process/test_flow_crashes.py [-k NAME]
"""
import unittest

import _path
from flow_case import OnAServer, run
from lib import mistakes
from lib.engine import ROOT

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


if __name__ == "__main__":
    unittest.main()
