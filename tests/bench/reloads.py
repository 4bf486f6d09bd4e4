"""What a reload costs the purchases that flow meanwhile, and what many of them leave behind.

    PARTS=reloads BUS=kafka make bench                               50 purchases/s over HTTP; on Kafka 5 000/s beside
    RELOADS=1000 RATE=5000 PARTS=reloads BUS=kafka make bench        a long one

Of the same file, of another one, and of one that cannot run, in turns, a second apart; each run beside one without.
"""
import os
import re
import statistics
import subprocess
import threading
import time

from machine import memory, quiet
from stage import BUILD, until

RELOADS, RATE, EACH_S, WARM_S = int(os.environ.get("RELOADS") or 20), int(os.environ.get("RATE") or 5000), 1, 5


class Reloader(threading.Thread):
    """Until it is ended, or all are done."""

    def __init__(self, stage, engine, count):
        super().__init__()
        self.stage, self.engine, self.count = stage, engine, count
        self.took_ms, self.refused, self.after_first = [], 0, None
        self.text = stage.config.read_text()

    def state(self):
        master = self.engine.process.pid
        return memory(master)[0], len(os.listdir(f"/proc/{master}/fd")), len(self.engine.workers())

    def one(self, number):
        other = re.sub(r"max_events: \d+", f"max_events: {400 + number % 100}", self.text)
        self.stage.config.write_text([self.text, other, self.text + "nowhere: ["][number % 3])
        answer = self.engine.reload()
        took = re.search(r"reloaded in (\d+) ms", answer)
        if took:
            self.took_ms.append(int(took.group(1)))
        else:
            self.refused += 1

    def run(self):
        time.sleep(WARM_S)
        for number in range(self.count):
            began = time.monotonic()
            self.one(number)
            time.sleep(max(0, began + EACH_S - time.monotonic()))
            if number == 2:
                self.after_first = self.state()
        self.stage.config.write_text(self.text)


def _kafka(stage, count):
    """ms, p50, p99 and longest, from produced to read."""
    purchases = RATE * (WARM_S + RELOADS * EACH_S + 2)
    stage.fresh(purchases)
    with stage.engine() as engine:
        stage.settled([engine])
        quiet()
        reloader = Reloader(stage, engine, count)
        reloader.start()
        topics = stage.topic("payment.try"), stage.topic("reservation.success")
        brokers = stage.bus.kafka.servers
        out = subprocess.run(
            [BUILD / "tests/bench/latency", brokers, *topics, "6", str(RATE), str(purchases), str(RATE * WARM_S)],
            check=True,
            capture_output=True,
            text=True,
        )
        reloader.join()
        until(lambda: len(engine.workers()) == 1, "the end of the last old worker")
        return [float(number) for number in out.stdout.split()], reloader, reloader.state()


def reloads(stage, rounds, _purchases):
    if stage.bus.kind != "kafka":
        print("reloads: with BUS=kafka, whose client in C can keep the rate")
        return
    rows, kept = {0: [], RELOADS: []}, []
    for _ in range(rounds):
        for count, found in rows.items():
            row, reloader, state = _kafka(stage, count)
            found.append((row[4], row[5], row[8]))
            kept += [(reloader, state)] if count else []
    for count, found in rows.items():
        p50, p99, longest = (statistics.median(column) for column in zip(*found))
        print(
            f"ms at {RATE} purchases/s, {count:4} reloads, payment.try produced → reservation.success read"
            f"   p50 {p50:.1f}  p99 {p99:.1f}  longest {longest:.0f}   (longest: {[round(row[2]) for row in found]})",
            flush=True,
        )
    for reloader, state in kept:
        print(
            f"{len(reloader.took_ms)} reloads of {statistics.median(reloader.took_ms):.0f} ms,"
            f" {max(reloader.took_ms)} ms the longest, and {reloader.refused} refused; the master after 3 and after"
            f" all: {reloader.after_first[0]:.1f} and {state[0]:.1f} MiB, {reloader.after_first[1]} and {state[1]}"
            f" descriptors, {state[2]} worker",
            flush=True,
        )
