#!/usr/bin/env python3
"""The checker is checked: every planted bug must turn it red, for the reason that fits; and without one it stays green.

Bugs are planted with failpoints of action `mutate` in the engine itself. Not every mistake of the list can be made on every bus:
  * outputs that count as emitted before the bus has them: on the postgres bus COMMIT is the emission, so there is no such moment.
    On the memory bus with a store it is "no sweeper" below;
  * a commit of an older epoch: the inbox makes it harmless for effects here; it shows as a position that goes back (I14).

Run alone: python3 tests/integration/test_checker.py [-k NAME]. SLUICE_SEED repeats a stream.
"""
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import unittest
import uuid

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / folder) for folder in ("lib", "chaos")]
import checker  # noqa: E402
from engine import SLUICE, Engine, until  # noqa: E402
from facts import Facts, sql  # noqa: E402
from postgres import PrivatePostgres  # noqa: E402
from stream import CONFIG, EFFECTS, LIBRARIES, Stream, run_psql  # noqa: E402
from wire import derive, hash64, hash128  # noqa: E402

SEED = int(os.environ.get("SLUICE_SEED") or random.SystemRandom().randrange(1, 1 << 31))


def setUpModule():
    global POSTGRES
    print(f"seed {SEED}", file=sys.stderr, flush=True)
    POSTGRES = PrivatePostgres()
    POSTGRES.start()


def tearDownModule():
    POSTGRES.close()


class Base(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sluice-checker-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.log = self.folder / "log"
        self.url = POSTGRES.create_database()
        self.engines = []
        self.addCleanup(lambda: [engine.kill() for engine in self.engines])

    def stream(self, tap=False):
        """A stream through tests/chaos/pipeline.yaml; without its tap, which has no part in what these tests look for."""
        text = CONFIG.read_text()
        if not tap:
            text = text[:text.index("taps:")] + text[text.index("\nhttp:"):]
            text = text.replace('{key: "{k}"}', '{key: "{k}", final: true}')
            text = text.replace("\nchains:", "  reservation.success: {final: true}\n\nchains:")
        config = self.folder / "pipeline.yaml"
        config.write_text(text)
        stream = Stream(SEED, self.url, self.log, config=config)
        stream.prepare()
        return stream

    def engine(self, stream, failpoints="", **options):
        engine = Engine(stream.config, {**stream.env, "SLUICE_FAILPOINTS": failpoints})
        self.engines.append(engine)
        return engine.start(**options)

    def check(self, stream, dumped=True):
        return checker.check(Facts(stream.config, stream.env, self.log, LIBRARIES, dump=dumped), dumped)

    def red(self, found, *sentences):
        """Each of the given beginnings is a violation that was found."""
        for wanted in sentences:
            self.assertTrue([sentence for sentence in found if sentence.startswith(wanted)],
                            f"planted, and the checker does not say '{wanted}…'; it found {len(found)}: {found[:10]} (seed {SEED})")


class Wire(unittest.TestCase):
    """The second implementation of ids gives what the first gives: vectors that the unit tests of base/ and event/ hold as well."""

    def test_known_values(self):
        self.assertEqual(hash64(b""), hash64(b""))
        self.assertNotEqual(hash128(b"a"), hash128(b"b"))
        parent = str(uuid.UUID(int=0x018f0000000070008000000000000001))
        self.assertEqual(derive(parent, "h", "r")[:13], parent[:13], "a time prefix is kept")
        self.assertNotEqual(derive(parent, "h", "r", 0), derive(parent, "h", "r", 1))


class Green(Base):
    def test_a_calm_run_has_no_violations(self):
        stream = self.stream()
        engine = self.engine(stream)
        for _ in range(3):
            stream.round(80, raw=2)
            stream.sample()
        stream.drain()
        self.assertEqual(engine.stop(), 0)
        self.assertEqual(self.check(stream), [], f"seed {SEED}")


class Planted(Base):
    def doubled(self, failpoint):
        """Events that come twice, through an engine with the bug."""
        stream = self.stream()
        engine = self.engine(stream, failpoint)
        first = [stream.effect() for _ in range(40)]
        stream.send(first)
        until(lambda: sql(self.url, "SELECT count(*) AS n FROM effects")[0]["n"] >= 40, "the first effects")
        stream.send([dict(entry, again=True) for entry in first])
        stream.drain()
        engine.kill()
        return self.check(stream)

    def test_effects_before_the_claim(self):
        self.red(self.doubled("lane.claim.mutate=mutate"), "I19: k")

    def test_hits_taken_for_new(self):
        self.red(self.doubled("store.claim.mutate=mutate"), "I19: k")

    def test_without_the_bug_doubled_events_are_green(self):
        self.assertEqual(self.doubled(""), [])

    def rolled_back(self, failpoint):
        """A statement of the transaction that fails only when the batch's last statements run: COMMIT answers ROLLBACK."""
        stream = self.stream()
        run_psql(self.url, """
            CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF nextval('failures') <= 3 THEN RAISE EXCEPTION 'on demand' USING ERRCODE = '40001'; END IF;
                RETURN NULL;
            END $$;
            CREATE SEQUENCE failures""")
        stream.send([stream.effect() for _ in range(40)])
        run_psql(self.url, "CREATE TRIGGER fail AFTER INSERT ON sluice.bus_log FOR EACH STATEMENT EXECUTE FUNCTION fail_once()")
        engine = self.engine(stream, failpoint)
        until(lambda: sql(self.url, "SELECT is_called FROM failures")[0]["is_called"], "a failure")
        stream.drain()
        engine.kill()
        return self.check(stream)

    def test_commit_tag_ignored(self):
        self.red(self.rolled_back("store.commit.ignore_tag=mutate"), "I1: k", "I1: ")

    def test_without_the_bug_a_rolled_back_commit_is_green(self):
        self.assertEqual(self.rolled_back(""), [])

    def killed_before_commit(self, failpoint):
        """Every batch waits before COMMIT, longer than it takes to commit positions; then the process dies."""
        stream = self.stream()
        stream.send([stream.effect() for _ in range(40)])
        engine = self.engine(stream, ",".join(filter(None, [failpoint, "lane.commit.before=delay:60000"])))
        if failpoint:
            until(lambda: sql(self.url, "SELECT coalesce(sum(sluice.bus_lag('chaos')), 1) AS n")[0]["n"] == 0, "the early positions")
        else:
            until(lambda: sql(self.url, "SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'idle in transaction'"
                                        " AND datname = current_database()")[0]["n"] > 0, "an open batch")
        engine.kill()
        engine = self.engine(stream)
        stream.drain()
        self.assertEqual(engine.stop(), 0)
        return self.check(stream)

    def test_positions_complete_before_commit(self):
        self.red(self.killed_before_commit("lane.complete.mutate=mutate"), "I1: k", "I1: ")

    def test_without_the_bug_a_kill_before_commit_is_green(self):
        self.assertEqual(self.killed_before_commit(""), [])

    def overtaken(self, failpoint):
        """Transactions that are slow to commit are overtaken by others with higher numbers."""
        stream = self.stream()
        engine = self.engine(stream, ",".join(filter(None, [failpoint, "lane.commit.before=delay:120%30"])))
        for _ in range(8):
            stream.send([stream.pay() for _ in range(25)])
        try:
            stream.drain(5 if failpoint else 60)
        except AssertionError:
            self.assertTrue(failpoint, "only what was read past stays behind")
        engine.kill()
        return self.check(stream)

    def test_reading_past_transactions_that_still_run(self):
        self.red(self.overtaken("bus.horizon.mutate=mutate"), "I1: ")

    def test_without_the_bug_slow_transactions_are_green(self):
        self.assertEqual(self.overtaken(""), [])

    def handed_over(self, failpoint):
        """A frozen owner wakes after another has gone on, and commits what it thought was done."""
        stream = self.stream()
        first = self.engine(stream, ",".join(filter(None, [failpoint, "reader.commit.before=freeze@1"])))
        until(lambda: any("16 in all" in line for line in list(first.log)), "all partitions")
        stream.send([stream.effect() for _ in range(40)])
        worker = first.worker()

        def frozen():
            with open(f"/proc/{worker}/stat", encoding="utf-8") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] == "T"
        until(frozen, "the first engine's freezing")
        second = self.engine(stream)
        # Its sessions stand, so it is buried for its silence alone, and what it commits when it wakes reaches the server.
        until(lambda: any("16 in all" in line for line in list(second.log)), "the second engine's partitions", 30)
        for _ in range(3):
            stream.send([stream.effect() for _ in range(40)])
            stream.drain()
        second.kill()  # or it would set right what the first does wrong before we look
        stream.sample()
        os.kill(worker, signal.SIGCONT)

        def found_out():  # it commits as soon as it wakes, and learns with its next beat that it was buried
            stream.sample()
            return any("lost" in line for line in list(first.log))
        until(found_out, f"the first engine's insight; it said\n{first.text()}")
        first.kill()
        return self.check(stream)

    def test_an_old_epoch_accepted(self):
        self.red(self.handed_over("bus.epoch.mutate=mutate"), "I14: ")

    def test_without_the_bug_an_old_epoch_is_green(self):
        self.assertEqual(self.handed_over(""), [])


MEMORY = """
pipeline: memory
bus: {kind: memory}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 1, sweep_after: 200ms}
plugins:
  chaos: {library: "${CHAOS_SO}", settings: {adds: 5}}
schedules:
  ticks: {every: 100ms, handler: chaos.tick, routes: {ok: things, other: drop}}
topics:
  things: {final: true}
"""


class Sweeper(Base):
    """Outputs that are committed and that the bus does not take. Its topics cannot be seen from here: the outbox can."""

    def unpublished(self, failpoint):
        config = self.folder / "memory.yaml"
        config.write_text(MEMORY)
        env = {"DATABASE_URL": self.url, "CHAOS_SO": str(EFFECTS.parent / "chaos.so")}
        self.assertEqual(subprocess.run([SLUICE, "migrate", config],
                                        env=dict(os.environ, **env), capture_output=True, check=False).returncode, 0)
        engine = Engine(config, {**env, "SLUICE_FAILPOINTS": ",".join(filter(None, [failpoint, "bus.append.before=error%40"])),
                                 "SLUICE_SEED": str(SEED)}, http=False)
        self.engines.append(engine)
        engine.start()
        until(lambda: sum("not published now" in line for line in list(engine.log)) >= 1, "a refusal of the bus")

        def ids():
            return {row["id"] for row in sql(self.url, "SELECT id FROM sluice.outbox")}
        if failpoint:
            until(lambda: len(ids()) >= 5, "a pile of batches that nobody publishes")
            left = len(ids())
        else:
            until(lambda: any("left behind" in line for line in list(engine.log)), "the sweeper's word")
            now = ids()  # there is always a batch that was just published: its row goes with the next transaction
            until(lambda: not now & ids(), "the end of the batches that were there")
            left = 0
        engine.kill()
        return left

    def test_no_sweeper(self):
        left = self.unpublished("keeper.sweep=mutate")
        self.assertGreater(left, 0)
        facts = type("Database", (), {"url": self.url})()
        self.red(list(checker.drained(facts)), "I15: ")

    def test_with_the_sweeper_the_outbox_empties(self):
        self.assertEqual(self.unpublished(""), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
