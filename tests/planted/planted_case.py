"""The checker is checked: mistakes that are planted in the engine itself (tests/planted/NAME.patch, lib/mistakes.py)
must turn it red, for the reason that fits, and each has a twin without the mistake that stays green. A test goes on
until the engine has logged that its mistake was made. Here is what every bus can show; a subclass is for one bus.
"""
import os
import signal

from chaos import cases
from chaos.facts import sql
from chaos.stream import run_psql
from lib import mistakes
from lib.engine import until


def stopped(pid):
    """The process is frozen."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] == "T"


class Planted(cases.ChaosCase):
    outputs_table = "sluice.bus_log"  # into which a transaction's last statement writes what is emitted
    early = ("I1: k", "I1: ")

    def calm(self):
        """A stream without a fault; what the checker says."""
        stream = self.stream(tap=False)
        stream.watch()
        engine = self.engine(stream)
        for _ in range(3):
            stream.round(80, raw=2)
        stream.drain()
        stream.unwatch()
        stream.sample()
        self.assertEqual(engine.stop(), 0, engine.text())
        return stream

    def test_a_calm_run_has_no_violations(self):
        self.green(self.check(self.calm()))

    def doubled(self, mistake=None):
        """Events that come twice."""
        stream = self.stream(tap=False)
        engine = self.engine(stream, mistake=mistake)
        first = [stream.effect() for _ in range(40)]
        stream.send(first)
        until(lambda: sql(self.url, "SELECT count(*) AS n FROM effects")[0]["n"] >= 40, "the first effects")

        def again():
            stream.send([dict(entry, again=True) for entry in first])

        if mistake:
            mistakes.happened(mistake, engine, again)
        else:
            again()
        stream.drain()
        engine.kill()
        return self.check(stream)

    def test_effects_before_the_claim(self):
        self.red(self.doubled("effects_first"), "I19: k")

    def test_duplicates_taken_for_new(self):
        self.red(self.doubled("duplicates_are_new"), "I19: k")

    def test_without_the_mistake_doubled_events_are_green(self):
        self.green(self.doubled())

    def rolled_back(self, mistake=None):
        """A statement of the transaction that fails only when the batch's last statements run: COMMIT answers
        ROLLBACK."""
        stream = self.stream(tap=False)
        run_psql(
            self.url,
            """
            CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF nextval('failures') <= 3 THEN RAISE EXCEPTION 'on demand' USING ERRCODE = '40001'; END IF;
                RETURN NULL;
            END $$;
            CREATE SEQUENCE failures""",
        )
        stream.send([stream.effect() for _ in range(40)])
        run_psql(
            self.url,
            f"CREATE TRIGGER fail AFTER INSERT ON {self.outputs_table} FOR EACH STATEMENT EXECUTE FUNCTION fail_once()",
        )
        engine = self.engine(stream, mistake=mistake)
        if mistake:
            mistakes.happened(mistake, engine)
        until(lambda: sql(self.url, "SELECT is_called FROM failures")[0]["is_called"], "a failure")
        stream.drain()
        engine.kill()
        return self.check(stream)

    def test_a_failed_commit_ignored(self):
        self.red(self.rolled_back("commit_ignored"), "I1: k", "I1: ")

    def test_without_the_mistake_a_rolled_back_commit_is_green(self):
        self.green(self.rolled_back())

    def killed_before_commit(self, mistake=None):
        """Every batch waits before COMMIT, longer than it takes to commit positions; then the process dies."""
        stream = self.stream(tap=False)
        stream.send([stream.effect() for _ in range(40)])
        engine = self.engine(stream, "lane.commit.before=delay:60000", mistake)
        if mistake:
            mistakes.happened(mistake, engine)
            until(lambda: self.bus.lags().get(self.bus.group) == 0, "the early positions")
        else:
            until(
                lambda: sql(
                    self.url,
                    "SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'idle in transaction'"
                    " AND datname = current_database()",
                )[0]["n"]
                > 0,
                "an open batch",
            )
        stream.sample()
        engine.kill()
        stream.write(killed=1)
        engine = self.engine(stream)
        stream.drain()
        self.assertEqual(engine.stop(), 0)
        return self.check(stream)

    def test_positions_complete_before_commit(self):
        self.red(self.killed_before_commit("complete_early"), *self.early)

    def test_without_the_mistake_a_kill_before_commit_is_green(self):
        self.green(self.killed_before_commit())

    def handed_over(self, mistake=None):
        """A frozen owner wakes after another has gone on, and commits what it thought was done. With the mistake it is
        frozen once more behind that, before it can set right what it did."""
        stream = self.stream(tap=False)
        again = ",bus.commit.after=freeze@1" if mistake else ""
        first = self.engine(stream, "reader.commit.before=freeze@1" + again, mistake)
        self.await_all(first)
        self.every_key(stream)
        worker = first.worker()
        until(lambda: stopped(worker), "the first engine's freezing")
        stream.write(killed=1)
        second = self.engine(stream)
        # The first one's sessions stand, so it expires for its silence alone, and what it commits when it wakes reaches
        # the server.
        self.await_all(second)
        for _ in range(3):
            self.every_key(stream)
            stream.drain()
        second.kill()  # or it would set right what the first does wrong before we look
        stream.sample()
        os.kill(worker, signal.SIGCONT)
        if mistake:
            mistakes.happened(mistake, first)
            until(lambda: stopped(worker), "the first engine's freezing behind its commit")
        else:
            # It commits as soon as it wakes, and learns with its next heartbeat that it has expired.
            until(
                lambda: stream.sample() or any("lost" in line for line in list(first.log)),
                f"the first engine's insight; it said\n{first.text()}",
            )
        stream.sample()
        first.kill()
        return self.check(stream)

    @staticmethod
    def every_key(stream):
        """An event of every key, so that every partition that has events gets more."""
        stream.send([stream.effect(k=key) for key in stream.keys])

    def test_without_the_mistake_a_stale_epoch_is_green(self):
        self.green(self.handed_over())
