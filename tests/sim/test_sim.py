#!/usr/bin/env python3
"""The simulation: many short runs and a few long ones hold, the same seed gives the same run, and every mistake made on
purpose is found.

The program is $B/tests/sim/sim (default build/): `make build/tests/sim/sim`.
"""
import os
import re
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SIM = os.path.join(ROOT, os.environ.get("B", "build/"), "tests/sim/sim")
PLANTS = [
    "effect-before-claim",
    "watermark-over-incomplete",
    "old-epoch-accepted",
    "held-key-ignored",
    "late-step-not-undone",
    "unknown-commit-is-done",
    "emit-not-awaited",
    "claim-kept-on-retry",
    "unpark-before-commit",
    "passes-a-requeued-event",
    "held-keys-not-loaded",
    "follower-overtakes",
    "held-row-ends-early",
]


def sim(*arguments):
    done = subprocess.run(
        [SIM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    return done.returncode, done.stdout


def figures(output):
    return {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", output)}


class Simulation(unittest.TestCase):
    def holds(self, *arguments):
        code, output = sim(*arguments)
        self.assertEqual(code, 0, output)
        return figures(output)

    def test_many_short_runs(self):
        met = self.holds(1, 1000, 300)
        self.assertGreaterEqual(met["inputs"], 300000)
        # A run in which nothing goes wrong shows nothing.
        troubles = "crashes rebalances fenced unknown_commits late_rows retries parked held undos alone virtual_hours"
        for trouble in troubles.split():
            self.assertGreater(met[trouble], 0, trouble)
        self.assertGreater(met["deliveries"], met["inputs"])

    def test_runs_that_failed_once(self):
        """Rows of a lost COMMIT were left to the sweeper, or to nobody, when streams changed hands meanwhile."""
        for seed in (2710, 3044, 4616, 9711):
            self.holds(seed, 1000)

    def test_some_longer_runs(self):
        self.holds(700001, 20000, 10)

    def test_a_seed_is_a_run(self):
        first, second, other = sim(77, 3000)[1], sim(77, 3000)[1], sim(78, 3000)[1]
        self.assertEqual(first.splitlines()[0], second.splitlines()[0])
        self.assertNotEqual(first.splitlines()[0], other.splitlines()[0])

    def test_arguments(self):
        for bad in ([], ["1"], ["1", "0"], ["x", "5"], ["1", "5", "1", "1"], ["1", "5", "--plant", "nothing"]):
            self.assertEqual(sim(*bad)[0], 64, bad)

    def test_every_plant_is_known(self):
        listed = re.search(r"plants: (.*)", sim()[1]).group(1).split()
        self.assertEqual(listed, PLANTS)


def finds(plant):
    def test(self):
        code, output = sim(1, 5000, 60, "--plant", plant)
        self.assertEqual(code, 1, output)
        self.assertIn("FAILED", output)
        again = re.search(r"again: sim (\d+) 5000 --plant " + plant, output)
        self.assertIsNotNone(again, output)
        # The command that is printed fails in the same way, and the same seed without the mistake holds.
        failed = output.splitlines()[-2:]
        self.assertEqual(sim(again.group(1), 5000, "--plant", plant)[1].splitlines()[-2:], failed)
        self.assertEqual(sim(again.group(1), 5000)[0], 0)

    return test


for name in PLANTS:
    setattr(Simulation, "test_finds_" + name.replace("-", "_"), finds(name))

if __name__ == "__main__":
    unittest.main()
