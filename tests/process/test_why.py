#!/usr/bin/env python3
"""Why an event waits: each cause is brought about for real; `sluice explain --why` says it in a sentence, with the
command that moves it, and `--json` has the same with its fields.

Run alone: python3 tests/process/test_why.py [-k NAME].
"""
import os
import signal
import subprocess
import unittest

import _path
from lib.engine import BUILD, sluice, until
from lib.sql_case import SqlCase
from why_case import ANY, ANY_TIME, KAFKA_CAUSES, RELEASE, WAIT_S, YAML, Waits, causes_of_the_source


class Postgres(Waits, SqlCase):
    yaml = YAML
    ended, alone = "the worker process ended", "a batch of its own while no other lane runs"

    def setUp(self):
        super().setUp()
        self.running = None

    def start(self):
        self.running = self.running or self.engine()

    def stop(self):
        if self.running:
            self.running.stop()
        self.running = None

    def run_command(self, wait):
        line = wait["command"].replace("CONFIG", str(self.config))
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=self.shell(), check=False)
        self.assertEqual(done.returncode, 0, f"{line}\n{done.stderr}")

    def shell(self):
        return {**os.environ, **self.vars, "PATH": f"{BUILD}:{os.environ['PATH']}"}

    def gone(self, origin, cause):
        """What it waited for is over."""
        until(
            lambda: cause not in [wait["cause"] for wait in self.waits(origin)],
            f"{origin} not to wait for {cause} any more; {self.why(origin)}",
            WAIT_S,
            0.2,
        )

    def open_session(self, statement, condition):
        """A session that somebody forgot, once the condition holds of it."""
        session = subprocess.Popen(
            ["psql", "-X", "-q", "-o", "/dev/null", self.url],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.addCleanup(session.wait)
        self.addCleanup(session.kill)
        session.stdin.write(f"set application_name = 'forgotten';\nbegin;\n{statement};\n")
        session.stdin.flush()
        query = f"select pid from pg_stat_activity a where application_name = 'forgotten' and {condition}"
        until(lambda: self.rows(query), "an open session", WAIT_S, 0.1)
        return session, int(self.value(query))

    # the causes, each as (how it comes about, what is told, what has become of it once its command was run)

    def retry(self):
        self.emit("in", self.one("retry", flaky=9))
        wait = self.tells(
            "retry",
            "retry",
            r"failed 1 time, holds its key, next try at \S+, in \d+\.\d s: flaky on demand",
            RELEASE,
            name="effects.record",
            tries=1,
            until=ANY_TIME,
        )
        self.run_command(wait)
        self.tells("retry", "retry", "failed 2 times, ", RELEASE, name="effects.record", tries=2, until=ANY_TIME)

    def key(self):
        self.emit("in", self.one("first", "k", flaky=1), self.one("second", "k"), self.one("third", "k"))
        sentence = "behind its key: 1 event before it; the first waits: flaky on demand"
        wait = self.tells("second", "key", sentence, RELEASE, name="effects.record", count=1)
        self.tells("third", "key", "behind its key: 2 events before it", RELEASE, name="effects.record", count=2)
        self.run_command(wait)
        self.gone("third", "key")

    def unavailable(self):
        self.cause("lock", "do $x$ begin raise exception 'busy' using errcode = '55P03'; end $x$")
        self.emit("in", self.one("lock"))
        self.tells(
            "lock",
            "unavailable",
            "no try is counted, holds its key, next try .*busy",
            RELEASE,
            name="effects.record",
            until=ANY_TIME,
        )

    def handler_stopped(self):
        self.rows("alter table effects rename to away")
        self.emit("in", self.one("stopped-1"), self.one("stopped-2"), self.one("stopped-3"))
        for origin in ("stopped-1", "stopped-2", "stopped-3"):
            until(lambda: self.waits(origin), f"{origin} to wait", WAIT_S, 0.2)
        self.emit("in", self.one("stopped"))
        self.tells(
            "stopped",
            "handler_stopped",
            "handler effects.record of plugin effects has stopped: .*42P01",
            "sluice migrate CONFIG",
            name="effects.record",
            until=ANY_TIME,
        )
        self.rows("alter table away rename to effects")
        self.gone("stopped", "handler_stopped")

    def plugin_fault(self):
        """It ended the process in its first call; in the second it is looked at."""
        path = self.folder / "crashed"
        data = {"k": "p", "origin": "faulty", "mode": "crash_once_then_wait", "path": str(path)}
        self.emit("guarded", self.event(data))
        self.tells(
            "faulty",
            "plugin_fault",
            f"handler chaos.act_sql of plugin chaos: {self.ended} 1 time in its handler's call: signal 11 .*; it is "
            f"tried in {self.alone}, and is a dead letter when that ends the process 1 more time",
            name="chaos.act_sql",
            count=1,
        )
        self.assertNotIn("queue", [wait["cause"] for wait in self.waits("faulty")])
        path.unlink()
        self.gone("faulty", "plugin_fault")
        self.await_value("select count(*) from sluice.suspect", 0)

    def delayed(self):
        self.emit("in", self.one("delayed", climb=1))
        wait = self.tells(
            "delayed", "delayed", r"delayed: due at \S+, in 3\d\d\d\.\d s", RELEASE, name="why", until=ANY_TIME
        )
        self.run_command(wait)
        self.gone("delayed", "delayed")
        self.assertRegex(self.why("delayed"), "nothing of it waits")

    def timer(self):
        self.emit("billed", self.one("timed"))
        wait = self.tells(
            "timed",
            "timer",
            r"timer of chain bill, until settled: emits out at \S+",
            RELEASE,
            name="bill",
            until=ANY_TIME,
        )
        self.run_command(wait)
        self.gone("timed", "timer")

    def paused(self):
        sluice("pause", self.config, "in", "--for", "1h", "--reason", "a deploy", env=self.vars)
        until(lambda: self.running.metric("sluice_paused") == 1, "a pause that the engine obeys", WAIT_S, 0.1)
        self.emit("in", self.one("paused"))
        wait = self.tells(
            "paused",
            "paused",
            "topic in is paused by .* until .*: a deploy",
            "sluice resume CONFIG topic:in",
            name="in",
            until=ANY_TIME,
        )
        self.run_command(wait)
        self.gone("paused", "paused")

    def breaker(self):
        for n in range(3):
            path = str(self.folder / f"once-{n}")
            data = {"k": f"b{n}", "origin": f"breaker-{n}", "mode": "unavailable_once", "path": path}
            self.emit("guarded", self.event(data))
        self.await_value("select count(*) from sluice.pause where kind = 'breaker'", 1, WAIT_S)
        self.emit("guarded", self.event({"k": "b", "origin": "breaker", "mode": "ok"}))
        wait = self.tells(
            "breaker",
            "breaker",
            "breaker gateway is open since .*: 2 calls failed within 10m; the last: ",
            "sluice resume CONFIG breaker:gateway",
            name="gateway",
            until=ANY_TIME,
        )
        self.run_command(wait)
        self.gone("breaker", "breaker")

    def limit(self):
        self.emit("limited", self.one("limit-1"))
        self.await_value("select count(*) from effects where origin = 'limit-1'", 1)
        self.emit("limited", self.one("limit-2", "l"), self.one("limit-3", "l"))
        self.tells("limit-2", "limit", "the limit of topic limited, 1/h; it comes by itself", name="limited")
        behind = "behind its key: 1 event before it; the first waits: the limit of topic limited, 1/h"
        self.tells("limit-3", "key", behind, name="effects.record", count=1)
        listed = sluice("delayed", "list", self.config, "--topic", "limited", env=self.vars).stdout
        self.assertRegex(listed, r"key l; 1 behind it; the limit of topic limited, 1/h\n")

    def early(self):
        self.emit("early", self.one("early"))
        sentence = r"waits for in with origin=early, for at most (1 h 0 m|59 m \d+ s), then dead letter"
        self.tells("early", "early", sentence, name="effects.record", until=ANY_TIME)
        self.emit("in", self.one("early"))
        self.gone("early", "early")

    def chain_stuck(self):
        self.emit("paid", self.one("stuck", refuse=1))
        self.await_value("select count(*) from sluice.chain where correlation_text = 'stuck'", 1)
        self.emit("failed", self.one("stuck"))
        self.tells(
            "stuck",
            "chain_stuck",
            "its undo failed for good and waits for an operator: .*refused on demand",
            "sluice chain resume CONFIG stuck",
            name="why",
            tries=1,
        )

    def undo_waits(self):
        """A chain whose undos are on their way is not undone."""
        sluice("pause", self.config, "refund", env=self.vars)
        until(lambda: self.running.metric("sluice_paused") == 1, "a pause that the engine obeys", WAIT_S, 0.1)
        self.emit("paid", self.one("undo"))
        self.await_value("select count(*) from sluice.chain where correlation_text = 'undo'", 1)
        self.emit("failed", self.one("undo"))
        wait = self.tells(
            "undo", "paused", "topic refund is paused by", "sluice resume CONFIG topic:refund", name="refund"
        )
        story = self.story("undo")
        self.assertEqual((story["chainState"], story["chainUndos"], story["chainDoings"]), ("aborted", 0, 1))
        text = sluice("explain", self.config, "undo", env=self.vars).stdout
        self.assertRegex(text, r"^undo   chain order: aborted, because: .*; 0 of 1 done steps undone\n")
        sent = "Its undos are sent, and not all of them known to be handled"
        self.assertIn(sent, sluice("chain", "show", self.config, "undo", env=self.vars).stdout)
        self.run_command(wait)
        self.gone("undo", "paused")
        self.await_value("select undone from sluice.chain where correlation_text = 'undo'", 1)
        story = self.story("undo")
        self.assertEqual((story["chainState"], story["chainUndos"], story["chainDoings"]), ("undone", 1, 1))
        self.assertNotIn(sent, sluice("chain", "show", self.config, "undo", env=self.vars).stdout)

    def dead_letter(self):
        self.emit("in", self.one("dead", refuse=1))
        wait = self.tells(
            "dead",
            "dead_letter",
            r"dead letter \d+ waits for a decision: .*refused on demand",
            r"sluice dead-letter show CONFIG \d+",
        )
        self.run_command(wait)
        self.run_command({"command": "sluice dead-letter drop CONFIG --all"})
        self.gone("dead", "dead_letter")

    def unknown(self):
        """As an engine with another file leaves it; one that has the topic would take it."""
        self.emit("in", self.one("unknown", climb=1))
        self.await_value("select count(*) from sluice.parked where state = 0", 1)
        self.stop()
        self.rows("update sluice.parked set state = 2 where state = 0")
        sentence = "the file says nothing of its topic"
        self.tells("unknown", "unknown_topic", sentence, "sluice validate --connect CONFIG", name="why")
        self.start()
        self.gone("unknown", "unknown_topic")

    def open_transaction(self):
        session, pid = self.open_session(
            "select pg_advisory_xact_lock_shared(sluice.bus_lock_writer(), 0), pg_current_xact_id()",  # as an engine
            "backend_xid is not null",
        )
        self.emit("in", self.one("behind"))
        wait = self.tells(
            "behind",
            "open_transaction",
            f"a transaction of an engine is open, and nothing behind it is read: pid {pid}, forgotten, .* since ",
            rf'psql "\$DATABASE_URL" -c "select pg_terminate_backend\({pid}\)"',
            pid=pid,
        )
        self.run_command(wait)
        self.gone("behind", "open_transaction")
        session.stdin.close()

    def no_reader(self):
        """A partition was freed, and the process that could take it stands still."""
        worker = self.running.worker()
        os.kill(worker, signal.SIGSTOP)
        try:
            self.rows(
                "update sluice.bus_lease set member = null, epoch = epoch + 1 where consumer_group = 'why';"
                " update sluice.bus_member_heartbeat set at = clock_timestamp() + interval '1 min'"
            )
            self.emit("in", self.one("unread"))
            sentence = "no process of group why reads its partition, [01]"
            self.tells("unread", "no_reader", sentence, "sluice validate --connect CONFIG", name="why")
        finally:
            os.kill(worker, signal.SIGCONT)
        self.gone("unread", "no_reader")

    def tap(self):
        """It is at an earlier event; then no process runs; then its handler ends the process."""
        path = self.folder / "held"
        path.touch()
        data = {"k": "t", "mode": "crash_once_then_wait", "path": str(path)}
        self.emit("seen", self.event({**data, "origin": "tapped-1"}))
        self.tells("tapped-1", "tap", "tap watch has not read it: it", "sluice doctor CONFIG", name="watch", count=ANY)
        self.emit("seen", self.event({"k": "t", "origin": "tapped-2", "mode": "ok"}))
        sentence = r"tap watch has not read it: its turn: at most \d+ records? of its partition before it"
        self.tells("tapped-2", "tap", sentence, "sluice doctor CONFIG", name="watch", count=ANY)
        path.unlink()
        self.gone("tapped-2", "tap")
        self.gone("tapped-1", "tap")
        self.stop()
        self.emit("seen", self.event({**data, "origin": "tapped"}))
        sentence = "tap watch has not read it: no process of group why.watch runs"
        self.tells("tapped", "tap", sentence, "sluice run CONFIG", name="watch")
        self.start()
        sentence = "handler watch/chaos.act of plugin chaos: the worker process ended 1 time in its handler's call"
        self.tells("tapped", "plugin_fault", sentence, name="watch/chaos.act", count=1)
        self.assertEqual(["plugin_fault"], [wait["cause"] for wait in self.waits("tapped")])
        path.unlink()
        self.gone("tapped", "plugin_fault")
        self.gone("tapped", "tap")

    def queue(self):
        self.rows("create table go (n int)")
        self.cause(
            "slow", "do $x$ begin while not exists (select from go) loop perform pg_sleep(0.1); end loop; end $x$"
        )
        self.emit("in", self.one("slow"))
        self.tells("slow", "queue", "(it is next in|at most .* of) its partition", name="why", count=ANY)
        self.rows("insert into go values (1)")
        self.gone("slow", "queue")

    def engine_stopped(self):
        self.stop()
        self.emit("in", self.one("alone"))
        self.tells("alone", "engine_stopped", "no process of group why runs", "sluice run CONFIG", name="why")
        self.start()
        self.gone("alone", "engine_stopped")

    def test_causes(self):
        told = {
            "retry": self.retry,
            "key": self.key,
            "unavailable": self.unavailable,
            "handler_stopped": self.handler_stopped,
            "plugin_fault": self.plugin_fault,
            "delayed": self.delayed,
            "timer": self.timer,
            "paused": self.paused,
            "breaker": self.breaker,
            "limit": self.limit,
            "early": self.early,
            "chain_stuck": self.chain_stuck,
            "dead_letter": self.dead_letter,
            "unknown_topic": self.unknown,
            "open_transaction": self.open_transaction,
            "no_reader": self.no_reader,
            "tap": self.tap,
            "queue": self.queue,
            "engine_stopped": self.engine_stopped,
        }
        self.assertEqual({*told, *KAFKA_CAUSES}, causes_of_the_source())
        self.start()
        for cause, test in told.items():
            with self.subTest(cause):
                test()
        with self.subTest("undo_waits"):
            self.undo_waits()

    def test_nothing(self):
        self.start()
        self.emit("in", self.one("good"))
        self.await_topic("out", 1)
        self.assertEqual(self.why("good"), "nothing of it waits\n")
        self.assertEqual(self.why("nobody"), "nothing on this pipeline's topics carries it\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
