#!/usr/bin/env python3
"""Members of a group that come, go, die and freeze while events flow on Kafka, and partitions that are added: nothing
is lost, done twice or given up, and the group goes on by itself. How long each takes is printed.

Run alone: python3 tests/faults/test_groups.py. SLUICE_SEED repeats a run's stream and choices.
"""
import os
import signal
import time
import unittest

import _path
from fault_case import FaultCase, say, sql, until

SESSION_S = 6
STORM_S = 30
STOPS = 12


class Groups(FaultCase):
    properties = {"session.timeout.ms": SESSION_S * 1000}
    round_size = 12

    def count(self):
        return sql(self.url, "SELECT count(*) AS n FROM effects")[0]["n"]

    def leave(self, engine):
        """SIGTERM."""
        self.assertEqual(engine.stop(), 0, engine.text())
        self.engines.remove(engine)

    def until_effect(self, limit_s=20):
        """Until one more event is handled; in steps shorter than what is measured."""
        before = self.count()
        until(lambda: self.count() > before, f"an event that is handled; {self.told()}", limit_s, 0.02)

    def all_said(self, engine):
        return self.held(engine) == self.bus.places

    def test_storm(self):
        """Three engines of one group, started, stopped and killed every 1 to 5 s."""
        acts = {"stopped": 0, "killed": 0, "started": 0}
        with self.fault("storm", 40, deaths=12):
            end = time.monotonic() + STORM_S
            while time.monotonic() < end:
                if len(self.engines) < 3 and (not self.engines or self.dice.random() < 0.6):
                    self.engine(wait=False)
                    acts["started"] += 1
                else:
                    victim = self.dice.choice(self.engines)
                    self.leave(victim) if self.dice.random() < 0.5 else self.end(victim)
                    acts["stopped" if victim.process.returncode == 0 else "killed"] += 1
                time.sleep(self.dice.uniform(1, 5))
            while len(self.engines) < 2:
                self.engine()
        say(f"engines: {acts}")
        self.verdict()

    def test_partitions_added(self):
        """To all topics, so that a key's topics stay together. Keys move to other partitions, and with that moment goes
        their order."""
        self.engine()
        self.calm()
        with self.fault(
            "6 partitions made 9", deaths=4
        ):  # each owner's heirs publish what its peers have just published
            began = time.monotonic()
            for name in self.bus.names:
                self.kafka.add_partitions(name, 9)
            self.bus.partitions = 9
            self.await_shared()
            say(f"found after {time.monotonic() - began:.1f} s")
        self.settle()
        ends = self.kafka.end_offsets("effects.in")
        self.assertGreater(sum(ends[n] for n in range(6, 9)), 0, "nothing went to new partitions")
        self.assertEqual(self.kafka.committed(self.bus.group)["effects.in"], ends)
        self.green([sentence for sentence in self.violations() if not sentence.startswith("I16: ")])

    def test_frozen_past_the_session(self):
        """An engine with all partitions sleeps, another takes over; awake, it commits nothing of what it had, and goes
        on."""
        sleeper = self.engines[0]
        with self.fault("frozen past the session", 40, deaths=2):
            peer = self.engine()
            self.await_shared()
            pids = [sleeper.process.pid, sleeper.worker()]
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            began = time.monotonic()
            until(lambda: self.all_said(peer), "a peer with all partitions", 30, 0.02)
            say(
                f"frozen: the peer had its partitions after {time.monotonic() - began:.1f} s, session.timeout.ms is"
                f" {SESSION_S} s"
            )
            self.calm(40)
            for pid in reversed(pids):
                os.kill(pid, signal.SIGCONT)
            began = time.monotonic()
            until(
                lambda: self.held(sleeper) + self.held(peer) == self.bus.places
                and 0 < self.held(sleeper) < self.bus.places,
                f"a share for the sleeper; {self.told()}",
                30,
                0.05,
            )
            say(f"awake: it had a share again after {time.monotonic() - began:.1f} s")
        self.assertTrue(any(" lost, 0 left" in line for line in sleeper.log), sleeper.text())
        self.verdict()

    def test_moments(self):
        """How long a stop, a death and a restart are felt."""
        with self.fault("deaths and stops", 40, deaths=8):
            worker, alone = [], []
            for _ in range(3):
                self.until_effect()
                began, deaths = time.monotonic(), self.deaths(self.engines[0])
                self.engines[0].kill_worker()
                until(lambda: self.deaths(self.engines[0]) > deaths, "the master's word", step_s=0.005)
                self.until_effect()
                worker.append(time.monotonic() - began)
                self.until_effect()
                self.end(self.engines[0])
                began = time.monotonic()
                self.engine(wait=False)
                self.until_effect()
                alone.append(time.monotonic() - began)
            peer = self.engine()
            self.await_shared()
            began = time.monotonic()
            self.engines[0].process.send_signal(signal.SIGTERM)
            until(lambda: self.all_said(peer), "a peer with all partitions", 20, 0.01)
            handed = time.monotonic() - began
            self.leave(self.engines[0])
            other = self.engine()
            self.await_shared()
            began = time.monotonic()
            self.end(other)
            until(lambda: self.all_said(peer), "a peer with all partitions", 30, 0.01)
            over = time.monotonic() - began
        say(
            f"the worker killed: next event handled after {', '.join(f'{s:.2f}' for s in worker)} s; the engine killed"
            f" and started: after {', '.join(f'{s:.2f}' for s in alone)} s from exec; SIGTERM: the peer has its"
            f" partitions after {handed:.2f} s; kill -9: after {over:.1f} s; session.timeout.ms is {SESSION_S} s"
        )
        self.verdict()

    def test_a_stop_while_a_peer_joins(self):
        """Whatever a rebalance asks of the engine that ends, it has left its groups when it is gone: nobody waits for
        its session."""
        groups = (self.bus.group, f"{self.bus.group}.sink")
        with self.fault("stops while a peer joins", deaths=STOPS):
            for _ in range(STOPS):
                leaver = self.engines[0]
                left = {group: [one["instance"] for one in self.kafka.members(group)] for group in groups}
                self.assertEqual([len(instances) for instances in left.values()], [1, 1], left)
                self.engine()
                self.leave(leaver)
                for group, instances in left.items():
                    now = [one["instance"] for one in self.kafka.members(group)]
                    self.assertNotIn(instances[0], now, self.told())
                self.await_shared()
                until(lambda: all(len(self.kafka.members(group)) == 1 for group in groups), "one member", 30)
        self.verdict()


if __name__ == "__main__":
    unittest.main(verbosity=2)
