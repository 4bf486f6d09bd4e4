"""Events that only pass: consume → handler → produce without a store, beside a loop of bare librdkafka on the same
events."""
import datetime
import json
import statistics
import subprocess
import time

from machine import process_cpu, quiet
from stage import BATCH, BUILD, LANES, Engine, sluice, until

EVENTS = 200000
CONFIG = """pipeline: pass
bus: {kind: kafka, partitions: 6, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}
engine: {group: GROUP, from: earliest, lanes: LANES, batch: {max_events: BATCH}}
plugins: {pass: {library: "PLUGIN"}}
topics:
  pass-in: {key: "{number}", handler: pass.pass, routes: {passed: OUT}}
  OUT: {final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
PASSED = 'sluice_events_total{handler="pass.pass",outcome="passed"}'


def _assigned(engine):
    """When the reader got its partitions, by the engine's own clock in its log."""
    line = next(line for line in engine.log if "partitions assigned" in line)
    return datetime.datetime.fromisoformat(line.split()[0].replace("Z", "+00:00")).timestamp()


def _engine(stage, name, out):
    config = stage.folder / "pass.yaml"
    text = CONFIG
    for word, value in (
        ("GROUP", name),
        ("LANES", LANES),
        ("BATCH", BATCH),
        ("PLUGIN", BUILD / "tests/plugins/pass.so"),
        ("OUT", out),
    ):
        text = text.replace(word, str(value))
    config.write_text(text)
    env = stage.bus.kafka.env()
    sluice("migrate", config, env=env)
    if name == "pass-0":
        lines = "".join(f'{{"number":{n},"text":"{n:0100d}"}}\n' for n in range(EVENTS))
        sluice("emit", config, "pass-in", env=env, data=lines)
        return None
    with Engine(config, env) as engine:
        until(lambda: engine.metric(PASSED) >= EVENTS, "the last event", 120, 0.02)
        seconds = time.time() - _assigned(engine)
        cpu = process_cpu(engine.worker())
    return EVENTS / seconds, cpu * 1000 / EVENTS


def _bare(stage, name, out, depth):
    stage.bus.kafka.create_topic(out, partitions=6)
    done = subprocess.run(
        [
            BUILD / "tests/bench/bare",
            stage.bus.kafka.servers,
            name,
            "pass-in",
            out,
            str(EVENTS),
            str(BATCH),
            str(depth),
            "queued.min.messages=1000000",
            "queued.max.messages.kbytes=1000000",
        ],  # it must not stop fetching: see kafka_flow_took()
        check=True,
        capture_output=True,
        text=True,
    )
    return tuple(map(float, done.stdout.split()))


def passing(stage, rounds, _purchases):
    if stage.bus.kind != "kafka":
        return
    _engine(stage, "pass-0", "pass-out-0")
    rows = {"engine": [], f"bare, {LANES} batches on their way": [], "bare, a batch at a time": []}
    for number in range(1, rounds + 1):
        for (what, seen), depth in zip(rows.items(), (0, LANES, 1)):
            quiet()
            out = f"pass-out-{number}-{depth}"
            seen.append(
                _bare(stage, f"bare-{number}-{depth}", out, depth) if depth else _engine(stage, f"pass-{number}", out)
            )
            stage.bus.kafka.delete_topic(out)
    size = len(json.dumps({"number": EVENTS, "text": "0" * 100}))
    print(f"events/s that only pass ({EVENTS}, {size} bytes of data, {BATCH} a batch, acks=all, no store)")
    for what, seen in rows.items():
        ratio = statistics.median(mine[0] / other[0] for mine, other in zip(rows["engine"], seen))
        print(
            f"  {what:<42} {statistics.median(row[0] for row in seen):.0f}/s  "
            f" {statistics.median(row[1] for row in seen):.4f} CPU ms an event"
            + (f"   engine / this {ratio:.2f}" if what != "engine" else ""),
            flush=True,
        )
