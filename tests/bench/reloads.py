"""What reloads cost the purchases that flow meanwhile, and what many of them leave behind.

    PARTS=reloads RELOADS=12 RATE=1000 make bench                             BUS=postgres (at first) or kafka
    PARTS=reloads RELOADS=1000 RATE=5000 BUS=kafka ROUNDS=1 make bench        a long one: twice 17 minutes

A second apart, in turns: of the same file, another one, another plugin, and a file that cannot run; each run beside one
without. Waits are those of the purchases that were not the first ones, from produced to confirmed; on PostgreSQL they
contain that `sluice emit` sends 500 at once.
"""
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import threading
import time

from machine import memory, quiet
from stage import BUILD, until

from lib.engine import SLUICE

RELOADS, RATE, EACH_S, WARM_S = int(os.environ.get("RELOADS") or 20), int(os.environ.get("RATE") or 5000), 1, 5
KINDS = ("same file", "another file", "another plugin", "broken file")
CHUNK_S = 0.01
WRONG = {
    "charged not once": "select count(*) from users where id <= {0} and points <> 900",
    "not confirmed": "select count(*) from reservations where id <= {0} and status <> 'CONFIRMED'",
    "paid more than once": "select count(*) - count(distinct reservation_id) from payment_transactions",
    "dead letters": "select count(*) from sluice.dead_letter",
    "chains not whole": "select count(*) from sluice.chain where state <> 0 or missing <> 0",
    "not published": "select count(*) from sluice.outbox",
}


class Reloader(threading.Thread):
    """Until all are done. Looks at what there is after the first ones, and tells how far it is."""

    def __init__(self, stage, engine, count):
        super().__init__()
        self.stage, self.engine, self.count = stage, engine, count
        self.plugin = stage.folder / "data_platform.so"
        self.took_ms, self.refused, self.states, self.error = {kind: [] for kind in KINDS}, [], [], None
        self.text = stage.config.read_text()

    def state(self):
        """MiB of the master and of its worker, descriptors of both, processes."""
        master, workers = self.engine.process.pid, self.engine.workers()
        pids = master, *workers[-1:]
        return (
            *(memory(pid)[0] for pid in pids),
            *(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),
            1 + len(workers),
        )

    def settled(self):
        until(lambda: len(self.engine.workers()) == 1, "the end of the last old worker", 60)
        until(lambda: self.files().count("/memfd:sluice (deleted)") == 1, "what it left to be closed", 60)
        return self.state()

    def files(self):
        """Of the master."""
        folder = f"/proc/{self.engine.process.pid}/fd"
        found = []
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"{folder}/{name}"))
        return found

    def change(self, number):
        kind = KINDS[number % len(KINDS)]
        text = self.text
        if kind == "another file":
            text = re.sub(r"max_events: \d+", f"max_events: {400 + number % 100}", text)
        if kind == "broken file":
            text += "nowhere: ["
        if kind == "another plugin":
            with open(self.plugin.with_suffix(".new"), "wb") as out:
                out.write((BUILD / "plugins/data_platform.so").read_bytes() + str(number).encode())
            self.plugin.with_suffix(".new").rename(self.plugin)
        self.stage.config.write_text(text)
        return kind

    def one(self, number):
        kind = self.change(number)
        answer = self.engine.reload()
        took = re.search(r"reloaded in (\d+) ms", answer)
        if (took is None) != (kind == "broken file"):
            raise AssertionError(f"{kind}: {answer}\n{self.engine.text()}")
        if took:
            self.took_ms[kind].append(int(took.group(1)))
        else:
            self.refused.append(answer)
        self.engine.log = self.engine.log[-200:]

    def tell(self, number):
        if number == len(KINDS) or number % max(1, self.count // 10) == 0 or number == self.count:
            self.states.append((number, self.settled()))
            master, worker, fds, worker_fds, processes = self.states[-1][1]
            print(
                f"  {number:5} reloads   master {master:.1f} MiB, {fds} descriptors   worker {worker:.1f} MiB,"
                f" {worker_fds} descriptors   {processes} processes",
                flush=True,
            )

    def run(self):
        try:
            time.sleep(WARM_S)
            for number in range(self.count):
                began = time.monotonic()
                self.one(number)
                time.sleep(max(0, began + EACH_S - time.monotonic()))
                self.tell(number + 1)
        except Exception as error:  # told in the bench's thread
            self.error = error
        finally:
            self.stage.config.write_text(self.text)


def kafka_load(stage, purchases):
    topics = stage.topic("payment.try"), stage.topic("reservation.success")
    counts = "6", str(RATE), str(purchases), str(RATE * WARM_S)
    out = subprocess.run(
        [BUILD / "tests/bench/latency", stage.bus.kafka.servers, *topics, *counts],
        check=True,
        capture_output=True,
        text=True,
    )
    row = [float(number) for number in out.stdout.split()]
    return row[4], row[5], row[8]


def postgres_load(stage, purchases):
    """One `sluice emit` at a steady rate, and the times at which reservations were confirmed."""
    emit = subprocess.Popen(
        [SLUICE, "emit", stage.config, "payment.try"], env={**os.environ, **stage.env}, stdin=subprocess.PIPE, text=True
    )
    began, wall, sent = time.monotonic(), time.time(), 0
    while sent < purchases:
        time.sleep(CHUNK_S)
        due = min(purchases, int((time.monotonic() - began) * RATE))
        lines = (json.dumps(stage.purchase(n)) for n in range(sent + 1, due + 1))
        emit.stdin.write("".join(line + "\n" for line in lines))
        emit.stdin.flush()
        sent = due
    emit.stdin.close()
    if emit.wait(60) != 0:
        raise AssertionError("sluice emit failed")
    confirmed = f"select count(*) from reservations where id <= {purchases} and status = 'CONFIRMED'"
    until(lambda: stage.sql(confirmed) == str(purchases), "the last purchases", 120, 0.5)
    wait_ms = f"(extract(epoch from updated_at) - {wall:.6f} - id / {RATE}.0) * 1000"
    shares = ", ".join(f"percentile_cont({share}) within group (order by {wait_ms})" for share in (0.5, 0.99, 1))
    row = stage.sql(f"select {shares} from reservations where id between {RATE * WARM_S} and {purchases}")
    return tuple(float(number) for number in row.split("|"))


def measure(stage, count):
    """(p50, p99, longest wait in ms), the reloader, what is wrong afterwards."""
    purchases = RATE * (WARM_S + RELOADS * EACH_S + 2)
    stage.fresh(purchases)
    text = stage.config.read_text().replace("hold: 5m", "hold: 24h")
    shutil.copy(BUILD / "plugins/data_platform.so", stage.folder)
    stage.config.write_text(text.replace("library: data_platform.so", f"library: {stage.folder}/data_platform.so"))
    with stage.engine() as engine:
        stage.settled([engine])
        quiet()
        reloader = Reloader(stage, engine, count)
        reloader.start()
        row = (kafka_load if stage.bus.kind == "kafka" else postgres_load)(stage, purchases)
        reloader.join()
        if reloader.error is not None:
            raise reloader.error
        wrong = {name: sql.format(purchases) for name, sql in WRONG.items()}
        until(lambda: stage.sql("select count(*) from sluice.outbox") == "0", "all to be published", 60, 0.5)
        return row, reloader, {name: int(stage.sql(sql)) for name, sql in wrong.items()}


def reloads(stage, rounds, _purchases):
    rows, kept = {0: [], RELOADS: []}, []
    for number in range(rounds):
        for count, found in rows.items():
            print(f"round {number + 1}, {count} reloads, {RATE} purchases/s", flush=True)
            row, reloader, wrong = measure(stage, count)
            found.append(row)
            kept.append((reloader, wrong))
    for count, found in rows.items():
        p50, p99, longest = (statistics.median(column) for column in zip(*found))
        print(
            f"ms at {RATE} purchases/s, {count:4} reloads, produced → confirmed"
            f"   p50 {p50:.1f}  p99 {p99:.1f}  longest {longest:.0f}   (longest: {[round(row[2]) for row in found]})",
            flush=True,
        )
    for reloader, wrong in kept:
        for kind, took in reloader.took_ms.items():
            if took:
                print(f"{kind:15} {len(took):5} reloads   {statistics.median(took):.0f} ms, longest {max(took)} ms")
        if reloader.refused:
            print(f"{KINDS[-1]:15} {len(reloader.refused):5} refused")
            (few, first), (many, last) = reloader.states[0], reloader.states[-1]
            for name, before, after in zip(
                ("master MiB", "worker MiB", "master descriptors", "worker descriptors", "processes"), first, last
            ):
                print(f"{name:20} after {few}: {before:.6g}   after {many}: {after:.6g}")
        print(f"violations: {sum(wrong.values())}   {wrong}", flush=True)
