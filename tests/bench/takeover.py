"""A process that is killed and not started again: when its peer handles the first event of its partitions, and what
those notice that do not move.

    PARTS=takeover TAKEOVERS=5 make bench

Events of many keys come at a steady rate. Their row in the database says when they were handled, and in which session:
whose session is gone after the kill was the dead process's.
"""
import contextlib
import http.client
import json
import os
import random
import statistics
import threading
import time
import uuid

from machine import quiet
from others import share
from stage import BUILD, LANES, Engine, sluice, until

TIMES, RATE, KEYS, SETTLE_S = int(os.environ.get("TAKEOVERS") or 5), 100, 50, 3
CONFIG = """pipeline: takeover
bus: {kind: BUS}
store: {url: "${DATABASE_URL}"}
engine: {group: GROUP, lanes: LANES}
plugins: {effects: {library: "PLUGINS/effects.so"}}
topics:
  GROUP-in: {key: "{k}", handler: effects.record, routes: {done: drop, again: drop}}
http:
  listen: "${HTTP_LISTEN:-127.0.0.1:0}"
  requests: {"POST /event": {handler: effects.post, routes: {done: GROUP-in, again: drop}}}
"""
TABLE = (
    "create table effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
    " unity bigint, pid int not null default pg_backend_pid(), at timestamptz not null default clock_timestamp())"
)


class Load(threading.Thread):
    """Through the process that stays."""

    def __init__(self, engine):
        super().__init__(daemon=True)
        self.over, self.sent, self.error = threading.Event(), 0, None
        self.connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=60)

    def run(self):
        began = time.monotonic()
        while not self.over.wait(max(0.0, began + self.sent / RATE - time.monotonic())):
            self.sent += 1
            event = {"k": f"k{self.sent % KEYS}", "origin": f"{time.time():.6f}", "seq": self.sent}
            self.connection.request("POST", "/event", json.dumps(event), {"Content-Type": "application/json"})
            response = self.connection.getresponse()
            response.read()
            assert response.status == 200, response.status


def _configure(stage, group):
    kafka = 'kafka, partitions: 6, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}'
    text = CONFIG
    for word, value in (
        ("BUS", kafka if stage.bus.kind == "kafka" else "postgres"),
        ("GROUP", group),
        ("LANES", LANES),
        ("PLUGINS", BUILD / "tests/plugins"),
    ):
        text = text.replace(word, str(value))
    stage.config.write_text(text)


@contextlib.contextmanager
def _two(stage):
    """Two processes that share the partitions; when that is so again can be asked."""
    group = f"takeover-{uuid.uuid4().hex[:8]}"
    env = {**stage.env, "DATABASE_URL": stage.url}
    _configure(stage, group)
    stage.sql("drop schema if exists sluice cascade", "drop schema public cascade", "create schema public", TABLE)
    sluice("migrate", stage.config, env=env)
    engines = [Engine(stage.config, env).start() for _ in range(2)]
    name = f'sluice_partitions{{group="{group}"}}'

    def shared():
        until(lambda: all(engine.metric(name) for engine in engines), "partitions for both", 30, 0.1)

    try:
        shared()
        quiet()
        yield engines, shared, lambda: engines[1].metric(name)
    finally:
        for engine in engines:
            engine.stop()


def _idle(stage):
    """ms from the kill to partitions for the other one, while nothing comes."""
    times = []
    with _two(stage) as (engines, shared, partitions):
        had = partitions()
        for _ in range(TIMES):
            time.sleep(1 + random.random())
            began = time.monotonic()
            engines[0].kill()
            until(lambda: partitions() > had, "the partitions of the one that was killed", 30, 0.002)
            times.append((time.monotonic() - began) * 1000)
            engines[0].start()
            shared()
            until(lambda: partitions() == had, "the share of before", 30, 0.1)
    return times


def _once(stage):
    """ms from the kill to the first event of what moved; the longest wait of what moved, and of what stayed."""
    with _two(stage) as (engines, _, _):
        load = Load(engines[1])
        load.start()
        time.sleep(SETTLE_S)
        killed = time.time()
        engines[0].kill()
        time.sleep(SETTLE_S + (15 if stage.bus.kind == "kafka" else 0))
        load.over.set()
        load.join()
        until(lambda: stage.sql("select count(distinct seq) from effects") == str(load.sent), "all events", 60)
        assert stage.sql("select count(*) from effects") == str(load.sent), "an event was handled twice"
        rows = stage.sql(
            "select k, (extract(epoch from at) - origin::float8) * 1000, (extract(epoch from at) -"
            f" {killed:.6f}) * 1000, (pid in (select pid from pg_stat_activity))::int from effects order by at"
        )
    rows = [
        (k, float(wait), float(at), alive == "1") for k, wait, at, alive in map(lambda r: r.split("|"), rows.split())
    ]
    moved = {k for k, _, _, alive in rows if not alive}
    first = min(at for k, _, at, alive in rows if k in moved and alive)
    waits = [[wait for k, wait, at, _ in rows if (k in moved) == which and at > 0] for which in (True, False)]
    return first, max(waits[0]), max(waits[1]), share(waits[1], 0.99)


def takeover(stage, _rounds, _purchases):
    found = list(zip(*(_once(stage) for _ in range(TIMES))))
    found.append(_idle(stage))
    for what, times in zip(
        (
            "kill -9 without a restart → first event of what moved",
            "the longest wait of an event that moved",
            "the longest wait of an event that stayed",
            "p99 of those that stayed, from the kill on",
            "the same without events → partitions for the other",
        ),
        found,
    ):
        print(f"ms, {what:<55} {statistics.median(times):.0f}   ({', '.join(f'{t:.0f}' for t in times)})", flush=True)
