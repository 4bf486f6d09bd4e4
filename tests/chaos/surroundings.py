"""What an engine stands in changes under it while events flow: its file between two runs, its connections to the
database, its clock, the pipe that it logs to. Then the checker looks for anything lost, doubled, invented or out of
order.

A subclass a bus. SLUICE_SEED repeats a run's stream and choices; ACTS (3) is how often each of them comes.
"""
import collections
import contextlib
import os
import re
import signal
import sys
import threading
import time

from chaos import checker
from chaos.facts import sql
from chaos.long_run import LongRun
from lib.clock import Clock
from lib.engine import until


class Surroundings(LongRun):
    def setUp(self):
        super().setUp()
        self.clock = Clock(self.folder / "clock")
        self.engine_env = self.clock.env
        self.file = self.work.config.read_text(encoding="utf-8")
        self.at_work = self.start(wait=True)

    def progress(self, what):
        """An event of every key that is sent from now on is handled, between others."""
        self.work.round(30, raw=5)
        marks = [self.work.effect(k=key) for key in self.work.keys]
        origins = {mark["origin"] for mark in marks}
        self.work.send(marks)
        done = f"SELECT origin FROM effects WHERE origin IN ({', '.join(map(repr, sorted(origins)))})"

        def missing():
            return origins - {row["origin"] for row in sql(self.url, done)}

        try:
            until(lambda: not missing(), what, 40, 0.1)
        except AssertionError as error:
            self.at_work.unmute()
            self.fail(f"{error}: not handled: {sorted(missing())}; the engine said\n{self.at_work.text()}")

    # ------------------------------------------------------------------------------------------------------ the acts

    def other_file(self):
        """Everything that may change without a word about what waits."""
        text = self.file
        for name, values in (
            ("lanes", (1, 3, 4, 6)),
            ("max_events", (1, 20, 100, 500)),
            ("max_retries", (5, 7)),
        ):
            value = self.dice.choice(values)
            text = re.sub(rf"\b{name}: \d+", f"{name}: {value}", text, count=1)
        return text

    def change_file(self):
        """Between two runs."""
        code = self.at_work.stop()
        self.assertEqual(code, 0, self.at_work.text())
        self.engines.remove(self.at_work)
        self.work.config.write_text(self.other_file(), encoding="utf-8")
        self.at_work = self.start(wait=True)

    def reload(self):
        """While events come: by a file that cannot run, by another one, and once more while one of the two workers is
        killed at a random moment."""
        feeder = threading.Thread(target=self.work.round, args=(120,))
        feeder.start()
        self.work.config.write_text(self.file + "nowhere: [", encoding="utf-8")
        self.assertIn("refused", self.at_work.reload())
        self.work.config.write_text(self.other_file(), encoding="utf-8")
        self.assertIn("reloaded in", self.at_work.reload())
        feeder.join()
        feeder = threading.Thread(target=self.work.round, args=(120,))
        feeder.start()
        answers = len(self.at_work.answers())
        self.at_work.process.send_signal(signal.SIGHUP)
        time.sleep(self.dice.random() * 0.4)
        workers = self.at_work.workers()
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.dice.choice(workers), signal.SIGKILL)
                self.killed()
        until(
            lambda: len(self.at_work.answers()) > answers,
            lambda: f"an answer; the engine said {self.at_work.text()}",
            60,
        )
        feeder.join()

    def terminate_backends(self):
        """Some of the engine's connections, or all; one of them in the middle of a transaction if there is one."""
        limit = self.dice.choice(("1", "2", "all"))
        rows = sql(
            self.url,
            "SELECT pg_terminate_backend(pid) AS ended FROM (SELECT pid FROM pg_stat_activity WHERE datname ="
            " current_database() AND application_name LIKE 'sluice%' ORDER BY xact_start NULLS LAST, random()"
            f" LIMIT {limit}) t",
        )
        self.ended += len(rows)

    def move_clock(self):
        self.clock.move(self.dice.choice((-3600, -90, -5, 0, 5, 90, 3600)))

    def fill_pipe(self):
        """As long as it takes to log a few lines: dead letters are logged at most once a second."""
        end = time.monotonic() + 3
        self.at_work.mute()
        try:
            while time.monotonic() < end:
                self.progress("events of every key with a full pipe")
        finally:
            self.at_work.unmute()

    def test_nothing_is_lost_or_done_twice(self):
        acts = [self.change_file, self.reload, self.terminate_backends, self.move_clock, self.fill_pipe]
        acts *= int(os.environ.get("ACTS") or 3)
        self.dice.shuffle(acts)
        self.ended = 0
        done = collections.Counter()
        for act in acts:
            self.progress("events of every key")
            act()
            self.progress(f"events of every key after {act.__name__}")
            done[act.__name__] += 1
        self.assertGreater(self.ended, 0, "no connection was there to be terminated")
        self.clock.move(0)
        self.assertEqual(self.at_work.stop(), 0, self.at_work.text())
        self.engines.remove(self.at_work)
        self.settle()
        facts = self.facts(self.work)
        # How long something waited cannot be told from times that a moved clock gave.
        found = [sentence for sentence in checker.check(facts) if "before its time" not in sentence]
        print(
            f"{dict(done)}, {self.ended} connections terminated; {self.work.sent} events sent,"
            f" {self.work.duplicates} of them duplicates; {len(facts.inbox)} outcomes, {len(facts.records)} records",
            file=sys.stderr,
        )
        self.green(found)
