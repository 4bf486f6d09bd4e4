"""A pause of many keys that ends: what other keys' events notice while what waited is handled.

    PARTS=resume make bench                       30 000 keys
    PARTS=resume RESUME_KEYS=3000 make bench      a small one

The others are 50 events a second of a topic of their own through HTTP: for ten seconds alone, for ten beside the keys
that are paused, and then until the last of these has been handled.
"""
import json
import os
import time
import uuid

from hotkey import HELD, TABLE
from machine import quiet
from others import RATE, Others, words
from stage import BUILD, LANES, Engine, sluice, until

CONFIG = """pipeline: resume
bus: {kind: BUS}
store: {url: "${DATABASE_URL}"}
engine: {group: GROUP, lanes: LANES}
plugins: {effects: {library: "PLUGINS/effects.so"}}
topics:
  GROUP-waits: {key: "{k}", handler: effects.record, routes: {done: drop, again: drop}}
  GROUP-others: {key: "{k}", handler: effects.record, routes: {done: drop, again: drop}}
http:
  listen: "${HTTP_LISTEN:-127.0.0.1:0}"
  requests: {"POST /event": {handler: effects.post, routes: {done: GROUP-others, again: drop}}}
"""
SECONDS = 10
BEFORE_S = 5  # of the others, until the keys come back


def _configure(stage, group):
    kafka = 'kafka, partitions: 6, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}'
    config, text = stage.folder / "resume.yaml", CONFIG
    for word, value in (
        ("BUS", kafka if stage.bus.kind == "kafka" else "postgres"),
        ("GROUP", group),
        ("LANES", LANES),
        ("PLUGINS", BUILD / "tests/plugins"),
    ):
        text = text.replace(word, str(value))
    config.write_text(text)
    return config


def _beside(stage, engine, name):
    others = Others(stage, engine, name, SECONDS).start()
    others.wait()
    return others.times()


def resume(stage, _rounds, _purchases):
    keys = int(os.environ.get("RESUME_KEYS") or 30000)
    group = f"resume-{uuid.uuid4().hex[:8]}"
    config, topic = _configure(stage, group), f"{group}-waits"
    env = {**stage.env, "DATABASE_URL": stage.url}
    stage.sql("drop schema if exists sluice cascade", "drop schema public cascade", "create schema public", TABLE)
    sluice("migrate", config, env=env)
    lines = "".join(json.dumps({"k": f"w{n}", "origin": "w", "seq": 1}) + "\n" for n in range(keys))
    with Engine(config, env) as engine:
        quiet()
        alone = _beside(stage, engine, "alone")
        sluice("pause", config, topic, env=env)
        until(lambda: engine.metric(f'sluice_paused{{kind="topic",name="{topic}"}}') == 1, "the pause", 30)
        sluice("emit", config, topic, env=env, data=lines)
        until(lambda: int(stage.sql(HELD)) == keys, "the keys that wait", 120)
        paused = _beside(stage, engine, "paused")
        others = Others(stage, engine, "resumed").start()
        until(lambda: others.count >= BEFORE_S * RATE, "the others, as they are alone", 60)
        began, wall = time.monotonic(), time.time()
        sluice("resume", config, topic, env=env)
        until(lambda: int(stage.sql(HELD)) == 0, "the end", 600, 0.2)
        took = time.monotonic() - began
        others.stop()
        resumed = others.times(wall)
    assert stage.sql("select count(*), count(distinct k) from effects where origin = 'w'") == f"{keys}|{keys}"
    for what, times in (("nothing waits", alone), ("they wait", paused), ("they come back", resumed)):
        print(f"resume of {keys} keys, {what:<14} ms, POST → row, of {RATE}/s others: {words(times)}")
    print(f"   all back after {took:.1f} s ({keys / took:.0f} keys/s)", flush=True)
