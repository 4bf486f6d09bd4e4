#!/usr/bin/env python3
"""`sluice validate` of files that work together: the shipped services are good as a set, and an edit of one of them
that breaks another, which each file alone does not show, is found. tests/pipeline/config_bad has the sentences.

Run alone: python3 tests/process/test_validate_set.py [-k NAME].
"""
import json
import pathlib
import shutil
import tempfile
import unittest

import _path
from lib.engine import sluice

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICES = sorted((ROOT / "config" / "services").glob("*.yaml"))
ENV = {"DATABASE_URL": "postgresql:///nowhere"}


def validate(*words):
    return sluice("validate", *words, env=ENV, check=False)


class ShippedServices(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sluice-set-")
        self.addCleanup(folder.cleanup)
        self.files = {file.stem: pathlib.Path(shutil.copy(file, folder.name)) for file in SERVICES}

    def edit(self, name, old, new):
        text = self.files[name].read_text()
        self.assertEqual(text.count(old), 1, f"{old!r} in {name}.yaml")
        self.files[name].write_text(text.replace(old, new))

    def findings(self):
        """(file, code) of each; none of the files shows any of them alone."""
        for file in self.files.values():
            alone = validate(file, "--json")
            self.assertEqual((alone.returncode, json.loads(alone.stdout)), (0, []), alone.stderr)
        done = validate(*self.files.values(), "--json")
        found = json.loads(done.stdout)
        errors = [problem for problem in found if problem["level"] == "error"]
        self.assertEqual(done.returncode, 78 if errors else 0)
        return [(pathlib.Path(problem["file"]).stem, problem["code"]) for problem in found]

    def test_they_are_good_together(self):
        done = validate(*SERVICES, "--deny-warnings")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = done.stdout.splitlines()
        self.assertEqual([line.split(": ")[0] for line in lines[:3]], [str(file) for file in SERVICES])
        self.assertEqual(lines[3:], ["3 files: good together"])
        self.assertEqual(self.findings(), [])

    def test_a_topic_that_nobody_handles_any_more(self):
        self.edit("payment", "  payment.try: ", "  payment.tri: ")
        self.assertEqual(self.findings(), [("gateway", "unhandled")])
        done = validate(*self.files.values())
        self.assertIn(f"{self.files['gateway']}:21:3: error: topic 'payment.try' is handled elsewhere", done.stderr)
        self.assertIn("did you mean 'payment.tri', to which nothing emits?", done.stderr)
        self.assertIn("3 files: 1 error, 0 warnings", done.stderr)

    def test_another_key(self):
        self.edit("gateway", "{userId}-{seatId}", "{seatId}-{userId}")
        self.assertEqual(self.findings(), [("payment", "other_key")])

    def test_other_partitions(self):
        self.edit("reservation", "partitions: 6", "partitions: 12")
        self.assertEqual(self.findings(), [("reservation", "other_partitions")] * 2)  # than either of the others

    def test_a_ladder_that_outlasts_the_hold(self):
        self.edit("payment", "max_retries: 3", "max_retries: 9")
        self.assertEqual(self.findings(), [("reservation", "hold_too_short")])

    def test_a_group_that_is_not_its_own(self):
        self.edit("reservation", "CONSUMER_GROUP:-reservation", "CONSUMER_GROUP:-payment")
        self.assertEqual(self.findings(), [("reservation", "same_group")])

    def test_a_cycle_through_two_services(self):
        route = "handler: payment.follow_failure, routes: {followed: %s}"
        self.edit("gateway", route % "drop", route % "payment.try")
        self.assertEqual(self.findings(), [("gateway", "cycle")])

    def test_a_route_that_another_service_waits_for(self):
        routes = "{refunded: %s, nothing_to_refund: %s}"
        self.edit("payment", routes % (("payment.cancelled",) * 2), routes % ("drop", "drop"))
        self.assertEqual(self.findings(), [("gateway", "never_emitted")])

    def test_the_chain_in_two_services(self):
        chain = self.files["payment"].read_text()
        chain = chain[chain.index("chains:") : chain.index("\nhttp:")]
        self.edit("gateway", "\ntaps:", f"\n{chain}\ntaps:")
        self.assertEqual(self.findings(), [("payment", "undone_twice")])


if __name__ == "__main__":
    unittest.main()
