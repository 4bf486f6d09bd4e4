#!/usr/bin/env python3
"""A network that cuts, swallows, delays and forgets what engines and brokers say to each other, at random moments,
while events flow.

Run alone: python3 tests/faults/test_cuts.py. SLUICE_SEED repeats a run's stream and choices; moments are as the machine
has them.
"""
import time
import unittest
from unittest import mock

import _path
from fault_case import FaultCase, Proxy, kafka, say, until
from lib import mistakes

SESSION_S = 6
SOCKET_S = 15  # after so long without an answer a connection is given up: the setting of the engine
OFFSET_COMMIT = (  # key, version and the first half of a small number: how librdkafka begins the request
    b"\0\x08\0\x07\0\0"
)


class Forgetful(Proxy):
    """Like a firewall that lost its table: connections of this moment stay, and nothing comes through them any more."""

    def __init__(self, *target):
        self._forgotten = set()
        super().__init__(*target)

    def forget(self):
        self._do(lambda: self._forgotten.update(self._open))

    def _read(self, connection, flow):
        if connection not in self._forgotten:
            super()._read(connection, flow)
            return
        try:
            ended = not flow.source.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._forgotten.discard(connection)
            self._drop(connection)


class Cuts(FaultCase):
    brokers = 3
    proxied = True
    engine_count = 2
    properties = {"session.timeout.ms": SESSION_S * 1000}

    @classmethod
    def setUpClass(cls):
        with mock.patch.object(kafka, "Proxy", Forgetful):
            super().setUpClass()

    def proxies(self):
        return list(self.kafka.proxies.values())

    def some(self):
        return self.dice.sample(self.proxies(), self.dice.randint(1, 3))

    def breaks(self, name, spoil, mend, times, longest_s=1.5):
        with self.fault(name, deaths=times):
            for _ in range(times):  # at random moments, for a random time: nothing is waited for
                time.sleep(self.dice.uniform(0.05, 0.6))
                some = self.some()
                for proxy in some:
                    spoil(proxy)
                time.sleep(self.dice.uniform(0, longest_s))
                for proxy in some:
                    mend(proxy)

    def test_cut_and_reset(self):
        self.breaks("connections cut, ten times", Proxy.cut, Proxy.mend, 10)
        self.breaks("connections reset, twenty times", Proxy.reset, lambda proxy: None, 20, 0.3)
        self.verdict()

    @staticmethod
    def swallow(proxies, direction):
        """Black holes, until requests without an answer have been given up, and a connection into each with them."""
        began, before = time.monotonic(), {proxy: proxy.given_up for proxy in proxies}
        for proxy in proxies:
            proxy.black_hole(direction)
        for proxy in proxies:
            until(
                lambda: proxy.given_up > before[proxy] and time.monotonic() > began + SOCKET_S,
                "a connection to be given up",
                4 * SOCKET_S,
            )
        for proxy in proxies:
            proxy.mend()

    def moves_for_a_session(self, network):
        """Until a member whose heartbeats do not come through would have been expired, outcomes go on. Not those of
        every key: more is sent than gets through."""
        end = time.monotonic() + SESSION_S
        while time.monotonic() < end:
            before = self.handled()
            until(lambda: self.handled() > before, f"an outcome on the {network} network", step_s=0.1)

    def test_half_open_to_one(self):
        """To the broker that coordinates the group, until its connections are given up; another way each time."""
        proxy = self.kafka.proxies[self.kafka.coordinator(self.bus.group)]
        for direction in ("up", "down"):
            with self.fault(f"half open to the coordinator ({direction})", deaths=6, limit_s=60):
                self.swallow([proxy], direction)
        self.verdict()

    def test_half_open_to_all(self):
        with self.fault("half open to all", deaths=6, limit_s=60):
            self.swallow(self.proxies(), "both")
        self.verdict()

    def test_forgotten(self):
        """New connections are good, those that stand are dead, and nobody says so."""
        with self.fault("connections forgotten", deaths=6, limit_s=SOCKET_S + 30):
            for proxy in self.proxies():
                proxy.forget()
        self.verdict()

    def test_slow(self):
        with self.fault("slow network: 200 ms each way", deaths=2):
            for proxy in self.proxies():
                proxy.delay(200)
            self.moves_for_a_session("slow")
            for proxy in self.proxies():
                proxy.delay(0)
        with self.fault("sliced network: 300 bytes at a time", deaths=2):
            for proxy in self.proxies():
                proxy.slice(300, 2)
            self.moves_for_a_session("sliced")
            for proxy in self.proxies():
                proxy.slice(0)
        self.verdict()

    def lose_reply(self, name, pattern, entry=None):
        before = sum(proxy.dropped for proxy in self.proxies())
        with self.fault(name):
            with self._rounds:  # no other event is sent meanwhile
                for proxy in self.proxies():
                    proxy.drop_reply_after(pattern)
                if entry is not None:
                    self.work.send([entry])
            until(
                lambda: sum(proxy.dropped for proxy in self.proxies()) > before, "the request whose answer is lost", 20
            )
            for proxy in self.proxies():
                proxy.drop_reply_after(b"", 0)

    def test_replies_lost(self):
        for _ in range(3):
            with self._rounds:
                entry = self.work.effect()
            self.lose_reply("the answer to an output lost", f'"{entry["origin"]}"'.encode(), entry)
        for _ in range(3):
            self.lose_reply("the answer to a commit of offsets lost", OFFSET_COMMIT)
        self.verdict()

    def test_effects_before_the_claim_are_found_out(self):
        """Planted: the handler runs before its event is claimed, and events come again."""
        for engine in list(self.engines):
            self.end(engine)
        planted = self.engine(mistake="effects_first")

        def cut():
            for proxy in self.proxies():
                proxy.cut()
                proxy.mend()

        mistakes.happened("effects_first", planted, cut)
        self.end(planted)  # it need not cope with what it does; what it did stays
        self.engine()
        self.calm(60)
        self.settle()
        self.red(self.violations(), "I19: k")


if __name__ == "__main__":
    unittest.main(verbosity=2)
