"""Many dead letters: how long a page of them takes, and how fast they are replayed; a command that is killed in the
middle and started again; then an engine handles them, each once and each key in its order.

    PARTS=deadletters make bench                              1 000 000 on PostgreSQL
    BUS=kafka PARTS=deadletters make bench                    100 000
    LETTERS=20000 PARTS=deadletters make bench                a small one

The first is a real one; the others are copies of its row with a key and a number of their own.
"""
import os
import re
import signal
import statistics
import subprocess
import time
import uuid

from machine import quiet
from stage import BUILD, LANES, Engine, sluice, until

KEYS, TIMES = 1000, 5
CONFIG = """pipeline: letters
bus: {kind: BUS}
store: {url: "${DATABASE_URL}"}
engine: {group: GROUP, lanes: LANES}
plugins: {gate: {library: "PLUGINS/gate.so"}}
topics:
  NAME: {key: "{k}", handler: gate.pass, routes: {done: drop}}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
TABLES = "create table gate (name text); create table effects (number bigserial, event_id text, k text, seq bigint)"
FIRST = 1000000  # numbers of seven digits, so that all rows have one shape
COPIES = """
insert into sluice.dead_letter (consumer_group, attempts, partition, log_offset, at, event_id, topic, handler, reason,
    event, correlation, message, record)
select s.consumer_group, s.attempts, s.partition, s.log_offset, now() - ({count} - n) * interval '1 ms',
    gen_random_uuid(), s.topic, s.handler,
    case when n % 100000 = 7 then 'hops' when n % 100 = 8 then 'database' else s.reason end,
    s.event, 'c' || n % 100000, s.message,
    overlay(overlay(overlay(s.record
        placing convert_to('k' || lpad((n % {keys})::text, 3, '0'), 'UTF8') from {at[0]} for 4)
        placing convert_to('k' || lpad((n % {keys})::text, 3, '0'), 'UTF8') from {at[1]} for 4)
        placing convert_to(({first} + n)::text, 'UTF8') from {at[2]} for 7)
from sluice.dead_letter s, generate_series(1, {count}) n where s.id = 1 order by n
"""
FILTERS = (
    ("the newest 50", ()),
    ("--reason database: 1 in 100", ("--reason", "database")),
    ("--reason hops: 1 in 100 000", ("--reason", "hops")),
    ("--reason none: not one", ("--reason", "none")),
    ("--topic, --handler and --reason: not one", ("--topic", "NAME", "--handler", "gate.pass", "--reason", "none")),
    ("--correlation", ("--correlation", "c77")),
)


class Letters:
    def __init__(self, stage, count):
        self.stage, self.count = stage, count
        self.env = {**stage.env, "DATABASE_URL": stage.url}
        group = f"letters-{uuid.uuid4().hex[:8]}"
        self.topic, self.config = f"{group}-in", stage.folder / "deadletters.yaml"
        kafka = 'kafka, partitions: 6, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}'
        text = CONFIG.replace("BUS", kafka if stage.bus.kind == "kafka" else "postgres")
        for word, value in (
            ("GROUP", group),
            ("LANES", LANES),
            ("PLUGINS", BUILD / "tests/plugins"),
            ("NAME", self.topic),
        ):
            text = text.replace(word, str(value))
        self.config.write_text(text)

    def sql(self, *texts):
        return self.stage.sql(*texts)

    def replayed(self):
        return int(self.sql("select count(*) from sluice.dead_letter where state = 1"))

    def fill(self):
        self.sql("drop schema if exists sluice cascade", "drop schema public cascade", "create schema public", TABLES)
        sluice("migrate", self.config, env=self.env)
        self.sql("insert into gate values ('pass')")
        with Engine(self.config, self.env):
            sluice("emit", self.config, self.topic, env=self.env, data='{"k":"k000","seq":%d}\n' % FIRST)
            until(lambda: self.sql("select count(*) from sluice.dead_letter") == "1", "the first one", 30)
        record = bytes.fromhex(self.sql("select encode(record, 'hex') from sluice.dead_letter"))
        at = [found.start() + 1 for found in re.finditer(rb"k000|" + str(FIRST).encode(), record)]
        assert len(at) == 3, record
        self.sql(COPIES.format(count=self.count - 1, keys=KEYS, first=FIRST, at=at), "delete from gate")
        self.sql("vacuum analyze sluice.dead_letter", "checkpoint")

    def lists(self):
        for what, options in FILTERS:
            options = [self.topic if word == "NAME" else word for word in options]
            times = []
            for _ in range(TIMES):
                began = time.monotonic()
                sluice("dead-letter", "list", self.config, *options, env=self.env)
                times.append((time.monotonic() - began) * 1000)
            print(
                f"dead letters, list of {self.count}: {what:<42} median {statistics.median(times):4.0f} ms"
                f"  max {max(times):4.0f} ms",
                flush=True,
            )

    def replay(self):
        """A second of it, killed; then the rest."""
        line = [BUILD / "sluice", "dead-letter", "replay", self.config, "--all", "--why", "bench"]
        env = {**os.environ, **self.env}
        first = subprocess.Popen(line, env=env, stdout=subprocess.DEVNULL)
        until(lambda: self.replayed() > self.count // 5, "a part of the replay", 600, 0.05)
        first.send_signal(signal.SIGKILL)
        first.wait()
        before = self.replayed()
        began = time.monotonic()
        out = subprocess.run(line, env=env, check=True, capture_output=True, text=True).stdout
        took = time.monotonic() - began
        print(
            f"dead letters, replay: killed after {before}, then the rest: {out.strip()}; {took:.1f} s with its start"
            f" and the count of what is open",
            flush=True,
        )
        assert self.replayed() == self.count

    def handle(self):
        began = time.monotonic()
        done = "select count(*) from effects"
        with Engine(self.config, self.env) as engine:
            until(lambda: int(self.sql(done)) >= self.count, "all effects", 60 + self.count / 500, 0.5)
            took = time.monotonic() - began
            until(lambda: engine.metric("sluice_lag") == 0, "positions", 60, 0.5)
        twice = self.sql(f"select count(*) - count(distinct (k, seq)) from effects")
        wrong = self.sql(
            "select count(*) from (select seq, lag(seq) over (partition by k order by number) as last from effects) e"
            " where seq <= last"
        )
        assert (self.sql(done), twice, wrong) == (str(self.count), "0", "0"), (self.sql(done), twice, wrong)
        print(
            f"dead letters, handled again: {self.count / took:.0f} events/s; {self.count} effects, none twice, all keys"
            " in order",
            flush=True,
        )


def deadletters(stage, _rounds, _purchases):
    letters = Letters(stage, int(os.environ.get("LETTERS") or (100000 if stage.bus.kind == "kafka" else 1000000)))
    letters.fill()
    quiet()
    letters.lists()
    letters.replay()
    letters.handle()
