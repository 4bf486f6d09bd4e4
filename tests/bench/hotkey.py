"""One key that is held while its events keep coming: what the others' events notice of it.

    PARTS=hotkey HOTKEY_SECONDS=20 HOTKEY_FOLLOWERS=20000 make bench        a small one, as in CI
    PARTS=hotkey HOTKEY_SECONDS=600 HOTKEY_FOLLOWERS=1000000 make bench     the one of docs/performance.md

The others are 50 events a second of other keys through HTTP; what counts is the time from the request to their row in
the database. They run alone, then beside so many events of the hot key a second in pieces of 500, and then beside the
same load while the key is held. Then the key may go on. The first two phases are a minute long at most.
"""
import json
import os
import subprocess
import threading
import time
import uuid

from machine import memory, quiet
from others import RATE, Others, share, words
from stage import BUILD, LANES, Engine, sluice, until

PIECE = 500
CONFIG = """pipeline: hotkey
bus: {kind: BUS}
store: {url: "${DATABASE_URL}"}
engine: {group: GROUP, lanes: LANES}
plugins: {effects: {library: "PLUGINS/effects.so"}}
defaults: {retry: {max_retries: 3, backoff: {initial_interval: 3600s, multiplier: 1, max_interval: 3600s}}}
topics:
  NAME: {key: "{k}", handler: effects.record, routes: {done: drop, again: drop}}
http:
  listen: "${HTTP_LISTEN:-127.0.0.1:0}"
  requests: {"POST /event": {handler: effects.post, routes: {done: NAME, again: drop}}}
"""
TABLE = (
    "create table effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
    " unity bigint, at timestamptz not null default clock_timestamp())"
)
HELD = "select coalesce(sum(events), 0) from sluice.held_key"


class Load:
    """Events of the hot key and of others, for so many seconds."""

    def __init__(self, stage, config, env, engine, topic):
        self.stage, self.config, self.env, self.engine, self.topic = stage, config, env, engine, topic
        self.seq = 0

    def hot(self, count, flaky=0):
        lines = []
        for _ in range(count):
            self.seq += 1
            lines.append(json.dumps({"k": "hot", "origin": "hot", "seq": self.seq, "flaky": flaky}))
        return "\n".join(lines) + "\n"

    def _followers(self, seconds, followers, began):
        emit = subprocess.Popen(
            [BUILD / "sluice", "emit", self.config, self.topic],
            env={**os.environ, **self.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        pieces = followers // PIECE
        for n in range(pieces):
            time.sleep(max(0.0, began + n * seconds / pieces - time.monotonic()))
            emit.stdin.write(self.hot(PIECE))
            emit.stdin.flush()
        emit.stdin.close()
        assert emit.wait(120) == 0

    def run(self, name, seconds, followers):
        """(the others' times in ms, the worker's memory at the end)"""
        began, peak = time.monotonic(), []
        others = Others(self.stage, self.engine, name, seconds)
        threads = [threading.Thread(target=self._followers, args=(seconds, followers, began)), others.thread]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                peak.append(memory(self.engine.worker())[0])
                thread.join(0.5)
        return others.times(), max(peak)


def hotkey(stage, _rounds, _purchases):
    seconds = float(os.environ.get("HOTKEY_SECONDS") or 20)
    followers = int(os.environ.get("HOTKEY_FOLLOWERS") or 20000)
    group = f"hotkey-{uuid.uuid4().hex[:8]}"
    topic, config = f"{group}-in", stage.folder / "hotkey.yaml"
    text = CONFIG
    bus = (
        'kafka, partitions: 6, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}'
        if stage.bus.kind == "kafka"
        else "postgres"
    )
    for word, value in (
        ("BUS", bus),
        ("GROUP", group),
        ("LANES", LANES),
        ("PLUGINS", BUILD / "tests/plugins"),
        ("NAME", topic),
    ):
        text = text.replace(word, str(value))
    config.write_text(text)
    env = {**stage.env, "DATABASE_URL": stage.url}
    stage.sql("drop schema if exists sluice cascade", "drop schema public cascade", "create schema public", TABLE)
    sluice("migrate", config, env=env)
    with Engine(config, env) as engine:
        quiet()
        load = Load(stage, config, env, engine, topic)
        short = min(seconds, 60)
        alone, alone_memory = load.run("alone", short, 0)
        before, before_memory = load.run("before", short, int(followers * short / seconds))
        done = load.seq
        until(lambda: int(stage.sql("select count(*) from effects where k = 'hot'")) == done, "the hot key", 120)
        sluice("emit", config, topic, env=env, data=load.hot(1, flaky=1))
        until(lambda: int(stage.sql(HELD)) == 1, "the held key", 60)
        during, during_memory = load.run("during", seconds, followers)
        behind = load.seq - done
        until(lambda: int(stage.sql(HELD)) == behind, "everything behind the held key", 300)
        until(lambda: engine.metric("sluice_lag") == 0, "positions", 60)
        in_flight = engine.metric("sluice_in_flight")
        began = time.monotonic()
        stage.sql("update sluice.held_key set due = now()")
        until(lambda: int(stage.sql(HELD)) == 0, "the end", 3600, 0.2)
        came_back = time.monotonic() - began
        wrong = stage.sql(
            "select count(*) from (select seq, lag(seq) over (order by number) as last from effects"
            " where k = 'hot') e where seq <> last + 1"
        )
        assert int(stage.sql("select count(*) from effects where k = 'hot'")) == load.seq and wrong == "0", wrong
    phases = (
        ("alone", 0, alone, alone_memory),
        ("handled", 1, before, before_memory),
        ("held", 1, during, during_memory),
    )
    for what, part, times, rss in phases:
        print(
            f"hot key, {what:<7} {part * followers / seconds:.0f} events/s of it; ms, POST → row, of {RATE}/s others: "
            f"{words(times)}  RSS {rss:.0f} MiB"
        )
    print(
        f"   p99 while held / alone: {share(during, 0.99) / share(alone, 0.99):.2f}, / while handled:"
        f" {share(during, 0.99) / share(before, 0.99):.2f}; {behind} events behind it for {seconds:.0f} s, lag 0,"
        f" {in_flight:.0f} in flight; back in order after {came_back:.1f} s ({behind / came_back:.0f} events/s)",
        flush=True,
    )
