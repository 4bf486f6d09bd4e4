"""Many timers that wait: what they cost to begin and to cancel, how late those are that become due while others begin
and end, what the engine's memory is, and how long a restart takes; each beside the same with none waiting.

    PARTS=timers make bench                     100 000
    TIMERS=10000000 PARTS=timers make bench     a large one: 10 GB of disk

The first timer is a real one; the others are copies of its row, and of its chain's, with a correlation of their own.
"""
import json
import os
import re
import statistics
import threading
import time

from machine import memory, quiet
from stage import Engine, sluice, until

CONFIG = """pipeline: timers
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {group: timers, lanes: 4}
plugins: {template: {library: template.so}}
topics:
  paid: {key: "{id}", final: true}
  booked: {key: "{id}", final: true}
  failed: {key: "{id}", final: true}
  late: {key: "{id}", final: true}
chains:
  order:
    correlate: id
    steps: [{name: pay, done: paid, undo: none}, {name: book, done: booked, undo: none}]
    abort_on: [failed]
    timers: [{after: 1d, from: paid, emit: late, cancel_on: [booked]}]
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
EVENTS, DUE, EACH_MS, AHEAD_S, BATCH = 20000, 10000, 2, 10, 100
FIRST = "k00000000"
ROWS = """
insert into sluice.parked (consumer_group, event_id, due, record, reason, chain)
select consumer_group, gen_random_uuid(), due + n * interval '10 ms', RECORD, reason, chain
from sluice.parked, generate_series(1, COUNT) n where event_id = 'ID'
"""
CHAINS = """
insert into sluice.chain (chain, at, correlation, correlation_text, definition, missing)
select chain, at, md5('k' || n)::uuid, 'k' || lpad(n::text, 8, '0'), definition, missing
from sluice.chain, generate_series(1, COUNT) n where correlation_text = 'k00000000'
"""


class Timers:
    def __init__(self, stage):
        self.stage, self.env = stage, {**stage.env, "DATABASE_URL": stage.url}
        self.config = stage.folder / "timers.yaml"
        self.config.write_text(CONFIG)
        self.sent = 0

    def sql(self, *texts):
        return self.stage.sql(*texts)

    def fresh(self):
        self.sql("drop schema if exists sluice cascade", "drop schema public cascade", "create schema public")
        sluice("migrate", self.config, env=self.env)

    def emit(self, topic, ids):
        lines = "".join(json.dumps({"id": one}, separators=(",", ":")) + "\n" for one in ids)
        sluice("emit", self.config, topic, env=self.env, data=lines)

    def drained(self, limit_s=600):
        until(lambda: self.sql("select sluice.bus_lag('timers')") == "0", "all events", limit_s, 0.02)

    def rates(self):
        """Events a second that begin a timer each, and that cancel one each; they are there before the engine is."""
        self.sent += 1
        ids = [f"e{self.sent}-{n}" for n in range(EVENTS)]
        found = []
        for topic in ("paid", "booked"):
            self.emit(topic, ids)
            quiet()
            with Engine(self.config, self.env):
                began = time.monotonic()
                self.drained()
                found.append(EVENTS / (time.monotonic() - began))
        return found

    def fill(self, count):
        """One timer, and copies of it: DUE of them are due soon, EACH_MS apart."""
        with Engine(self.config, self.env):
            self.emit("paid", [FIRST])
            until(lambda: self.sql("select count(*) from sluice.parked") == "1", "the first timer", 30)
        record, row = self.sql("select encode(record, 'hex') || ' ' || event_id from sluice.parked").split()
        copy = "record"
        for found in re.finditer(FIRST.encode(), bytes.fromhex(record)):
            name = "convert_to('k' || lpad(n::text, 8, '0'), 'UTF8')"
            copy = f"overlay({copy} placing {name} from {found.start() + 1} for 9)"
        began = time.monotonic()
        for text in (ROWS.replace("RECORD", copy).replace("ID", row), CHAINS):
            self.sql(text.replace("COUNT", str(count - 1)))
        self.sql("vacuum analyze sluice.parked", "vacuum analyze sluice.chain", "checkpoint")
        size = self.sql("select pg_size_pretty(pg_total_relation_size('sluice.parked'))")
        print(f"  {count} timers, {size} with indexes, made in {time.monotonic() - began:.0f} s", flush=True)

    def begin_due(self):
        """Returns when the first of DUE timers is due, in ms since 1970; the n-th is n * EACH_MS later."""
        return float(
            self.sql(
                f"with due as (select ctid, row_number() over () - 1 as n from sluice.parked limit {DUE}), at as"
                f" (select clock_timestamp() + interval '{AHEAD_S} s' as t), done as (update sluice.parked p"
                f" set due = at.t + due.n * {EACH_MS} * interval '1 ms', record = overlay(record placing"
                f" convert_to(lpad(n::text, 8, '0'), 'UTF8') from 7 + position('\"id\":\"k'::bytea in record) for 8)"
                " from due, at where p.ctid = due.ctid returning at.t)"
                " select extract(epoch from min(t)) * 1000 from done"
            )
        )

    def load(self, stop):
        """Timers that begin, and end a moment later."""
        number = 0
        while not stop.is_set():
            ids = [f"load{number}-{n}" for n in range(BATCH)]
            self.emit("paid", ids)
            self.emit("booked", ids)
            number += 1
        self.loaded = number * BATCH

    def lateness(self):
        stop, late = threading.Event(), []
        with Engine(self.config, self.env) as engine:
            before = memory(engine.worker())[0]
            first = self.begin_due()
            thread = threading.Thread(target=self.load, args=(stop,))
            began = time.monotonic()
            thread.start()
            until(
                lambda: self.sql("select count(*) from sluice.parked where due < now()") == "0"
                and time.monotonic() - began > AHEAD_S + DUE * EACH_MS / 1000,
                "the timers that are due",
                600,
                0.5,
            )
            took = time.monotonic() - began
            stop.set()
            thread.join()
            self.drained()
            rss, peak = memory(engine.worker())
        for line in sluice("tap", self.config, "late", "--no-follow", "--json", env=self.env).stdout.splitlines():
            record = json.loads(line)
            number = int(json.loads(record["value"])["data"]["id"][1:])
            late.append(record["timestamp"] - (first + number * EACH_MS))
        late.sort()
        p50, p99 = statistics.median(late), late[int(len(late) * 0.99)]
        print(
            f"  {len(late)} due, {1000 // EACH_MS}/s, beside {2 * self.loaded / took:.0f} events/s that begin and end"
            f" others: late p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {late[-1]:.1f} ms; memory {before:.1f} MiB"
            f" before, {rss:.1f} MiB after, {peak:.1f} MiB at its peak",
            flush=True,
        )

    def starts(self):
        took = []
        for _ in range(3):
            engine = Engine(self.config, self.env)
            engine.start()
            took.append(int(re.search(r"ready: timers after (\d+) ms", engine.text())[1]))
            engine.kill()
        print(f"  ready after {statistics.median(took):.0f} ms when the one before was killed", flush=True)


def timers(stage, _rounds, _purchases):
    if stage.bus.kind != "postgres":
        return
    count = max(int(os.environ.get("TIMERS") or 100000), DUE)
    bench = Timers(stage)
    bench.fresh()
    print("timers of chains", flush=True)
    begin, cancel = bench.rates()
    print(f"  none waits: {begin:.0f}/s begin, {cancel:.0f}/s are cancelled", flush=True)
    bench.fill(count)
    begin, cancel = bench.rates()
    print(f"  {count} wait: {begin:.0f}/s begin, {cancel:.0f}/s are cancelled", flush=True)
    bench.starts()
    bench.lateness()
