"""Purchases a second: against the floor, with declined ones among them, with more lanes and more processes."""
import statistics
import time

from machine import cores
from stage import CONFIRMED, LANES, until


def _median(rows, pick):
    return statistics.median(map(pick, rows))


NOTES = {
    "floor": "the same statements in a C loop",
    "fused": "the same, both hops in one transaction",
    "broker frozen": "the same, the broker frozen",
    "and publishing": "the same, and bare librdkafka publishes",
}


def _cpu(used):
    """Of all that takes part. Other jobs make everything slower, this hardly."""
    return sum(cpu for party, cpu in used.items() if party != "others")


def throughput(stage, rounds, purchases):
    kinds = list(stage.bus.floors)
    rows = []
    for number in range(1, rounds + 1):
        floors = {which: stage.floor(purchases, which) for which in kinds}
        stage.fresh(purchases)
        row = {**stage.drain(purchases), "floors": floors}
        rows.append(row)
        print(f"  round {number}: ratio {row['rate'] / floors['floor']['rate']:.2f}")
        for which, one in {"engine": row, **floors}.items():
            print(f"    {which:<16}{one['rate']:7.0f}/s   cores: {cores(one['used'], one['seconds'])}", flush=True)
    print(
        f"purchases/s from a backlog of {purchases:<6}        {_median(rows, lambda r: r['rate']):.0f}"
        "   (try → success → reservation.success, chain and tap on)"
    )
    for which in kinds:
        print(
            f"{NOTES[which]:<44} {_median(rows, lambda r, w=which: r['floors'][w]['rate']):.0f}"
            f"   engine / this {_median(rows, lambda r, w=which: r['rate'] / r['floors'][w]['rate']):.2f}"
            f", by CPU {_median(rows, lambda r, w=which: _cpu(r['floors'][w]['used']) / _cpu(r['used'])):.2f}"
        )
    for party in ("engine", "postgres", *stage.bus.parties):
        note = "   (all its threads, tap and HTTP included)" if party == "engine" else ""
        print(
            "CPU ms a purchase,"
            f" {party:<25} {_median(rows, lambda r, p=party: r['whole'][p] * 1000 / purchases):.4f}{note}"
        )
    for what, pick in (
        ("all together", lambda r: r["used"]),
        ("floor and its PostgreSQL", lambda r: r["floors"]["floor"]["used"]),
    ):
        print(f"CPU ms a purchase, {what:<25} {_median(rows, lambda r, f=pick: _cpu(f(r)) * 1000 / purchases):.4f}")
    print(
        f"round trips a batch                          {_median(rows, lambda r: r['trips']):.1f}   (readers, keeper"
        " and positions included)",
        flush=True,
    )


def declined(stage, _rounds, purchases):
    whole = purchases * 2 // 5
    times = {}
    for poor in (0, 50):
        stage.fresh(whole, poor)
        stage.backlog(whole)
        good = whole - (whole // poor if poor else 0)
        engine = stage.engine().start()
        began = time.monotonic()
        until(lambda: engine.metric(CONFIRMED) >= good, "the good ones", 300, 0.02)
        times[poor] = (time.monotonic() - began) / good
        engine.stop()
    print(
        f"2 % declined: time of the good ones          {times[50] / times[0]:.2f} times what it is with none declined",
        flush=True,
    )


def isolation(stage, rounds, purchases):
    """What processes of their own cost the plugins: the same backlog in turns."""
    rows = {"none": [], "process": []}
    for _ in range(rounds):
        for kind, seen in rows.items():
            stage.isolation = kind if kind == "none" else "process, sockets: true"
            stage.fresh(purchases)
            seen.append(stage.drain(purchases))
    stage.isolation = None
    for kind, seen in rows.items():
        middle = sorted(seen, key=lambda r: r["rate"])[len(seen) // 2]
        print(
            f"isolation {kind:<10} {middle['rate']:6.0f}/s   cores: {cores(middle['used'], middle['seconds'])}"
            f"   CPU ms a purchase, all together {_median(seen, lambda r: _cpu(r['used'])) * 1000 / purchases:.4f}",
            flush=True,
        )
    ratio = _median(rows["process"], lambda r: r["rate"]) / _median(rows["none"], lambda r: r["rate"])
    print(f"with processes of their own / without       {ratio:.2f}", flush=True)


def scaling(stage, rounds, purchases):
    """Where it stops growing, and on what the cores are then."""
    shapes = [(1, lanes) for lanes in (1, 2, LANES, 8)] + [(instances, LANES) for instances in (2, 4)]
    rows = {shape: [] for shape in shapes}
    for _ in range(rounds):
        for instances, lanes in shapes:
            stage.fresh(purchases, lanes=lanes)
            rows[instances, lanes].append(stage.drain(purchases, instances=instances))
    for (instances, lanes), seen in rows.items():
        middle = sorted(seen, key=lambda r: r["rate"])[len(seen) // 2]
        print(
            f"{instances} process{'es' if instances > 1 else '  '} of {lanes} lanes    {middle['rate']:6.0f}/s  "
            f" {2 * purchases / max(1, middle['batches']):.0f} events a batch   cores:"
            f" {cores(middle['used'], middle['seconds'])}",
            flush=True,
        )
