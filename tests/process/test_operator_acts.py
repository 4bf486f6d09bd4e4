#!/usr/bin/env python3
"""What an operator changes in the tables of an idle engine is noticed within a second, and said where it is not what
the engine expects of its own rows. Each act is one statement; what it costs is measured.

Run alone: python3 tests/process/test_operator_acts.py [-k NAME].
"""
import time
import unittest

import _path
from lib.engine import until
from lib.pipeline_case import PipelineCase

NOTICED_S = 1.0
SLACK_S = 2.0  # what a loaded machine and our own look at it may cost; without a look of the engine it takes for ever
WAIT_S = 12.0  # then the act was not noticed at all
YAML = """
pipeline: acts
bus: {kind: postgres, partitions: 2}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 1}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
topics:
  in: {key: "{k}", handler: effects.record, routes: {
    done: out, again: {retry: climb, initial_interval: 48m, multiplier: 1, max_retries: 1, exhausted: out}}}
  out: {key: "{k}", final: true}
  paid: {key: "{id}", final: true}
  failed: {key: "{id}", final: true}
  refund: {key: "{id}", handler: chaos.act_sql, routes: {ok: drop, other: drop}}
chains:
  order: {correlate: id, steps: [{name: pay, done: paid, undo: refund}], abort_on: [failed]}
taps:
  watch: {topics: [in], handler: chaos.act, routes: {ok: drop, other: drop}}
schedules:
  seldom: {every: 30d, handler: chaos.tick, routes: {ok: ticked, other: drop}}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
MEMBER = "select min(id) from sluice.bus_member where consumer_group = 'own'"
OWNED = (
    "select count(*) from sluice.bus_lease l join sluice.bus_member m on m.id = l.member"
    " join sluice.bus_member_heartbeat h on h.member = m.id where l.consumer_group = 'own'"
)


class Acts(PipelineCase):
    yaml = YAML.replace("final: true}\n  failed", "final: true}\n  ticked: {final: true}\n  failed")

    def setUp(self):
        super().setUp()
        self.rows(
            "create table effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
            " unity bigint); create table acts (n bigint)"
        )
        self.running = self.engine()
        self.sent = 0
        self.await_value(OWNED, 2)

    def noticed(self, act, seen, what):
        """Seconds from an act until what it is for has happened."""
        began = time.monotonic()
        if act:
            self.rows(act)
        until(seen, lambda: f"{what}; the engine said:\n{self.running.text()}", WAIT_S, 0.02)
        took = time.monotonic() - began
        print(f"{what}: {took:.2f} s", flush=True)
        self.assertLess(took, NOTICED_S + SLACK_S, what)

    def said(self, words):
        return any(words in line for line in list(self.running.log))

    def send(self, **more):
        self.sent += 1
        self.emit("in", self.event({"k": "k", "mode": "ok", "origin": f"o{self.sent}", "seq": self.sent, **more}))

    def effects(self):
        return int(self.value("select count(*) from effects"))

    def handles(self, what, act, ready=lambda: True):
        """After the act an event is handled."""
        before = self.effects()
        began = time.monotonic()
        self.rows(act)
        until(ready, lambda: f"{what}; the engine said:\n{self.running.text()}", WAIT_S, 0.02)
        took = time.monotonic() - began
        for k in range(4):  # of both partitions
            self.send(k=f"k{k}")
        until(
            lambda: self.effects() == before + 4, lambda: f"an event after {what}:\n{self.running.text()}", WAIT_S, 0.02
        )
        print(f"{what}: {took:.2f} s", flush=True)
        self.assertLess(took, NOTICED_S + SLACK_S, what)

    def due_now(self):
        self.send(climb=1)
        self.await_value("select count(*) from sluice.parked where state = 0", 1)
        before = self.effects()
        until(lambda: self.running.metric("sluice_in_flight") == 0, "an idle engine")
        self.noticed(
            "update sluice.parked set due = now() where state = 0",
            lambda: self.effects() == before + 1
            and self.value("select count(*) from sluice.parked where state = 0") == "0",
            "a delayed event is due now",
        )

    def test_parked_events(self):
        self.due_now()
        self.emit("paid", self.event({"id": "c1", "mode": "reject"}))
        self.emit("failed", self.event({"id": "c1"}))
        self.await_value("select count(*) from sluice.parked where state = 1", 1)
        self.noticed(
            "update sluice.parked set state = 0, due = now() where state = 1",
            lambda: self.value("select state from sluice.parked") == "1"
            and sum("is stuck" in line for line in list(self.running.log)) == 2,
            "a stuck undo is released, and fails again",
        )

    def test_members_and_leases(self):
        self.handles("nothing", "select 1")
        member = self.value(MEMBER)
        other = lambda: self.value(OWNED) == "2" and self.value(MEMBER) != member
        self.handles("the row of the member is deleted", f"delete from sluice.bus_member where id = {member}", other)
        self.assertTrue(self.said("joins again"), self.running.text())
        self.handles(
            "the rows of all members are deleted",
            "delete from sluice.bus_member; delete from sluice.bus_member_heartbeat",
            lambda: self.value(OWNED) == "2",
        )
        self.handles(
            "the heartbeats are deleted", "delete from sluice.bus_member_heartbeat", lambda: self.value(OWNED) == "2"
        )
        self.handles(
            "the leases are taken away",
            "update sluice.bus_lease set member = null",
            lambda: self.value(OWNED) == "2",
        )
        self.handles(
            "the leases have a member that there is not",
            "update sluice.bus_lease set member = 999999",
            lambda: self.value(OWNED) == "2",
        )
        self.handles("the leases are deleted", "delete from sluice.bus_lease", lambda: self.value(OWNED) == "2")
        self.assertTrue(self.said("has no position"), self.running.text())
        self.drain()

    def test_positions(self):
        self.handles("nothing", "select 1")
        self.drain()
        self.assertEqual(self.running.metric("sluice_duplicates_total"), 0)
        self.noticed(
            "update sluice.bus_lease set high = 0, low = 0 where consumer_group = 'own'",
            lambda: self.running.metric("sluice_duplicates_total") == 4,
            "positions are moved back: read again",
        )
        self.assertTrue(self.said("position of partition"), self.running.text())
        self.drain()
        self.assertEqual(self.effects(), 4)

    def test_a_damaged_row_is_deleted(self):
        self.send()
        until(lambda: self.effects() == 1, "the first event")
        self.drain()
        self.running.kill()
        self.send()
        self.rows(
            "update sluice.bus_log set payload = '\\x00ff00' where (xid, id) = (select xid, id from sluice.bus_log"
            " order by xid desc, id desc limit 1)"
        )
        self.running = self.engine()
        until(lambda: self.said('group "own" stopped reading'), "what the engine says of it")
        self.send()
        self.noticed(
            "delete from sluice.bus_log where payload = '\\x00ff00'",
            lambda: self.effects() == 2,
            "a damaged row is deleted: reading goes on",
        )

    def test_schedules(self):
        self.await_topic("ticked", 1)
        self.due_now()  # the engine has looked at the slot, too
        ticks = lambda: len(self.topic("ticked"))
        self.noticed("delete from sluice.schedule", lambda: ticks() == 2, "the row of a schedule is deleted: it ticks")
        self.due_now()
        self.noticed("update sluice.schedule set slot = 0", lambda: ticks() == 3, "the slot is set back: it ticks")


if __name__ == "__main__":
    unittest.main(verbosity=2)
