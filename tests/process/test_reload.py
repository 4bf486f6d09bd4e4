#!/usr/bin/env python3
"""An engine that is reloaded: by a file that changed, a plugin that changed, and files that cannot run, while events
come. Each bus hands over what it has; nothing is lost, done twice or put out of its order.

Run alone: python3 tests/process/test_reload.py [-k NAME].
"""
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import unittest

import _path
from lib.engine import Engine, until
from lib.pipeline_case import EFFECTS, PipelineCase
from lib.server_case import KafkaCase

YAML = """
pipeline: reload
bus: %(bus)s
store: {url: "${DATABASE_URL}"}
engine: {lanes: 4, batch: {max_events: %(max_events)d}, drain_timeout: 10s%(more)s}
plugins: {effects: {library: "%(plugin)s"}}
topics:
  "@in": {key: "{k}", handler: effects.record, routes: {
    done: "@out", again: {retry: climb, initial_interval: 1s, max_retries: 2, exhausted: "@out"}}}
  "@out": {key: "{k}", final: true}
%(topics)s
http:
  listen: "${HTTP_LISTEN:-127.0.0.1:0}"
  requests: {"POST /events": {handler: effects.post, routes: {done: "@in", again: drop}}}
"""
TABLE = (
    "create table effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
    " unity bigint)"
)
KEYS = 10


class Client(threading.Thread):
    """Posts events, one connection each, and counts what was accepted; notes the longest wait for an answer."""

    def __init__(self, engine):
        super().__init__(daemon=True)
        self.engine = engine
        self.ended = threading.Event()
        self.accepted, self.refused, self.longest_s, self.error = 0, 0, 0.0, None

    def run(self):
        try:
            while not self.ended.is_set():
                number = self.accepted
                body = {"k": f"k{number % KEYS}", "origin": f"o{number}", "seq": number // KEYS + 1}
                began = time.monotonic()
                status, _ = self.engine.request("POST", "/events", body)
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.accepted += status in (200, 201, 202)
                self.refused += status == 503
                if status not in (200, 201, 202, 503):
                    raise AssertionError(f"status {status}")
        except Exception as error:  # told in the test's thread
            self.error = error

    def end(self):
        self.ended.set()
        self.join(60)
        if self.error is not None:
            raise self.error


class Reloads:
    """Of one bus."""

    bus = None
    name = ""

    def setUp(self):
        super().setUp()
        self.plugin = self.folder / "effects.so"
        shutil.copy(EFFECTS, self.plugin)
        self.prepare()
        self.config = self.folder / "pipeline.yaml"
        self.write()
        self.use(self.config.read_text())
        self.rows(TABLE)
        self.running = self.engine()

    def prepare(self):
        pass

    def text(self, max_events=50, topics="", more="", **changes):
        values = {"bus": self.bus, "plugin": self.plugin, "max_events": max_events, "topics": topics, "more": more}
        return (YAML % {**values, **changes}).replace("@", self.name)

    def write(self, **changes):
        self.config.write_text(self.text(**changes))

    def await_all(self, client):
        self.await_value("select count(distinct origin) from effects", client.accepted, 60)
        self.assertEqual(self.value("select count(*) from effects"), str(client.accepted))
        wrong = self.value(
            "select count(*) from (select seq, lag(seq) over (partition by k order by number) as before"
            " from effects) e where seq <= before"
        )
        self.assertEqual(wrong, "0", "each key in its order")

    def descriptors(self):
        folder = f"/proc/{self.running.process.pid}/fd"
        found = []
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"{folder}/{name}"))
        return sorted(name.split(":")[0] for name in found)

    def one_worker(self):
        """The old one has ended, and what it had is closed."""
        until(lambda: len(self.running.workers()) == 1 and self.descriptors().count("/memfd") == 1, "one worker")
        until(lambda: not any("plugins-" in os.path.dirname(name) for name in self.descriptors()), "its copies' end")

    def test_under_load(self):
        client = Client(self.running)
        client.start()
        until(lambda: client.accepted > 20, "events")
        self.assertIn("reloaded in", self.running.reload())
        self.one_worker()
        before = self.descriptors()
        for number in range(6):
            self.write(max_events=50 + number)
            accepted = client.accepted
            self.assertRegex(self.running.reload(), r"^reload: reloaded in \d+ ms")
            until(lambda: client.accepted > accepted, "events go on")
        self.one_worker()
        self.assertEqual(self.descriptors(), before, "of the master")
        client.end()
        print(f"{client.accepted} accepted, {client.refused} refused, the longest took {client.longest_s:.2f} s")
        self.await_all(client)
        self.assertEqual(self.running.stop(), 0)

    def test_a_file_that_cannot_run(self):
        cases = [
            ("topics: [\n", "pipeline.yaml:"),
            (self.text(plugin="/nowhere.so"), "nowhere.so cannot be read"),
            (self.text(topics='  "@more": {handler: effects.nothing, key: "{k}"}').replace("@", self.name), "nothing"),
        ]
        client = Client(self.running)
        client.start()
        worker = self.running.worker()
        for text, why in cases:
            with self.subTest(why=why):
                self.config.write_text(text)
                answer = self.running.reload()
                self.assertRegex(answer, "^reload: refused")
                until(lambda: why in "\n".join(self.running.log), why)
                self.assertEqual(self.running.worker(), worker)
        self.write()
        self.assertIn("reloaded in", self.running.reload())
        client.end()
        self.await_all(client)

    def test_the_plugin_is_another(self):
        client = Client(self.running)
        client.start()
        other = self.folder / "other.so"
        shutil.copy(EFFECTS, other)
        with open(other, "ab") as out:
            out.write(b"newer")
        for whole in (True, False):
            with self.subTest(whole=whole):
                if whole:
                    other.replace(self.plugin)
                else:
                    self.plugin.write_bytes(b"broken")
                answer = self.running.reload()
                self.assertIn("reloaded in" if whole else "refused", answer)
        client.end()
        self.await_all(client)

    def test_workers_that_die_meanwhile(self):
        """Whichever of the two is killed, at any moment of a reload: one goes on, and answers are given."""
        client = Client(self.running)
        client.start()
        until(lambda: client.accepted > 20, "events")
        for number in range(8):
            count = len(self.running.answers())
            self.running.process.send_signal(signal.SIGHUP)
            until(
                lambda: len(self.running.workers()) > 1 or len(self.running.answers()) > count, "two workers", 20, 0.001
            )
            time.sleep(0.015 * number)
            which = self.running.workers()
            if which:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(which[number % len(which)], signal.SIGKILL)
            until(lambda: len(self.running.answers()) > count, lambda: f"an answer; it said {self.running.text()}", 60)
        client.ended.set()
        client.join(60)
        if client.error is not None and not isinstance(client.error, ConnectionError):
            raise client.error
        self.settled(client)

    def test_a_successor_that_ends_as_it_begins(self):
        """When the other one has handed over: what that one left is not lost with it."""
        self.running.stop()
        self.write(max_events=1)
        self.running = self.engine(env={"SLUICE_FAILPOINTS": "handover.begin=crash"})
        with self.postgres.locked("effects", self.url):  # so that events wait when it hands over
            client = Client(self.running)
            client.start()
            until(lambda: client.accepted >= 100, "events")
            client.end()
            self.running.process.send_signal(signal.SIGHUP)
            until(lambda: "handing over" in "\n".join(self.running.log), "the old worker to be asked")
        until(lambda: self.running.answers(), "the answer", 60)
        self.assertIn("reloaded in", self.running.answers()[0])
        self.await_all(client)

    def settled(self, client):
        """A request whose worker was killed may have been accepted without an answer."""
        self.drained()
        effects = int(self.value("select count(*) from effects"))
        self.assertEqual(int(self.value("select count(distinct event_id) from effects")), effects)
        self.assertGreaterEqual(effects, client.accepted)

    def drained(self):
        self.drain(60)


class Postgres(Reloads, PipelineCase):
    bus = "{kind: postgres, partitions: 8}"

    def test_two_processes_in_a_row(self):
        """One of them is long about its hand-over: the other goes on until that is over, and then has its turn."""
        self.assertEqual(self.running.stop(), 0)
        text = self.text().replace("drain_timeout: 10s", "drain_timeout: 300s")
        text = text.replace('${DATABASE_URL}"', '${DATABASE_URL}", statement_timeout: 300s')
        self.use("defaults: {timeout: 300s}" + text)
        self.running = self.engine()
        self.rows(
            "create function gate() returns trigger language plpgsql as $$ begin"
            " if new.origin = 'gate' then perform pg_advisory_xact_lock(42); end if; return new; end $$;"
            "create trigger gate before insert on effects for each row execute function gate()"
        )
        engines = [self.running, self.engine()]
        share = 'sluice_partitions{group="reload"}'
        until(lambda: [engine.metric(share) for engine in engines] == [4, 4], "four partitions each", 60, 0.1)
        gate = subprocess.Popen(
            ["psql", "-X", "-q", "-A", "-t", self.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(gate.communicate)
        self.addCleanup(gate.kill)
        gate.stdin.write("select 'shut', pg_advisory_lock(42);\n")
        gate.stdin.flush()
        self.assertIn("shut", gate.stdout.readline())
        self.assertEqual(engines[0].request("POST", "/events", {"k": "k0", "origin": "gate", "seq": 1})[0], 200)
        until(lambda: any(engine.metric("sluice_in_flight") for engine in engines), "the gate's event", 60)
        slow, quick = engines if engines[0].metric("sluice_in_flight") else reversed(engines)
        for engine, words in ((slow, "handing over: nothing new"), (quick, "waits for its turn: another process")):
            engine.process.send_signal(signal.SIGHUP)
            until(lambda: words in "\n".join(engine.log), words, 60)  # noqa: B023
        for number in range(20):  # it goes on: what it takes in is read when the transaction at the gate is over
            body = {"k": f"other{number}", "origin": f"other{number}", "seq": 1}
            self.assertEqual(quick.request("POST", "/events", body)[0], 200)
        self.assertNotIn("handing over", "\n".join(quick.log))
        self.assertEqual([engine.answers() for engine in (slow, quick)], [[], []])
        gate.kill()
        for engine in (slow, quick):
            until(lambda: engine.answers(), "the answer", 60)  # noqa: B023
            self.assertIn("reloaded in", engine.answers()[0])
        self.await_value("select count(distinct origin) from effects", 21, 60)
        self.assertEqual(self.value("select count(*) from effects"), "21")

    def shares(self):
        return self.rows(
            "select m.name, array_agg(l.partition order by l.partition) from sluice.bus_lease l"
            " join sluice.bus_member m on m.id = l.member where l.consumer_group = 'reload' group by 1 order by 1"
        )

    def test_peers_keep_what_they_read(self):
        """One of three processes is reloaded again and again: no partition of the others changes hands."""
        engines = [self.running, self.engine(), self.engine()]
        share = 'sluice_partitions{group="reload"}'
        until(
            lambda: sorted(engine.metric(share) for engine in engines) == [2, 3, 3], "the shares of all three", 60, 0.1
        )
        self.rows(
            "create table moved (partition int, old int8, new int8);"
            "create function note() returns trigger language plpgsql as $$ begin"
            " insert into moved values (new.partition, old.member, new.member); return new; end $$;"
            "create trigger note after update on sluice.bus_lease for each row"
            " when (old.member is distinct from new.member or old.epoch <> new.epoch) execute function note()"
        )
        shares = self.shares()
        clients = [Client(engine) for engine in engines]
        for client in clients:
            client.start()
        for number in range(5):
            self.write(max_events=60 + number)
            self.assertIn("reloaded in", self.running.reload())
        self.assertEqual(self.shares(), shares)
        changed = self.rows("select partition, count(*) from moved group by 1 order by 1")
        mine = len(changed)
        self.assertEqual({count for _, count in changed}, {"5"}, "the new worker takes each partition once")
        self.assertIn(mine, (2, 3), "and only those that the old one had")
        for client in clients:
            client.end()
        self.await_value("select count(distinct event_id) from effects", sum(client.accepted for client in clients), 60)
        self.assertEqual(self.value("select count(*) - count(distinct event_id) from effects"), "0")


class Memory(Reloads, PipelineCase):
    bus = "{kind: memory, partitions: 8}"

    test_workers_that_die_meanwhile = None  # what is in memory ends with its process

    def test_a_pinned_plugin(self):
        """What runs goes on while another file is there; it is loaded once the pipeline names its hash."""

        def pinned(data):
            digits = hashlib.sha256(data).hexdigest()
            self.write(plugin=f'{self.plugin}", sha256: "{digits}')
            return digits

        first = self.plugin.read_bytes()
        second = first + b"newer"
        was = pinned(first)
        self.assertIn("reloaded in", self.running.reload())
        other = self.folder / "other.so"
        other.write_bytes(second)
        other.replace(self.plugin)
        self.one_worker()
        worker = self.running.worker()
        self.assertRegex(self.running.reload(), "^reload: refused")
        is_now = hashlib.sha256(second).hexdigest()
        before = self.config.read_text().split(f'"{was}')[0].split("\n")
        place = f"pipeline.yaml:{len(before)}:{len(before[-1]) + 1}"
        said = f"{place}: error: plugin 'effects': {self.plugin} has the SHA-256 {is_now}, expected {was}"
        until(lambda: said in "\n".join(self.running.log), said)
        self.assertEqual(self.running.worker(), worker)
        pinned(second)
        self.assertIn("reloaded in", self.running.reload())


class Kafka(Reloads, PipelineCase, KafkaCase):
    bus = '{kind: kafka, partitions: 8, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}'

    def prepare(self):
        self.vars.update(self.kafka.env())
        self.name = self.new_name("reload") + "."

    def text(self, **changes):
        return super().text(**{"more": f', group: "{self.name[:-1]}", sweep_after: 2s', **changes})

    def test_clients_that_are_made_beforehand(self):
        """The new worker has the old one's place in the group, and has only to join."""
        self.assertEqual(self.running.stop(), 0)
        self.running = self.engine(args=["--log-level", "debug"])
        member = r": group (\S+): member (\S+)"
        first = re.findall(member, "\n".join(self.running.log))
        for number in range(2):
            count = len(self.running.log)
            self.assertIn("reloaded in", self.running.reload())
            lines = sorted(self.running.log[count:], key=lambda line: line.split(" ")[0])  # of two processes
            before, after = "\n".join(lines).split("run: handed over")
            self.assertEqual(re.findall(member, before), first, f"reload {number}: made before the old one has left")
            self.assertEqual(re.findall(member, after), [], f"reload {number}: and used")

    def drained(self):
        until(lambda: self.running.metric("sluice_in_flight") == 0, "nothing in flight", 60, 0.1)
        self.await_value("select count(*) from sluice.outbox", 0, 60)


if __name__ == "__main__":
    unittest.main(verbosity=2)
