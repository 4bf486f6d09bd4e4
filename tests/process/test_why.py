#!/usr/bin/env python3
"""Why an event waits: each cause is brought about for real; `sluice explain --why` says it in a sentence, with the
command that moves it, and `--json` has the same with its fields.

Run alone: python3 tests/process/test_why.py [-k NAME].
"""
import json
import os
import re
import signal
import subprocess
import unittest

import _path
from lib.engine import BUILD, ROOT, Engine, sluice, until
from lib.kafka import PrivateKafka
from lib.pipeline_case import CHAOS, EFFECTS
from lib.server_case import PostgresCase
from lib.sql_case import TABLE, SqlCase

WAIT_S = 60
YAML = """
pipeline: why
bus: {kind: postgres, partitions: 2}
store: {url: "${DATABASE_URL}"}
engine: {group: why, lanes: 2}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
defaults: {retry: {max_retries: 2, backoff: {initial_interval: 1h, max_interval: 2h, jitter: 0}}, timeout: 100s}
dependencies: {gateway: {failures: 2, window: 10m, open: 1h}}
topics:
  in: {key: "{k}", handler: effects.record, routes: {
    done: out, again: {retry: climb, initial_interval: 1h, max_retries: 2, exhausted: out}}}
  out: {key: "{k}", final: true}
  guarded: {key: "{k}", handler: chaos.act_sql, dependency: gateway, routes: {ok: drop, other: drop}}
  limited: {key: "{k}", handler: effects.record, limit: {rate: 1/h}, routes: {done: drop, again: drop}}
  paid: {key: "{origin}", final: true}
  failed: {key: "{origin}", final: true}
  refund: {key: "{origin}", handler: effects.record, retry: {max_retries: 0}, routes: {done: drop, again: drop}}
  seen: {key: "{k}", final: true}
taps: {watch: {topics: [seen], handler: chaos.act, routes: {ok: drop, other: drop}, from: earliest}}
chains:
  order: {correlate: origin, steps: [{name: pay, done: paid, undo: refund}], abort_on: [failed]}
"""
RELEASE = r"sluice delayed release CONFIG [0-9a-f-]{36}"


class Waits:
    """What explain says of a correlation, in its three ways."""

    def why(self, origin):
        return sluice("explain", self.config, origin, "--why", env=self.vars).stdout

    def story(self, origin):
        return json.loads(sluice("explain", self.config, origin, "--json", env=self.vars).stdout)

    def waits(self, origin):
        story = self.story(origin)
        return story["waits"] + [wait for event in story["events"] for wait in event["waits"]]

    def tells(self, origin, cause, sentence, command=None, **fields):
        """The cause comes, with its fields; and the texts say the same."""
        found = []

        def is_there():
            found[:] = self.waits(origin)
            return any(wait["cause"] == cause and re.search(sentence, wait["text"]) for wait in found)

        try:
            until(is_there, f"{origin} to wait: {cause}: {sentence}", WAIT_S, 0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}; it has {found}\n{self.story(origin)}") from None
        (wait,) = [wait for wait in found if wait["cause"] == cause]
        (self.assertIsNone if command is None else lambda got: self.assertRegex(got, rf"\A{command}\Z"))(
            wait["command"]
        )
        for name, wanted in fields.items():
            got = wait.get(name)
            good = wanted is ANY or (got > 1.7e12 if wanted is ANY_TIME else got == wanted)
            self.assertTrue(good, f"{name} of {wait}: {wanted}")
        self.assertLessEqual(set(wait), {"cause", "text", "command", *fields}, wait)
        text = sluice("explain", self.config, origin, env=self.vars).stdout
        arrow = f"  → {wait['command'].replace(' CONFIG', f' {self.config}')}" if command else ""
        for said in (text, self.why(origin)):
            line = next((line for line in said.splitlines() if re.search(sentence, line)), None)
            self.assertIsNotNone(line, f"{sentence}\n{said}")
            self.assertTrue(line.endswith(arrow), said)
        return wait


ANY, ANY_TIME = object(), object()


class Postgres(Waits, SqlCase):
    yaml = YAML

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
            "handler chaos.act_sql of plugin chaos: the worker process ended 1 time in its handler's call: signal 11 "
            ".*; it is tried in a batch of its own while no other lane runs, and is a dead letter when that ends the "
            "process 1 more time",
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

    def chain_stuck(self):
        self.emit("paid", self.one("stuck", refuse=1))
        self.await_value("select count(*) from sluice.chain", 1)
        self.emit("failed", self.one("stuck"))
        self.tells(
            "stuck",
            "chain_stuck",
            "its undo failed for good and waits for an operator: .*refused on demand",
            "sluice chain resume CONFIG stuck",
            name="why",
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
        session, pid = self.open_session("select pg_current_xact_id()", "backend_xid is not null")
        self.emit("in", self.one("behind"))
        wait = self.tells(
            "behind",
            "open_transaction",
            f"a transaction is open in the server, and nothing behind it is read: pid {pid}, forgotten, .* since ",
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
        path.unlink()
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
            "paused": self.paused,
            "breaker": self.breaker,
            "limit": self.limit,
            "chain_stuck": self.chain_stuck,
            "dead_letter": self.dead_letter,
            "unknown_topic": self.unknown,
            "open_transaction": self.open_transaction,
            "no_reader": self.no_reader,
            "tap": self.tap,
            "queue": self.queue,
            "engine_stopped": self.engine_stopped,
        }
        self.assertEqual({*told, *Kafka.causes}, causes_of_the_source())
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


def causes_of_the_source():
    """A cause that is added needs a row here."""
    return set(re.findall(r'\[WAIT_\w+\] = "(\w+)"', (ROOT / "engine/operate/wait.c").read_text()))


class Kafka(Waits, PostgresCase):
    causes = {"outbox", "no_leader", "engine_stopped", "retry", "key"}

    def test_causes(self):
        with PrivateKafka(3) as kafka:
            self.kafka = kafka
            self.vars = {
                "DATABASE_URL": self.url,
                "EFFECTS_SO": str(EFFECTS),
                "CHAOS_SO": str(CHAOS),
                **kafka.env(),
            }
            self.config = self.folder / "pipeline.yaml"
            kind = (
                'bus: {kind: kafka, partitions: 2, replication: 1, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}'
            )
            yaml = YAML.replace("bus: {kind: postgres, partitions: 2}", kind)
            self.config.write_text(yaml.replace("  out: {", "  out: {partitions: 1, "))
            sluice("migrate", self.config, env=self.vars)
            self.postgres.query(TABLE, self.url)
            self.causes_on(kafka)

    def emit(self, origin, key=None, **data):
        event = {"k": key or origin, "origin": origin, "seq": 1, **data}
        sluice("emit", self.config, "in", "--data", json.dumps(event), env=self.vars)

    def causes_on(self, kafka):
        with Engine(self.config, self.vars) as engine:
            self.emit("retry", flaky=9)
            retry = {"name": "effects.record", "until": ANY_TIME}
            self.tells("retry", "retry", "failed 1 time, .*: flaky on demand", RELEASE, tries=1, **retry)
            self.emit("second", key="retry")
            self.tells("second", "key", "1 event before it", RELEASE, count=1, name="effects.record")
            kafka.alter_topic_config("out", {"max.message.bytes": "100"})
            self.emit("large")
            sentence = "an event for out is committed, and the brokers refuse it; .*large"
            self.tells("large", "outbox", sentence, "sluice validate --connect CONFIG", name="out")
            self.no_leader(kafka)
            self.assertEqual(engine.stop(), 0)
        self.unread(kafka)
        self.emit("alone")
        self.tells("alone", "engine_stopped", "no process of group why runs", "sluice run CONFIG", name="why")

    def unread(self, kafka):
        """Of its own topic: it is there, and nobody can read it."""
        away = kafka.leader("in", 0)
        data = {"eventId": "unread", "data": {"k": "unread", "origin": "unread", "seq": 1}}
        kafka.produce("in", "unread", json.dumps(data), partition=0)
        kafka.kill(away)
        until(lambda: kafka.leader("in", 0) == -1, "a partition without a leader", WAIT_S)
        with Engine(self.config, self.vars):
            for origin in ("unread", data["eventId"]):
                sentence = "partition 0 of in has no leader.*: an event there is neither handled nor seen from here"
                self.tells(origin, "no_leader", sentence, name="in")
            self.assertNotIn("nothing on this pipeline's topics", self.why("unread"))
            kafka.restart(away)
            until(lambda: self.story("unread")["events"], "the event", WAIT_S, 0.2)
            until(lambda: not self.waits("unread"), "an event that waits for nothing", WAIT_S, 0.2)

    def no_leader(self, kafka):
        """Of the topic to which an event leads: it waits in the outbox; then of its own."""
        kafka.alter_topic_config("out", {"max.message.bytes": "1000000"})
        self.postgres.query("update sluice.outbox set tried_at = null", self.url)
        until(lambda: not self.waits("large"), "an empty outbox", WAIT_S, 0.2)
        away = kafka.leader("out", 0)
        partition = 0 if kafka.leader("in", 0) != away else 1
        kafka.kill(away)
        until(lambda: kafka.leader("out", 0) == -1, "a partition without a leader", WAIT_S)
        data = {"eventId": "leaderless", "data": {"k": "leaderless", "origin": "leaderless", "seq": 1}}
        kafka.produce("in", "leaderless", json.dumps(data), partition=partition)
        sentence = "an event for out is committed and not published: partition 0 has no leader"
        self.tells("leaderless", "no_leader", sentence, name="out")
        self.assertRegex(self.story("leaderless")["incomplete"], "partitions are not read since they have no leader")
        self.assertIn("not all of it: ", self.why("leaderless"))
        kafka.restart(away)
        until(lambda: not self.waits("leaderless"), "an empty outbox", WAIT_S, 0.2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
