#!/usr/bin/env python3
"""Members of a group on the postgres bus: who goes on in place of whom, and what a process does whose session ended
while it lives.

Run alone: python3 tests/process/test_members.py [-k NAME].
"""
import os
import signal
import subprocess
import time
import unittest

import _path
from lib.engine import until
from lib.pipeline_case import PipelineCase

YAML = """
pipeline: members
bus: {kind: postgres, partitions: 8}
store: {url: "${DATABASE_URL}", statement_timeout: 60s}
engine: {lanes: 2}
defaults: {timeout: 60s}
plugins: {effects: {library: "${EFFECTS_SO}"}}
topics:
  in: {key: "{k}", handler: effects.record, routes: {done: drop, again: drop}}
http:
  listen: "${HTTP_LISTEN:-127.0.0.1:0}"
  requests: {"POST /events": {handler: effects.post, routes: {done: in, again: drop}}}
"""
GATE = """
create table effects (event_id text, k text, origin text, seq bigint, climb bigint, unity bigint);
create function gate() returns trigger language plpgsql as $$ begin
  if new.origin = 'gate' then perform pg_advisory_xact_lock(42); end if; return new; end $$;
create trigger gate before insert on effects for each row execute function gate()
"""
SHARE = 'sluice_partitions{group="members"}'
LOCK = "select pid from pg_locks where locktype = 'advisory' and classid = sluice.bus_lock_member()::int8::oid"


class Session:
    """One of psql that stays open."""

    def __init__(self, case):
        self.psql = subprocess.Popen(
            ["psql", "-X", "-q", "-A", "-t", case.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        case.addCleanup(self.end)

    def value(self, sql):
        """Of a statement that gives one row."""
        self.psql.stdin.write(sql + ";\n")
        self.psql.stdin.flush()
        line = self.psql.stdout.readline()
        while line.startswith("Asynchronous notification"):
            line = self.psql.stdout.readline()
        return line.strip()

    def end(self):
        self.psql.kill()
        self.psql.communicate()


class Members(PipelineCase):
    yaml = YAML

    def setUp(self):
        super().setUp()
        self.rows(GATE)

    # ------------------------------------------------------------------------------------------------------ succession

    def join(self, topics="{in}", name="p"):
        """(session, member)"""
        session = Session(self)
        member = session.value(f"select sluice.bus_join('g', '{name}', 'p', '{topics}')")
        return session, member

    def gone(self, session, member):
        session.end()
        self.await_value(f"{LOCK} and objid = {member} union all select 0", "0")

    def heartbeat(self, session, member):
        return session.value(
            f"select array_agg(item order by item) from sluice.bus_heartbeat('g', {member}, 10000, 600) where kind = 1"
        )

    def test_succession(self):
        self.rows("select sluice.bus_open(8)")
        first, member = self.join()
        peer, other = self.join(name="other")
        self.assertEqual(self.heartbeat(first, member), "{0,1,2,3}")
        self.assertEqual(self.heartbeat(peer, other), "{4,5,6,7}")
        epochs = "select array_agg(epoch order by partition) from sluice.bus_lease"
        before = self.value(epochs)
        self.gone(first, member)
        second, successor = self.join()
        self.assertEqual(self.value(f"select count(*) from sluice.bus_member where id = {member}"), "0")
        self.assertEqual(self.value(f"select rank from sluice.bus_member where id = {successor}"), member)
        self.assertEqual(self.heartbeat(peer, other), "{4,5,6,7}")
        self.assertEqual(self.heartbeat(second, successor), "{0,1,2,3}")
        after = self.value(epochs)
        self.assertEqual(
            [int(now) - int(was) for was, now in zip(before.strip("{}").split(","), after.strip("{}").split(","))],
            [1, 1, 1, 1, 0, 0, 0, 0],
        )
        self.gone(second, successor)
        _, third = self.join("{in,more}")
        self.assertEqual(self.value("select count(*) from sluice.bus_lease where member is null"), "4", "other topics")
        self.assertIsNone(self.value(f"select rank from sluice.bus_member where id = {third}"))

    def test_no_succession_of_the_living(self):
        """Neither of one whose session is there, nor of one whose transaction may still commit."""
        self.rows("select sluice.bus_open(8)")
        first, member = self.join()
        self.assertEqual(self.heartbeat(first, member), "{0,1,2,3,4,5,6,7}")
        mine = f"select count(*) from sluice.bus_lease where member = {member}"
        self.join()
        self.assertEqual(self.value(mine), "8")
        batch = Session(self)
        batch.value(f"begin; select id from sluice.bus_member where id = {member} for key share")
        self.rows(f"update sluice.bus_member_heartbeat set at = now() + interval '1 min' where member = {member}")
        self.gone(first, member)
        self.join()
        self.assertEqual(self.value(mine), "8")
        ago = f"select at <= now() from sluice.bus_member_heartbeat where member = {member}"
        self.assertEqual(self.value(ago), "t", "heartbeats remove it when the transaction is over")

    # --------------------------------------------------------------------------------------- a process without session

    def shut(self):
        """(the gate, the process that stands at it, the other one)"""
        engines = [self.engine(), self.engine()]
        until(lambda: [engine.metric(SHARE) for engine in engines] == [4, 4], "four partitions each", 60, 0.1)
        gate = Session(self)
        self.assertEqual(gate.value("select 'shut' from (select pg_advisory_lock(42)) l"), "shut")
        self.assertEqual(engines[0].request("POST", "/events", {"k": "a", "origin": "gate", "seq": 1})[0], 200)
        until(lambda: any(engine.metric("sluice_in_flight") for engine in engines), "the event at the gate", 60)
        self.await_value(
            "select count(*) from pg_locks where locktype = 'advisory' and objid = 42 and not granted", "1"
        )
        engines.sort(key=lambda engine: engine.metric("sluice_in_flight") == 0)
        return gate, *engines

    def cut(self, engine):
        """Ends the session that makes this process a member."""
        member = self.value(
            "select l.member from sluice.bus_lease l, sluice.bus_member m where m.id = l.member"
            f" and m.id {'<=' if engine is self.engines[0] else '>'} (select min(id) from sluice.bus_member) limit 1"
        )
        self.assertEqual(self.value(f"select pg_terminate_backend(pid) from ({LOCK} and objid = {member}) l"), "t")
        return member

    def test_the_session_ends_while_a_batch_runs(self):
        """It has another one at once, and stays a member."""
        gate, slow, quick = self.shut()
        member = self.cut(slow)
        self.await_value(f"select count(*) from ({LOCK} and objid = {member}) l", "1")
        time.sleep(1)
        gate.end()
        for number in range(40):
            body = {"k": f"k{number}", "origin": "after", "seq": 2}
            self.assertEqual(quick.request("POST", "/events", body)[0], 200)
        self.await_value("select count(*) from effects", "41")
        self.assertEqual(self.value("select count(distinct event_id) from effects"), "41")
        self.assertEqual(self.value(f"select count(*) from sluice.bus_lease where member = {member}"), "4")

    def test_frozen_without_its_session(self):
        """While its transaction is open nobody takes over. Then a peer does, and it commits nothing of what it had."""
        gate, slow, quick = self.shut()
        worker = slow.worker()
        os.kill(worker, signal.SIGSTOP)
        try:
            member = self.cut(slow)
            time.sleep(1.5)
            mine = f"select count(*) from sluice.bus_lease where member = {member}"
            self.assertEqual(self.value(mine), "4")
            began = time.monotonic()
            self.rows("select pg_terminate_backend(pid) from pg_locks where objid = 42 and not granted")
            gate.end()
            until(lambda: quick.metric(SHARE) == 8, "all partitions for the other one", 20)
            took_s = time.monotonic() - began
            self.assertLess(took_s, 5, "sooner than what is silent expires")
            self.await_value("select count(*) from effects", "1")
        finally:
            os.kill(worker, signal.SIGCONT)
        until(
            lambda: [engine.metric(SHARE) for engine in (slow, quick)] == [4, 4], "four partitions each again", 30, 0.1
        )
        for number in range(40):
            body = {"k": f"k{number}", "origin": "after", "seq": 2}
            self.assertEqual(slow.request("POST", "/events", body)[0], 200)
        self.await_value("select count(*) from effects", "41")
        self.assertEqual(self.value("select count(distinct event_id) from effects"), "41")


if __name__ == "__main__":
    unittest.main(verbosity=2)
