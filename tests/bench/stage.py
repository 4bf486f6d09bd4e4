"""What a figure is measured on: a private PostgreSQL, a bus, a target for the tap, and engines between them."""
import http.server
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import uuid

from lib.engine import BUILD, Engine, sluice, until
from machine import Usage, children_cpu, family_cpu, memory, plugins_cpu, process_cpu, quiet, threads_cpu

ROOT = pathlib.Path(__file__).resolve().parents[2]
LANES = 4
BATCH = 500
CHARGED = 'sluice_events_total{handler="payment.charge",outcome="success"}'
CONFIRMED = 'sluice_events_total{handler="reservation.confirm",outcome="success"}'
TAPPED = 'sluice_events_total{handler="data-platform/data_platform.send",outcome="sent"}'


class Sink(http.server.ThreadingHTTPServer):
    """Takes what the tap sends; notes when each purchase's last event came, when asked to."""

    daemon_threads = True

    def __init__(self):
        self.look, self.seen = False, {}

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(handler):
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                now = time.monotonic()
                handler.send_response(200)
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                if self.look:
                    for event in json.loads(body):
                        if event["eventName"].endswith("reservation.success"):
                            self.seen.setdefault(event["data"]["paymentTxId"], now)

            def log_message(handler, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.handle_error = lambda *_: None  # engines are killed here
        threading.Thread(target=self.serve_forever, daemon=True).start()


class PostgresBus:
    kind = "postgres"
    name = "PostgreSQL"
    floors = {"floor": [], "fused": ["fused"]}
    group = "ticketing"

    def __init__(self):
        self.env, self.parties = {}, {}

    def renew(self):
        """Before each measurement: nothing of an older one may be read. The schema is dropped anyway."""

    def configure(self, text):
        return text

    def emit(self, stage, topic, value):
        sluice("emit", stage.config, topic, env=stage.env, data=json.dumps(value) + "\n")

    def frozen(self, _yes):
        pass


class KafkaBus:
    """One broker. Every measurement has topics and a group of its own; those of the one before are deleted."""

    kind = "kafka"
    topics = re.compile(r"(?<![\w.-])((?:payment|reservation)\.(?:try|success|retry|cancel|failure|timeout|\*))")

    def __init__(self, kafka):
        self.kafka, self.env = kafka, kafka.env()
        self.name = "one Kafka broker"
        self.number, self.prefix, self.group = 0, "", "ticketing"
        self.parties = {"broker": lambda: process_cpu(kafka.pid(1))}

    @property
    def floors(self):
        return {
            "floor": ["outbox"],
            "fused": ["outbox-fused"],
            "broker frozen": ["outbox"],
            "and publishing": [self.kafka.servers, f"{self.prefix}payment.success"],
        }

    def renew(self):
        if self.prefix:
            for topic in self.kafka.topics():
                if topic.startswith(self.prefix):
                    self.kafka.delete_topic(topic)
        self.number += 1
        self.prefix, self.group = f"r{self.number}-", f"ticketing-{self.number}"
        self.env = {**self.kafka.env(), "CONSUMER_GROUP": self.group}

    def configure(self, text):
        return self.topics.sub(lambda found: self.prefix + found[1], text)

    def emit(self, stage, topic, value):
        envelope = {
            "eventId": str(uuid.uuid4()),
            "eventName": topic,
            "timestamp": "2026-01-01T00:00:00.000Z",
            "data": value,
        }
        self.kafka.produce(self.prefix + topic, f"{value['userId']}-{value['seatId']}", json.dumps(envelope))

    def frozen(self, yes):
        (self.kafka.freeze if yes else self.kafka.thaw)(1)

    def session_ms(self):
        return re.search(r'"session.timeout.ms", "(\d+)"', (ROOT / "engine/bus/kafka/options.c").read_text())[1]


class Stage:
    def __init__(self, folder, postgres, bus):
        self.folder, self.postgres, self.bus = pathlib.Path(folder), postgres, bus
        self.url = postgres.url
        self.sink = Sink()
        self.config = self.folder / "pipeline.yaml"
        self.more = ""  # of it
        self.isolation = None  # of the plugins
        self.unsafe = False  # the server may have settings that lose events
        self.postmaster = postgres.pid()

    def restart(self, settings):
        """PostgreSQL, with other settings; None: the default again."""
        for name, value in settings.items():
            self.sql(f"alter system set {name} = {value}" if value else f"alter system reset {name}")
        self.postgres.restart()
        self.postmaster = self.postgres.pid()

    @property
    def env(self):
        return {
            "DATABASE_URL": self.url,
            "DATA_PLATFORM_URL": f"http://127.0.0.1:{self.sink.server_port}/events",
            **self.bus.env,
        }

    def sql(self, *texts):
        args = [arg for text in texts for arg in ("-c", text)]
        return subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", self.url, *args],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def configure(self, lanes):
        name = "pipeline.kafka.yaml" if self.bus.kind == "kafka" else "pipeline.yaml"
        text = (
            (ROOT / "config" / name)
            .read_text()
            .replace("max_wait: 1s", "max_wait: 0ms")
            .replace("lanes: 4", f"lanes: {lanes}")
        )
        if self.isolation:
            text = re.sub(r"(library: \w+\.so)", rf"\1, isolation: {self.isolation}", text)
        if self.unsafe:
            text = text.replace("store: {", "store: {allow_unsafe: true, ", 1)
        self.config.write_text(self.bus.configure(text) + self.more)

    def fresh(self, purchases, poor=0, lanes=LANES):
        """Nothing on the bus, and a database with a user and a reservation for each purchase; every poor-th user has
        nothing."""
        self.bus.renew()
        self.configure(lanes)
        self.sql("drop schema if exists sluice cascade", "drop schema public cascade", "create schema public")
        sluice("migrate", self.config, env=self.env)
        points = f"case when {poor} > 0 and g % greatest({poor}, 1) = 0 then 0 else 1000 end"
        self.sql(
            f"insert into users select g, {points} from generate_series(1, {purchases}) g",
            "insert into reservations (id, user_id, seat_id, purchase_price) select g, g, g, 100 from"
            f" generate_series(1, {purchases}) g",
            "vacuum analyze users",
            "vacuum analyze reservations",
            "checkpoint",
        )

    @staticmethod
    def purchase(n):
        return {"paymentTxId": str(uuid.uuid4()), "userId": n, "seatId": n, "amount": 100, "reservationId": n}

    def topic(self, name):
        return self.bus.configure(name)

    def backlog(self, purchases):
        lines = "".join(json.dumps(self.purchase(n), separators=(",", ":")) + "\n" for n in range(1, purchases + 1))
        sluice("emit", self.config, self.topic("payment.try"), env=self.env, data=lines)

    def engine(self):
        return Engine(self.config, self.env)

    def floor(self, purchases, which, begin=None):
        """The statements alone; `which` of the bus's floors. begin() is called before them."""
        self.fresh(purchases)
        quiet()
        if begin:
            begin()
        frozen = which == "broker frozen"
        if frozen:
            self.bus.frozen(True)
        try:
            usage = Usage({"floor": children_cpu, "postgres": lambda: family_cpu(self.postmaster), **self.bus.parties})
            before = usage.look()
            out = subprocess.run(
                [
                    BUILD / "tests/bench/floor",
                    self.url,
                    str(purchases),
                    str(LANES),
                    str(BATCH),
                    *self.bus.floors[which],
                ],
                check=True,
                capture_output=True,
                text=True,
            )
            used, seconds = usage.between(before, usage.look())
        finally:
            if frozen:
                self.bus.frozen(False)
        return {"rate": float(out.stdout), "used": used, "seconds": seconds}

    def usage(self, engines):
        pids = [pid for engine in engines for pid in (engine.process.pid, engine.worker())]
        return Usage(
            {
                "engine": lambda: sum(map(threads_cpu, pids)) + sum(map(plugins_cpu, pids[1::2])),
                "postgres": lambda: family_cpu(self.postmaster),
                **self.bus.parties,
            }
        )

    def settled(self, engines):
        """Waits until every process has partitions and nothing has changed for a while."""
        name = f'sluice_partitions{{group="{self.bus.group}"}}'
        seen, since = None, time.monotonic()

        def stays():
            nonlocal seen, since
            now = [engine.metric(name) for engine in engines]
            if now != seen:
                seen, since = now, time.monotonic()
            return min(seen) > 0 and time.monotonic() >= since + 1

        until(stays, lambda: f"partitions of every process that stay: {seen}", 60, 0.1)
        return seen

    @staticmethod
    def signal(engines, number):
        for engine in engines:
            for pid in (engine.process.pid, engine.worker()):
                os.kill(pid, number)

    @staticmethod
    def watch(engines, good):
        """Until so many are confirmed. Each look costs the engines: there are few until the end is near."""
        began, done, wait = time.monotonic(), 0, 0.1
        while done < good:
            time.sleep(wait)
            done = sum(engine.metric(CONFIRMED) for engine in engines)
            passed = time.monotonic() - began
            if passed > 300:
                raise AssertionError(f"{done:.0f} of {good} purchases in 300 s")
            wait = min(0.25, max(0.01, (good - done) * passed / max(done, 1) / 3))

    def drain(self, purchases, good=None, instances=1, begin=None):
        """Engines that have their partitions are stopped, given a backlog, and let go: what they need until `good` are
        confirmed, and until the tap has everything, too. begin() is called before they are let go."""
        good = good or purchases
        engines = [self.engine().start() for _ in range(instances)]
        try:
            self.settled(engines)
            self.signal(engines, signal.SIGSTOP)
            self.backlog(purchases)
            quiet()
            if begin:
                begin()
            usage = self.usage(engines)
            before = usage.look()
            self.signal(engines, signal.SIGCONT)
            self.watch(engines, good)
            confirmed = usage.look()
            until(lambda: sum(engine.metric(TAPPED) for engine in engines) >= 3 * good, "the tap", 120, 0.05)
            tapped = usage.look()
            batches = sum(engine.metric(f'sluice_batches_total{{group="{self.bus.group}"}}') for engine in engines)
            trips = sum(engine.metric("sluice_store_round_trips_total") for engine in engines)
            if self.more:
                time.sleep(2)  # what waits for a request to the collector is sent
            spans = sum(engine.metric("sluice_trace_spans_total") for engine in engines)
            peak = max(memory(engine.worker())[1] for engine in engines)
            used, seconds = usage.between(before, confirmed)
            whole, _ = usage.between(before, tapped)
            return {
                "rate": good / seconds,
                "seconds": seconds,
                "used": used,
                "whole": whole,
                "trips": trips / max(1, batches),
                "batches": batches,
                "spans": spans,
                "peak": peak,
            }
        finally:
            for engine in engines:
                if engine.process.poll() is None:
                    self.signal([engine], signal.SIGCONT)
                engine.stop()
