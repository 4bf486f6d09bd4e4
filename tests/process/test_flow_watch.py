#!/usr/bin/env python3
"""`sluice test --watch`: what depends on a file that changed runs again, and nothing else.

Run alone: python3 tests/process/test_flow_watch.py [-k NAME]
"""
import os
import pty
import re
import shutil
import signal
import subprocess
import unittest

import _path
from lib.engine import BUILD, ROOT, SLUICE
from lib.server_case import ServerCase

PIPELINE = """\
pipeline: small
bus: {kind: memory}
plugins: {template: {library: template.so}}
topics:
  wanted: {key: "{name}", handler: template.greet, routes: {done: said}}
  said: {final: true}
"""

FLOW_OF_A_REFUND = """
tests:
  - name: a confirmation that fails gives all points back
    steps:
      - fail: {handler: reservation.confirm, outcome: failure}
      - request: {post: /payments, body: {userId: 1, reservationId: 1, paymentToken: token-1, paymentTxId: n}}
    expect: {sql: {select points from users where id = 1: [[500]]}}
"""


class Watching:
    """`sluice test --watch FILE…`, whose runs are read one after the other."""

    def __init__(self, case, *files):
        line = [SLUICE, "test", "--watch", *map(str, files)]
        self.process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "DATABASE_URL": ""}, text=True
        )
        case.addCleanup(self.end)

    def run(self):
        """What the next run that comes to its end says, up to the line that ends it."""
        said = ""
        for line in self.process.stdout:
            if re.search(r"^\d\d:\d\d:\d\d  watching ", line):
                return said
            said += line
        raise AssertionError(f"it has ended:\n{said}")

    def end(self):
        """Ctrl-C: its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.communicate()
        return self.process.returncode


def replace(path, text):
    """As editors do it: another file, renamed."""
    other = path.with_name(path.name + "~")
    other.write_text(text)
    other.rename(path)


class Watch(ServerCase):
    def setUp(self):
        super().setUp()
        shutil.copy(BUILD / "plugins/template.so", self.folder)
        (self.folder / "one.yaml").write_text(PIPELINE.replace("template.so", "./template.so"))
        (self.folder / "two.yaml").write_text(PIPELINE)
        self.files = [self.folder / f"flow_{n}.yaml" for n in ("one", "two")]
        for file in self.files:
            file.write_text(self.flow(file))

    def flow(self, file, wanted="said"):
        return (
            f"pipeline: {file.stem[5:]}.yaml\ntests:\n  - name: greeted\n"
            f"    steps: [{{emit: {{topic: wanted, data: {{name: Ada}}}}}}]\n"
            f"    expect: {{events: [wanted, {wanted}]}}\n"
        )

    def test_what_changed_runs_again_and_nothing_else(self):
        one, two = self.files
        watching = Watching(self, one, two)
        self.assertIn("\n2 passed, 0 failed in ", watching.run())
        replace(one, self.flow(one, "sad"))
        said = watching.run()
        self.assertIn(f"FAIL  {one}: greeted ", said)
        self.assertIn("\n0 passed, 1 failed in ", said)
        two.write_text("pipeline: [")
        said = watching.run()
        self.assertIn(f"{two}:2:1: error: no valid YAML", said)
        self.assertIn(f"\nFAIL  {one}: did not change since its last run\n", said)
        two.write_text(self.flow(two))
        self.assertIn(f"ok    {two}: greeted ", watching.run())
        replace(one, self.flow(one))
        said = watching.run()
        self.assertIn("1 passed, 0 failed in ", said)
        self.assertNotIn("FAIL", said)
        pipeline = self.folder / "two.yaml"
        pipeline.write_text(PIPELINE.replace("handler:", "handlre:"))
        self.assertIn(f"{pipeline}:5:", watching.run())
        pipeline.write_text(PIPELINE)
        self.assertIn(f"ok    {two}: greeted ", watching.run())
        library = self.folder / "template.so"
        library.unlink()
        said = watching.run()
        self.assertIn(f"{self.folder}/one.yaml:", said)
        self.assertIn("template.so", said)
        shutil.copy(BUILD / "plugins/template.so", self.folder / "new.so")
        (self.folder / "new.so").rename(library)
        said = watching.run()
        self.assertIn(f"ok    {one}: greeted ", said)
        self.assertNotIn(str(two), said)
        self.assertEqual(watching.end(), 0)

    def test_it_ends_with_what_the_newest_run_said(self):
        one, two = self.files
        one.write_text(self.flow(one, "sad"))
        watching = Watching(self, one, two)
        self.assertIn("\n1 passed, 1 failed in ", watching.run())
        self.assertEqual(watching.end(), 1)

    def test_a_page_on_a_terminal(self):
        one, two = self.files
        main, other = pty.openpty()
        process = subprocess.Popen([SLUICE, "test", "--watch", one, two], stdout=other, stderr=other)
        os.close(other)
        self.addCleanup(os.close, main)
        self.addCleanup(process.wait)
        self.addCleanup(process.send_signal, signal.SIGINT)
        said = b""
        for _ in range(2):
            while not re.search(rb"\d\d:\d\d:\d\d  watching \d+ files and folders; Ctrl-C ends it\r\n", said):
                said += os.read(main, 4096)
            pages = said.split(b"\033[H\033[2J\033[3J")
            self.assertEqual((len(pages), pages[0]), (2, b""))
            said = b""
            replace(one, self.flow(one))


class WatchedSql(ServerCase):
    def test_a_migration_that_changes(self):
        """On one private server: each run has a template of what the files say now."""
        shutil.copytree(ROOT / "plugins/payment/sql", self.folder / "sql")
        refund = self.folder / "sql/0001_payment.sql"
        whole = refund.read_text()
        library = "{library: payment.so"
        pipeline = (ROOT / "config/pipeline.yaml").read_text()
        (self.folder / "pipeline.yaml").write_text(pipeline.replace(library, f"{library}, migrations: sql"))
        file = self.folder / "flows.yaml"
        file.write_text(
            (ROOT / "config/tests/payment.yaml")
            .read_text()
            .replace("../pipeline.yaml", "pipeline.yaml")
            .split("\ntests:")[0]
            + FLOW_OF_A_REFUND
        )
        watching = Watching(self, file)
        self.assertIn("\n1 passed, 0 failed in ", watching.run())
        replace(refund, whole.replace("array_agg(u.refunded) into", "array_agg(u.refunded / 2) into"))
        self.assertIn("      expected  [[500]]\n      got       [[450]]\n", watching.run())
        replace(refund, whole)
        self.assertIn("\n1 passed, 0 failed in ", watching.run())
        self.assertEqual(watching.end(), 0)


if __name__ == "__main__":
    unittest.main()
