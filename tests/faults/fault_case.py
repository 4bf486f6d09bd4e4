"""What tests of faults share: a Kafka and a PostgreSQL of their own, engines on the chaos pipeline, a feeder that never
stops sending good and bad events, and a checker behind it.

    class Brokers(FaultCase):
        brokers = 3

        def test_one_of_three(self):
            with self.fault("one of three killed"):       # what ends the fault is the last thing in here
                self.kafka.kill(2)
                time.sleep(5)
                self.kafka.restart(2)
            self.verdict()                                # drains, stops, asks the checker

fault() ends when events of every key that were sent after it are handled: nobody helps the engines. Servers are those
of the class; each test gets a database, topics and a group of its own, and whole servers (heal()). SLUICE_SEED repeats
a run's stream and choices.
"""
import contextlib
import os
import pathlib
import random
import re
import sys
import tempfile
import threading
import time

from chaos import checker
from chaos import stream as streams
from chaos.buses import KafkaBus
from chaos.cases import SEED, ChaosCase
from chaos.facts import sql
from lib import kafka, mistakes
from lib.engine import SLUICE, Engine, until
from lib.kafka import KafkaError, PrivateKafka
from lib.postgres import PrivatePostgres
from lib.proxy import Proxy

MIB = 1024 * 1024


def say(text):
    print(f"  {text}", file=sys.stderr, flush=True)


class FaultCase(ChaosCase):
    brokers = 1
    proxied = False  # engines reach broker n through self.kafka.proxies[n]; the feeder and the checker go past them
    database_proxied = False  # engines reach the database through self.database; all others go past it
    engine_count = 1
    partitions = 6
    properties = {}  # librdkafka's, beside the addresses
    failpoints = ""  # of every engine
    keys = 24
    round_size, pause_s = 20, 0.15  # of the feeder
    memory_mib = 300  # most that an engine's worker may ever have had

    @classmethod
    def setUpClass(cls):
        os.environ.pop("SLUICE_TEST_BROKERS", None)  # these tests break what they run on
        say(f"{cls.__name__}: seed {SEED}")
        cls.postgres = PrivatePostgres()
        cls.addClassCleanup(cls.postgres.close)
        cls.postgres.start()
        if cls.database_proxied:
            cls.database = Proxy("127.0.0.1", cls.postgres.port)
            cls.addClassCleanup(cls.database.close)
        cls.kafka = PrivateKafka(brokers=cls.brokers, proxied=cls.proxied)
        cls.addClassCleanup(cls.kafka.close)
        cls.kafka.start()

    def setUp(self):
        self.heal()
        folder = tempfile.TemporaryDirectory(prefix="sluice-fault-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.dice = random.Random(f"{SEED} {self.id()}")
        self.url = self.postgres.create_database()
        self.bus = KafkaBus(self.url, self.kafka)
        self.bus.partitions = self.partitions
        given = "".join(f", {name}: {value}" for name, value in self.properties.items())
        self.bus.section = (
            f'bus: {{kind: kafka, partitions: {self.partitions}, properties: {{bootstrap.servers: "${{KAFKA_BROKERS}}"'
            f"{given}}}}}"
        )
        inside = ",".join(f"127.0.0.1:{node['internal']}" for node in self.kafka.nodes().values())
        self.bus.env = {"KAFKA_BROKERS": inside}
        self.sink = streams.Sink(SEED)
        self.addCleanup(self.sink.close)
        self.work = self.stream(sink_url=self.sink.url, keys=self.keys)
        self.engines, self.faults, self.started = [], [], []
        self.addCleanup(lambda: [engine.kill() for engine in self.engines])
        self.addCleanup(self._end_threads)
        self._stop, self._threads = threading.Event(), []
        self._rounds, self._raw, self._wanted, self._marked = threading.Lock(), True, 0, (0, {})
        self.failure = None
        self.changes, self.memory = [(time.monotonic(), 0)], {}
        self._begin()

    def _begin(self):
        for _ in range(self.engine_count):
            self.engine()
        self.await_shared()
        for main in (self._feed, self._watch, self._look):
            self._threads.append(threading.Thread(target=main, daemon=True))
            self._threads[-1].start()
        self.calm(30)

    def _end_threads(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(130)

    def heal(self):
        """What an earlier test may have left broken."""
        if self.database_proxied:
            self.database.heal()
        self.postgres.heal()
        self.kafka.heal()

    # ---------------------------------------------------------------------------------------------------------- engines

    def engine_env(self, failpoints=None):
        url = (
            self.url.replace(f":{self.postgres.port}/", f":{self.database.port}/")
            if self.database_proxied
            else self.url
        )
        return {
            **self.work.env,
            "DATABASE_URL": url,
            "KAFKA_BROKERS": self.kafka.servers,
            "SLUICE_FAILPOINTS": self.failpoints if failpoints is None else failpoints,
        }

    def engine(self, failpoints=None, wait=True, mistake=None):
        """One more. `mistake`: planted in it, see lib/mistakes.py."""
        program = mistakes.build(mistake) if mistake else SLUICE
        engine = Engine(self.work.config, self.engine_env(failpoints), program=program)
        self.engines.append(engine)
        self.started.append(engine)
        return engine.start(wait=wait)

    def end(self, engine):
        """kill -9 of an engine; returns when its worker is gone as well."""
        worker = engine.worker()
        engine.kill()
        self.engines.remove(engine)
        self.work.write(killed=1)
        until(lambda: worker is None or not os.path.exists(f"/proc/{worker}"), "the death of the orphaned worker")

    def held(self, engine):
        """How many partitions of the pipeline's group it said last that it has."""
        place = re.compile(rf"group {re.escape(self.bus.group)}: .* (\d+) (?:in all|left)")
        found = [int(match.group(1)) for match in map(place.search, list(engine.log)) if match]
        return found[-1] if found else 0

    def await_shared(self, limit_s=30):
        """Every engine has partitions, and all are somebody's: until one has joined, its peer has them all."""

        def shared():
            held = [self.held(engine) for engine in self.engines]
            return all(held) and sum(held) == self.bus.places

        try:
            until(shared, f"all {self.bus.places} partitions", limit_s, 0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.told()}") from None

    def told(self, lines=40):
        """What the engines said last."""
        return "the engines said\n" + "\n----\n".join("\n".join(engine.log[-lines:]) for engine in self.started)

    # ---------------------------------------------------------------------------------------------------------- threads

    def _feed(self):
        try:
            while not self._stop.is_set():
                with self._rounds:
                    self._round()
                self._stop.wait(self.pause_s)
        except BaseException as failure:  # told by calm() and verdict()
            self.failure = failure

    def _round(self):
        """Poison without an id only between faults: what is sent again is another event. All else may be there
        twice."""
        entries = [self.work.one() for _ in range(self.round_size)]
        if self._raw and self.work.dice.random() < 0.25:
            entries.append(dict(self.work.raw(), key=self.work.dice.choice(self.work.keys)))
        wanted, marks = self._wanted, {}
        if wanted > self._marked[0]:
            marks = {key: self.work.effect(k=key) for key in self.work.keys}
        self.work.send(entries + list(marks.values()))
        if marks:
            self._marked = (wanted, {entry["origin"] for entry in marks.values()})

    def _watch(self):
        """Samples for the checker, and memory. Servers that do not answer are not sampled."""
        while not self._stop.wait(1.0):
            with contextlib.suppress(KafkaError, RuntimeError):
                self.work.sample()
            for engine in list(self.engines):
                for pid in (engine.process.pid, engine.worker()):
                    with contextlib.suppress(OSError, TypeError):
                        text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
                        peak = re.search(r"VmHWM:\s+(\d+)", text)
                        if peak is not None:  # a process that has just ended has none
                            self.memory[pid] = max(self.memory.get(pid, 0), int(peak.group(1)) * 1024)

    def _look(self):
        """When the number of outcomes changed."""
        while not self._stop.wait(0.1):
            with contextlib.suppress(RuntimeError):
                count = sql(self.url, "SELECT count(*) AS n FROM sluice.inbox")[0]["n"]
                if count != self.changes[-1][1]:
                    self.changes.append((time.monotonic(), count))

    # ----------------------------------------------------------------------------------------------------------- faults

    def stood_still(self, since):
        """The longest time without an outcome, of those that ended after `since`."""
        times = [when for when, _ in list(self.changes)] + [time.monotonic()]
        return max((b - a for a, b in zip(times, times[1:]) if b > since), default=0.0)

    def handled(self):
        return int(self.postgres.value("SELECT count(*) FROM sluice.inbox", self.url))

    def calm(self, limit_s=30):
        """Until an event of every key that is sent from now on is handled; returns after how many seconds."""
        began = time.monotonic()
        self._wanted += 1
        wanted = self._wanted

        def all_keys():
            if self.failure:
                raise self.failure
            number, origins = self._marked
            if number < wanted:
                return False
            done = {
                row["origin"]
                for row in sql(
                    self.url, f"SELECT origin FROM effects WHERE origin IN ({', '.join(map(repr, sorted(origins)))})"
                )
            }
            self._missing = origins - done
            return not self._missing

        self._missing = {"none sent yet"}
        try:
            until(all_keys, "an event of every key", limit_s, 0.05)
        except AssertionError as error:
            raise AssertionError(
                f"{error}: not handled: {sorted(self._missing)}; {self.left()}; {self.told()}"
            ) from None
        return time.monotonic() - began

    def left(self):
        try:
            return self.bus.left()
        except (KafkaError, RuntimeError) as error:
            return error

    @contextlib.contextmanager
    def fault(self, name, limit_s=30, deaths=1):
        """Within: the fault, its end included. Then progress must come back by itself within limit_s. `deaths`: how
        often outputs may be published again for it."""
        with self._rounds:
            self._raw = False
        began = time.monotonic()
        self.work.write(killed=deaths)
        yield
        ended = time.monotonic()
        after = self.calm(limit_s)
        self.faults.append((name, ended - began, self.stood_still(began), after))
        say(
            f"{name}: {ended - began:.1f} s; progress stood still for {self.faults[-1][2]:.1f} s; {after:.1f} s after"
            " its end every key moved"
        )
        self._raw = True

    # ---------------------------------------------------------------------------------------------------------- verdict

    def settle(self, limit_s=60):
        """Stops feeding, drains, stops the engines: then there is something to check."""
        with self._rounds:
            self._stop.set()
        self._end_threads()
        if self.failure:
            raise self.failure
        try:
            self.work.drain(limit_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.told()}") from None
        for engine in self.engines:
            self.assertEqual(engine.stop(), 0, engine.text())
        self.work.sample()
        for event_id in list(self.sink.ids):
            self.work.write(sink=event_id)

    def violations(self):
        """After settle(): what the checker finds."""
        facts = self.facts(self.work)
        found = checker.check(facts)
        most = max(self.memory.values(), default=0) / MIB
        say(
            f"{self.work.sent} events sent, {len(facts.inbox)} outcomes, {len(facts.records)} records,"
            f" {len(facts.repeats)} of them once more, at most {most:.0f} MiB, {len(found)} violations"
        )
        return found

    def verdict(self, limit_s=60):
        self.settle(limit_s)
        found = self.violations()
        self.green(found)
        self.assertLess(max(self.memory.values()) / MIB, self.memory_mib, "MiB that an engine had")
